// SPDX-License-Identifier: Apache-2.0
// The engine's activation {x}, add {a, b}, mul {a, b}, mul_add {a, b, c}, and the copies: identity {x},
// concat {x, …} and split {x} along channels. In sums and products every operand after the first has the
// first's shape or is one pixel (n, 1, 1, c) for a whole image.
#include "ops/elementwise/elementwise.h"

#include "core/check.h"
#include "engine/op.h"

namespace pyvision::engine::elementwise_node {

bool fits(const MapShape& operand, const MapShape& whole) {
  return operand == whole || operand == MapShape{1, 1, whole.c};
}

std::vector<MapShape> infer_elementwise(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, node.op == "activation" ? 1 : node.op == "mul_add" ? 3 : 2);
  for (const MapShape& input : inputs)
    check(fits(input, inputs[0]), node.op.c_str(), "expected operands of shape ", shape_text(inputs[0]),
          " or ", shape_text(MapShape{1, 1, inputs[0].c}), ", got ", shape_text(input));
  check(node.op != "activation" || node.activation().kind != Activation::kNone, "activation",
        "expected attribute 'activation'");
  return {inputs[0]};
}

Step prepare_elementwise(const Node& node, const std::vector<MapShape>&,
                         const std::vector<MapShape>& outputs) {
  Step step;
  const ActivationParams f = node.activation();
  if (node.op == "activation") {
    step.run = [f](const StepMaps& maps) { activate(f, maps.inputs[0], maps.outputs[0]); };
  } else if (node.op == "add") {
    step.run = [f](const StepMaps& maps) { add(maps.inputs[0], maps.inputs[1], f, maps.outputs[0]); };
  } else if (node.op == "mul") {
    step.run = [f](const StepMaps& maps) { mul(maps.inputs[0], maps.inputs[1], f, maps.outputs[0]); };
  } else {
    step.run = [f](const StepMaps& maps) {
      mul_add(maps.inputs[0], maps.inputs[1], maps.inputs[2], f, maps.outputs[0]);
    };
  }
  step.flops = outputs[0].numel() * static_cast<int64_t>(node.inputs.size() > 1 ? node.inputs.size() - 1 : 0);
  return step;
}

std::vector<Alias> overwrite_an_input(const Node&, const std::vector<MapShape>& inputs,
                                      const std::vector<MapShape>& outputs) {
  std::vector<Alias> wishes;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i] == outputs[0]) wishes.push_back({Alias::kInPlace, static_cast<int>(i), /*output=*/0});
  return wishes;
}

// Copies, unless the memory plan has made both the same memory.
void move_map(const Nhwc<const float>& from, const Nhwc<float>& to) {
  if (from.data != to.data) copy(from, to);
}

std::vector<MapShape> infer_identity(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  return {inputs[0]};
}

Step prepare_identity(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) { copy(maps.inputs[0], maps.outputs[0]); };
  return step;
}

std::vector<MapShape> infer_concat(const Node&, const std::vector<MapShape>& inputs) {
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

Step prepare_concat(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) {
    int64_t channel = 0;
    for (const Nhwc<const float>& input : maps.inputs) {
      move_map(input, channel_slice(maps.outputs[0], channel, input.c));
      channel += input.c;
    }
  };
  return step;
}

std::vector<Alias> inputs_as_slices(const Node&, const std::vector<MapShape>& inputs,
                                    const std::vector<MapShape>&) {
  std::vector<Alias> wishes;
  int64_t channel = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    wishes.push_back({Alias::kSliceOfOutput, static_cast<int>(i), /*output=*/0, channel});
    channel += inputs[i].c;
  }
  return wishes;
}

std::vector<MapShape> infer_split(const Node& node, const std::vector<MapShape>& inputs) {
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

Step prepare_split(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) {
    int64_t channel = 0;
    for (const Nhwc<float>& output : maps.outputs) {
      move_map(channel_slice(maps.inputs[0], channel, output.c), output);
      channel += output.c;
    }
  };
  return step;
}

std::vector<Alias> outputs_as_slices(const Node&, const std::vector<MapShape>&,
                                     const std::vector<MapShape>& outputs) {
  std::vector<Alias> wishes;
  int64_t channel = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    wishes.push_back({Alias::kSliceOfInput, /*input=*/0, static_cast<int>(i), channel});
    channel += outputs[i].c;
  }
  return wishes;
}

const RegisterOp kActivation({"activation", infer_elementwise, prepare_elementwise, overwrite_an_input});
const RegisterOp kAdd({"add", infer_elementwise, prepare_elementwise, overwrite_an_input,
                       /*fuses_activation=*/true});
const RegisterOp kMul({"mul", infer_elementwise, prepare_elementwise, overwrite_an_input,
                       /*fuses_activation=*/true});
const RegisterOp kMulAdd({"mul_add", infer_elementwise, prepare_elementwise, overwrite_an_input,
                          /*fuses_activation=*/true});
const RegisterOp kIdentity({"identity", infer_identity, prepare_identity});
const RegisterOp kConcat({"concat", infer_concat, prepare_concat, inputs_as_slices});
const RegisterOp kSplit({"split", infer_split, prepare_split, outputs_as_slices});

}  // namespace pyvision::engine::elementwise_node
