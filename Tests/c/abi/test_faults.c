/* Disks that fail. This program defines open, write, fsync and rename, so the library calls these instead of the C library's: each call
 * number in turn fails with ENOSPC or EIO, is interrupted, or writes less than it was asked to. Every time a file that was there before
 * stays whole, the error is one clear line, no temporary file is left, and the next attempt works. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "small.h"

/* ---- The failing calls */

enum { OPEN, WRITE, FSYNC, RENAME, KINDS };
static const char *const kinds[KINDS] = {"open", "write", "fsync", "rename"};
static int armed, kind, error;     /* error 0: writes are short */
static long countdown, calls_seen; /* the call that fails, counted from 1 */

static int strikes(int called) {
    if (!armed || called != kind) return 0;
    return __atomic_add_fetch(&calls_seen, 1, __ATOMIC_RELAXED) == countdown;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    if (strncmp(path, "/tmp/mrp-faults", 15) == 0 && strikes(OPEN)) return errno = error, -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t count) {
    if (file > 2 && strikes(WRITE)) {
        if (error) return errno = error, -1;
        count = (count + 1) / 2;
    }
    return syscall(SYS_write, file, bytes, count);
}

int fsync(int file) {
    if (strikes(FSYNC)) return errno = error, -1;
    return (int)syscall(SYS_fsync, file);
}

int rename(const char *from, const char *to) {
    if (strikes(RENAME)) return errno = error, -1;
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- Files */

static char root[] = "/tmp/mrp-faults-XXXXXX";
static mrp_config *options;
static mrp_dataset *images;

static const char *in_root(const char *name) { return path_in(root, name); }

typedef struct {
    long size;
    char *bytes;
} content;

static content read_all(const char *path) {
    content all = {-1, NULL};
    FILE *file = fopen(path, "rb");
    if (!file) return all;
    all.bytes = malloc(1 << 20);
    all.size = (long)fread(all.bytes, 1, 1 << 20, file);
    fclose(file);
    return all;
}

static int same(content a, content b) { return a.size == b.size && a.size > 0 && memcmp(a.bytes, b.bytes, (size_t)a.size) == 0; }

/* Files in a folder whose names end in `suffix`; they are deleted when `and_delete`. */
static int count_files(const char *folder, const char *suffix, int and_delete) {
    DIR *stream = opendir(folder);
    struct dirent *entry;
    int count = 0;
    while (stream && (entry = readdir(stream))) {
        const size_t length = strlen(entry->d_name), tail = strlen(suffix);
        if (entry->d_name[0] == '.' || length < tail || strcmp(entry->d_name + length - tail, suffix) != 0) continue;
        count++;
        if (and_delete) {
            char path[512];
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            unlink(path);
        }
    }
    if (stream) closedir(stream);
    return count;
}

/* ---- What is tried under faults */

static mrp_trainer *trainer;
static mrp_model *model;

static mrp_status save_checkpoint(void) { return mrp_trainer_save(trainer, in_root("run.ckpt")); }
static mrp_status save_model(void) { return mrp_model_save(model, in_root("model.safetensors"), NULL); }

/* The file that `save` writes was there, with other bytes; every fault leaves the old or the new one. */
static long check_save(const char *name, const char *path, mrp_status (*save)(void), content old, content fresh) {
    static const int errors[] = {ENOSPC, EIO, EINTR, 0};
    long faults = 0;
    for (kind = 0; kind < KINDS; kind++) {
        for (int e = 0; e < 4; e++) {
            error = errors[e];
            if ((error == 0 && kind != WRITE) || (error == EINTR && kind == OPEN)) continue;
            for (countdown = 1;; countdown++) {
                FILE *file = fopen(path, "wb");
                EXPECT(file && fwrite(old.bytes, 1, (size_t)old.size, file) == (size_t)old.size);
                if (file) fclose(file);
                calls_seen = 0;
                armed = 1;
                const mrp_status status = save();
                armed = 0;
                const content now = read_all(path);
                const int struck = calls_seen >= countdown;
                if (!struck || error == EINTR || error == 0) {
                    CHECK(status == MRP_OK && same(now, fresh), "%s: %s %ld, error %d: %s", name, kinds[kind], countdown, error,
                          mrp_last_error());
                } else {
                    const char *text = mrp_last_error();
                    CHECK(status == MRP_ERR_IO && strstr(text, root) && strstr(text, strerror(error)) && !strchr(text, '\n'),
                          "%s: %s %ld gave %s '%s'", name, kinds[kind], countdown, mrp_status_string(status), text);
                    CHECK(same(now, old) || same(now, fresh), "%s: %s %ld left %ld bytes", name, kinds[kind], countdown, now.size);
                }
                CHECK(count_files(root, ".tmp", 0) == 0, "%s: %s %ld left a temporary file", name, kinds[kind], countdown);
                free(now.bytes);
                if (!struck) break;
                faults++;
            }
        }
    }
    return faults;
}

static mrp_model *new_model(void) {
    mrp_model *made = NULL;
    WORKS(mrp_model_create(options, &made));
    return made;
}

/* Whole runs with a run folder: a fault ends them or not; the next one, on a sound disk, ends with the same weights as without faults. */
static long check_runs(content expected) {
    char folder[64], events[80];
    long faults = 0;
    snprintf(folder, sizeof folder, "%s/run", root);
    snprintf(events, sizeof events, "%s/pretrain", folder);
    WORKS(mrp_config_set(options, "run_folder", folder));
    WORKS(mrp_config_set(options, "checkpoint_steps", "1"));
    WORKS(mrp_config_set(options, "keep_checkpoints", "1"));
    for (kind = 0; kind < KINDS; kind++) {
        for (error = ENOSPC; error; error = error == ENOSPC ? EIO : 0) {
            for (countdown = 1;; countdown++) {
                mrp_model *made = new_model();
                calls_seen = 0;
                armed = 1;
                const mrp_status status = mrp_pretrain(made, images, options, NULL, NULL);
                armed = 0;
                const int struck = calls_seen >= countdown;
                CHECK(status == (struck ? MRP_ERR_IO : MRP_OK), "run: %s %ld gave %s", kinds[kind], countdown, mrp_last_error());
                if (struck) CHECK(strstr(mrp_last_error(), folder) != NULL, "run: '%s'", mrp_last_error());
                mrp_model_destroy(made);
                made = new_model();
                WORKS(mrp_pretrain(made, images, options, NULL, NULL));
                WORKS(mrp_model_save(made, in_root("after.safetensors"), NULL));
                const content now = read_all(in_root("after.safetensors"));
                CHECK(same(now, expected), "run: %s %ld ended with other weights", kinds[kind], countdown);
                CHECK(count_files(folder, ".ckpt", 0) == 1 && count_files(folder, ".tmp", 0) == 0, "run: %s %ld", kinds[kind], countdown);
                free(now.bytes);
                mrp_model_destroy(made);
                count_files(events, "", 1);
                rmdir(events);
                count_files(folder, "", 1);
                if (!struck) break;
                faults++;
            }
        }
    }
    rmdir(folder);
    return faults;
}

int main(void) {
    fill_images();
    options = small_options();
    WORKS(mrp_config_set(options, "epochs", "2"));
    WORKS(mrp_config_set(options, "warmup_epochs", "0")); /* so that the first step changes the weights */
    EXPECT(mkdtemp(root) != NULL);
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &images));
    model = new_model();
    WORKS(mrp_trainer_create(model, images, options, "pretrain", &trainer));
    WORKS(save_checkpoint());
    WORKS(save_model());
    const content old_checkpoint = read_all(in_root("run.ckpt")), old_model = read_all(in_root("model.safetensors"));
    WORKS(mrp_trainer_step(trainer));
    WORKS(save_checkpoint());
    WORKS(save_model());
    const content new_checkpoint = read_all(in_root("run.ckpt")), new_model_file = read_all(in_root("model.safetensors"));
    EXPECT(!same(old_checkpoint, new_checkpoint) && !same(old_model, new_model_file));
    long faults = check_save("checkpoint", in_root("run.ckpt"), save_checkpoint, old_checkpoint, new_checkpoint);
    faults += check_save("model", in_root("model.safetensors"), save_model, old_model, new_model_file);
    WORKS(mrp_trainer_resume(trainer, in_root("run.ckpt")));
    while (mrp_trainer_step(trainer) == MRP_OK) continue;
    WORKS(save_model());
    mrp_trainer_destroy(trainer);
    faults += check_runs(read_all(in_root("model.safetensors")));
    EXPECT(faults > 100);
    printf("%ld faults\n", faults);
    mrp_model_destroy(model);
    mrp_dataset_destroy(images);
    mrp_config_destroy(options);
    count_files(root, "", 1);
    rmdir(root);
    return check_result("faults");
}
