// SPDX-License-Identifier: Apache-2.0
// separable_conv2d on the device: what csrc/ops/separable_conv2d/separable_conv2d.h says, as the GEMM of a
// 1x1 conv2d whose rows of A are the depthwise results. These go from registers into shared memory, rounded
// to the dtype; each block of 64 output channels makes them anew.
#pragma once

#include "conv2d.cuh"

namespace pyvision::cuda {

struct SeparableProblem {
  ConvProblem depthwise;  // weight: (kernel_h, kernel_w, out_channels); its output is not stored
  ConvProblem pointwise;  // 1x1, without input
};

size_t separable_conv2d_workspace_bytes(const Stream& stream, const SeparableProblem& problem);
void separable_conv2d(const char* op, const Stream& stream, const SeparableProblem& problem, void* workspace);

}  // namespace pyvision::cuda
