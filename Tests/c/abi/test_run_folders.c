/* Files that outlive a process: a run folder belongs to one run, a study's file to one study, and neither takes what is not its own. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"

static char root[] = "/tmp/mrp-folders-XXXXXX";
static mrp_config *options;
static mrp_dataset *images;

static const char *in_root(const char *name) { return path_in(root, name); }

static mrp_model *new_model(void) {
    mrp_model *model = NULL;
    WORKS(mrp_model_create(options, &model));
    return model;
}

static float first_weight(mrp_model *model) {
    float values[WIDTH];
    WORKS(mrp_model_parameter(model, "cls_token", values, WIDTH, NULL));
    return values[0];
}

static pid_t child;

/* A child that does nothing but live. */
static int32_t fork_once(const mrp_progress *progress, void *user) {
    (void)progress, (void)user;
    if (child == 0 && (child = fork()) == 0) {
        sleep(60);
        _exit(0);
    }
    return 0;
}

/* The lock goes with the run that took it, though a child that was forked meanwhile lives on. */
static void check_lock(void) {
    mrp_model *model = new_model();
    WORKS(mrp_pretrain(model, images, options, fork_once, NULL));
    WORKS(mrp_pretrain(model, images, options, NULL, NULL));
    EXPECT(waitpid(child, NULL, WNOHANG) == 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    mrp_model_destroy(model);
}

/* The folder's run is finished: the same one gets its weights, another one is refused and told why. */
static void check_another_run(void) {
    static const char *const others[][3] = {{"learning_rate", "0.1", "learning_rate auto, now 0.1"}, {"seed", "7", "seed 0, now 7"}};
    mrp_model *model = new_model(), *same = new_model();
    mrp_trainer *trainer = NULL;
    WORKS(mrp_pretrain(model, images, options, NULL, NULL));
    WORKS(mrp_trainer_create(same, images, options, "pretrain", &trainer));
    EXPECT(strcmp(mrp_trainer_end(trainer), "finished") == 0 && mrp_trainer_step(trainer) == MRP_DONE);
    EXPECT(first_weight(same) == first_weight(model) && mrp_progress_value(mrp_trainer_progress(trainer), "loss") > 0);
    mrp_trainer_destroy(trainer);
    for (int i = 0; i < 2; i++) {
        char before[64];
        int64_t needed;
        WORKS(mrp_config_get(options, others[i][0], before, sizeof before, &needed));
        WORKS(mrp_config_set(options, others[i][0], others[i][1]));
        mrp_model *other = new_model();
        const float weight = first_weight(other);
        FAILS(mrp_pretrain(other, images, options, NULL, NULL), MRP_ERR_STATE, others[i][2]);
        FAILS(mrp_trainer_create(other, images, options, "pretrain", &trainer), MRP_ERR_STATE, "resume_despite");
        EXPECT(first_weight(other) == weight);
        mrp_model_destroy(other);
        WORKS(mrp_config_set(options, others[i][0], before));
    }
    for (int i = 0; i < VALUES; i++) pixels[i] ^= 255;
    mrp_dataset *negative = NULL;
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &negative));
    FAILS(mrp_pretrain(model, negative, options, NULL, NULL), MRP_ERR_STATE, "images 16 x 3 x 8 x 8");
    mrp_dataset_destroy(negative);
    mrp_model_destroy(same);
    mrp_model_destroy(model);
}

/* A pipe in the place of the log does not hold the run up. */
static void check_pipe(void) {
    mrp_model *model = new_model();
    unlink(in_root("run/pretrain.csv"));
    EXPECT(mkfifo(in_root("run/pretrain.csv"), 0600) == 0);
    FAILS(mrp_pretrain(model, images, options, NULL, NULL), MRP_ERR_IO, "pretrain.csv");
    FAILS(mrp_model_save(model, in_root("run/pretrain.csv"), NULL), MRP_ERR_IO, "not a regular file");
    mrp_model_destroy(model);
}

static const char axes[] = "tau=1,1.1,1.2";

/* Another process that studies the same while this one does. */
static int32_t study_in_child(const mrp_progress *progress, void *user) {
    int status = 1;
    (void)progress;
    const pid_t other = fork();
    if (other == 0) {
        mrp_lab *own = small_lab();
        _exit(mrp_lab_study(own, axes, user, NULL, NULL) != MRP_ERR_STATE);
    }
    waitpid(other, &status, 0);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    mrp_lab *own = small_lab();
    FAILS(mrp_lab_study(own, axes, user, NULL, NULL), MRP_ERR_STATE, "in use by another study");
    mrp_lab_destroy(own);
    return 0;
}

static void check_study(void) {
    char path[300], text[9000];
    snprintf(path, sizeof path, "%s/study.csv", root);
    lab = small_lab();
    WORKS(mrp_lab_study(lab, axes, path, study_in_child, path));
    FILE *file = fopen(path, "r");
    int lines = 0;
    while (file && fgets(text, sizeof text, file)) lines++;
    EXPECT(lines == 7);
    if (file) fclose(file);
    /* What it does not begin with its header is not its own. */
    const char *const novel = "{\"title\": \"Call me Ishmael\"}";
    file = fopen(path, "w");
    EXPECT(file && fputs(novel, file) >= 0 && fclose(file) == 0);
    FAILS(mrp_lab_study(lab, axes, path, NULL, NULL), MRP_ERR_FORMAT, "not a file of this study");
    file = fopen(path, "r");
    EXPECT(file && fgets(text, sizeof text, file) && strcmp(text, novel) == 0);
    if (file) fclose(file);
    mrp_lab_destroy(lab);
    (void)report;
    unlink(path);
}

int main(void) {
    fill_images();
    EXPECT(mkdtemp(root) != NULL);
    options = small_options();
    WORKS(mrp_config_set(options, "run_folder", in_root("run")));
    WORKS(mrp_config_set(options, "tensorboard", "false"));
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &images));
    check_lock();
    check_another_run();
    check_pipe();
    check_study();
    mrp_dataset_destroy(images);
    mrp_config_destroy(options);
    static const char *const left[] = {"run/lock", "run/pretrain.csv", "run/pretrain-00000002.ckpt"};
    for (int i = 0; i < 3; i++) unlink(in_root(left[i]));
    rmdir(in_root("run"));
    rmdir(root);
    return check_result("run folders");
}
