// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "core/arena.h"
#include "core/bind_grey.h"
#include "core/parallel.h"
#include "ops/brief/brief.h"
#include "ops/grey_filters/grey_filters.h"

namespace pyvision::brief_bind {

constexpr const char* kOp = "BRIEF";

// Which keypoints have a descriptor, and those descriptors.
py::tuple run(const py::array& image, const py::array& xy, const py::array& angle, const py::array& pattern) {
  const GreyImage x = grey_view(image, kOp, "image");
  const Tensor positions = dense_view<const float>(xy, kOp, "xy", 2);
  const int64_t n = positions.shape[0];
  check(positions.shape[1] == 2, kOp, "expected xy of shape (N, 2), got ", shape_text(positions));
  const Tensor angles = dense_view<const float>(angle, kOp, "angle", 1);
  check(angles.shape[0] == n, kOp, "expected angle of shape (", n, ",), got ", shape_text(angles));
  const Tensor tests = dense_view<const float>(pattern, kOp, "pattern", 2);
  const int64_t count = tests.shape[1];
  check(tests.shape[0] == 4 && count > 0 && count <= kBriefMaxTests && count % 16 == 0, kOp,
        "expected pattern of shape (4, tests) with a multiple of 16 tests up to ", kBriefMaxTests, ", got ",
        shape_text(tests));
  for (int64_t i = 0; i < tests.numel(); ++i)
    check(std::abs(tests.as<const float>()[i]) <= kBriefRadius, kOp, "expected a pattern within ",
          kBriefRadius, " pixels");

  std::vector<BriefPoint> points;
  std::vector<uint8_t> fits(static_cast<size_t>(n), 0);
  for (int64_t i = 0; i < n; ++i) {
    const float px = std::nearbyint(positions.as<const float>()[2 * i]),
                py = std::nearbyint(positions.as<const float>()[2 * i + 1]),
                degrees = angles.as<const float>()[i];
    check_angle(degrees, kOp);
    // Compared as float: a position may lie beyond any integer, or be none.
    if (!(px >= 0 && py >= 0 && px < static_cast<float>(x.w) && py < static_cast<float>(x.h))) continue;
    const BriefPoint point = {static_cast<int32_t>(px), static_cast<int32_t>(py), degrees};
    if (!brief_fits(x, point.x, point.y)) continue;
    fits[static_cast<size_t>(i)] = 1;
    points.push_back(point);
  }
  const auto kept = static_cast<int64_t>(points.size());
  py::array_t<uint8_t> descriptors = empty<uint8_t>(kOp, {kept, count / 8});
  py::array_t<bool> which = empty<bool>(kOp, {n});
  std::copy(fits.begin(), fits.end(), which.mutable_data());
  uint8_t* const out = descriptors.mutable_data();
  if (kept > 0) {
    py::gil_scoped_release release;
    AlignedBuffer blurred(static_cast<size_t>(x.h * x.w));
    blur_grey(x, blurred.as<uint8_t>());
    const GreyImage smooth = {blurred.as<uint8_t>(), x.h, x.w, x.w};
    parallel_for(kept, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        brief(smooth, points[static_cast<size_t>(i)], {tests.as<const float>(), count},
              out + i * (count / 8));
    });
  }
  return py::make_tuple(which, descriptors);
}

void define(py::module_& m) {
  m.def("brief", &run, py::arg("image"), py::arg("xy"), py::arg("angle"), py::arg("pattern"));
}

}  // namespace pyvision::brief_bind
