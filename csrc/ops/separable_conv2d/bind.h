// SPDX-License-Identifier: Apache-2.0
// How the ops that contain a depthwise-separable convolution take it from Python.
#pragma once

#include <array>
#include <optional>

#include "core/bind.h"
#include "ops/separable_conv2d/separable_conv2d.h"

namespace pyvision {

// in_channels: of the depthwise convolution, at least one. The names are those of the caller's arguments.
SeparableConv2d parse_separable_conv2d(const char* op, const py::array& depthwise_weight,
                                       const py::array& pointwise_weight, const char* pointwise_name,
                                       const std::optional<py::array>& depthwise_bias,
                                       const std::optional<py::array>& pointwise_bias,
                                       const char* pointwise_bias_name, std::array<int64_t, 2> stride,
                                       std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation,
                                       int64_t in_channels, const ActivationParams& depthwise_activation,
                                       const ActivationParams& activation);

}  // namespace pyvision
