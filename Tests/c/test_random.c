/* Philox against the known answers of its authors (Random123, kat_vectors), and the two distributions. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "mk_random.h"

typedef struct answer {
    uint64_t seed;
    uint32_t stream, step;
    uint64_t index;
    uint32_t out[4];
} answer;

int main(void) {
    static const answer answers[] = {
        {0, 0, 0, 0, {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}},
        {0xffffffffffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffffffffffu, {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}},
        /* counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0 */
        {0x299f31d0a4093822u, 0x03707344u, 0x13198a2eu, 0x85a308d3243f6a88u, {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}},
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; ++i) {
        uint32_t out[4];
        mk_philox(answers[i].seed, answers[i].stream, answers[i].step, answers[i].index, out);
        CHECK(memcmp(out, answers[i].out, sizeof out) == 0, "vector %zu: %08x %08x %08x %08x", i, out[0], out[1], out[2], out[3]);
    }

    enum { COUNT = 400000 };
    static float whole[COUNT], part[COUNT];
    for (int normal = 0; normal < 2; ++normal) {
        void (*draw)(uint64_t, uint32_t, uint32_t, uint64_t, int64_t, float *) = normal ? mk_random_normal : mk_random_uniform;
        draw(5, 2, 3, 0, COUNT, whole);
        double mean = 0, square = 0, neighbours = 0;
        for (int i = 0; i < COUNT; ++i) {
            mean += whole[i];
            square += (double)whole[i] * whole[i];
            neighbours += i > 0 ? (double)whole[i] * whole[i - 1] : 0;
            CHECK(isfinite(whole[i]) && (normal || (whole[i] >= 0 && whole[i] < 1)), "%g", whole[i]);
        }
        mean /= COUNT;
        double variance = square / COUNT - mean * mean, correlation = (neighbours / COUNT - mean * mean) / variance;
        /* Five standard errors. */
        CHECK(fabs(mean - (normal ? 0 : 0.5)) < 5 * sqrt(variance / COUNT), "mean %g", mean);
        CHECK(fabs(variance - (normal ? 1 : 1 / 12.0)) < 5 * sqrt((normal ? 2.0 : 1 / 180.0) / COUNT), "variance %g", variance);
        CHECK(fabs(correlation) < 5 / sqrt(COUNT), "correlation of neighbours %g", correlation);
        /* A number depends on its place alone, not on how the call is cut. */
        for (int count = 1; count < 40; ++count) {
            draw(5, 2, 3, 1000, count, part);
            CHECK(memcmp(part, whole + 1000, (size_t)count * sizeof *part) == 0, "count %d", count);
        }
        for (int change = 0; change < 3; ++change) {
            draw(5 + (change == 0), 2 + (change == 1), 3 + (change == 2), 0, 1000, part);
            CHECK(memcmp(part, whole, 1000 * sizeof *part) != 0, "seed, stream and step must matter (%d)", change);
        }
    }
    return check_result("test_random");
}
