// SPDX-License-Identifier: Apache-2.0
// conv_transpose2d on the device: what csrc/ops/conv_transpose2d/conv_transpose2d.h says, in f32, f16 or bf16
// with sums in f32. It is the gradient of conv2d by its input, too.
//
// Dense and grouped: each of the stride_h * stride_w phases of the output is a convolution of stride 1 with
// every stride-th tap, and runs through the GEMM of conv2d. Depthwise: its own kernel. Everything is dense
// NHWC.
#pragma once

#include "conv2d.cuh"
#include "ops/conv_transpose2d/conv_transpose2d.h"

namespace pyvision::cuda {

struct ConvTransposeProblem {
  ConvTranspose2dParams params;
  DType dtype = DType::kF32;  // of all arrays: kF32, kF16, kBf16
  int64_t n = 0, h = 0, w = 0;
  int64_t out_h = 0, out_w = 0;  // params' own, or what a strided convolution had left over beside them
  const void* input = nullptr;   // (n, h, w, in_channels)
  const void* weight = nullptr;  // (in_channels, kernel_h, kernel_w, out_channels / groups)
  const void* bias = nullptr;    // (out_channels,) or null
  void* output = nullptr;        // (n, out_h, out_w, out_channels)
};

size_t conv_transpose2d_workspace_bytes(const Stream& stream, const ConvTransposeProblem& problem);
void conv_transpose2d(const char* op, const Stream& stream, const ConvTransposeProblem& problem,
                      void* workspace);

// One output channel to a group. weight: (kernel_h, kernel_w, in_channels).
void depthwise_conv_transpose2d(const char* op, const Stream& stream, const ConvTransposeProblem& problem);

}  // namespace pyvision::cuda
