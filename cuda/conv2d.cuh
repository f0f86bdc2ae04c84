// SPDX-License-Identifier: Apache-2.0
// conv2d on the device: what csrc/ops/conv2d/conv2d.h says, in f32, f16 or bf16 with sums in f32.
//
// Dense and grouped: an implicit GEMM of (n * out_h * out_w) x (out_channels of a group) x (taps *
// in_channels of a group), see gemm.cuh. Depthwise: its own kernel, which waits for memory. Everything is
// dense NHWC.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision::cuda {

struct ConvProblem {
  Conv2dParams params;
  DType dtype = DType::kF32;  // of all arrays: kF32, kF16, kBf16
  bool tf32 = false;          // kF32 alone: operands lose all but 10 bits of their fraction
  int64_t n = 0, h = 0, w = 0;
  const void* input = nullptr;     // (n, h, w, in_channels)
  const void* weight = nullptr;    // (out_channels, kernel_h, kernel_w, in_channels / groups)
  const void* bias = nullptr;      // (out_channels,) or null
  const void* residual = nullptr;  // the output's shape, or null
  void* output = nullptr;          // (n, out_h, out_w, out_channels)

  int64_t out_h() const { return params.out_h(h); }
  int64_t out_w() const { return params.out_w(w); }
};

// Bytes of workspace for the sums of split K; results hang on the device's size through their order alone.
size_t conv2d_workspace_bytes(const Stream& stream, const ConvProblem& problem);
void conv2d(const char* op, const Stream& stream, const ConvProblem& problem, void* workspace);

// One input channel to a group. weight: (kernel_h, kernel_w, out_channels); no residual.
void depthwise_conv2d(const char* op, const Stream& stream, const ConvProblem& problem);

// What the kernels see. Coordinates fit in 32 bits, offsets do not.
struct ConvGeometry {
  int h, w, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int in_channels, out_channels, group_in, group_out;
  int64_t rows;  // n * out_h * out_w
};
ConvGeometry geometry_of(const ConvProblem& problem);

}  // namespace pyvision::cuda
