/* Random sequences of calls of the whole interface, from several threads that share handles: live ones, destroyed ones, wild ones.
 * Nothing may crash, hang, give MRP_ERR_INTERNAL or keep memory.
 *
 * Usage: api --seconds S [--calls N] [--seed N] [--threads N] [--failing] [--fork] [--signals]
 *   failing  every few allocations fail      fork  children go on with the handles      signals  SIGALRM every 0.7 ms
 * The last line counts calls and answers. */
#define _GNU_SOURCE
#include <errno.h>
#include <mrp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api_values.h"

enum kind { CONFIG, DATASET, MODEL, TRAINER, LAB, REPORT, KINDS };
enum { SLOTS = 6, MOST_THREADS = 64, FLOATS = 1 << 16, DEPTH = 2, STATUSES = 100, HANG_SECONDS = 600 };

/* What the threads share. */
static void *slots[KINDS][SLOTS];
static long calls, answers[STATUSES + 1], allocations, failing_every;
static int fails, forks;
static double end;
static long most_calls;
static char folder[200];
static uint8_t bytes[1 << 17];
static uint16_t words[1 << 17];
static float floats[1 << 17];
static int32_t labels[4096];

/* What each thread has. */
static _Thread_local uint64_t random_state;
static _Thread_local int depth;
static _Thread_local struct {
    float values[FLOATS];
    double doubles[1 << 14];
    int64_t counts[1 << 12];
    int32_t numbers[5 * 100], labels[4096];
    uint8_t masks[1 << 13];
    char text[512], path[256];
} own;

static double began[MOST_THREADS];
static const char *doing[MOST_THREADS];
static _Thread_local int thread_number;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static uint32_t word(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}
/* The longest call of each thread. */
static struct {
    double seconds;
    const char *call;
} slowest[MOST_THREADS];

static void time_call(const char *call, double seconds) {
    if (seconds > slowest[thread_number].seconds) slowest[thread_number].seconds = seconds, slowest[thread_number].call = call;
}

static int below(int limit) { return (int)(word() % (uint32_t)limit); }
static int one_in(int count) { return below(count) == 0; }
static void seed_thread(uint64_t seed, int number) {
    thread_number = number;
    random_state = 88172645463325252ull ^ (((uint64_t)number + 1 + 1000 * seed) * 0xD1B54A32D192ED03ull);
}

/* ---- Calls */

static void count_call(const char *what, mrp_status status) {
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&answers[status < 0 && status >= -STATUSES ? -status : 0], 1, __ATOMIC_RELAXED);
    if (status == MRP_ERR_INTERNAL) {
        fprintf(stderr, "internal error of %s: %s\n", what, mrp_last_error());
        abort();
    }
}

#define CALL(call)                                                        \
    do {                                                                  \
        __atomic_store_n(&doing[thread_number], #call, __ATOMIC_RELAXED); \
        double start_ = now();                                            \
        __atomic_store(&began[thread_number], &start_, __ATOMIC_RELAXED); \
        mrp_status status_ = (call);                                      \
        time_call(#call, now() - start_);                                 \
        start_ = 0;                                                       \
        __atomic_store(&began[thread_number], &start_, __ATOMIC_RELAXED); \
        count_call(#call, status_);                                       \
    } while (0)

static void destroy(int kind, void *handle) {
    switch (kind) {
    case CONFIG: mrp_config_destroy(handle); break;
    case DATASET: mrp_dataset_destroy(handle); break;
    case MODEL: mrp_model_destroy(handle); break;
    case TRAINER: mrp_trainer_destroy(handle); break;
    case LAB: mrp_lab_destroy(handle); break;
    default: mrp_lab_report_destroy(handle); break;
    }
}

/* A handle of the kind, and now and then NULL, one of another kind, or none. */
static void *any(int kind) {
    switch (below(40)) {
    case 0: return NULL;
    case 1: kind = below(KINDS); break;
    case 2: return (void *)(uintptr_t)(word() & ~7u);
    default: break;
    }
    return __atomic_load_n(&slots[kind][below(SLOTS)], __ATOMIC_ACQUIRE);
}

static void keep(int kind, void *handle) {
    if (!handle) return;
    void *old = __atomic_exchange_n(&slots[kind][below(SLOTS)], handle, __ATOMIC_ACQ_REL);
    if (old) destroy(kind, old);
}

#define MAKE(kind, type, call) \
    do {                       \
        type *made = NULL;     \
        CALL(call);            \
        keep(kind, made);      \
    } while (0)

static const char *path(const char *extension) {
    snprintf(own.path, sizeof own.path, "%s/%d.%s", folder, below(4), extension);
    return own.path;
}

static int is_over(void) { return now() > end || (most_calls && __atomic_load_n(&calls, __ATOMIC_RELAXED) >= most_calls); }

/* ---- Functions of the caller, which call back */

static void operate(void);

static void call_back(void) {
    if (depth >= DEPTH || !one_in(6)) return;
    depth++;
    operate();
    depth--;
}

/* Calls that are under way at the end stop too. */
static int32_t interrupt(void *user) {
    (void)user;
    return one_in(400) || is_over();
}

static int32_t on_progress(const mrp_progress *progress, void *user) {
    static const char *const names[] = {"loss", "step", "top1", "feature_rank", "seconds_left", "junk", "best", ""};
    (void)user, (void)mrp_progress_fraction(progress), (void)mrp_progress_phase(progress)[0];
    (void)mrp_progress_value(progress, names[below(8)]);
    call_back();
    return one_in(12) || is_over();
}

static int32_t fill_noise(const int64_t *indices, int64_t count, int64_t patches, float *noise, void *user) {
    (void)user;
    const int form = below(8);
    for (int64_t i = 0; i < count * patches; i++) {
        noise[i] = form == 0 ? 0.0f / 0.0f : form == 1 ? (float)(i & 1) : form == 2 ? 1e38f * 10 : (float)below(1000);
    }
    call_back();
    return indices[0] < 0 || one_in(20);
}

static int32_t fill_targets(const int64_t *indices, int64_t count, const float *images, int64_t image_values, int64_t patches,
                            int64_t width, float *targets, void *user) {
    (void)user;
    const float first = images[0] + images[count * image_values - 1] + (float)indices[count - 1];
    for (int64_t i = 0; i < count * patches * width; i++) targets[i] = one_in(50) ? 1e38f * 10 : first + (float)i;
    call_back();
    return one_in(20);
}

static void on_log(int32_t level, const char *text, void *user) {
    (void)user;
    if (level <= MRP_LOG_NONE || !text[0] || strchr(text, '\n')) abort();
}

static void *allocate(size_t size, size_t alignment, void *user) {
    (void)user;
    const long every = __atomic_load_n(&failing_every, __ATOMIC_RELAXED), number = __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    void *memory = NULL;
    if (size > 1u << 30 || (every && number % every == 0)) return NULL;
    return posix_memalign(&memory, alignment, size) ? NULL : memory;
}

/* What is used after it was released shows. */
static void release(void *memory, size_t size, void *user) {
    (void)user;
    memset(memory, 0xee, size < 4096 ? size : 4096);
    free(memory);
}

/* ---- Operations */

static const char *junk(void) { return junk_values[below(JUNK_VALUES)]; }

static void set_option(mrp_config *config) {
    const char *const *option = option_values[below(OPTION_VALUES)];
    int count = 1;
    while (count < MOST_VALUES && option[count]) count++;
    char key[80];
    snprintf(key, sizeof key, "%s%s", one_in(10) ? "pretrain." : one_in(9) ? "finetune." : "", option[0]);
    CALL(mrp_config_set(config, key, one_in(20) ? junk() : option[1 + below(count - 1)]));
}

static mrp_config *small_config(void) {
    static const char *const base[][2] = {{"image_size", "8"},
                                          {"patch_size", "4"},
                                          {"width", "16"},
                                          {"depth", "1"},
                                          {"heads", "2"},
                                          {"mlp_ratio", "2"},
                                          {"decoder_width", "16"},
                                          {"decoder_depth", "1"},
                                          {"decoder_heads", "2"},
                                          {"threads", "2"},
                                          {"loader_threads", "1"},
                                          {"batch_size", "4"},
                                          {"learning_rate", "0.001"},
                                          {"epochs", "1"}};
    mrp_config *config = NULL;
    mrp_config_create(NULL, &config);
    for (size_t i = 0; config && i < sizeof base / sizeof base[0]; i++) mrp_config_set(config, base[i][0], base[i][1]);
    for (int i = below(6); i > 0; i--) set_option(config);
    if (one_in(6)) CALL(mrp_config_set(config, "run_folder", path("run")));
    return config;
}

static void make_config(void) { keep(CONFIG, small_config()); }
static void make_preset(void) {
    mrp_config *made = NULL;
    CALL(mrp_config_create(below(2) ? "mae_vit_tiny_32" : junk(), &made));
    mrp_config_destroy(made);
}
static void change_config(void) { set_option(any(CONFIG)); }
static void read_config(void) {
    int64_t needed;
    CALL(mrp_config_get(any(CONFIG), one_in(30) ? junk() : option_values[below(OPTION_VALUES)][0], own.text, below(64), &needed));
}

static void make_array(void) {
    const int huge = one_in(30), side = 1 + below(9), type = 1 + below(3);
    const int64_t wild = (int64_t)((uint64_t)word() << 32 | word());
    const char *pixels = type == MRP_UINT8 ? (const char *)bytes : type == MRP_UINT16 ? (const char *)words : (const char *)floats;
    MAKE(DATASET, mrp_dataset,
         (below(2) ? mrp_dataset_from_array : mrp_dataset_wrap_array)(pixels + one_in(20), type, huge ? wild : 1 + below(20),
                                                                      one_in(30) ? wild
                                                                      : below(3) ? 3
                                                                                 : 1 + below(4),
                                                                      side, below(4) ? side : 1 + below(9), below(2),
                                                                      huge || one_in(4) ? NULL : labels, &made));
}
static void make_images(void) {
    MAKE(DATASET, mrp_dataset, mrp_dataset_from_array(bytes, MRP_UINT8, 4 + below(20), 3, 8, 8, MRP_NCHW, labels, &made));
}
static void generate(void) {
    MAKE(DATASET, mrp_dataset,
         mrp_dataset_generate(any(CONFIG), one_in(20) ? (int64_t)((uint64_t)word() << 34) : 1 + below(20), word(), &made));
}
static void subset(void) { MAKE(DATASET, mrp_dataset, mrp_dataset_subset(any(DATASET), 1 + below(10), word(), &made)); }
static void select_images(void) {
    const int64_t counts[4] = {below(4) - (one_in(20) ? 5 : 0), below(4), below(4), one_in(20) ? INT64_MAX : below(4)};
    MAKE(DATASET, mrp_dataset, mrp_dataset_select(any(DATASET), counts, one_in(5) ? below(6) : 4, word(), &made));
}
static void name_classes(void) {
    MAKE(DATASET, mrp_dataset, mrp_dataset_name_classes(any(DATASET), below(2) ? "a\nb\nc\nd" : junk(), &made));
}
static void open_folder(void) {
    MAKE(DATASET, mrp_dataset, mrp_dataset_open_folder(below(3) ? "Tests/fixtures/images" : folder, any(CONFIG), &made));
}
static void describe_dataset(void) {
    int64_t needed;
    int64_t *shape = own.counts;
    mrp_dataset *dataset = any(DATASET);
    CALL(mrp_dataset_shape(dataset, shape, shape + 1, shape + 2, shape + 3, shape + 4));
    CALL(mrp_dataset_class_name(dataset, below(5) - 1, own.text, sizeof own.text, &needed));
    CALL(mrp_dataset_image_name(dataset, below(30) - 1, own.text, sizeof own.text, &needed));
    CALL(mrp_dataset_labels(dataset, own.labels, below(64)));
}
static void read_images(void) {
    CALL(mrp_dataset_images(any(DATASET), below(3), below(5), below(3) ? below(12) : 0, below(12), own.values, FLOATS));
}

static void make_model(void) { MAKE(MODEL, mrp_model, mrp_model_create(any(CONFIG), &made)); }
static void load_model(void) { MAKE(MODEL, mrp_model, mrp_model_load(path("safetensors"), any(CONFIG), &made)); }
static void clone_model(void) { MAKE(MODEL, mrp_model, mrp_model_clone(any(MODEL), &made)); }
static void save_model(void) { CALL(mrp_model_save(any(MODEL), path("safetensors"), any(CONFIG))); }
static void export_model(void) { CALL(mrp_model_export_onnx(any(MODEL), path("onnx"), any(CONFIG))); }
static void describe_model(void) {
    int64_t needed;
    CALL(mrp_model_describe(any(MODEL), own.text, below(sizeof own.text), &needed));
    CALL(mrp_model_parameter(any(MODEL), below(2) ? "cls_token" : below(2) ? "conv1.weight" : "head.weight", own.values, FLOATS, &needed));
    CALL(mrp_file_describe(path(below(2) ? "safetensors" : "ckpt"), own.text, sizeof own.text, &needed));
}
static void cancel(void) {
    CALL(mrp_cancel(any(MODEL)));
    CALL(mrp_lab_cancel(any(LAB)));
}
static void validate(void) { CALL(mrp_model_set_validation(any(MODEL), below(4) ? any(DATASET) : NULL, below(2) ? any(DATASET) : NULL)); }

static void pretrain(void) { CALL(mrp_pretrain(any(MODEL), any(DATASET), any(CONFIG), below(3) ? on_progress : NULL, NULL)); }
static void finetune(void) { CALL(mrp_finetune(any(MODEL), any(DATASET), any(CONFIG), below(3) ? on_progress : NULL, NULL)); }
static void make_trainer(void) {
    MAKE(TRAINER, mrp_trainer,
         mrp_trainer_create(any(MODEL), any(DATASET), any(CONFIG),
                            one_in(30) ? junk()
                            : below(2) ? "pretrain"
                                       : "finetune",
                            &made));
}
static void step(void) {
    mrp_trainer *trainer = any(TRAINER);
    for (int i = below(4); i >= 0; i--) CALL(mrp_trainer_step(trainer));
}
static void change_trainer(void) {
    int64_t size, steps;
    CALL(mrp_trainer_plan(any(TRAINER), &size, &steps));
    CALL(mrp_trainer_set_masking(any(TRAINER), below(3) ? fill_noise : NULL, NULL));
    CALL(mrp_trainer_set_targets(any(TRAINER), below(3) ? fill_targets : NULL, NULL));
}
static void save_trainer(void) { CALL(mrp_trainer_save(any(TRAINER), path("ckpt"))); }
static void resume_trainer(void) { CALL(mrp_trainer_resume(any(TRAINER), path("ckpt"))); }
static void suspend_trainer(void) { CALL(mrp_trainer_suspend(any(TRAINER))); }

static void encode(void) {
    CALL(mrp_encode(any(MODEL), any(DATASET), any(CONFIG), own.values, FLOATS));
    CALL(mrp_attention(any(MODEL), any(DATASET), any(CONFIG), own.values, FLOATS));
}
static void predict(void) { CALL(mrp_predict(any(MODEL), any(DATASET), any(CONFIG), own.values, FLOATS)); }
static void evaluate(void) {
    static const char *const metrics[] = {"top1", "top5", "balanced_top1", "loss", "reconstruction_loss", "x"};
    double value;
    CALL(mrp_evaluate(any(MODEL), any(DATASET), any(CONFIG), metrics[below(6)], &value));
    CALL(mrp_confusion(any(MODEL), any(DATASET), any(CONFIG), own.counts, one_in(5) ? 3 : 1 << 12));
}
static void probe(void) {
    double value;
    CALL(mrp_probe(any(MODEL), any(DATASET), any(DATASET), any(CONFIG), below(2) ? "knn" : "linear", &value));
}
static void reconstruct(void) {
    double loss;
    for (int i = 0; i < 1000; i++) own.masks[i] = i & 1;
    CALL(mrp_reconstruct(any(MODEL), any(DATASET), any(CONFIG), below(2) ? own.masks : NULL, 1 << 12, below(2) ? own.values : NULL,
                         below(2) ? own.values + FLOATS / 2 : NULL, FLOATS / 2, below(2) ? own.masks + (1 << 12) : NULL, &loss));
}

static void make_lab(void) {
    mrp_lab *made = NULL;
    CALL(mrp_lab_create("quick", &made));
    for (size_t i = 0; made && i < sizeof lab_base / sizeof lab_base[0]; i++) CALL(mrp_lab_set(made, lab_base[i][0], lab_base[i][1]));
    keep(LAB, made);
}
static void change_lab(void) {
    const char *const *option = lab_values[below(LAB_VALUES)];
    int64_t needed;
    CALL(mrp_lab_set(any(LAB), option[0], one_in(8) ? junk() : option[1 + below(2)]));
    CALL(mrp_lab_get(any(LAB), option[0], own.text, 100, &needed));
}
static void run_lab(void) { MAKE(REPORT, mrp_lab_report, mrp_lab_run(any(LAB), below(2) ? on_progress : NULL, NULL, &made)); }
static void use_lab(void) {
    int32_t *n = own.numbers;
    int64_t needed;
    CALL(mrp_lab_study(any(LAB), one_in(5) ? "tau=" : "tau=1.1,1.2;theta=0.5,0.6", path("csv"), below(2) ? on_progress : NULL, NULL));
    CALL(mrp_lab_samples(any(LAB), word(), "mixed", below(3), below(4), own.values, FLOATS, n, n + 100, n + 200, n + 300, 200));
    CALL(mrp_lab_features(any(LAB), word(), own.doubles, sizeof own.doubles / sizeof(double), &needed));
}
static void read_report(void) {
    int32_t first, second;
    int64_t rows, seeds, needed;
    double v[3];
    mrp_lab_report *report = any(REPORT);
    CALL(mrp_lab_report_summary(report, &rows, &seeds, &first, &second));
    CALL(mrp_lab_report_row(report, below(40) - 1, below(4) - 2, v, v + 1, v + 2, &first, &second));
    CALL(mrp_lab_report_row_text(report, below(40), "claim", own.text, sizeof own.text, &needed));
    CALL(mrp_lab_report_table(report, below(3) - 1, own.text, sizeof own.text, &needed));
    CALL(mrp_lab_report_json(report, own.text, sizeof own.text, &needed));
    CALL(mrp_lab_report_correlations(report, below(3) - 1, "pretrained", own.doubles, sizeof own.doubles / sizeof(double), &rows, &seeds));
}

static void destroy_one(void) {
    const int kind = below(KINDS);
    void *old = __atomic_exchange_n(&slots[kind][below(SLOTS)], NULL, __ATOMIC_ACQ_REL);
    if (old) destroy(kind, old);
}
static void change_library(void) {
    if (one_in(10)) CALL(mrp_set_log(below(5), below(3) ? on_log : NULL, NULL));
    if (!fails) return;
    __atomic_store_n(&failing_every, below(3) ? 3 + below(300) : 0, __ATOMIC_RELAXED);
    CALL(mrp_set_allocator(allocate, below(5) ? release : NULL, NULL));
}
static void fork_child(void) {
    if (!forks || depth || !one_in(12)) return;
    const pid_t child = fork();
    if (child == 0) {
        alarm(100);
        depth = DEPTH - 1;
        for (int i = 0; i < 12; i++) operate();
        _exit(0);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (child > 0 && WIFSIGNALED(status)) {
        fprintf(stderr, "a child died of signal %d\n", WTERMSIG(status));
        abort();
    }
}

static void (*const operations[])(void) = {
    make_config,    make_preset,  change_config, read_config,      make_array,  make_images, generate,        subset,
    select_images,  name_classes, open_folder,   describe_dataset, read_images, make_model,  make_model,      load_model,
    clone_model,    save_model,   export_model,  describe_model,   cancel,      validate,    pretrain,        pretrain,
    finetune,       finetune,     make_trainer,  make_trainer,     step,        step,        change_trainer,  save_trainer,
    resume_trainer, encode,       predict,       evaluate,         probe,       reconstruct, suspend_trainer, make_lab,
    change_lab,     run_lab,      use_lab,       read_report,      destroy_one, destroy_one, change_library,  fork_child};

static void operate(void) { operations[below(sizeof operations / sizeof operations[0])](); }

/* ---- The run */

static uint64_t seed = 1;

static void *work(void *number) {
    seed_thread(seed, (int)(intptr_t)number);
    mrp_set_interrupt(interrupt, NULL);
    while (!is_over()) operate();
    return NULL;
}

/* A call that takes ten minutes is a defect, on a busy machine too: nothing here is large. */
static void look_for_hangs(int threads) {
    for (int i = 0; i < threads; i++) {
        double start;
        __atomic_load(&began[i], &start, __ATOMIC_RELAXED);
        if (start > 0 && now() - start > HANG_SECONDS) {
            fprintf(stderr, "hangs: %s\n", __atomic_load_n(&doing[i], __ATOMIC_RELAXED));
            abort();
        }
    }
}

static void ignore(int signal) { (void)signal; }

static void send_signals(int interval) {
    const struct sigaction action = {.sa_handler = ignore};
    const struct itimerval timer = {{0, interval}, {0, interval}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void fill_pixels(void) {
    for (int i = 0; i < 1 << 17; i++) {
        bytes[i] = (uint8_t)word();
        words[i] = (uint16_t)word();
        floats[i] = (float)below(1000) / 1000;
    }
    floats[70000] = 1e38f;
    floats[3] = 1e-42f;
    for (int i = 0; i < 4096; i++) labels[i] = i % 4;
}

static void run(int threads) {
    pthread_t others[MOST_THREADS];
    for (int i = 1; i < threads; i++) pthread_create(&others[i], NULL, work, (void *)(intptr_t)i);
    mrp_set_interrupt(interrupt, NULL);
    while (!is_over()) {
        operate();
        look_for_hangs(threads);
    }
    const double last = most_calls ? now() : end;
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
    int most = 0;
    for (int i = 1; i < threads; i++) most = slowest[i].seconds > slowest[most].seconds ? i : most;
    printf("slowest call: %.2f s, %.*s; the last one ended %.2f s after the end\n", slowest[most].seconds,
           (int)strcspn(slowest[most].call, "("), slowest[most].call, now() - last);
}

int main(int count, char **arguments) {
    double seconds = 10;
    int threads = 1, signals = 0;
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        if (!strcmp(arguments[i], "--seconds"))
            seconds = atof(value), i++;
        else if (!strcmp(arguments[i], "--calls"))
            most_calls = atol(value), i++;
        else if (!strcmp(arguments[i], "--seed"))
            seed = (uint64_t)atoll(value), i++;
        else if (!strcmp(arguments[i], "--threads"))
            threads = atoi(value), i++;
        else if (!strcmp(arguments[i], "--failing"))
            fails = 1;
        else if (!strcmp(arguments[i], "--fork"))
            forks = 1;
        else if (!strcmp(arguments[i], "--signals"))
            signals = 1;
        else
            return fprintf(stderr, "what is %s?\n", arguments[i]), 2;
    }
    if (threads < 1 || threads > MOST_THREADS) return fprintf(stderr, "--threads %d is outside 1 ... %d\n", threads, MOST_THREADS), 2;
    seed_thread(seed, 0);
    snprintf(folder, sizeof folder, "/tmp/mrp-api-%d", (int)getpid());
    mkdir(folder, 0700);
    fill_pixels();
    for (int i = 0; i < 10; i++) make_config();
    if (signals) send_signals(700);
    if (fails) mrp_set_allocator(allocate, release, NULL);
    const double start = now();
    end = start + seconds;
    run(threads);
    const double took = now() - start;
    if (signals) send_signals(0);
    __atomic_store_n(&failing_every, 0, __ATOMIC_RELAXED);
    for (int kind = KINDS - 1; kind >= 0; kind--)
        for (int i = 0; i < SLOTS; i++)
            if (slots[kind][i]) destroy(kind, slots[kind][i]);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) return 1;
    printf("seed %llu, %d threads%s%s%s: %ld calls in %.0f s, %ld succeeded", (unsigned long long)seed, threads, fails ? ", failing" : "",
           forks ? ", forks" : "", signals ? ", signals" : "", calls, took, answers[0]);
    for (int i = 1; i <= STATUSES; i++)
        if (answers[i]) printf(", %s %ld", mrp_status_string(-i), answers[i]);
    printf("; %lld bytes in use\n", (long long)mrp_memory_in_use());
    return mrp_memory_in_use() != 0;
}
