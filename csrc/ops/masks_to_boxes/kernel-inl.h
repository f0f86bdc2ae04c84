// SPDX-License-Identifier: Apache-2.0
#include "ops/masks_to_boxes/masks_to_boxes.h"
#include "simd/bytes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// The index of the first byte of n that is not 0, or n.
inline int64_t first_nonzero(const uint8_t* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 64) {
    const uint64_t bits = n - i >= 64 ? nonzero_bytes(p + i) : nonzero_bytes_n(p + i, n - i);
    if (bits != 0) return i + __builtin_ctzll(bits);
  }
  return n;
}

// The index of the last one, or -1.
inline int64_t last_nonzero(const uint8_t* p, int64_t n) {
  for (int64_t i = n; i > 0; i -= 64) {
    const int64_t start = i > 64 ? i - 64 : 0;
    const uint64_t bits = i >= 64 ? nonzero_bytes(p + start) : nonzero_bytes_n(p, i);
    if (bits != 0) return start + 63 - __builtin_clzll(bits);
  }
  return -1;
}

// Rows narrow the box from both ends, columns widen it: a row is read only outside the columns found so far.
inline void box_of_mask(const uint8_t* mask, int64_t h, int64_t w, float* box) {
  const int64_t first = first_nonzero(mask, h * w);
  box[0] = box[1] = box[2] = box[3] = 0;
  if (first == h * w) return;
  const int64_t last = last_nonzero(mask, h * w);
  const int64_t y1 = first / w, y2 = last / w;
  int64_t x1 = first % w, x2 = last % w;
  if (x1 > x2) x2 = x1;  // one of the two columns will do to begin with
  for (int64_t y = y1; y <= y2; ++y) {
    const uint8_t* row = mask + y * w;
    x1 = first_nonzero(row, x1);  // x1 itself where none is further left
    x2 += 1 + last_nonzero(row + x2 + 1, w - x2 - 1);
  }
  box[0] = static_cast<float>(x1);
  box[1] = static_cast<float>(y1);
  box[2] = static_cast<float>(x2);
  box[3] = static_cast<float>(y2);
}

const MasksToBoxesKernels masks_to_boxes = {F32::kIsaName, box_of_mask};

}  // namespace pyvision::PYVISION_ISA_NS
