// SPDX-License-Identifier: Apache-2.0
// Convolutions of float64 in plain loops: for gradient checks, not for speed. Weights are (out_channels,
// kernel_h, kernel_w, in_channels / groups), maps dense; formulas in conv2d.h and conv2d_backward.h.
#pragma once

#include "ops/conv2d/conv2d.h"

namespace pyvision {

// input: (n, h, w, in_channels), bias: (out_channels,) or null, output: (n, out_h, out_w, out_channels)
void conv2d_f64(const Conv2dParams& params, const Nhwc<const double>& input, const double* weight,
                const double* bias, const Nhwc<double>& output);
// The adjoint, which is the transposed convolution; bias: (in_channels,) or null.
void conv2d_adjoint_f64(const Conv2dParams& params, const Nhwc<const double>& grad_output,
                        const double* weight, const double* bias, const Nhwc<double>& grad_input);
void conv2d_grad_weight_f64(const Conv2dParams& params, const Nhwc<const double>& input,
                            const Nhwc<const double>& grad_output, double* grad_weight);

}  // namespace pyvision
