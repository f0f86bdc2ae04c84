// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "interpolate.cuh"

namespace pyvision::cuda::interpolate_bind {

void run(const Stream& stream, const DeviceArray& input, const std::string& mode, bool align_corners,
         const std::array<double, 2>& scale, const DeviceArray& output) {
  constexpr char kOp[] = "interpolate";
  InterpolateProblem p;
  p.dtype = checked_float_type(input, kOp, "input");
  p.input = checked_data(input, kOp, "input", stream, p.dtype, {-1, -1, -1, -1});
  const auto &x = input.tensor.shape, &y = output.tensor.shape;
  p.n = x[0], p.h = x[1], p.w = x[2], p.channels = x[3];
  p.output = checked_data(output, kOp, "output", stream, p.dtype, {p.n, -1, -1, p.channels});
  p.out_h = y[1], p.out_w = y[2];
  check(p.h > 0 && p.w > 0 && p.channels > 0, kOp,
        "expected input with no empty axis but N, got (N, H, W, C) = ", shape_text(input.tensor));
  check(p.channels <= INT32_MAX, kOp, "expected fewer than 2^31 channels, got ", p.channels);
  p.params = interpolate_params(kOp, {p.out_h, p.out_w}, mode, align_corners, false, scale);
  check(p.params.mode != InterpolateMode::kBicubic && p.params.mode != InterpolateMode::kArea, kOp,
        "expected mode nearest, nearest-exact or bilinear on CUDA, got '", mode, "'");
  interpolate(kOp, stream, p);
}

void define(py::module_& m) {
  m.def("interpolate", &run, py::arg("stream"), py::arg("input"), py::arg("mode"), py::arg("align_corners"),
        py::arg("scale"), py::arg("output"), "(N, H, W, C); planar maps as (N * C, H, W, 1)");
}

}  // namespace pyvision::cuda::interpolate_bind
