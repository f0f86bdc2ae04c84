// SPDX-License-Identifier: Apache-2.0
// The engine's conv2d: inputs {x} or {x, residual}, constants "weight" and, where there is one, "bias".
// Attributes "algorithm" ("auto"), "precision" ("f32") and "allow_winograd" (1) may be left out.
#include "core/check.h"
#include "engine/op.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision::engine {
namespace {

Conv2dParams parse(const Node& node, const MapShape& input) {
  const auto& weight = node.constant("weight", 4).shape;  // (out, in / groups, kh, kw)
  const auto& stride = node.integers("stride", 2);
  const auto& padding = node.integers("padding", 4);  // top, left, bottom, right
  const auto& dilation = node.integers("dilation", 2);
  Conv2dParams params;
  params.in_channels = input.c;
  params.out_channels = weight[0];
  params.kernel_h = weight[2];
  params.kernel_w = weight[3];
  params.stride_h = stride[0];
  params.stride_w = stride[1];
  params.pad_top = padding[0];
  params.pad_left = padding[1];
  params.pad_bottom = padding[2];
  params.pad_right = padding[3];
  params.dilation_h = dilation[0];
  params.dilation_w = dilation[1];
  params.groups = node.integer("groups");
  params.activation = node.activation();
  params.allow_winograd = !node.has("allow_winograd") || node.integer("allow_winograd") != 0;
  if (node.has("precision")) params.precision = parse_precision("conv2d", node.text("precision"));
  return params;
}

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check(inputs.size() == 1 || inputs.size() == 2, "conv2d", "expected 1 or 2 inputs, got ", inputs.size());
  const Conv2dParams params = parse(node, inputs[0]);
  check_conv2d("conv2d", params, inputs[0].h, inputs[0].w);
  const auto& weight = node.constant("weight", 4).shape;
  check(weight[1] * params.groups == inputs[0].c, "conv2d", "expected ", weight[1] * params.groups,
        " input channels, as the weight has, got ", inputs[0].c);
  if (node.constants.count("bias"))
    check(node.constant("bias", 1).shape[0] == weight[0], "conv2d", "expected a bias of ", weight[0],
          " values, got ", node.constant("bias", 1).shape[0]);
  const MapShape output = {params.out_h(inputs[0].h), params.out_w(inputs[0].w), params.out_channels};
  if (inputs.size() == 2)
    check(inputs[1] == output, "conv2d", "expected a residual of shape ", shape_text(output), ", got ",
          shape_text(inputs[1]));
  return {output};
}

Step prepare(const Node& node, const std::vector<MapShape>& inputs, const std::vector<MapShape>& outputs) {
  const Conv2dParams params = parse(node, inputs[0]);
  const float* bias = node.constants.count("bias") ? node.constant("bias", 1).data.data() : nullptr;
  const auto algorithm = node.has("algorithm") ? parse_conv2d_algorithm("conv2d", node.text("algorithm"))
                                               : Conv2dAlgorithm::kAuto;
  const auto conv = std::make_shared<const Conv2d>(params, node.constant("weight", 4).data.data(), bias,
                                                   algorithm, inputs[0].h, inputs[0].w);
  Step step;
  step.run = [conv](const StepMaps& maps) {
    conv->run(maps.inputs[0], maps.inputs.size() == 2 ? &maps.inputs[1] : nullptr, maps.outputs[0]);
  };
  step.algorithm = conv2d_algorithm_name(conv->algorithm());
  step.packed_bytes = conv->packed_bytes();
  step.flops =
      2 * outputs[0].numel() * (params.in_channels / params.groups) * params.kernel_h * params.kernel_w;
  return step;
}

std::vector<Alias> aliases(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  if (node.inputs.size() < 2) return {};
  return {{Alias::kInPlace, /*input=*/1, /*output=*/0}};  // the residual is read where the sum is written
}

const RegisterOp kRegistered({"conv2d", infer_shapes, prepare, aliases, /*fuses_activation=*/true});

}  // namespace
}  // namespace pyvision::engine
