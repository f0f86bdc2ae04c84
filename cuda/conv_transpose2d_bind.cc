// SPDX-License-Identifier: Apache-2.0
#include "conv_transpose2d.cuh"

#include "conv_bind.h"

namespace pyvision::cuda::conv_transpose2d_bind {

// A transposed convolution of these arrays, its workspace and output yet to be allocated by their framework.
struct Launchable {
  std::string op;
  Stream stream;
  ConvTransposeProblem problem;
  bool depthwise;

  Launchable(const Stream& stream, const std::string& op_name, const DeviceArray& input,
             const DeviceArray& weight, const OptionalArray& bias, Pair stride, Pair padding,
             Pair output_padding, Pair dilation, int64_t groups, const std::string& activation, float slope,
             std::optional<Pair> output_size, bool depthwise)
      : op(op_name), stream(stream), depthwise(depthwise) {
    const char* const op = op_name.c_str();
    ConvTransposeProblem& p = problem;
    ConvTranspose2dParams& q = p.params;
    p.dtype = checked_float_type(input, op, "input");
    p.input = checked_data(input, op, "input", stream, p.dtype, {-1, -1, -1, -1});
    const auto& x = input.tensor.shape;
    p.n = x[0], p.h = x[1], p.w = x[2];
    p.weight =
        checked_data(weight, op, "weight", stream, p.dtype,
                     depthwise ? std::vector<int64_t>{-1, -1, x[3]} : std::vector<int64_t>{x[3], -1, -1, -1});
    const auto& w = weight.tensor.shape;
    q.in_channels = x[3];
    q.out_channels = depthwise ? groups : w[3] * groups;
    q.kernel_h = w[depthwise ? 0 : 1], q.kernel_w = w[depthwise ? 1 : 2];
    q.stride_h = stride[0], q.stride_w = stride[1];
    q.padding_h = padding[0], q.padding_w = padding[1];
    q.output_padding_h = output_padding[0], q.output_padding_w = output_padding[1];
    q.dilation_h = dilation[0], q.dilation_w = dilation[1];
    q.groups = groups;
    q.activation.kind = parse_activation(op, activation);
    q.activation.slope = slope;
    if (output_size) {  // the gradient of a convolution, whose own arguments have been checked
      p.out_h = (*output_size)[0], p.out_w = (*output_size)[1];
    } else {
      check_conv_transpose2d(op, q, p.h, p.w);
      p.out_h = q.out_h(p.h), p.out_w = q.out_w(p.w);
    }
    check(q.groups <= 65535 || depthwise, op, "expected at most 65535 groups on CUDA, got ", q.groups);
    check_coordinates(op, {p.h, p.w, p.out_h + q.padding_h + q.dilation_h * q.kernel_h,
                           p.out_w + q.padding_w + q.dilation_w * q.kernel_w, q.in_channels, q.out_channels});
    const std::vector<int64_t> y = output_shape();
    checked_numel(op, y.data(), 4);
    p.bias = data_or_null<const void>(bias, op, "bias", stream, p.dtype, {q.out_channels});
  }

  std::vector<int64_t> output_shape() const {
    return {problem.n, problem.out_h, problem.out_w, problem.params.out_channels};
  }
  size_t workspace_bytes() const { return depthwise ? 0 : conv_transpose2d_workspace_bytes(stream, problem); }
  void run(const DeviceArray& workspace, const DeviceArray& output) {
    problem.output = checked_data(output, op.c_str(), "output", stream, problem.dtype, output_shape());
    void* const memory = workspace_data(workspace, op.c_str(), stream, workspace_bytes());
    if (depthwise) return depthwise_conv_transpose2d(op.c_str(), stream, problem);
    conv_transpose2d(op.c_str(), stream, problem, memory);
  }
};

void define(py::module_& m) {
  py::class_<Launchable>(m, "ConvTranspose2d")
      .def(py::init<const Stream&, const std::string&, const DeviceArray&, const DeviceArray&,
                    const OptionalArray&, Pair, Pair, Pair, Pair, int64_t, const std::string&, float,
                    std::optional<Pair>, bool>(),
           py::arg("stream"), py::arg("op"), py::arg("input"), py::arg("weight"), py::arg("bias"),
           py::arg("stride"), py::arg("padding"), py::arg("output_padding"), py::arg("dilation"),
           py::arg("groups"), py::arg("activation"), py::arg("slope"), py::arg("output_size"),
           py::arg("depthwise"))
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"));
}

}  // namespace pyvision::cuda::conv_transpose2d_bind
