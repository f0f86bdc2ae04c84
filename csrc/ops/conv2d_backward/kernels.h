// SPDX-License-Identifier: Apache-2.0
// The kernel table behind conv2d_backward and everything built on it.
#pragma once

#include "conv/gemm.h"
#include "core/dispatch.h"

namespace pyvision {

// Rows that a sum of columns takes in before it joins the total: errors grow with either.
constexpr int64_t kSumRows = 128;

struct Conv2dBackwardKernels {
  const char* isa;

  // Adds the job's blocks of pixels to elements [o_begin, o_end) x [k_begin, k_end), at most kKBlock columns;
  // scratch: (kPixelBlock, conv2d_kernels().tile_stride)
  void (*weight_grad)(const WeightGrad& job, int64_t k_begin, int64_t k_end, int64_t o_begin, int64_t o_end,
                      float* scratch);
  // Adds output rows [row_begin, row_end) of n * out_h. sums: (taps, channels); of a grouped convolution
  // whose vectors hold several groups (vectors, taps, group_in, lanes).
  void (*depthwise_weight_grad)(const DepthwiseConv& job, const Nhwc<const float>& grad_output,
                                int64_t row_begin, int64_t row_end, float* sums);
  void (*grouped_weight_grad)(const GroupedConv& job, const Nhwc<const float>& grad_output, int64_t row_begin,
                              int64_t row_end, float* sums);
  // sums[c] = sum_r x[r, c], kSumRows at a time; x: (rows, channels), rows `stride` apart
  void (*column_sums)(const float* x, int64_t stride, int64_t rows, int64_t channels, float* sums);
};

PYVISION_KERNELS(Conv2dBackwardKernels, conv2d_backward)

}  // namespace pyvision
