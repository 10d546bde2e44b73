/* Names of classes: the input names the classes of a dataset, one per line; a classifier of them is trained for a step, saved and read. */
#include "fuzz.h"

static mrp_config *options;
static mrp_dataset *dataset;
static const char *path;

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    options = tiny_config();
    set(options, "epochs", "0.5");
    dataset = tiny_images();
    path = strdup(place("classes.safetensors"));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *names = text_of(bytes, count), read[4096];
    mrp_dataset *named = NULL;
    if (sound(mrp_dataset_name_classes(dataset, names, &named)) == MRP_OK) {
        mrp_model *model = NULL, *again = NULL;
        REQUIRE(mrp_dataset_class_name(named, 0, read, sizeof read, NULL) == MRP_OK || count >= sizeof read);
        REQUIRE(mrp_model_create(options, &model) == MRP_OK);
        if (sound(mrp_finetune(model, named, options, NULL, NULL)) == MRP_OK && sound(mrp_model_save(model, path, NULL)) == MRP_OK)
            require(mrp_model_load(path, NULL, &again) == MRP_OK, "what was saved is read");
        mrp_model_destroy(again);
        mrp_model_destroy(model);
    }
    mrp_dataset_destroy(named);
    free(names);
    return 0;
}
