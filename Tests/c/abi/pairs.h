/* Shared by the programs that provoke each status which the header documents for a function: a folder, images, models, and the functions
 * that take a model, images and options. */
#ifndef PAIRS_H
#define PAIRS_H

#include <sys/stat.h>
#include <unistd.h>

#include "small.h"

static mrp_config *options;
static mrp_dataset *labelled, *folder, *gone;
static mrp_model *mae, *classifier, *mixture, *segmenter, *finder;
static char root[64];
static float numbers[4 * VALUES];
static uint16_t maps[2000 * 32 * 32];

/* ---- Files */

static const char *in_root(const char *name) { return path_in(root, name); }

/* ---- Functions that take a model, images and options */

typedef struct {
    const char *name;
    mrp_status (*call)(mrp_model *, const mrp_dataset *, const mrp_config *);
    int subject; /* 0: mae, 1: classifier, 2: mixture, 3: segmenter, 4: finder of instances */
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
static mrp_status segment(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    return mrp_segment(m, d, c, maps, sizeof maps / sizeof *maps);
}
static mrp_status segment_probabilities(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    static float shares[8 * sizeof maps / sizeof *maps];
    return mrp_segment_probabilities(m, d, c, shares, sizeof shares / sizeof *shares);
}
static mrp_status instances(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    static int64_t counts[2000];
    static float scores[2000 * 100];
    return mrp_instances(m, d, c, counts, scores, NULL, 2000 * 100, maps, sizeof maps / sizeof *maps);
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

static mrp_status upcycle(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_model *made = NULL;
    const mrp_status status = mrp_model_upcycle(m, d, c, NULL, NULL, &made);
    mrp_model_destroy(made);
    return status;
}
static mrp_status experts(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    static double losses[4];
    static int64_t counts[4];
    return mrp_model_experts(m, d, c, counts, losses, 4, NULL, 0);
}
static mrp_status extract(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_model *made = NULL;
    const mrp_status status = mrp_model_extract(m, -1, d, c, &made);
    mrp_model_destroy(made);
    return status;
}

static const operation operations[] = {
    {"mrp_pretrain", pretrain, 0},
    {"mrp_finetune", finetune, 0},
    {"mrp_encode", encode, 0},
    {"mrp_predict", predict, 1},
    {"mrp_evaluate", evaluate, 0},
    {"mrp_confusion", confusion, 1},
    {"mrp_probe", probe, 0},
    {"mrp_reconstruct", reconstruct, 0},
    {"mrp_trainer_create", create_trainer, 0},
    {"mrp_attention", attention, 0},
    {"mrp_dataset_cluster", cluster, 0},
    {"mrp_model_upcycle", upcycle, 0},
    {"mrp_model_experts", experts, 2},
    {"mrp_model_extract", extract, 2},
    {"mrp_segment", segment, 3},
    {"mrp_segment_probabilities", segment_probabilities, 3},
    {"mrp_instances", instances, 4},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static mrp_model *subject(const operation *o) {
    mrp_model *const subjects[] = {mae, classifier, mixture, segmenter, finder};
    return subjects[o->subject];
}

/* A fresh copy of the model that the operation is for: the calls change what they work on. */
static mrp_model *model_for(const operation *o) {
    mrp_model *copy = NULL;
    WORKS(mrp_model_clone(subject(o), &copy));
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
    WORKS(mrp_model_upcycle(mae, labelled, options, NULL, NULL, &mixture));
    static uint8_t ids[COUNT * SIDE * SIDE];
    mrp_dataset *masked = NULL;
    mrp_config *segments = small_options();
    for (int i = 0; i < COUNT * SIDE * SIDE; i++) ids[i] = (uint8_t)(i % 3);
    WORKS(mrp_dataset_with_masks(labelled, ids, MRP_UINT8, COUNT, SIDE, SIDE, NULL, &masked));
    WORKS(mrp_config_set(segments, "task", "segment"));
    WORKS(mrp_config_set(segments, "pyramid_width", "8"));
    WORKS(mrp_model_create(options, &segmenter));
    WORKS(mrp_finetune(segmenter, masked, segments, NULL, NULL));
    mrp_dataset_destroy(masked);
    WORKS(mrp_config_set(segments, "task", "instances"));
    WORKS(mrp_config_set(segments, "mask_kind", "objects"));
    WORKS(mrp_dataset_with_masks(labelled, ids, MRP_UINT8, COUNT, SIDE, SIDE, segments, &masked));
    WORKS(mrp_model_create(options, &finder));
    WORKS(mrp_finetune(finder, masked, segments, NULL, NULL));
    mrp_config_destroy(segments);
    mrp_dataset_destroy(masked);
}

/* The program's result. */
static int end(const char *program) {
    mrp_model_destroy(mae);
    mrp_model_destroy(classifier);
    mrp_model_destroy(mixture);
    mrp_model_destroy(segmenter);
    mrp_model_destroy(finder);
    mrp_dataset_destroy(folder);
    mrp_dataset_destroy(labelled);
    mrp_config_destroy(options);
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    EXPECT(system(command) == 0);
    return check_result(program);
}

#endif
