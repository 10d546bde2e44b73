#include "mk_random.h"

#include <math.h>

/* Constants of Philox4x32 (Salmon et al. 2011, section 3.3). */
static const uint32_t MULTIPLIER_0 = 0xD2511F53u, MULTIPLIER_1 = 0xCD9E8D57u;
static const uint32_t WEYL_0 = 0x9E3779B9u, WEYL_1 = 0xBB67AE85u;

void mk_philox(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index, uint32_t out[4]) {
    uint32_t x0 = (uint32_t)index, x1 = (uint32_t)(index >> 32), x2 = step, x3 = stream;
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        uint64_t product0 = (uint64_t)MULTIPLIER_0 * x0;
        uint64_t product1 = (uint64_t)MULTIPLIER_1 * x2;
        x0 = (uint32_t)(product1 >> 32) ^ x1 ^ key0;
        x1 = (uint32_t)product1;
        x2 = (uint32_t)(product0 >> 32) ^ x3 ^ key1;
        x3 = (uint32_t)product0;
        key0 += WEYL_0;
        key1 += WEYL_1;
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}

void mk_random_uniform(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first, int64_t count, float *out) {
    uint32_t words[4];
    for (int64_t i = 0; i < count; ++i) {
        if (i % 4 == 0) mk_philox(seed, stream, step, first / 4 + (uint64_t)i / 4, words);
        out[i] = (float)(words[i % 4] >> 8) * 0x1p-24f;
    }
}

void mk_random_normal(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first, int64_t count, float *out) {
    for (int64_t i = 0; i < count; i += 4) {
        uint32_t words[4];
        mk_philox(seed, stream, step, first / 4 + (uint64_t)i / 4, words);
        for (int64_t pair = 0; pair < 4 && i + pair < count; pair += 2) {
            /* + 1 keeps the logarithm's argument in (0, 1] */
            double radius = sqrt(-2.0 * log(((double)words[pair] + 1.0) * 0x1p-32));
            double angle = 2.0 * 3.14159265358979323846 * ((double)words[pair + 1] * 0x1p-32);
            out[i + pair] = (float)(radius * cos(angle));
            if (i + pair + 1 < count) out[i + pair + 1] = (float)(radius * sin(angle));
        }
    }
}
