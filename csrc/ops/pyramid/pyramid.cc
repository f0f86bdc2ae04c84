// SPDX-License-Identifier: Apache-2.0
#include "ops/pyramid/pyramid.h"

#include <algorithm>

#include "core/arena.h"
#include "core/grey_image.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

int64_t rows_grain(int64_t values) { return std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(values, 1)); }

}  // namespace

void pyr_down(const Nhwc<const float>& x, const Nhwc<float>& y) {
  const int64_t c = x.c, length = x.w * c;
  parallel_for(y.h, rows_grain(2 * length), [&](int64_t begin, int64_t end) {
    const Scratch<float> memory(length + 4 * c);
    float* const row = memory + 2 * c;
    for (int64_t i = begin; i < end; ++i) {
      const float* r[5];
      for (int k = 0; k < 5; ++k) r[k] = x.at(0, mirrored(2 * i + k - 2, x.h), 0);
      for (int64_t k = 0; k < length; ++k)
        row[k] = (r[0][k] + r[4][k] + 4 * (r[1][k] + r[3][k]) + 6 * r[2][k]) * (1.0f / 256);
      for (int64_t k = 1; k <= 2; ++k) {
        std::copy_n(row + mirrored(-k, x.w) * c, c, row - k * c);
        std::copy_n(row + mirrored(x.w - 1 + k, x.w) * c, c, row + (x.w - 1 + k) * c);
      }
      float* const out = y.at(0, i, 0);
      for (int64_t j = 0; j < y.w; ++j) {
        const float* const p = row + 2 * j * c;
        for (int64_t k = 0; k < c; ++k)
          out[j * c + k] = p[k - 2 * c] + p[k + 2 * c] + 4 * (p[k - c] + p[k + c]) + 6 * p[k];
      }
    }
  });
}

void pyr_up(const Nhwc<const float>& x, const Nhwc<float>& y) {
  const int64_t c = x.c, length = x.w * c;
  const auto before = [](int64_t i, int64_t n) { return i > 0 ? i - 1 : std::min<int64_t>(1, n - 1); };
  const auto behind = [](int64_t i, int64_t n) { return std::min(i + 1, n - 1); };
  parallel_for(y.h, rows_grain(2 * y.w * c), [&](int64_t begin, int64_t end) {
    const Scratch<float> row(length);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i / 2;  // [0, x.h)
      const float *above = x.at(0, before(at, x.h), 0), *here = x.at(0, at, 0),
                  *below = x.at(0, behind(at, x.h), 0);
      if (i % 2 == 0)
        for (int64_t k = 0; k < length; ++k) row[k] = (above[k] + 6 * here[k] + below[k]) * (1.0f / 8);
      else
        for (int64_t k = 0; k < length; ++k) row[k] = (here[k] + below[k]) * (1.0f / 2);
      float* const out = y.at(0, i, 0);
      for (int64_t j = 0; j < x.w; ++j) {
        const float *left = row + before(j, x.w) * c, *middle = row + j * c,
                    *right = row + behind(j, x.w) * c;
        for (int64_t k = 0; k < c; ++k)
          out[2 * j * c + k] = (left[k] + 6 * middle[k] + right[k]) * (1.0f / 8);
        if (2 * j + 1 == y.w) break;
        for (int64_t k = 0; k < c; ++k) out[(2 * j + 1) * c + k] = (middle[k] + right[k]) * (1.0f / 2);
      }
    }
  });
}

}  // namespace pyvision
