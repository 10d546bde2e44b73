/* Random numbers one after the other: a sequence for each (seed, stream, index). */
#ifndef MP_SEQUENCE_H
#define MP_SEQUENCE_H

#include <math.h>
#include <stdint.h>

#include "mk_random.h"

typedef struct sequence {
    uint64_t seed, index;
    uint32_t stream, block, words[4];
    int left;
} sequence;

static inline uint32_t next_word(sequence *s) {
    if (s->left == 0) {
        mk_philox(s->seed, s->stream, s->block++, s->index, s->words);
        s->left = 4;
    }
    return s->words[4 - s->left--];
}

/* In [0, 1). */
static inline double next_share(sequence *s) { return (double)next_word(s) * 0x1p-32; }
static inline double next_between(sequence *s, double low, double high) { return low + (high - low) * next_share(s); }
static inline int64_t next_below(sequence *s, int64_t count) { return (int64_t)(((uint64_t)next_word(s) * (uint64_t)count) >> 32); }

/* Box & Muller; the second number of a pair is not used. */
static inline double next_normal(sequence *s) {
    const double radius = sqrt(-2 * log(1 - next_share(s)));
    return radius * cos(6.283185307179586 * next_share(s));
}

#endif
