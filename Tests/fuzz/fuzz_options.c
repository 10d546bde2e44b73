/* Options: lines `key=value` on a configuration and a laboratory; what was set is read back. Where the network is small, a step of both
 * phases follows. */
#include "fuzz.h"

enum { MOST_LINES = 12 };

static mrp_dataset *dataset;

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    dataset = tiny_images();
    return 0;
}

static int is_small(const mrp_config *config) {
    static const char *const sizes[] = {"image_height",  "image_width", "width",         "depth",        "decoder_width",
                                        "decoder_depth", "channels",    "batch_size",    "patch_height", "patch_width",
                                        "cell_size",     "classes",     "codebook_size", "target_width"};
    char text[100];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (mrp_config_get(config, sizes[i], text, sizeof text, NULL) == MRP_OK && atoll(text) > (i < 11 ? 64 : 1000)) return 0;
    }
    if (mrp_config_get(config, "mlp_ratio", text, sizeof text, NULL) != MRP_OK || atof(text) > 8) return 0;
    return mrp_config_get(config, "encoder", text, sizeof text, NULL) == MRP_OK &&
           (!strncmp(text, "vit_m", 5) || !strncmp(text, "vit_t", 5));
}

static void set_lines(mrp_config *config, mrp_lab *lab, char *text) {
    char *rest, *line = strtok_r(text, "\n", &rest), read[100];
    for (int i = 0; line && i < MOST_LINES; line = strtok_r(NULL, "\n", &rest), i++) {
        char *value = strchr(line, '=');
        if (!value || strstr(line, "run_folder") || strstr(line, "threads")) continue;
        *value++ = 0;
        int64_t needed = 0;
        if (sound(mrp_config_set(config, line, value)) == MRP_OK) {
            const mrp_status status = mrp_config_get(config, line, read, sizeof read, &needed);
            REQUIRE(status == MRP_OK || needed > (int64_t)sizeof read);
        }
        sound(mrp_lab_set(lab, line, value));
        sound(mrp_lab_get(lab, line, read, sizeof read, &needed));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    mrp_config *config = tiny_config();
    mrp_lab *lab = NULL;
    REQUIRE(mrp_lab_create(NULL, &lab) == MRP_OK);
    set(config, "epochs", "0.5");
    char *text = text_of(bytes, count);
    set_lines(config, lab, text);
    free(text);
    mrp_model *model = NULL;
    if (is_small(config) && sound(mrp_model_create(config, &model)) == MRP_OK) {
        for (int phase = 0; phase < 2; phase++) {
            mrp_trainer *trainer = NULL;
            if (sound(mrp_trainer_create(model, dataset, config, phase ? "finetune" : "pretrain", &trainer)) == MRP_OK)
                sound(mrp_trainer_step(trainer));
            mrp_trainer_destroy(trainer);
        }
    }
    int64_t needed;
    sound(mrp_lab_features(lab, 1, NULL, 0, &needed));
    mrp_model_destroy(model);
    mrp_lab_destroy(lab);
    mrp_config_destroy(config);
    return 0;
}
