// SPDX-License-Identifier: Apache-2.0
// Between the two memory orders of a batch of images:
//   nchw_to_nhwc: y[n, h, w, c] = x[n, c, h, w]        nhwc_to_nchw: y[n, c, h, w] = x[n, h, w, c]
//
// Either is a batch of matrix transposes, (c, h * w) <-> (h * w, c).
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

struct LayoutKernels {
  const char* isa;
  // x: (rows, cols) with rows x_stride apart, y: (cols, rows) with rows y_stride apart
  void (*transpose)(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t cols);
};

PYVISION_KERNELS(LayoutKernels, layout)

// Maps of which the first `pixels` pixels of each image are converted, planes of x or y being `plane` floats
// apart. x: (n, c, plane), y: (n, pixels, c)
void nchw_to_nhwc(const float* x, float* y, int64_t n, int64_t c, int64_t plane, int64_t pixels);
// x: (n, pixels, c), y: (n, c, plane)
void nhwc_to_nchw(const float* x, float* y, int64_t n, int64_t c, int64_t plane, int64_t pixels);
// The same of bytes.
void nchw_to_nhwc(const uint8_t* x, uint8_t* y, int64_t n, int64_t c, int64_t plane, int64_t pixels);
void nhwc_to_nchw(const uint8_t* x, uint8_t* y, int64_t n, int64_t c, int64_t plane, int64_t pixels);

}  // namespace pyvision
