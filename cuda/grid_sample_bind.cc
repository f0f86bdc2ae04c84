// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "core/sampled_maps.h"
#include "grid_sample.cuh"

namespace pyvision::cuda::grid_sample_bind {

GridSampleProblem problem_of(const char* op, const Stream& stream, const DeviceArray& input,
                             const DeviceArray& grid, const std::string& mode, const std::string& padding,
                             bool align_corners) {
  GridSampleProblem p;
  p.params = {parse_grid_mode(op, mode), parse_grid_padding(op, padding), align_corners};
  p.dtype = checked_float_type(input, op, "input");
  p.input = checked_data(input, op, "input", stream, p.dtype, {-1, -1, -1, -1});
  const auto &x = input.tensor.shape, &g = grid.tensor.shape;
  p.n = x[0], p.h = x[1], p.w = x[2], p.channels = x[3];
  p.grid = static_cast<const float*>(checked_data(grid, op, "grid", stream, DType::kF32, {p.n, -1, -1, 2}));
  p.out_h = g[1], p.out_w = g[2];
  check(p.h > 0 && p.w > 0, op, "expected input with pixels, got (N, H, W, C) = ", shape_text(input.tensor));
  check(p.h <= kMaxSampledExtent && p.w <= kMaxSampledExtent, op, "expected input of at most ",
        kMaxSampledExtent, " rows and columns, got ", shape_text(input.tensor));
  check(p.channels <= INT32_MAX, op, "expected input of fewer than 2^31 channels, got ", p.channels);
  return p;
}

void define(py::module_& m) {
  m.def(
      "grid_sample",
      [](const Stream& stream, const DeviceArray& input, const DeviceArray& grid, const std::string& mode,
         const std::string& padding, bool align_corners, const DeviceArray& output) {
        constexpr char kOp[] = "grid_sample";
        const GridSampleProblem p = problem_of(kOp, stream, input, grid, mode, padding, align_corners);
        void* const y =
            checked_data(output, kOp, "output", stream, p.dtype, {p.n, p.out_h, p.out_w, p.channels});
        grid_sample(kOp, stream, p, y);
      },
      py::arg("stream"), py::arg("input"), py::arg("grid"), py::arg("mode"), py::arg("padding_mode"),
      py::arg("align_corners"), py::arg("output"));
  m.def(
      "grid_sample_backward_workspace",
      [](const Stream& stream, const DeviceArray& input, const DeviceArray& grid, const std::string& mode,
         const std::string& padding, bool align_corners) {
        constexpr char kOp[] = "grid_sample_backward";
        const GridSampleProblem p = problem_of(kOp, stream, input, grid, mode, padding, align_corners);
        check(grid_sample_count(p) <= INT32_MAX, kOp,
              "expected grid of fewer than 2^31 pixels to be read, got ", grid_sample_count(p));
        return grid_sample_backward_workspace_bytes(kOp, stream, p);
      },
      py::arg("stream"), py::arg("input"), py::arg("grid"), py::arg("mode"), py::arg("padding_mode"),
      py::arg("align_corners"));
  m.def(
      "grid_sample_backward",
      [](const Stream& stream, const DeviceArray& grad_output, const DeviceArray& input,
         const DeviceArray& grid, const std::string& mode, const std::string& padding, bool align_corners,
         const DeviceArray& workspace, const DeviceArray& grad_input, const DeviceArray& grad_grid) {
        constexpr char kOp[] = "grid_sample_backward";
        const GridSampleProblem p = problem_of(kOp, stream, input, grid, mode, padding, align_corners);
        const void* const dy = checked_data(grad_output, kOp, "grad_output", stream, p.dtype,
                                            {p.n, p.out_h, p.out_w, p.channels});
        void* const space =
            workspace_data(workspace, kOp, stream, grid_sample_backward_workspace_bytes(kOp, stream, p));
        void* const dx =
            checked_data(grad_input, kOp, "grad_input", stream, p.dtype, {p.n, p.h, p.w, p.channels});
        void* const dgrid =
            checked_data(grad_grid, kOp, "grad_grid", stream, DType::kF32, {p.n, p.out_h, p.out_w, 2});
        grid_sample_backward(kOp, stream, p, dy, space, dx, static_cast<float*>(dgrid));
      },
      py::arg("stream"), py::arg("grad_output"), py::arg("input"), py::arg("grid"), py::arg("mode"),
      py::arg("padding_mode"), py::arg("align_corners"), py::arg("workspace"), py::arg("grad_input"),
      py::arg("grad_grid"));
}

}  // namespace pyvision::cuda::grid_sample_bind
