// SPDX-License-Identifier: Apache-2.0
#include "core/integral_image.h"

#include <algorithm>
#include <cmath>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr int64_t kBandRows = 64;

// Row y of whole numbers.
void read_row(const AnyImage& image, int64_t y, int fraction_bits, uint32_t* out) {
  if (image.bytes != nullptr) {
    const uint8_t* const row = image.bytes + y * image.stride;
    for (int64_t x = 0; x < image.w; ++x) out[x] = static_cast<uint32_t>(row[x]) << fraction_bits;
  } else {
    const float* const row = image.floats + y * image.stride;
    const auto unit = static_cast<float>(1 << fraction_bits);
    for (int64_t x = 0; x < image.w; ++x)
      out[x] =
          static_cast<uint32_t>(static_cast<int32_t>(std::min(std::max(row[x], 0.0f), 255.0f) * unit + 0.5f));
  }
}

}  // namespace

IntegralImage integrate(const AnyImage& image, int fraction_bits, int32_t* memory) {
  const int64_t h = image.h, w = image.w, pitch = IntegralImage::stride_of(w),
                bands = (h + kBandRows - 1) / kBandRows;
  const auto row_of = [&](int64_t y) { return reinterpret_cast<uint32_t*>(memory) + y * pitch; };
  const auto end_of = [&](int64_t band) { return std::min(h, (band + 1) * kBandRows); };
  std::fill_n(row_of(0), pitch, 0u);
  std::fill_n(row_of(h) + pitch, kIntegralReadAhead, 0u);
  // What each band of rows adds to the row behind it; then these rows themselves; then the rows between.
  parallel_for(bands, 1, [&](int64_t begin, int64_t end) {
    Scratch<uint32_t> pixels(w);
    for (int64_t b = begin; b < end; ++b) {
      uint32_t* const sums = row_of(end_of(b)) + 1;
      std::fill_n(sums, w, 0u);
      for (int64_t y = b * kBandRows; y < end_of(b); ++y) {
        read_row(image, y, fraction_bits, pixels);
        for (int64_t x = 0; x < w; ++x) sums[x] += pixels[x];
      }
    }
  });
  for (int64_t b = 0; b < bands; ++b) {
    const uint32_t* const before = row_of(b * kBandRows);
    uint32_t* const row = row_of(end_of(b));
    uint32_t sum = 0;
    row[0] = 0;
    for (int64_t x = 0; x < w; ++x) {
      sum += row[x + 1];
      row[x + 1] = before[x + 1] + sum;
    }
  }
  parallel_for(bands, 1, [&](int64_t begin, int64_t end) {
    Scratch<uint32_t> pixels(w);
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t y = b * kBandRows; y + 1 < end_of(b); ++y) {
        read_row(image, y, fraction_bits, pixels);
        const uint32_t* const above = row_of(y);
        uint32_t* const row = row_of(y + 1);
        uint32_t sum = 0;
        row[0] = 0;
        for (int64_t x = 0; x < w; ++x) {
          sum += pixels[x];
          row[x + 1] = above[x + 1] + sum;
        }
      }
    }
  });
  return {memory, h, w};
}

}  // namespace pyvision
