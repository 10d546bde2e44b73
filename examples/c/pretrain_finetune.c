/* Pretrains a vision transformer as a masked autoencoder without labels, fine-tunes it with few labels, trains the same network from
 * scratch with the same labels and budget, and compares; then saves the classifier and checks the copy that it loads.
 *
 *     pretrain_finetune [FOLDER]      FOLDER/train/<class>/<image>.jpg and FOLDER/test/...; without it: generated images
 *
 *     cc pretrain_finetune.c -lmrp */
#include <mrp.h>
#include <stdio.h>
#include <stdlib.h>

/* Settings: about a minute on two cores. The environment may give others, as in MRP_ENCODER=resnet18. */
static const struct {
    const char *variable, *value;
} settings[] = {{"MRP_ENCODER", "vit_micro"}, {"MRP_IMAGES", "5000"}, {"MRP_LABELS", "300"},
                {"MRP_TEST", "1000"},         {"MRP_EPOCHS", "50"},   {"MRP_FINETUNE_EPOCHS", "40"}};
enum { ENCODER, IMAGES, LABELS, TEST, EPOCHS, FINETUNE_EPOCHS };

static const char *setting(int which) {
    const char *given = getenv(settings[which].variable);
    return given ? given : settings[which].value;
}

#define CHECK(call)                                    \
    do {                                               \
        if ((call) != MRP_OK) {                        \
            fprintf(stderr, "%s\n", mrp_last_error()); \
            return 0;                                  \
        }                                              \
    } while (0)

static int32_t show(const mrp_progress *progress, void *user) {
    static int last = -1;
    const int percent = (int)(100 * mrp_progress_fraction(progress));
    if (percent != last) {
        fprintf(stderr, "\r%-10s %3d %%  loss %.4f  %5.0f images/s", (const char *)user, percent, mrp_progress_value(progress, "loss"),
                mrp_progress_value(progress, "images_per_second"));
    }
    last = percent;
    return 0; /* anything else stops the run; the model keeps what it learned */
}

static int open_images(const char *folder, mrp_config *options, mrp_dataset **train, mrp_dataset **test) {
    char path[4096];
    if (folder) {
        snprintf(path, sizeof path, "%s/train", folder);
        CHECK(mrp_dataset_open_folder(path, options, train));
        snprintf(path, sizeof path, "%s/test", folder);
        CHECK(mrp_dataset_open_folder(path, options, test));
        return 1;
    }
    CHECK(mrp_dataset_generate(options, atoi(setting(IMAGES)), 1, train));
    CHECK(mrp_config_set(options, "synthetic_first_image", setting(IMAGES))); /* the test images come after the training images */
    CHECK(mrp_dataset_generate(options, atoi(setting(TEST)), 1, test));
    return 1;
}

static int compare(const mrp_dataset *train, const mrp_dataset *few, const mrp_dataset *test, mrp_config *options) {
    mrp_model *pretrained = NULL, *scratch = NULL, *loaded = NULL;
    double accuracy[3];

    CHECK(mrp_model_create(options, &pretrained));
    CHECK(mrp_model_clone(pretrained, &scratch)); /* the same weights to begin with */
    CHECK(mrp_pretrain(pretrained, train, options, show, "pretrain"));
    CHECK(mrp_finetune(pretrained, few, options, show, "finetune"));
    CHECK(mrp_finetune(scratch, few, options, show, "scratch"));
    CHECK(mrp_evaluate(pretrained, test, options, "top1", &accuracy[0]));
    CHECK(mrp_evaluate(scratch, test, options, "top1", &accuracy[1]));
    printf("\npretrained    %.1f %% correct\nfrom scratch  %.1f %% correct\n", 100 * accuracy[0], 100 * accuracy[1]);

    CHECK(mrp_model_save(pretrained, "classifier.safetensors", NULL));
    CHECK(mrp_model_load("classifier.safetensors", NULL, &loaded));
    CHECK(mrp_evaluate(loaded, test, options, "top1", &accuracy[2]));
    printf("loaded again  %.1f %% correct\n", 100 * accuracy[2]);

    mrp_model_destroy(pretrained);
    mrp_model_destroy(scratch);
    mrp_model_destroy(loaded);
    return accuracy[2] == accuracy[0];
}

int main(int argc, char **argv) {
    mrp_config *options = NULL;
    mrp_dataset *train = NULL, *test = NULL, *few = NULL;
    int ok = 0;

    if (mrp_config_create("mae_vit_micro_32", &options) == MRP_OK && /* a preset; NULL for plain defaults */
        mrp_config_set(options, "encoder", setting(ENCODER)) == MRP_OK &&
        mrp_config_set(options, "pretrain.epochs", setting(EPOCHS)) == MRP_OK &&
        mrp_config_set(options, "finetune.epochs", setting(FINETUNE_EPOCHS)) == MRP_OK) {
        ok = open_images(argc > 1 ? argv[1] : NULL, options, &train, &test);
    } else {
        fprintf(stderr, "%s\n", mrp_last_error());
    }
    if (ok && mrp_dataset_subset(train, atoi(setting(LABELS)), 1, &few) != MRP_OK) {
        fprintf(stderr, "%s\n", mrp_last_error());
        ok = 0;
    }
    if (ok) ok = compare(train, few, test, options);

    mrp_config_destroy(options); /* destroy accepts NULL */
    mrp_dataset_destroy(train);
    mrp_dataset_destroy(test);
    mrp_dataset_destroy(few);
    return ok ? 0 : 1;
}
