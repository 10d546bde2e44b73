#define _DEFAULT_SOURCE /* madvise */
#include "mk_memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* An allocator is immutable once published, so that readers need no lock and fork cannot catch one held. */
typedef struct allocator {
    mk_allocate_fn allocate;
    mk_release_fn release;
    void *user;
    struct allocator *next; /* every allocator ever set, so that setting the same one again adds nothing */
} allocator;

/* Lies in front of every block and fills one alignment unit. */
typedef struct header {
    const allocator *owner;
    size_t total; /* bytes asked of the owner, header included */
} header;

_Static_assert(sizeof(header) <= MK_ALIGNMENT, "the header must fit in front of an aligned block");

/* Blocks of this size and more get huge pages where the system grants them: kernels walk hundreds of megabytes a step, and
 * with 4 KiB pages a good part of that time goes to address translation. */
enum { HUGE_PAGE = 2 << 20, HUGE_BLOCK = 4 << 20 };

/* Below this the headroom is not looked at. */
enum { SMALL = 1024 };

static void *default_allocate(size_t bytes, size_t alignment, void *user) {
    (void)user;
    void *memory = NULL;
    const int huge = bytes >= HUGE_BLOCK;
    if (posix_memalign(&memory, huge ? HUGE_PAGE : alignment, bytes) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

static void default_release(void *memory, size_t bytes, void *user) {
    (void)bytes;
    (void)user;
    free(memory);
}

static allocator default_allocator = {default_allocate, default_release, NULL, NULL};
static allocator *current = &default_allocator;
static allocator *known = &default_allocator;
static int64_t in_use;
static int64_t peak;

void mk_set_allocator(mk_allocate_fn allocate, mk_release_fn release, void *user) {
    allocator *chosen = &default_allocator;
    if (allocate != NULL && release != NULL) {
        allocator *head = __atomic_load_n(&known, __ATOMIC_ACQUIRE);
        for (chosen = head; chosen != NULL; chosen = chosen->next)
            if (chosen->allocate == allocate && chosen->release == release && chosen->user == user) break;
        if (chosen == NULL) {
            chosen = malloc(sizeof *chosen);
            if (chosen == NULL) return; /* the allocator in force stays */
            *chosen = (allocator){allocate, release, user, head};
            while (!__atomic_compare_exchange_n(&known, &chosen->next, chosen, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {}
        }
    }
    __atomic_store_n(&current, chosen, __ATOMIC_RELEASE);
}

static void count(int64_t change) {
    int64_t now = __atomic_add_fetch(&in_use, change, __ATOMIC_RELAXED);
    int64_t seen = __atomic_load_n(&peak, __ATOMIC_RELAXED);
    while (now > seen && !__atomic_compare_exchange_n(&peak, &seen, now, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

int32_t mk_has_room(int64_t bytes) {
    if (bytes < 0 || (uint64_t)bytes > (uint64_t)PTRDIFF_MAX) return 0;
    void *volatile memory = malloc((size_t)bytes); /* volatile: or the pair is optimised away */
    free(memory);
    return memory != NULL || bytes == 0;
}

void *mk_allocate(int64_t bytes) {
    if (bytes < 0 || (uint64_t)bytes > (uint64_t)PTRDIFF_MAX - 2 * MK_ALIGNMENT) return NULL;
    const allocator *owner = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    size_t total = (size_t)bytes + MK_ALIGNMENT;
    char *memory = owner->allocate(total, MK_ALIGNMENT, owner->user);
    if (memory == NULL) return NULL;
    if ((uintptr_t)memory % MK_ALIGNMENT != 0 || /* a host's allocator that ignores the alignment: vector code would fault */
        (bytes >= SMALL && !mk_has_room(MK_HEADROOM))) {
        owner->release(memory, total, owner->user);
        return NULL;
    }
    header head = {owner, total};
    memcpy(memory, &head, sizeof head);
    count(bytes);
    return memory + MK_ALIGNMENT;
}

void *mk_allocate_zeroed(int64_t bytes) {
    void *memory = mk_allocate(bytes);
    if (memory != NULL) memset(memory, 0, (size_t)bytes);
    return memory;
}

void mk_release(void *memory) {
    if (memory == NULL) return;
    char *block = (char *)memory - MK_ALIGNMENT;
    header head;
    memcpy(&head, block, sizeof head);
    count(-(int64_t)(head.total - MK_ALIGNMENT));
    head.owner->release(block, head.total, head.owner->user);
}

int64_t mk_bytes_in_use(void) { return __atomic_load_n(&in_use, __ATOMIC_RELAXED); }

int64_t mk_bytes_peak(void) { return __atomic_load_n(&peak, __ATOMIC_RELAXED); }

void mk_reset_bytes_peak(void) { __atomic_store_n(&peak, mk_bytes_in_use(), __ATOMIC_RELAXED); }
