// SPDX-License-Identifier: Apache-2.0
// The engine's interpolate: inputs {x} or {x, addend}.
#include "ops/interpolate/interpolate.h"

#include "core/check.h"
#include "engine/op.h"

namespace pyvision::engine::interpolate_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check(inputs.size() == 1 || inputs.size() == 2, "interpolate", "expected 1 or 2 inputs, got ",
        inputs.size());
  const auto& size = node.integers("size", 2);
  check(size[0] > 0 && size[1] > 0, "interpolate", "expected a positive size, got ", size[0], " x ", size[1]);
  const MapShape output = {size[0], size[1], inputs[0].c};
  if (inputs.size() == 2)
    check(inputs[1] == output, "interpolate", "expected an addend of shape ", shape_text(output), ", got ",
          shape_text(inputs[1]));
  const InterpolateMode mode = parse_interpolate_mode("interpolate", node.text("mode"));
  check(node.integer("align_corners") == 0 || mode == InterpolateMode::kBilinear, "interpolate",
        "expected align_corners with mode 'bilinear' only, got mode '", node.text("mode"), "'");
  return {output};
}

Step prepare(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  InterpolateParams params;
  params.mode = parse_interpolate_mode("interpolate", node.text("mode"));
  params.align_corners = node.integer("align_corners") != 0;
  if (node.has("scale_h")) params.scale_h = node.real("scale_h");
  if (node.has("scale_w")) params.scale_w = node.real("scale_w");
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
