// SPDX-License-Identifier: Apache-2.0
// The engine's identity: a copy, where a result needs memory of its own.
#include "engine/copy.h"
#include "engine/op.h"

namespace pyvision::engine {
namespace {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  return {inputs[0]};
}

Step prepare(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) { copy_map(maps.inputs[0], maps.outputs[0]); };
  return step;
}

const RegisterOp kRegistered({"identity", infer_shapes, prepare});

}  // namespace
}  // namespace pyvision::engine
