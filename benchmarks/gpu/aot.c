/* Compiles StableHLO text for a GPU that is not there: a topology from its description, then PJRT_Compile. The plug-in writes the optimised
 * program where XLA_FLAGS=--xla_dump_to says, for roofline.py.
 *
 *     cc -O2 -IFOLDER_OF_pjrt_c_api.h benchmarks/gpu/aot.c -o aot -ldl
 *     ./aot xla_cuda_plugin.so h100.txtpb step.mlir
 *
 * tools/check_cuda.sh does all of it. The header is that of any PJRT plug-in (tools/setup_devices.sh). */
#define _POSIX_C_SOURCE 199309L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "pjrt_c_api.h"

static const PJRT_Api *api;

/* Arguments of a call, zeroed, with room that newer plug-ins read as absent fields. */
#define SPARE 128
#define ARGUMENTS(type, name) type *name = new_arguments(type##_STRUCT_SIZE)

static void *new_arguments(size_t size) {
    size_t *arguments = calloc(1, size + SPARE);
    if (arguments == NULL) exit(1);
    arguments[0] = size + SPARE; /* struct_size is the first field of all */
    return arguments;
}

static void check(PJRT_Error *error, const char *what) {
    if (error == NULL) return;
    ARGUMENTS(PJRT_Error_Message_Args, text);
    text->error = error;
    api->PJRT_Error_Message(text);
    fprintf(stderr, "aot: %s: %.*s\n", what, (int)text->message_size, text->message);
    exit(1);
}

static char *contents(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long length = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) length = ftell(file);
    if (length >= 0) text = malloc((size_t)length + 1);
    if (text != NULL) rewind(file);
    if (text == NULL || fread(text, 1, (size_t)length, file) != (size_t)length) {
        fprintf(stderr, "aot: %s cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    text[length] = 0;
    *size = (size_t)length;
    return text;
}

static void set_text(PJRT_NamedValue *option, const char *name, const char *text, size_t size) {
    option->struct_size = PJRT_NamedValue_STRUCT_SIZE;
    option->name = name;
    option->name_size = strlen(name);
    option->type = PJRT_NamedValue_kString;
    option->string_value = text;
    option->value_size = size;
}

static PJRT_TopologyDescription *topology(const char *path) {
    static PJRT_NamedValue options[2];
    size_t size;
    const char *target = contents(path, &size);
    set_text(&options[0], "target_config", target, size);
    set_text(&options[1], "topology", "1x1x1", 5);
    ARGUMENTS(PJRT_TopologyDescription_Create_Args, create);
    create->topology_name = "cuda";
    create->topology_name_size = 4;
    create->create_options = options;
    create->num_options = 2;
    check(api->PJRT_TopologyDescription_Create(create), "topology");
    return create->topology;
}

static PJRT_Executable *compile(PJRT_TopologyDescription *target, const char *path) {
    /* CompileOptionsProto: executable_build_options (3) { device_ordinal (1) = -1, num_replicas (4) = 1, num_partitions (5) = 1 } */
    static const char options[] = "\x1a\x0f\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x20\x01\x28\x01";
    ARGUMENTS(PJRT_Program, program);
    program->code = contents(path, &program->code_size);
    program->format = "mlir";
    program->format_size = 4;
    ARGUMENTS(PJRT_Compile_Args, call);
    call->topology = target;
    call->program = program;
    call->compile_options = options;
    call->compile_options_size = sizeof options - 1;
    check(api->PJRT_Compile(call), path);
    return call->executable;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: aot PLUGIN TARGET MODULE\n");
        return 2;
    }
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    const PJRT_Api *(*get)(void) = NULL;
    if (library != NULL) *(void **)&get = dlsym(library, "GetPjrtApi");
    if (get == NULL) {
        fprintf(stderr, "aot: %s\n", dlerror());
        return 1;
    }
    api = get();
    ARGUMENTS(PJRT_Plugin_Initialize_Args, initialize);
    check(api->PJRT_Plugin_Initialize(initialize), "initialize");
    PJRT_TopologyDescription *target = topology(argv[2]);
    double start = now();
    PJRT_Executable *executable = compile(target, argv[3]);
    double seconds = now() - start;
    ARGUMENTS(PJRT_Executable_GetCompiledMemoryStats_Args, memory);
    memory->executable = executable;
    check(api->PJRT_Executable_GetCompiledMemoryStats(memory), "memory");
    double total = (double)(memory->argument_size_in_bytes + memory->output_size_in_bytes - memory->alias_size_in_bytes);
    printf("compiled in %.1f s; device memory %.2f GiB, of which temporary %.2f\n", seconds,
           (total + (double)memory->temp_size_in_bytes) / (1 << 30), (double)memory->temp_size_in_bytes / (1 << 30));
    return 0;
}
