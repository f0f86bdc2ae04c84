// SPDX-License-Identifier: Apache-2.0
// The engine's split along channels, attribute "sizes". Its outputs ask to be slices of its input; those the
// memory plan cannot place there are copied.
#include "core/check.h"
#include "engine/copy.h"
#include "engine/op.h"

namespace pyvision::engine {
namespace {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  std::vector<MapShape> outputs;
  int64_t total = 0;
  for (const int64_t size : node.integers("sizes")) {
    check(size > 0 && size <= inputs[0].c, "split", "expected sizes in [1, ", inputs[0].c, "], got ", size);
    outputs.push_back({inputs[0].h, inputs[0].w, size});
    total += size;
  }
  check(total == inputs[0].c, "split", "expected sizes that add up to ", inputs[0].c, " channels, got ",
        total);
  return outputs;
}

Step prepare(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) {
    int64_t channel = 0;
    for (const Nhwc<float>& output : maps.outputs) {
      copy_map(channel_slice(maps.inputs[0], channel, output.c), output);
      channel += output.c;
    }
  };
  return step;
}

std::vector<Alias> aliases(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>& outputs) {
  std::vector<Alias> wishes;
  int64_t channel = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    wishes.push_back({Alias::kSliceOfInput, /*input=*/0, static_cast<int>(i), channel});
    channel += outputs[i].c;
  }
  return wishes;
}

const RegisterOp kRegistered({"split", infer_shapes, prepare, aliases});

}  // namespace
}  // namespace pyvision::engine
