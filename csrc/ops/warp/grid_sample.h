// SPDX-License-Identifier: Apache-2.0
// grid_sample: maps sampled at positions in [-1, 1], as torch.nn.functional.grid_sample; and its gradients.
//
//   y[n, oh, ow, c] = x[n, v, u, c] at (gx, gy) = grid[n, oh, ow]
//   u = ((gx + 1) w - 1) / 2, with align_corners (gx + 1) (w - 1) / 2; likewise v
//
// nearest rounds half to even; bilinear; bicubic with a = -3/4. Pixels outside are 0 (zeros), the nearest one
// (border), or mirrored at the image's edges (reflection; with align_corners at the centres of its outermost
// pixels): nearest and bilinear treat the position so, bicubic each of its taps. Positions that are no number
// lie outside with zeros, else at the first pixel.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "ops/warp/params.h"

namespace pyvision {

// One image of dense channels, its extents at least 1.
template <class T>
struct GridImage {
  const T* data;  // (h, w, c) at the first of the channels that are meant
  int64_t h, w, stride_h, stride_w;
};

template <class T>
struct GridSampleKernels {
  // grid: (count, 2); y: (count, channels), `step` elements between neighbours
  void (*forward)(const GridSampleParams& params, const GridImage<T>& x, const T* grid, int64_t count,
                  int64_t channels, T* y, int64_t step);
  // grad: as y; grad_x: added to, lies as x; grad_grid: (count, 2)
  void (*backward)(const GridSampleParams& params, const GridImage<T>& x, const T* grid, const T* grad,
                   int64_t step, int64_t count, int64_t channels, T* grad_x, T* grad_grid);
};

// x: (n, h, w, c), y: (n, oh, ow, c), grid: (n, oh, ow, 2), all dense
template <class T>
void grid_sample(const GridSampleParams& params, const Nhwc<const T>& x, const T* grid, const Nhwc<T>& y);
// grad: as y; grad_x: as x, holds zeros; grad_grid: as grid
template <class T>
void grid_sample_backward(const GridSampleParams& params, const Nhwc<const T>& x, const T* grid,
                          const Nhwc<const T>& grad, T* grad_x, T* grad_grid);

}  // namespace pyvision
