// SPDX-License-Identifier: Apache-2.0
// The engine's separable_conv2d: inputs {x} or {x, residual}; see engine.h.
#include "ops/separable_conv2d/engine.h"

#include "core/check.h"

namespace pyvision::engine {

MapShape separable_shape(const Node& node, const MapShape& input) {
  const char* const op = node.op.c_str();
  const MapShape middle = conv2d_shape(node, input, "depthwise_"), output = conv2d_shape(node, middle);
  const Conv2dParams depthwise = conv2d_params(node, input, "depthwise_"),
                     pointwise = conv2d_params(node, middle);
  check(depthwise.groups == input.c, op, "expected depthwise_groups=", input.c, ", got ", depthwise.groups);
  check(pointwise.kernel_h == 1 && pointwise.kernel_w == 1 && pointwise.groups == 1 && output.h == middle.h &&
            output.w == middle.w,
        op, "expected a weight of 1x1 with stride 1, padding 0 and groups 1");
  return output;
}

SeparableConv2d make_separable(const Node& node, const MapShape& input) {
  const Conv2dParams depthwise = conv2d_params(node, input, "depthwise_");
  return SeparableConv2d(depthwise, node.constant("weight", 4).shape[0], node.activation(),
                         conv2d_weight(node, "depthwise_"), conv2d_weight(node),
                         conv2d_bias(node, "depthwise_"), conv2d_bias(node));
}

int64_t separable_flops(const Node& node, const MapShape& input) {
  const MapShape middle = conv2d_shape(node, input, "depthwise_");
  return conv2d_flops(conv2d_params(node, input, "depthwise_"), middle) +
         conv2d_flops(conv2d_params(node, middle), conv2d_shape(node, middle));
}

namespace separable_conv2d_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  const MapShape output = separable_shape(node, inputs.at(0));
  check_residual(node, inputs, output);
  return {output};
}

Step prepare(const Node& node, const std::vector<MapShape>& inputs, const std::vector<MapShape>&) {
  const auto conv = std::make_shared<const SeparableConv2d>(make_separable(node, inputs[0]));
  Step step;
  step.run = [conv](const StepMaps& maps) {
    conv->run(maps.inputs[0], maps.inputs.size() == 2 ? &maps.inputs[1] : nullptr, maps.outputs[0]);
  };
  step.algorithm = "direct";
  step.packed_bytes = conv->packed_bytes();
  step.flops = separable_flops(node, inputs[0]);
  return step;
}

const RegisterOp kRegistered({"separable_conv2d", infer_shapes, prepare, residual_aliases,
                              /*fuses_activation=*/true});

}  // namespace separable_conv2d_node
}  // namespace pyvision::engine
