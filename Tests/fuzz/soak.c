/* A host that lives long: models are made, trained, measured, checkpointed, cancelled, suspended, resumed, saved, read, used in forked
 * children and destroyed, round after round. Memory and descriptors must not grow.
 *
 * Usage: soak SECONDS FOLDER. Prints a line every tenth of the time and at the end; status 1 where memory or descriptors grew. */
#define _GNU_SOURCE
#include <dirent.h>
#include <mrp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COUNT = 64, WARM_ROUNDS = 20, MOST_GROWTH_KB = 8192 };

static void require(mrp_status status, mrp_status wanted, const char *what) {
    if (status == wanted) return;
    fprintf(stderr, "%s gave %s: %s\n", what, mrp_status_string(status), mrp_last_error());
    exit(1);
}
#define WORKS(call) require((call), MRP_OK, #call)

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Memory of this process in the machine, in KB. */
static long resident(void) {
    long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &all, &pages) != 2) exit(1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) count++;
    if (folder) closedir(folder);
    return count;
}

static mrp_config *options_of(const char *folder) {
    static const char *const options[][2] = {{"image_size", "8"},
                                             {"patch_size", "4"},
                                             {"width", "16"},
                                             {"depth", "1"},
                                             {"heads", "2"},
                                             {"decoder_width", "16"},
                                             {"decoder_depth", "1"},
                                             {"decoder_heads", "2"},
                                             {"threads", "2"},
                                             {"loader_threads", "1"},
                                             {"batch_size", "8"},
                                             {"epochs", "3"},
                                             {"checkpoint_steps", "5"},
                                             {"keep_checkpoints", "2"},
                                             {"continue_run", "true"}};
    mrp_config *config = NULL;
    WORKS(mrp_config_create(NULL, &config));
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) WORKS(mrp_config_set(config, options[i][0], options[i][1]));
    if (folder) WORKS(mrp_config_set(config, "run_folder", folder));
    return config;
}

static mrp_dataset *images_of(void) {
    static uint8_t pixels[COUNT * 3 * 64];
    static int32_t labels[COUNT];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    for (int i = 0; i < COUNT; i++) labels[i] = i % 4;
    mrp_dataset *dataset = NULL;
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, 3, 8, 8, MRP_NCHW, labels, &dataset));
    return dataset;
}

static int32_t stop_after(const mrp_progress *progress, void *step) { return mrp_progress_value(progress, "step") >= *(int *)step; }

static void *cancel_soon(void *model) {
    usleep(2000);
    mrp_cancel(model);
    return NULL;
}

/* One life of a model. */
static void live(int round, const char *folder) {
    char run[300], file[300];
    snprintf(run, sizeof run, "%s/run-%d", folder, round);
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    mrp_config *options = options_of(run), *plain = options_of(NULL);
    mrp_dataset *images = images_of();
    mrp_model *model = NULL, *again = NULL;
    mrp_trainer *trainer = NULL;
    WORKS(mrp_model_create(options, &model));
    int stop = 7;
    require(mrp_pretrain(model, images, options, stop_after, &stop), MRP_CANCELLED, "a run that is stopped");
    mrp_model_destroy(model);
    WORKS(mrp_model_create(options, &model));
    WORKS(mrp_trainer_create(model, images, options, "pretrain", &trainer));
    mrp_status status = MRP_OK;
    while (status == MRP_OK) status = mrp_trainer_step(trainer);
    require(status, MRP_DONE, "a run that goes on");
    mrp_trainer_destroy(trainer);
    WORKS(mrp_model_set_validation(model, images, images));
    pthread_t canceller;
    pthread_create(&canceller, NULL, cancel_soon, model);
    status = mrp_finetune(model, images, plain, NULL, NULL);
    pthread_join(canceller, NULL);
    if (status != MRP_CANCELLED) WORKS(status);
    WORKS(mrp_finetune(model, images, plain, NULL, NULL));
    WORKS(mrp_model_save(model, file, NULL));
    WORKS(mrp_model_load(file, NULL, &again));
    double value;
    const pid_t child = fork();
    if (child == 0) _exit(mrp_evaluate(again, images, plain, "top1", &value) == MRP_OK ? 0 : 1);
    int ended = 1;
    if (child < 0 || waitpid(child, &ended, 0) != child || ended != 0) fprintf(stderr, "the child ended with %d\n", ended), exit(1);
    WORKS(mrp_evaluate(again, images, plain, "top1", &value));
    require(mrp_model_load("no such file", NULL, &again), MRP_ERR_IO, "a file that is not there");
    mrp_model_destroy(again);
    mrp_model_destroy(model);
    mrp_dataset_destroy(images);
    mrp_config_destroy(options);
    mrp_config_destroy(plain);
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s'", run);
    if (system(command) != 0) exit(1);
}

int main(int count, char **arguments) {
    if (count != 3) return fprintf(stderr, "usage: soak SECONDS FOLDER\n"), 2;
    const double seconds = atof(arguments[1]), start = now();
    double next = seconds / 10;
    long first = 0, last = 0;
    int files = 0, round = 0;
    for (; round < WARM_ROUNDS + 1 || now() - start < seconds; round++) {
        live(round, arguments[2]);
        last = resident();
        if (round == WARM_ROUNDS) first = last, files = descriptors();
        if (round >= WARM_ROUNDS && now() - start >= next) {
            printf("%.0f s: %d rounds, %ld KB, %d descriptors\n", now() - start, round + 1, last, descriptors());
            fflush(stdout);
            next += seconds / 10;
        }
    }
    const int grew = last - first > MOST_GROWTH_KB || descriptors() != files || mrp_memory_in_use() != 0;
    printf("%d rounds in %.0f s: %ld -> %ld KB, %d -> %d descriptors, %lld bytes in use: %s\n", round, now() - start, first, last, files,
           descriptors(), (long long)mrp_memory_in_use(), grew ? "GREW" : "flat");
    return grew;
}
