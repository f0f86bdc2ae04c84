// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "core/bind_grey.h"
#include "ops/corners/corners.h"

namespace pyvision::corners_bind {

CornerParams params_of(const char* op, bool harris, double k, int64_t block) {
  check(k >= 0 && k <= 0.25, op, "expected k in [0, 0.25], got ", k);
  check(block >= 1 && block <= kMaxCornerBlock, op, "expected block_size in [1, ", kMaxCornerBlock, "], got ",
        block);
  return {harris, static_cast<float>(k), block};
}

const char* name_of(bool harris) { return harris ? "Harris" : "ShiTomasi"; }

py::array response(const py::array& image, bool harris, double k, int64_t block) {
  const char* const op = name_of(harris);
  const AnyImage x = any_image(image, op);
  const CornerParams params = params_of(op, harris, k, block);
  py::array_t<float> y = empty<float>(op, {x.h, x.w});
  float* const values = y.mutable_data();
  {
    py::gil_scoped_release release;
    corner_response(x, params, values);
  }
  return y;
}

py::tuple detect(const py::array& image, const std::optional<py::array>& mask, bool harris, double k,
                 int64_t block, double quality, double min_distance, int64_t most) {
  const char* const op = name_of(harris);
  const AnyImage x = any_image(image, op);
  const PixelMask allowed = mask_view(mask, x, op);
  const CornerParams params = params_of(op, harris, k, block);
  check(quality > 0 && quality <= 1, op, "expected quality in (0, 1], got ", quality);
  check(min_distance >= 0 && min_distance <= 1e9, op, "expected min_distance in [0, 1e9], got ",
        min_distance);
  check(most >= 0, op, "expected max_features of at least 0, got ", most);
  std::vector<Corner> corners;
  {
    py::gil_scoped_release release;
    corners = find_corners(x, params, quality, allowed, min_distance, most);
  }
  const auto n = static_cast<int64_t>(corners.size());
  py::array_t<float> xy = empty<float>(op, {n, 2}), responses = empty<float>(op, {n});
  for (int64_t i = 0; i < n; ++i) {
    const Corner& c = corners[static_cast<size_t>(i)];
    xy.mutable_data()[2 * i] = c.x;
    xy.mutable_data()[2 * i + 1] = c.y;
    responses.mutable_data()[i] = c.response;
  }
  return py::make_tuple(xy, responses);
}

Tensor points_of(const py::array& xy, const char* op) {
  const Tensor points = dense_view<const float>(xy, op, "xy", 2);
  check(points.shape[1] == 2, op, "expected xy of shape (N, 2), got ", shape_text(points));
  for (int64_t i = 0; i < 2 * points.shape[0]; ++i)
    check(std::abs(points.as<const float>()[i]) < 1e9f, op, "expected keypoints within 1e9 pixels, got ",
          points.as<const float>()[i]);
  return points;
}

py::array refine(const py::array& image, const py::array& xy, int64_t window, int64_t max_iterations,
                 double epsilon) {
  constexpr const char* kOp = "refine_corners";
  const AnyImage x = any_image(image, kOp);
  const Tensor points = points_of(xy, kOp);
  check(window >= 1 && window <= 255, kOp, "expected window in [1, 255], got ", window);
  check(max_iterations >= 1, kOp, "expected max_iterations of at least 1, got ", max_iterations);
  check(epsilon >= 0, kOp, "expected epsilon of at least 0, got ", epsilon);
  const int64_t n = points.shape[0];
  py::array_t<float> y = empty<float>(kOp, {n, 2});
  float* const places = y.mutable_data();
  std::copy_n(points.as<const float>(), 2 * n, places);
  for (int64_t i = 0; i < n; ++i)
    check(places[2 * i] >= 0 && places[2 * i + 1] >= 0 && places[2 * i] < static_cast<float>(x.w) &&
              places[2 * i + 1] < static_cast<float>(x.h),
          kOp, "expected keypoints inside the picture, got (", places[2 * i], ", ", places[2 * i + 1], ")");
  {
    py::gil_scoped_release release;
    refine_corners(x, window, max_iterations, epsilon, places, n);
  }
  return y;
}

py::array even(const py::array& xy, int64_t count) {
  constexpr const char* kOp = "select_even";
  const Tensor points = points_of(xy, kOp);
  check(count >= 1, kOp, "expected count of at least 1, got ", count);
  std::vector<int64_t> kept;
  {
    py::gil_scoped_release release;
    kept = keep_even(points.as<const float>(), points.shape[0], count);
  }
  py::array_t<int64_t> which = empty<int64_t>(kOp, {static_cast<int64_t>(kept.size())});
  std::copy(kept.begin(), kept.end(), which.mutable_data());
  return which;
}

void define(py::module_& m) {
  m.def("corner_response", &response, py::arg("image"), py::arg("harris"), py::arg("k"),
        py::arg("block_size"));
  m.def("corners", &detect, py::arg("image"), py::arg("mask"), py::arg("harris"), py::arg("k"),
        py::arg("block_size"), py::arg("quality"), py::arg("min_distance"), py::arg("max_features"));
  m.def("refine_corners", &refine, py::arg("image"), py::arg("xy"), py::arg("window"),
        py::arg("max_iterations"), py::arg("epsilon"));
  m.def("select_even", &even, py::arg("xy"), py::arg("count"));
}

}  // namespace pyvision::corners_bind
