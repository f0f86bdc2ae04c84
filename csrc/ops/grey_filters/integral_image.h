// SPDX-License-Identifier: Apache-2.0
// Sums over boxes in four reads.
#pragma once

#include <cstdint>

#include "core/grey_image.h"

namespace pyvision {

// Row y, column x: the sum of all pixels above y and left of x, so that there is a row and a column more than
// the picture has. Sums wrap beyond 32 bits, and their differences are right again: of any box whose own sum
// fits.
struct IntegralImage {
  const int32_t* data = nullptr;  // (h + 1, w + 1) of rows that are `stride` long
  int64_t h = 0, w = 0;           // of the picture

  // Whole cache lines, so that vectors need not cross them.
  static int64_t stride_of(int64_t w) { return (w + 1 + 15) / 16 * 16; }
  int64_t stride() const { return stride_of(w); }
  const int32_t* row(int64_t y) const { return data + y * stride(); }
};

constexpr int kIntegralFractionBits = 8;
constexpr int64_t kIntegralReadAhead = 160;  // values that a kernel may read behind the last
inline int64_t integral_size(int64_t h, int64_t w) {
  return (h + 1) * IntegralImage::stride_of(w) + kIntegralReadAhead;
}

// Of bytes, or of floats clipped to [0, 255] and rounded to 2^-kIntegralFractionBits. memory:
// integral_size(...) values that outlive the result, at a multiple of 64 bytes
IntegralImage integrate(const AnyImage& image, int32_t* memory);

}  // namespace pyvision
