// SPDX-License-Identifier: Apache-2.0
// The kernel table behind conv2d_backward and everything built on it.
#pragma once

#include "conv/gemm.h"
#include "core/dispatch.h"

namespace pyvision {

struct Conv2dBackwardKernels {
  const char* isa;

  // Elements [o_begin, o_end) x [k_begin, k_end), at most kKBlock columns; scratch: (kPixelBlock,
  // conv2d_kernels().tile_stride)
  void (*weight_grad)(const WeightGrad& job, int64_t k_begin, int64_t k_end, int64_t o_begin, int64_t o_end,
                      float* scratch);
  // Over output rows [row_begin, row_end) of n * out_h. sums: (taps, channels), overwritten; of a grouped
  // convolution whose vectors hold several groups (vectors, taps, group_in, lanes).
  void (*depthwise_weight_grad)(const DepthwiseConv& job, const Nhwc<const float>& grad_output,
                                int64_t row_begin, int64_t row_end, float* sums);
  void (*grouped_weight_grad)(const GroupedConv& job, const Nhwc<const float>& grad_output, int64_t row_begin,
                              int64_t row_end, float* sums);
  // sums[c] = sum_r x[r, c]; x: (rows, channels), rows `stride` apart
  void (*column_sums)(const float* x, int64_t stride, int64_t rows, int64_t channels, float* sums);
};

PYVISION_KERNELS(Conv2dBackwardKernels, conv2d_backward)

}  // namespace pyvision
