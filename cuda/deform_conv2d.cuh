// SPDX-License-Identifier: Apache-2.0
// deform_conv2d on the device: what csrc/ops/deform_conv2d/deform_conv2d.h says, as the GEMM of conv2d whose
// rows of A are sampled instead of copied. No column buffer: a sample goes from registers into shared memory.
#pragma once

#include "conv2d.cuh"

namespace pyvision::cuda {

// (n, channels, out_h, out_w) in any order.
template <class T>
struct DeformMap {
  T* data = nullptr;
  int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;
};

struct DeformProblem {
  ConvProblem conv;              // no residual; activation kNone
  DeformMap<const void> offset;  // (n, offset_groups * taps * 2, out_h, out_w): y, x for each tap
  DeformMap<const void> mask;    // (n, offset_groups * taps, out_h, out_w), data null when there is none
  int64_t offset_groups = 1;     // divide in_channels
};

size_t deform_conv2d_workspace_bytes(const Stream& stream, const DeformProblem& problem);
void deform_conv2d(const char* op, const Stream& stream, const DeformProblem& problem, void* workspace);

// Each of the shape, and offset and mask of the order, of what it is the gradient of; null: not asked for.
struct DeformGradients {
  const void* output = nullptr;  // (n, out_h, out_w, out_channels)
  void *input = nullptr, *weight = nullptr, *bias = nullptr;
  DeformMap<void> offset, mask;  // mask's data null when there is none
};
// Holds the columns of the whole batch twice, taps times as large as the input, and its samples, sorted.
size_t deform_conv2d_backward_workspace_bytes(const char* op, const Stream& stream,
                                              const DeformProblem& problem);
void deform_conv2d_backward(const char* op, const Stream& stream, const DeformProblem& problem,
                            const DeformGradients& grad, void* workspace);

}  // namespace pyvision::cuda
