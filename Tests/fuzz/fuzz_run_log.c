/* The logs in a run folder: a run of which a checkpoint is there goes on over a CSV log (even first byte) or an event file (odd) of the
 * input's bytes. */
#include "fuzz.h"

static mrp_config *options;
static mrp_dataset *dataset;
static const char *log_path, *events_path, *checkpoint_path;
static uint8_t *checkpoint;
static size_t checkpoint_size;

static void run(int steps) {
    mrp_model *model = NULL;
    mrp_trainer *trainer = NULL;
    REQUIRE(mrp_model_create(options, &model) == MRP_OK);
    if (sound(mrp_trainer_create(model, dataset, options, "pretrain", &trainer)) == MRP_OK) {
        for (int i = 0; i < steps; i++) sound(mrp_trainer_step(trainer));
    }
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(model);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    options = tiny_config();
    dataset = tiny_images();
    set(options, "run_folder", place("run"));
    set(options, "checkpoint_steps", "2");
    set(options, "continue_run", "true");
    set(options, "tensorboard", "true");
    log_path = strdup(place("run/pretrain.csv"));
    events_path = strdup(place("run/pretrain/events.out.tfevents.9.host.1"));
    checkpoint_path = strdup(place("run/pretrain-00000002.ckpt"));
    run(2);
    checkpoint = read_file(checkpoint_path, &checkpoint_size);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count < 1) return 0;
    write_file(checkpoint_path, checkpoint, checkpoint_size);
    write_file(bytes[0] & 1 ? events_path : log_path, bytes + 1, count - 1);
    run(1);
    return 0;
}
