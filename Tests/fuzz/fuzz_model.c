/* Model files: describe, load with three sets of options, use, copy. An odd first byte: the rest is a header, and data are added as the
 * offsets in it want them; even: the rest is a file. */
#include <ctype.h>
#include <fcntl.h>

#include "fuzz.h"

enum { MOST_DATA = 1 << 20 };

static mrp_config *options[3];
static mrp_dataset *dataset;
static const char *path;

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    static const char *const changes[][2] = {{"positions", "bicubic"},
                                             {"patch_weights", "resample"},
                                             {"channel_weights", "repeat"},
                                             {"classifier", "new"},
                                             {"image_size", "16"},
                                             {"channels", "1"},
                                             {"classes", "3"},
                                             {"heads", "2"},
                                             {"decoder_heads", "2"}};
    for (int i = 0; i < 3; i++) {
        REQUIRE(mrp_config_create(NULL, &options[i]) == MRP_OK);
        set(options[i], "threads", "1");
        set(options[i], "loader_threads", "0");
    }
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) set(options[1], changes[i][0], changes[i][1]);
    set(options[2], "positions", "recompute");
    set(options[2], "heads", "1");
    dataset = tiny_images();
    path = strdup(place("model.safetensors"));
    return 0;
}

/* The largest number before a bracket: where the last tensor ends. */
static size_t data_of(const uint8_t *header, size_t count) {
    size_t most = 0, number = 0;
    for (size_t i = 0; i < count; i++) {
        if (header[i] == ']' && number <= MOST_DATA && number > most) most = number;
        number = isdigit(header[i]) ? (number > MOST_DATA ? number : 10 * number + (size_t)(header[i] - '0')) : 0;
    }
    return most;
}

static void use(mrp_model *model) {
    static float out[1 << 16];
    int64_t needed;
    double value;
    mrp_model *copy = NULL;
    sound(mrp_model_describe(model, NULL, 0, &needed));
    sound(mrp_encode(model, dataset, options[0], out, sizeof out / sizeof *out));
    sound(mrp_predict(model, dataset, options[0], out, sizeof out / sizeof *out));
    sound(mrp_evaluate(model, dataset, options[0], "reconstruction_loss", &value));
    sound(mrp_model_clone(model, &copy));
    mrp_model_destroy(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count < 2) return 0;
    const int mode = bytes[0] == '{' || count > 8 ? bytes[0] : 0;
    const uint8_t *rest = bytes + 1;
    const size_t length = count - 1;
    if (mode & 1) {
        const uint64_t header = length;
        write_file(path, &header, sizeof header);
        FILE *file = fopen(path, "ab");
        REQUIRE(file && fwrite(rest, 1, length, file) == length);
        fclose(file);
        REQUIRE(truncate(path, (off_t)(8 + length + data_of(rest, length))) == 0);
    } else {
        write_file(path, rest, length);
    }
    int64_t needed;
    mrp_model *model = NULL;
    sound(mrp_file_describe(path, NULL, 0, &needed));
    if (sound(mrp_model_load(path, options[(mode >> 1) % 3], &model)) == MRP_OK) use(model);
    mrp_model_destroy(model);
    return 0;
}
