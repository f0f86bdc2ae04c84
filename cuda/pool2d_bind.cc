// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "pool2d.cuh"

namespace pyvision::cuda::pool2d_bind {

using Pair = std::array<int64_t, 2>;

Pool2dProblem problem_of(const char* op, const Stream& stream, const DeviceArray& input, Pooling kind) {
  Pool2dProblem p;
  p.kind = kind;
  p.dtype = checked_float_type(input, op, "input");
  p.input = checked_data(input, op, "input", stream, p.dtype, {-1, -1, -1, -1});
  const auto& x = input.tensor.shape;
  check(x[1] > 0 && x[2] > 0 && x[3] > 0, op,
        "expected input with no empty axis but N, got (N, H, W, C) = ", shape_text(input.tensor));
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

Launchable windows(const Stream& stream, const std::string& op, const DeviceArray& input, Pooling kind,
                   Pair kernel, Pair stride, Pair padding, Pair dilation, bool ceil_mode,
                   bool count_include_pad, std::optional<int64_t> divisor_override) {
  Pool2dProblem p = problem_of(op.c_str(), stream, input, kind);
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
  check_pool2d(op.c_str(), p.params, p.h, p.w);
  check(divisor_override != 0, op.c_str(), "expected divisor_override to be other than 0");
  p.out_h = p.params.out_h(p.h);
  p.out_w = p.params.out_w(p.w);
  return {op, stream, p};
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
}

}  // namespace pyvision::cuda::pool2d_bind
