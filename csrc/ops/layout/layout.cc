// SPDX-License-Identifier: Apache-2.0
#include "ops/layout/layout.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {
namespace {

// Calls body(image, first_pixel, pixels) over blocks of pixels: the axis both transposes are split along.
template <class Body>
void for_each_block(int64_t n, int64_t c, int64_t pixels, Body body) {
  if (n * c * pixels == 0) return;
  // 64 KB read and 64 KB written per block; whole cache lines of pixels, so that threads share none.
  const int64_t block = std::min(pixels, std::max<int64_t>(16, 16384 / c / 16 * 16));
  const int64_t blocks = (pixels + block - 1) / block;
  parallel_for(n * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / blocks, first = i % blocks * block;  // [0, n), [0, pixels)
      body(image, first, std::min(block, pixels - first));
    }
  });
}

}  // namespace

void nchw_to_nhwc(const float* x, float* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  const LayoutKernels& kernels = layout_kernels();
  for_each_block(n, c, pixels, [&](int64_t image, int64_t first, int64_t count) {
    kernels.transpose(x + image * c * plane + first, plane, y + (image * pixels + first) * c, c, c, count);
  });
}

void nhwc_to_nchw(const float* x, float* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  const LayoutKernels& kernels = layout_kernels();
  for_each_block(n, c, pixels, [&](int64_t image, int64_t first, int64_t count) {
    kernels.transpose(x + (image * pixels + first) * c, c, y + image * c * plane + first, plane, count, c);
  });
}

}  // namespace pyvision
