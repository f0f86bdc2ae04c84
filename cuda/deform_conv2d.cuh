// SPDX-License-Identifier: Apache-2.0
// deform_conv2d on the device: what csrc/ops/deform_conv2d/deform_conv2d.h says, as the GEMM of conv2d whose
// rows of A are sampled instead of copied. No column buffer: a sample goes from registers into shared memory.
#pragma once

#include "conv2d.cuh"

namespace pyvision::cuda {

// (n, channels, out_h, out_w) in any order.
template <class T>
struct DeformMap {
  const T* data = nullptr;
  int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;
};

struct DeformProblem {
  ConvProblem conv;           // no residual; activation kNone
  DeformMap<void> offset;     // (n, offset_groups * taps * 2, out_h, out_w): y, x for each tap
  DeformMap<void> mask;       // (n, offset_groups * taps, out_h, out_w), data null when there is none
  int64_t offset_groups = 1;  // divide in_channels
};

size_t deform_conv2d_workspace_bytes(const Stream& stream, const DeformProblem& problem);
void deform_conv2d(const char* op, const Stream& stream, const DeformProblem& problem, void* workspace);

}  // namespace pyvision::cuda
