// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>

#include "core/bind.h"
#include "core/sampled_maps.h"
#include "ops/warp/warp.h"

namespace pyvision::warp_bind {

constexpr int64_t kMaxExtent = kMaxSampledExtent;

// (n, h, w, c) with dense pixels in a row, none of them missing.
template <class T>
Nhwc<const T> image_view(const py::array& image, const char* op) {
  const auto x = nhwc_view<const T>(image, op, "src");
  check(x.h > 0 && x.w > 0 && x.c > 0, op, "expected src with no empty axis but N, got (N, H, W, C) = (", x.n,
        ", ", x.h, ", ", x.w, ", ", x.c, ")");
  check(x.h <= kMaxExtent && x.w <= kMaxExtent, op, "expected src of at most ", kMaxExtent,
        " rows and columns, got (", x.h, ", ", x.w, ")");
  check(x.stride_w == x.c || x.w == 1 || x.n == 0, op, "expected src with contiguous rows");
  return x;
}

struct WarpCall {
  WarpParams params;
  std::vector<double> border;
};

template <class T, class Run>
py::array warped(const char* op, const py::array& image, int64_t height, int64_t width, const WarpCall& call,
                 Run run) {
  const auto x = image_view<T>(image, op);
  check(height > 0 && width > 0, op, "expected dsize of at least 1 x 1 pixels, got (", width, ", ", height,
        ")");
  check(static_cast<int64_t>(call.border.size()) == x.c, op, "expected border_value for ", x.c,
        " channels, got ", call.border.size());
  py::array output = empty<T>(op, {x.n, height, width, x.c});
  std::vector<T> border;
  for (const double value : call.border) border.push_back(static_cast<T>(value));
  const auto y = nhwc_view<T>(output, op, "out");
  py::gil_scoped_release release;
  if (y.pixels() > 0) run(x, border.data(), y);
  return output;
}

WarpCall call_of(const char* op, const py::array& image, const std::string& mode,
                 const std::string& border_mode, std::vector<double> border) {
  for (double& value : border) {
    check(std::isfinite(value), op, "expected finite border_value, got ", value);
    if (py::isinstance<py::array_t<uint8_t>>(image)) value = std::clamp(std::nearbyint(value), 0.0, 255.0);
  }
  return {{parse_warp_mode(op, mode), parse_border_mode(op, border_mode)}, std::move(border)};
}

py::array projective(const py::array& image, const std::array<double, 9>& transform, int64_t height,
                     int64_t width, const std::string& mode, const std::string& border_mode,
                     std::vector<double> border, const std::string& op_name) {
  const char* const op = op_name.c_str();
  const WarpCall call = call_of(op, image, mode, border_mode, std::move(border));
  check(std::all_of(transform.begin(), transform.end(), [](double h) { return std::isfinite(h); }), op,
        "expected M with finite numbers");
  const auto run = [&](const auto& x, const auto* value, const auto& y) {
    warp_projective(call.params, x, transform.data(), value, y);
  };
  if (py::isinstance<py::array_t<uint8_t>>(image))
    return warped<uint8_t>(op, image, height, width, call, run);
  return warped<float>(op, image, height, width, call, run);
}

py::array map(const py::array& image, const py::array& map_x, const py::array& map_y, const std::string& mode,
              const std::string& border_mode, std::vector<double> border) {
  constexpr const char* kOp = "remap";
  const WarpCall call = call_of(kOp, image, mode, border_mode, std::move(border));
  const Tensor a = view<const float>(map_x, kOp, "map1"), b = view<const float>(map_y, kOp, "map2");
  check(a.rank == 2 && b.rank == 2 && a.shape[0] == b.shape[0] && a.shape[1] == b.shape[1], kOp,
        "expected map1 and map2 of one shape (H, W), got ", shape_text(a), " and ", shape_text(b));
  check(a.strides[0] == b.strides[0] && a.strides[1] == b.strides[1], kOp,
        "expected map1 and map2 with the same strides");
  const auto run = [&](const auto& x, const auto* value, const auto& y) {
    warp_map(call.params, x, a.as<const float>(), b.as<const float>(), a.strides[1], a.strides[0], value, y);
  };
  if (py::isinstance<py::array_t<uint8_t>>(image))
    return warped<uint8_t>(kOp, image, a.shape[0], a.shape[1], call, run);
  return warped<float>(kOp, image, a.shape[0], a.shape[1], call, run);
}

struct Grid {
  GridSampleParams params;
  Tensor grid;
};

template <class T>
Grid grid_view(const char* op, const Nhwc<const T>& x, const py::array& grid, const std::string& mode,
               const std::string& padding, bool align_corners) {
  check(x.h > 0 && x.w > 0, op, "expected input with pixels, got (N, H, W, C) = (", x.n, ", ", x.h, ", ", x.w,
        ", ", x.c, ")");
  check(x.h <= kMaxExtent && x.w <= kMaxExtent, op, "expected input of at most ", kMaxExtent,
        " rows and columns, got (", x.h, ", ", x.w, ")");
  const Tensor g = dense_view<const T>(grid, op, "grid", 4);
  check(g.shape[0] == x.n && g.shape[3] == 2, op, "expected grid of shape (", x.n, ", H, W, 2), got ",
        shape_text(g));
  return {{parse_grid_mode(op, mode), parse_grid_padding(op, padding), align_corners}, g};
}

template <class T>
py::array sample_grid(const py::array& input, const py::array& grid, const std::string& mode,
                      const std::string& padding, bool align_corners) {
  constexpr const char* kOp = "grid_sample";
  const auto x = dense_nhwc<const T>(input, kOp, "input");
  const Grid g = grid_view(kOp, x, grid, mode, padding, align_corners);
  py::array output = empty<T>(kOp, {x.n, g.grid.shape[1], g.grid.shape[2], x.c});
  const auto y = nhwc_view<T>(output, kOp, "out");
  py::gil_scoped_release release;
  grid_sample(g.params, x, g.grid.as<const T>(), y);
  return output;
}

template <class T>
py::tuple sample_grid_backward(const py::array& grad_output, const py::array& input, const py::array& grid,
                               const std::string& mode, const std::string& padding, bool align_corners) {
  constexpr const char* kOp = "grid_sample_backward";
  const auto x = dense_nhwc<const T>(input, kOp, "input");
  const Grid g = grid_view(kOp, x, grid, mode, padding, align_corners);
  const auto grad = dense_nhwc<const T>(grad_output, kOp, "grad_output");
  check(grad.n == x.n && grad.h == g.grid.shape[1] && grad.w == g.grid.shape[2] && grad.c == x.c, kOp,
        "expected grad_output of shape (N, H, W, C) = (", x.n, ", ", g.grid.shape[1], ", ", g.grid.shape[2],
        ", ", x.c, "), got (", grad.n, ", ", grad.h, ", ", grad.w, ", ", grad.c, ")");
  py::array grad_x = zeros<T>(kOp, {x.n, x.h, x.w, x.c}), grad_grid = empty<T>(kOp, {x.n, grad.h, grad.w, 2});
  T* const dx = static_cast<T*>(grad_x.mutable_data());
  T* const dgrid = static_cast<T*>(grad_grid.mutable_data());
  {
    py::gil_scoped_release release;
    grid_sample_backward(g.params, x, g.grid.as<const T>(), grad, dx, dgrid);
  }
  return py::make_tuple(grad_x, grad_grid);
}

void define(py::module_& m) {
  m.def("warp_projective", &projective, py::arg("src"), py::arg("transform"), py::arg("height"),
        py::arg("width"), py::arg("mode"), py::arg("border_mode"), py::arg("border_value"),
        py::arg("op") = "warp_perspective");
  m.def("remap", &map, py::arg("src"), py::arg("map_x"), py::arg("map_y"), py::arg("mode"),
        py::arg("border_mode"), py::arg("border_value"));
  m.def(
      "grid_sample",
      [](const py::array& input, const py::array& grid, const std::string& mode, const std::string& padding,
         bool align_corners) {
        const auto run = is_f64(input) ? sample_grid<double> : sample_grid<float>;
        return run(input, grid, mode, padding, align_corners);
      },
      py::arg("input"), py::arg("grid"), py::arg("mode"), py::arg("padding_mode"), py::arg("align_corners"));
  m.def(
      "grid_sample_backward",
      [](const py::array& grad_output, const py::array& input, const py::array& grid, const std::string& mode,
         const std::string& padding, bool align_corners) {
        const auto run = is_f64(input) ? sample_grid_backward<double> : sample_grid_backward<float>;
        return run(grad_output, input, grid, mode, padding, align_corners);
      },
      py::arg("grad_output"), py::arg("input"), py::arg("grid"), py::arg("mode"), py::arg("padding_mode"),
      py::arg("align_corners"));
}

}  // namespace pyvision::warp_bind
