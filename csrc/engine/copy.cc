// SPDX-License-Identifier: Apache-2.0
#include "engine/copy.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"

namespace pyvision::engine {

void copy_map(const Nhwc<const float>& x, const Nhwc<float>& y) {
  if (x.data == y.data) return;
  const size_t pixel_bytes = static_cast<size_t>(x.c) * sizeof(float);
  const bool dense = x.stride_w == x.c && y.stride_w == x.c;
  const int64_t grain = std::max<int64_t>(1, 32768 / (x.w * x.c));  // about 10 us of copying
  parallel_for(x.n * x.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x.at(row / x.h, row % x.h, 0);
      float* to = y.at(row / x.h, row % x.h, 0);
      if (dense) {
        std::memcpy(to, from, static_cast<size_t>(x.w) * pixel_bytes);
        continue;
      }
      for (int64_t w = 0; w < x.w; ++w) std::memcpy(to + w * y.stride_w, from + w * x.stride_w, pixel_bytes);
    }
  });
}

}  // namespace pyvision::engine
