/* One run at a time trains a model; other threads may read where it is; every long call can be stopped; a forked child is told what it cannot
 * use. */
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "pairs.h"
#include "failing.h"

/* ---- One run at a time */

static mrp_dataset *dataset_of(int classes) {
    static int32_t numbers_of[COUNT];
    mrp_dataset *made = NULL;
    for (int i = 0; i < COUNT; i++) numbers_of[i] = i == 0 ? classes - 1 : i % 2;
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, numbers_of, &made));
    return made;
}

static void *no_memory(size_t bytes, size_t alignment, void *user) {
    (void)bytes, (void)alignment, (void)user;
    return NULL;
}

static void no_release(void *memory, size_t bytes, void *user) { (void)memory, (void)bytes, (void)user; }

/* What overflowed the heap: mixed targets of a trainer whose model has the head of another one. */
static void test_one_run(void) {
    static const char *const more[][2] = {{"mixup", "0.8"}, {"ema_decay", "0.9"}, {"seed", "1"}};
    mrp_dataset *few = dataset_of(2), *many = dataset_of(1000);
    for (int i = 0; i < 3; i++) {
        mrp_config *other = small_options();
        mrp_model *m = NULL;
        mrp_trainer *first = NULL, *second = NULL;
        double top1;
        WORKS(mrp_config_set(other, more[i][0], more[i][1]));
        WORKS(mrp_config_set(other, "loader_threads", "0")); /* nothing may ask for memory while there is none but the calls below */
        WORKS(mrp_model_create(other, &m));
        WORKS(mrp_trainer_create(m, few, other, "finetune", &first));
        WORKS(mrp_trainer_step(first));
        FAILS(mrp_trainer_create(m, many, other, "finetune", &second), MRP_ERR_BUSY, "step 1 of 2 (finetune)");
        FAILS(mrp_finetune(m, many, other, NULL, NULL), MRP_ERR_BUSY, "trainer");
        FAILS(mrp_pretrain(m, many, other, NULL, NULL), MRP_ERR_BUSY, "trainer");
        WORKS(mrp_evaluate(m, few, other, "top1", &top1));
        WORKS(mrp_set_allocator(no_memory, no_release, NULL));
        FAILS(mrp_trainer_save(first, in_root("none.ckpt")), MRP_ERR_MEMORY, "cannot allocate");
        WORKS(mrp_set_allocator(NULL, NULL, NULL));
        WORKS(mrp_trainer_step(first));
        /* The run has ended: another one may begin, and this one cannot go on. */
        WORKS(mrp_trainer_create(m, many, other, "finetune", &second));
        FAILS(mrp_trainer_step(first), MRP_ERR_STATE, "another run");
        FAILS(mrp_trainer_save(first, in_root("stale.ckpt")), MRP_ERR_STATE, "another run");
        FAILS(mrp_trainer_resume(first, in_root("stale.ckpt")), MRP_ERR_STATE, "another run");
        FAILS(mrp_trainer_suspend(first), MRP_ERR_STATE, "another run");
        WORKS(mrp_trainer_step(second));
        mrp_trainer_destroy(second);
        WORKS(mrp_finetune(m, few, other, NULL, NULL));
        mrp_trainer_destroy(first);
        mrp_model_destroy(m);
        mrp_config_destroy(other);
    }
    mrp_dataset_destroy(few);
    mrp_dataset_destroy(many);
}

/* ---- Progress */

typedef struct {
    mrp_trainer *trainer;
    int stop;
    long reads;
    int wrong;
} reader;

static void *read_on(void *argument) {
    reader *r = argument;
    while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
        const mrp_progress *progress = mrp_trainer_progress(r->trainer);
        const double loss = mrp_progress_value(progress, "loss"), step = mrp_progress_value(progress, "step");
        int64_t steps = 0;
        (void)mrp_progress_value(progress, "feature_std");
        if (strcmp(mrp_progress_phase(progress), "pretrain") != 0 || strcmp(mrp_trainer_end(r->trainer), "") != 0)
            __atomic_fetch_add(&r->wrong, 1, __ATOMIC_RELAXED);
        if ((step > 0 && !isfinite(loss)) || mrp_trainer_plan(r->trainer, NULL, &steps) || steps != 2000000)
            __atomic_fetch_add(&r->wrong, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&r->reads, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void test_progress(void) {
    mrp_config *other = small_options();
    mrp_model *m = model_for(&operations[0]);
    reader r = {NULL, 0, 0, 0};
    pthread_t threads[2];
    WORKS(mrp_config_set(other, "epochs", "1000000"));
    WORKS(mrp_trainer_create(m, labelled, other, "pretrain", &r.trainer));
    WORKS(mrp_trainer_step(r.trainer));
    for (int i = 0; i < 2; i++) EXPECT(pthread_create(&threads[i], NULL, read_on, &r) == 0);
    for (int i = 0; i < 1000; i++) EXPECT(mrp_trainer_step(r.trainer) == MRP_OK);
    __atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    EXPECT(r.reads > 0 && r.wrong == 0);
    const mrp_progress *progress = mrp_trainer_progress(r.trainer);
    EXPECT(mrp_progress_value(progress, "step") == 1001);
    mrp_trainer_destroy(r.trainer);
    /* What is gone is no crash, and no other object. */
    EXPECT(isnan(mrp_progress_value(progress, "step")) && isnan(mrp_progress_fraction(progress)) && !mrp_progress_phase(progress)[0]);
    EXPECT(mrp_trainer_progress(r.trainer) == NULL);
    mrp_model_destroy(m);
    mrp_config_destroy(other);
}

/* A handle that is gone names no handle that comes later. */
static void test_names(void) {
    mrp_config *before = NULL, *after = NULL;
    WORKS(mrp_config_create(NULL, &before));
    mrp_config_destroy(before);
    for (int i = 0; i < 100; i++) {
        WORKS(mrp_config_create(NULL, &after));
        EXPECT(mrp_config_set(before, "epochs", "1") == MRP_ERR_HANDLE);
        mrp_config_destroy(after);
    }
}

/* ---- Stopping */

static int32_t say_stop(void *user) {
    ++*(int *)user;
    return 1;
}

static int32_t stop_the_third(void *user) { return ++*(int *)user >= 3; }

static void test_interrupt(void) {
    static uint8_t large[1 << 20];
    static float floats[4 * VALUES];
    mrp_dataset *made = NULL;
    mrp_model *model = NULL;
    mrp_trainer *trainer = NULL, *running = NULL;
    char text[8], saved[256], folder_path[256];
    int64_t needed;
    int asked = 0;
    double value;
    snprintf(saved, sizeof saved, "%s", in_root("kept.safetensors"));
    snprintf(folder_path, sizeof folder_path, "%s", in_root("images"));
    WORKS(mrp_model_save(mae, saved, NULL));
    mrp_model *m = model_for(&operations[0]);
    WORKS(mrp_trainer_create(m, labelled, options, "pretrain", &running));
    WORKS(mrp_trainer_save(running, in_root("kept.ckpt")));

    mrp_set_interrupt(say_stop, &asked);
    STOPS(mrp_model_create(options, &model));
    STOPS(mrp_model_load(saved, NULL, &model));
    STOPS(mrp_model_save(mae, in_root("never.safetensors"), NULL));
    STOPS(mrp_model_export_onnx(mae, in_root("never.onnx"), NULL));
    STOPS(mrp_model_clone(mae, &model));
    STOPS(mrp_file_describe(saved, text, sizeof text, &needed));
    STOPS(mrp_dataset_open_folder(folder_path, NULL, &made));
    STOPS(mrp_dataset_from_array(large, MRP_UINT8, 1, 1, 1024, 1024, MRP_NCHW, NULL, &made));
    STOPS(mrp_dataset_wrap_array(floats, MRP_FLOAT32, 1, 1, 8, 8, MRP_NCHW, NULL, &made));
    STOPS(mrp_dataset_generate(NULL, 4, 0, &made));
    STOPS(mrp_dataset_images(labelled, 0, COUNT, 0, 0, floats, 4 * VALUES));
    STOPS(mrp_trainer_create(mae, labelled, options, "pretrain", &trainer));
    STOPS(mrp_trainer_save(running, in_root("never.ckpt")));
    STOPS(mrp_trainer_resume(running, in_root("kept.ckpt")));
    STOPS(mrp_trainer_step(running));
    for (int i = 0; i < OPERATIONS; i++) {
        pass();
        fails(operations[i].call(subject(&operations[i]), labelled, options), MRP_CANCELLED, "", operations[i].name, __LINE__);
    }
    EXPECT(asked >= 13 + OPERATIONS && !model && !made && !trainer);
    EXPECT(access(in_root("never.safetensors"), F_OK) != 0 && access(in_root("never.onnx"), F_OK) != 0);

    /* In the middle of a run: what was finished stays. */
    mrp_config *endless = small_options();
    WORKS(mrp_config_set(endless, "epochs", "1000000"));
    asked = 0;
    mrp_set_interrupt(stop_the_third, &asked);
    mrp_trainer_destroy(running);
    FAILS(mrp_pretrain(m, labelled, endless, NULL, NULL), MRP_CANCELLED, "");
    EXPECT(asked == 3);
    mrp_set_interrupt(NULL, NULL);
    WORKS(mrp_evaluate(m, labelled, options, "reconstruction_loss", &value));
    mrp_config_destroy(endless);
    mrp_model_destroy(m);
}

/* A call that is told once to stop right after it has begun stops. */
typedef struct {
    mrp_model *model;
    mrp_config *options;
    int begin, ended, end;
} runner;

static void wait_shortly(void) {
    const struct timespec time = {0, 20000};
    nanosleep(&time, NULL);
}

static void *run_on(void *argument) {
    runner *r = argument;
    while (!__atomic_load_n(&r->end, __ATOMIC_ACQUIRE)) {
        if (__atomic_exchange_n(&r->begin, 0, __ATOMIC_ACQ_REL)) {
            EXPECT(mrp_pretrain(r->model, labelled, r->options, NULL, NULL) == MRP_CANCELLED);
            __atomic_store_n(&r->ended, 1, __ATOMIC_RELEASE);
        } else {
            wait_shortly();
        }
    }
    return NULL;
}

static void test_no_cancel_is_lost(void) {
    runner r = {model_for(&operations[0]), small_options(), 0, 0, 0};
    pthread_t thread;
    WORKS(mrp_config_set(r.options, "epochs", "1000000"));
    WORKS(mrp_config_set(r.options, "threads", "1"));
    WORKS(mrp_config_set(r.options, "loader_threads", "0"));
    EXPECT(pthread_create(&thread, NULL, run_on, &r) == 0);
    for (int i = 0; i < 200; i++) {
        __atomic_store_n(&r.ended, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&r.begin, 1, __ATOMIC_RELEASE);
        while (mrp_cancel(r.model) != MRP_OK) {}
        while (!__atomic_load_n(&r.ended, __ATOMIC_ACQUIRE)) wait_shortly(); /* a lost one hangs here */
    }
    __atomic_store_n(&r.end, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    mrp_model_destroy(r.model);
    mrp_config_destroy(r.options);
}

/* ---- Forked children */

static int32_t fork_within(const mrp_progress *progress, void *user) {
    int how = 0;
    (void)progress;
    const pid_t child = fork();
    if (child == 0) {
        const long before = check_failures;
        double value;
        /* The call that was running belongs to the parent; this one is told so, whatever it asks for. */
        EXPECT(mrp_evaluate(user, labelled, options, "reconstruction_loss", &value) == MRP_ERR_FORKED);
        EXPECT(strstr(mrp_last_error(), "parent") != NULL);
        EXPECT(mrp_cancel(user) == MRP_ERR_FORKED);
        mrp_model *copy = NULL;
        EXPECT(mrp_model_clone(mae, &copy) == MRP_OK);
        mrp_model_destroy(copy);
        _exit(check_failures != before);
    }
    EXPECT(child > 0 && waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    return 1;
}

static void test_fork(void) {
    mrp_model *m = model_for(&operations[0]);
    EXPECT(mrp_pretrain(m, labelled, options, fork_within, m) == MRP_CANCELLED);
    mrp_model_destroy(m);
}

int main(void) {
    begin();
    test_one_run();
    test_progress();
    test_names();
    test_interrupt();
    test_no_cancel_is_lost();
    test_fork();
    return end(__FILE__);
}
