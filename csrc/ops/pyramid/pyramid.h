// SPDX-License-Identifier: Apache-2.0
// pyr_down, pyr_up: one level of a Gaussian pyramid, and back, as OpenCV's.
//
//   t = (1, 4, 6, 4, 1) / 16
//   down: y[i, j] = sum_kl t[k] t[l] x[2 i + k - 2, 2 j + l - 2]     half the extents, rounded up
//   up:   y = 4 (t t' * z)   with z[2 i, 2 j] = x[i, j], 0 elsewhere
//
// Mirrored at the border, whose pixel is not repeated; up repeats it behind the last one, as OpenCV does.
// Burt and Adelson, "The Laplacian pyramid as a compact image code", 1983.
#pragma once

#include "core/dispatch.h"
#include "core/tensor.h"

namespace pyvision {

// Of n numbers; y is none of what is read.
struct PyramidKernels {
  const char* isa;
  // y = (x[0] + 4 x[1] + 6 x[2] + 4 x[3] + x[4]) scale
  void (*weigh5)(const float* const* x, float scale, int64_t n, float* y);
  // y = (before + 6 here + behind) / 8
  void (*weigh3)(const float* before, const float* here, const float* behind, int64_t n, float* y);
  // y = (here + behind) / 2
  void (*mean2)(const float* here, const float* behind, int64_t n, float* y);
};

PYVISION_KERNELS(PyramidKernels, pyramid)

// x: (1, h, w, c), y: (1, (h + 1) / 2, (w + 1) / 2, c), dense
void pyr_down(const Nhwc<const float>& x, const Nhwc<float>& y);
// x: (1, (h + 1) / 2, (w + 1) / 2, c), y: (1, h, w, c), dense
void pyr_up(const Nhwc<const float>& x, const Nhwc<float>& y);

}  // namespace pyvision
