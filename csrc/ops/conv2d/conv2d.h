// SPDX-License-Identifier: Apache-2.0
// conv2d: y[n, oh, ow, o] = act(b[o] + r[n, oh, ow, o] + sum_{i, kh, kw} w[o, kh, kw, i] x[n, ih, iw, i])
//   ih = oh * stride_h - pad_top + kh * dilation_h,  iw = ow * stride_w - pad_left + kw * dilation_w,
//   x is 0 outside the image; with groups, output channel o sees the input channels of its own group only.
//   Output size: (extent + pads - dilation * (kernel - 1) - 1) / stride + 1, rounded down, as in torch.
//
// With precision bf16 the products are of w and x rounded to bf16 (to nearest even), exact, and summed in
// f32; bias, residual and activation stay f32. A depthwise convolution, whose time is its maps' way through
// memory, and a grouped one of few channels a group multiply in f32 all the same.
//
// Everything here is NHWC: channels contiguous, pixels any constant distance apart.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "conv/nchw.h"
#include "core/activation.h"
#include "core/bf16.h"
#include "core/tensor.h"

namespace pyvision {

enum class Precision : uint8_t { kF32, kBf16 };
// "f32" or "bf16"; throws std::invalid_argument for others.
Precision parse_precision(const char* op, const std::string& name);

struct Conv2dParams {
  int64_t in_channels = 0, out_channels = 0;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;
  ActivationParams activation;
  Precision precision = Precision::kF32;
  bool allow_winograd = true;  // to kAuto; its sums are less exact than those of the other algorithms

  int64_t out_h(int64_t h) const {
    return (h + pad_top + pad_bottom - dilation_h * (kernel_h - 1) - 1) / stride_h + 1;
  }
  int64_t out_w(int64_t w) const {
    return (w + pad_left + pad_right - dilation_w * (kernel_w - 1) - 1) / stride_w + 1;
  }
};

// Both throw std::invalid_argument: when the parameters contradict each other, and when they do not fit the
// input.
void check_conv2d_params(const char* op, const Conv2dParams& params);
void check_conv2d(const char* op, const Conv2dParams& params, int64_t h, int64_t w);

// What strips of its output see.
RowRange rows_seen(const Conv2dParams& params, int64_t first, int64_t last);

// kWinogradMxM: F(M x M, 3x3), for 3x3 kernels with stride and dilation 1; kWinograd4x4 for 2x2 kernels too.
// kDepthwise: one input channel a group. kGrouped: any groups, meant for few channels in each.
enum class Conv2dAlgorithm : uint8_t {
  kAuto,
  kDirect,
  kDepthwise,
  kGrouped,
  kWinograd2x2,
  kWinograd4x4,
  kWinograd6x6
};
// "auto", "direct", "depthwise", "grouped", "winograd_2x2" …; throws std::invalid_argument.
Conv2dAlgorithm parse_conv2d_algorithm(const char* op, const std::string& name);
const char* conv2d_algorithm_name(Conv2dAlgorithm algorithm);

// Weights anywhere in memory: element (o, i, kh, kw) of group g lies at g * stride_g + o * stride_o + i *
// stride_i + kh * stride_h + kw * stride_w; o and i count within the group.
struct ConvWeight {
  const float* data;
  int64_t stride_g, stride_o, stride_i, stride_h, stride_w;
};
// weight: (out_channels, in_channels / groups, kernel_h, kernel_w)
ConvWeight channels_first_weight(const Conv2dParams& params, const float* weight);
// weight: (out_channels, kernel_h, kernel_w, in_channels / groups)
ConvWeight channels_last_weight(const Conv2dParams& params, const float* weight);

// A convolution with its weights packed for the ISA in force when it was made. Immutable, so any number of
// threads may run it at once.
class Conv2d {
 public:
  // bias: (out_channels,) or null; weight as a bare pointer: (out_channels, in_channels / groups, kernel_h,
  // kernel_w).
  // h, w: extents of the inputs to come, 0 when unknown; kAuto needs them to consider Winograd.
  Conv2d(const Conv2dParams& params, const ConvWeight& weight, const float* bias,
         Conv2dAlgorithm algorithm = Conv2dAlgorithm::kAuto, int64_t h = 0, int64_t w = 0);
  Conv2d(const Conv2dParams& params, const float* weight, const float* bias,
         Conv2dAlgorithm algorithm = Conv2dAlgorithm::kAuto, int64_t h = 0, int64_t w = 0)
      : Conv2d(params, channels_first_weight(params, weight), bias, algorithm, h, w) {}
  Conv2d(Conv2d&&) noexcept;
  ~Conv2d();

  const Conv2dParams& params() const;
  // What kAuto chose.
  Conv2dAlgorithm algorithm() const;
  // The ISA, and its extension if any, of the kernel that multiplies.
  const char* kernel_isa() const;
  // Bytes of packed weights.
  int64_t packed_bytes() const;

  // input: (n, h, w, in_channels), residual: null or the output's shape, output: (n, out_h, out_w,
  // out_channels). The residual may be the output's own memory; the input may not.
  void run(const Nhwc<const float>& input, const Nhwc<const float>* residual,
           const Nhwc<float>& output) const;
  // The output's rows from first_out on, as many as `output` has, given the input's from first_in on: all
  // that they see.
  void run_rows(const Nhwc<const float>& input, int64_t first_in, const Nhwc<float>& output,
                int64_t first_out) const;
  // The whole with maps stored as bf16, of a convolution of that precision. Maps are dense.
  void run(const Nhwc<const Bf16>& input, const Nhwc<const Bf16>* residual, const Nhwc<Bf16>& output) const;

  // input: (n, in_channels, h, w), residual: null or the output's shape, output: (n, out_channels, out_h,
  // out_w), all dense.
  void run_nchw(const float* input, int64_t n, int64_t h, int64_t w, const float* residual,
                float* output) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pyvision
