// SPDX-License-Identifier: Apache-2.0
// The engine's inverted_residual: inputs {x} or {x, residual}; attributes and constants of the expanding
// convolution have the prefix "expand_", the others are those of separable_conv2d.
#include "ops/inverted_residual/inverted_residual.h"

#include "core/check.h"
#include "ops/separable_conv2d/engine.h"

namespace pyvision::engine::inverted_residual_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  const MapShape expanded = conv2d_shape(node, inputs.at(0), "expand_");
  const Conv2dParams expand = conv2d_params(node, inputs[0], "expand_");
  check(expand.kernel_h == 1 && expand.kernel_w == 1 && expand.groups == 1 && expanded.h == inputs[0].h &&
            expanded.w == inputs[0].w,
        "inverted_residual", "expected an expand_weight of 1x1 with stride 1, padding 0 and groups 1");
  const MapShape output = separable_shape(node, expanded);
  check_residual(node, inputs, output);
  return {output};
}

Step prepare(const Node& node, const std::vector<MapShape>& inputs, const std::vector<MapShape>&) {
  const MapShape expanded = conv2d_shape(node, inputs[0], "expand_");
  const Conv2dParams expand = conv2d_params(node, inputs[0], "expand_");
  const auto block = std::make_shared<const InvertedResidual>(
      Conv2d(expand, conv2d_weight(node, "expand_"), conv2d_bias(node, "expand_")),
      make_separable(node, expanded));
  Step step;
  step.run = [block](const StepMaps& maps) {
    block->run(maps.inputs[0], maps.inputs.size() == 2 ? &maps.inputs[1] : nullptr, maps.outputs[0]);
  };
  step.algorithm = "strips";
  step.packed_bytes = block->packed_bytes();
  step.flops = conv2d_flops(expand, expanded) + separable_flops(node, expanded);
  return step;
}

const RegisterOp kRegistered({"inverted_residual", infer_shapes, prepare, residual_aliases,
                              /*fuses_activation=*/true});

}  // namespace pyvision::engine::inverted_residual_node
