// SPDX-License-Identifier: Apache-2.0
// The engine's max_pool2d, avg_pool2d and adaptive_avg_pool2d: input {x}.
#include "core/check.h"
#include "engine/op.h"
#include "ops/pool2d/pool2d.h"

namespace pyvision::engine::pool2d_node {

Pool2dParams parse(const Node& node) {
  const auto& kernel = node.integers("kernel", 2);
  const auto& stride = node.integers("stride", 2);
  const auto& padding = node.integers("padding", 2);
  Pool2dParams params;
  params.kernel_h = kernel[0];
  params.kernel_w = kernel[1];
  params.stride_h = stride[0];
  params.stride_w = stride[1];
  params.pad_top = params.pad_bottom = padding[0];
  params.pad_left = params.pad_right = padding[1];
  params.ceil_mode = node.integer("ceil_mode") != 0;
  if (node.op == "max_pool2d") {
    const auto& dilation = node.integers("dilation", 2);
    params.dilation_h = dilation[0];
    params.dilation_w = dilation[1];
  } else {
    params.count_include_pad = node.integer("count_include_pad") != 0;
    params.divisor_override = node.integer("divisor_override");
  }
  return params;
}

std::vector<MapShape> infer_pool(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  const Pool2dParams params = parse(node);
  check_pool2d(node.op.c_str(), params, inputs[0].h, inputs[0].w);
  return {{params.out_h(inputs[0].h), params.out_w(inputs[0].w), inputs[0].c}};
}

Step prepare_max(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [params = parse(node)](const StepMaps& maps) {
    max_pool2d(params, maps.inputs[0], maps.outputs[0]);
  };
  return step;
}

Step prepare_average(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [params = parse(node)](const StepMaps& maps) {
    avg_pool2d(params, maps.inputs[0], maps.outputs[0]);
  };
  return step;
}

std::vector<MapShape> infer_adaptive(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  const auto& size = node.integers("output_size", 2);
  check(size[0] > 0 && size[1] > 0, "adaptive_avg_pool2d", "expected a positive output_size, got ", size[0],
        " x ", size[1]);
  return {{size[0], size[1], inputs[0].c}};
}

Step prepare_adaptive(const Node&, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  Step step;
  step.run = [](const StepMaps& maps) { adaptive_avg_pool2d(maps.inputs[0], maps.outputs[0]); };
  return step;
}

const RegisterOp kMax({"max_pool2d", infer_pool, prepare_max});
const RegisterOp kAverage({"avg_pool2d", infer_pool, prepare_average});
const RegisterOp kAdaptive({"adaptive_avg_pool2d", infer_adaptive, prepare_adaptive});

}  // namespace pyvision::engine::pool2d_node
