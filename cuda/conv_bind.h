// SPDX-License-Identifier: Apache-2.0
// The checked arguments that bindings of convolutions share.
#pragma once

#include <initializer_list>

#include "common/bind.h"
#include "conv2d.cuh"

namespace pyvision::cuda {

using Pair = std::array<int64_t, 2>;
using Sides = std::array<int64_t, 4>;

// weight: (out_channels, kernel_h, kernel_w, in_channels / groups), or with `depthwise` (kernel_h, kernel_w,
// out_channels). The output is yet to be set.
ConvProblem conv_problem(const std::string& op, const Stream& stream, const DeviceArray& input,
                         const DeviceArray& weight, const OptionalArray& bias, const OptionalArray& residual,
                         Pair stride, Sides padding, Pair dilation, int64_t groups,
                         const std::string& activation, float slope, bool tf32, bool depthwise);

// Every coordinate of these extents, with what lies before and behind them, fits in the 32 bits of kernels.
void check_coordinates(const char* op, std::initializer_list<int64_t> extents);

}  // namespace pyvision::cuda
