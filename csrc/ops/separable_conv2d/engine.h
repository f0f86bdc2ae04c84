// SPDX-License-Identifier: Apache-2.0
// A depthwise-separable convolution as an engine node, or a part of one: the depthwise convolution's
// attributes and constants have the prefix "depthwise_", the pointwise one's have none.
#pragma once

#include "ops/conv2d/engine.h"
#include "ops/separable_conv2d/separable_conv2d.h"

namespace pyvision::engine {

// input: of the depthwise convolution.
MapShape separable_shape(const Node& node, const MapShape& input);
SeparableConv2d make_separable(const Node& node, const MapShape& input);
int64_t separable_flops(const Node& node, const MapShape& input);

}  // namespace pyvision::engine
