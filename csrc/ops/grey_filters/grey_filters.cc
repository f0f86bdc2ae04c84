// SPDX-License-Identifier: Apache-2.0
#include "ops/grey_filters/grey_filters.h"

#include <algorithm>
#include <cmath>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr int64_t kReadAhead = 64;  // sums that a row's kernel may read behind those it needs

// Rows for one share of work: about 16,000 pixels, some 5 us.
int64_t rows_grain(int64_t w) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(w, 1)); }

struct Position {
  int64_t first;  // [0, extent); the second neighbour is the next
  int weight;     // of the second, in 256ths; 0 at the borders
};

Position position_of(int64_t i, double scale, int64_t extent) {
  const double position = (static_cast<double>(i) + 0.5) * scale - 0.5;
  if (position < 0) return {0, 0};
  const int64_t first = static_cast<int64_t>(position);
  if (first >= extent - 1) return {extent - 1, 0};
  return {first, static_cast<int>(std::nearbyint((position - static_cast<double>(first)) * 256))};
}

}  // namespace

void to_grey(const uint8_t* pixels, int64_t stride_h, int64_t stride_w, int64_t h, int64_t w, uint8_t* y) {
  const GreyFiltersKernels& kernels = grey_filters_kernels();
  parallel_for(h, rows_grain(w), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernels.to_grey(pixels + r * stride_h, stride_w, w, y + r * w);
  });
}

void resize_grey(const GreyImage& x, int64_t h, int64_t w, uint8_t* y) {
  const double scale_h = static_cast<double>(x.h) / static_cast<double>(h),
               scale_w = static_cast<double>(x.w) / static_cast<double>(w);
  const int64_t quads = (w + 3) / 4;
  Scratch<int64_t> left(4 * quads), first(quads);
  Scratch<int32_t> weights(4 * quads);
  Scratch<ResizeQuad> quad(quads);
  bool quads_fit = true;
  for (int64_t i = 0; i < 4 * quads; ++i) {
    const Position position = position_of(std::min(i, w - 1), scale_w, x.w);
    left[i] = position.first;
    weights[i] = (256 - position.weight) | position.weight << 16;
    if (i % 4 == 0) first[i / 4] = position.first;
    const int64_t word = position.first - first[i / 4];
    quads_fit = quads_fit && word + 1 < 8;
    for (int byte = 0; byte < 4; ++byte)
      quad[i / 4].bytes[4 * (i % 4) + byte] = static_cast<uint8_t>(2 * word + byte);
  }
  const ResizeColumns columns = {first, quad, weights, left, quads_fit};
  const GreyFiltersKernels& kernels = grey_filters_kernels();
  parallel_for(h, rows_grain(w), [&](int64_t begin, int64_t end) {
    Scratch<int16_t> sums(x.w + kReadAhead);
    for (int64_t r = begin; r < end; ++r) {
      const Position position = position_of(r, scale_h, x.h);
      kernels.blend_rows(x.row(position.first), x.row(std::min(position.first + 1, x.h - 1)), position.weight,
                         x.w, sums);
      std::fill_n(sums + x.w, kReadAhead, sums[x.w - 1]);
      kernels.resize_row(sums, columns, w, y + r * w);
    }
  });
}

void blur_grey_rows(const GreyImage& x, int64_t begin, int64_t end, uint8_t* y, int64_t y_stride) {
  const GreyFiltersKernels& kernels = grey_filters_kernels();
  Scratch<int16_t> memory(x.w + 2 * kBlurRadius + kReadAhead);
  int16_t* const sums = memory + kBlurRadius;
  std::fill_n(sums + x.w + kBlurRadius, kReadAhead, int16_t{0});
  for (int64_t r = begin; r < end; ++r) {
    const uint8_t* rows[kBlurTaps];
    for (int i = 0; i < kBlurTaps; ++i) rows[i] = x.row(mirrored(r + i - kBlurRadius, x.h));
    kernels.blur_columns(rows, x.w, sums);
    for (int i = 1; i <= kBlurRadius; ++i) {
      sums[-i] = sums[mirrored(-i, x.w)];
      sums[x.w - 1 + i] = sums[mirrored(x.w - 1 + i, x.w)];
    }
    kernels.blur_row(memory, x.w, y + (r - begin) * y_stride);
  }
}

void blur_grey(const GreyImage& x, uint8_t* y) {
  parallel_for(x.h, std::max<int64_t>(kBlurTaps, rows_grain(x.w)),
               [&](int64_t begin, int64_t end) { blur_grey_rows(x, begin, end, y + begin * x.w, x.w); });
}

}  // namespace pyvision
