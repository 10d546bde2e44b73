/* CRC-32C against the vectors of RFC 3720 (B.4) and against the definition bit by bit, for every length and offset near the block size. */
#include "mk_checksum.h"

#include <string.h>

#include "check.h"

static uint32_t by_definition(uint32_t crc, const uint8_t *bytes, int64_t count) {
    crc = ~crc;
    for (int64_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

int main(void) {
    uint8_t bytes[300];
    memset(bytes, 0, 32);
    CHECK(mk_crc32c(0, bytes, 32) == 0x8A9136AAu, "zeros");
    memset(bytes, 255, 32);
    CHECK(mk_crc32c(0, bytes, 32) == 0x62A8AB43u, "ones");
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    CHECK(mk_crc32c(0, bytes, 32) == 0x46DD794Eu, "rising");
    CHECK(mk_crc32c(0, "123456789", 9) == 0xE3069283u, "digits");
    for (int i = 0; i < 300; i++) bytes[i] = (uint8_t)(i * i * 31 + i);
    for (int first = 0; first < 9; first++) {
        for (int count = 0; count < 70; count++) {
            const uint32_t expected = by_definition(7, bytes + first, count);
            CHECK(mk_crc32c(7, bytes + first, count) == expected, "%d bytes at %d", count, first);
            CHECK(mk_crc32c_table(7, bytes + first, count) == expected, "table, %d bytes at %d", count, first);
            CHECK(mk_crc32c(mk_crc32c(0, bytes, count), bytes + count, first) == by_definition(0, bytes, count + first), "in two pieces");
        }
    }
    /* The digest sees every bit, the length and where the pieces end. */
    memset(bytes, 0, sizeof bytes);
    for (int count = 1; count < 70; count++) {
        const uint64_t zeros = mk_digest(0, bytes, count);
        CHECK(zeros != mk_digest(0, bytes, count - 1) && zeros != mk_digest(1, bytes, count), "%d zeros", count);
        CHECK(zeros != mk_digest(mk_digest(0, bytes, count - 1), bytes, 1), "%d zeros in two pieces", count);
        for (int bit = 0; bit < 8 * count; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK(mk_digest(0, bytes, count) != zeros, "bit %d of %d bytes", bit, count);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    return check_result("checksum");
}
