/* The library in a host: an allocator that fails at the Nth call (every N must give MRP_ERR_MEMORY and leak nothing), cancelling
 * from another thread, one handle used by two threads, progress, trainers, files. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "small.h"

/* ---- An allocator that counts, and fails at one call */

static pthread_mutex_t allocator_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t live_bytes, live_blocks, calls, failing_call = -1;

static void *allocate(size_t bytes, size_t alignment, void *user) {
    void *memory = NULL;
    (void)user;
    pthread_mutex_lock(&allocator_lock);
    calls++;
    if (calls != failing_call && posix_memalign(&memory, alignment, bytes ? bytes : 1) == 0) {
        live_bytes += (int64_t)bytes;
        live_blocks++;
    } else {
        memory = NULL;
    }
    pthread_mutex_unlock(&allocator_lock);
    return memory;
}

static void release(void *memory, size_t bytes, void *user) {
    (void)user;
    pthread_mutex_lock(&allocator_lock);
    live_bytes -= (int64_t)bytes;
    live_blocks--;
    pthread_mutex_unlock(&allocator_lock);
    free(memory);
}

static mrp_config *options;
static mrp_dataset *dataset; /* labelled */

/* ---- Scenarios, each from nothing to nothing; the first status that is not MRP_OK is the result */

#define STEP(call)                             \
    do {                                       \
        if (status == MRP_OK) status = (call); \
    } while (0)

static mrp_status make_dataset(void) {
    mrp_dataset *copy = NULL, *few = NULL;
    static float images[VALUES];
    mrp_status status = mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &copy);
    STEP(mrp_dataset_subset(copy, 8, 1, &few));
    STEP(mrp_dataset_images(few, 0, 8, 4, 4, images, VALUES));
    mrp_dataset_destroy(few);
    mrp_dataset_destroy(copy);
    return status;
}

static mrp_status generate(void) {
    mrp_dataset *made = NULL;
    static float images[4 * 3 * 32 * 32];
    mrp_status status = mrp_dataset_generate(NULL, 4, 1, &made);
    STEP(mrp_dataset_images(made, 0, 4, 0, 0, images, 4 * 3 * 32 * 32));
    mrp_dataset_destroy(made);
    return status;
}

static mrp_status train_and_use(void) {
    mrp_model *model = NULL, *copy = NULL, *loaded = NULL;
    static float numbers[VALUES], others[VALUES];
    uint8_t masks[COUNT * PATCHES];
    double value;
    mrp_status status = mrp_model_create(options, &model);
    STEP(mrp_pretrain(model, dataset, options, NULL, NULL));
    STEP(mrp_reconstruct(model, dataset, options, NULL, COUNT * PATCHES, numbers, others, VALUES, masks, &value));
    STEP(mrp_model_clone(model, &copy));
    STEP(mrp_finetune(copy, dataset, options, NULL, NULL));
    STEP(mrp_evaluate(copy, dataset, options, "top1", &value));
    STEP(mrp_predict(copy, dataset, options, numbers, VALUES));
    STEP(mrp_encode(copy, dataset, options, numbers, VALUES));
    STEP(mrp_model_save(copy, "test_api.safetensors", NULL));
    STEP(mrp_model_load("test_api.safetensors", NULL, &loaded));
    mrp_model_destroy(model);
    mrp_model_destroy(copy);
    mrp_model_destroy(loaded);
    return status;
}

static mrp_status step_by_step(void) {
    mrp_model *model = NULL;
    mrp_trainer *trainer = NULL;
    mrp_status status = mrp_model_create(options, &model);
    STEP(mrp_trainer_create(model, dataset, options, "finetune", &trainer));
    STEP(mrp_trainer_step(trainer));
    STEP(mrp_trainer_save(trainer, "test_api.run"));
    STEP(mrp_trainer_resume(trainer, "test_api.run"));
    STEP(mrp_trainer_step(trainer));
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(model);
    return status;
}

/* `ahead`: a loader thread may fail at a batch that is never needed, so the scenario may also succeed. */
static void fail_every_allocation(const char *name, mrp_status (*scenario)(void), int ahead) {
    failing_call = -1;
    WORKS(scenario()); /* what is made once and kept */
    const int64_t bytes = live_bytes, blocks = live_blocks;
    int64_t n = 0;
    for (;;) {
        n++;
        pthread_mutex_lock(&allocator_lock);
        calls = 0;
        failing_call = n;
        pthread_mutex_unlock(&allocator_lock);
        const mrp_status status = scenario();
        const int reached = calls >= n;
        failing_call = -1;
        if (live_bytes != bytes || live_blocks != blocks) {
            CHECK_FAIL("%s: allocation %ld: %ld bytes in %ld blocks were not given back", name, (long)n, (long)(live_bytes - bytes),
                       (long)(live_blocks - blocks));
            break;
        }
        if (!reached) {
            EXPECT(status == MRP_OK);
            break;
        }
        if (status != MRP_ERR_MEMORY && !(ahead && status == MRP_OK)) {
            CHECK_FAIL("%s: allocation %ld fails: %s (%s)", name, (long)n, mrp_status_string(status), mrp_last_error());
        } else {
            check_count++;
        }
    }
    EXPECT(n > 1);
    printf("%s: %ld allocations\n", name, (long)n - 1);
}

static void test_allocator(void) {
    EXPECT(mrp_set_allocator(allocate, NULL, NULL) == MRP_ERR_ARGUMENT);
    EXPECT(mrp_set_allocator(NULL, release, NULL) == MRP_ERR_ARGUMENT);
    const int64_t before = mrp_memory_in_use();
    WORKS(mrp_set_allocator(allocate, release, NULL));
    WORKS(mrp_config_set(options, "loader_threads", "0"));
    fail_every_allocation("make_dataset", make_dataset, 0);
    fail_every_allocation("generate", generate, 0);
    fail_every_allocation("train_and_use", train_and_use, 0);
    fail_every_allocation("step_by_step", step_by_step, 0);
    WORKS(mrp_config_set(options, "loader_threads", "2"));
    fail_every_allocation("train_and_use, loader threads", train_and_use, 1);
    fail_every_allocation("step_by_step, loader threads", step_by_step, 1);
    WORKS(mrp_set_allocator(NULL, NULL, NULL));
    EXPECT(mrp_memory_in_use() - live_bytes == before);
}

/* ---- Cancelling, and one handle in two threads */

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

typedef struct {
    mrp_model *model;
    double cancelled;
    mrp_status busy[5];
} other_thread;

static void *disturb_and_cancel(void *argument) {
    other_thread *other = argument;
    static float numbers[VALUES];
    mrp_model *copy = NULL;
    char text[8];
    const struct timespec pause = {0, 100 * 1000 * 1000};
    while (mrp_cancel(other->model) == MRP_DONE) {} /* the call has begun; this cancel may stop it already */
    nanosleep(&pause, NULL);
    other->busy[0] = mrp_model_clone(other->model, &copy);
    other->busy[1] = mrp_model_save(other->model, "never.safetensors", NULL);
    other->busy[2] = mrp_encode(other->model, dataset, options, numbers, VALUES);
    other->busy[3] = mrp_pretrain(other->model, dataset, options, NULL, NULL);
    other->busy[4] = mrp_model_describe(other->model, text, sizeof text, NULL);
    other->cancelled = seconds();
    while (mrp_cancel(other->model) == MRP_OK) {}
    return NULL;
}

/* Goes on when the first cancel comes before the second phase. */
static void test_cancel(void) {
    mrp_config *endless = small_options();
    mrp_model *model = NULL;
    other_thread other = {0};
    pthread_t thread;
    double loss;
    WORKS(mrp_config_set(endless, "epochs", "1000000"));
    WORKS(mrp_model_create(options, &model));
    EXPECT(mrp_cancel(model) == MRP_DONE);
    other.model = model;
    EXPECT(pthread_create(&thread, NULL, disturb_and_cancel, &other) == 0);
    do { EXPECT(mrp_pretrain(model, dataset, endless, NULL, NULL) == MRP_CANCELLED); } while (other.cancelled == 0);
    const double late = seconds() - other.cancelled;
    pthread_join(thread, NULL);
    for (int i = 0; i < 5; i++) {
        if (other.busy[i] != MRP_ERR_BUSY) CHECK_FAIL("call %d beside a running one gives %s", i, mrp_status_string(other.busy[i]));
    }
    printf("cancelled after %.1f ms\n", 1000 * late);
    EXPECT(late < 5); /* a bound for loaded machines; 50 ms is meant */
    WORKS(mrp_evaluate(model, dataset, options, "reconstruction_loss", &loss));
    EXPECT(isfinite(loss));
    mrp_model_destroy(model);
    mrp_config_destroy(endless);
}

/* ---- Progress */

typedef struct {
    int calls, stop_at;
    double last_step, last_fraction, loss;
    mrp_model *model;
    mrp_status inside;
} seen;

static int32_t watch(const mrp_progress *progress, void *user) {
    seen *s = user;
    const double step = mrp_progress_value(progress, "step");
    s->calls++;
    EXPECT(step >= s->last_step);
    EXPECT(mrp_progress_fraction(progress) >= s->last_fraction);
    EXPECT(mrp_progress_value(progress, "steps") == 2);
    EXPECT(strcmp(mrp_progress_phase(progress), "pretrain") == 0);
    s->last_step = step;
    s->last_fraction = mrp_progress_fraction(progress);
    s->loss = mrp_progress_value(progress, "loss");
    s->inside = mrp_model_save(s->model, "never.safetensors", NULL);
    return s->stop_at == (int)step;
}

static void test_progress(void) {
    mrp_model *model = NULL;
    WORKS(mrp_model_create(options, &model));
    seen all = {0, -1, 0, 0, 0, model, MRP_OK}, some = {0, 1, 0, 0, 0, model, MRP_OK};
    WORKS(mrp_pretrain(model, dataset, options, watch, &all));
    EXPECT(all.calls >= 2 && all.last_step == 2 && all.last_fraction == 1);
    EXPECT(isfinite(all.loss));
    EXPECT(all.inside == MRP_ERR_BUSY);
    EXPECT(mrp_pretrain(model, dataset, options, watch, &some) == MRP_CANCELLED);
    EXPECT(some.last_step == 1);
    mrp_model_destroy(model);
}

/* ---- Handles may be destroyed in any order */

static void test_lifetimes(void) {
    mrp_dataset *images = NULL, *few = NULL;
    mrp_model *model = NULL;
    mrp_trainer *trainer = NULL;
    mrp_config *settings = small_options();
    int32_t read[8];
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &images));
    WORKS(mrp_dataset_subset(images, 8, 1, &few));
    mrp_dataset_destroy(images);
    WORKS(mrp_dataset_labels(few, read, 8));
    WORKS(mrp_model_create(settings, &model));
    WORKS(mrp_trainer_create(model, few, settings, "pretrain", &trainer));
    mrp_config_destroy(settings);
    mrp_dataset_destroy(few);
    mrp_model_destroy(model);
    WORKS(mrp_trainer_step(trainer));
    mrp_trainer_destroy(trainer);
}

static void *error_text_of_another_thread(void *argument) {
    char *text = argument;
    strncpy(text, mrp_last_error(), 99);
    (void)mrp_config_set(NULL, "a", "b");
    return NULL;
}

static void test_error_text_is_per_thread(void) {
    char text[100] = "unchanged";
    char before[1024];
    pthread_t thread;
    EXPECT(mrp_config_set(options, "mask_rato", "1") == MRP_ERR_ARGUMENT);
    strncpy(before, mrp_last_error(), sizeof before - 1);
    before[sizeof before - 1] = 0;
    EXPECT(pthread_create(&thread, NULL, error_text_of_another_thread, text) == 0);
    pthread_join(thread, NULL);
    EXPECT(strcmp(text, "") == 0);
    EXPECT(strcmp(before, mrp_last_error()) == 0);
}

int main(void) {
    fill_images();
    options = small_options();
    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &dataset));
    test_error_text_is_per_thread();
    test_progress();
    test_lifetimes();
    test_cancel();
    test_allocator();
    mrp_dataset_destroy(dataset);
    mrp_config_destroy(options);
    remove("test_api.safetensors");
    remove("test_api.json");
    remove("test_api.run");
    return check_result(__FILE__);
}
