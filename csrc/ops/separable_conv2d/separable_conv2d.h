// SPDX-License-Identifier: Apache-2.0
// separable_conv2d: y[n, oh, ow, o] = act(b[o] + r[n, oh, ow, o] + sum_c w[o, c] d[n, oh, ow, c]),
//   d[n, oh, ow, c] = act_d(b_d[c] + sum_{kh, kw} w_d[c, kh, kw] x[n, ih, iw, c / multiplier])
//   with ih, iw and the output's size as in conv2d: a depthwise convolution whose result, never stored, a 1 x
//   1 convolution mixes (Howard et al. 2017, "MobileNets").
//
// Everything here is NHWC, as in conv2d.
#pragma once

#include <cstdint>
#include <memory>

#include "core/dispatch.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision {

struct SeparableConv;

struct SeparableConv2dKernels {
  const char* isa;
  int64_t tile_rows, tile_pixels;  // of a tile: a block of neighbouring outputs
  // DepthwiseProducer -> tile GEMM -> epilogue; arguments as Conv2dKernels::direct.
  void (*direct)(const SeparableConv& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                 int64_t panel_end, float* scratch);
};

PYVISION_KERNELS(SeparableConv2dKernels, separable_conv2d)

// With its weights packed for the ISA in force when it was made. Immutable, so any number of threads may run
// it at once.
class SeparableConv2d {
 public:
  // depthwise: groups = in_channels, with its activation. depthwise_weight: (channels, 1, kernel_h,
  // kernel_w), pointwise_weight: (out_channels, channels), channels being the depthwise convolution's
  // out_channels; biases: (channels,) and (out_channels,), or null.
  SeparableConv2d(const Conv2dParams& depthwise, int64_t out_channels, const ActivationParams& activation,
                  const float* depthwise_weight, const float* pointwise_weight, const float* depthwise_bias,
                  const float* pointwise_bias);
  SeparableConv2d(SeparableConv2d&&) noexcept;
  ~SeparableConv2d();

  const Conv2dParams& depthwise() const;
  int64_t out_channels() const;
  int64_t packed_bytes() const;

  // As Conv2d::run.
  void run(const Nhwc<const float>& input, const Nhwc<const float>* residual,
           const Nhwc<float>& output) const;
  // A part of the output, from the part of the input that it sees and the padding that this part has: output
  // (0, 0)'s tap (0, 0) is input (-pad_top, -pad_left).
  void run_part(const Nhwc<const float>& input, int64_t pad_top, int64_t pad_left,
                const Nhwc<const float>* residual, const Nhwc<float>& output) const;
  // As Conv2d::run_nchw.
  void run_nchw(const float* input, int64_t n, int64_t h, int64_t w, float* output) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pyvision
