// SPDX-License-Identifier: Apache-2.0
#include "ops/grey_filters/integral_image.h"

#include <algorithm>

#include "core/parallel.h"
#include "ops/grey_filters/grey_filters.h"

namespace pyvision {

IntegralImage integrate(const AnyImage& image, int32_t* memory) {
  constexpr int64_t kBandRows = 64;
  const int64_t h = image.h, w = image.w, pitch = IntegralImage::stride_of(w),
                bands = (h + kBandRows - 1) / kBandRows;
  constexpr float level = 1 << kIntegralFractionBits;
  const GreyFiltersKernels& kernels = grey_filters_kernels();
  const auto row_of = [&](int64_t y) { return memory + y * pitch; };
  const auto end_of = [&](int64_t band) { return std::min(h, (band + 1) * kBandRows); };
  std::fill_n(row_of(0), pitch, 0);
  std::fill_n(row_of(h) + pitch, kIntegralReadAhead, 0);
  // What each band of rows adds to the row behind it; then these rows themselves; then the rows between.
  parallel_for(bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      int32_t* const sums = row_of(end_of(b));
      std::fill_n(sums, pitch, 0);
      for (int64_t y = b * kBandRows; y < end_of(b); ++y) kernels.add_row(image, y, level, sums);
    }
  });
  for (int64_t b = 0; b < bands; ++b) {
    const int32_t* const before = row_of(b * kBandRows);
    int32_t* const row = row_of(end_of(b));
    uint32_t sum = 0;
    for (int64_t x = 1; x <= w; ++x) {
      sum += static_cast<uint32_t>(row[x]);
      row[x] = static_cast<int32_t>(static_cast<uint32_t>(before[x]) + sum);
    }
  }
  parallel_for(bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      for (int64_t y = b * kBandRows; y + 1 < end_of(b); ++y)
        kernels.integrate_row(image, y, level, row_of(y), row_of(y + 1));
  });
  return {memory, h, w};
}

}  // namespace pyvision
