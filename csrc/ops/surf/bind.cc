// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "core/arena.h"
#include "core/bind_grey.h"
#include "ops/surf/surf.h"

namespace pyvision::surf_bind {

constexpr const char* kOp = "SURF";

// ((xy, size, angle, response, octave), descriptors): without `describe` the last is empty.
py::tuple detect(const py::array& image, const std::optional<py::array>& mask, int64_t max_features,
                 double threshold, int64_t octaves, bool upright, bool extended, bool describe) {
  const AnyImage x = any_image(image, kOp);
  const PixelMask allowed = mask_view(mask, x, kOp);
  check(max_features >= 0 && max_features <= (int64_t{1} << 30), kOp,
        "expected max_features in [0, 2^30], got ", max_features);
  check(threshold >= 0 && threshold <= 1e9, kOp, "expected threshold in [0, 1e9], got ", threshold);
  check(octaves >= 1 && octaves <= kSurfOctaves, kOp, "expected octaves in [1, ", kSurfOctaves, "], got ",
        octaves);
  const SurfParams params = {threshold, octaves, max_features};
  const Scratch<int32_t> memory(integral_size(x.h, x.w));
  SurfImage sums;
  std::vector<Keypoint> found;
  {
    py::gil_scoped_release release;
    sums = surf_image(x, memory);
    found = surf_detect(sums, params, allowed);
  }
  const auto count = static_cast<int64_t>(found.size());
  py::array_t<float> descriptors = empty<float>(kOp, {describe ? count : 0, extended ? 128 : 64});
  if (describe || !upright) {
    float* const values = describe ? descriptors.mutable_data() : nullptr;
    py::gil_scoped_release release;
    surf_describe(sums, found.data(), count, !upright, extended, values);
  }
  return py::make_tuple(keypoint_columns(found, kOp), descriptors);
}

// Which of the given keypoints have a descriptor, and those descriptors.
py::tuple compute(const py::array& image, const py::array& xy, const py::array& size, const py::array& angle,
                  bool extended) {
  const AnyImage x = any_image(image, kOp);
  const std::vector<Keypoint> given = keypoints_view(xy, size, angle, kOp);
  py::array_t<bool> which = empty<bool>(kOp, {static_cast<int64_t>(given.size())});
  std::vector<Keypoint> kept = keep_keypoints(given, which.mutable_data(), [&](const Keypoint& k) {
    return is_inside(x, k) && k.size > 0 && k.size < 1e5f;
  });
  py::array_t<float> descriptors =
      empty<float>(kOp, {static_cast<int64_t>(kept.size()), extended ? 128 : 64});
  float* const values = descriptors.mutable_data();
  {
    py::gil_scoped_release release;
    const Scratch<int32_t> memory(integral_size(x.h, x.w));
    surf_describe(surf_image(x, memory), kept.data(), static_cast<int64_t>(kept.size()), false, extended,
                  values);
  }
  return py::make_tuple(which, descriptors);
}

void define(py::module_& m) {
  m.def("surf_detect", &detect, py::arg("image"), py::arg("mask"), py::arg("max_features"),
        py::arg("threshold"), py::arg("octaves"), py::arg("upright"), py::arg("extended"),
        py::arg("describe"));
  m.def("surf_compute", &compute, py::arg("image"), py::arg("xy"), py::arg("size"), py::arg("angle"),
        py::arg("extended"));
}

}  // namespace pyvision::surf_bind
