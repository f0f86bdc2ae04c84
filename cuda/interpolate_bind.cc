// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "interpolate.cuh"

namespace pyvision::cuda::interpolate_bind {

using Pair = std::array<int64_t, 2>;

constexpr const char *kOp = "interpolate", *kBackward = "interpolate_backward";

// A resizing, or its gradient, of an array; the result and the workspace yet to be allocated by its
// framework.
struct Launchable {
  Stream stream;
  bool backward;
  InterpolateProblem problem;

  const char* op() const { return backward ? kBackward : kOp; }
  size_t workspace_bytes() const { return interpolate_workspace(problem, backward); }
  void run(const DeviceArray& workspace, const DeviceArray& result) {
    InterpolateProblem& p = problem;
    void* const memory = workspace_data(workspace, op(), stream, workspace_bytes());
    const std::vector<int64_t> shape = {p.n, backward ? p.h : p.out_h, backward ? p.w : p.out_w, p.channels};
    void* const to = checked_data(result, op(), backward ? "grad_input" : "output", stream, p.dtype, shape);
    if (backward) return interpolate_backward(kBackward, stream, p, memory, to);
    p.output = to;
    interpolate(kOp, stream, p, memory);
  }
};

// from: (n, height, width, channels), size: what the result has of height and width
Launchable launchable(bool backward, const Stream& stream, const DeviceArray& from, const Pair& size,
                      const std::string& mode, bool align_corners, bool antialias,
                      const std::array<double, 2>& scale) {
  Launchable made = {stream, backward, {}};
  const char *const op = made.op(), *const name = backward ? "grad_output" : "input";
  InterpolateProblem& p = made.problem;
  p.dtype = checked_float_type(from, op, name);
  void* const data = checked_data(from, op, name, stream, p.dtype, {-1, -1, -1, -1});
  const auto& x = from.tensor.shape;
  check(x[1] > 0 && x[2] > 0 && x[3] > 0, op, "expected ", name,
        " with no empty axis but N, got (N, H, W, C) = ", shape_text(from.tensor));
  check(x[3] <= INT32_MAX, op, "expected fewer than 2^31 channels, got ", x[3]);
  p.n = x[0], p.channels = x[3];
  if (backward) {
    check(size[0] > 0 && size[1] > 0, op, "expected input_shape of at least 1 x 1 pixels, got ",
          shape_text(size.data(), 2));
    p.h = size[0], p.w = size[1], p.out_h = x[1], p.out_w = x[2];
    p.output = data;
  } else {
    p.h = x[1], p.w = x[2], p.out_h = size[0], p.out_w = size[1];
    p.input = data;
  }
  p.params = interpolate_params(op, {p.out_h, p.out_w}, mode, align_corners, antialias, scale);
  return made;
}

void define(py::module_& m) {
  py::class_<Launchable>(m, "Interpolation")
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"));
  m.def("interpolation", &launchable, py::arg("backward"), py::arg("stream"), py::arg("input"),
        py::arg("size"), py::arg("mode"), py::arg("align_corners"), py::arg("antialias"), py::arg("scale"),
        "(N, H, W, C); planar maps as (N * C, H, W, 1)");
}

}  // namespace pyvision::cuda::interpolate_bind
