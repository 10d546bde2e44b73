/* The texts in a checkpoint: the input is the state, a NUL, and the configuration, put into a whole file with the right checksum. The run is
 * resumed and goes on. */
#include "fuzz.h"

static mrp_config *options;
static mrp_dataset *dataset;
static const char *path;
static uint8_t *whole;
static size_t whole_size, header_size;

static mrp_trainer *fresh(mrp_model **model) {
    mrp_trainer *trainer = NULL;
    REQUIRE(mrp_model_create(options, model) == MRP_OK);
    REQUIRE(mrp_trainer_create(*model, dataset, options, "pretrain", &trainer) == MRP_OK);
    return trainer;
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    options = tiny_config();
    set(options, "ema_decay", "0.5");
    set(options, "rollbacks", "3");
    dataset = tiny_images();
    path = strdup(place("run.ckpt"));
    mrp_model *model = NULL;
    mrp_trainer *trainer = fresh(&model);
    REQUIRE(mrp_trainer_step(trainer) == MRP_OK && mrp_trainer_save(trainer, path) == MRP_OK);
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(model);
    whole = read_file(path, &whole_size);
    uint64_t length;
    memcpy(&length, whole, sizeof length);
    header_size = (size_t)length;
    return 0;
}

/* CRC-32C. */
static uint32_t checksum(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *p = bytes;
    crc = ~crc;
    while (count--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

/* The bytes as the inside of a JSON string. */
static char *quote(const uint8_t *bytes, size_t count, char *to) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] < 32 || bytes[i] == '"' || bytes[i] == '\\')
            to += sprintf(to, "\\u%04x", bytes[i]);
        else
            *to++ = (char)bytes[i];
    }
    return to;
}

static void write_checkpoint(const uint8_t *bytes, size_t count) {
    const uint8_t *nul = memchr(bytes, 0, count);
    const size_t state = nul ? (size_t)(nul - bytes) : count;
    char *header = malloc(header_size + 7 * count + 1000), *end = header;
    end += sprintf(end, "{\"__metadata__\":{\"libmrp.checkpoint\":\"2\",\"libmrp.state\":\"");
    end = quote(bytes, state, end);
    if (nul) {
        end += sprintf(end, "\",\"libmrp.config\":\"");
        end = quote(nul + 1, count - state - 1, end);
    }
    end += sprintf(end, "\"}");
    const uint8_t *tensors = memmem(whole + 8, header_size, "},\"", 3); /* what follows the metadata */
    REQUIRE(tensors != NULL);
    const size_t tail = (size_t)(whole + 8 + header_size - (tensors + 1));
    memcpy(end, tensors + 1, tail);
    const uint64_t length = (uint64_t)(end - header) + tail;
    const uint8_t *data = whole + 8 + header_size;
    const size_t data_size = whole_size - 8 - header_size - 4;
    const uint32_t crc = checksum(checksum(checksum(0, &length, 8), header, (size_t)length), data, data_size);
    FILE *file = fopen(path, "wb");
    REQUIRE(file && fwrite(&length, 8, 1, file) && fwrite(header, (size_t)length, 1, file) && fwrite(data, data_size, 1, file));
    REQUIRE(fwrite(&crc, 4, 1, file) == 1);
    fclose(file);
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count > 20000) return 0;
    write_checkpoint(bytes, count);
    mrp_model *model = NULL;
    mrp_trainer *trainer = fresh(&model);
    sound(mrp_trainer_resume(trainer, path));
    for (int i = 0; i < 4; i++) {
        (void)mrp_progress_fraction(mrp_trainer_progress(trainer));
        if (sound(mrp_trainer_step(trainer)) != MRP_OK) break;
    }
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(model);
    return 0;
}
