// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "pool2d.cuh"

namespace pyvision::cuda::pool2d_bind {

using Pair = std::array<int64_t, 2>;

Pool2dProblem problem_of(const char* op, const Stream& stream, const DeviceArray& input, Pooling kind,
                         const char* name = "input") {
  Pool2dProblem p;
  p.kind = kind;
  p.dtype = checked_float_type(input, op, name);
  p.input = checked_data(input, op, name, stream, p.dtype, {-1, -1, -1, -1});
  const auto& x = input.tensor.shape;
  check(x[1] > 0 && x[2] > 0 && x[3] > 0, op, "expected ", name,
        " with no empty axis but N, got (N, H, W, C) = ", shape_text(input.tensor));
  p.n = x[0];
  p.h = x[1];
  p.w = x[2];
  p.channels = x[3];
  return p;
}

// A pooling of an array, its output yet to be allocated by its framework.
struct Launchable {
  std::string op;
  Stream stream;
  Pool2dProblem problem;

  std::vector<int64_t> output_shape() const {
    return {problem.n, problem.out_h, problem.out_w, problem.channels};
  }
  // places: to have the places of the maxima too
  void run(const DeviceArray& output, const OptionalArray& places) {
    problem.output = checked_data(output, op.c_str(), "output", stream, problem.dtype, output_shape());
    check(!places || problem.kind == Pooling::kMaximum, op.c_str(), "expected places of maxima alone");
    problem.places = data_or_null<int64_t>(places, op.c_str(), "places", stream, DType::kI64, output_shape());
    if (places) problem.kind = Pooling::kMaximumPlaces;
    pool2d(op.c_str(), stream, problem);
  }
};

// Parameters and the output's extent.
void set_windows(const char* op, Pair kernel, Pair stride, Pair padding, Pair dilation, bool ceil_mode,
                 bool count_include_pad, std::optional<int64_t> divisor_override, Pool2dProblem* problem) {
  Pool2dProblem& p = *problem;
  p.params = {kernel[0],
              kernel[1],
              stride[0],
              stride[1],
              padding[0],
              padding[1],
              padding[0],
              padding[1],
              dilation[0],
              dilation[1],
              ceil_mode,
              count_include_pad,
              divisor_override.value_or(0)};
  check_pool2d(op, p.params, p.h, p.w);
  check(divisor_override != 0, op, "expected divisor_override to be other than 0");
  p.out_h = p.params.out_h(p.h);
  p.out_w = p.params.out_w(p.w);
}

Launchable windows(const Stream& stream, const std::string& op, const DeviceArray& input, Pooling kind,
                   Pair kernel, Pair stride, Pair padding, Pair dilation, bool ceil_mode,
                   bool count_include_pad, std::optional<int64_t> divisor_override) {
  Pool2dProblem p = problem_of(op.c_str(), stream, input, kind);
  set_windows(op.c_str(), kernel, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override,
              &p);
  return {op, stream, p};
}

// The output's extent is set.
void run_backward(const char* op, const Stream& stream, Pool2dProblem& p, const DeviceArray& grad_output,
                  const OptionalArray& indices, const DeviceArray& grad_input) {
  const std::vector<int64_t> shape = {p.n, p.out_h, p.out_w, p.channels};
  const void* const dy = checked_data(grad_output, op, "grad_output", stream, p.dtype, shape);
  p.places = data_or_null<int64_t>(indices, op, "indices", stream, DType::kI64, shape);
  pool2d_backward(op, stream, p, dy, grad_input.tensor.data);
}

void define(py::module_& m) {
  py::class_<Launchable>(m, "Pool2d")
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def("run", &Launchable::run, py::arg("output"), py::arg("places"));
  m.def(
      "max_pool2d",
      [](const Stream& stream, const DeviceArray& input, Pair kernel, Pair stride, Pair padding,
         Pair dilation, bool ceil_mode) {
        return windows(stream, "max_pool2d", input, Pooling::kMaximum, kernel, stride, padding, dilation,
                       ceil_mode, true, std::nullopt);
      },
      py::arg("stream"), py::arg("input"), py::arg("kernel_size"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("ceil_mode"));
  m.def(
      "avg_pool2d",
      [](const Stream& stream, const DeviceArray& input, Pair kernel, Pair stride, Pair padding,
         bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override) {
        return windows(stream, "avg_pool2d", input, Pooling::kAverage, kernel, stride, padding, {1, 1},
                       ceil_mode, count_include_pad, divisor_override);
      },
      py::arg("stream"), py::arg("input"), py::arg("kernel_size"), py::arg("stride"), py::arg("padding"),
      py::arg("ceil_mode"), py::arg("count_include_pad"), py::arg("divisor_override"));
  m.def(
      "adaptive_avg_pool2d",
      [](const Stream& stream, const DeviceArray& input, Pair output_size) {
        constexpr char kOp[] = "adaptive_avg_pool2d";
        Pool2dProblem p = problem_of(kOp, stream, input, Pooling::kAdaptiveAverage);
        check(output_size[0] >= 1 && output_size[1] >= 1, kOp, "expected output_size of at least 1, got ",
              shape_text(output_size.data(), 2));
        p.out_h = output_size[0];
        p.out_w = output_size[1];
        return Launchable{kOp, stream, p};
      },
      py::arg("stream"), py::arg("input"), py::arg("output_size"));
  m.def(
      "max_pool2d_backward",
      [](const Stream& stream, const DeviceArray& grad_output, const DeviceArray& indices, Pair kernel,
         Pair stride, Pair padding, Pair dilation, bool ceil_mode, const DeviceArray& grad_input) {
        constexpr char kOp[] = "max_pool2d_backward";
        Pool2dProblem p = problem_of(kOp, stream, grad_input, Pooling::kMaximumPlaces, "input_shape");
        set_windows(kOp, kernel, stride, padding, dilation, ceil_mode, true, std::nullopt, &p);
        run_backward(kOp, stream, p, grad_output, indices, grad_input);
      },
      py::arg("stream"), py::arg("grad_output"), py::arg("indices"), py::arg("kernel_size"),
      py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"),
      py::arg("grad_input"));
  m.def(
      "avg_pool2d_backward",
      [](const Stream& stream, const DeviceArray& grad_output, Pair kernel, Pair stride, Pair padding,
         bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override,
         const DeviceArray& grad_input) {
        constexpr char kOp[] = "avg_pool2d_backward";
        Pool2dProblem p = problem_of(kOp, stream, grad_input, Pooling::kAverage, "input_shape");
        set_windows(kOp, kernel, stride, padding, {1, 1}, ceil_mode, count_include_pad, divisor_override, &p);
        run_backward(kOp, stream, p, grad_output, std::nullopt, grad_input);
      },
      py::arg("stream"), py::arg("grad_output"), py::arg("kernel_size"), py::arg("stride"),
      py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"), py::arg("divisor_override"),
      py::arg("grad_input"));
  m.def(
      "adaptive_avg_pool2d_backward",
      [](const Stream& stream, const DeviceArray& grad_output, const DeviceArray& grad_input) {
        constexpr char kOp[] = "adaptive_avg_pool2d_backward";
        Pool2dProblem p = problem_of(kOp, stream, grad_input, Pooling::kAdaptiveAverage, "input_shape");
        const Tensor& dy = grad_output.tensor;
        check(dy.rank == 4 && dy.shape[1] > 0 && dy.shape[2] > 0, kOp,
              "expected grad_output with no empty axis but N, got (N, H, W, C) = ", shape_text(dy));
        p.out_h = dy.shape[1];
        p.out_w = dy.shape[2];
        run_backward(kOp, stream, p, grad_output, std::nullopt, grad_input);
      },
      py::arg("stream"), py::arg("grad_output"), py::arg("grad_input"));
}

}  // namespace pyvision::cuda::pool2d_bind
