// SPDX-License-Identifier: Apache-2.0
// The engine's concat along channels. Its inputs ask to be slices of its output; those the memory plan cannot
// place there are copied.
#include "core/check.h"
#include "engine/copy.h"
#include "engine/op.h"

namespace pyvision::engine {
namespace {

std::vector<MapShape> infer_shapes(const Node&, const std::vector<MapShape>& inputs) {
  check(!inputs.empty(), "concat", "expected at least one input");
  MapShape output = inputs[0];
  output.c = 0;
  for (const MapShape& input : inputs) {
    check(input.h == output.h && input.w == output.w, "concat", "expected maps of one height and width, got ",
          shape_text(inputs[0]), " and ", shape_text(input));
    output.c += input.c;
  }
  return {output};
}

Step prepare(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) {
    int64_t channel = 0;
    for (const Nhwc<const float>& input : maps.inputs) {
      copy_map(input, channel_slice(maps.outputs[0], channel, input.c));
      channel += input.c;
    }
  };
  return step;
}

std::vector<Alias> aliases(const Node&, const std::vector<MapShape>& inputs, const std::vector<MapShape>&) {
  std::vector<Alias> wishes;
  int64_t channel = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    wishes.push_back({Alias::kSliceOfOutput, static_cast<int>(i), /*output=*/0, channel});
    channel += inputs[i].c;
  }
  return wishes;
}

const RegisterOp kRegistered({"concat", infer_shapes, prepare, aliases});

}  // namespace
}  // namespace pyvision::engine
