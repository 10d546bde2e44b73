/* The laboratory: options, runs, reports, samples, studies; and every function with wrong arguments. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lab.h"

static void test_options(void) {
    mrp_lab *made = NULL;
    char text[16];
    int64_t needed = 0;
    REFUSES(mrp_lab_create(NULL, NULL), "out");
    REFUSES(mrp_lab_create("monoview", &made), "multiview");
    EXPECT(made == NULL);
    REFUSES(mrp_lab_set(NULL, "tau", "1"), "NULL");
    REFUSES(mrp_lab_set(lab, NULL, "1"), "key");
    REFUSES(mrp_lab_set(lab, "tau", NULL), "value");
    REFUSES(mrp_lab_set(lab, "tua", "1"), "'tau'");
    REFUSES(mrp_lab_set(lab, "\xff", "1"), "UTF-8");
    REFUSES(mrp_lab_set(lab, "noise", "-1"), "sigma_p");
    REFUSES(mrp_lab_set(lab, "theta", "1.5"), "theta 1.5 is outside (0.0, 1.0]");
    REFUSES(mrp_lab_set(lab, "T", "many"), "many");
    REFUSES(mrp_lab_set(lab, "masks", "none"), "averaged");
    WORKS(mrp_lab_set(lab, "sigma_p", "0.25"));
    WORKS(mrp_lab_get(lab, "noise", text, sizeof text, &needed));
    EXPECT(strcmp(text, "0.25") == 0);
    EXPECT(needed == 5);
    WORKS(mrp_lab_set(lab, "noise", "0.04"));
    REFUSES(mrp_lab_get(NULL, "tau", text, sizeof text, NULL), "NULL");
    REFUSES(mrp_lab_get(lab, NULL, text, sizeof text, NULL), "key");
    REFUSES(mrp_lab_get(lab, "taus", text, sizeof text, NULL), "'tau'");
    REFUSES(mrp_lab_get(lab, "tau", text, 2, NULL), "2");
    REFUSES(mrp_lab_get(lab, "tau", NULL, 2, NULL), "NULL");
    REFUSES(mrp_lab_describe(text, sizeof text, &needed), "16");
    WORKS(mrp_lab_describe(NULL, 0, &needed));
    char *all = malloc((size_t)needed);
    EXPECT(all != NULL);
    if (all) {
        WORKS(mrp_lab_describe(all, needed, NULL));
        EXPECT(strstr(all, "\"symbol\":\"rho_bar\"") != NULL);
        EXPECT(strstr(all, "\"presets\"") != NULL);
    }
    free(all);
    mrp_lab_destroy(NULL);
}

/* The presets of other experiments: their own options, data and report. */
static void test_experiments(void) {
    static const char *const sizes[][2] = {{"k_s", "2"},    {"d", "8"},  {"P", "6"},           {"C_p", "2"},
                                           {"m", "2"},      {"N", "20"}, {"train_batch", "0"}, {"supervised_steps", "2"},
                                           {"N_pre", "10"}, {"T", "2"},  {"N_test", "10"},     {"seeds", "1"}};
    mrp_lab *other = NULL;
    mrp_lab_report *made = NULL;
    int64_t count = 0;
    int32_t labels[4], hard[4], subclasses[4];
    double values[1];
    WORKS(mrp_lab_create("hierarchical", &other));
    REFUSES(mrp_lab_set(other, "presence", "1"), "preset multiview, not to hierarchical");
    REFUSES(mrp_lab_set(lab, "k_s", "3"), "preset hierarchical, not to multiview");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) WORKS(mrp_lab_set(other, sizes[i][0], sizes[i][1]));
    WORKS(mrp_lab_features(other, 1, NULL, 0, &count));
    EXPECT(count == 6 * 8);
    WORKS(mrp_lab_samples(other, 1, "hard", 0, 4, NULL, 0, labels, hard, subclasses, NULL, 0));
    for (int i = 0; i < 4; i++) EXPECT(hard[i] == 1 && labels[i] >= 0 && labels[i] < 2 && subclasses[i] >= 0 && subclasses[i] < 2);
    REFUSES(mrp_lab_samples(other, 1, "multi_view", 0, 4, NULL, 0, labels, hard, subclasses, NULL, 0), "easy");
    WORKS(mrp_lab_run(other, NULL, NULL, &made));
    WORKS(mrp_lab_report_correlations(made, 0, "fine", NULL, 0, NULL, &count));
    EXPECT(count == 6);
    REFUSES(mrp_lab_report_correlations(made, 0, "final", values, 1, NULL, NULL), "coarse");
    mrp_lab_report_destroy(made);
    mrp_lab_destroy(other);
    WORKS(mrp_lab_create("patch_routing", &other));
    REFUSES(mrp_lab_set(other, "samples", "many"), "samples");
    WORKS(mrp_lab_set(other, "samples", "20,10"));
    REFUSES(mrp_lab_run(other, NULL, NULL, &made), "10 after");
    mrp_lab_destroy(other);
}

typedef struct {
    int calls, stop_at, unnamed;
    double last;
} watch;

static void every_call_is_refused(void) {
    char text[8];
    mrp_lab_report *made = NULL;
    FAILS(mrp_lab_set(lab, "tau", "1"), MRP_ERR_BUSY, "in use");
    FAILS(mrp_lab_get(lab, "tau", text, sizeof text, NULL), MRP_ERR_BUSY, "in use");
    FAILS(mrp_lab_run(lab, NULL, NULL, &made), MRP_ERR_BUSY, "in use");
    FAILS(mrp_lab_study(lab, "tau=1", "/tmp/never", NULL, NULL), MRP_ERR_BUSY, "in use");
    FAILS(mrp_lab_samples(lab, 0, "mixed", 0, 0, NULL, 0, NULL, NULL, NULL, NULL, 0), MRP_ERR_BUSY, "in use");
    FAILS(mrp_lab_features(lab, 0, NULL, 0, NULL), MRP_ERR_BUSY, "in use");
}

static int32_t count_calls(const mrp_progress *progress, void *user) {
    watch *w = user;
    w->calls++;
    w->unnamed += mrp_progress_phase(progress)[0] == 0;
    EXPECT(mrp_progress_fraction(progress) >= w->last && mrp_progress_fraction(progress) <= 1);
    w->last = mrp_progress_fraction(progress);
    EXPECT(mrp_progress_value(progress, "step") <= mrp_progress_value(progress, "steps"));
    EXPECT(isnan(mrp_progress_value(progress, "images_per_second")));
    if (w->calls == 1) every_call_is_refused();
    return w->calls == w->stop_at;
}

static void test_run(void) {
    mrp_lab_report *made = NULL;
    watch w = {0, 3, 0, 0};
    REFUSES(mrp_lab_run(NULL, NULL, NULL, &made), "NULL");
    REFUSES(mrp_lab_run(lab, NULL, NULL, NULL), "out");
    FAILS(mrp_lab_run(lab, count_calls, &w, &made), MRP_CANCELLED, "");
    EXPECT(w.calls == 3);
    WORKS(mrp_lab_set(lab, "d", "4"));
    WORKS(mrp_lab_set(lab, "k", "3"));
    REFUSES(mrp_lab_run(lab, NULL, NULL, &made), "dimension (d) 4");
    WORKS(mrp_lab_set(lab, "k", "2"));
    WORKS(mrp_lab_set(lab, "d", "8"));
    WORKS(mrp_lab_set(lab, "m", "4096"));
    WORKS(mrp_lab_set(lab, "k", "300"));
    REFUSES(mrp_lab_run(lab, NULL, NULL, &made), "kernels_per_class (m) 4096");
    WORKS(mrp_lab_set(lab, "k", "2"));
    WORKS(mrp_lab_set(lab, "m", "4"));
    WORKS(mrp_lab_set(lab, "instructions", sizeof(void *) == 8 && strstr(mrp_build_info(), "neon") ? "avx2" : "neon"));
    float x[P * D];
    FAILS(mrp_lab_run(lab, NULL, NULL, &made), MRP_ERR_UNSUPPORTED, "instructions");
    FAILS(mrp_lab_study(lab, "tau=1", "/tmp/mrp-lab-never.csv", NULL, NULL), MRP_ERR_UNSUPPORTED, "instructions");
    FAILS(mrp_lab_samples(lab, 0, "mixed", 0, 1, x, P * D, NULL, NULL, NULL, NULL, 0), MRP_ERR_UNSUPPORTED, "instructions");
    remove("/tmp/mrp-lab-never.csv");
    WORKS(mrp_lab_set(lab, "instructions", "auto"));
    WORKS(mrp_lab_set(lab, "N_pre", "1000000000"));
    WORKS(mrp_lab_set(lab, "d", "16384"));
    WORKS(mrp_lab_set(lab, "P", "16384"));
    WORKS(mrp_lab_set(lab, "data_bytes", "1125899906842624"));
    FAILS(mrp_lab_run(lab, NULL, NULL, &made), MRP_ERR_MEMORY, "");
    WORKS(mrp_lab_set(lab, "data_bytes", "1073741824"));
    WORKS(mrp_lab_set(lab, "N_pre", "20"));
    WORKS(mrp_lab_set(lab, "d", "8"));
    WORKS(mrp_lab_set(lab, "P", "6"));
    EXPECT(made == NULL);
    w = (watch){0, -1, 0, 0};
    WORKS(mrp_lab_run(lab, count_calls, &w, &report));
    EXPECT(w.calls > 50);
    EXPECT(w.unnamed == 0);
    EXPECT(w.last == 1);
}

static char *json_of(const mrp_lab_report *of) {
    int64_t needed = 0;
    WORKS(mrp_lab_report_json(of, NULL, 0, &needed));
    char *text = malloc((size_t)needed);
    if (text) WORKS(mrp_lab_report_json(of, text, needed, NULL));
    return text;
}

static void check_row_texts(int64_t row) {
    char text[4096];
    int64_t needed;
    static const char *const texts[] = {"claim", "statement", "quantity", "threshold"};
    for (int i = 0; i < 4; i++) {
        WORKS(mrp_lab_report_row_text(report, row, texts[i], text, sizeof text, &needed));
        EXPECT(needed == (int64_t)strlen(text) + 1 && needed > 1);
    }
}

/* The measured value of a row is the mean of the seeds' values. */
static void check_row_seeds(int64_t row, int64_t seeds, double measured, double low, double high) {
    double sum = 0;
    for (int64_t seed = 0; seed < seeds; seed++) {
        double one;
        int32_t holds;
        WORKS(mrp_lab_report_row(report, row, seed, &one, NULL, NULL, &holds, NULL));
        EXPECT(holds == (one >= low && one <= high));
        sum += one;
    }
    EXPECT(isnan(measured) ? isnan(sum) : fabs(measured - sum / (double)seeds) < 1e-12);
}

static void test_report_rows(void) {
    double measured, low, high;
    int64_t rows = 0, seeds = 0;
    int32_t claims = -1, controls = -1, holds, is_control, all_claims = 1, all_controls = 1;
    WORKS(mrp_lab_report_summary(report, &rows, &seeds, &claims, &controls));
    WORKS(mrp_lab_report_summary(report, NULL, NULL, NULL, NULL));
    EXPECT(rows == 26 && seeds == 2);
    for (int64_t row = 0; row < rows; row++) {
        WORKS(mrp_lab_report_row(report, row, -1, &measured, &low, &high, &holds, &is_control));
        EXPECT(low <= high);
        if (is_control) all_controls &= holds;
        if (!is_control) all_claims &= holds;
        check_row_seeds(row, seeds, measured, low, high);
        check_row_texts(row);
    }
    EXPECT(claims == all_claims && controls == all_controls);
    EXPECT(claims == 0); /* five steps capture nothing */
}

static void test_report_texts(void) {
    static char text[16384];
    WORKS(mrp_lab_report_row_text(report, 0, "claim", text, sizeof text, NULL));
    EXPECT(strcmp(text, "all_semantics_captured") == 0);
    WORKS(mrp_lab_report_table(report, -1, text, sizeof text, NULL));
    EXPECT(strstr(text, "all_semantics_captured") && strstr(text, "fails 0/2") && strstr(text, "finite size"));
    WORKS(mrp_lab_report_table(report, 1, text, sizeof text, NULL));
    EXPECT(strncmp(text, "seed 4\n", 7) == 0);
    char *json = json_of(report);
    EXPECT(json && strstr(json, "\"format\": \"mrp-lab-report\""));
    free(json);
}

static void test_report_correlations(void) {
    double values[KERNELS * 2 * K + 1];
    int64_t kernels, features;
    static const char *const moments[] = {"initial", "pretrained", "supervised"};
    for (int i = 0; i < 3; i++) {
        WORKS(mrp_lab_report_correlations(report, 1, moments[i], NULL, 0, &kernels, &features));
        EXPECT(kernels == KERNELS && features == 2 * K);
        values[KERNELS * 2 * K] = 77;
        WORKS(mrp_lab_report_correlations(report, 1, moments[i], values, KERNELS * 2 * K, NULL, NULL));
        EXPECT(isfinite(values[0]) && values[KERNELS * 2 * K] == 77);
    }
}

static void test_report_refusals(void) {
    static char text[16384];
    double values[KERNELS * 2 * K];
    REFUSES(mrp_lab_report_summary(NULL, NULL, NULL, NULL, NULL), "NULL");
    const int64_t wrong[] = {-2, 2, INT64_MIN, INT64_MAX};
    for (int i = 0; i < 4; i++) {
        REFUSES(mrp_lab_report_row(report, 0, wrong[i], NULL, NULL, NULL, NULL, NULL), "0 ..< 2");
        REFUSES(mrp_lab_report_table(report, wrong[i], text, sizeof text, NULL), "0 ..< 2");
        REFUSES(mrp_lab_report_correlations(report, wrong[i], "initial", values, 64, NULL, NULL), "0 ..< 2");
        if (wrong[i] != 2) REFUSES(mrp_lab_report_row(report, wrong[i], 0, NULL, NULL, NULL, NULL, NULL), "0 ..< 26");
        if (wrong[i] != 2) REFUSES(mrp_lab_report_row_text(report, wrong[i], "claim", text, sizeof text, NULL), "0 ..< 26");
    }
    REFUSES(mrp_lab_report_row(NULL, 0, 0, NULL, NULL, NULL, NULL, NULL), "NULL");
    REFUSES(mrp_lab_report_row_text(NULL, 0, "claim", text, sizeof text, NULL), "NULL");
    REFUSES(mrp_lab_report_row_text(report, 0, NULL, text, sizeof text, NULL), "what");
    REFUSES(mrp_lab_report_row_text(report, 0, "verdict", text, sizeof text, NULL), "verdict");
    REFUSES(mrp_lab_report_row_text(report, 0, "claim", text, 4, NULL), "4");
    REFUSES(mrp_lab_report_table(NULL, -1, text, sizeof text, NULL), "NULL");
    REFUSES(mrp_lab_report_table(report, -1, text, 100, NULL), "100");
    REFUSES(mrp_lab_report_json(NULL, text, sizeof text, NULL), "NULL");
    REFUSES(mrp_lab_report_json(report, text, 100, NULL), "100");
    REFUSES(mrp_lab_report_correlations(NULL, 0, "initial", values, 64, NULL, NULL), "NULL");
    REFUSES(mrp_lab_report_correlations(report, -1, "initial", values, 64, NULL, NULL), "-1");
    REFUSES(mrp_lab_report_correlations(report, 0, NULL, values, 64, NULL, NULL), "moment");
    REFUSES(mrp_lab_report_correlations(report, 0, "final", values, 64, NULL, NULL), "final");
    REFUSES(mrp_lab_report_correlations(report, 0, "initial", values, 31, NULL, NULL), "32");
    REFUSES(mrp_lab_report_correlations(report, 0, "initial", NULL, 32, NULL, NULL), "NULL");
}

static void test_report_without_supervised_training(void) {
    double values[64];
    mrp_lab_report *unsupervised = NULL;
    WORKS(mrp_lab_set(lab, "supervised", "false"));
    WORKS(mrp_lab_run(lab, NULL, NULL, &unsupervised));
    FAILS(mrp_lab_report_correlations(unsupervised, 0, "supervised", values, 64, NULL, NULL), MRP_ERR_STATE, "supervised");
    WORKS(mrp_lab_set(lab, "supervised", "true"));
    mrp_lab_report_destroy(unsupervised);
    mrp_lab_report_destroy(NULL);
}

/* The features are orthonormal. */
static void test_features(void) {
    double features[2 * K * D];
    int64_t count = 0;
    WORKS(mrp_lab_features(lab, 9, NULL, 0, &count));
    EXPECT(count == 2 * K * D);
    WORKS(mrp_lab_features(lab, 9, features, count, NULL));
    for (int a = 0; a < 2 * K; a++) {
        for (int b = 0; b <= a; b++) {
            double dot = 0;
            for (int i = 0; i < D; i++) dot += features[a * D + i] * features[b * D + i];
            EXPECT(fabs(dot - (a == b)) < 1e-12);
        }
    }
    REFUSES(mrp_lab_features(NULL, 9, features, count, NULL), "NULL");
    REFUSES(mrp_lab_features(lab, UINT64_MAX, features, count, NULL), "seed");
    REFUSES(mrp_lab_features(lab, 9, features, count - 1, NULL), "32");
    REFUSES(mrp_lab_features(lab, 9, NULL, count, NULL), "NULL");
    WORKS(mrp_lab_set(lab, "P", "3"));
    REFUSES(mrp_lab_features(lab, 9, features, count, NULL), "patches (P) 3");
    REFUSES(mrp_lab_samples(lab, 9, "mixed", 0, 1, NULL, 0, NULL, NULL, NULL, NULL, 0), "patches (P) 3");
    WORKS(mrp_lab_set(lab, "P", "6"));
}

/* Samples and what was drawn for them. */
static struct {
    float x[SAMPLES * P * D];
    int32_t y[SAMPLES], single[SAMPLES], shown[SAMPLES], origins[SAMPLES * P];
} drawn;

/* A call of mrp_lab_samples that fills `drawn`. */
#define DRAW(of, seed, kind, first, count, x_capacity, origin_capacity) \
    mrp_lab_samples(of, seed, kind, first, count, drawn.x, x_capacity, drawn.y, drawn.single, drawn.shown, drawn.origins, origin_capacity)

/* Without noise a patch is a multiple of its feature, or nothing. */
static void check_patch(const float *patch, int origin, const double *features) {
    double norm = 0, along = 0;
    for (int i = 0; i < D; i++) {
        const double value = patch[i];
        norm += value * value;
        along += origin < 0 ? 0 : value * features[origin * D + i];
    }
    EXPECT(fabs(sqrt(norm) - along) < 1e-6);
}

static void test_samples(void) {
    double features[2 * K * D];
    int kinds[2] = {0, 0}, classes[K] = {0};
    WORKS(mrp_lab_set(lab, "mu", "0.5"));
    WORKS(mrp_lab_set(lab, "noise", "0"));
    WORKS(mrp_lab_set(lab, "gamma", "0"));
    WORKS(mrp_lab_features(lab, 9, features, 2 * K * D, NULL));
    WORKS(DRAW(lab, 9, "mixed", 0, SAMPLES, SAMPLES * P * D, SAMPLES * P));
    for (int n = 0; n < SAMPLES; n++) {
        kinds[drawn.single[n] != 0]++;
        classes[drawn.y[n]]++;
        EXPECT(drawn.single[n] ? drawn.shown[n] == 0 || drawn.shown[n] == 1 : drawn.shown[n] == -1);
        for (int p = 0; p < P; p++) {
            const int origin = drawn.origins[n * P + p];
            EXPECT(origin >= -1 && origin < 2 * K && (origin < 0 || origin / 2 == drawn.y[n])); /* s = 0: only the label's features */
            check_patch(drawn.x + (n * P + p) * D, origin, features);
        }
    }
    EXPECT(kinds[0] > 5 && kinds[1] > 5 && classes[0] > 5 && classes[1] > 5);
}

static void test_some_samples(void) {
    float again[P * D];
    int32_t single[SAMPLES];
    WORKS(DRAW(lab, 9, "mixed", 0, SAMPLES, SAMPLES * P * D, SAMPLES * P));
    WORKS(mrp_lab_samples(lab, 9, "mixed", 7, 1, again, P * D, NULL, NULL, NULL, NULL, 0));
    EXPECT(memcmp(again, drawn.x + 7 * P * D, sizeof again) == 0);
    WORKS(mrp_lab_samples(lab, 9, "single_view", 0, SAMPLES, NULL, 0, NULL, single, NULL, NULL, 0));
    for (int n = 0; n < SAMPLES; n++) EXPECT(single[n] == 1);
    WORKS(DRAW(lab, 9, "multi_view", 0, 0, SAMPLES * P * D, SAMPLES * P));
}

static void test_samples_refusals(void) {
    const int64_t values = SAMPLES * P * D, patches = SAMPLES * P;
    REFUSES(DRAW(NULL, 9, "mixed", 0, 1, values, patches), "NULL");
    REFUSES(DRAW(lab, 9, NULL, 0, 1, values, patches), "kind");
    REFUSES(DRAW(lab, 9, "any", 0, 1, values, patches), "any");
    REFUSES(DRAW(lab, 9, "mixed", -1, 1, values, patches), "-1");
    REFUSES(DRAW(lab, 9, "mixed", 0, -1, values, patches), "-1");
    REFUSES(DRAW(lab, 9, "mixed", INT64_MAX, 1, values, patches), "outside");
    REFUSES(DRAW(lab, 9, "mixed", 0, INT64_MAX, values, patches), "outside");
    REFUSES(DRAW(lab, UINT64_MAX, "mixed", 0, 1, values, patches), "seed");
    REFUSES(DRAW(lab, 9, "mixed", 0, 2, 2 * P * D - 1, 2 * P), "capacity 95 of patches");
    REFUSES(DRAW(lab, 9, "mixed", 0, 2, 2 * P * D, 2 * P - 1), "capacity 11 of origins");
}

static char *contents(const char *path) {
    static char text[65536];
    FILE *file = fopen(path, "r");
    size_t bytes = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[bytes] = 0;
    char *copy = malloc(bytes + 1);
    if (copy) memcpy(copy, text, bytes + 1);
    return copy;
}

static int32_t stop_in_the_middle(const mrp_progress *progress, void *user) {
    (void)user;
    EXPECT(strcmp(mrp_progress_phase(progress), "study") == 0);
    return mrp_progress_fraction(progress) > 0.4;
}

static void test_study(void) {
    char whole[64], parts[64];
    snprintf(whole, sizeof whole, "/tmp/mrp-lab-%ld-a.csv", (long)getpid());
    snprintf(parts, sizeof parts, "/tmp/mrp-lab-%ld-b.csv", (long)getpid());
    remove(whole), remove(parts);
    const char *axes = "tau = 1.0, 1.1 ;theta=0.4,0.5,0.6";
    watch w = {0, -1, 0, 0};
    WORKS(mrp_lab_study(lab, axes, whole, count_calls, &w));
    EXPECT(w.calls > 2 && w.unnamed == 0 && w.last == 1);
    FAILS(mrp_lab_study(lab, axes, parts, stop_in_the_middle, NULL), MRP_CANCELLED, "");
    WORKS(mrp_lab_study(lab, axes, parts, NULL, NULL));
    char *a = contents(whole), *b = contents(parts);
    EXPECT(a && b && strcmp(a, b) == 0);
    EXPECT(a && strncmp(a, "tau,theta,seed,", 15) == 0);
    int lines = 0;
    for (const char *c = a; c && *c; c++) lines += *c == '\n';
    EXPECT(lines == 1 + 2 * 3 * 2);
    free(a), free(b);
    REFUSES(mrp_lab_study(NULL, axes, parts, NULL, NULL), "NULL");
    REFUSES(mrp_lab_study(lab, NULL, parts, NULL, NULL), "axes");
    REFUSES(mrp_lab_study(lab, axes, NULL, NULL, NULL), "path");
    REFUSES(mrp_lab_study(lab, "", parts, NULL, NULL), "tau=1.05,1.1");
    REFUSES(mrp_lab_study(lab, "tau", parts, NULL, NULL), "'tau'");
    REFUSES(mrp_lab_study(lab, "tau=", parts, NULL, NULL), "missing");
    REFUSES(mrp_lab_study(lab, "tau=1,,2", parts, NULL, NULL), "not a number");
    REFUSES(mrp_lab_study(lab, "tua=1", parts, NULL, NULL), "'tau'");
    REFUSES(mrp_lab_study(lab, "tau=11", parts, NULL, NULL), "11");
    REFUSES(mrp_lab_study(lab, "k=2,50", parts, NULL, NULL), "dimension (d) 8");
    REFUSES(mrp_lab_study(lab, "tau=1;theta=1;q=4", parts, NULL, NULL), "1 or 2");
    REFUSES(mrp_lab_study(lab, "mu=0;single_fraction=0", parts, NULL, NULL), "twice");
    FAILS(mrp_lab_study(lab, "mu=0.1", parts, NULL, NULL), MRP_ERR_FORMAT, parts);
    FAILS(mrp_lab_study(lab, axes, "/no/such/folder/study.csv", NULL, NULL), MRP_ERR_IO, "/no/such/folder");
    remove(whole), remove(parts);
}

/* The same bits with any number of threads, and in a second laboratory. */
static void test_same_bits(void) {
    mrp_lab *other = small_lab();
    mrp_lab_report *second = NULL;
    double a[KERNELS * 2 * K], b[KERNELS * 2 * K];
    WORKS(mrp_lab_set(other, "threads", "1"));
    WORKS(mrp_lab_run(other, NULL, NULL, &second));
    for (int64_t seed = 0; seed < 2; seed++) {
        WORKS(mrp_lab_report_correlations(report, seed, "pretrained", a, KERNELS * 2 * K, NULL, NULL));
        WORKS(mrp_lab_report_correlations(second, seed, "pretrained", b, KERNELS * 2 * K, NULL, NULL));
        EXPECT(memcmp(a, b, sizeof a) == 0);
    }
    mrp_lab_destroy(other);
    mrp_lab_report_destroy(second);
}

int main(void) {
    lab = small_lab();
    test_options();
    test_experiments();
    test_run();
    test_report_rows();
    test_report_texts();
    test_report_correlations();
    test_report_refusals();
    test_report_without_supervised_training();
    test_same_bits();
    test_study();
    test_features();
    test_samples();
    test_some_samples();
    test_samples_refusals();
    mrp_lab_destroy(lab);
    mrp_lab_report_destroy(report);
    EXPECT(mrp_memory_in_use() == 0);
    return check_result(__FILE__);
}
