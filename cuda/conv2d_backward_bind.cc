// SPDX-License-Identifier: Apache-2.0
#include "conv2d_backward.cuh"

#include "conv_bind.h"

namespace pyvision::cuda::conv2d_backward_bind {

// The gradient by the weight of a convolution of these arrays.
struct WeightGradient {
  std::string op;
  Stream stream;
  ConvProblem problem;
  const void* grad;
  bool depthwise;
  std::vector<int64_t> output_shape;  // the weight's

  WeightGradient(const Stream& stream, const std::string& op, const DeviceArray& grad_output,
                 const DeviceArray& input, const DeviceArray& weight, Pair stride, Sides padding,
                 Pair dilation, int64_t groups, bool depthwise)
      : op(op),
        stream(stream),
        problem(conv_problem(op, stream, input, weight, {}, {}, stride, padding, dilation, groups, "none", 0,
                             /*tf32=*/false, depthwise)),
        grad(checked_data(grad_output, op.c_str(), "grad_output", stream, problem.dtype,
                          {problem.n, problem.out_h(), problem.out_w(), problem.params.out_channels})),
        depthwise(depthwise),
        output_shape(weight.tensor.shape, weight.tensor.shape + weight.tensor.rank) {}

  size_t workspace_bytes() const {
    return depthwise ? depthwise_grad_weight_workspace_bytes(stream, problem)
                     : conv2d_grad_weight_workspace_bytes(stream, problem);
  }
  void run(const DeviceArray& workspace, const DeviceArray& output) const {
    void* const to = checked_data(output, op.c_str(), "output", stream, problem.dtype, output_shape);
    void* const memory = workspace_data(workspace, op.c_str(), stream, workspace_bytes());
    (depthwise ? depthwise_grad_weight : conv2d_grad_weight)(op.c_str(), stream, problem, grad, memory, to);
  }
};

// The sum over all axes but the last.
struct RowSum {
  std::string op;
  Stream stream;
  DType dtype;
  const void* x;
  int64_t rows, channels;

  RowSum(const Stream& stream, const std::string& op, const DeviceArray& input)
      : op(op),
        stream(stream),
        dtype(checked_float_type(input, op.c_str(), "grad_output")),
        x(checked_data(input, op.c_str(), "grad_output", stream, dtype, {-1, -1, -1, -1})) {
    const auto& shape = input.tensor.shape;
    rows = shape[0] * shape[1] * shape[2], channels = shape[3];
  }

  std::vector<int64_t> output_shape() const { return {channels}; }
  size_t workspace_bytes() const { return sum_rows_workspace_bytes(stream, rows, channels); }
  void run(const DeviceArray& workspace, const DeviceArray& output) const {
    void* const to = checked_data(output, op.c_str(), "output", stream, dtype, {channels});
    void* const memory = workspace_data(workspace, op.c_str(), stream, workspace_bytes());
    sum_rows(op.c_str(), stream, dtype, x, rows, channels, memory, to);
  }
};

void define(py::module_& m) {
  py::class_<WeightGradient>(m, "Conv2dWeightGradient")
      .def(py::init<const Stream&, const std::string&, const DeviceArray&, const DeviceArray&,
                    const DeviceArray&, Pair, Sides, Pair, int64_t, bool>(),
           py::arg("stream"), py::arg("op"), py::arg("grad_output"), py::arg("input"), py::arg("weight"),
           py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
           py::arg("depthwise"))
      .def_readonly("output_shape", &WeightGradient::output_shape)
      .def_property_readonly("workspace_bytes", &WeightGradient::workspace_bytes)
      .def("run", &WeightGradient::run, py::arg("workspace"), py::arg("output"));
  py::class_<RowSum>(m, "RowSum")
      .def(py::init<const Stream&, const std::string&, const DeviceArray&>(), py::arg("stream"),
           py::arg("op"), py::arg("input"))
      .def_property_readonly("output_shape", &RowSum::output_shape)
      .def_property_readonly("workspace_bytes", &RowSum::workspace_bytes)
      .def("run", &RowSum::run, py::arg("workspace"), py::arg("output"));
}

}  // namespace pyvision::cuda::conv2d_backward_bind
