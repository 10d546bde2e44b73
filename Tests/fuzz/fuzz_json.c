/* Configurations: the input is the config.json beside weights whose own metadata say nothing. */
#include "fuzz.h"

static const char *folder, *configuration;
static mrp_config *options;

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    options = tiny_config();
    folder = strdup(place("model"));
    REQUIRE(mkdir(folder, 0700) == 0);
    const char *weights = strdup(place("model/model.safetensors"));
    configuration = strdup(place("model/config.json"));
    mrp_model *model = NULL;
    REQUIRE(mrp_model_create(options, &model) == MRP_OK && mrp_model_save(model, weights, NULL) == MRP_OK);
    mrp_model_destroy(model);
    size_t size;
    uint8_t *bytes = read_file(weights, &size);
    uint8_t *key = memmem(bytes, size, "libmrp.config", 13);
    REQUIRE(key != NULL);
    key[0] = 'L';
    write_file(weights, bytes, size);
    free(bytes);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    write_file(configuration, bytes, count);
    mrp_model *model = NULL;
    if (sound(mrp_model_load(folder, options, &model)) == MRP_OK) {
        int64_t needed;
        sound(mrp_model_describe(model, NULL, 0, &needed));
    }
    mrp_model_destroy(model);
    return 0;
}
