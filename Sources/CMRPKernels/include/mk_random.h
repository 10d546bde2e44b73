/* Counter-based random numbers: Philox-4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
 * A number is a function of (seed, stream, step, index) alone. */
#ifndef MK_RANDOM_H
#define MK_RANDOM_H

#include <stdint.h>

/* Four 32-bit words for one counter. key = seed; counter = (index, step, stream): index 64 bits, step and stream 32 bits. */
void mk_philox(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index, uint32_t out[4]);

/* out[i] = uniform in [0, 1) with 24 random bits, from word i % 4 of counter first / 4 + i / 4 (first is a multiple of 4). */
void mk_random_uniform(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first, int64_t count, float *out);

/* out[i] ~ N(0, 1) by Box-Muller on pairs of words, computed in double. Same counter rule. */
void mk_random_normal(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first, int64_t count, float *out);

#endif
