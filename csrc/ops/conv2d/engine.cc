// SPDX-License-Identifier: Apache-2.0
// The engine's conv2d: inputs {x} or {x, residual}, constants "weight" and, where there is one, "bias".
// Attributes "algorithm" ("auto"), "precision" ("f32") and "allow_winograd" (1) may be left out. Its maps are
// all stored as f32 or all as bf16; to_bf16 {x} and to_f32 {x} go from one to the other.
#include "ops/conv2d/engine.h"

#include "core/check.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"

namespace pyvision::engine {

Conv2dParams conv2d_params(const Node& node, const MapShape& input, const std::string& prefix) {
  const auto& weight = node.constant(prefix + "weight", 4).shape;  // (out, in / groups, kh, kw)
  const auto& stride = node.integers(prefix + "stride", 2);
  const auto& padding = node.integers(prefix + "padding", 4);  // top, left, bottom, right
  const auto& dilation = node.integers(prefix + "dilation", 2);
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
  params.groups = node.integer(prefix + "groups");
  params.activation = node.activation(prefix);
  params.allow_winograd =
      !node.has(prefix + "allow_winograd") || node.integer(prefix + "allow_winograd") != 0;
  if (node.has(prefix + "precision"))
    params.precision = parse_precision("conv2d", node.text(prefix + "precision"));
  return params;
}

const float* conv2d_weight(const Node& node, const std::string& prefix) {
  return node.constant(prefix + "weight", 4).data.data();
}

const float* conv2d_bias(const Node& node, const std::string& prefix) {
  return node.constants.count(prefix + "bias") ? node.constant(prefix + "bias", 1).data.data() : nullptr;
}

MapShape conv2d_shape(const Node& node, const MapShape& input, const std::string& prefix) {
  const char* const op = node.op.c_str();
  const Conv2dParams params = conv2d_params(node, input, prefix);
  check_conv2d(op, params, input.h, input.w);
  const auto& weight = node.constant(prefix + "weight", 4).shape;
  check(weight[1] * params.groups == input.c, op, "expected ", weight[1] * params.groups,
        " input channels, as ", prefix, "weight has, got ", input.c);
  if (node.constants.count(prefix + "bias"))
    check(node.constant(prefix + "bias", 1).shape[0] == weight[0], op, "expected a ", prefix, "bias of ",
          weight[0], " values, got ", node.constant(prefix + "bias", 1).shape[0]);
  return {params.out_h(input.h), params.out_w(input.w), params.out_channels};
}

void check_residual(const Node& node, const std::vector<MapShape>& inputs, const MapShape& output) {
  check(inputs.size() == 1 || inputs.size() == 2, node.op.c_str(), "expected 1 or 2 inputs, got ",
        inputs.size());
  if (inputs.size() == 2)
    check(inputs[1] == output, node.op.c_str(), "expected a residual of shape ", shape_text(output), ", got ",
          shape_text(inputs[1]));
}

std::vector<Alias> residual_aliases(const Node& node, const std::vector<MapShape>&,
                                    const std::vector<MapShape>&) {
  if (node.inputs.size() < 2) return {};
  return {{Alias::kInPlace, /*input=*/1, /*output=*/0}};
}

int64_t conv2d_flops(const Conv2dParams& params, const MapShape& output) {
  return 2 * output.numel() * (params.in_channels / params.groups) * params.kernel_h * params.kernel_w;
}

namespace conv2d_node {

std::vector<MapShape> infer_shapes(const Node& node, const std::vector<MapShape>& inputs) {
  const MapShape output = conv2d_shape(node, inputs.at(0));
  check_residual(node, inputs, output);
  return {output};
}

Step prepare(const Node& node, const std::vector<MapShape>& inputs, const std::vector<MapShape>& outputs) {
  const Conv2dParams params = conv2d_params(node, inputs[0]);
  const auto algorithm = node.has("algorithm") ? parse_conv2d_algorithm("conv2d", node.text("algorithm"))
                                               : Conv2dAlgorithm::kAuto;
  const auto conv = std::make_shared<const Conv2d>(params, conv2d_weight(node), conv2d_bias(node), algorithm,
                                                   inputs[0].h, inputs[0].w);
  Step step;
  if (outputs[0].storage == Storage::kBf16) {
    step.run = [conv](const StepMaps& maps) {
      Nhwc<const Bf16> residual;
      if (maps.inputs.size() == 2) residual = stored_as<const Bf16>(maps.inputs[1]);
      conv->run(stored_as<const Bf16>(maps.inputs[0]), maps.inputs.size() == 2 ? &residual : nullptr,
                stored_as<Bf16>(maps.outputs[0]));
    };
  } else {
    step.run = [conv](const StepMaps& maps) {
      conv->run(maps.inputs[0], maps.inputs.size() == 2 ? &maps.inputs[1] : nullptr, maps.outputs[0]);
    };
  }
  step.algorithm = conv2d_algorithm_name(conv->algorithm());
  step.packed_bytes = conv->packed_bytes();
  step.flops = conv2d_flops(params, outputs[0]);
  return step;
}

std::vector<MapShape> infer_conversion(const Node& node, const std::vector<MapShape>& inputs) {
  check_input_count(node, inputs, 1);
  MapShape output = inputs[0];
  output.storage = node.op == "to_bf16" ? Storage::kBf16 : Storage::kF32;
  return {output};
}

Step prepare_conversion(const Node& node, const std::vector<MapShape>&, const std::vector<MapShape>&) {
  const Bf16Kernels* const kernels = &conv2d_bf16_kernels();
  Step step;
  // A task is a few dozen KB.
  const auto convert = [](const Nhwc<const float>& x, auto body) {
    parallel_for(x.pixels() * x.c, int64_t{1} << 15, body);
  };
  if (node.op == "to_bf16") {
    step.run = [=](const StepMaps& maps) {
      convert(maps.inputs[0], [&](int64_t begin, int64_t end) {
        kernels->to_bf16(maps.inputs[0].data + begin, stored_as<Bf16>(maps.outputs[0]).data + begin,
                         end - begin);
      });
    };
  } else {
    step.run = [=](const StepMaps& maps) {
      convert(maps.inputs[0], [&](int64_t begin, int64_t end) {
        kernels->to_f32(stored_as<const Bf16>(maps.inputs[0]).data + begin, maps.outputs[0].data + begin,
                        end - begin);
      });
    };
  }
  return step;
}

const RegisterOp kToBf16({"to_bf16", infer_conversion, prepare_conversion, /*aliases=*/nullptr,
                          /*fuses_activation=*/false, /*takes_slices=*/false});
const RegisterOp kToF32({"to_f32", infer_conversion, prepare_conversion, /*aliases=*/nullptr,
                         /*fuses_activation=*/false, /*takes_slices=*/false});
const RegisterOp kRegistered({"conv2d", infer_shapes, prepare, residual_aliases, /*fuses_activation=*/true});

}  // namespace conv2d_node
}  // namespace pyvision::engine
