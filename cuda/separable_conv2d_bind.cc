// SPDX-License-Identifier: Apache-2.0
#include "separable_conv2d.cuh"

#include "conv_bind.h"

namespace pyvision::cuda::separable_conv2d_bind {

struct Launchable {
  std::string op;
  Stream stream;
  SeparableProblem problem;

  Launchable(const Stream& stream, const std::string& op_name, const DeviceArray& input,
             const DeviceArray& depthwise_weight, const DeviceArray& pointwise_weight,
             const OptionalArray& depthwise_bias, const OptionalArray& pointwise_bias,
             const OptionalArray& residual, Pair stride, Sides padding, Pair dilation,
             const std::string& depthwise_activation, float depthwise_slope, const std::string& activation,
             float slope)
      : op(op_name), stream(stream) {
    const char* const op = op_name.c_str();
    check(input.tensor.rank == 4, op, "expected input of shape (N, H, W, C), got ", shape_text(input.tensor));
    const ConvProblem& d = problem.depthwise =
        conv_problem(op, stream, input, depthwise_weight, depthwise_bias, {}, stride, padding, dilation,
                     input.tensor.shape[3], depthwise_activation, depthwise_slope, /*tf32=*/false,
                     /*depthwise=*/true);
    ConvProblem& p = problem.pointwise;
    p.dtype = d.dtype;
    p.n = d.n, p.h = d.out_h(), p.w = d.out_w();
    p.params.in_channels = d.params.out_channels;
    p.weight = checked_data(pointwise_weight, op, "pointwise_weight", stream, p.dtype,
                            {-1, 1, 1, p.params.in_channels});
    p.params.out_channels = pointwise_weight.tensor.shape[0];
    p.params.activation.kind = parse_activation(op, activation);
    p.params.activation.slope = slope;
    check_conv2d(op, p.params, p.h, p.w);
    check_coordinates(op, {p.params.out_channels});
    checked_numel(op, output_shape().data(), 4);
    p.bias = data_or_null<const void>(pointwise_bias, op, "pointwise_bias", stream, p.dtype,
                                      {p.params.out_channels});
    p.residual = data_or_null<const void>(residual, op, "residual", stream, p.dtype, output_shape());
  }

  std::vector<int64_t> output_shape() const {
    const ConvProblem& p = problem.pointwise;
    return {p.n, p.h, p.w, p.params.out_channels};
  }
  size_t workspace_bytes() const { return separable_conv2d_workspace_bytes(stream, problem); }
  void run(const DeviceArray& workspace, const DeviceArray& output) {
    const char* const op = this->op.c_str();
    ConvProblem& p = problem.pointwise;
    p.output = checked_data(output, op, "output", stream, p.dtype, output_shape());
    separable_conv2d(op, stream, problem, workspace_data(workspace, op, stream, workspace_bytes()));
  }
};

void define(py::module_& m) {
  py::class_<Launchable>(m, "SeparableConv2d")
      .def(py::init<const Stream&, const std::string&, const DeviceArray&, const DeviceArray&,
                    const DeviceArray&, const OptionalArray&, const OptionalArray&, const OptionalArray&,
                    Pair, Sides, Pair, const std::string&, float, const std::string&, float>(),
           py::arg("stream"), py::arg("op"), py::arg("input"), py::arg("depthwise_weight"),
           py::arg("pointwise_weight"), py::arg("depthwise_bias"), py::arg("pointwise_bias"),
           py::arg("residual"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("depthwise_activation"), py::arg("depthwise_slope"), py::arg("activation"),
           py::arg("slope"))
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"));
}

}  // namespace pyvision::cuda::separable_conv2d_bind
