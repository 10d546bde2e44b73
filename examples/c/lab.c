/* Runs the experiment of arXiv 2206.03826 (why mask-reconstruction pretraining helps) and prints its claims with their verdicts; with
 * preset=hierarchical or preset=patch_routing one of the two others.
 *
 *     lab [OPTION=VALUE...]     lab seeds=2 preset=quick tau=1.2 json=report.json     lab preset=patch_routing samples=20,40
 *
 * An option is a key of the laboratory or the paper's symbol (`lab help` lists all); preset and json are this program's own. The exit status
 * is 0 when every claim holds, 1 when one fails, 2 when something went wrong.
 *
 *     cc lab.c -lmrp */
#include <mrp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t show(const mrp_progress *progress, void *user) {
    static int last = -1;
    const int percent = (int)(100 * mrp_progress_fraction(progress));
    (void)user;
    if (percent != last) fprintf(stderr, "\r%3d %%  %-36s", percent, mrp_progress_phase(progress));
    last = percent;
    return 0; /* anything else stops the run */
}

/* The text of a function that writes into a buffer; the caller frees it. */
static char *text_of(mrp_status (*json)(const mrp_lab_report *, char *, int64_t, int64_t *), const mrp_lab_report *report) {
    int64_t bytes = 0;
    if (json(report, NULL, 0, &bytes) != MRP_OK) return NULL;
    char *text = malloc((size_t)bytes);
    if (text && json(report, text, bytes, NULL) == MRP_OK) return text;
    free(text);
    return NULL;
}

static mrp_status table(const mrp_lab_report *report, char *buffer, int64_t capacity, int64_t *needed) {
    return mrp_lab_report_table(report, -1, buffer, capacity, needed);
}

static mrp_status options(const mrp_lab_report *unused, char *buffer, int64_t capacity, int64_t *needed) {
    (void)unused;
    return mrp_lab_describe(buffer, capacity, needed);
}

static int put(const char *path, char *text) {
    FILE *file = !text ? NULL : path ? fopen(path, "w") : stdout;
    const int written = file && fputs(text, file) >= 0 && fputc('\n', file) != EOF;
    const int closed = !path || !file || fclose(file) == 0;
    free(text);
    if (!written || !closed) fprintf(stderr, "cannot write %s\n", path ? path : "the text");
    return written && closed;
}

static int begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

int main(int argc, char **argv) {
    const char *preset = NULL, *json = NULL;
    mrp_lab *lab = NULL;
    mrp_lab_report *report = NULL;
    int32_t holds = 0;
    int ok;

    if (argc == 2 && strcmp(argv[1], "help") == 0) return put(NULL, text_of(options, NULL)) ? 0 : 2;
    for (int i = 1; i < argc; i++) {
        if (begins(argv[i], "preset=")) preset = argv[i] + 7;
        if (begins(argv[i], "json=")) json = argv[i] + 5;
    }
    ok = mrp_lab_create(preset, &lab) == MRP_OK; /* NULL: the defaults */
    for (int i = 1; i < argc && ok; i++) {
        char *value = strchr(argv[i], '=');
        if (begins(argv[i], "preset=") || begins(argv[i], "json=")) continue;
        if (value) *value++ = 0;
        ok = mrp_lab_set(lab, argv[i], value ? value : "") == MRP_OK; /* an unknown option is answered with the nearest one */
    }
    ok = ok && mrp_lab_run(lab, show, NULL, &report) == MRP_OK && mrp_lab_report_summary(report, NULL, NULL, &holds, NULL) == MRP_OK;
    if (ok) {
        fputc('\n', stderr);
        ok = put(NULL, text_of(table, report)) && (!json || put(json, text_of(mrp_lab_report_json, report)));
    } else {
        fprintf(stderr, "%s\n", mrp_last_error());
    }
    mrp_lab_report_destroy(report);
    mrp_lab_destroy(lab);
    return !ok ? 2 : holds ? 0 : 1;
}
