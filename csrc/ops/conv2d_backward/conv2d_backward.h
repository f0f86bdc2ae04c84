// SPDX-License-Identifier: Apache-2.0
// conv2d_backward: the gradients of a loss with respect to x, w and b of y = conv2d(x, w) + b, given its
// gradient g with respect to y. With ih = oh * stride_h - pad_top + kh * dilation_h, and iw likewise,
//   grad_x[n, ih, iw, i] = sum_{o, kh, kw} w[o, kh, kw, i] g[n, oh, ow, o]
//   grad_w[o, kh, kw, i] = sum_{n, oh, ow} g[n, oh, ow, o] x[n, ih, iw, i]
//   grad_b[o]            = sum_{n, oh, ow} g[n, oh, ow, o]
//
// grad_x is a transposed convolution, grad_w the tile GEMM over pixels. Sums run in an order that the shapes
// alone fix. Maps are dense, of both layouts in float32: NCHW ones are converted strip by strip. Weights and
// their gradients are channels last, (out_channels, kernel_h, kernel_w, in_channels / groups). float64 is
// computed in plain loops.
#pragma once

#include "conv/nchw.h"
#include "core/tensor.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision {

// grad_output: (n, out_h, out_w, out_channels), grad_input: (n, h, w, in_channels)
void conv2d_grad_input(const Conv2dParams& params, const float* weight,
                       const EitherMap<const float>& grad_output, const EitherMap<float>& grad_input);
void conv2d_grad_input(const Conv2dParams& params, const double* weight,
                       const EitherMap<const double>& grad_output, const EitherMap<double>& grad_input);

// input: (n, h, w, in_channels), grad_output: (n, out_h, out_w, out_channels)
void conv2d_grad_weight(const Conv2dParams& params, const EitherMap<const float>& input,
                        const EitherMap<const float>& grad_output, float* grad_weight);
void conv2d_grad_weight(const Conv2dParams& params, const EitherMap<const double>& input,
                        const EitherMap<const double>& grad_output, double* grad_weight);

// sums[c] = sum_{n, h, w} x[n, h, w, c]
void channel_sums(const EitherMap<const float>& x, float* sums);
void channel_sums(const EitherMap<const double>& x, double* sums);

}  // namespace pyvision
