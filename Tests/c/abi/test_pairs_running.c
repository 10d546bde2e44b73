/* Each status that the header documents for a call while another is under way: models in use, the caller's masks and targets that stop a
 * run, cancelled calls, a trainer in a forked process. */
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>

#include "pairs.h"

/* ---- Models that are in use */

typedef struct {
    mrp_model *model;
    mrp_trainer *trainer;
    int calls;
} busy_host;

static int32_t call_from_within(const mrp_progress *progress, void *user) {
    busy_host *host = user;
    mrp_model *copy = NULL;
    char text[8];
    int64_t needed;
    (void)progress;
    if (host->calls++) return 1;
    for (int i = 0; i < OPERATIONS; i++) {
        fails(operations[i].call(host->model, labelled, options), MRP_ERR_BUSY, "model", operations[i].name, __LINE__);
    }
    FAILS(mrp_model_clone(host->model, &copy), MRP_ERR_BUSY, "model");
    FAILS(mrp_model_save(host->model, "never", NULL), MRP_ERR_BUSY, "model");
    FAILS(mrp_model_export_onnx(host->model, "never", NULL), MRP_ERR_BUSY, "model");
    FAILS(mrp_model_export_stablehlo(host->model, "never", NULL), MRP_ERR_BUSY, "model");
    FAILS(mrp_model_set_validation(host->model, NULL, NULL), MRP_ERR_BUSY, "model");
    FAILS(mrp_model_describe(host->model, text, sizeof text, &needed), MRP_ERR_BUSY, "model");
    FAILS(mrp_model_parameter(host->model, "cls_token", NULL, 0, &needed), MRP_ERR_BUSY, "model");
    return 1;
}

typedef struct {
    mrp_trainer *trainer;
    volatile int stop;
} stepper;

static void *step_on(void *argument) {
    stepper *s = argument;
    while (!s->stop) (void)mrp_trainer_step(s->trainer);
    return NULL;
}

static void test_busy(void) {
    busy_host host = {NULL, NULL, 0};
    mrp_config *endless = small_options();
    stepper other = {NULL, 0};
    pthread_t thread;
    WORKS(mrp_config_set(endless, "epochs", "1000000"));
    host.model = model_for(&operations[0]);
    EXPECT(mrp_pretrain(host.model, labelled, endless, call_from_within, &host) == MRP_CANCELLED);
    EXPECT(host.calls > 0);
    WORKS(mrp_trainer_create(host.model, labelled, endless, "pretrain", &host.trainer));

    /* A trainer has no callback: another thread steps on and on, and sooner or later it is met in a step. */
    other.trainer = host.trainer;
    EXPECT(pthread_create(&thread, NULL, step_on, &other) == 0);
    mrp_status stepped, saved, resumed;
    while ((stepped = mrp_trainer_step(host.trainer)) == MRP_OK) {}
    fails(stepped, MRP_ERR_BUSY, "trainer", "mrp_trainer_step", __LINE__);
    while ((saved = mrp_trainer_save(host.trainer, in_root("busy.ckpt"))) == MRP_OK) {}
    fails(saved, MRP_ERR_BUSY, "trainer", "mrp_trainer_save", __LINE__);
    mrp_status exported;
    while ((exported = mrp_trainer_export(host.trainer, "stablehlo", in_root("busy.mlir"))) == MRP_OK) {}
    fails(exported, MRP_ERR_BUSY, "trainer", "mrp_trainer_export", __LINE__);
    mrp_status masking;
    while ((masking = mrp_trainer_set_masking(host.trainer, NULL, NULL)) == MRP_OK) {}
    fails(masking, MRP_ERR_BUSY, "trainer", "mrp_trainer_set_masking", __LINE__);
    mrp_status targets;
    while ((targets = mrp_trainer_set_targets(host.trainer, NULL, NULL)) == MRP_ERR_STATE) {}
    fails(targets, MRP_ERR_BUSY, "trainer", "mrp_trainer_set_targets", __LINE__);
    mrp_status suspended;
    while ((suspended = mrp_trainer_suspend(host.trainer)) == MRP_ERR_STATE) {}
    fails(suspended, MRP_ERR_BUSY, "trainer", "mrp_trainer_suspend", __LINE__);
    while ((resumed = mrp_trainer_resume(host.trainer, in_root("busy.ckpt"))) == MRP_OK) {}
    fails(resumed, MRP_ERR_BUSY, "trainer", "mrp_trainer_resume", __LINE__);
    other.stop = 1;
    pthread_join(thread, NULL);
    mrp_trainer_destroy(host.trainer);
    mrp_model_destroy(host.model);
    mrp_config_destroy(endless);
}

/* ---- The caller's masks */

typedef struct {
    int calls, hidden, stop;
} masker;

static int32_t mask_first(const int64_t *indices, int64_t count, int64_t patches, float *noise, void *user) {
    masker *m = user;
    m->calls++;
    EXPECT(patches == PATCHES);
    for (int64_t i = 0; i < count; i++) {
        EXPECT(indices[i] >= 0 && indices[i] < COUNT);
        for (int64_t p = 0; p < patches; p++) noise[i * patches + p] = p < m->hidden;
    }
    return m->stop;
}

static void test_masking(void) {
    mrp_trainer *trainer = NULL;
    masker m = {0, 3, 0};
    WORKS(mrp_trainer_create(classifier, labelled, options, "finetune", &trainer));
    FAILS(mrp_trainer_set_masking(trainer, mask_first, &m), MRP_ERR_STATE, "pretraining");
    mrp_trainer_destroy(trainer);
    FAILS(mrp_trainer_set_masking(trainer, mask_first, &m), MRP_ERR_HANDLE, "trainer");
    FAILS(mrp_trainer_set_masking(NULL, mask_first, &m), MRP_ERR_ARGUMENT, "NULL");
    WORKS(mrp_trainer_create(mae, labelled, options, "pretrain", &trainer));
    WORKS(mrp_trainer_set_masking(trainer, mask_first, &m));
    WORKS(mrp_trainer_step(trainer));
    m.hidden = 2;
    FAILS(mrp_trainer_step(trainer), MRP_ERR_ARGUMENT, "hides 2 of 4 patches, mask_ratio 0.75 hides 3");
    m = (masker){m.calls, 3, 1};
    FAILS(mrp_trainer_step(trainer), MRP_CANCELLED, "");
    EXPECT(m.calls == 3 && mrp_progress_value(mrp_trainer_progress(trainer), "step") == 1);
    WORKS(mrp_trainer_set_masking(trainer, NULL, NULL));
    WORKS(mrp_trainer_step(trainer));
    EXPECT(m.calls == 3);
    mrp_trainer_destroy(trainer);
}

/* ---- The caller's targets */

typedef struct {
    int calls, stop;
    float value;
} teacher;

static int32_t give_targets(const int64_t *indices, int64_t count, const float *images, int64_t image_values, int64_t patches,
                            int64_t width, float *targets, void *user) {
    teacher *t = user;
    t->calls++;
    EXPECT(patches == PATCHES && width == 3 && count >= 1 && count <= COUNT && indices[0] >= 0 && indices[0] < COUNT);
    EXPECT(image_values == VALUES / COUNT);
    EXPECT(images[0] == images[0] && images[count * image_values - 1] == images[count * image_values - 1]);
    for (int64_t i = 0; i < count * patches * width; i++) targets[i] = t->value;
    return t->stop;
}

static void test_targets(void) {
    mrp_trainer *trainer = NULL;
    mrp_config *given = small_options();
    mrp_model *model = NULL;
    teacher t = {0, 0, 1};
    WORKS(mrp_config_set(given, "objective", "given"));
    WORKS(mrp_model_create(given, &model));
    REFUSES(mrp_trainer_create(model, labelled, given, "pretrain", &trainer), "target_width");
    WORKS(mrp_config_set(given, "target_width", "3"));
    WORKS(mrp_trainer_create(mae, labelled, options, "pretrain", &trainer));
    FAILS(mrp_trainer_set_targets(trainer, give_targets, &t), MRP_ERR_STATE, "objective given, this run has mae");
    mrp_trainer_destroy(trainer);
    FAILS(mrp_trainer_set_targets(trainer, give_targets, &t), MRP_ERR_HANDLE, "trainer");
    FAILS(mrp_trainer_set_targets(NULL, give_targets, &t), MRP_ERR_ARGUMENT, "NULL");
    WORKS(mrp_trainer_create(model, labelled, given, "pretrain", &trainer));
    FAILS(mrp_trainer_step(trainer), MRP_ERR_STATE, "fills the targets");
    WORKS(mrp_trainer_set_targets(trainer, give_targets, &t));
    WORKS(mrp_trainer_step(trainer));
    t.value = (float)NAN;
    FAILS(mrp_trainer_step(trainer), MRP_ERR_ARGUMENT, "the targets of image");
    t = (teacher){t.calls, 1, 1};
    FAILS(mrp_trainer_step(trainer), MRP_CANCELLED, "");
    EXPECT(t.calls == 3 && mrp_progress_value(mrp_trainer_progress(trainer), "step") == 1);
    EXPECT(mrp_progress_value(mrp_trainer_progress(trainer), "feature_rank") > 0);
    t.stop = 0;
    WORKS(mrp_trainer_step(trainer));
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(model);
    mrp_config_destroy(given);
}

/* ---- Cancelling */

typedef struct {
    mrp_model *model;
    volatile int stop;
} canceller;

static void *cancel_on(void *argument) {
    canceller *c = argument;
    while (!c->stop) (void)mrp_cancel(c->model);
    return NULL;
}

static void test_cancelled(void) {
    mrp_dataset *generated = NULL, *many = NULL;
    mrp_trainer *trainer = NULL;
    mrp_config *endless = small_options();
    static float features[2000 * 64];
    WORKS(mrp_config_set(endless, "epochs", "1000000"));
    WORKS(mrp_config_set(endless, "synthetic_classes", "4"));
    WORKS(mrp_config_set(endless, "image_size", "32"));
    WORKS(mrp_dataset_generate(endless, 2000, 1, &generated));
    WORKS(mrp_dataset_name_classes(generated, "0\n1\n2\n3", &many)); /* the model's names */
    WORKS(mrp_config_set(endless, "image_size", "8"));
    for (int i = 0; i <= OPERATIONS; i++) {
        const operation *o = i < OPERATIONS ? &operations[i] : NULL; /* the last one: a trainer's step */
        if (o && o->call == create_trainer) continue;
        canceller c = {model_for(o ? o : &operations[0]), 0};
        pthread_t thread;
        mrp_status status = MRP_OK;
        if (!o) WORKS(mrp_trainer_create(c.model, many, endless, "pretrain", &trainer));
        EXPECT(pthread_create(&thread, NULL, cancel_on, &c) == 0);
        for (int attempt = 0; attempt < 10000 && status == MRP_OK; attempt++) {
            if (!o) {
                status = mrp_trainer_step(trainer);
            } else if (o->call == encode) {
                status = mrp_encode(c.model, many, endless, features, 2000 * 64);
            } else if (o->call == attention) {
                status = mrp_attention(c.model, many, endless, features, 2000 * 64);
            } else if (o->call == predict) {
                status = mrp_predict(c.model, many, endless, features, 2000 * 64);
            } else if (o->call == reconstruct) {
                status = mrp_reconstruct(c.model, many, endless, NULL, 0, NULL, NULL, 0, NULL, NULL);
            } else {
                status = o->call(c.model, many, endless);
            }
        }
        fails(status, MRP_CANCELLED, "", o ? o->name : "mrp_trainer_step", __LINE__);
        c.stop = 1;
        pthread_join(thread, NULL);
        mrp_trainer_destroy(trainer);
        trainer = NULL;
        mrp_model_destroy(c.model);
    }
    FAILS(mrp_cancel(mae), MRP_DONE, "");
    mrp_dataset_destroy(many);
    mrp_dataset_destroy(generated);
    mrp_config_destroy(endless);
}

/* ---- Forked processes */

static void test_fork(void) {
    mrp_trainer *trainer = NULL;
    mrp_config *threaded = small_options();
    int how = 0;
    WORKS(mrp_config_set(threaded, "loader_threads", "1"));
    WORKS(mrp_config_set(threaded, "epochs", "100"));
    WORKS(mrp_config_set(threaded, "run_folder", in_root("forked")));
    WORKS(mrp_trainer_create(mae, labelled, threaded, "pretrain", &trainer));
    WORKS(mrp_trainer_step(trainer));
    const pid_t child = fork();
    if (child == 0) {
        const long before = check_failures;
        FAILS(mrp_trainer_step(trainer), MRP_ERR_FORKED, "");
        FAILS(mrp_trainer_suspend(trainer), MRP_ERR_FORKED, "");
        WORKS(mrp_pretrain(mae, labelled, options, NULL, NULL)); /* new runs work */
        _exit(check_failures != before);
    }
    EXPECT(child > 0 && waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    WORKS(mrp_trainer_step(trainer));
    mrp_trainer_destroy(trainer);
    mrp_config_destroy(threaded);
}

int main(void) {
    begin();
    test_busy();
    test_masking();
    test_targets();
    test_cancelled();
    test_fork();
    return end(__FILE__);
}
