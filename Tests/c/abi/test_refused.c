/* A call that fails changes nothing: each allocation of the library's allocator fails in turn, each check refuses in turn, and the model
 * has the same bytes as before. Scenarios under a limit of the address space end with a status, never with a signal.
 *     test_refused [all]    all: every allocation, instead of some dozens of each scenario */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "pairs.h"

/* ---- An allocator that fails */

static long calls_seen, fails_at; /* 0: never */

static void *allocate(size_t bytes, size_t alignment, void *user) {
    void *memory = NULL;
    (void)user;
    if (__atomic_add_fetch(&calls_seen, 1, __ATOMIC_RELAXED) == fails_at) return NULL;
    return posix_memalign(&memory, alignment, bytes) ? NULL : memory;
}

static void release(void *memory, size_t bytes, void *user) {
    (void)bytes, (void)user;
    free(memory);
}

/* ---- Models as bytes */

typedef struct {
    long size;
    char *bytes;
} content;

/* What mrp_model_describe says, and all weights. */
static content content_of(mrp_model *model) {
    enum { TEXT = 1 << 18, NUMBERS = 1 << 18 };
    content all = {-1, malloc(TEXT + NUMBERS * sizeof(float))};
    int64_t size = 0, used = 0, count = 0;
    WORKS(mrp_model_describe(model, all.bytes, TEXT, &size));
    float *weights = (float *)(void *)(all.bytes + TEXT);
    for (const char *at = all.bytes; (at = strstr(at, "{\"name\":\"")); at++) {
        char name[128];
        const char *from = at + strlen("{\"name\":\"");
        snprintf(name, sizeof name, "%.*s", (int)strcspn(from, "\""), from);
        if (mrp_model_parameter(model, name, weights + used, NUMBERS - used, &count) == MRP_OK) used += count;
    }
    memmove(all.bytes + size, weights, (size_t)used * sizeof(float));
    EXPECT(used > 0);
    all.size = (long)(size + used * (int64_t)sizeof(float));
    return all;
}

static int same(content a, content b) { return a.size > 0 && a.size == b.size && memcmp(a.bytes, b.bytes, (size_t)a.size) == 0; }

/* ---- Scenarios: a call that takes a model, images and options */

static long steps_done;

static int32_t count_steps(const mrp_progress *progress, void *user) {
    (void)user;
    steps_done = (long)mrp_progress_value(progress, "step");
    return 0;
}

static mrp_status pretrain_counted(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    return mrp_pretrain(m, d, c, count_steps, NULL);
}
static mrp_status finetune_counted(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    return mrp_finetune(m, d, c, count_steps, NULL);
}
static mrp_status create_finetune(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_trainer *trainer = NULL;
    const mrp_status status = mrp_trainer_create(m, d, c, "finetune", &trainer);
    if (status == MRP_OK) steps_done = 1; /* the new head is the model's */
    mrp_trainer_destroy(trainer);
    return status;
}
static mrp_status create_simmim(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_trainer *trainer = NULL;
    (void)c;
    static mrp_config *simmim;
    if (!simmim) {
        simmim = small_options();
        WORKS(mrp_config_set(simmim, "objective", "simmim"));
        WORKS(mrp_config_set(simmim, "ema_decay", "0.9"));
    }
    const mrp_status status = mrp_trainer_create(m, d, simmim, "pretrain", &trainer);
    if (status == MRP_OK) steps_done = 1;
    mrp_trainer_destroy(trainer);
    return status;
}
static mrp_status save_model(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    (void)d;
    return mrp_model_save(m, in_root("saved.safetensors"), c);
}
static mrp_status export_model(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    (void)d;
    return mrp_model_export_onnx(m, in_root("saved.onnx"), c);
}
static mrp_status clone_model(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_model *copy = NULL;
    (void)d, (void)c;
    const mrp_status status = mrp_model_clone(m, &copy);
    mrp_model_destroy(copy);
    return status;
}
static mrp_status load_model(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_model *made = NULL;
    (void)m, (void)d, (void)c;
    const mrp_status status = mrp_model_load(in_root("loaded.safetensors"), NULL, &made);
    mrp_model_destroy(made);
    return status;
}
static mrp_status make_datasets(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_dataset *made = NULL;
    static float floats[VALUES];
    (void)m, (void)c;
    mrp_status status = mrp_dataset_generate(NULL, 4, 0, &made);
    mrp_dataset_destroy(made);
    made = NULL;
    if (status == MRP_OK) status = mrp_dataset_subset(d, 8, 0, &made);
    mrp_dataset_destroy(made);
    return status == MRP_OK ? mrp_dataset_images(d, 0, COUNT, 4, 4, floats, VALUES) : status;
}
static mrp_status probe_linear(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    double value;
    return mrp_probe(m, d, d, c, "linear", &value);
}

static const operation scenarios[] = {
    {"mrp_pretrain", pretrain_counted, 0},
    {"mrp_finetune", finetune_counted, 0},
    {"mrp_finetune of a classifier", finetune_counted, 1},
    {"mrp_trainer_create, finetune", create_finetune, 0},
    {"mrp_trainer_create, simmim", create_simmim, 0},
    {"mrp_model_save", save_model, 0},
    {"mrp_model_export_onnx", export_model, 1},
    {"mrp_model_clone", clone_model, 0},
    {"mrp_model_load", load_model, 0},
    {"datasets", make_datasets, 0},
    {"mrp_encode", encode, 0},
    {"mrp_reconstruct", reconstruct, 0},
    {"mrp_confusion", confusion, 1},
    {"mrp_probe, linear", probe_linear, 0},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

static int all;

static void fail_each_allocation(const operation *scenario, mrp_config *given) {
    mrp_model *m = NULL;
    calls_seen = 0;
    WORKS(mrp_model_clone(subject(scenario), &m));
    WORKS(mrp_set_allocator(allocate, release, NULL));
    fails_at = calls_seen = 0;
    CHECK(scenario->call(m, labelled, given) == MRP_OK, "%s: %s", scenario->name, mrp_last_error());
    const long total = calls_seen, stride = all || total < 24 ? 1 : total / 24;
    mrp_model_destroy(m);
    long refused = 0;
    for (long n = 1; n <= total; n += stride) {
        WORKS(mrp_model_clone(subject(scenario), &m));
        const content before = content_of(m);
        steps_done = calls_seen = 0;
        fails_at = n;
        const mrp_status status = scenario->call(m, labelled, given);
        fails_at = 0;
        CHECK(status == MRP_ERR_MEMORY || status == MRP_OK, "%s, allocation %ld: %s (%s)", scenario->name, n, mrp_status_string(status),
              mrp_last_error());
        refused += status == MRP_ERR_MEMORY;
        const content after = content_of(m);
        if (steps_done == 0) CHECK(same(before, after), "%s, allocation %ld of %ld: the model has changed", scenario->name, n, total);
        free(before.bytes);
        free(after.bytes);
        mrp_model_destroy(m);
    }
    CHECK(total > 0 && refused > 0, "%s: %ld allocations, %ld refused", scenario->name, total, refused);
    WORKS(mrp_set_allocator(NULL, NULL, NULL));
}

/* ---- Checks */

/* Options that are refused at some place of the way to the first step. */
static const struct {
    const char *keys[3], *values[3];
    int phase; /* 0 pretrain, 1 finetune */
} refusals[] = {
    {{"accumulation_steps"}, {"100"}, 0},
    {{"accumulation_steps"}, {"100"}, 1},
    {{"accumulation_steps", "classes"}, {"100", "7"}, 1},
    {{"memory_limit"}, {"1000"}, 0},
    {{"memory_limit"}, {"1000"}, 1},
    {{"objective", "accumulation_steps"}, {"simmim", "100"}, 0},
    {{"objective", "mask_ratio"}, {"simmim", "0"}, 0},
    {{"augmentation", "image_size"}, {"pad_crop_flip", "16"}, 0},
    {{"crop_scale_min", "augmentation", "crop_scale_max"}, {"0.9", "random_resized_crop_flip", "0.5"}, 1},
    {{"rand_augment"}, {"q"}, 1},
    {{"objective"}, {"given"}, 0},
    {{"run_folder"}, {"/proc/none/there"}, 0},
    {{"run_folder"}, {"/proc/none/there"}, 1},
};

static void test_checks(void) {
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        mrp_config *other = small_options();
        mrp_trainer *trainer = NULL;
        for (int k = 0; k < 3 && refusals[i].keys[k]; k++) WORKS(mrp_config_set(other, refusals[i].keys[k], refusals[i].values[k]));
        mrp_model *of[2] = {model_for(&operations[0]), model_for(&operations[3])};
        for (int k = 0; k < 2; k++) {
            const content before = content_of(of[k]);
            const char *phase = refusals[i].phase ? "finetune" : "pretrain";
            const mrp_status run = (refusals[i].phase ? finetune : pretrain)(of[k], labelled, other);
            CHECK(run < 0 || strcmp(refusals[i].keys[0], "augmentation") == 0, "%s = %s is not refused", refusals[i].keys[0],
                  refusals[i].values[0]);
            const content after = content_of(of[k]);
            if (run < 0) CHECK(same(before, after), "%s = %s: the model has changed", refusals[i].keys[0], refusals[i].values[0]);
            if (run < 0 && strcmp(refusals[i].values[0], "given") != 0) {
                EXPECT(mrp_trainer_create(of[k], labelled, other, phase, &trainer) == run);
                const content created = content_of(of[k]);
                CHECK(same(before, created), "%s = %s: creating a trainer changed the model", refusals[i].keys[0], refusals[i].values[0]);
                free(created.bytes);
            }
            free(before.bytes);
            free(after.bytes);
            mrp_model_destroy(of[k]);
        }
        mrp_config_destroy(other);
    }
}

/* ---- Little memory */

static mrp_dataset *pixels_of_one;
static mrp_model *many_classes;
static mrp_config *many_options;
static float *one_each;
enum { ONES = 500000 };

static mrp_status evaluate_many(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    double value;
    (void)m, (void)c;
    return mrp_evaluate(many_classes, d, many_options, "balanced_top1", &value);
}
static mrp_status list_images(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    (void)m, (void)d, (void)c;
    return mrp_dataset_images(pixels_of_one, 0, ONES, 1, 1, one_each, ONES);
}
static mrp_status describe_huge(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    int64_t needed;
    (void)m, (void)d, (void)c;
    const mrp_status status = mrp_file_describe(in_root("many.safetensors"), NULL, 0, &needed);
    return status == MRP_ERR_ARGUMENT ? MRP_OK : status; /* only its size is asked for */
}
static mrp_status load_huge(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_model *made = NULL;
    (void)m, (void)d, (void)c;
    const mrp_status status = mrp_model_load(in_root("many.safetensors"), NULL, &made);
    return status == MRP_ERR_FORMAT ? MRP_OK : status;
}
static mrp_status load_bicubic(mrp_model *m, const mrp_dataset *d, const mrp_config *c) {
    mrp_config *other = NULL;
    mrp_model *made = NULL;
    (void)m, (void)d, (void)c;
    if (mrp_config_create(NULL, &other) || mrp_config_set(other, "positions", "bicubic") || mrp_config_set(other, "image_size", "512"))
        return MRP_ERR_INTERNAL;
    const mrp_status status = mrp_model_load(in_root("loaded.safetensors"), other, &made);
    mrp_model_destroy(made);
    return status;
}

static const operation tight[] = {
    {"mrp_pretrain", pretrain, 0},      {"mrp_finetune", finetune, 0},          {"mrp_probe", probe, 0},
    {"1024 classes", evaluate_many, 0}, {"many images", list_images, 0},        {"a huge header", describe_huge, 0},
    {"loading it", load_huge, 0},       {"bicubic positions", load_bicubic, 0},
};

static long address_space(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static void prepare_tight(void) {
    char key[64];
    uint8_t *ones = calloc(ONES, 1);
    one_each = malloc(ONES * sizeof *one_each);
    WORKS(mrp_dataset_from_array(ones, MRP_UINT8, ONES, 1, 1, 1, MRP_NCHW, NULL, &pixels_of_one));
    free(ones);
    many_options = small_options();
    WORKS(mrp_config_set(many_options, "classes", "1024"));
    WORKS(mrp_model_create(many_options, &many_classes));
    WORKS(mrp_finetune(many_classes, labelled, many_options, NULL, NULL));
    FILE *file = fopen(in_root("many.safetensors"), "wb");
    char *text = malloc(1 << 20), *at = text;
    *at++ = '{';
    for (int i = 0; i < 10000; i++) {
        snprintf(key, sizeof key, "%s\"blocks.%d.norm1.weight\"", i ? "," : "", i);
        at += sprintf(at, "%s:{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}", key);
    }
    *at++ = '}';
    const uint64_t length = (uint64_t)(at - text);
    EXPECT(file && fwrite(&length, 8, 1, file) == 1 && fwrite(text, 1, length, file) == length && fclose(file) == 0);
    free(text);
}

/* In a child: the scenario with so many bytes beyond what is used. Returns its exit status, or minus its signal. */
static int with_limit(const operation *scenario, long bytes) {
    int how = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {(rlim_t)(address_space() + bytes), (rlim_t)(address_space() + bytes)};
        setrlimit(RLIMIT_AS, &limit);
        freopen("/dev/null", "w", stderr);
        const mrp_status status = scenario->call(mae, labelled, options);
        _exit(status == MRP_OK ? 0 : status == MRP_ERR_MEMORY ? 1 : 2);
    }
    if (child < 0 || waitpid(child, &how, 0) != child) return -100;
    return WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
}

static void test_limits(void) {
    static const long sizes[] = {256 << 10, 1 << 20, 3 << 20, 8 << 20, 24 << 20, 64 << 20, 256 << 20, 1 << 30};
    for (size_t s = 0; s < sizeof tight / sizeof tight[0]; s++) {
        int last = -1;
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            last = with_limit(&tight[s], sizes[i]);
            CHECK(last == 0 || last == 1, "%s with %ld KiB: %s %d", tight[s].name, sizes[i] >> 10, last < 0 ? "signal" : "status", last);
        }
        CHECK(last == 0, "%s fails with 1 GiB", tight[s].name);
    }
}

int main(int count, char **words) {
    all = count > 1 && strcmp(words[1], "all") == 0;
    begin();
    WORKS(mrp_model_save(mae, in_root("loaded.safetensors"), NULL));
    mrp_config *given = small_options();
    WORKS(mrp_config_set(given, "loader_threads", "0"));
    WORKS(mrp_config_set(given, "threads", "1"));
    WORKS(mrp_config_set(given, "probe_epochs", "2"));
    struct timespec start, now;
    for (int i = 0; i < SCENARIOS; i++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        fail_each_allocation(&scenarios[i], given);
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%s: %.2f s\n", scenarios[i].name, (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec));
    }
    test_checks();
    prepare_tight();
    test_limits();
    mrp_dataset_destroy(pixels_of_one);
    mrp_model_destroy(many_classes);
    mrp_config_destroy(many_options);
    mrp_config_destroy(given);
    free(one_each);
    return end(__FILE__);
}
