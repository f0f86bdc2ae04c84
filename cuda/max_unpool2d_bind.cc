// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "max_unpool2d.cuh"

namespace pyvision::cuda::max_unpool2d_bind {

constexpr const char *kOp = "max_unpool2d", *kBackward = "max_unpool2d_backward";

// map: (n, height, width, channels), that with the zeros; indices: of as many images and channels
MaxUnpoolProblem problem_of(const char* op, const Stream& stream, const DeviceArray& map, const char* name,
                            const DeviceArray& indices) {
  MaxUnpoolProblem p;
  p.dtype = checked_float_type(map, op, name);
  checked_data(map, op, name, stream, p.dtype, {-1, -1, -1, -1});
  const auto& y = map.tensor.shape;
  check(y[1] > 0 && y[2] > 0 && y[3] > 0, op, "expected ", name,
        " with no empty axis but N, got (N, H, W, C) = ", shape_text(map.tensor));
  p.n = y[0], p.channels = y[3], p.places = y[1] * y[2];
  p.indices = static_cast<const int64_t*>(
      checked_data(indices, op, "indices", stream, DType::kI64, {p.n, -1, -1, p.channels}));
  p.values = indices.tensor.shape[1] * indices.tensor.shape[2];
  return p;
}

// Of a map's four extents.
std::vector<int64_t> shape_of(const DeviceArray& map) {
  const auto& x = map.tensor.shape;
  return {x[0], x[1], x[2], x[3]};
}

void run(const Stream& stream, const DeviceArray& input, const DeviceArray& indices,
         const DeviceArray& workspace, const DeviceArray& output) {
  const MaxUnpoolProblem p = problem_of(kOp, stream, output, "output", indices);
  const void* const x = checked_data(input, kOp, "input", stream, p.dtype, {p.n, -1, -1, p.channels});
  checked_data(indices, kOp, "indices", stream, DType::kI64, shape_of(input));
  void* const memory = workspace_data(workspace, kOp, stream, max_unpool2d_workspace(p));
  max_unpool2d(kOp, stream, p, x, memory, output.tensor.data);
}

void run_backward(const Stream& stream, const DeviceArray& grad_output, const DeviceArray& indices,
                  const DeviceArray& grad_input) {
  const MaxUnpoolProblem p = problem_of(kBackward, stream, grad_output, "grad_output", indices);
  void* const dx = checked_data(grad_input, kBackward, "grad_input", stream, p.dtype, shape_of(indices));
  max_unpool2d_backward(kBackward, stream, p, grad_output.tensor.data, dx);
}

void define(py::module_& m) {
  m.def(
      "max_unpool2d_workspace",
      [](const Stream& stream, const DeviceArray& indices, const DeviceArray& output) {
        return max_unpool2d_workspace(problem_of(kOp, stream, output, "output", indices));
      },
      py::arg("stream"), py::arg("indices"), py::arg("output"));
  m.def("max_unpool2d", &run, py::arg("stream"), py::arg("input"), py::arg("indices"), py::arg("workspace"),
        py::arg("output"));
  m.def("max_unpool2d_backward", &run_backward, py::arg("stream"), py::arg("grad_output"), py::arg("indices"),
        py::arg("grad_input"));
}

}  // namespace pyvision::cuda::max_unpool2d_bind
