/* The laboratory when it is stopped from another thread, without memory, and with handles that are not what they should be. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"

static void *cancel_soon(void *unused) {
    const struct timespec pause = {0, 1000000};
    (void)unused;
    while (mrp_lab_cancel(lab) == MRP_DONE) nanosleep(&pause, NULL);
    return NULL;
}

static void test_cancel(void) {
    pthread_t thread;
    mrp_lab_report *made = NULL;
    char path[64];
    REFUSES(mrp_lab_cancel(NULL), "NULL");
    FAILS(mrp_lab_cancel(lab), MRP_DONE, "");
    WORKS(mrp_lab_set(lab, "T", "1000000"));
    EXPECT(pthread_create(&thread, NULL, cancel_soon, NULL) == 0);
    EXPECT(mrp_lab_run(lab, NULL, NULL, &made) == MRP_CANCELLED);
    pthread_join(thread, NULL);
    EXPECT(made == NULL);
    snprintf(path, sizeof path, "/tmp/mrp-lab-%ld-c.csv", (long)getpid());
    EXPECT(pthread_create(&thread, NULL, cancel_soon, NULL) == 0);
    EXPECT(mrp_lab_study(lab, "tau=1", path, NULL, NULL) == MRP_CANCELLED);
    pthread_join(thread, NULL);
    remove(path);
    WORKS(mrp_lab_set(lab, "T", "5"));
}

/* Every allocation fails in turn. */
static int64_t allocations_left;

static void *allocate(size_t bytes, size_t alignment, void *user) {
    void *memory = NULL;
    (void)user;
    if (__atomic_sub_fetch(&allocations_left, 1, __ATOMIC_RELAXED) < 0) return NULL;
    return posix_memalign(&memory, alignment, bytes ? bytes : 1) == 0 ? memory : NULL;
}

static void release(void *memory, size_t bytes, void *user) {
    (void)bytes, (void)user;
    free(memory);
}

static mrp_status create_and_drop(void) {
    mrp_lab *made = NULL;
    mrp_status status = mrp_lab_create(NULL, &made);
    record_pair("mrp_lab_create(", status);
    mrp_lab_destroy(made);
    return status;
}
static mrp_status run_and_drop(void) {
    mrp_lab_report *made = NULL;
    mrp_status status = mrp_lab_run(lab, NULL, NULL, &made);
    if (status != MRP_OK) record_pair("mrp_lab_run(", status);
    mrp_lab_report_destroy(made);
    return status;
}
static mrp_status study_anew(void) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/mrp-lab-%ld-d.csv", (long)getpid());
    mrp_status status = mrp_lab_study(lab, "tau=1", path, NULL, NULL);
    if (status != MRP_OK) record_pair("mrp_lab_study(", status);
    remove(path);
    return status;
}
static mrp_status draw(void) {
    static float x[P * D];
    mrp_status status = mrp_lab_samples(lab, 0, "mixed", 0, 1, x, P * D, NULL, NULL, NULL, NULL, 0);
    if (status != MRP_OK) record_pair("mrp_lab_samples(", status);
    return status;
}
static mrp_status make_features(void) {
    mrp_status status = mrp_lab_features(lab, 0, NULL, 0, NULL);
    if (status != MRP_OK) record_pair("mrp_lab_features(", status);
    return status;
}

static void test_memory(void) {
    mrp_status (*const scenarios[])(void) = {create_and_drop, run_and_drop, study_anew, draw, make_features};
    WORKS(mrp_lab_set(lab, "threads", "1"));
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        const int64_t before = mrp_memory_in_use();
        mrp_status status = MRP_ERR_MEMORY;
        int64_t n = 0;
        for (; n < 100000 && status == MRP_ERR_MEMORY; n++) {
            allocations_left = n;
            WORKS(mrp_set_allocator(allocate, release, NULL));
            status = scenarios[i]();
            WORKS(mrp_set_allocator(NULL, NULL, NULL));
            EXPECT(mrp_memory_in_use() == before);
        }
        EXPECT(status == MRP_OK && n > 1);
    }
    WORKS(mrp_lab_set(lab, "threads", "2"));
}

/* Handles of another type, destroyed ones, and pointers to anything give MRP_ERR_HANDLE. */
static void test_handles(void) {
    char text[8];
    double values[8];
    float x[8];
    mrp_lab *gone = NULL;
    mrp_lab_report *made = NULL;
    WORKS(mrp_lab_create("quick", &gone));
    mrp_lab_destroy(gone);
    mrp_lab_destroy(gone);
    void *foreign[2];
    foreign[0] = gone;
    foreign[1] = text;
    for (int i = 0; i < 2; i++) {
        void *wrong = foreign[i];
        FAILS(mrp_lab_set(wrong, "tau", "1"), MRP_ERR_HANDLE, "lab");
        FAILS(mrp_lab_get(wrong, "tau", text, sizeof text, NULL), MRP_ERR_HANDLE, "lab");
        FAILS(mrp_lab_run(wrong, NULL, NULL, &made), MRP_ERR_HANDLE, "lab");
        FAILS(mrp_lab_study(wrong, "tau=1", "/tmp/never", NULL, NULL), MRP_ERR_HANDLE, "lab");
        FAILS(mrp_lab_cancel(wrong), MRP_ERR_HANDLE, "lab");
        FAILS(mrp_lab_samples(wrong, 0, "mixed", 0, 1, x, 8, NULL, NULL, NULL, NULL, 0), MRP_ERR_HANDLE, "lab");
        FAILS(mrp_lab_features(wrong, 0, values, 8, NULL), MRP_ERR_HANDLE, "lab");
    }
    FAILS(mrp_lab_report_summary((void *)lab, NULL, NULL, NULL, NULL), MRP_ERR_HANDLE, "report");
    FAILS(mrp_lab_report_row((void *)lab, 0, 0, NULL, NULL, NULL, NULL, NULL), MRP_ERR_HANDLE, "report");
    FAILS(mrp_lab_report_row_text((void *)lab, 0, "claim", text, 8, NULL), MRP_ERR_HANDLE, "report");
    FAILS(mrp_lab_report_table((void *)lab, -1, text, 8, NULL), MRP_ERR_HANDLE, "report");
    FAILS(mrp_lab_report_json((void *)lab, text, 8, NULL), MRP_ERR_HANDLE, "report");
    FAILS(mrp_lab_report_correlations((void *)lab, 0, "initial", values, 8, NULL, NULL), MRP_ERR_HANDLE, "report");
    FAILS(mrp_lab_set((void *)report, "tau", "1"), MRP_ERR_HANDLE, "lab");
}

int main(void) {
    lab = small_lab();
    WORKS(mrp_lab_run(lab, NULL, NULL, &report));
    test_cancel();
    test_memory();
    test_handles();
    mrp_lab_destroy(lab);
    mrp_lab_report_destroy(report);
    EXPECT(mrp_memory_in_use() == 0);
    return check_result(__FILE__);
}
