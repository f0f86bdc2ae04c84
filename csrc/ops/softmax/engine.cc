// SPDX-License-Identifier: Apache-2.0
// The engine's softmax: over the channels of each pixel.
#include "ops/softmax/softmax.h"

#include "core/check.h"
#include "engine/op.h"

namespace pyvision::engine::softmax_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  return {inputs[0]};
}

Step prepare(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) {
    const Nhwc<const float>& x = maps.inputs[0];
    softmax(x.data, maps.outputs[0].data, x.pixels(), x.c, 1);
  };
  return step;
}

std::vector<Alias> aliases(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  return {{Alias::kInPlace, /*input=*/0, /*output=*/0}};
}

const RegisterOp kRegistered({"softmax", infer_shapes, prepare, aliases, /*fuses_activation=*/false,
                              /*takes_slices=*/false});

}  // namespace pyvision::engine::softmax_node
