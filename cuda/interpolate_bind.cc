// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "interpolate.cuh"

namespace pyvision::cuda::interpolate_bind {

// input: (n, h, w, channels), output: (n, out_h, out_w, channels), either of them the gradient by it
InterpolateProblem problem_of(const char* op, const Stream& stream, const DeviceArray& input,
                              const char* input_name, const DeviceArray& output, const char* output_name,
                              const std::string& mode, bool align_corners,
                              const std::array<double, 2>& scale) {
  InterpolateProblem p;
  p.dtype = checked_float_type(input, op, input_name);
  p.input = checked_data(input, op, input_name, stream, p.dtype, {-1, -1, -1, -1});
  const auto &x = input.tensor.shape, &y = output.tensor.shape;
  p.n = x[0], p.h = x[1], p.w = x[2], p.channels = x[3];
  p.output = checked_data(output, op, output_name, stream, p.dtype, {p.n, -1, -1, p.channels});
  p.out_h = y[1], p.out_w = y[2];
  check(p.h > 0 && p.w > 0 && p.channels > 0, op, "expected ", input_name,
        " with no empty axis but N, got (N, H, W, C) = ", shape_text(input.tensor));
  check(p.channels <= INT32_MAX, op, "expected fewer than 2^31 channels, got ", p.channels);
  p.params = interpolate_params(op, {p.out_h, p.out_w}, mode, align_corners, false, scale);
  check(p.params.mode != InterpolateMode::kBicubic && p.params.mode != InterpolateMode::kArea, op,
        "expected mode nearest, nearest-exact or bilinear on CUDA, got '", mode, "'");
  return p;
}

void run(const Stream& stream, const DeviceArray& input, const std::string& mode, bool align_corners,
         const std::array<double, 2>& scale, const DeviceArray& output) {
  constexpr char kOp[] = "interpolate";
  interpolate(kOp, stream,
              problem_of(kOp, stream, input, "input", output, "output", mode, align_corners, scale));
}

void run_backward(const Stream& stream, const DeviceArray& grad_output, const std::string& mode,
                  bool align_corners, const std::array<double, 2>& scale, const DeviceArray& grad_input) {
  constexpr char kOp[] = "interpolate_backward";
  const InterpolateProblem p = problem_of(kOp, stream, grad_input, "grad_input", grad_output, "grad_output",
                                          mode, align_corners, scale);
  interpolate_backward(kOp, stream, p, const_cast<void*>(p.input));
}

void define(py::module_& m) {
  m.def("interpolate", &run, py::arg("stream"), py::arg("input"), py::arg("mode"), py::arg("align_corners"),
        py::arg("scale"), py::arg("output"), "(N, H, W, C); planar maps as (N * C, H, W, 1)");
  m.def("interpolate_backward", &run_backward, py::arg("stream"), py::arg("grad_output"), py::arg("mode"),
        py::arg("align_corners"), py::arg("scale"), py::arg("grad_input"), "as interpolate");
}

}  // namespace pyvision::cuda::interpolate_bind
