# find_package(mrp) gives the target mrp::mrp. Found from where this file lies, so the installed tree may be moved.
get_filename_component(_mrp_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT EXISTS "${_mrp_prefix}/lib/libmrp.so.0" OR NOT EXISTS "${_mrp_prefix}/include/mrp.h")
    set(mrp_FOUND FALSE)
    set(mrp_NOT_FOUND_MESSAGE "libmrp.so.0 or mrp.h is missing in ${_mrp_prefix}")
    return()
endif()
if(NOT TARGET mrp::mrp)
    add_library(mrp::mrp SHARED IMPORTED)
    set_target_properties(
        mrp::mrp
        PROPERTIES IMPORTED_LOCATION "${_mrp_prefix}/lib/libmrp.so.0"
                   IMPORTED_SONAME "libmrp.so.0"
                   INTERFACE_INCLUDE_DIRECTORIES "${_mrp_prefix}/include")
endif()
unset(_mrp_prefix)
