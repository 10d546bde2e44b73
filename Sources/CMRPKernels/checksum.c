#include "mk_checksum.h"

#include <pthread.h>
#include <string.h>

/* Reflected polynomial. tables[k][b]: the remainder of byte b followed by k zero bytes, so that eight bytes take eight look-ups. */
static const uint32_t POLYNOMIAL = 0x82F63B78u;
static uint32_t tables[8][256];
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t remainder = byte;
        for (int bit = 0; bit < 8; bit++) remainder = remainder >> 1 ^ (remainder & 1 ? POLYNOMIAL : 0);
        tables[0][byte] = remainder;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
}

uint32_t mk_crc32c_table(uint32_t crc, const void *bytes, int64_t count) {
    const uint8_t *at = bytes;
    pthread_once(&made, make_tables);
    crc = ~crc;
    for (; count >= 8; count -= 8, at += 8) {
        const uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^ tables[3][at[4]] ^
              tables[2][at[5]] ^ tables[1][at[6]] ^ tables[0][at[7]];
    }
    for (; count > 0; count--) crc = crc >> 8 ^ tables[0][(crc ^ *at++) & 255];
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t crc, const uint8_t *at, int64_t count) {
    uint64_t remainder = ~crc;
    for (; count >= 8; count -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        remainder = _mm_crc32_u64(remainder, word);
    }
    for (; count > 0; count--) remainder = _mm_crc32_u8((uint32_t)remainder, *at++);
    return ~(uint32_t)remainder;
}

uint32_t mk_crc32c(uint32_t crc, const void *bytes, int64_t count) {
    return __builtin_cpu_supports("sse4.2") ? crc32c_instruction(crc, bytes, count) : mk_crc32c_table(crc, bytes, count);
}
#else
uint32_t mk_crc32c(uint32_t crc, const void *bytes, int64_t count) { return mk_crc32c_table(crc, bytes, count); }
#endif

/* Every step is a bijection of the digest, so that one changed word always shows. */
static uint64_t mixed(uint64_t digest, uint64_t word) {
    digest = (digest ^ word) * 0x9E3779B97F4A7C15u;
    return digest ^ digest >> 29;
}

uint64_t mk_digest(uint64_t digest, const void *bytes, int64_t count) {
    const uint8_t *at = bytes;
    digest = mixed(digest, (uint64_t)count + 1);
    for (int64_t left = count; left > 0; left -= 8, at += 8) {
        uint64_t word = 0;
        memcpy(&word, at, left < 8 ? (size_t)left : 8);
        digest = mixed(digest, word);
    }
    /* The last word has reached the low bits only: two more rounds spread it (Stafford 2011). */
    digest = (digest ^ digest >> 30) * 0xBF58476D1CE4E5B9u;
    digest = (digest ^ digest >> 27) * 0x94D049BB133111EBu;
    return digest ^ digest >> 31;
}
