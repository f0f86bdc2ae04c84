// SPDX-License-Identifier: Apache-2.0
#include "ops/pyramid/pyramid.h"

#include <algorithm>

#include "core/arena.h"
#include "core/grey_image.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

int64_t rows_grain(int64_t values) { return std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(values, 1)); }

// n pixels, each `step` numbers further on, to or from neighbours: kernels then read and write these.
template <int kChannels>
void move_pixels(const float* from, int64_t from_step, float* to, int64_t to_step, int64_t n,
                 int64_t channels) {
  const int64_t c = kChannels > 0 ? kChannels : channels;
  for (int64_t j = 0; j < n; ++j) std::copy_n(from + j * from_step, c, to + j * to_step);
}

void move_pixels(const float* from, int64_t from_step, float* to, int64_t to_step, int64_t n,
                 int64_t channels) {
  if (channels == 1) return move_pixels<1>(from, from_step, to, to_step, n, 1);
  if (channels == 3) return move_pixels<3>(from, from_step, to, to_step, n, 3);
  move_pixels<0>(from, from_step, to, to_step, n, channels);
}

}  // namespace

void pyr_down(const Nhwc<const float>& x, const Nhwc<float>& y) {
  const int64_t c = x.c, length = x.w * c, half = y.w * c;
  const PyramidKernels& kernels = pyramid_kernels();
  parallel_for(y.h, rows_grain(2 * length), [&](int64_t begin, int64_t end) {
    const Scratch<float> row_memory(length + 4 * c), even_memory(half + 2 * c), odd_memory(half + c);
    float *const row = row_memory + 2 * c, *const even = even_memory + c, *const odd = odd_memory + c;
    for (int64_t i = begin; i < end; ++i) {
      const float* r[5];
      for (int k = 0; k < 5; ++k) r[k] = x.at(0, mirrored(2 * i + k - 2, x.h), 0);
      kernels.weigh5(r, 1.0f / 256, length, row);
      for (int64_t k = 1; k <= 2; ++k) {
        std::copy_n(row + mirrored(-k, x.w) * c, c, row - k * c);
        std::copy_n(row + mirrored(x.w - 1 + k, x.w) * c, c, row + (x.w - 1 + k) * c);
      }
      // Pixels -2, 0, 2, … and -1, 1, 3, … of the row.
      move_pixels(row - 2 * c, 2 * c, even - c, c, y.w + 2, c);
      move_pixels(row - c, 2 * c, odd - c, c, y.w + 1, c);
      const float* const across[5] = {even - c, odd - c, even, odd, even + c};
      kernels.weigh5(across, 1, half, y.at(0, i, 0));
    }
  });
}

void pyr_up(const Nhwc<const float>& x, const Nhwc<float>& y) {
  const int64_t c = x.c, length = x.w * c;
  const PyramidKernels& kernels = pyramid_kernels();
  const auto before = [](int64_t i, int64_t n) { return i > 0 ? i - 1 : std::min<int64_t>(1, n - 1); };
  const auto behind = [](int64_t i, int64_t n) { return std::min(i + 1, n - 1); };
  parallel_for(y.h, rows_grain(2 * y.w * c), [&](int64_t begin, int64_t end) {
    const Scratch<float> memory(length + 2 * c), even(length), odd(length);
    float* const row = memory + c;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i / 2;  // [0, x.h)
      const float *above = x.at(0, before(at, x.h), 0), *here = x.at(0, at, 0),
                  *below = x.at(0, behind(at, x.h), 0);
      if (i % 2 == 0)
        kernels.weigh3(above, here, below, length, row);
      else
        kernels.mean2(here, below, length, row);
      std::copy_n(row + before(0, x.w) * c, c, row - c);
      std::copy_n(row + (x.w - 1) * c, c, row + length);
      kernels.weigh3(row - c, row, row + c, length, even);
      kernels.mean2(row, row + c, length, odd);
      float* const out = y.at(0, i, 0);
      move_pixels(even, c, out, 2 * c, x.w, c);
      move_pixels(odd, c, out + c, 2 * c, y.w / 2, c);
    }
  });
}

}  // namespace pyvision
