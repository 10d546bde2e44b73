/* The loops of mp_kernel_table over vectors of MP_WIDTH floats; MP_TABLE is the table's name. */
#include <math.h>
#include <string.h>

/* The package says so too; this is for other builds. */
#pragma STDC FP_CONTRACT OFF

typedef float lanes __attribute__((vector_size(4 * MP_WIDTH)));
typedef int32_t words __attribute__((vector_size(4 * MP_WIDTH)));

static inline __attribute__((always_inline)) lanes load(const float *from) {
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) lanes squares(const float *planes, int64_t padded, int64_t at, const float *centre) {
    const lanes x = load(planes + at) - centre[0], y = load(planes + padded + at) - centre[1];
    const lanes z = load(planes + 2 * padded + at) - centre[2];
    return (x * x + y * y) + z * z;
}

static int64_t farthest(const float *planes, int64_t padded, const float *centre, float *distances) {
    lanes largest = (lanes){0} - 1;
    words index = {0}, here = {0};
    for (int lane = 0; lane < MP_WIDTH; lane++) here[lane] = lane;
    for (int64_t at = 0; at < padded; at += MP_WIDTH, here += MP_WIDTH) {
        const lanes square = squares(planes, padded, at, centre), before = load(distances + at);
        const words less = square < before;
        const lanes distance = (lanes)((less & (words)square) | (~less & (words)before));
        memcpy(distances + at, &distance, sizeof distance);
        const words more = distance > largest;
        largest = (lanes)((more & (words)distance) | (~more & (words)largest));
        index = (more & here) | (~more & index);
    }
    float best = largest[0];
    int32_t winner = index[0];
    for (int lane = 1; lane < MP_WIDTH; lane++) {
        if (largest[lane] > best || (largest[lane] == best && index[lane] < winner)) {
            best = largest[lane];
            winner = index[lane];
        }
    }
    return winner;
}

static int64_t nearer(const float *planes, int64_t padded, int64_t count, const float *centre, float threshold, int64_t first,
                      uint64_t *keys, int64_t *used, int64_t room) {
    int64_t filled = *used, at = first;
    for (; at < padded && filled + MP_PADDING <= room; at += MP_WIDTH) {
        const lanes square = squares(planes, padded, at, centre);
        const words less = ~(square >= threshold); /* all of them where the threshold is NaN */
        if (!__builtin_reduce_or(less)) continue;
        for (int lane = 0; lane < MP_WIDTH && at + lane < count; lane++) {
            if (!less[lane]) continue;
            const float distance = square[lane];
            uint32_t bits;
            memcpy(&bits, &distance, 4);
            keys[filled++] = (uint64_t)bits << 32 | (uint64_t)(at + lane);
        }
    }
    *used = filled;
    return at;
}

const mp_kernel_table MP_TABLE = {farthest, nearer};
