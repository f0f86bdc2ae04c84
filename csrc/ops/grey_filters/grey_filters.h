// SPDX-License-Identifier: Apache-2.0
// What feature detectors do to a picture before they look at it, in 8.8 fixed point and so the same
// everywhere.
//
//   to_grey:      y = (9798 r + 19235 g + 3735 b + 2^14) >> 15               (BT.601)
//   resize_grey:  bilinear with half-pixel centres, no antialiasing: position (x + 1/2) W / w - 1/2, its
//                 fraction in 256ths
//   blur_grey:    y = sum_ij t[i] t[j] x[i, j], the 7 taps t a Gaussian with sigma 2 in 256ths; the image is
//                 mirrored at its border, whose pixel is not repeated
//
// Along one axis sums of 8 x 8 bits are exact in 16, so the only rounding is the last, half up. Each is
// OpenCV's cvtColor, resize with INTER_LINEAR_EXACT, and GaussianBlur, to the bit.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/grey_image.h"

namespace pyvision {

constexpr int kBlurTaps = 7, kBlurRadius = kBlurTaps / 2;

// Four neighbouring outputs of a resized row, as instructions that shuffle 16 bytes want them.
struct alignas(16) ResizeQuad {
  uint8_t bytes[16];  // where in the 8 words from `first` on the four pairs of neighbours lie
};
struct ResizeColumns {
  const int64_t* first;    // (quads,) of the words that a quad reads
  const ResizeQuad* quad;  // (quads,)
  const int32_t*
      weights;          // (4 * quads,) of each pair: low half the left, high half the right one's, in 256ths
  const int64_t* left;  // (4 * quads,) of each pair
  bool quads_fit;       // in 8 words each; else only `left` is of use
};

struct GreyFiltersKernels {
  const char* isa;
  // One row of three-byte pixels, step bytes apart.
  void (*to_grey)(const uint8_t* pixels, int64_t step, int64_t n, uint8_t* y);
  // sums[x] = 256 top[x] + weight (bottom[x] - top[x]) - 2^15: as signed 16 bits
  void (*blend_rows)(const uint8_t* top, const uint8_t* bottom, int weight, int64_t n, int16_t* sums);
  // sums: up to 8 more than the last pair may be read; y: (n,)
  void (*resize_row)(const int16_t* sums, const ResizeColumns& columns, int64_t n, uint8_t* y);
  // sums[x] = sum_i taps[i] rows[i][x] - 2^15
  void (*blur_columns)(const uint8_t* const rows[kBlurTaps], int64_t n, int16_t* sums);
  // y[x] from sums[x .. x + 6]; sums: a vector more than that may be read
  void (*blur_row)(const int16_t* sums, int64_t n, uint8_t* y);
  // Of an integral image, whose rows are whole cache lines and begin with 0: sums[x + 1] += pixel x of row y;
  // below[x + 1] = above[x + 1] + the sum of row y's pixels up to x. Floats
  // are clipped to [0, 255] and rounded to a `level`-th.
  void (*add_row)(const AnyImage& image, int64_t y, float level, int32_t* sums);
  void (*integrate_row)(const AnyImage& image, int64_t y, float level, const int32_t* above, int32_t* below);
};

PYVISION_KERNELS(GreyFiltersKernels, grey_filters)

// pixels: (h, w, >= 3) as bytes with any strides but channels that are neighbours; y: (h, w) dense
void to_grey(const uint8_t* pixels, int64_t stride_h, int64_t stride_w, int64_t h, int64_t w, uint8_t* y);

// y: (h, w) dense
void resize_grey(const GreyImage& x, int64_t h, int64_t w, uint8_t* y);

// Rows [begin, end) of the blurred image; y: its first row.
void blur_grey_rows(const GreyImage& x, int64_t begin, int64_t end, uint8_t* y, int64_t y_stride);
void blur_grey(const GreyImage& x, uint8_t* y);

}  // namespace pyvision
