// SPDX-License-Identifier: Apache-2.0
// The engine's batch_norm at inference: y[…, c] = scale[c] x[…, c] + shift[c], a 1 x 1 depthwise convolution.
// Only those that no convolution precedes come this far: see fold_batch_norm in engine/passes.cc.
#include "core/check.h"
#include "engine/op.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision::engine::batch_norm_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  for (const char* key : {"scale", "shift"})
    check(node.constant(key, 1).shape[0] == inputs[0].c, "batch_norm", "expected ",
          node.constant(key, 1).shape[0], " channels, as ", key, " has, got ", inputs[0].c);
  return {inputs[0]};
}

Step prepare(const Node& node, const std::vector<MapShape>& inputs, const std::vector<MapShape>& outputs) {
  Conv2dParams params;
  params.in_channels = params.out_channels = params.groups = inputs[0].c;
  params.activation = node.activation();
  const auto conv = std::make_shared<const Conv2d>(params, node.constant("scale", 1).data.data(),
                                                   node.constant("shift", 1).data.data());
  Step step;
  step.run = [conv](const StepMaps& maps) { conv->run(maps.inputs[0], nullptr, maps.outputs[0]); };
  step.algorithm = conv2d_algorithm_name(conv->algorithm());
  step.packed_bytes = conv->packed_bytes();
  step.flops = 2 * outputs[0].numel();
  return step;
}

const RegisterOp kRegistered({"batch_norm", infer_shapes, prepare, /*aliases=*/nullptr,
                              /*fuses_activation=*/true});

}  // namespace pyvision::engine::batch_norm_node
