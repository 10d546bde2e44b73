/* Aligned memory through a replaceable allocator. Everything whose size depends on the caller's data comes from here, so that a
 * failed allocation is a NULL to be reported, never a crash. */
#ifndef MK_MEMORY_H
#define MK_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum { MK_ALIGNMENT = 64 };

typedef void *(*mk_allocate_fn)(size_t bytes, size_t alignment, void *user);
typedef void (*mk_release_fn)(void *memory, size_t bytes, void *user);

/* Replaces the allocator for later allocations; blocks remember the allocator they came from. NULL, NULL restores the default. */
void mk_set_allocator(mk_allocate_fn allocate, mk_release_fn release, void *user);

/* Bytes that malloc can still give after an allocation. Small objects come from malloc, and that one fails ends the process: large memory
 * is refused first, where it is an error. */
enum { MK_HEADROOM = 1 << 20 };

/* Whether malloc can give this many bytes now. */
int32_t mk_has_room(int64_t bytes);

/* `bytes` of memory aligned to MK_ALIGNMENT, not zeroed; NULL when bytes < 0, on overflow, when the allocator fails, or when less than
 * MK_HEADROOM would be left. */
void *mk_allocate(int64_t bytes);
void *mk_allocate_zeroed(int64_t bytes);
void mk_release(void *memory); /* NULL is allowed */

/* Bytes now held, and the largest value that ever was (for the tests of the memory plan and of leaks). */
int64_t mk_bytes_in_use(void);
int64_t mk_bytes_peak(void);
void mk_reset_bytes_peak(void);

#endif
