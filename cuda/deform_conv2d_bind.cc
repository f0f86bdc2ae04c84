// SPDX-License-Identifier: Apache-2.0
#include "conv_bind.h"
#include "deform_conv2d.cuh"

namespace pyvision::cuda::deform_conv2d_bind {

// A dense (n, channels, out_h, out_w) array, or with channels_last (n, out_h, out_w, channels).
DeformMap<void> map_of(const char* op, const DeviceArray& array, const char* name, const ConvProblem& conv,
                       const Stream& stream, int64_t channels, bool channels_last) {
  const int64_t h = conv.out_h(), w = conv.out_w();
  if (channels_last) {
    void* const data = checked_data(array, op, name, stream, conv.dtype, {conv.n, h, w, channels});
    return {data, h * w * channels, 1, w * channels, channels};
  }
  void* const data = checked_data(array, op, name, stream, conv.dtype, {conv.n, channels, h, w});
  return {data, channels * h * w, h * w, w, 1};
}

DeformMap<const void> read_only(const DeformMap<void>& map) {
  return {map.data, map.stride_n, map.stride_c, map.stride_h, map.stride_w};
}

struct Launchable {
  std::string op;
  Stream stream;
  DeformProblem problem;
  int64_t offset_channels;
  bool channels_last, masked;

  Launchable(const Stream& stream, const std::string& op_name, const DeviceArray& input,
             const DeviceArray& offset, const DeviceArray& weight, const OptionalArray& bias,
             const OptionalArray& mask, Pair stride, Pair padding, Pair dilation, bool channels_last)
      : op(op_name), stream(stream), channels_last(channels_last), masked(mask.has_value()) {
    const char* const op = op_name.c_str();
    check(input.tensor.rank == 4 && weight.tensor.rank == 4 && weight.tensor.shape[3] > 0 &&
              input.tensor.shape[3] % weight.tensor.shape[3] == 0,
          op, "expected weight for a divisor of the input's channels, got shape ", shape_text(weight.tensor));
    const Sides sides = {padding[0], padding[1], padding[0], padding[1]};
    const int64_t groups = input.tensor.shape[3] / weight.tensor.shape[3];
    problem.conv = conv_problem(op, stream, input, weight, bias, {}, stride, sides, dilation, groups, "none",
                                0, /*tf32=*/false, /*depthwise=*/false);
    const Conv2dParams& p = problem.conv.params;
    const int64_t pair = 2 * p.kernel_h * p.kernel_w;
    offset_channels = offset.tensor.shape[channels_last ? 3 : 1];
    check(offset.tensor.rank == 4 && offset_channels > 0 && offset_channels % pair == 0 &&
              p.in_channels % (offset_channels / pair) == 0,
          op, "expected offset with ", pair, " channels for each of G groups, G a divisor of ", p.in_channels,
          ", got shape ", shape_text(offset.tensor));
    problem.offset_groups = offset_channels / pair;
    problem.offset = read_only(map(offset, "offset", offset_channels));
    if (mask) problem.mask = read_only(map(*mask, "mask", offset_channels / 2));
  }

  DeformMap<void> map(const DeviceArray& array, const char* name, int64_t channels) const {
    return map_of(op.c_str(), array, name, problem.conv, stream, channels, channels_last);
  }
  std::vector<int64_t> output_shape() const {
    const ConvProblem& p = problem.conv;
    return {p.n, p.out_h(), p.out_w(), p.params.out_channels};
  }
  size_t workspace_bytes() const { return deform_conv2d_workspace_bytes(stream, problem); }
  void run(const DeviceArray& workspace, const DeviceArray& output) {
    const char* const op = this->op.c_str();
    problem.conv.output = checked_data(output, op, "output", stream, problem.conv.dtype, output_shape());
    deform_conv2d(op, stream, problem, workspace_data(workspace, op, stream, workspace_bytes()));
  }

  size_t backward_workspace_bytes() const {
    const ConvProblem& p = problem.conv;
    const char* const op = this->op.c_str();
    check(p.n * p.out_h() * p.out_w() <= INT32_MAX / (offset_channels / 2), op,
          "expected fewer than 2^31 samples on CUDA");
    check_coordinates(op, {p.params.in_channels * p.params.kernel_h * p.params.kernel_w});
    return deform_conv2d_backward_workspace_bytes(op, stream, problem);
  }
  void backward(const DeviceArray& grad_output, const DeviceArray& workspace, const DeviceArray& grad_input,
                const DeviceArray& grad_offset, const DeviceArray& grad_weight, const DeviceArray& grad_bias,
                const OptionalArray& grad_mask) const {
    const char* const op = this->op.c_str();
    const ConvProblem& p = problem.conv;
    const Conv2dParams& q = p.params;
    const auto data = [&](const DeviceArray& array, const char* name, const std::vector<int64_t>& shape) {
      return checked_data(array, op, name, stream, p.dtype, shape);
    };
    DeformGradients grad;
    grad.output = data(grad_output, "grad_output", output_shape());
    grad.input = data(grad_input, "grad_input", {p.n, p.h, p.w, q.in_channels});
    grad.weight =
        data(grad_weight, "grad_weight", {q.out_channels, q.kernel_h, q.kernel_w, q.in_channels / q.groups});
    grad.bias = data(grad_bias, "grad_bias", {q.out_channels});
    grad.offset = map(grad_offset, "grad_offset", offset_channels);
    check(masked == grad_mask.has_value(), op, "expected grad_mask with a mask alone");
    if (grad_mask) grad.mask = map(*grad_mask, "grad_mask", offset_channels / 2);
    deform_conv2d_backward(op, stream, problem, grad,
                           workspace_data(workspace, op, stream, backward_workspace_bytes()));
  }
};

void define(py::module_& m) {
  py::class_<Launchable>(m, "DeformConv2d")
      .def(py::init<const Stream&, const std::string&, const DeviceArray&, const DeviceArray&,
                    const DeviceArray&, const OptionalArray&, const OptionalArray&, Pair, Pair, Pair, bool>(),
           py::arg("stream"), py::arg("op"), py::arg("input"), py::arg("offset"), py::arg("weight"),
           py::arg("bias"), py::arg("mask"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("channels_last"))
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"))
      .def_property_readonly("backward_workspace_bytes", &Launchable::backward_workspace_bytes)
      .def("backward", &Launchable::backward, py::arg("grad_output"), py::arg("workspace"),
           py::arg("grad_input"), py::arg("grad_offset"), py::arg("grad_weight"), py::arg("grad_bias"),
           py::arg("grad_mask"));
}

}  // namespace pyvision::cuda::deform_conv2d_bind
