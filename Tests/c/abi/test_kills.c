/* Power cuts: a child process trains with a checkpoint after every step and is killed with SIGKILL at a random moment; the next child goes
 * on. After every kill the newest checkpoint is whole, is not older than the last one that the child knew to be on the disk, and holds the
 * weights of exactly that step of a run that nobody stopped; so does the end of each run.
 * Usage: test_kills [KILLS [SEED]]    200 by default, about ten seconds. */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "small.h"

enum { STEPS = 24 };
static char root[] = "/tmp/mrp-kills-XXXXXX";
static char folder[64], saved[64];

/* Memory that the processes share. */
static struct {
    uint64_t digests[STEPS + 1]; /* of the weights after each step of the undisturbed run */
    int32_t on_disk;             /* the last step whose checkpoint is known to be on the disk */
    int32_t found, failures;
} *shared;

static uint64_t digest_of(mrp_model *model) {
    uint64_t hash = 14695981039346656037u;
    int byte;
    if (mrp_model_save(model, saved, NULL) != MRP_OK) return 0;
    FILE *file = fopen(saved, "rb");
    if (!file) return 0;
    while ((byte = getc(file)) != EOF) hash = (hash ^ (uint64_t)byte) * 1099511628211u;
    fclose(file);
    return hash;
}

static mrp_config *run_options(int with_folder) {
    mrp_config *options = small_options();
    WORKS(mrp_config_set(options, "epochs", "12"));       /* two steps each */
    WORKS(mrp_config_set(options, "warmup_epochs", "0")); /* so that the first step changes the weights */
    WORKS(mrp_config_set(options, "threads", "1"));
    if (with_folder) {
        WORKS(mrp_config_set(options, "run_folder", folder));
        WORKS(mrp_config_set(options, "checkpoint_steps", "1"));
        WORKS(mrp_config_set(options, "keep_checkpoints", "2"));
    }
    return options;
}

static mrp_trainer *new_trainer(int with_folder, mrp_model **model) {
    mrp_config *options = run_options(with_folder);
    mrp_dataset *images = NULL;
    mrp_trainer *trainer = NULL;
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &images));
    WORKS(mrp_model_create(options, model));
    WORKS(mrp_trainer_create(*model, images, options, "pretrain", &trainer));
    mrp_dataset_destroy(images);
    mrp_config_destroy(options);
    return trainer;
}

/* The body of a process; the parent stays without threads and open files. */
static void undisturbed(void) {
    mrp_model *model = NULL;
    mrp_trainer *trainer = new_trainer(0, &model);
    shared->digests[0] = digest_of(model);
    for (int step = 1; step <= STEPS; step++) {
        WORKS(mrp_trainer_step(trainer));
        shared->digests[step] = digest_of(model);
        EXPECT(shared->digests[step] != shared->digests[step - 1]);
    }
    EXPECT(mrp_trainer_step(trainer) == MRP_DONE);
}

/* When step k + 1 has returned, the checkpoint of step k has been waited for. */
static void train(void) {
    mrp_model *model = NULL;
    mrp_trainer *trainer = new_trainer(1, &model);
    while (mrp_trainer_step(trainer) == MRP_OK) {
        const int step = (int)mrp_progress_value(mrp_trainer_progress(trainer), "step");
        __atomic_store_n(&shared->on_disk, step == STEPS ? step : step - 1, __ATOMIC_SEQ_CST);
    }
}

static void verify(void) {
    mrp_model *model = NULL;
    mrp_trainer *trainer = new_trainer(1, &model);
    const int step = (int)mrp_progress_value(mrp_trainer_progress(trainer), "step");
    CHECK(step >= shared->on_disk, "step %d is on the disk, but only %d was found", (int)shared->on_disk, step);
    CHECK(digest_of(model) == shared->digests[step], "the checkpoint of step %d has other weights", step);
    shared->found = step;
}

static pid_t start(void (*body)(void)) {
    const pid_t child = fork();
    if (child != 0) return child;
    check_failures = 0;
    body();
    fflush(stdout);
    _exit(check_failures != 0);
}

static int ended_well(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int count_files(const char *place, const char *suffix, int and_delete) {
    DIR *stream = opendir(place);
    struct dirent *entry;
    int count = 0;
    while (stream && (entry = readdir(stream))) {
        const size_t length = strlen(entry->d_name), tail = strlen(suffix);
        if (entry->d_name[0] == '.' || length < tail || strcmp(entry->d_name + length - tail, suffix) != 0) continue;
        char path[400];
        snprintf(path, sizeof path, "%s/%s", place, entry->d_name);
        count++;
        if (and_delete) unlink(path);
    }
    if (stream) closedir(stream);
    return count;
}

/* Deletes what is in the run folder. */
static void empty(void) {
    char events[400];
    snprintf(events, sizeof events, "%s/pretrain", folder);
    count_files(events, "", 1);
    rmdir(events);
    count_files(folder, "", 1);
}

int main(int argc, char **argv) {
    const long kills = argc > 1 ? atol(argv[1]) : 200;
    uint64_t random = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    fill_images();
    EXPECT(mkdtemp(root) != NULL);
    snprintf(folder, sizeof folder, "%s/run", root);
    snprintf(saved, sizeof saved, "%s/model.safetensors", root);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(shared != MAP_FAILED);
    EXPECT(ended_well(start(undisturbed)));

    long done = 0, runs = 0, leftovers = 0, stopped_at[STEPS + 1] = {0};
    while (done < kills && check_failures == 0) {
        const pid_t child = start(train);
        random = random * 6364136223846793005u + 1442695040888963407u;
        const long microseconds = (long)((random >> 33) % 60000);
        nanosleep(&(struct timespec){0, microseconds * 1000}, NULL);
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) {
            CHECK(WTERMSIG(status) == SIGKILL, "the training process ended by signal %d", WTERMSIG(status));
            done++;
            leftovers += count_files(folder, ".tmp", 0);
        } else {
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the training process ended with %d", status);
        }
        CHECK(ended_well(start(verify)), "after kill %ld", done);
        CHECK(count_files(folder, ".tmp", 0) == 0 && count_files(folder, ".damaged", 0) == 0, "after kill %ld", done);
        stopped_at[shared->found]++;
        if (shared->found == STEPS) { /* the weights of the last step were compared above */
            runs++;
            empty();
            __atomic_store_n(&shared->on_disk, 0, __ATOMIC_SEQ_CST);
        }
    }
    int cuts = 0;
    for (int step = 0; step < STEPS; step++) cuts += stopped_at[step] > 0;
    empty();
    rmdir(folder);
    unlink(saved);
    snprintf(saved, sizeof saved, "%s/model.json", root);
    unlink(saved);
    rmdir(root);
    EXPECT(done == kills);
    EXPECT(kills < 100 || (runs > 0 && leftovers > 0));
    printf("%ld kills at %d of %d steps, %ld with a file half written, %ld runs completed\n", done, cuts, STEPS, leftovers, runs);
    return check_result("kills");
}
