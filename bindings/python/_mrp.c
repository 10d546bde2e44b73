/* _mrp: the C interface of libmrp as Python functions, one for one. The package `mrp` above it is what people use.
 *
 * Handles are opaque objects that destroy themselves and keep alive what they borrow (a wrapped array, the dataset of a subset, the
 * model and the dataset of a trainer). A status below zero becomes an exception whose text is mrp_last_error(). Input and output
 * arrays pass through the buffer protocol without a copy: C-contiguous, native byte order; anything else is refused with a message,
 * so that the caller decides about copies. The GIL is released in every call that can take long, and signals are answered
 * within 50 ms: in a training run by its progress callback, in calls with a model's images by waiting on a helper thread (see
 * `run_watched`), elsewhere by the function of mrp_set_interrupt (see `free_call`). */

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include <mrp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Module state ---- */

enum kind { CONFIG, DATASET, MODEL, TRAINER, LAB, LAB_REPORT, KINDS };

static const char *const kind_names[KINDS] = {"mrp._mrp.Config",  "mrp._mrp.Dataset", "mrp._mrp.Model",
                                              "mrp._mrp.Trainer", "mrp._mrp.Lab",     "mrp._mrp.LabReport"};

typedef struct {
    const char *name;
    mrp_status code;
    const char *base; /* the builtin exception that it also is, or NULL */
    const char *doc;
} exception_spec;

static const exception_spec exception_specs[] = {
    {"Cancelled", MRP_CANCELLED, NULL, "The call was stopped by cancel() before its result was complete."},
    {"ArgumentError", MRP_ERR_ARGUMENT, "ValueError", "A value is outside its range; the text names the value and the limit."},
    {"HandleError", MRP_ERR_HANDLE, NULL, "Not a live object of the library."},
    {"BusyError", MRP_ERR_BUSY, "RuntimeError", "The object is in use by another call, in this thread or in another one."},
    {"MrpMemoryError", MRP_ERR_MEMORY, "MemoryError", "Memory ran out."},
    {"MrpIOError", MRP_ERR_IO, "OSError", "A file could not be opened, read or written."},
    {"FormatError", MRP_ERR_FORMAT, "ValueError", "A file or a text is not what it should be."},
    {"VersionError", MRP_ERR_VERSION, NULL, "A file comes from a newer or unknown version."},
    {"StateError", MRP_ERR_STATE, "RuntimeError", "Not possible in the object's present state."},
    {"NumericError", MRP_ERR_NUMERIC, "ArithmeticError", "NaN or infinity in the data or in the loss."},
    {"ForkedError", MRP_ERR_FORKED, "RuntimeError", "The object was in use when the process forked."},
    {"UnsupportedError", MRP_ERR_UNSUPPORTED, NULL, "Correct, but not offered by this build or for this model."},
    {"DeviceError", MRP_ERR_DEVICE, "RuntimeError", "An accelerator failed or was lost."},
    {"InternalError", MRP_ERR_INTERNAL, "RuntimeError", "A defect of the library: please report it."},
};
enum { EXCEPTIONS = sizeof exception_specs / sizeof exception_specs[0] };

typedef struct {
    PyTypeObject *types[KINDS];
    PyTypeObject *progress, *lab_progress;
    PyObject *log;   /* called with (level, text) for each line of the library's log; NULL for none */
    PyObject *error; /* mrp.MrpError, the base of all */
    PyObject *exceptions[EXCEPTIONS];
} module_state;

static module_state *state_of(PyObject *module) { return PyModule_GetState(module); }

/* ---- Log ---- */

/* A line of the library's log, which waits for a thread that holds the GIL: the thread that wrote it must not wait for the GIL itself. */
typedef struct log_line {
    struct log_line *before;
    int32_t level;
    char text[];
} log_line;

static _Atomic(log_line *) newest_line;

static void keep_line(int32_t level, const char *text, void *user) {
    (void)user;
    if (level == MRP_LOG_ERROR) return; /* an exception will say it */
    const size_t bytes = strlen(text) + 1;
    log_line *line = malloc(sizeof *line + bytes);
    if (!line) return;
    line->level = level;
    memcpy(line->text, text, bytes);
    line->before = atomic_load(&newest_line);
    while (!atomic_compare_exchange_weak(&newest_line, &line->before, line)) {}
}

/* Tells Python the lines that wait, the oldest first. Returns 0 with an exception set when its function raised. */
static int tell_log(module_state *state) {
    log_line *newest = atomic_exchange(&newest_line, NULL), *oldest = NULL;
    while (newest) {
        log_line *before = newest->before;
        newest->before = oldest;
        oldest = newest;
        newest = before;
    }
    int told = 1;
    while (oldest) {
        log_line *line = oldest;
        oldest = line->before;
        if (told && state->log) {
            PyObject *text = PyUnicode_DecodeUTF8(line->text, (Py_ssize_t)strlen(line->text), "backslashreplace");
            PyObject *answer = text ? PyObject_CallFunction(state->log, "iO", (int)line->level, text) : NULL;
            told = answer != NULL;
            Py_XDECREF(text);
            Py_XDECREF(answer);
        }
        free(line);
    }
    return told;
}

static PyObject *py_set_log(PyObject *module, PyObject *function) {
    module_state *state = state_of(module);
    PyObject *before = state->log;
    state->log = function == Py_None ? NULL : Py_NewRef(function);
    Py_XDECREF(before);
    mrp_set_log(state->log ? MRP_LOG_INFO : MRP_LOG_NONE, keep_line, NULL);
    Py_RETURN_NONE;
}

/* ---- Errors ---- */

static PyObject *raise_text(module_state *state, mrp_status status, const char *text) {
    if (!tell_log(state)) return NULL;
    PyObject *type = state->error;
    for (int i = 0; i < EXCEPTIONS; i++) {
        if (exception_specs[i].code == status) type = state->exceptions[i];
    }
    /* File names need not be UTF-8: what cannot be decoded is shown as \xNN instead of hiding the error. */
    PyObject *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
    if (message) {
        PyErr_SetObject(type, message);
        Py_DECREF(message);
    }
    return NULL;
}

static PyObject *raise_status(module_state *state, mrp_status status) {
    const char *text = mrp_last_error();
    if (status >= 0 || text[0] == 0) text = mrp_status_string(status);
    return raise_text(state, status, text);
}

static PyObject *none_or_raise(module_state *state, mrp_status status) {
    if (PyErr_Occurred()) return NULL; /* a signal's */
    if (status != MRP_OK) return raise_status(state, status);
    return tell_log(state) ? Py_NewRef(Py_None) : NULL;
}

/* ---- Calls without the GIL ---- */

/* A call without the GIL that signals stop: the library asks every 20 ms whether one has come. A handler's exception is set when it ends. */
typedef struct {
    PyThreadState *thread;
    int stopped;
} free_call;

static int32_t look_at_signals(void *user) {
    free_call *call = user;
    if (call->stopped) return 1;
    PyEval_RestoreThread(call->thread);
    call->stopped = PyErr_CheckSignals() != 0;
    call->thread = PyEval_SaveThread();
    mrp_set_interrupt(look_at_signals, call); /* the handler may have made calls of its own */
    return call->stopped;
}

static void begin_free(free_call *call) {
    call->stopped = 0;
    call->thread = PyEval_SaveThread();
    mrp_set_interrupt(look_at_signals, call);
}

static void end_free(free_call *call) {
    mrp_set_interrupt(NULL, NULL);
    PyEval_RestoreThread(call->thread);
}

/* WITHOUT_GIL(status = call(...)); */
#define WITHOUT_GIL(statement) \
    do {                       \
        free_call gil_call;    \
        begin_free(&gil_call); \
        statement;             \
        end_free(&gil_call);   \
    } while (0)

/* ---- Handles ---- */

typedef struct {
    PyObject_HEAD union {
        void *any;
        mrp_config *config;
        mrp_dataset *dataset;
        mrp_model *model;
        mrp_trainer *trainer;
        mrp_lab *lab;
        mrp_lab_report *report;
    } handle;
    int kind;
    PyObject *first, *second;    /* handles that this one borrows from, or NULL */
    PyObject *masking, *targets; /* a trainer's functions, or NULL */
    PyObject *raised[3];         /* the exception that it ended with, to be raised by the step */
    Py_buffer pixels;            /* the wrapped array; pixels.obj is NULL when there is none */
} handle_object;

/* Breaks reference cycles: a trainer's functions, and the exception of one, are the only ways from a handle to the caller's objects and back,
 * but for the wrapped array. The cycle collector clears the objects of a cycle in any order, while others of them still use this handle, or
 * the handle still looks at what it borrows: so handles, arrays and borrowed handles stay until nobody refers to them. */
static int handle_clear(PyObject *self) {
    handle_object *object = (handle_object *)self;
    Py_CLEAR(object->masking);
    Py_CLEAR(object->targets);
    for (int i = 0; i < 3; i++) Py_CLEAR(object->raised[i]);
    return 0;
}

/* The handle goes first: it may still look at what it borrows. */
static void handle_destroy(handle_object *object) {
    switch (object->kind) {
    case CONFIG: mrp_config_destroy(object->handle.config); break;
    case DATASET: mrp_dataset_destroy(object->handle.dataset); break;
    case MODEL: mrp_model_destroy(object->handle.model); break;
    case TRAINER: mrp_trainer_destroy(object->handle.trainer); break;
    case LAB: mrp_lab_destroy(object->handle.lab); break;
    default: mrp_lab_report_destroy(object->handle.report); break;
    }
    object->handle.any = NULL;
    if (object->pixels.obj) PyBuffer_Release(&object->pixels);
    Py_CLEAR(object->first);
    Py_CLEAR(object->second);
}

static int handle_traverse(PyObject *self, visitproc visit, void *arg) {
    handle_object *object = (handle_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(object->first);
    Py_VISIT(object->second);
    Py_VISIT(object->masking);
    Py_VISIT(object->targets);
    for (int i = 0; i < 3; i++) Py_VISIT(object->raised[i]);
    Py_VISIT(object->pixels.obj);
    return 0;
}

static void handle_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    handle_destroy((handle_object *)self);
    handle_clear(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_doc, "Opaque handle of the library; destroyed with its last reference."},
    {0, NULL},
};

/* An empty handle, to be filled by a create function; dropping it while it is empty is harmless. */
static handle_object *new_handle(module_state *state, int kind, PyObject *first, PyObject *second) {
    PyTypeObject *type = state->types[kind];
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    handle_object *object = (handle_object *)allocate(type, 0);
    if (!object) return NULL;
    object->kind = kind;
    Py_XINCREF(first);
    Py_XINCREF(second);
    object->first = first;
    object->second = second;
    return object;
}

static PyObject *handle_or_raise(module_state *state, handle_object *object, mrp_status status) {
    if (status == MRP_OK && !PyErr_Occurred() && tell_log(state)) return (PyObject *)object;
    if (!PyErr_Occurred()) raise_status(state, status); /* else a signal's */
    Py_DECREF((PyObject *)object);
    return NULL;
}

/* The C handle inside `object`, or NULL with TypeError set. */
static void *handle_of(module_state *state, PyObject *object, int kind) {
    if (!PyObject_TypeCheck(object, state->types[kind])) {
        PyErr_Format(PyExc_TypeError, "expected a %s, got %R", kind_names[kind], (PyObject *)Py_TYPE(object));
        return NULL;
    }
    void *handle = ((handle_object *)object)->handle.any;
    if (!handle) PyErr_Format(PyExc_ValueError, "this %s is already destroyed", kind_names[kind]);
    return handle;
}

/* Options may be None. Returns 0 and sets an exception when `object` is neither None nor a Config. */
static int options_of(module_state *state, PyObject *object, mrp_config **config) {
    *config = NULL;
    if (object == Py_None) return 1;
    *config = handle_of(state, object, CONFIG);
    return *config != NULL;
}

static int seed_converter(PyObject *object, void *result) {
    unsigned long long seed = PyLong_AsUnsignedLongLong(object);
    if (PyErr_Occurred()) return 0;
    *(uint64_t *)result = seed;
    return 1;
}

/* ---- Arrays ---- */

/* The element type of a buffer: its format without a byte-order mark, or 0 when the order is not this machine's. */
static char element_of(const Py_buffer *view) {
    const uint16_t probe = 1;
    const int little = *(const unsigned char *)&probe == 1;
    const char *format = view->format ? view->format : "B";
    const char order = format[0];
    if (order == '@' || order == '=' || order == (little ? '<' : '>')) format++;
    if (strlen(format) != 1) return 0;
    return format[0];
}

/* A C-contiguous, aligned, native view of `object`. `elements` lists the formats that are welcome. */
static int open_array(module_state *state, PyObject *object, const char *what, const char *elements, int dimensions, int writable,
                      Py_buffer *view) {
    memset(view, 0, sizeof *view);
    if (PyObject_GetBuffer(object, view, PyBUF_FORMAT | PyBUF_STRIDES | (writable ? PyBUF_WRITABLE : 0)) != 0) return 0;
    char message[200] = "";
    char element = element_of(view);
    if (!element || !strchr(elements, element)) {
        snprintf(message, sizeof message, "%s have the element format '%.20s', expected one of '%s' in native byte order", what,
                 view->format ? view->format : "B", elements);
    } else if (dimensions && view->ndim != dimensions) {
        snprintf(message, sizeof message, "%s have %d dimensions, expected %d", what, view->ndim, dimensions);
    } else if (!PyBuffer_IsContiguous(view, 'C')) {
        snprintf(message, sizeof message, "%s are not C-contiguous: pass a contiguous copy", what);
    } else if ((uintptr_t)view->buf % (uintptr_t)(view->itemsize > 0 ? view->itemsize : 1) != 0) {
        snprintf(message, sizeof message, "%s are not aligned to their %d-byte elements: pass a copy", what, (int)view->itemsize);
    }
    if (message[0] == 0) return 1;
    PyBuffer_Release(view);
    raise_text(state, MRP_ERR_ARGUMENT, message);
    return 0;
}

static int64_t elements_in(const Py_buffer *view) { return view->itemsize > 0 ? (int64_t)(view->len / view->itemsize) : 0; }

/* ---- Text ---- */

typedef mrp_status (*text_reader)(const void *object, const void *argument, char *buffer, int64_t capacity, int64_t *needed);

/* A text that the library writes into a caller's buffer; `errors` is what becomes of bytes that are not UTF-8. */
static PyObject *read_bytes(module_state *state, text_reader reader, const void *object, const void *argument, const char *errors) {
    char small[1024];
    int64_t needed = 0;
    mrp_status status;
    WITHOUT_GIL(status = reader(object, argument, small, sizeof small, &needed));
    if (PyErr_Occurred()) return NULL;
    if (status == MRP_OK) return PyUnicode_DecodeUTF8(small, (Py_ssize_t)strlen(small), errors);
    if (status != MRP_ERR_ARGUMENT || needed <= (int64_t)sizeof small) return raise_status(state, status);
    char *large = PyMem_Malloc((size_t)needed);
    if (!large) return PyErr_NoMemory();
    WITHOUT_GIL(status = reader(object, argument, large, needed, &needed));
    PyObject *text = PyErr_Occurred()   ? NULL
                     : status == MRP_OK ? PyUnicode_DecodeUTF8(large, (Py_ssize_t)strlen(large), errors)
                                        : raise_status(state, status);
    PyMem_Free(large);
    return text;
}

static PyObject *read_text(module_state *state, text_reader reader, const void *object, const void *argument) {
    return read_bytes(state, reader, object, argument, "backslashreplace");
}

#define READER(name, call)                                                                                              \
    static mrp_status name(const void *object, const void *argument, char *buffer, int64_t capacity, int64_t *needed) { \
        (void)object, (void)argument;                                                                                   \
        return call;                                                                                                    \
    }
READER(read_option, mrp_config_get(object, argument, buffer, capacity, needed))
READER(read_table, mrp_config_describe(buffer, capacity, needed))
READER(read_lab_option, mrp_lab_get(object, argument, buffer, capacity, needed))
READER(read_lab_table, mrp_lab_describe(buffer, capacity, needed))
READER(read_class_name, mrp_dataset_class_name(object, *(const int64_t *)argument, buffer, capacity, needed))
READER(read_image_name, mrp_dataset_image_name(object, *(const int64_t *)argument, buffer, capacity, needed))
READER(read_file, mrp_file_describe(object, buffer, capacity, needed))
READER(read_devices, mrp_device_describe(object, buffer, capacity, needed))
READER(read_model, mrp_model_describe((mrp_model *)(uintptr_t)object, buffer, capacity, needed))

/* ---- Progress and interruption ---- */

enum { MOST_FIELDS = 24 };

#include "_fields.h"

#define FIELDS_OF(fields) ((int)(sizeof(fields) / sizeof(fields)[0]) - 1)
static PyStructSequence_Desc progress_description = {
    "mrp.Progress", "How far a training run is; a value that is not known yet is NaN (None where it is a count).", progress_fields,
    FIELDS_OF(progress_fields)};
static PyStructSequence_Desc lab_progress_description = {
    "mrp.LabProgress", "How far a run of the laboratory is; a value that is not known yet is NaN (None where it is a count).",
    lab_progress_fields, FIELDS_OF(lab_progress_fields)};

/* What a progress says, read at once: it may change afterwards. */
typedef struct {
    const char *phase; /* static */
    double values[MOST_FIELDS];
} progress_values;

static void read_progress(const PyStructSequence_Desc *description, const mrp_progress *progress, progress_values *read) {
    read->phase = mrp_progress_phase(progress);
    read->values[1] = mrp_progress_fraction(progress);
    for (int i = 2; i < description->n_in_sequence; i++) read->values[i] = mrp_progress_value(progress, description->fields[i].name);
}

static int is_count(const char *name) {
    static const char *const counts[] = {"step", "steps", "seed", "seeds", "captured", "best_step"};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (strcmp(counts[i], name) == 0) return 1;
    return 0;
}

static PyObject *progress_object(PyTypeObject *type, const PyStructSequence_Desc *description, const progress_values *read) {
    PyObject *result = PyStructSequence_New(type);
    int complete = result != NULL;
    for (int i = 0; i < description->n_in_sequence && result; i++) {
        const double value = read->values[i];
        const int counts = is_count(description->fields[i].name);
        PyObject *item = i == 0           ? PyUnicode_FromString(read->phase)
                         : !counts        ? PyFloat_FromDouble(value)
                         : value == value ? PyLong_FromDouble(value)
                                          : Py_NewRef(Py_None);
        if (!item) complete = 0;
        PyStructSequence_SetItem(result, i, item);
    }
    if (complete) return result;
    Py_XDECREF(result);
    return NULL;
}

static PyObject *progress_snapshot(module_state *state, const mrp_progress *progress) {
    progress_values values;
    read_progress(&progress_description, progress, &values);
    return progress_object(state->progress, &progress_description, &values);
}

typedef struct {
    module_state *state;
    PyThreadState *thread; /* saved while the GIL is released */
    PyObject *callback;    /* borrowed from the caller; NULL for none */
    double next_check;     /* when signals are looked at next, in seconds */
    int stopped;
} run_context;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Called by the library on the thread that released the GIL. Without a callback the GIL is taken only for the signals, and not at
 * every step: waiting for it can take longer than a small step. */
static int32_t on_progress(const mrp_progress *progress, void *user) {
    run_context *run = user;
    if (run->stopped) return 1;
    double time = now();
    if (!run->callback && time < run->next_check) return 0;
    run->next_check = time + 0.02;
    PyEval_RestoreThread(run->thread);
    if (PyErr_CheckSignals() != 0 || !tell_log(run->state)) {
        run->stopped = 1;
    } else if (run->callback) {
        PyObject *snapshot = progress_snapshot(run->state, progress);
        PyObject *answer = snapshot ? PyObject_CallFunctionObjArgs(run->callback, snapshot, NULL) : NULL;
        Py_XDECREF(snapshot);
        run->stopped = answer ? PyObject_IsTrue(answer) != 0 : 1;
        Py_XDECREF(answer);
    }
    run->thread = PyEval_SaveThread();
    return run->stopped;
}

typedef mrp_status (*training_function)(mrp_model *, const mrp_dataset *, const mrp_config *, mrp_progress_fn, void *);

static PyObject *train(PyObject *module, PyObject *args, training_function function) {
    module_state *state = state_of(module);
    PyObject *model_object, *dataset_object, *options_object, *callback;
    if (!PyArg_ParseTuple(args, "OOOO", &model_object, &dataset_object, &options_object, &callback)) return NULL;
    mrp_config *options;
    mrp_model *model = handle_of(state, model_object, MODEL);
    mrp_dataset *dataset = model ? handle_of(state, dataset_object, DATASET) : NULL;
    if (!dataset || !options_of(state, options_object, &options)) return NULL;
    if (callback != Py_None && !PyCallable_Check(callback)) {
        return PyErr_Format(PyExc_TypeError, "callback is not callable: %R", callback);
    }
    run_context run = {.state = state, .callback = callback == Py_None ? NULL : callback, .next_check = now() + 0.02};
    run.thread = PyEval_SaveThread();
    mrp_status status = function(model, dataset, options, on_progress, &run);
    PyEval_RestoreThread(run.thread);
    if (PyErr_Occurred()) return NULL;
    if (status < 0) return raise_status(state, status);
    if (!tell_log(state)) return NULL;
    return PyBool_FromLong(status != MRP_CANCELLED);
}

/* A call that reports seldom or never, so that Ctrl-C reaches it too: it runs on a helper thread, while this one looks at the signals
 * and hands out what the call last reported; it cancels the call when a handler or the caller's function says so. */
typedef struct {
    mrp_status (*call)(void *arguments);
    void *arguments;
    mrp_status (*cancel)(void *target);
    void *target;
    PyObject *callback; /* called with what note_progress wrote, on the thread of the caller; NULL for none */
    mrp_status status;
    char message[2048]; /* mrp_last_error() of the helper thread */
    int finished, has_progress;
    progress_values progress;
    pthread_mutex_t lock;
    pthread_cond_t done;
} watched_call;

static void run_here(watched_call *watched) {
    watched->status = watched->call(watched->arguments);
    if (watched->status < 0) { strncpy(watched->message, mrp_last_error(), sizeof watched->message - 1); }
}

static void *run_on_thread(void *argument) {
    watched_call *watched = argument;
    run_here(watched);
    pthread_mutex_lock(&watched->lock);
    watched->finished = 1;
    pthread_cond_signal(&watched->done);
    pthread_mutex_unlock(&watched->lock);
    return NULL;
}

/* The progress function of calls of the laboratory on a helper thread; `user` is the watched call. */
static int32_t note_progress(const mrp_progress *progress, void *user) {
    watched_call *watched = user;
    pthread_mutex_lock(&watched->lock);
    read_progress(&lab_progress_description, progress, &watched->progress);
    watched->has_progress = 1;
    pthread_mutex_unlock(&watched->lock);
    return 0;
}

/* With the GIL: signals, and the caller's function. Returns 1 when one of them wants to stop. */
static int attend(module_state *state, watched_call *watched) {
    if (PyErr_CheckSignals() != 0 || !tell_log(state)) return 1;
    if (!watched->callback) return 0;
    pthread_mutex_lock(&watched->lock);
    const progress_values progress = watched->progress;
    const int has_progress = watched->has_progress;
    watched->has_progress = 0;
    pthread_mutex_unlock(&watched->lock);
    if (!has_progress) return 0;
    PyObject *object = progress_object(state->lab_progress, &lab_progress_description, &progress);
    PyObject *answer = object ? PyObject_CallFunctionObjArgs(watched->callback, object, NULL) : NULL;
    Py_XDECREF(object);
    const int stops = answer ? PyObject_IsTrue(answer) != 0 : 1;
    Py_XDECREF(answer);
    return stops;
}

static mrp_status cancel_model(void *model) { return mrp_cancel(model); }

static mrp_status cancel_lab(void *lab) { return mrp_lab_cancel(lab); }

static int start_thread(pthread_t *thread, watched_call *watched) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the host's signals stay with the host's threads */
    int failed = pthread_create(thread, NULL, run_on_thread, watched);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

/* Waits 20 ms at most; tells whether the call has finished. */
static int wait_a_little(watched_call *watched) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&watched->lock);
    if (!watched->finished) pthread_cond_timedwait(&watched->done, &watched->lock, &until);
    int finished = watched->finished;
    pthread_mutex_unlock(&watched->lock);
    return finished;
}

/* Runs `call` without the GIL. Returns 0 with an exception set when it failed or was interrupted. */
static int run_watched(module_state *state, watched_call *watched) {
    pthread_t thread;
    int stopped = 0;
    pthread_mutex_init(&watched->lock, NULL);
    pthread_condattr_t monotonic; /* a clock that is set back delays no Ctrl-C */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watched->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    PyThreadState *saved = PyEval_SaveThread();
    if (start_thread(&thread, watched)) {
        while (!wait_a_little(watched)) {
            PyEval_RestoreThread(saved);
            if (!stopped) stopped = attend(state, watched);
            saved = PyEval_SaveThread();
            if (stopped) watched->cancel(watched->target); /* again and again: the call may not have begun yet */
        }
        pthread_join(thread, NULL);
    } else {
        run_here(watched); /* no thread to be had: then without interruption */
    }
    PyEval_RestoreThread(saved);
    if (!stopped && watched->status >= 0) attend(state, watched); /* how it ended */
    pthread_cond_destroy(&watched->done);
    pthread_mutex_destroy(&watched->lock);
    if (PyErr_Occurred()) return 0;
    if (watched->status < 0) {
        raise_text(state, watched->status, watched->message[0] ? watched->message : mrp_status_string(watched->status));
        return 0;
    }
    return tell_log(state);
}

/* A text about the handle behind `object`. */
static PyObject *text_of(PyObject *module, PyObject *object, int kind, text_reader reader, const void *argument) {
    module_state *state = state_of(module);
    void *handle = handle_of(state, object, kind);
    return handle ? read_text(state, reader, handle, argument) : NULL;
}

/* ---- Library ---- */

static PyObject *py_version(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyUnicode_FromString(mrp_version());
}
static PyObject *py_build_info(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyUnicode_FromString(mrp_build_info());
}
static PyObject *py_memory_in_use(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromLongLong(mrp_memory_in_use());
}

/* ---- Options ---- */

static PyObject *py_config_create(PyObject *module, PyObject *args) {
    const char *preset;
    if (!PyArg_ParseTuple(args, "z", &preset)) return NULL;
    module_state *state = state_of(module);
    handle_object *object = new_handle(state, CONFIG, NULL, NULL);
    if (!object) return NULL;
    return handle_or_raise(state, object, mrp_config_create(preset, &object->handle.config));
}

/* (handle, key, value) in args. */
static PyObject *set_text(PyObject *module, PyObject *args, int kind, mrp_status (*call)(void *, const char *, const char *)) {
    PyObject *object;
    const char *key, *value;
    if (!PyArg_ParseTuple(args, "Oss", &object, &key, &value)) return NULL;
    module_state *state = state_of(module);
    void *handle = handle_of(state, object, kind);
    return handle ? none_or_raise(state, call(handle, key, value)) : NULL;
}

static mrp_status call_config_set(void *config, const char *key, const char *value) { return mrp_config_set(config, key, value); }
static PyObject *py_config_set(PyObject *module, PyObject *args) { return set_text(module, args, CONFIG, call_config_set); }

static PyObject *py_config_get(PyObject *module, PyObject *args) {
    PyObject *config_object;
    const char *key;
    if (!PyArg_ParseTuple(args, "Os", &config_object, &key)) return NULL;
    return text_of(module, config_object, CONFIG, read_option, key);
}

static PyObject *py_config_describe(PyObject *module, PyObject *unused) {
    (void)unused;
    return read_text(state_of(module), read_table, NULL, NULL);
}

/* ---- Datasets ---- */

/* Labels, int32, one for each of `count` things; none for None. Nothing stays open after a failure. */
static int open_labels(module_state *state, PyObject *object, int64_t count, const char *things, Py_buffer *labels) {
    if (object == Py_None) return 1;
    if (!open_array(state, object, "labels", "il", 1, 0, labels)) return 0;
    char message[120] = "";
    if (labels->itemsize != 4) {
        snprintf(message, sizeof message, "labels have %d-byte elements, expected int32", (int)labels->itemsize);
    } else if (labels->shape[0] != count) {
        snprintf(message, sizeof message, "%lld labels were given for %lld %s", (long long)labels->shape[0], (long long)count, things);
    }
    if (!message[0]) return 1;
    raise_text(state, MRP_ERR_ARGUMENT, message);
    PyBuffer_Release(labels);
    return 0;
}

static PyObject *py_dataset_wrap_array(PyObject *module, PyObject *args) {
    PyObject *pixels_object, *labels_object;
    int layout;
    if (!PyArg_ParseTuple(args, "OiO", &pixels_object, &layout, &labels_object)) return NULL;
    module_state *state = state_of(module);
    handle_object *object = new_handle(state, DATASET, NULL, NULL);
    if (!object) return NULL;
    Py_buffer *pixels = &object->pixels, labels = {0};
    if (!open_array(state, pixels_object, "pixels", "BHf", 4, 0, pixels)) goto failed;
    if (layout != MRP_NCHW && layout != MRP_NHWC) {
        PyErr_Format(PyExc_ValueError, "layout %d is neither NCHW nor NHWC", layout);
        goto failed;
    }
    const int64_t count = pixels->shape[0];
    if (!open_labels(state, labels_object, count, "images", &labels)) goto failed;
    const int channel_axis = layout == MRP_NCHW ? 1 : 3, row_axis = layout == MRP_NCHW ? 2 : 1;
    const int64_t channels = pixels->shape[channel_axis], height = pixels->shape[row_axis], width = pixels->shape[row_axis + 1];
    const char element = element_of(pixels);
    const int32_t type = element == 'B' ? MRP_UINT8 : element == 'H' ? MRP_UINT16 : MRP_FLOAT32;
    mrp_status status;
    WITHOUT_GIL(status =
                    mrp_dataset_wrap_array(pixels->buf, type, count, channels, height, width, layout, labels.buf, &object->handle.dataset));
    if (labels.obj) PyBuffer_Release(&labels);
    return handle_or_raise(state, object, status);
failed:
    if (labels.obj) PyBuffer_Release(&labels);
    Py_DECREF((PyObject *)object);
    return NULL;
}

/* A new handle from a path and options: (path, options) in args. */
static PyObject *open_path(PyObject *module, PyObject *args, int kind,
                           mrp_status (*call)(const char *, const mrp_config *, handle_object *)) {
    PyObject *path, *options_object;
    if (!PyArg_ParseTuple(args, "O&O", PyUnicode_FSConverter, &path, &options_object)) return NULL;
    module_state *state = state_of(module);
    mrp_config *options;
    handle_object *object = options_of(state, options_object, &options) ? new_handle(state, kind, NULL, NULL) : NULL;
    const char *bytes = object ? PyBytes_AsString(path) : NULL;
    if (!bytes) {
        Py_XDECREF((PyObject *)object);
        Py_DECREF(path);
        return NULL;
    }
    mrp_status status;
    WITHOUT_GIL(status = call(bytes, options, object));
    Py_DECREF(path);
    return handle_or_raise(state, object, status);
}

static mrp_status call_open_folder(const char *path, const mrp_config *options, handle_object *object) {
    return mrp_dataset_open_folder(path, options, &object->handle.dataset);
}
static PyObject *py_dataset_open_folder(PyObject *module, PyObject *args) { return open_path(module, args, DATASET, call_open_folder); }

/* A new dataset that the library draws: (options, count, seed) in args. */
static PyObject *generate(PyObject *module, PyObject *args, mrp_status (*call)(const mrp_config *, int64_t, uint64_t, mrp_dataset **)) {
    PyObject *options_object;
    long long count;
    uint64_t seed;
    if (!PyArg_ParseTuple(args, "OLO&", &options_object, &count, seed_converter, &seed)) return NULL;
    module_state *state = state_of(module);
    mrp_config *options;
    handle_object *object = options_of(state, options_object, &options) ? new_handle(state, DATASET, NULL, NULL) : NULL;
    if (!object) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = call(options, count, seed, &object->handle.dataset));
    return handle_or_raise(state, object, status);
}

static PyObject *py_dataset_generate(PyObject *module, PyObject *args) { return generate(module, args, mrp_dataset_generate); }
static PyObject *py_dataset_generate_scenes(PyObject *module, PyObject *args) {
    return generate(module, args, mrp_dataset_generate_scenes);
}
static PyObject *py_dataset_generate_points(PyObject *module, PyObject *args) {
    return generate(module, args, mrp_dataset_generate_points);
}

static PyObject *py_dataset_from_points(PyObject *module, PyObject *args) {
    PyObject *points_object, *labels_object;
    if (!PyArg_ParseTuple(args, "OO", &points_object, &labels_object)) return NULL;
    module_state *state = state_of(module);
    Py_buffer points, labels = {0};
    if (!open_array(state, points_object, "points", "f", 3, 0, &points)) return NULL;
    handle_object *object =
        open_labels(state, labels_object, points.shape[0], "clouds", &labels) ? new_handle(state, DATASET, NULL, NULL) : NULL;
    mrp_status status = MRP_OK;
    if (object)
        WITHOUT_GIL(status = mrp_dataset_from_points(points.buf, points.shape[0], points.shape[1], points.shape[2], labels.buf,
                                                     &object->handle.dataset));
    if (labels.obj) PyBuffer_Release(&labels);
    PyBuffer_Release(&points);
    return object ? handle_or_raise(state, object, status) : NULL;
}

static mrp_status call_open_points(const char *path, const mrp_config *options, handle_object *object) {
    return mrp_dataset_open_points(path, options, &object->handle.dataset);
}
static PyObject *py_dataset_open_points(PyObject *module, PyObject *args) { return open_path(module, args, DATASET, call_open_points); }

/* Fills a float32 array with something of one image: (dataset, index, out) in args. */
static PyObject *copy_one(PyObject *module, PyObject *args, mrp_status (*call)(const mrp_dataset *, int64_t, float *, int64_t)) {
    PyObject *object, *out;
    long long index;
    if (!PyArg_ParseTuple(args, "OLO", &object, &index, &out)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, object, DATASET);
    Py_buffer values;
    if (!dataset || !open_array(state, out, "out", "f", 0, 1, &values)) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = call(dataset, index, values.buf, elements_in(&values)));
    PyBuffer_Release(&values);
    return none_or_raise(state, status);
}

static PyObject *py_dataset_points(PyObject *module, PyObject *args) { return copy_one(module, args, mrp_dataset_points); }
static PyObject *py_dataset_image(PyObject *module, PyObject *args) { return copy_one(module, args, mrp_dataset_image); }

static mrp_status call_open_masks(const char *path, const mrp_config *options, handle_object *object) {
    return mrp_dataset_open_masks(path, options, &object->handle.dataset);
}
static PyObject *py_dataset_open_masks(PyObject *module, PyObject *args) { return open_path(module, args, DATASET, call_open_masks); }

static PyObject *py_dataset_with_masks(PyObject *module, PyObject *args) {
    PyObject *parent, *masks_object, *options_object;
    if (!PyArg_ParseTuple(args, "OOO", &parent, &masks_object, &options_object)) return NULL;
    module_state *state = state_of(module);
    mrp_config *options;
    mrp_dataset *dataset = handle_of(state, parent, DATASET);
    Py_buffer masks;
    if (!dataset || !options_of(state, options_object, &options)) return NULL;
    if (!open_array(state, masks_object, "masks", "BHi", 3, 0, &masks)) return NULL;
    const char element = element_of(&masks);
    const int32_t type = element == 'B' ? MRP_UINT8 : element == 'H' ? MRP_UINT16 : MRP_INT32;
    handle_object *object = new_handle(state, DATASET, parent, NULL);
    mrp_status status = MRP_OK;
    if (object)
        WITHOUT_GIL(status = mrp_dataset_with_masks(dataset, masks.buf, type, masks.shape[0], masks.shape[1], masks.shape[2], options,
                                                    &object->handle.dataset));
    PyBuffer_Release(&masks);
    return object ? handle_or_raise(state, object, status) : NULL;
}

static PyObject *py_dataset_image_size(PyObject *module, PyObject *args) {
    PyObject *object;
    long long index;
    int64_t height, width;
    if (!PyArg_ParseTuple(args, "OL", &object, &index)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, object, DATASET);
    if (!dataset) return NULL;
    const mrp_status status = mrp_dataset_image_size(dataset, index, &height, &width);
    return status == MRP_OK ? Py_BuildValue("LL", (long long)height, (long long)width) : raise_status(state, status);
}

static PyObject *py_dataset_mask(PyObject *module, PyObject *args) {
    PyObject *object, *out;
    long long index;
    int32_t ignored = 0;
    if (!PyArg_ParseTuple(args, "OLO", &object, &index, &out)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, object, DATASET);
    Py_buffer ids;
    if (!dataset || !open_array(state, out, "ids", "i", 0, 1, &ids)) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_dataset_mask(dataset, index, ids.buf, elements_in(&ids), &ignored));
    PyBuffer_Release(&ids);
    if (status != MRP_OK || PyErr_Occurred()) return none_or_raise(state, status);
    return PyLong_FromLong(ignored);
}

static PyObject *py_dataset_subset(PyObject *module, PyObject *args) {
    PyObject *parent;
    long long count;
    uint64_t seed;
    if (!PyArg_ParseTuple(args, "OLO&", &parent, &count, seed_converter, &seed)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, parent, DATASET);
    handle_object *object = dataset ? new_handle(state, DATASET, parent, NULL) : NULL;
    if (!object) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_dataset_subset(dataset, count, seed, &object->handle.dataset));
    return handle_or_raise(state, object, status);
}

static PyObject *py_dataset_select(PyObject *module, PyObject *args) {
    PyObject *parent, *counts_object;
    uint64_t seed;
    if (!PyArg_ParseTuple(args, "OOO&", &parent, &counts_object, seed_converter, &seed)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, parent, DATASET);
    Py_buffer counts;
    if (!dataset || !open_array(state, counts_object, "counts", "lq", 1, 0, &counts)) return NULL;
    handle_object *object = new_handle(state, DATASET, parent, NULL);
    mrp_status status = MRP_OK;
    if (object) WITHOUT_GIL(status = mrp_dataset_select(dataset, counts.buf, elements_in(&counts), seed, &object->handle.dataset));
    PyBuffer_Release(&counts);
    return object ? handle_or_raise(state, object, status) : NULL;
}

static PyObject *py_dataset_shape(PyObject *module, PyObject *object) {
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, object, DATASET);
    if (!dataset) return NULL;
    int64_t count, channels, height, width, classes;
    mrp_status status = mrp_dataset_shape(dataset, &count, &channels, &height, &width, &classes);
    if (status != MRP_OK) return raise_status(state, status);
    return Py_BuildValue("LLLLL", (long long)count, (long long)channels, (long long)height, (long long)width, (long long)classes);
}

static PyObject *read_name(PyObject *module, PyObject *args, text_reader reader, const char *errors) {
    PyObject *object;
    long long index;
    if (!PyArg_ParseTuple(args, "OL", &object, &index)) return NULL;
    const int64_t number = index;
    module_state *state = state_of(module);
    void *dataset = handle_of(state, object, DATASET);
    return dataset ? read_bytes(state, reader, dataset, &number, errors) : NULL;
}

static PyObject *py_dataset_class_name(PyObject *module, PyObject *args) {
    return read_name(module, args, read_class_name, "backslashreplace");
}
/* A file's name is bytes of the system, as os.fsdecode has them. */
static PyObject *py_dataset_image_name(PyObject *module, PyObject *args) {
    return read_name(module, args, read_image_name, "surrogateescape");
}

static PyObject *py_dataset_name_classes(PyObject *module, PyObject *args) {
    PyObject *parent;
    const char *names, *type;
    if (!PyArg_ParseTuple(args, "Oss", &parent, &names, &type)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, parent, DATASET);
    handle_object *object = dataset ? new_handle(state, DATASET, parent, NULL) : NULL;
    if (!object) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_dataset_name_typed_classes(dataset, names, type, &object->handle.dataset));
    return handle_or_raise(state, object, status);
}

static PyObject *py_dataset_labels(PyObject *module, PyObject *args) {
    PyObject *object, *out;
    if (!PyArg_ParseTuple(args, "OO", &object, &out)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, object, DATASET);
    Py_buffer labels;
    if (!dataset || !open_array(state, out, "labels", "il", 1, 1, &labels)) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_dataset_labels(dataset, labels.buf, (int64_t)(labels.len / 4)));
    PyBuffer_Release(&labels);
    return none_or_raise(state, status);
}

static PyObject *py_dataset_images(PyObject *module, PyObject *args) {
    PyObject *object, *out;
    long long first, count, height, width;
    if (!PyArg_ParseTuple(args, "OLLLLO", &object, &first, &count, &height, &width, &out)) return NULL;
    module_state *state = state_of(module);
    mrp_dataset *dataset = handle_of(state, object, DATASET);
    Py_buffer images;
    if (!dataset || !open_array(state, out, "images", "f", 0, 1, &images)) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_dataset_images(dataset, first, count, height, width, images.buf, elements_in(&images)));
    PyBuffer_Release(&images);
    return none_or_raise(state, status);
}

/* ---- Models ---- */

static PyObject *py_model_create(PyObject *module, PyObject *options_object) {
    module_state *state = state_of(module);
    mrp_config *options;
    if (!options_of(state, options_object, &options)) return NULL;
    handle_object *object = new_handle(state, MODEL, NULL, NULL);
    if (!object) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_model_create(options, &object->handle.model));
    return handle_or_raise(state, object, status);
}

static mrp_status call_load(const char *path, const mrp_config *options, handle_object *object) {
    return mrp_model_load(path, options, &object->handle.model);
}
static PyObject *py_model_load(PyObject *module, PyObject *args) { return open_path(module, args, MODEL, call_load); }

/* A call that takes a handle, a path, and options or none: (handle, path[, options]) in args. */
static PyObject *file_call(PyObject *module, PyObject *args, int kind, mrp_status (*call)(void *, const char *, const mrp_config *)) {
    PyObject *object, *path, *options_object = Py_None;
    if (!PyArg_ParseTuple(args, "OO&|O", &object, PyUnicode_FSConverter, &path, &options_object)) return NULL;
    module_state *state = state_of(module);
    mrp_config *options;
    void *handle = handle_of(state, object, kind);
    const char *bytes = handle && options_of(state, options_object, &options) ? PyBytes_AsString(path) : NULL;
    if (!bytes) {
        Py_DECREF(path);
        return NULL;
    }
    mrp_status status;
    WITHOUT_GIL(status = call(handle, bytes, options));
    Py_DECREF(path);
    return none_or_raise(state, status);
}

static mrp_status call_save(void *model, const char *path, const mrp_config *options) { return mrp_model_save(model, path, options); }
static PyObject *py_model_save(PyObject *module, PyObject *args) { return file_call(module, args, MODEL, call_save); }

static mrp_status call_onnx(void *model, const char *path, const mrp_config *options) {
    return mrp_model_export_onnx(model, path, options);
}
static PyObject *py_model_export_onnx(PyObject *module, PyObject *args) { return file_call(module, args, MODEL, call_onnx); }

static mrp_status call_stablehlo(void *model, const char *path, const mrp_config *options) {
    return mrp_model_export_stablehlo(model, path, options);
}
static PyObject *py_model_export_stablehlo(PyObject *module, PyObject *args) { return file_call(module, args, MODEL, call_stablehlo); }

static PyObject *py_device_describe(PyObject *module, PyObject *args) {
    const char *device;
    if (!PyArg_ParseTuple(args, "s", &device)) return NULL;
    return read_text(state_of(module), read_devices, device, NULL);
}

static PyObject *py_model_set_validation(PyObject *module, PyObject *args) {
    PyObject *object, *held_out, *reference;
    if (!PyArg_ParseTuple(args, "OOO", &object, &held_out, &reference)) return NULL;
    module_state *state = state_of(module);
    mrp_model *model = handle_of(state, object, MODEL);
    mrp_dataset *first = model && held_out != Py_None ? handle_of(state, held_out, DATASET) : NULL;
    mrp_dataset *second = model && reference != Py_None ? handle_of(state, reference, DATASET) : NULL;
    if (PyErr_Occurred()) return NULL;
    const mrp_status status = mrp_model_set_validation(model, first, second);
    if (status != MRP_OK) return raise_status(state, status);
    /* The datasets may look into arrays, which live as long as their handles. */
    PyObject *kept = PyTuple_GetSlice(args, 1, 3), *before = ((handle_object *)object)->second;
    ((handle_object *)object)->second = kept;
    Py_XDECREF(before);
    return kept ? Py_NewRef(Py_None) : NULL;
}

static PyObject *py_model_clone(PyObject *module, PyObject *object) {
    module_state *state = state_of(module);
    mrp_model *model = handle_of(state, object, MODEL);
    handle_object *copy = model ? new_handle(state, MODEL, NULL, NULL) : NULL;
    if (!copy) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_model_clone(model, &copy->handle.model));
    return handle_or_raise(state, copy, status);
}

static PyObject *py_model_describe(PyObject *module, PyObject *object) { return text_of(module, object, MODEL, read_model, NULL); }

static PyObject *py_model_parameter(PyObject *module, PyObject *args) {
    PyObject *object, *out;
    const char *name;
    if (!PyArg_ParseTuple(args, "OsO", &object, &name, &out)) return NULL;
    module_state *state = state_of(module);
    mrp_model *model = handle_of(state, object, MODEL);
    if (!model) return NULL;
    int64_t count = 0;
    mrp_status status;
    if (out == Py_None) {
        status = mrp_model_parameter(model, name, NULL, 0, &count);
        if (status == MRP_ERR_ARGUMENT && count > 0) status = MRP_OK; /* only the size was asked for */
    } else {
        Py_buffer values;
        if (!open_array(state, out, "values", "f", 0, 1, &values)) return NULL;
        WITHOUT_GIL(status = mrp_model_parameter(model, name, values.buf, elements_in(&values), &count));
        PyBuffer_Release(&values);
    }
    if (PyErr_Occurred()) return NULL;
    if (status != MRP_OK) return raise_status(state, status);
    return PyLong_FromLongLong(count);
}

static PyObject *py_file_describe(PyObject *module, PyObject *args) {
    PyObject *path;
    if (!PyArg_ParseTuple(args, "O&", PyUnicode_FSConverter, &path)) return NULL;
    const char *bytes = PyBytes_AsString(path);
    PyObject *text = bytes ? read_text(state_of(module), read_file, bytes, NULL) : NULL;
    Py_DECREF(path);
    return text;
}

/* Whether there was something to stop. */
static PyObject *cancel(PyObject *module, PyObject *object, int kind, mrp_status (*call)(void *)) {
    module_state *state = state_of(module);
    void *handle = handle_of(state, object, kind);
    if (!handle) return NULL;
    mrp_status status = call(handle);
    return status < 0 ? raise_status(state, status) : PyBool_FromLong(status == MRP_OK);
}

static PyObject *py_cancel(PyObject *module, PyObject *object) { return cancel(module, object, MODEL, cancel_model); }
static PyObject *py_lab_cancel(PyObject *module, PyObject *object) { return cancel(module, object, LAB, cancel_lab); }

/* ---- Training ---- */

static PyObject *py_pretrain(PyObject *module, PyObject *args) { return train(module, args, mrp_pretrain); }
static PyObject *py_finetune(PyObject *module, PyObject *args) { return train(module, args, mrp_finetune); }

static PyObject *py_trainer_create(PyObject *module, PyObject *args) {
    PyObject *model_object, *dataset_object, *options_object;
    const char *phase;
    if (!PyArg_ParseTuple(args, "OOOs", &model_object, &dataset_object, &options_object, &phase)) return NULL;
    module_state *state = state_of(module);
    mrp_config *options;
    mrp_model *model = handle_of(state, model_object, MODEL);
    mrp_dataset *dataset = model ? handle_of(state, dataset_object, DATASET) : NULL;
    if (!dataset || !options_of(state, options_object, &options)) return NULL;
    /* With the datasets on which the model is measured now, should it get others. */
    PyObject *measured = ((handle_object *)model_object)->second, *kept = PyTuple_Pack(2, dataset_object, measured ? measured : Py_None);
    handle_object *object = kept ? new_handle(state, TRAINER, model_object, kept) : NULL;
    Py_XDECREF(kept);
    if (!object) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_trainer_create(model, dataset, options, phase, &object->handle.trainer));
    return handle_or_raise(state, object, status);
}

static PyObject *py_trainer_plan(PyObject *module, PyObject *object) {
    module_state *state = state_of(module);
    mrp_trainer *trainer = handle_of(state, object, TRAINER);
    if (!trainer) return NULL;
    int64_t bytes, steps;
    mrp_status status = mrp_trainer_plan(trainer, &bytes, &steps);
    if (status != MRP_OK) return raise_status(state, status);
    return Py_BuildValue("LL", (long long)bytes, (long long)steps);
}

static mrp_status call_step(void *trainer) { return mrp_trainer_step(trainer); }

/* Copies the float32 array that a function of the caller's returns for the images' numbers, and for their pixels if there are any. On the
 * thread of the step, without the GIL. */
static int32_t call_filler(handle_object *object, const char *what, PyObject *function, const int64_t *indices, int64_t count,
                           const float *images, int64_t pixels, float *out, int64_t each) {
    const Py_ssize_t needed = (Py_ssize_t)(count * each) * (Py_ssize_t)sizeof *out;
    const PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *numbers = PyBytes_FromStringAndSize((const char *)indices, (Py_ssize_t)count * (Py_ssize_t)sizeof *indices);
    PyObject *seen =
        images ? PyBytes_FromStringAndSize((const char *)images, (Py_ssize_t)(count * pixels) * (Py_ssize_t)sizeof *images) : NULL;
    PyObject *answer = function && numbers && (seen || !images) ? PyObject_CallFunctionObjArgs(function, numbers, seen, NULL) : NULL;
    Py_buffer view = {0};
    if (!function) PyErr_Format(PyExc_ReferenceError, "%s: the function was collected with the trainer", what);
    if (answer && PyObject_GetBuffer(answer, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) == 0) {
        if (element_of(&view) != 'f')
            PyErr_Format(PyExc_TypeError, "%s gave values of the format '%s', expected float32", what, view.format ? view.format : "B");
        else if (view.len == needed)
            memcpy(out, view.buf, (size_t)needed);
        else
            PyErr_Format(PyExc_ValueError, "%s gave %zd values for %lld images of %lld %s", what, view.len / (Py_ssize_t)sizeof *out,
                         (long long)count, (long long)each, images ? "numbers" : "patches");
        PyBuffer_Release(&view);
    }
    Py_XDECREF(numbers);
    Py_XDECREF(seen);
    Py_XDECREF(answer);
    const int failed = PyErr_Occurred() != NULL;
    if (failed) PyErr_Fetch(&object->raised[0], &object->raised[1], &object->raised[2]);
    PyGILState_Release(gil);
    return failed;
}
static int32_t call_masking(const int64_t *indices, int64_t count, int64_t patches, float *noise, void *user) {
    return call_filler(user, "masking", ((handle_object *)user)->masking, indices, count, NULL, 0, noise, patches);
}
static int32_t call_targets(const int64_t *indices, int64_t count, const float *images, int64_t image_values, int64_t patches,
                            int64_t width, float *targets, void *user) {
    return call_filler(user, "targets", ((handle_object *)user)->targets, indices, count, images, image_values, targets, patches * width);
}

/* Sets one of the two; `which` is "masking" or "targets". The trainer looks at the new function only between steps. */
static PyObject *py_trainer_set_filler(PyObject *module, PyObject *args) {
    PyObject *object, *function;
    const char *which;
    if (!PyArg_ParseTuple(args, "OsO", &object, &which, &function)) return NULL;
    module_state *state = state_of(module);
    mrp_trainer *trainer = handle_of(state, object, TRAINER);
    if (!trainer) return NULL;
    const int none = function == Py_None, is_masking = strcmp(which, "masking") == 0;
    if (!none && !PyCallable_Check(function)) return PyErr_Format(PyExc_TypeError, "%s is not callable: %R", which, function);
    handle_object *self = (handle_object *)object;
    const mrp_status status = is_masking ? mrp_trainer_set_masking(trainer, none ? NULL : call_masking, object)
                                         : mrp_trainer_set_targets(trainer, none ? NULL : call_targets, object);
    if (status != MRP_OK) return raise_status(state, status);
    PyObject **slot = is_masking ? &self->masking : &self->targets, *before = *slot;
    *slot = none ? NULL : (Py_INCREF(function), function);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyObject *py_trainer_step(PyObject *module, PyObject *object) {
    module_state *state = state_of(module);
    mrp_trainer *trainer = handle_of(state, object, TRAINER);
    if (!trainer) return NULL;
    watched_call watched = {.call = call_step,
                            .arguments = trainer,
                            .cancel = cancel_model,
                            .target = handle_of(state, ((handle_object *)object)->first, MODEL)};
    PyObject **raised = ((handle_object *)object)->raised;
    if (!watched.target) return NULL;
    if (!run_watched(state, &watched)) {
        for (int i = 0; i < 3; i++) Py_CLEAR(raised[i]); /* what ended the step is told already */
        return NULL;
    }
    if (raised[0]) {
        PyErr_Restore(raised[0], raised[1], raised[2]);
        raised[0] = raised[1] = raised[2] = NULL;
        return NULL;
    }
    return PyLong_FromLong(watched.status);
}

static mrp_status call_trainer_save(void *trainer, const char *path, const mrp_config *options) {
    (void)options;
    return mrp_trainer_save(trainer, path);
}

static mrp_status call_trainer_resume(void *trainer, const char *path, const mrp_config *options) {
    (void)options;
    return mrp_trainer_resume(trainer, path);
}

static mrp_status call_trainer_export(void *trainer, const char *path, const mrp_config *options) {
    (void)options;
    return mrp_trainer_export(trainer, "stablehlo", path);
}
static PyObject *py_trainer_export(PyObject *module, PyObject *args) { return file_call(module, args, TRAINER, call_trainer_export); }

static PyObject *py_trainer_save(PyObject *module, PyObject *args) { return file_call(module, args, TRAINER, call_trainer_save); }
static PyObject *py_trainer_resume(PyObject *module, PyObject *args) { return file_call(module, args, TRAINER, call_trainer_resume); }

static PyObject *py_trainer_suspend(PyObject *module, PyObject *object) {
    module_state *state = state_of(module);
    mrp_trainer *trainer = handle_of(state, object, TRAINER);
    if (!trainer) return NULL;
    mrp_status status;
    WITHOUT_GIL(status = mrp_trainer_suspend(trainer));
    return none_or_raise(state, status);
}

static PyObject *py_trainer_end(PyObject *module, PyObject *object) {
    mrp_trainer *trainer = handle_of(state_of(module), object, TRAINER);
    const char *end = trainer ? mrp_trainer_end(trainer) : NULL;
    if (!trainer) return NULL;
    return PyUnicode_FromString(end ? end : "");
}

static PyObject *py_trainer_progress(PyObject *module, PyObject *object) {
    module_state *state = state_of(module);
    mrp_trainer *trainer = handle_of(state, object, TRAINER);
    if (!trainer) return NULL;
    const mrp_progress *progress = mrp_trainer_progress(trainer);
    if (!progress) return raise_status(state, MRP_ERR_BUSY);
    return progress_snapshot(state, progress);
}

/* ---- Use ---- */

typedef struct {
    mrp_model *model;
    mrp_dataset *dataset, *held_out;
    mrp_config *options;
    const char *metric;
    double value;
    Py_buffer out, second, masks, mask;
    int64_t per_class;
    mrp_dataset *found;
} use_arguments;

static mrp_status call_evaluate(void *arguments) {
    use_arguments *use = arguments;
    return mrp_evaluate(use->model, use->dataset, use->options, use->metric, &use->value);
}
static mrp_status call_probe(void *arguments) {
    use_arguments *use = arguments;
    return mrp_probe(use->model, use->dataset, use->held_out, use->options, use->metric, &use->value);
}
static mrp_status call_cluster(void *arguments) {
    use_arguments *use = arguments;
    return mrp_dataset_cluster(use->dataset, use->model, use->per_class, use->options, &use->found);
}
static mrp_status call_confusion(void *arguments) {
    use_arguments *use = arguments;
    return mrp_confusion(use->model, use->dataset, use->options, use->out.buf, elements_in(&use->out));
}
static mrp_status call_encode(void *arguments) {
    use_arguments *use = arguments;
    return mrp_encode(use->model, use->dataset, use->options, use->out.buf, elements_in(&use->out));
}
static mrp_status call_attention(void *arguments) {
    use_arguments *use = arguments;
    return mrp_attention(use->model, use->dataset, use->options, use->out.buf, elements_in(&use->out));
}
static mrp_status call_predict(void *arguments) {
    use_arguments *use = arguments;
    return mrp_predict(use->model, use->dataset, use->options, use->out.buf, elements_in(&use->out));
}
static mrp_status call_segment(void *arguments) {
    use_arguments *use = arguments;
    return mrp_segment(use->model, use->dataset, use->options, use->out.buf, elements_in(&use->out));
}
static mrp_status call_segment_probabilities(void *arguments) {
    use_arguments *use = arguments;
    return mrp_segment_probabilities(use->model, use->dataset, use->options, use->out.buf, elements_in(&use->out));
}
static mrp_status call_instances(void *arguments) {
    use_arguments *use = arguments;
    return mrp_instances(use->model, use->dataset, use->options, use->masks.buf, use->out.buf, use->mask.buf, elements_in(&use->out),
                         use->second.buf, elements_in(&use->second));
}
static mrp_status call_reconstruct(void *arguments) {
    use_arguments *use = arguments;
    return mrp_reconstruct(use->model, use->dataset, use->options, use->mask.buf, elements_in(&use->masks), use->out.buf, use->second.buf,
                           elements_in(&use->out), use->masks.buf, &use->value);
}

/* Runs one of these on its arguments, which it closes. Returns the value that it found (0 when it finds none), or NULL. */
static PyObject *use_model(module_state *state, use_arguments *use, mrp_status (*call)(void *)) {
    watched_call watched = {.call = call, .arguments = use, .cancel = cancel_model, .target = use->model};
    int ok = run_watched(state, &watched);
    if (use->out.obj) PyBuffer_Release(&use->out);
    if (use->second.obj) PyBuffer_Release(&use->second);
    if (use->masks.obj) PyBuffer_Release(&use->masks);
    if (use->mask.obj) PyBuffer_Release(&use->mask);
    if (!ok) return NULL;
    if (watched.status != MRP_OK) return raise_status(state, watched.status);
    return PyFloat_FromDouble(use->value);
}

static int use_handles(module_state *state, use_arguments *use, PyObject *model, PyObject *dataset, PyObject *options) {
    use->model = handle_of(state, model, MODEL);
    use->dataset = use->model ? handle_of(state, dataset, DATASET) : NULL;
    return use->dataset && options_of(state, options, &use->options);
}

static PyObject *py_evaluate(PyObject *module, PyObject *args) {
    PyObject *model, *dataset, *options;
    use_arguments use = {0};
    if (!PyArg_ParseTuple(args, "OOOs", &model, &dataset, &options, &use.metric)) return NULL;
    module_state *state = state_of(module);
    if (!use_handles(state, &use, model, dataset, options)) return NULL;
    return use_model(state, &use, call_evaluate);
}

static PyObject *py_probe(PyObject *module, PyObject *args) {
    PyObject *model, *dataset, *held_out, *options;
    use_arguments use = {0};
    if (!PyArg_ParseTuple(args, "OOOOs", &model, &dataset, &held_out, &options, &use.metric)) return NULL;
    module_state *state = state_of(module);
    if (!use_handles(state, &use, model, dataset, options) || !(use.held_out = handle_of(state, held_out, DATASET))) return NULL;
    return use_model(state, &use, call_probe);
}

static PyObject *py_dataset_cluster(PyObject *module, PyObject *args) {
    PyObject *model, *dataset, *options;
    long long per_class;
    use_arguments use = {0};
    if (!PyArg_ParseTuple(args, "OOLO", &dataset, &model, &per_class, &options)) return NULL;
    use.per_class = per_class;
    module_state *state = state_of(module);
    if (!use_handles(state, &use, model, dataset, options)) return NULL;
    handle_object *object = new_handle(state, DATASET, dataset, NULL);
    if (!object) return NULL;
    PyObject *done = use_model(state, &use, call_cluster);
    object->handle.dataset = use.found;
    if (!done) {
        Py_DECREF(object);
        return NULL;
    }
    Py_DECREF(done);
    return (PyObject *)object;
}

/* `call` fills an array of these elements. */
static PyObject *fill(PyObject *module, PyObject *args, const char *what, const char *elements, mrp_status (*call)(void *)) {
    PyObject *model, *dataset, *options, *out;
    use_arguments use = {0};
    if (!PyArg_ParseTuple(args, "OOOO", &model, &dataset, &options, &out)) return NULL;
    module_state *state = state_of(module);
    if (!use_handles(state, &use, model, dataset, options)) return NULL;
    if (!open_array(state, out, what, elements, 0, 1, &use.out)) return NULL;
    PyObject *done = use_model(state, &use, call);
    if (!done) return NULL;
    Py_DECREF(done);
    Py_RETURN_NONE;
}

static PyObject *py_encode(PyObject *module, PyObject *args) { return fill(module, args, "features", "f", call_encode); }
static PyObject *py_attention(PyObject *module, PyObject *args) { return fill(module, args, "attention", "f", call_attention); }
static PyObject *py_predict(PyObject *module, PyObject *args) { return fill(module, args, "probabilities", "f", call_predict); }
static PyObject *py_segment(PyObject *module, PyObject *args) { return fill(module, args, "classes", "H", call_segment); }
static PyObject *py_segment_probabilities(PyObject *module, PyObject *args) {
    return fill(module, args, "probabilities", "f", call_segment_probabilities);
}
static PyObject *py_confusion(PyObject *module, PyObject *args) { return fill(module, args, "counts", "lq", call_confusion); }

static PyObject *py_instances(PyObject *module, PyObject *args) {
    PyObject *model, *dataset, *options, *counts, *scores, *boxes, *ids;
    use_arguments use = {0};
    int64_t count = 0;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &model, &dataset, &options, &counts, &scores, &boxes, &ids)) return NULL;
    module_state *state = state_of(module);
    if (!use_handles(state, &use, model, dataset, options)) return NULL;
    if (!open_array(state, counts, "counts", "lq", 1, 1, &use.masks)) goto failed;
    if (!open_array(state, scores, "scores", "f", 0, 1, &use.out)) goto failed;
    if (!open_array(state, boxes, "boxes", "i", 0, 1, &use.mask)) goto failed;
    if (!open_array(state, ids, "ids", "H", 0, 1, &use.second)) goto failed;
    /* The C function is told one size for scores and boxes, and none for counts. */
    mrp_dataset_shape(use.dataset, &count, NULL, NULL, NULL, NULL);
    if (elements_in(&use.mask) != 4 * elements_in(&use.out) || elements_in(&use.masks) != count) {
        raise_text(state, MRP_ERR_ARGUMENT, "there must be one count for each image, and four numbers of boxes for each score");
        goto failed;
    }
    PyObject *done = use_model(state, &use, call_instances);
    if (!done) return NULL;
    Py_DECREF(done);
    Py_RETURN_NONE;
failed:
    if (use.out.obj) PyBuffer_Release(&use.out);
    if (use.second.obj) PyBuffer_Release(&use.second);
    if (use.masks.obj) PyBuffer_Release(&use.masks);
    if (use.mask.obj) PyBuffer_Release(&use.mask);
    return NULL;
}

static PyObject *py_reconstruct(PyObject *module, PyObject *args) {
    PyObject *model, *dataset, *options, *mask, *images, *reconstructions, *masks;
    use_arguments use = {0};
    if (!PyArg_ParseTuple(args, "OOOOOOO", &model, &dataset, &options, &mask, &images, &reconstructions, &masks)) return NULL;
    module_state *state = state_of(module);
    if (!use_handles(state, &use, model, dataset, options)) return NULL;
    if (!open_array(state, images, "images", "f", 0, 1, &use.out)) goto failed;
    if (!open_array(state, reconstructions, "reconstructions", "f", 0, 1, &use.second)) goto failed;
    if (!open_array(state, masks, "masks", "B", 0, 1, &use.masks)) goto failed;
    if (mask != Py_None && !open_array(state, mask, "mask", "B", 0, 0, &use.mask)) goto failed;
    /* The C function is told one size for each pair. */
    if (elements_in(&use.second) != elements_in(&use.out) || (use.mask.obj && elements_in(&use.mask) != elements_in(&use.masks))) {
        raise_text(state, MRP_ERR_ARGUMENT, "images and reconstructions, and mask and masks, must have the same number of elements");
        goto failed;
    }
    return use_model(state, &use, call_reconstruct);
failed:
    if (use.out.obj) PyBuffer_Release(&use.out);
    if (use.second.obj) PyBuffer_Release(&use.second);
    if (use.masks.obj) PyBuffer_Release(&use.masks);
    if (use.mask.obj) PyBuffer_Release(&use.mask);
    return NULL;
}

/* ---- Experts ---- */

/* NULL for None. */
static int dataset_or_none(module_state *state, PyObject *object, mrp_dataset **dataset) {
    *dataset = object == Py_None ? NULL : handle_of(state, object, DATASET);
    return object == Py_None || *dataset;
}

static PyObject *py_model_upcycle(PyObject *module, PyObject *args) {
    module_state *state = state_of(module);
    PyObject *model_object, *dataset_object, *options_object, *callback;
    if (!PyArg_ParseTuple(args, "OOOO", &model_object, &dataset_object, &options_object, &callback)) return NULL;
    mrp_config *options;
    mrp_dataset *dataset;
    mrp_model *model = handle_of(state, model_object, MODEL);
    if (!model || !dataset_or_none(state, dataset_object, &dataset) || !options_of(state, options_object, &options)) return NULL;
    if (callback != Py_None && !PyCallable_Check(callback)) {
        return PyErr_Format(PyExc_TypeError, "callback is not callable: %R", callback);
    }
    handle_object *made = new_handle(state, MODEL, NULL, NULL);
    if (!made) return NULL;
    run_context run = {.state = state, .callback = callback == Py_None ? NULL : callback, .next_check = now() + 0.02};
    run.thread = PyEval_SaveThread();
    mrp_status status = mrp_model_upcycle(model, dataset, options, on_progress, &run, &made->handle.model);
    PyEval_RestoreThread(run.thread);
    return handle_or_raise(state, made, status);
}

static mrp_status call_experts(void *arguments) {
    use_arguments *use = arguments;
    const Py_buffer *given = use->out.obj ? &use->out : &use->second;
    return mrp_model_experts(use->model, use->dataset, use->options, use->out.buf, use->second.buf, given->obj ? elements_in(given) : 0,
                             use->masks.buf, use->masks.obj ? elements_in(&use->masks) : 0);
}

static PyObject *py_model_experts(PyObject *module, PyObject *args) {
    PyObject *model, *dataset, *options, *counts, *losses, *experts;
    use_arguments use = {0};
    if (!PyArg_ParseTuple(args, "OOOOOO", &model, &dataset, &options, &counts, &losses, &experts)) return NULL;
    module_state *state = state_of(module);
    if (!use_handles(state, &use, model, dataset, options)) return NULL;
    if (counts != Py_None && !open_array(state, counts, "counts", "lq", 1, 1, &use.out)) goto failed;
    if (losses != Py_None && !open_array(state, losses, "losses", "d", 1, 1, &use.second)) goto failed;
    if (experts != Py_None && !open_array(state, experts, "experts", "il", 1, 1, &use.masks)) goto failed;
    if (use.out.obj && use.second.obj && elements_in(&use.out) != elements_in(&use.second)) {
        raise_text(state, MRP_ERR_ARGUMENT, "counts and losses must have the same number of elements");
        goto failed;
    }
    PyObject *done = use_model(state, &use, call_experts);
    if (!done) return NULL;
    Py_DECREF(done);
    Py_RETURN_NONE;
failed:
    if (use.out.obj) PyBuffer_Release(&use.out);
    if (use.second.obj) PyBuffer_Release(&use.second);
    if (use.masks.obj) PyBuffer_Release(&use.masks);
    return NULL;
}

typedef struct {
    mrp_model *model;
    long long expert;
    mrp_dataset *dataset;
    mrp_config *options;
    mrp_model **out;
} extract_arguments;

static mrp_status call_extract(void *arguments) {
    extract_arguments *extract = arguments;
    return mrp_model_extract(extract->model, extract->expert, extract->dataset, extract->options, extract->out);
}

static PyObject *py_model_extract(PyObject *module, PyObject *args) {
    PyObject *model, *dataset, *options;
    extract_arguments extract;
    if (!PyArg_ParseTuple(args, "OLOO", &model, &extract.expert, &dataset, &options)) return NULL;
    module_state *state = state_of(module);
    extract.model = handle_of(state, model, MODEL);
    if (!extract.model || !dataset_or_none(state, dataset, &extract.dataset) || !options_of(state, options, &extract.options)) return NULL;
    handle_object *made = new_handle(state, MODEL, NULL, NULL);
    if (!made) return NULL;
    extract.out = &made->handle.model;
    watched_call watched = {.call = call_extract, .arguments = &extract, .cancel = cancel_model, .target = extract.model};
    if (!run_watched(state, &watched)) {
        Py_DECREF(made);
        return NULL;
    }
    return handle_or_raise(state, made, watched.status);
}

/* ---- Laboratory ---- */

static PyObject *py_lab_create(PyObject *module, PyObject *args) {
    const char *preset;
    if (!PyArg_ParseTuple(args, "z", &preset)) return NULL;
    module_state *state = state_of(module);
    handle_object *object = new_handle(state, LAB, NULL, NULL);
    if (!object) return NULL;
    return handle_or_raise(state, object, mrp_lab_create(preset, &object->handle.lab));
}

static mrp_status call_lab_set(void *lab, const char *key, const char *value) { return mrp_lab_set(lab, key, value); }
static PyObject *py_lab_set(PyObject *module, PyObject *args) { return set_text(module, args, LAB, call_lab_set); }

static PyObject *py_lab_get(PyObject *module, PyObject *args) {
    PyObject *object;
    const char *key;
    if (!PyArg_ParseTuple(args, "Os", &object, &key)) return NULL;
    return text_of(module, object, LAB, read_lab_option, key);
}

static PyObject *py_lab_describe(PyObject *module, PyObject *unused) {
    (void)unused;
    return read_text(state_of(module), read_lab_table, NULL, NULL);
}

typedef struct {
    mrp_lab *lab;
    const char *axes, *path;
    mrp_lab_report **report;
    watched_call *watched;
} lab_arguments;

static mrp_status call_lab_run(void *arguments) {
    lab_arguments *lab = arguments;
    return mrp_lab_run(lab->lab, note_progress, lab->watched, lab->report);
}
static mrp_status call_lab_study(void *arguments) {
    lab_arguments *lab = arguments;
    return mrp_lab_study(lab->lab, lab->axes, lab->path, note_progress, lab->watched);
}

/* Returns 0 with an exception set, else 1 with the call's status in `status`. */
static int run_lab(module_state *state, lab_arguments *lab, mrp_status (*call)(void *), PyObject *callback, mrp_status *status) {
    if (callback != Py_None && !PyCallable_Check(callback)) {
        PyErr_Format(PyExc_TypeError, "callback is not callable: %R", callback);
        return 0;
    }
    watched_call watched = {.call = call, .arguments = lab, .cancel = cancel_lab, .target = lab->lab};
    watched.callback = callback == Py_None ? NULL : callback;
    lab->watched = &watched;
    if (!run_watched(state, &watched)) return 0;
    *status = watched.status;
    return 1;
}

static PyObject *py_lab_run(PyObject *module, PyObject *args) {
    PyObject *object, *callback;
    if (!PyArg_ParseTuple(args, "OO", &object, &callback)) return NULL;
    module_state *state = state_of(module);
    mrp_lab *lab = handle_of(state, object, LAB);
    handle_object *report = lab ? new_handle(state, LAB_REPORT, NULL, NULL) : NULL;
    if (!report) return NULL;
    lab_arguments arguments = {.lab = lab, .report = &report->handle.report};
    mrp_status status;
    if (!run_lab(state, &arguments, call_lab_run, callback, &status)) {
        Py_DECREF((PyObject *)report);
        return NULL;
    }
    return handle_or_raise(state, report, status);
}

static PyObject *py_lab_study(PyObject *module, PyObject *args) {
    PyObject *object, *path, *callback;
    lab_arguments arguments = {0};
    if (!PyArg_ParseTuple(args, "OsO&O", &object, &arguments.axes, PyUnicode_FSConverter, &path, &callback)) return NULL;
    module_state *state = state_of(module);
    arguments.lab = handle_of(state, object, LAB);
    arguments.path = arguments.lab ? PyBytes_AsString(path) : NULL;
    mrp_status status = MRP_OK;
    const int ran = arguments.path && run_lab(state, &arguments, call_lab_study, callback, &status);
    Py_DECREF(path);
    return ran ? PyBool_FromLong(status != MRP_CANCELLED) : NULL;
}

static PyObject *py_lab_samples(PyObject *module, PyObject *args) {
    PyObject *object, *out[5];
    const char *kind;
    uint64_t seed;
    long long first, count;
    if (!PyArg_ParseTuple(args, "OO&sLLOOOOO", &object, seed_converter, &seed, &kind, &first, &count, &out[0], &out[1], &out[2], &out[3],
                          &out[4])) {
        return NULL;
    }
    module_state *state = state_of(module);
    mrp_lab *lab = handle_of(state, object, LAB);
    if (!lab) return NULL;
    static const char *const names[5] = {"patches", "labels", "single_view", "shown_view", "origins"};
    Py_buffer views[5];
    memset(views, 0, sizeof views);
    int ok = 1;
    for (int i = 0; i < 5 && ok; i++) ok = open_array(state, out[i], names[i], i == 0 ? "f" : "i", 0, 1, &views[i]);
    for (int i = 1; i < 4 && ok; i++) {
        if (elements_in(&views[i]) < count) {
            raise_text(state, MRP_ERR_ARGUMENT, "labels, single_view or shown_view are too small");
            ok = 0;
        }
    }
    mrp_status status = MRP_OK;
    if (ok) {
        WITHOUT_GIL(status = mrp_lab_samples(lab, seed, kind, first, count, views[0].buf, elements_in(&views[0]), views[1].buf,
                                             views[2].buf, views[3].buf, views[4].buf, elements_in(&views[4])));
    }
    for (int i = 0; i < 5; i++)
        if (views[i].obj) PyBuffer_Release(&views[i]);
    return ok ? none_or_raise(state, status) : NULL;
}

static PyObject *py_lab_features(PyObject *module, PyObject *args) {
    PyObject *object, *out;
    uint64_t seed;
    if (!PyArg_ParseTuple(args, "OO&O", &object, seed_converter, &seed, &out)) return NULL;
    module_state *state = state_of(module);
    mrp_lab *lab = handle_of(state, object, LAB);
    Py_buffer values = {0};
    if (!lab || (out != Py_None && !open_array(state, out, "features", "d", 0, 1, &values))) return NULL;
    int64_t count = 0;
    mrp_status status;
    WITHOUT_GIL(status = mrp_lab_features(lab, seed, values.buf, values.buf ? elements_in(&values) : 0, &count));
    if (values.obj) PyBuffer_Release(&values);
    if (PyErr_Occurred()) return NULL;
    return status == MRP_OK ? PyLong_FromLongLong(count) : raise_status(state, status);
}

static PyObject *py_lab_report_summary(PyObject *module, PyObject *object) {
    module_state *state = state_of(module);
    mrp_lab_report *report = handle_of(state, object, LAB_REPORT);
    if (!report) return NULL;
    int64_t rows, seeds;
    int32_t claims, controls;
    mrp_status status = mrp_lab_report_summary(report, &rows, &seeds, &claims, &controls);
    if (status != MRP_OK) return raise_status(state, status);
    return Py_BuildValue("LLNN", (long long)rows, (long long)seeds, PyBool_FromLong(claims), PyBool_FromLong(controls));
}

static PyObject *py_lab_report_row(PyObject *module, PyObject *args) {
    PyObject *object;
    long long row, seed;
    if (!PyArg_ParseTuple(args, "OLL", &object, &row, &seed)) return NULL;
    module_state *state = state_of(module);
    mrp_lab_report *report = handle_of(state, object, LAB_REPORT);
    if (!report) return NULL;
    double measured, low, high;
    int32_t holds, control;
    mrp_status status = mrp_lab_report_row(report, row, seed, &measured, &low, &high, &holds, &control);
    if (status != MRP_OK) return raise_status(state, status);
    return Py_BuildValue("dddNN", measured, low, high, PyBool_FromLong(holds), PyBool_FromLong(control));
}

typedef struct {
    int64_t index;
    const char *what;
} row_text;

static mrp_status read_row_text(const void *object, const void *argument, char *buffer, int64_t capacity, int64_t *needed) {
    const row_text *wanted = argument;
    return mrp_lab_report_row_text(object, wanted->index, wanted->what, buffer, capacity, needed);
}
static mrp_status read_report_table(const void *object, const void *argument, char *buffer, int64_t capacity, int64_t *needed) {
    return mrp_lab_report_table(object, *(const int64_t *)argument, buffer, capacity, needed);
}
static mrp_status read_report_json(const void *object, const void *argument, char *buffer, int64_t capacity, int64_t *needed) {
    (void)argument;
    return mrp_lab_report_json(object, buffer, capacity, needed);
}

static PyObject *py_lab_report_row_text(PyObject *module, PyObject *args) {
    PyObject *object;
    long long row;
    row_text wanted;
    if (!PyArg_ParseTuple(args, "OLs", &object, &row, &wanted.what)) return NULL;
    wanted.index = row;
    return text_of(module, object, LAB_REPORT, read_row_text, &wanted);
}

static PyObject *py_lab_report_table(PyObject *module, PyObject *args) {
    PyObject *object;
    long long seed;
    if (!PyArg_ParseTuple(args, "OL", &object, &seed)) return NULL;
    const int64_t index = seed;
    return text_of(module, object, LAB_REPORT, read_report_table, &index);
}

static PyObject *py_lab_report_json(PyObject *module, PyObject *object) {
    return text_of(module, object, LAB_REPORT, read_report_json, NULL);
}

static PyObject *py_lab_report_correlations(PyObject *module, PyObject *args) {
    PyObject *object, *out;
    long long seed;
    const char *moment;
    if (!PyArg_ParseTuple(args, "OLsO", &object, &seed, &moment, &out)) return NULL;
    module_state *state = state_of(module);
    mrp_lab_report *report = handle_of(state, object, LAB_REPORT);
    Py_buffer values = {0};
    if (!report || (out != Py_None && !open_array(state, out, "correlations", "d", 0, 1, &values))) return NULL;
    int64_t kernels = 0, features = 0;
    mrp_status status =
        mrp_lab_report_correlations(report, seed, moment, values.buf, values.buf ? elements_in(&values) : 0, &kernels, &features);
    if (values.obj) PyBuffer_Release(&values);
    if (status != MRP_OK) return raise_status(state, status);
    return Py_BuildValue("LL", (long long)kernels, (long long)features);
}

/* ---- Module ---- */

#define FUNCTION(name, flags, signature, doc) {#name, py_##name, flags, #name signature "\n--\n\n" doc}

static PyMethodDef functions[] = {
    FUNCTION(version, METH_NOARGS, "($module, /)", "Version of the loaded library."),
    FUNCTION(build_info, METH_NOARGS, "($module, /)", "How the library was built, and which kernels it uses on this machine."),
    FUNCTION(set_log, METH_O, "($module, function, /)",
             "function(level, text) is called for each line of the log but errors, which are exceptions; None: nobody listens."),
    FUNCTION(memory_in_use, METH_NOARGS, "($module, /)", "Bytes that the library now holds for images, weights and arenas."),
    FUNCTION(config_create, METH_VARARGS, "($module, preset, /)", "New options: those of a preset, or the defaults for None."),
    FUNCTION(config_set, METH_VARARGS, "($module, config, key, value, /)", "Set an option from its text."),
    FUNCTION(config_get, METH_VARARGS, "($module, config, key, /)", "The text of an option."),
    FUNCTION(config_describe, METH_NOARGS, "($module, /)", "The table of options and presets, as JSON."),
    FUNCTION(dataset_wrap_array, METH_VARARGS, "($module, pixels, layout, labels, /)",
             "A dataset that looks into `pixels` (4-D, C-contiguous, uint8, uint16 or float32) without a copy.\n\n"
             "layout: 0 = NCHW, 1 = NHWC. labels: int32 array, or None. `pixels` is kept alive and must not change."),
    FUNCTION(dataset_open_folder, METH_VARARGS, "($module, path, config, /)", "An image folder."),
    FUNCTION(dataset_generate, METH_VARARGS, "($module, config, count, seed, /)", "`count` images of the generated set."),
    FUNCTION(dataset_open_masks, METH_VARARGS, "($module, path, config, /)", "A folder of images with masks."),
    FUNCTION(dataset_with_masks, METH_VARARGS, "($module, dataset, masks, config, /)",
             "The same images with masks, a uint8, uint16 or int32 array (count, height, width), which is copied."),
    FUNCTION(dataset_generate_scenes, METH_VARARGS, "($module, config, count, seed, /)", "`count` generated scenes with masks."),
    FUNCTION(dataset_from_points, METH_VARARGS, "($module, points, labels, /)",
             "A dataset of point clouds, a float32 array (count, points, values), which is copied; labels: int32 array, or None."),
    FUNCTION(dataset_open_points, METH_VARARGS, "($module, path, config, /)", "A folder of point clouds."),
    FUNCTION(dataset_generate_points, METH_VARARGS, "($module, config, count, seed, /)", "`count` generated point clouds."),
    FUNCTION(dataset_points, METH_VARARGS, "($module, dataset, index, out, /)", "Write the points of a cloud into a float32 array."),
    FUNCTION(dataset_image_size, METH_VARARGS, "($module, dataset, index, /)", "(height, width) of an image"),
    FUNCTION(dataset_mask, METH_VARARGS, "($module, dataset, index, out, /)",
             "Write the mask of an image into an int32 array; returns the id of pixels without a class."),
    FUNCTION(dataset_subset, METH_VARARGS, "($module, dataset, count, seed, /)",
             "`count` images drawn at random, stratified when labelled; shares the images."),
    FUNCTION(dataset_cluster, METH_VARARGS, "($module, dataset, model, per_class, config, /)",
             "The same images with finer classes: clusters of the features in each class."),
    FUNCTION(dataset_select, METH_VARARGS, "($module, dataset, counts, seed, /)",
             "So many images of each class as the int64 array says; shares the images."),
    FUNCTION(dataset_shape, METH_O, "($module, dataset, /)", "(count, channels, height, width, classes)"),
    FUNCTION(dataset_class_name, METH_VARARGS, "($module, dataset, index, /)", "Name of a class."),
    FUNCTION(dataset_image_name, METH_VARARGS, "($module, dataset, index, /)", "What an image is called: its file, or its number."),
    FUNCTION(dataset_name_classes, METH_VARARGS, "($module, dataset, names, type, /)",
             "The same dataset with class names, one per line, that stand for labels of a type."),
    FUNCTION(dataset_labels, METH_VARARGS, "($module, dataset, out, /)", "Write the labels into an int32 array."),
    FUNCTION(dataset_image, METH_VARARGS, "($module, dataset, index, out, /)",
             "Write an image of its own size as floats, (channels, height, width), into a float32 array."),
    FUNCTION(dataset_images, METH_VARARGS, "($module, dataset, first, count, height, width, out, /)",
             "Write images as floats in 0 ... 1, NCHW, into a float32 array."),
    FUNCTION(model_create, METH_O, "($module, config, /)", "A model with fresh weights."),
    FUNCTION(model_load, METH_VARARGS, "($module, path, config, /)", "A model from a safetensors file."),
    FUNCTION(model_save, METH_VARARGS, "($module, model, path, config, /)", "Write a model as safetensors."),
    FUNCTION(model_export_onnx, METH_VARARGS, "($module, model, path, config, /)", "Write a model as ONNX."),
    FUNCTION(model_export_stablehlo, METH_VARARGS, "($module, model, path, config, /)", "Write a model as StableHLO text."),
    FUNCTION(device_describe, METH_VARARGS, "($module, device, /)", "The devices that a plug-in sees, as JSON."),
    FUNCTION(model_set_validation, METH_VARARGS, "($module, model, held_out, reference, /)",
             "Datasets on which training is measured, or None."),
    FUNCTION(model_clone, METH_O, "($module, model, /)", "A copy with its own weights."),
    FUNCTION(model_upcycle, METH_VARARGS, "($module, model, dataset, config, callback, /)", "A mixture of experts made of a model."),
    FUNCTION(
        model_experts, METH_VARARGS, "($module, model, dataset, config, counts, losses, experts, /)",
        "Write the images (int64) and the masked loss (float64) of each expert, and the expert (int32) of each image; None: not wanted."),
    FUNCTION(model_extract, METH_VARARGS, "($module, model, expert, dataset, config, /)",
             "An expert as an ordinary model; -1: the best one."),
    FUNCTION(model_describe, METH_O, "($module, model, /)", "The model's facts, as JSON."),
    FUNCTION(model_parameter, METH_VARARGS, "($module, model, name, out, /)",
             "Write a weight into a float32 array (or nothing, for None); returns its number of elements."),
    FUNCTION(file_describe, METH_VARARGS, "($module, path, /)", "What a file of the library holds, as JSON."),
    FUNCTION(cancel, METH_O, "($module, model, /)", "Stop the call that runs on this model, from any thread; False when none was running."),
    FUNCTION(pretrain, METH_VARARGS, "($module, model, dataset, config, callback, /)",
             "Pretrain by mask reconstruction. callback(progress) or None; a true answer stops. Returns False when stopped."),
    FUNCTION(finetune, METH_VARARGS, "($module, model, dataset, config, callback, /)",
             "Train with labels. callback(progress) or None; a true answer stops. Returns False when stopped."),
    FUNCTION(trainer_create, METH_VARARGS, "($module, model, dataset, config, phase, /)",
             "A run that the caller steps through; phase: 'pretrain' or 'finetune'."),
    FUNCTION(trainer_plan, METH_O, "($module, trainer, /)", "(bytes, steps) of the run, known before its first step."),
    FUNCTION(trainer_export, METH_VARARGS, "($module, trainer, path, /)", "Write the training step as StableHLO text."),
    FUNCTION(trainer_save, METH_VARARGS, "($module, trainer, path, /)", "Write the state of a run."),
    FUNCTION(trainer_resume, METH_VARARGS, "($module, trainer, path, /)", "Continue a saved run."),
    FUNCTION(trainer_suspend, METH_O, "($module, trainer, /)", "Write the state of a run into its run folder, from where it goes on."),
    FUNCTION(trainer_end, METH_O, "($module, trainer, /)", "Why a run has ended; '' while it goes on."),
    FUNCTION(trainer_step, METH_O, "($module, trainer, /)", "One step; returns 0, 1 when cancelled, 2 when the run is done."),
    FUNCTION(
        trainer_set_filler, METH_VARARGS, "($module, trainer, which, function, /)",
        "masking(numbers) -> float32 noise [count, patches], or targets(numbers, images) -> float32 [count, patches, width]; None: none."),
    FUNCTION(trainer_progress, METH_O, "($module, trainer, /)", "How far the run is."),
    FUNCTION(evaluate, METH_VARARGS, "($module, model, dataset, config, metric, /)",
             "A number: 'top1', 'top5', 'balanced_top1', 'loss' or 'reconstruction_loss'."),
    FUNCTION(probe, METH_VARARGS, "($module, model, dataset, held_out, config, method, /)",
             "Accuracy on held-out images by frozen features: 'knn' or 'linear'."),
    FUNCTION(confusion, METH_VARARGS, "($module, model, dataset, config, out, /)", "Write counts [class, taken for] into an int64 array."),
    FUNCTION(encode, METH_VARARGS, "($module, model, dataset, config, out, /)", "Write features into a float32 array."),
    FUNCTION(attention, METH_VARARGS, "($module, model, dataset, config, out, /)",
             "Write attention [count, heads, tokens, tokens] of a block into a float32 array."),
    FUNCTION(predict, METH_VARARGS, "($module, model, dataset, config, out, /)",
             "Write class probabilities [count, classes] into a float32 array."),
    FUNCTION(segment_probabilities, METH_VARARGS, "($module, model, dataset, config, out, /)",
             "Write the probabilities of the classes of each pixel into a float32 array, image after image."),
    FUNCTION(segment, METH_VARARGS, "($module, model, dataset, config, out, /)",
             "Write the class of each pixel of each image, at its own size, into a uint16 array."),
    FUNCTION(instances, METH_VARARGS, "($module, model, dataset, config, counts, scores, boxes, ids, /)",
             "Write the objects of each image: int64 counts, float32 scores and int32 boxes (most_instances each), a uint16 number for "
             "each pixel."),
    FUNCTION(reconstruct, METH_VARARGS, "($module, model, dataset, config, mask, images, reconstructions, masks, /)",
             "Write images, reconstructions and masks; returns the mean loss. mask: uint8 [count, patches], 1 = hidden, or None for a "
             "random one."),
    FUNCTION(lab_create, METH_VARARGS, "($module, preset, /)", "A laboratory: the options of a preset, or the defaults for None."),
    FUNCTION(lab_set, METH_VARARGS, "($module, lab, key, value, /)", "Set an option, by its key or its symbol, from its text."),
    FUNCTION(lab_get, METH_VARARGS, "($module, lab, key, /)", "The text of an option."),
    FUNCTION(lab_describe, METH_NOARGS, "($module, /)", "The table of the laboratory's options and presets, as JSON."),
    FUNCTION(lab_cancel, METH_O, "($module, lab, /)",
             "Stop what runs in this laboratory, from any thread; False when nothing was running."),
    FUNCTION(lab_run, METH_VARARGS, "($module, lab, callback, /)",
             "Run the experiment. callback(progress) or None; a true answer stops, and Cancelled is raised."),
    FUNCTION(lab_study, METH_VARARGS, "($module, lab, axes, path, callback, /)",
             "Sweep options into a CSV file. callback(progress) or None; a true answer stops. Returns False when stopped."),
    FUNCTION(lab_samples, METH_VARARGS, "($module, lab, seed, kind, first, count, patches, labels, single_view, shown_view, origins, /)",
             "Write samples into a float32 and four int32 arrays."),
    FUNCTION(lab_features, METH_VARARGS, "($module, lab, seed, out, /)",
             "Write the features of a seed into a float64 array (or nothing, for None); returns the number of elements."),
    FUNCTION(lab_report_summary, METH_O, "($module, report, /)", "(rows, seeds, claims_hold, controls_hold)"),
    FUNCTION(lab_report_row, METH_VARARGS, "($module, report, row, seed, /)",
             "(measured, low, high, holds, is_control) of a row of the table; seed -1: over all."),
    FUNCTION(lab_report_row_text, METH_VARARGS, "($module, report, row, what, /)",
             "A text of a row: its 'claim', 'statement', 'quantity' or 'threshold'."),
    FUNCTION(lab_report_table, METH_VARARGS, "($module, report, seed, /)", "The table as text; seed -1: over all."),
    FUNCTION(lab_report_json, METH_O, "($module, report, /)", "The whole report as JSON."),
    FUNCTION(lab_report_correlations, METH_VARARGS, "($module, report, seed, moment, out, /)",
             "Write correlations into a float64 array (or nothing, for None); returns (kernels, features).\n\n"
             "moment: 'initial', 'pretrained' or 'supervised'."),
    {NULL, NULL, 0, NULL},
};

static PyObject *make_exception(PyObject *base, const char *name, const char *builtin, const char *doc, long code) {
    char full[64];
    snprintf(full, sizeof full, "mrp.%s", name);
    PyObject *bases = NULL, *other = NULL;
    if (builtin) {
        PyObject *builtins = PyImport_ImportModule("builtins");
        other = builtins ? PyObject_GetAttrString(builtins, builtin) : NULL;
        Py_XDECREF(builtins);
        if (!other) return NULL;
    }
    if (base) bases = other ? PyTuple_Pack(2, base, other) : PyTuple_Pack(1, base);
    Py_XDECREF(other);
    if (base && !bases) return NULL;
    PyObject *type = PyErr_NewExceptionWithDoc(full, doc, bases, NULL);
    Py_XDECREF(bases);
    PyObject *number = type ? PyLong_FromLong(code) : NULL;
    if (!number || PyObject_SetAttrString(type, "code", number) != 0) Py_CLEAR(type);
    Py_XDECREF(number);
    return type;
}

static int module_exec(PyObject *module) {
    module_state *state = state_of(module);
    /* A library from another time would fail in stranger ways later. */
    if (mrp_version_number() / 100 != MRP_VERSION_NUMBER / 100) {
        PyErr_Format(PyExc_ImportError, "the package was built for libmrp %s, the library that was loaded is %s", MRP_VERSION,
                     mrp_version());
        return -1;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        PyType_Spec spec = {.name = kind_names[kind],
                            .basicsize = sizeof(handle_object),
                            .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                            .slots = handle_slots};
        state->types[kind] = (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL);
        if (!state->types[kind] || PyModule_AddType(module, state->types[kind]) != 0) return -1;
    }
    state->progress = PyStructSequence_NewType(&progress_description);
    if (!state->progress || PyModule_AddType(module, state->progress) != 0) return -1;
    state->lab_progress = PyStructSequence_NewType(&lab_progress_description);
    if (!state->lab_progress || PyModule_AddType(module, state->lab_progress) != 0) return -1;
    state->error = make_exception(NULL, "MrpError", NULL,
                                  "What the library reports: the base of its exceptions. `code` is the status code of the C interface.", 0);
    if (!state->error || PyModule_AddObjectRef(module, "MrpError", state->error) != 0) return -1;
    for (int i = 0; i < EXCEPTIONS; i++) {
        const exception_spec *spec = &exception_specs[i];
        state->exceptions[i] = make_exception(state->error, spec->name, spec->base, spec->doc, spec->code);
        if (!state->exceptions[i] || PyModule_AddObjectRef(module, spec->name, state->exceptions[i]) != 0) return -1;
    }
    static const struct {
        const char *name;
        long value;
    } constants[] = {{"NCHW", MRP_NCHW}, {"NHWC", MRP_NHWC}, {"LOG_WARNING", MRP_LOG_WARNING}, {"LOG_INFO", MRP_LOG_INFO}};
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) != 0) return -1;
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    module_state *state = state_of(module);
    for (int i = 0; i < KINDS; i++) Py_VISIT(state->types[i]);
    Py_VISIT(state->progress);
    Py_VISIT(state->lab_progress);
    Py_VISIT(state->log);
    Py_VISIT(state->error);
    for (int i = 0; i < EXCEPTIONS; i++) Py_VISIT(state->exceptions[i]);
    return 0;
}

static int module_clear(PyObject *module) {
    module_state *state = state_of(module);
    for (int i = 0; i < KINDS; i++) Py_CLEAR(state->types[i]);
    Py_CLEAR(state->progress);
    Py_CLEAR(state->lab_progress);
    Py_CLEAR(state->log);
    Py_CLEAR(state->error);
    for (int i = 0; i < EXCEPTIONS; i++) Py_CLEAR(state->exceptions[i]);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_mrp",
    .m_doc = "The C interface of libmrp, one for one. The package mrp is made of it, and is what to use.",
    .m_size = sizeof(module_state),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__mrp(void) { return PyModuleDef_Init(&definition); }
