// SPDX-License-Identifier: Apache-2.0
// A convolution as part of an engine node. A node that holds several tells them apart by a prefix of their
// attributes and constants: "depthwise_stride", "depthwise_weight".
#pragma once

#include <string>
#include <vector>

#include "engine/op.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision::engine {

Conv2dParams conv2d_params(const Node& node, const MapShape& input, const std::string& prefix = "");
// Null where the node has none.
const float* conv2d_weight(const Node& node, const std::string& prefix = "");
const float* conv2d_bias(const Node& node, const std::string& prefix = "");

// Checks that the convolution fits, and gives its output's shape.
MapShape conv2d_shape(const Node& node, const MapShape& input, const std::string& prefix = "");
// Of a second input, if there is one: it must be of the output's shape.
void check_residual(const Node& node, const std::vector<MapShape>& inputs, const MapShape& output);
// The residual is read where the sum is written.
std::vector<Alias> residual_aliases(const Node& node, const std::vector<MapShape>& inputs,
                                    const std::vector<MapShape>& outputs);

int64_t conv2d_flops(const Conv2dParams& params, const MapShape& output);

}  // namespace pyvision::engine
