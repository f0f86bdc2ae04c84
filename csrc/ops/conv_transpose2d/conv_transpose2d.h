// SPDX-License-Identifier: Apache-2.0
// conv_transpose2d: the adjoint of conv2d with the same parameters (torch.nn.functional.conv_transpose2d).
//   y[n, ih * stride_h - padding_h + kh * dilation_h, …, o] += w[i, o, kh, kw] x[n, ih, iw, i]
//   Output size: (extent - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1.
//
// Computed as stride_h * stride_w dense convolutions, one per sub-pixel phase of the output, or as one for
// all of them where few output channels would leave lanes empty.
#pragma once

#include <memory>
#include <vector>

#include "core/activation.h"
#include "core/tensor.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision {

struct ConvTranspose2dParams {
  int64_t in_channels = 0, out_channels = 0;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t output_padding_h = 0, output_padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;
  ActivationParams activation;
  // See Conv2dParams; where the inputs' size is known. So is one convolution for all phases: an infinity then
  // reaches some outputs that do not see it.
  bool allow_winograd = true;

  int64_t out_h(int64_t h) const {
    return (h - 1) * stride_h - 2 * padding_h + dilation_h * (kernel_h - 1) + output_padding_h + 1;
  }
  int64_t out_w(int64_t w) const {
    return (w - 1) * stride_w - 2 * padding_w + dilation_w * (kernel_w - 1) + output_padding_w + 1;
  }
};

// The convolution whose adjoint it is: from maps of the output's shape to maps of the input's.
Conv2dParams adjoint_of(const ConvTranspose2dParams& params);

// Both throw std::invalid_argument: when the parameters contradict each other, and when they do not fit the
// input.
void check_conv_transpose2d_params(const char* op, const ConvTranspose2dParams& params);
void check_conv_transpose2d(const char* op, const ConvTranspose2dParams& params, int64_t h, int64_t w);

class ConvTranspose2d {
 public:
  // weight: (in_channels, kernel_h, kernel_w, out_channels / groups), channels last, so that the columns of a
  // panel are neighbours; bias: (out_channels,) or null.
  // h, w: extents of the inputs to come, 0 when unknown; phases of 2x2 taps need them to consider Winograd.
  ConvTranspose2d(const ConvTranspose2dParams& params, const float* weight, const float* bias, int64_t h = 0,
                  int64_t w = 0);
  ConvTranspose2d(ConvTranspose2d&&) noexcept;
  ~ConvTranspose2d();

  const ConvTranspose2dParams& params() const;
  int64_t packed_bytes() const;
  // input: (n, h, w, in_channels), output: (n, out_h, out_w, out_channels)
  void run(const Nhwc<const float>& input, const Nhwc<float>& output) const;
  // The same of dense NCHW maps: input: (n, in_channels, h, w), output: (n, out_channels, out_h, out_w)
  void run_nchw(const float* input, int64_t n, int64_t h, int64_t w, float* output) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pyvision
