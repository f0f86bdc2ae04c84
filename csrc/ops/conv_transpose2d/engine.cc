// SPDX-License-Identifier: Apache-2.0
// The engine's conv_transpose2d: input {x}, constants "weight" and, where there is one, "bias".
// Attribute "allow_winograd" (1) may be left out.
#include "ops/conv_transpose2d/conv_transpose2d.h"

#include "core/arena.h"
#include "core/check.h"
#include "engine/op.h"
#include "ops/layout/layout.h"

namespace pyvision::engine::conv_transpose2d_node {

ConvTranspose2dParams parse(const Node& node, const MapShape& input) {
  const auto& weight = node.constant("weight", 4).shape;  // (in, out / groups, kh, kw)
  const auto& stride = node.integers("stride", 2);
  const auto& padding = node.integers("padding", 2);
  const auto& output_padding = node.integers("output_padding", 2);
  const auto& dilation = node.integers("dilation", 2);
  ConvTranspose2dParams params;
  params.groups = node.integer("groups");
  params.in_channels = input.c;
  params.out_channels = weight[1] * params.groups;
  params.kernel_h = weight[2];
  params.kernel_w = weight[3];
  params.stride_h = stride[0];
  params.stride_w = stride[1];
  params.padding_h = padding[0];
  params.padding_w = padding[1];
  params.output_padding_h = output_padding[0];
  params.output_padding_w = output_padding[1];
  params.dilation_h = dilation[0];
  params.dilation_w = dilation[1];
  params.activation = node.activation();
  params.allow_winograd = !node.has("allow_winograd") || node.integer("allow_winograd") != 0;
  return params;
}

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  const ConvTranspose2dParams params = parse(node, inputs[0]);
  check_conv_transpose2d("conv_transpose2d", params, inputs[0].h, inputs[0].w);
  const auto& weight = node.constant("weight", 4).shape;
  check(weight[0] == inputs[0].c, "conv_transpose2d", "expected ", weight[0],
        " input channels, as the weight has, got ", inputs[0].c);
  if (node.constants.count("bias"))
    check(node.constant("bias", 1).shape[0] == params.out_channels, "conv_transpose2d", "expected a bias of ",
          params.out_channels, " values, got ", node.constant("bias", 1).shape[0]);
  return {{params.out_h(inputs[0].h), params.out_w(inputs[0].w), params.out_channels}};
}

Step prepare(const Node& node, const std::vector<MapShape>& inputs, const std::vector<MapShape>&) {
  const ConvTranspose2dParams params = parse(node, inputs[0]);
  const float* bias = node.constants.count("bias") ? node.constant("bias", 1).data.data() : nullptr;
  const Constant& weight = node.constant("weight", 4);
  const AlignedBuffer channels_last(weight.data.size() * sizeof(float));
  const int64_t taps = weight.shape[2] * weight.shape[3];
  nchw_to_nhwc(weight.data.data(), channels_last.as<float>(), weight.shape[0], weight.shape[1], taps, taps);
  const auto conv = std::make_shared<const ConvTranspose2d>(params, channels_last.as<float>(), bias,
                                                            inputs[0].h, inputs[0].w);
  Step step;
  step.run = [conv](const StepMaps& maps) { conv->run(maps.inputs[0], maps.outputs[0]); };
  step.packed_bytes = conv->packed_bytes();
  step.flops =
      2 * inputs[0].numel() * (params.out_channels / params.groups) * params.kernel_h * params.kernel_w;
  return step;
}

const RegisterOp kRegistered({"conv_transpose2d", infer_shapes, prepare, /*aliases=*/nullptr,
                              /*fuses_activation=*/true});

}  // namespace pyvision::engine::conv_transpose2d_node
