#include "pj_client.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pjrt.h"

/* Zero bytes behind each argument struct, for fields that newer plug-ins know. */
enum { SPARE = 64 };
#define ARGUMENTS(type, name)       \
    struct {                        \
        type args;                  \
        char spare[SPARE];          \
    } name;                         \
    memset(&name, 0, sizeof(name)); \
    name.args.struct_size = sizeof(name)

struct pj_client {
    const PJRT_Api *api;
    PJRT_Client *client;
    PJRT_Device *const *devices;
    size_t device_count;
    char *path;
    char platform[128];
    char version[512];
    char (*kinds)[128];
    struct pj_client *next;
};

struct pj_executable {
    pj_client *owner;
    PJRT_LoadedExecutable *loaded;
    size_t outputs;
    int replicas;
    int64_t bytes;
};

struct pj_buffer {
    const PJRT_Api *api;
    PJRT_Buffer *buffer;
};

struct pj_event {
    const PJRT_Api *api;
    PJRT_Event *event;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pj_client *clients;

static int fail(char *error, int code, const char *what, const char *text, size_t size) {
    const int length = size > PJ_TEXT ? PJ_TEXT : (int)size;
    snprintf(error, PJ_TEXT, "%s: %.*s", what, length, text);
    for (char *c = error; *c; c++) {
        if (*c == '\n' || *c == '\r') *c = ' ';
    }
    return code;
}

/* Takes over an error of the plug-in. */
static int check(const PJRT_Api *api, PJRT_Error *failure, const char *what, char *error) {
    if (!failure) return PJ_OK;
    ARGUMENTS(PJRT_Error_Message_Args, message);
    message.args.error = failure;
    api->PJRT_Error_Message(&message.args);
    ARGUMENTS(PJRT_Error_GetCode_Args, code);
    code.args.error = failure;
    int result = PJ_FAILED;
    PJRT_Error *nested = api->PJRT_Error_GetCode(&code.args);
    if (!nested && code.args.code == PJRT_RESOURCE_EXHAUSTED) result = PJ_MEMORY;
    if (error) fail(error, result, what, message.args.message, message.args.message_size);
    ARGUMENTS(PJRT_Error_Destroy_Args, destroy);
    destroy.args.error = failure;
    api->PJRT_Error_Destroy(&destroy.args);
    return result;
}

/* ---- plug-in and client ---- */

static void copy_text(char *target, size_t room, const char *text, size_t size) {
    if (size >= room) size = room - 1;
    memcpy(target, text, size);
    target[size] = 0;
}

static int describe(pj_client *c, char *error) {
    ARGUMENTS(PJRT_Client_PlatformName_Args, name);
    name.args.client = c->client;
    int code = check(c->api, c->api->PJRT_Client_PlatformName(&name.args), "platform name", error);
    if (code) return code;
    copy_text(c->platform, sizeof(c->platform), name.args.platform_name, name.args.platform_name_size);
    ARGUMENTS(PJRT_Client_PlatformVersion_Args, version);
    version.args.client = c->client;
    code = check(c->api, c->api->PJRT_Client_PlatformVersion(&version.args), "platform version", error);
    if (code) return code;
    copy_text(c->version, sizeof(c->version), version.args.platform_version, version.args.platform_version_size);
    for (char *p = c->version; *p; p++) {
        if (*p == '\n') *p = ' ';
    }
    ARGUMENTS(PJRT_Client_AddressableDevices_Args, devices);
    devices.args.client = c->client;
    code = check(c->api, c->api->PJRT_Client_AddressableDevices(&devices.args), "devices", error);
    if (code) return code;
    c->devices = devices.args.addressable_devices;
    c->device_count = devices.args.num_addressable_devices;
    c->kinds = calloc(c->device_count + 1, sizeof(*c->kinds));
    if (!c->kinds) return fail(error, PJ_MEMORY, "devices", "out of memory", 13);
    for (size_t i = 0; i < c->device_count; i++) {
        ARGUMENTS(PJRT_Device_GetDescription_Args, description);
        description.args.device = c->devices[i];
        if (check(c->api, c->api->PJRT_Device_GetDescription(&description.args), "", NULL)) continue;
        ARGUMENTS(PJRT_DeviceDescription_Kind_Args, kind);
        kind.args.device_description = description.args.device_description;
        if (check(c->api, c->api->PJRT_DeviceDescription_Kind(&kind.args), "", NULL)) continue;
        copy_text(c->kinds[i], sizeof(c->kinds[i]), kind.args.device_kind, kind.args.device_kind_size);
    }
    return PJ_OK;
}

static void set_option(PJRT_NamedValue *value, const pj_option *option) {
    value->struct_size = sizeof(*value);
    value->name = option->name;
    value->name_size = strlen(option->name);
    value->value_size = 1;
    if (option->text) {
        value->type = PJRT_NAMED_STRING;
        value->string_value = option->text;
        value->value_size = strlen(option->text);
    } else if (option->is_flag) {
        value->type = PJRT_NAMED_BOOL;
        value->bool_value = option->number != 0;
    } else {
        value->type = PJRT_NAMED_INT64;
        value->int64_value = option->number;
    }
}

static int connect_client(pj_client *c, const pj_option *options, size_t count, char *error) {
    void *library = dlopen(c->path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *text = dlerror();
        return fail(error, PJ_MISSING, "the plug-in cannot be loaded", text ? text : c->path, strlen(text ? text : c->path));
    }
    const PJRT_Api *(*get)(void) = NULL;
    *(void **)&get = dlsym(library, "GetPjrtApi");
    c->api = get ? get() : NULL;
    if (!c->api) return fail(error, PJ_MISSING, c->path, "exports no GetPjrtApi: it is not a PJRT plug-in", 46);
    char text[128];
    const int major = c->api->pjrt_api_version.major_version, minor = c->api->pjrt_api_version.minor_version;
    const int size =
        snprintf(text, sizeof(text), "has version %d.%d of the PJRT API, this library needs 0.40 or a later 0.x", major, minor);
    if (major != 0 || minor < 40 || c->api->struct_size < sizeof(PJRT_Api)) return fail(error, PJ_MISSING, c->path, text, (size_t)size);
    ARGUMENTS(PJRT_Plugin_Initialize_Args, initialize);
    int code = check(c->api, c->api->PJRT_Plugin_Initialize(&initialize.args), "the plug-in does not start", error);
    if (code) return code;
    PJRT_NamedValue values[16];
    memset(values, 0, sizeof(values));
    if (count > 16) count = 16;
    for (size_t i = 0; i < count; i++) set_option(&values[i], &options[i]);
    ARGUMENTS(PJRT_Client_Create_Args, create);
    create.args.create_options = values;
    create.args.num_options = count;
    code = check(c->api, c->api->PJRT_Client_Create(&create.args), "no device can be used", error);
    if (code) return code == PJ_FAILED ? PJ_MISSING : code;
    c->client = create.args.client;
    return describe(c, error);
}

int pj_open(const char *path, const pj_option *options, size_t count, pj_client **client, char *error) {
    pthread_mutex_lock(&lock);
    int code = PJ_OK;
    pj_client *c = clients;
    while (c && strcmp(c->path, path) != 0) c = c->next;
    if (!c) {
        c = calloc(1, sizeof(*c));
        if (c) c->path = strdup(path);
        code = c && c->path ? connect_client(c, options, count, error) : fail(error, PJ_MEMORY, path, "out of memory", 13);
        if (code == PJ_OK) {
            c->next = clients;
            clients = c;
        } else if (c) {
            free(c->path);
            free(c->kinds);
            free(c);
        }
    }
    pthread_mutex_unlock(&lock);
    *client = code ? NULL : c;
    return code;
}

const char *pj_platform(const pj_client *client) { return client->platform; }
const char *pj_version(const pj_client *client) { return client->version; }
int pj_device_count(const pj_client *client) { return (int)client->device_count; }
const char *pj_device_kind(const pj_client *client, int device) { return client->kinds[device]; }

void pj_memory(const pj_client *client, int device, int64_t *in_use, int64_t *peak, int64_t *limit) {
    *in_use = *peak = *limit = -1;
    ARGUMENTS(PJRT_Device_MemoryStats_Args, stats);
    stats.args.device = client->devices[device];
    if (check(client->api, client->api->PJRT_Device_MemoryStats(&stats.args), "", NULL)) return;
    *in_use = stats.args.bytes_in_use;
    if (stats.args.peak_bytes_in_use_is_set) *peak = stats.args.peak_bytes_in_use;
    if (stats.args.bytes_limit_is_set) *limit = stats.args.bytes_limit;
}

/* ---- executables ---- */

/* A protocol buffer message under construction; text that does not fit is an error of ours, found at the end. */
typedef struct {
    uint8_t bytes[4096];
    size_t size;
    bool is_full;
} message;

static void put(message *m, const void *bytes, size_t size) {
    if (m->size + size > sizeof(m->bytes)) {
        m->is_full = true;
        return;
    }
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static void put_varint(message *m, uint64_t value) {
    do {
        const uint8_t byte = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        put(m, &byte, 1);
        value >>= 7;
    } while (value);
}

static void put_number(message *m, int field, uint64_t value) {
    put_varint(m, (uint64_t)field << 3);
    put_varint(m, value);
}

static void put_bytes(message *m, int field, const void *bytes, size_t size) {
    put_varint(m, (uint64_t)field << 3 | 2);
    put_varint(m, size);
    put(m, bytes, size);
}

/* xla.CompileOptionsProto: executable_build_options (3) { device_ordinal (1) = -1, num_replicas (4), num_partitions (5) } and
 * env_option_overrides (7), a map from names to { string (1) | bool (2) | int64 (3) }. */
static void compile_options(message *m, int replicas, const pj_option *options, size_t count) {
    message build = {.size = 0};
    put_number(&build, 1, UINT64_MAX);
    put_number(&build, 4, (uint64_t)replicas);
    put_number(&build, 5, 1);
    put_bytes(m, 3, build.bytes, build.size);
    for (size_t i = 0; i < count; i++) {
        message value = {.size = 0}, entry = {.size = 0};
        if (options[i].text) {
            put_bytes(&value, 1, options[i].text, strlen(options[i].text));
        } else {
            put_number(&value, options[i].is_flag ? 2 : 3, (uint64_t)options[i].number);
        }
        put_bytes(&entry, 1, options[i].name, strlen(options[i].name));
        put_bytes(&entry, 2, value.bytes, value.size);
        put_bytes(m, 7, entry.bytes, entry.size);
        m->is_full |= value.is_full || entry.is_full;
    }
}

static PJRT_Executable *inner(const pj_executable *x) {
    ARGUMENTS(PJRT_LoadedExecutable_GetExecutable_Args, get);
    get.args.loaded_executable = x->loaded;
    return check(x->owner->api, x->owner->api->PJRT_LoadedExecutable_GetExecutable(&get.args), "", NULL) ? NULL : get.args.executable;
}

static void release_inner(const pj_executable *x, PJRT_Executable *executable) {
    ARGUMENTS(PJRT_Executable_Destroy_Args, destroy);
    destroy.args.executable = executable;
    check(x->owner->api, x->owner->api->PJRT_Executable_Destroy(&destroy.args), "", NULL);
}

static int adopt(pj_client *client, PJRT_LoadedExecutable *loaded, int replicas, pj_executable **result, char *error) {
    pj_executable *x = calloc(1, sizeof(*x));
    PJRT_Executable *executable = NULL;
    if (x) {
        *x = (pj_executable){.owner = client, .loaded = loaded, .replicas = replicas, .bytes = -1};
        executable = inner(x);
    }
    if (!executable) {
        free(x);
        return fail(error, PJ_FAILED, "compile", "the executable cannot be read", 29);
    }
    ARGUMENTS(PJRT_Executable_NumOutputs_Args, outputs);
    outputs.args.executable = executable;
    const int code = check(client->api, client->api->PJRT_Executable_NumOutputs(&outputs.args), "compile", error);
    x->outputs = outputs.args.num_outputs;
    ARGUMENTS(PJRT_Executable_GetCompiledMemoryStats_Args, stats);
    stats.args.executable = executable;
    if (!check(client->api, client->api->PJRT_Executable_GetCompiledMemoryStats(&stats.args), "", NULL)) {
        x->bytes = stats.args.temp_size_in_bytes + stats.args.argument_size_in_bytes + stats.args.output_size_in_bytes -
                   stats.args.alias_size_in_bytes;
    }
    release_inner(x, executable);
    if (code) {
        pj_executable_destroy(x);
        return code;
    }
    *result = x;
    return PJ_OK;
}

int pj_compile(pj_client *client, const char *text, size_t size, int replicas, const pj_option *options, size_t count,
               pj_executable **executable, char *error) {
    message m = {.size = 0};
    compile_options(&m, replicas, options, count);
    if (m.is_full) return fail(error, PJ_FAILED, "compile", "the options are too long", 24);
    ARGUMENTS(PJRT_Program, program);
    program.args.code = (char *)text;
    program.args.code_size = size;
    program.args.format = "mlir";
    program.args.format_size = 4;
    ARGUMENTS(PJRT_Client_Compile_Args, compile);
    compile.args.client = client->client;
    compile.args.program = &program.args;
    compile.args.compile_options = (const char *)m.bytes;
    compile.args.compile_options_size = m.size;
    const int code = check(client->api, client->api->PJRT_Client_Compile(&compile.args), "compile", error);
    return code ? code : adopt(client, compile.args.executable, replicas, executable, error);
}

int pj_load(pj_client *client, const void *bytes, size_t size, int replicas, pj_executable **executable, char *error) {
    ARGUMENTS(PJRT_Executable_DeserializeAndLoad_Args, load);
    load.args.client = client->client;
    load.args.serialized_executable = bytes;
    load.args.serialized_executable_size = size;
    const int code = check(client->api, client->api->PJRT_Executable_DeserializeAndLoad(&load.args), "load", error);
    return code ? code : adopt(client, load.args.loaded_executable, replicas, executable, error);
}

int pj_serialize(const pj_executable *x, void (*body)(void *context, const void *bytes, size_t size), void *context, char *error) {
    PJRT_Executable *executable = inner(x);
    if (!executable) return fail(error, PJ_FAILED, "serialize", "the executable cannot be read", 29);
    ARGUMENTS(PJRT_Executable_Serialize_Args, serialize);
    serialize.args.executable = executable;
    const int code = check(x->owner->api, x->owner->api->PJRT_Executable_Serialize(&serialize.args), "serialize", error);
    if (!code) {
        body(context, serialize.args.serialized_bytes, serialize.args.serialized_bytes_size);
        serialize.args.serialized_executable_deleter(serialize.args.serialized_executable);
    }
    release_inner(x, executable);
    return code;
}

void pj_executable_destroy(pj_executable *x) {
    if (!x) return;
    ARGUMENTS(PJRT_LoadedExecutable_Destroy_Args, destroy);
    destroy.args.executable = x->loaded;
    check(x->owner->api, x->owner->api->PJRT_LoadedExecutable_Destroy(&destroy.args), "", NULL);
    free(x);
}

size_t pj_output_count(const pj_executable *x) { return x->outputs; }
int64_t pj_run_bytes(const pj_executable *x) { return x->bytes; }

/* ---- buffers and events ---- */

static pj_event *event_of(const PJRT_Api *api, PJRT_Event *event) {
    pj_event *e = event ? calloc(1, sizeof(*e)) : NULL;
    if (e) *e = (pj_event){.api = api, .event = event};
    return e;
}

static int await_raw(const PJRT_Api *api, PJRT_Event *event, char *error) {
    if (!event) return PJ_OK;
    ARGUMENTS(PJRT_Event_Await_Args, await);
    await.args.event = event;
    const int code = check(api, api->PJRT_Event_Await(&await.args), "the device", error);
    ARGUMENTS(PJRT_Event_Destroy_Args, destroy);
    destroy.args.event = event;
    check(api, api->PJRT_Event_Destroy(&destroy.args), "", NULL);
    return code;
}

bool pj_is_ready(pj_event *event) {
    if (!event) return true;
    ARGUMENTS(PJRT_Event_IsReady_Args, ready);
    ready.args.event = event->event;
    return check(event->api, event->api->PJRT_Event_IsReady(&ready.args), "", NULL) != PJ_OK || ready.args.is_ready;
}

int pj_await(pj_event *event, char *error) {
    if (!event) return PJ_OK;
    const int code = await_raw(event->api, event->event, error);
    free(event);
    return code;
}

static pj_buffer *buffer_of(const PJRT_Api *api, PJRT_Buffer *buffer) {
    pj_buffer *b = calloc(1, sizeof(*b));
    if (b) *b = (pj_buffer){.api = api, .buffer = buffer};
    return b;
}

static void destroy_raw(const PJRT_Api *api, PJRT_Buffer *buffer) {
    ARGUMENTS(PJRT_Buffer_Destroy_Args, destroy);
    destroy.args.buffer = buffer;
    check(api, api->PJRT_Buffer_Destroy(&destroy.args), "", NULL);
}

int pj_upload(pj_client *client, int device, const void *data, int type, const int64_t *dims, size_t rank, pj_buffer **buffer,
              pj_event **event, char *error) {
    ARGUMENTS(PJRT_Client_BufferFromHostBuffer_Args, upload);
    upload.args.client = client->client;
    upload.args.data = data;
    upload.args.type = type;
    upload.args.dims = dims;
    upload.args.num_dims = rank;
    upload.args.host_buffer_semantics = event ? PJRT_UNTIL_TRANSFER_COMPLETES : PJRT_ONLY_DURING_CALL;
    upload.args.device = client->devices[device];
    int code = check(client->api, client->api->PJRT_Client_BufferFromHostBuffer(&upload.args), "upload", error);
    if (code) return code;
    pj_event *done = event ? event_of(client->api, upload.args.done_with_host_buffer) : NULL;
    if (!done) code = await_raw(client->api, upload.args.done_with_host_buffer, error);
    *buffer = code ? NULL : buffer_of(client->api, upload.args.buffer);
    if (!*buffer) {
        pj_await(done, NULL);
        destroy_raw(client->api, upload.args.buffer);
        return code ? code : fail(error, PJ_MEMORY, "upload", "out of memory", 13);
    }
    if (event) *event = done;
    return PJ_OK;
}

int pj_download(pj_buffer *buffer, void *memory, size_t bytes, char *error) {
    ARGUMENTS(PJRT_Buffer_ToHostBuffer_Args, download);
    download.args.src = buffer->buffer;
    download.args.dst = memory;
    download.args.dst_size = bytes;
    const int code = check(buffer->api, buffer->api->PJRT_Buffer_ToHostBuffer(&download.args), "download", error);
    return code ? code : await_raw(buffer->api, download.args.event, error);
}

void pj_buffer_destroy(pj_buffer *buffer) {
    if (!buffer) return;
    destroy_raw(buffer->api, buffer->buffer);
    free(buffer);
}

int pj_execute(pj_executable *x, pj_buffer *const *arguments, size_t argument_count, pj_buffer **results, pj_event **events, char *error) {
    const size_t replicas = (size_t)x->replicas, outputs = x->outputs;
    const PJRT_Api *api = x->owner->api;
    PJRT_Buffer **raw = calloc(replicas * (argument_count + outputs) + 1, sizeof(*raw));
    PJRT_Buffer ***lists = calloc(2 * replicas, sizeof(*lists));
    PJRT_Event **done = calloc(replicas, sizeof(*done));
    int code = raw && lists && done ? PJ_OK : fail(error, PJ_MEMORY, "run", "out of memory", 13);
    if (code == PJ_OK) {
        for (size_t r = 0; r < replicas; r++) {
            lists[r] = raw + r * argument_count;
            lists[replicas + r] = raw + replicas * argument_count + r * outputs;
            for (size_t a = 0; a < argument_count; a++) lists[r][a] = arguments[r * argument_count + a]->buffer;
        }
        ARGUMENTS(PJRT_ExecuteOptions, options);
        ARGUMENTS(PJRT_LoadedExecutable_Execute_Args, execute);
        execute.args.executable = x->loaded;
        execute.args.options = &options.args;
        execute.args.argument_lists = (PJRT_Buffer *const *const *)lists;
        execute.args.num_devices = replicas;
        execute.args.num_args = argument_count;
        execute.args.output_lists = (PJRT_Buffer * *const *)(lists + replicas);
        execute.args.device_complete_events = done;
        code = check(api, api->PJRT_LoadedExecutable_Execute(&execute.args), "run", error);
    }
    if (code == PJ_OK) {
        for (size_t i = 0; i < replicas * outputs; i++) {
            results[i] = buffer_of(api, raw[replicas * argument_count + i]);
            if (!results[i]) code = fail(error, PJ_MEMORY, "run", "out of memory", 13);
        }
        for (size_t r = 0; r < replicas; r++) events[r] = event_of(api, done[r]);
    }
    free(raw);
    free(lists);
    free(done);
    return code;
}
