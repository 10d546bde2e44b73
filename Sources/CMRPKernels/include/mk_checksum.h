/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): what checkpoints and TensorBoard's event files carry to tell that they are whole. Beside it
 * a longer digest that tells contents apart. */
#ifndef MK_CHECKSUM_H
#define MK_CHECKSUM_H

#include <stdint.h>

/* The checksum of `bytes` that follow what gave `crc` (0 at the start). */
uint32_t mk_crc32c(uint32_t crc, const void *bytes, int64_t count);

/* The same without the processor's instruction, for machines that lack it and for tests. */
uint32_t mk_crc32c_table(uint32_t crc, const void *bytes, int64_t count);

/* A digest of 64 bits of `bytes` that follow what gave `digest` (0 at the start); the pieces count, not only their sum. Not against people
 * who want two contents to have the same. */
uint64_t mk_digest(uint64_t digest, const void *bytes, int64_t count);

#endif
