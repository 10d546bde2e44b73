/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): what checkpoints and TensorBoard's event files carry to tell that they are whole. */
#ifndef MK_CHECKSUM_H
#define MK_CHECKSUM_H

#include <stdint.h>

/* The checksum of `bytes` that follow what gave `crc` (0 at the start). */
uint32_t mk_crc32c(uint32_t crc, const void *bytes, int64_t count);

/* The same without the processor's instruction, for machines that lack it and for tests. */
uint32_t mk_crc32c_table(uint32_t crc, const void *bytes, int64_t count);

#endif
