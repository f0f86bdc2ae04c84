// SPDX-License-Identifier: Apache-2.0
// The engine's interpolate: inputs {x} or {x, addend}.
#include "ops/interpolate/interpolate.h"

#include "core/check.h"
#include "engine/op.h"

namespace pyvision::engine::interpolate_node {

InterpolateParams params_of(const Node& node) {
  const auto& size = node.integers("size", 2);
  const auto scale = [&](const char* name) { return node.has(name) ? node.real(name) : 0; };
  return interpolate_params(
      "interpolate", {size[0], size[1]}, node.text("mode"), node.integer("align_corners") != 0,
      node.has("antialias") && node.integer("antialias") != 0, {scale("scale_h"), scale("scale_w")});
}

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check(inputs.size() == 1 || inputs.size() == 2, "interpolate", "expected 1 or 2 inputs, got ",
        inputs.size());
  const auto& size = node.integers("size", 2);
  const MapShape output = {size[0], size[1], inputs[0].c};
  if (inputs.size() == 2)
    check(inputs[1] == output, "interpolate", "expected an addend of shape ", shape_text(output), ", got ",
          shape_text(inputs[1]));
  params_of(node);  // refuses what contradicts itself
  return {output};
}

Step prepare(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  const InterpolateParams params = params_of(node);
  Step step;
  step.run = [params](const StepMaps& maps) {
    interpolate(params, maps.inputs[0], maps.inputs.size() == 2 ? &maps.inputs[1] : nullptr, maps.outputs[0]);
  };
  step.algorithm = node.text("mode");
  return step;
}

std::vector<Alias> aliases(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  if (node.inputs.size() < 2) return {};
  return {{Alias::kInPlace, /*input=*/1, /*output=*/0}};  // the addend is read where the sum is written
}

const RegisterOp kRegistered({"interpolate", infer_shapes, prepare, aliases});

}  // namespace pyvision::engine::interpolate_node
