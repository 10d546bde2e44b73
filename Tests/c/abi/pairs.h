/* Shared by the programs that provoke each status which the header documents for a function: a folder, images, models, and the functions
 * that take a model, images and options. */
#ifndef PAIRS_H
#define PAIRS_H

#include <sys/stat.h>
#include <unistd.h>

#include "small.h"

static mrp_config *options;
static mrp_dataset *labelled, *folder, *gone;
static mrp_model *mae, *classifier;
static char root[64];
static float numbers[4 * VALUES];

/* ---- Files */

static const char *in_root(const char *name) { return path_in(root, name); }

/* ---- Functions that take a model, images and options */

typedef struct {
    const char *name;
    mrp_status (*call)(mrp_model *, const mrp_dataset *, const mrp_config *);
    int classifies;
} operation;

static mrp_status pretrain(mrp_model *m, const mrp_dataset *d, const mrp_config *c) { return mrp_pretrain(m, d, c, NULL, NULL); }
static mrp_status finetune(mrp_model *m, const mrp_dataset *d, const mrp_config *c) { return mrp_finetune(m, d, c, NULL, NULL); }
static mrp_status encode(mrp_model *m, const mrp_dataset *d, const mrp_config *c) { return mrp_encode(m, d, c, numbers, 4 * VALUES); }
static mrp_status attention(mrp_model *m, const mrp_dataset *d, const mrp_config *c) { return mrp_attention(m, d, c, numbers, 4 * VALUES); }
static mrp_status predict(mrp_model *m, const mrp_dataset *d, const mrp_config *c) { return mrp_predict(m, d, c, numbers, 4 * VALUES); }
static mrp_status evaluate(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    double value;
    return mrp_evaluate(m, d, c, "reconstruction_loss", &value);
}
static mrp_status confusion(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    static int64_t counts[CLASSES * CLASSES];
    return mrp_confusion(m, d, c, counts, CLASSES * CLASSES);
}
static mrp_status probe(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    double value;
    return mrp_probe(m, d, d, c, "knn", &value);
}
static mrp_status reconstruct(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    return mrp_reconstruct(m, d, c, NULL, 0, numbers, NULL, 4 * VALUES, NULL, NULL);
}
static mrp_status cluster(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_dataset *fine = NULL;
    const mrp_status status = mrp_dataset_cluster(d, m, 2, c, &fine);
    mrp_dataset_destroy(fine);
    return status;
}
static mrp_status create_trainer(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_trainer *trainer = NULL;
    const mrp_status status = mrp_trainer_create(m, d, c, "pretrain", &trainer);
    mrp_trainer_destroy(trainer);
    return status;
}

static const operation operations[] = {
    {"mrp_pretrain", pretrain, 0},   {"mrp_finetune", finetune, 0},       {"mrp_encode", encode, 0},
    {"mrp_predict", predict, 1},     {"mrp_evaluate", evaluate, 0},       {"mrp_confusion", confusion, 1},
    {"mrp_probe", probe, 0},         {"mrp_reconstruct", reconstruct, 0}, {"mrp_trainer_create", create_trainer, 0},
    {"mrp_attention", attention, 0}, {"mrp_dataset_cluster", cluster, 0},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

/* A fresh copy of the model that the operation is for: the calls change what they work on. */
static mrp_model *model_for(const operation *o) {
    mrp_model *copy = NULL;
    WORKS(mrp_model_clone(o->classifies ? classifier : mae, &copy));
    return copy;
}

/* Makes the folder, the images and the models. */
static void begin(void) {
    fill_images();
    snprintf(root, sizeof root, "/tmp/mrp-pairs-XXXXXX");
    EXPECT(mkdtemp(root) != NULL);
    mkdir(in_root("images"), 0777);
    mkdir(in_root("images/0"), 0777);
    mkdir(in_root("images/1"), 0777);
    options = small_options();
    WORKS(mrp_config_set(options, "augmentation", "none"));
    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &labelled));
    WORKS(mrp_dataset_generate(NULL, 4, 0, &gone));
    mrp_dataset_destroy(gone);
    WORKS(mrp_model_create(options, &mae));
    WORKS(mrp_model_create(options, &classifier));
    WORKS(mrp_pretrain(mae, labelled, options, NULL, NULL));
    WORKS(mrp_finetune(classifier, labelled, options, NULL, NULL));
}

/* The program's result. */
static int end(const char *program) {
    mrp_model_destroy(mae);
    mrp_model_destroy(classifier);
    mrp_dataset_destroy(folder);
    mrp_dataset_destroy(labelled);
    mrp_config_destroy(options);
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    EXPECT(system(command) == 0);
    return check_result(program);
}

#endif
