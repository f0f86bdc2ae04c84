// SPDX-License-Identifier: Apache-2.0
#include "core/bind_grey.h"
#include "ops/fast/fast.h"

namespace pyvision::fast_bind {

constexpr const char* kOp = "FAST";

py::tuple run(const py::array& image, int64_t circle, int64_t threshold, bool suppress) {
  const GreyImage x = grey_view(image, kOp, "image");
  check(circle == 16 || circle == 12 || circle == 8, kOp, "expected a circle of 16, 12 or 8 pixels, got ",
        circle);
  check(threshold >= 0 && threshold <= 255, kOp, "expected threshold in [0, 255], got ", threshold);
  std::vector<FastCorner> corners;
  {
    py::gil_scoped_release release;
    corners = fast(x, {static_cast<int>(circle), static_cast<uint8_t>(threshold), suppress});
  }
  const auto n = static_cast<int64_t>(corners.size());
  py::array_t<float> xy = empty<float>(kOp, {n, 2}), scores = empty<float>(kOp, {n});
  float *p = xy.mutable_data(), *s = scores.mutable_data();
  for (int64_t i = 0; i < n; ++i) {
    const FastCorner& c = corners[static_cast<size_t>(i)];
    p[2 * i] = static_cast<float>(c.x);
    p[2 * i + 1] = static_cast<float>(c.y);
    s[i] = static_cast<float>(c.score);
  }
  return py::make_tuple(xy, scores);
}

void define(py::module_& m) {
  m.def("fast", &run, py::arg("image"), py::arg("circle"), py::arg("threshold"), py::arg("suppress"));
}

}  // namespace pyvision::fast_bind
