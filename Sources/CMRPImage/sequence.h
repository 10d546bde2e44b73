/* Random numbers of generated images: one sequence per (stream, index), the same on every machine. */
#ifndef MI_SEQUENCE_H
#define MI_SEQUENCE_H

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

static inline float uniform(sequence *s, float low, float high) { return low + (high - low) * ((float)(next_word(s) >> 8) * 0x1p-24f); }
static inline int32_t below(sequence *s, int32_t count) { return (int32_t)(((uint64_t)next_word(s) * (uint64_t)count) >> 32); }

#endif
