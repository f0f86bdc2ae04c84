// SPDX-License-Identifier: Apache-2.0
#include "conv_bind.h"

#include <algorithm>

namespace pyvision::cuda {

void check_coordinates(const char* op, std::initializer_list<int64_t> extents) {
  for (const int64_t extent : extents)
    check(extent < int64_t{1} << 29, op, "expected extents, with their padding, below 2^29 on CUDA");
}

ConvProblem conv_problem(const std::string& op_name, const Stream& stream, const DeviceArray& input,
                         const DeviceArray& weight, const OptionalArray& bias, const OptionalArray& residual,
                         Pair stride, Sides padding, Pair dilation, int64_t groups,
                         const std::string& activation, float slope, bool tf32, bool depthwise) {
  const char* const op = op_name.c_str();
  ConvProblem p;
  p.dtype = checked_float_type(input, op, "input");
  p.input = checked_data(input, op, "input", stream, p.dtype, {-1, -1, -1, -1});
  const auto& x = input.tensor.shape;
  p.n = x[0];
  p.h = x[1];
  p.w = x[2];
  p.weight =
      checked_data(weight, op, "weight", stream, p.dtype,
                   depthwise ? std::vector<int64_t>{-1, -1, -1} : std::vector<int64_t>{-1, -1, -1, -1});
  const auto& w = weight.tensor.shape;
  Conv2dParams& q = p.params;
  q.in_channels = x[3];
  q.out_channels = depthwise ? w[2] : w[0];
  q.kernel_h = depthwise ? w[0] : w[1];
  q.kernel_w = depthwise ? w[1] : w[2];
  q.stride_h = stride[0];
  q.stride_w = stride[1];
  q.pad_top = padding[0];
  q.pad_left = padding[1];
  q.pad_bottom = padding[2];
  q.pad_right = padding[3];
  q.dilation_h = dilation[0];
  q.dilation_w = dilation[1];
  q.groups = groups;
  q.activation.kind = parse_activation(op, activation);
  q.activation.slope = slope;
  Conv2dParams counted = q;  // a transposed convolution's adjoint leaves out rows that no window sees
  counted.pad_bottom = std::max<int64_t>(0, q.pad_bottom);
  counted.pad_right = std::max<int64_t>(0, q.pad_right);
  check_conv2d(op, counted, p.h, p.w);
  check(depthwise ? q.groups == q.in_channels : w[3] == q.in_channels / q.groups, op, "expected weight for ",
        q.in_channels / q.groups, " input channels a group, got shape ", shape_text(weight.tensor));
  check(q.groups <= 65535 || depthwise, op, "expected at most 65535 groups on CUDA, got ", q.groups);
  check_coordinates(op, {p.h, p.w, q.in_channels, q.out_channels,
                         q.out_h(p.h) * q.stride_h + q.pad_top + q.dilation_h * q.kernel_h,
                         q.out_w(p.w) * q.stride_w + q.pad_left + q.dilation_w * q.kernel_w});
  const std::vector<int64_t> y = {p.n, p.out_h(), p.out_w(), q.out_channels};
  checked_numel(op, y.data(), 4);
  p.bias = data_or_null<const void>(bias, op, "bias", stream, p.dtype, {q.out_channels});
  p.residual = data_or_null<const void>(residual, op, "residual", stream, p.dtype, y);
  p.tf32 = tf32;
  return p;
}

namespace conv2d_bind {

// A convolution of these arrays, its workspace and output yet to be allocated by their framework.
struct Launchable {
  std::string op;
  Stream stream;
  ConvProblem problem;
  bool depthwise;

  std::vector<int64_t> output_shape() const {
    return {problem.n, problem.out_h(), problem.out_w(), problem.params.out_channels};
  }
  size_t workspace_bytes() const { return depthwise ? 0 : conv2d_workspace_bytes(stream, problem); }
  void run(const DeviceArray& workspace, const DeviceArray& output) {
    problem.output = checked_data(output, op.c_str(), "output", stream, problem.dtype, output_shape());
    void* const memory = workspace_data(workspace, op.c_str(), stream, workspace_bytes());
    if (depthwise) return depthwise_conv2d(op.c_str(), stream, problem);
    conv2d(op.c_str(), stream, problem, memory);
  }
};

void define(py::module_& m) {
  py::class_<Launchable>(m, "Conv2d")
      .def(py::init([](const Stream& stream, const std::string& op, const DeviceArray& input,
                       const DeviceArray& weight, const OptionalArray& bias, const OptionalArray& residual,
                       Pair stride, Sides padding, Pair dilation, int64_t groups,
                       const std::string& activation, float slope, bool tf32, bool depthwise) {
             check(!depthwise || !residual, op.c_str(), "expected no residual");
             return Launchable{op, stream,
                               conv_problem(op, stream, input, weight, bias, residual, stride, padding,
                                            dilation, groups, activation, slope, tf32, depthwise),
                               depthwise};
           }),
           py::arg("stream"), py::arg("op"), py::arg("input"), py::arg("weight"), py::arg("bias"),
           py::arg("residual"), py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
           py::arg("activation"), py::arg("slope"), py::arg("tf32"), py::arg("depthwise"))
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"));
}

}  // namespace conv2d_bind
}  // namespace pyvision::cuda
