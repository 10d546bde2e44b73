/* The part of the PJRT C API (openxla/xla, xla/pjrt/c/pjrt_c_api.h, major version 0) that the client uses, declared by ourselves so that
 * nothing has to be installed to build. Names and order of fields are the API's; Tests/python/test_pjrt_header.py compares offsets with
 * the header that a package ships. Structs only grow at their end: a call states a size with spare zero bytes behind the last field, which
 * newer plug-ins read as absent fields and older ones ignore. */
#ifndef MRP_PJRT_H
#define MRP_PJRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Objects of the plug-in. */
typedef struct PJRT_Error PJRT_Error;
typedef struct PJRT_Event PJRT_Event;
typedef struct PJRT_Client PJRT_Client;
typedef struct PJRT_Device PJRT_Device;
typedef struct PJRT_DeviceDescription PJRT_DeviceDescription;
typedef struct PJRT_Executable PJRT_Executable;
typedef struct PJRT_LoadedExecutable PJRT_LoadedExecutable;
typedef struct PJRT_Buffer PJRT_Buffer;
typedef struct PJRT_SerializedExecutable PJRT_SerializedExecutable;

enum { PJRT_RESOURCE_EXHAUSTED = 8, PJRT_UNIMPLEMENTED = 12 };
enum { PJRT_TYPE_PRED = 1, PJRT_TYPE_S32 = 4, PJRT_TYPE_U8 = 6, PJRT_TYPE_F32 = 11, PJRT_TYPE_F64 = 12, PJRT_TYPE_BF16 = 13 };
enum { PJRT_NAMED_STRING = 0, PJRT_NAMED_INT64 = 1, PJRT_NAMED_INT64_LIST = 2, PJRT_NAMED_FLOAT = 3, PJRT_NAMED_BOOL = 4 };
enum { PJRT_ONLY_DURING_CALL = 0, PJRT_UNTIL_TRANSFER_COMPLETES = 1 };

#define PJRT_HEAD       \
    size_t struct_size; \
    void *extension_start

typedef struct PJRT_NamedValue {
    PJRT_HEAD;
    const char *name;
    size_t name_size;
    int type;
    union {
        const char *string_value;
        int64_t int64_value;
        const int64_t *int64_array_value;
        float float_value;
        bool bool_value;
    };
    size_t value_size;
} PJRT_NamedValue;

typedef struct PJRT_Error_Destroy_Args {
    PJRT_HEAD;
    PJRT_Error *error;
} PJRT_Error_Destroy_Args;

typedef struct PJRT_Error_Message_Args {
    PJRT_HEAD;
    const PJRT_Error *error;
    const char *message;
    size_t message_size;
} PJRT_Error_Message_Args;

typedef struct PJRT_Error_GetCode_Args {
    PJRT_HEAD;
    const PJRT_Error *error;
    int code;
} PJRT_Error_GetCode_Args;

typedef struct PJRT_Plugin_Initialize_Args {
    PJRT_HEAD;
} PJRT_Plugin_Initialize_Args;

typedef struct PJRT_Event_Destroy_Args {
    PJRT_HEAD;
    PJRT_Event *event;
} PJRT_Event_Destroy_Args;

typedef struct PJRT_Event_IsReady_Args {
    PJRT_HEAD;
    PJRT_Event *event;
    bool is_ready;
} PJRT_Event_IsReady_Args;

typedef struct PJRT_Event_Await_Args {
    PJRT_HEAD;
    PJRT_Event *event;
} PJRT_Event_Await_Args;

typedef struct PJRT_Client_Create_Args {
    PJRT_HEAD;
    const PJRT_NamedValue *create_options;
    size_t num_options;
    void *kv_get_callback;
    void *kv_get_user_arg;
    void *kv_put_callback;
    void *kv_put_user_arg;
    PJRT_Client *client;
    void *kv_try_get_callback;
    void *kv_try_get_user_arg;
} PJRT_Client_Create_Args;

typedef struct PJRT_Client_PlatformName_Args {
    PJRT_HEAD;
    PJRT_Client *client;
    const char *platform_name;
    size_t platform_name_size;
} PJRT_Client_PlatformName_Args;

typedef struct PJRT_Client_PlatformVersion_Args {
    PJRT_HEAD;
    PJRT_Client *client;
    const char *platform_version;
    size_t platform_version_size;
} PJRT_Client_PlatformVersion_Args;

typedef struct PJRT_Client_AddressableDevices_Args {
    PJRT_HEAD;
    PJRT_Client *client;
    PJRT_Device *const *addressable_devices;
    size_t num_addressable_devices;
} PJRT_Client_AddressableDevices_Args;

typedef struct PJRT_Program {
    PJRT_HEAD;
    char *code;
    size_t code_size;
    const char *format;
    size_t format_size;
} PJRT_Program;

typedef struct PJRT_Client_Compile_Args {
    PJRT_HEAD;
    PJRT_Client *client;
    const PJRT_Program *program;
    const char *compile_options;
    size_t compile_options_size;
    PJRT_LoadedExecutable *executable;
} PJRT_Client_Compile_Args;

typedef struct PJRT_Client_BufferFromHostBuffer_Args {
    PJRT_HEAD;
    PJRT_Client *client;
    const void *data;
    int type;
    const int64_t *dims;
    size_t num_dims;
    const int64_t *byte_strides;
    size_t num_byte_strides;
    int host_buffer_semantics;
    PJRT_Device *device;
    void *memory;
    void *device_layout;
    PJRT_Event *done_with_host_buffer;
    PJRT_Buffer *buffer;
} PJRT_Client_BufferFromHostBuffer_Args;

typedef struct PJRT_Device_GetDescription_Args {
    PJRT_HEAD;
    PJRT_Device *device;
    PJRT_DeviceDescription *device_description;
} PJRT_Device_GetDescription_Args;

typedef struct PJRT_DeviceDescription_Kind_Args {
    PJRT_HEAD;
    PJRT_DeviceDescription *device_description;
    const char *device_kind;
    size_t device_kind_size;
} PJRT_DeviceDescription_Kind_Args;

typedef struct PJRT_Device_MemoryStats_Args {
    PJRT_HEAD;
    PJRT_Device *device;
    int64_t bytes_in_use;
    int64_t peak_bytes_in_use;
    bool peak_bytes_in_use_is_set;
    int64_t num_allocs;
    bool num_allocs_is_set;
    int64_t largest_alloc_size;
    bool largest_alloc_size_is_set;
    int64_t bytes_limit;
    bool bytes_limit_is_set;
    int64_t bytes_reserved;
    bool bytes_reserved_is_set;
    int64_t peak_bytes_reserved;
    bool peak_bytes_reserved_is_set;
    int64_t bytes_reservable_limit;
    bool bytes_reservable_limit_is_set;
    int64_t largest_free_block_bytes;
    bool largest_free_block_bytes_is_set;
    int64_t pool_bytes;
    bool pool_bytes_is_set;
    int64_t peak_pool_bytes;
    bool peak_pool_bytes_is_set;
} PJRT_Device_MemoryStats_Args;

typedef struct PJRT_Executable_Destroy_Args {
    PJRT_HEAD;
    PJRT_Executable *executable;
} PJRT_Executable_Destroy_Args;

typedef struct PJRT_Executable_NumOutputs_Args {
    PJRT_HEAD;
    PJRT_Executable *executable;
    size_t num_outputs;
} PJRT_Executable_NumOutputs_Args;

typedef struct PJRT_Executable_GetCompiledMemoryStats_Args {
    PJRT_HEAD;
    PJRT_Executable *executable;
    int64_t generated_code_size_in_bytes;
    int64_t argument_size_in_bytes;
    int64_t output_size_in_bytes;
    int64_t alias_size_in_bytes;
    int64_t temp_size_in_bytes;
    int64_t host_generated_code_size_in_bytes;
    int64_t host_argument_size_in_bytes;
    int64_t host_output_size_in_bytes;
    int64_t host_alias_size_in_bytes;
    int64_t host_temp_size_in_bytes;
} PJRT_Executable_GetCompiledMemoryStats_Args;

typedef struct PJRT_Executable_Serialize_Args {
    PJRT_HEAD;
    const PJRT_Executable *executable;
    const char *serialized_bytes;
    size_t serialized_bytes_size;
    PJRT_SerializedExecutable *serialized_executable;
    void (*serialized_executable_deleter)(PJRT_SerializedExecutable *);
} PJRT_Executable_Serialize_Args;

typedef struct PJRT_Executable_DeserializeAndLoad_Args {
    PJRT_HEAD;
    PJRT_Client *client;
    const char *serialized_executable;
    size_t serialized_executable_size;
    PJRT_LoadedExecutable *loaded_executable;
    const char *overridden_serialized_compile_options;
    size_t overridden_serialized_compile_options_size;
} PJRT_Executable_DeserializeAndLoad_Args;

typedef struct PJRT_LoadedExecutable_Destroy_Args {
    PJRT_HEAD;
    PJRT_LoadedExecutable *executable;
} PJRT_LoadedExecutable_Destroy_Args;

typedef struct PJRT_LoadedExecutable_GetExecutable_Args {
    PJRT_HEAD;
    PJRT_LoadedExecutable *loaded_executable;
    PJRT_Executable *executable;
} PJRT_LoadedExecutable_GetExecutable_Args;

typedef struct PJRT_ExecuteOptions {
    PJRT_HEAD;
    void *send_callbacks;
    void *recv_callbacks;
    size_t num_send_ops;
    size_t num_recv_ops;
    int launch_id;
    const int64_t *non_donatable_input_indices;
    size_t num_non_donatable_input_indices;
    void *context;
    const char *call_location;
    size_t num_tasks;
    int *task_ids;
    int64_t *incarnation_ids;
} PJRT_ExecuteOptions;

typedef struct PJRT_LoadedExecutable_Execute_Args {
    PJRT_HEAD;
    PJRT_LoadedExecutable *executable;
    PJRT_ExecuteOptions *options;
    PJRT_Buffer *const *const *argument_lists;
    size_t num_devices;
    size_t num_args;
    PJRT_Buffer **const *output_lists;
    PJRT_Event **device_complete_events;
    PJRT_Device *execute_device;
} PJRT_LoadedExecutable_Execute_Args;

typedef struct PJRT_Buffer_Destroy_Args {
    PJRT_HEAD;
    PJRT_Buffer *buffer;
} PJRT_Buffer_Destroy_Args;

typedef struct PJRT_Buffer_ToHostBuffer_Args {
    PJRT_HEAD;
    PJRT_Buffer *src;
    void *host_layout;
    void *dst;
    size_t dst_size;
    PJRT_Event *event;
} PJRT_Buffer_ToHostBuffer_Args;

#define PJRT_CALL(name) PJRT_Error *(*name)(name##_Args *)
/* A function of the table that is not called here. */
#define PJRT_SKIP(name) void (*name)(void)

typedef struct PJRT_Api {
    PJRT_HEAD;
    struct {
        PJRT_HEAD;
        int major_version;
        int minor_version;
    } pjrt_api_version;

    void (*PJRT_Error_Destroy)(PJRT_Error_Destroy_Args *);
    void (*PJRT_Error_Message)(PJRT_Error_Message_Args *);
    PJRT_CALL(PJRT_Error_GetCode);
    PJRT_CALL(PJRT_Plugin_Initialize);
    PJRT_SKIP(PJRT_Plugin_Attributes);
    PJRT_CALL(PJRT_Event_Destroy);
    PJRT_CALL(PJRT_Event_IsReady);
    PJRT_SKIP(PJRT_Event_Error);
    PJRT_CALL(PJRT_Event_Await);
    PJRT_SKIP(PJRT_Event_OnReady);
    PJRT_CALL(PJRT_Client_Create);
    PJRT_SKIP(PJRT_Client_Destroy);
    PJRT_CALL(PJRT_Client_PlatformName);
    PJRT_SKIP(PJRT_Client_ProcessIndex);
    PJRT_CALL(PJRT_Client_PlatformVersion);
    PJRT_SKIP(PJRT_Client_Devices);
    PJRT_CALL(PJRT_Client_AddressableDevices);
    PJRT_SKIP(PJRT_Client_LookupDevice);
    PJRT_SKIP(PJRT_Client_LookupAddressableDevice);
    PJRT_SKIP(PJRT_Client_AddressableMemories);
    PJRT_CALL(PJRT_Client_Compile);
    PJRT_SKIP(PJRT_Client_DefaultDeviceAssignment);
    PJRT_CALL(PJRT_Client_BufferFromHostBuffer);
    PJRT_SKIP(PJRT_DeviceDescription_Id);
    PJRT_SKIP(PJRT_DeviceDescription_ProcessIndex);
    PJRT_SKIP(PJRT_DeviceDescription_Attributes);
    PJRT_CALL(PJRT_DeviceDescription_Kind);
    PJRT_SKIP(PJRT_DeviceDescription_DebugString);
    PJRT_SKIP(PJRT_DeviceDescription_ToString);
    PJRT_CALL(PJRT_Device_GetDescription);
    PJRT_SKIP(PJRT_Device_IsAddressable);
    PJRT_SKIP(PJRT_Device_LocalHardwareId);
    PJRT_SKIP(PJRT_Device_AddressableMemories);
    PJRT_SKIP(PJRT_Device_DefaultMemory);
    PJRT_CALL(PJRT_Device_MemoryStats);
    PJRT_SKIP(PJRT_Memory_Id);
    PJRT_SKIP(PJRT_Memory_Kind);
    PJRT_SKIP(PJRT_Memory_DebugString);
    PJRT_SKIP(PJRT_Memory_ToString);
    PJRT_SKIP(PJRT_Memory_AddressableByDevices);
    PJRT_CALL(PJRT_Executable_Destroy);
    PJRT_SKIP(PJRT_Executable_Name);
    PJRT_SKIP(PJRT_Executable_NumReplicas);
    PJRT_SKIP(PJRT_Executable_NumPartitions);
    PJRT_CALL(PJRT_Executable_NumOutputs);
    PJRT_SKIP(PJRT_Executable_SizeOfGeneratedCodeInBytes);
    PJRT_SKIP(PJRT_Executable_GetCostAnalysis);
    PJRT_SKIP(PJRT_Executable_OutputMemoryKinds);
    PJRT_SKIP(PJRT_Executable_OptimizedProgram);
    PJRT_CALL(PJRT_Executable_Serialize);
    PJRT_CALL(PJRT_LoadedExecutable_Destroy);
    PJRT_CALL(PJRT_LoadedExecutable_GetExecutable);
    PJRT_SKIP(PJRT_LoadedExecutable_AddressableDevices);
    PJRT_SKIP(PJRT_LoadedExecutable_Delete);
    PJRT_SKIP(PJRT_LoadedExecutable_IsDeleted);
    PJRT_CALL(PJRT_LoadedExecutable_Execute);
    PJRT_CALL(PJRT_Executable_DeserializeAndLoad);
    PJRT_SKIP(PJRT_LoadedExecutable_Fingerprint);
    PJRT_CALL(PJRT_Buffer_Destroy);
    PJRT_SKIP(PJRT_Buffer_ElementType);
    PJRT_SKIP(PJRT_Buffer_Dimensions);
    PJRT_SKIP(PJRT_Buffer_UnpaddedDimensions);
    PJRT_SKIP(PJRT_Buffer_DynamicDimensionIndices);
    PJRT_SKIP(PJRT_Buffer_GetMemoryLayout);
    PJRT_SKIP(PJRT_Buffer_OnDeviceSizeInBytes);
    PJRT_SKIP(PJRT_Buffer_Device);
    PJRT_SKIP(PJRT_Buffer_Memory);
    PJRT_SKIP(PJRT_Buffer_Delete);
    PJRT_SKIP(PJRT_Buffer_IsDeleted);
    PJRT_SKIP(PJRT_Buffer_CopyToDevice);
    PJRT_CALL(PJRT_Buffer_ToHostBuffer);
    PJRT_SKIP(PJRT_Buffer_IsOnCpu);
    PJRT_SKIP(PJRT_Buffer_ReadyEvent);
    PJRT_SKIP(PJRT_Buffer_UnsafePointer);
    PJRT_SKIP(PJRT_Buffer_IncreaseExternalReferenceCount);
    PJRT_SKIP(PJRT_Buffer_DecreaseExternalReferenceCount);
    PJRT_SKIP(PJRT_Buffer_OpaqueDeviceMemoryDataPointer);
    PJRT_SKIP(PJRT_CopyToDeviceStream_Destroy);
    PJRT_SKIP(PJRT_CopyToDeviceStream_AddChunk);
    PJRT_SKIP(PJRT_CopyToDeviceStream_TotalBytes);
    PJRT_SKIP(PJRT_CopyToDeviceStream_GranuleSize);
    PJRT_SKIP(PJRT_CopyToDeviceStream_CurrentBytes);
    PJRT_SKIP(PJRT_TopologyDescription_Create);
    PJRT_SKIP(PJRT_TopologyDescription_Destroy);
    PJRT_SKIP(PJRT_TopologyDescription_PlatformName);
    PJRT_SKIP(PJRT_TopologyDescription_PlatformVersion);
    PJRT_SKIP(PJRT_TopologyDescription_GetDeviceDescriptions);
    PJRT_SKIP(PJRT_TopologyDescription_Serialize);
    PJRT_SKIP(PJRT_TopologyDescription_Attributes);
    PJRT_SKIP(PJRT_Compile);
    PJRT_SKIP(PJRT_Executable_OutputElementTypes);
    PJRT_SKIP(PJRT_Executable_OutputDimensions);
    PJRT_SKIP(PJRT_Buffer_CopyToMemory);
    PJRT_SKIP(PJRT_Client_CreateViewOfDeviceBuffer);
    PJRT_SKIP(PJRT_Executable_Fingerprint);
    PJRT_SKIP(PJRT_Client_TopologyDescription);
    PJRT_CALL(PJRT_Executable_GetCompiledMemoryStats);
} PJRT_Api;

#endif
