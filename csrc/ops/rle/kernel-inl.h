// SPDX-License-Identifier: Apache-2.0
#include "ops/rle/rle.h"
#include "simd/bytes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// rows[i] bit j becomes rows[j] bit i: squares off the diagonal change places, 32 bits wide, then 16, down
// to 1.
inline void transpose_bits(uint64_t (&rows)[64]) {
  uint64_t mask = 0x00000000ffffffff;
  for (int width = 32; width != 0; width >>= 1, mask ^= mask << width) {
    for (int i = 0; i < 64; i += 2 * width) {
      for (int k = i; k < i + width; ++k) {
        const uint64_t moved = (rows[k] >> width ^ rows[k + width]) & mask;
        rows[k] ^= moved << width;
        rows[k + width] ^= moved;
      }
    }
  }
}

inline void pack_columns(const uint8_t* mask, int64_t h, int64_t w, uint64_t* blocks, uint64_t* bits) {
  const int64_t words = (h + 63) / 64;
  for (int64_t k = 0; k < words; ++k) {
    const int64_t count = h - 64 * k < 64 ? h - 64 * k : 64;
    // Row by row, so that memory is read in order.
    for (int64_t r = 0; r < count; ++r, mask += w) {
      uint64_t* p = blocks + r;
      int64_t first = 0;
      for (; first + 64 <= w; first += 64, p += 64) *p = nonzero_bytes(mask + first);
      if (first < w) *p = nonzero_bytes_n(mask + first, w - first);
    }
    for (int64_t first = 0; first < w; first += 64) {
      uint64_t (&rows)[64] = *reinterpret_cast<uint64_t (*)[64]>(blocks + first);
      for (int64_t r = count; r < 64; ++r) rows[r] = 0;
      uint64_t any = 0;
      for (int r = 0; r < 64; ++r) any |= rows[r];
      if (any != 0) transpose_bits(rows);  // most of an image is empty
      for (int64_t c = 0; c < 64 && first + c < w; ++c) bits[(first + c) * words + k] = rows[c];
    }
  }
}

inline void unpack_columns(const uint64_t* bits, int64_t h, int64_t w, int64_t first, int64_t columns,
                           uint8_t* mask) {
  const int64_t words = (h + 63) / 64;
  uint64_t rows[64];
  for (int64_t k = 0; k < words; ++k) {
    const int64_t count = h - 64 * k < 64 ? h - 64 * k : 64;
    for (int64_t c = 0; c < columns; ++c) rows[c] = bits[c * words + k];
    for (int64_t c = columns; c < 64; ++c) rows[c] = 0;
    transpose_bits(rows);
    uint8_t* p = mask + 64 * k * w + first;
    for (int64_t r = 0; r < count; ++r, p += w) store_bits_as_bytes(rows[r], p, columns);
  }
}

const RleKernels rle = {F32::kIsaName, pack_columns, unpack_columns};

}  // namespace pyvision::PYVISION_ISA_NS
