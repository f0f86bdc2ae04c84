// SPDX-License-Identifier: Apache-2.0
// warp: images sampled where a plane transform or a map says.
//
//   y[oh, ow] = sum_ij wy[i] wx[j] x[top + i, left + j]    taps i, j in [0, K) around the position (v, u) in
//   x
//
//   K  left           weights along x, by f = u - floor(u)
//   1  round(u)       1                      halves to even                          nearest
//   2  floor(u)       1 - f, f                                                       bilinear
//   4  floor(u) - 1   Keys' cubic with a = -3/4: k(1 + f), k(f), k(1 - f), k(2 - f)  bicubic
//
//   transform: (u, v) = (h0 ow + h1 oh + h2, h3 ow + h4 oh + h5) / (h6 ow + h7 oh + h8)
//   map:       (u, v) = (map_x[oh, ow], map_y[oh, ow])
//
// The centre of the first pixel is (0, 0). Pixels outside are those of OpenCV's border modes:
//   constant a value | replicate aaa|abcd|ddd | reflect cba|abcd|dcb | reflect_101 dcb|abcd|cba | wrap
//   bcd|abcd|abc
// Positions that are no number, or more than 2^25 pixels away, lie that far outside.
//
// f32 is computed in f32. Bilinear u8 of up to four channels is computed in integers from fractions in
// 256ths: the result is off by 1.5 at most, rounding included; other u8 is computed in f32 and rounded.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/tensor.h"
#include "ops/warp/grid_sample.h"
#include "ops/warp/params.h"

namespace pyvision {

constexpr int kWarpBlock = 64;     // output pixels at once: what is known of them stays in L1
constexpr int kWarpReadAhead = 8;  // elements of a window's row that kernels for few channels read

// x: (n, h, w, c) with dense pixels in a row; y: (n, any, any, c) dense; h: of the transform from y to x;
// border: (c,) what constant borders hold
template <class T>
void warp_projective(const WarpParams& params, const Nhwc<const T>& x, const double* h, const T* border,
                     const Nhwc<T>& y);
// map_x, map_y: (y.h, y.w), `step` elements between neighbours along a row, `stride` between rows
template <class T>
void warp_map(const WarpParams& params, const Nhwc<const T>& x, const float* map_x, const float* map_y,
              int64_t step, int64_t stride, const T* border, const Nhwc<T>& y);

// Where a block's windows begin, and how far behind that its positions lie.
struct WarpPositions {
  int32_t x[kWarpBlock], y[kWarpBlock];  // of the window's first pixel
  float fx[kWarpBlock], fy[kWarpBlock];  // f above, [0, 1]
};

// The transform for t = 0, 1, … along a row: (x, y) + ((a t + b), (c t + d)) / (g t + e). Even numbers near
// the block are taken out so that f32 has all its digits for what remains.
struct WarpLine {
  float a, b, c, d, g, e;
  int32_t x, y;
};

struct WarpKernels {
  const char* isa;
  // positions of `count` pixels; taps: 1 (the fractions mean nothing), 2 or 4
  void (*project)(const WarpLine& line, int taps, int count, WarpPositions* positions);
  void (*look_up)(const float* map_x, const float* map_y, int64_t step, int taps, int count,
                  WarpPositions* positions);
  // Where the windows lie in an image of `pixel` and `stride` bytes from one to the next; whether all of them
  // begin in [0, last_x] x [0, last_y]. Where they do not, some of the addresses mean nothing.
  bool (*locate)(const WarpPositions& positions, int count, int32_t last_x, int32_t last_y, const void* image,
                 int64_t stride, int64_t pixel, const void** windows);
  // Up to four channels, 2 x 2 taps. windows: (count rounded up to a multiple of 4,) first elements, from
  // where kWarpReadAhead are read in either row; rows: elements between these. out: 16 elements more
  void (*sample_few_u8)(const uint8_t* const* windows, const int64_t* rows, const WarpPositions& positions,
                        int count, int64_t channels, uint8_t* out);
  void (*sample_few_f32)(const float* const* windows, const int64_t* rows, const WarpPositions& positions,
                         int count, int64_t channels, float* out);
  // Any channels. scratch: (taps * channels + 16,)
  void (*sample_u8)(const uint8_t* const* windows, const int64_t* rows, const WarpPositions& positions,
                    int taps, int count, int64_t channels, float* scratch, uint8_t* out);
  void (*sample_f32)(const float* const* windows, const int64_t* rows, const WarpPositions& positions,
                     int taps, int count, int64_t channels, float* scratch, float* out);
  GridSampleKernels<float> grid_sample_f32;
  GridSampleKernels<double> grid_sample_f64;
};

PYVISION_KERNELS(WarpKernels, warp)

}  // namespace pyvision
