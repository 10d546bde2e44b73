/* Alignment, accounting, failure, and the replaceable allocator. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mk_memory.h"

typedef struct host {
    long allocations, releases;
    size_t bytes;
    int refuse, misalign;
} host;

static void *host_allocate(size_t bytes, size_t alignment, void *user) {
    host *h = user;
    if (h->refuse) return NULL;
    char *memory = aligned_alloc(alignment, (bytes + 2 * alignment) / alignment * alignment);
    h->allocations += 1;
    h->bytes += bytes;
    return h->misalign ? memory + 8 : memory;
}

static void host_release(void *memory, size_t bytes, void *user) {
    host *h = user;
    h->releases += 1;
    h->bytes -= bytes;
    free(h->misalign ? (char *)memory - 8 : memory);
}

static void test_alignment_and_accounting(int64_t before) {
    static const int64_t sizes[] = {0, 1, 63, 64, 65, 4096, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        char *memory = mk_allocate(sizes[i]);
        CHECK(memory != NULL && (uintptr_t)memory % MK_ALIGNMENT == 0, "%p", (void *)memory);
        CHECK(mk_bytes_in_use() == before + sizes[i], "%lld", (long long)mk_bytes_in_use());
        memset(memory, 1, (size_t)sizes[i]);
        mk_release(memory);
        CHECK(mk_bytes_in_use() == before, "%lld", (long long)mk_bytes_in_use());
    }
    mk_release(NULL);
    mk_reset_bytes_peak();
    void *large = mk_allocate(5000);
    mk_release(large);
    CHECK(mk_bytes_peak() == before + 5000, "%lld", (long long)mk_bytes_peak());
}

static void test_failures(int64_t before) {
    CHECK(mk_allocate(-1) == NULL, "negative");
    CHECK(mk_allocate(INT64_MIN) == NULL, "negative");
    CHECK(mk_allocate(INT64_MAX) == NULL, "too large");
    CHECK(mk_allocate(INT64_MAX - 64) == NULL, "too large");
    CHECK(mk_allocate((int64_t)1 << 60) == NULL, "more than there is");
    CHECK(mk_bytes_in_use() == before, "failures count");
}

static void test_zeroed(void) {
    unsigned char *zeroed = mk_allocate_zeroed(1000);
    int sum = 0;
    for (int i = 0; i < 1000; ++i) sum |= zeroed[i];
    CHECK(sum == 0, "not zeroed");
    mk_release(zeroed);
}

/* A block goes back to the allocator that it came from, whichever is set. */
static void test_replaced_allocator(void) {
    host mine = {0}, other = {0};
    void *ours = mk_allocate(10);
    mk_set_allocator(host_allocate, host_release, &mine);
    void *theirs = mk_allocate(100);
    CHECK(mine.allocations == 1 && mine.bytes >= 100, "the hook was not used");
    mk_set_allocator(host_allocate, host_release, &other);
    void *others = mk_allocate(100);
    mk_set_allocator(host_allocate, host_release, &mine);
    mk_set_allocator(NULL, NULL, NULL);
    mk_release(theirs);
    mk_release(others);
    mk_release(ours);
    CHECK(mine.releases == 1 && mine.bytes == 0, "%ld releases, %zu bytes", mine.releases, mine.bytes);
    CHECK(other.releases == 1 && other.bytes == 0, "%ld releases, %zu bytes", other.releases, other.bytes);
}

static void test_failing_allocator(void) {
    host h = {.refuse = 1};
    mk_set_allocator(host_allocate, host_release, &h);
    CHECK(mk_allocate(8) == NULL && mk_allocate_zeroed(8) == NULL, "a refusal must be NULL");
    h.refuse = 0;
    h.misalign = 1;
    CHECK(mk_allocate(8) == NULL && h.bytes == 0, "a misaligned block must be given back");
    mk_set_allocator(NULL, NULL, NULL);
}

int main(void) {
    int64_t before = mk_bytes_in_use();
    test_alignment_and_accounting(before);
    test_failures(before);
    test_zeroed();
    test_replaced_allocator();
    test_failing_allocator();
    CHECK(mk_bytes_in_use() == before, "%lld", (long long)mk_bytes_in_use());
    return check_result("test_memory");
}
