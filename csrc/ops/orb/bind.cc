// SPDX-License-Identifier: Apache-2.0
#include "core/bind_grey.h"
#include "ops/brief/brief.h"
#include "ops/orb/orb.h"
#include "ops/orb/pattern.h"

namespace pyvision::orb_bind {

constexpr const char* kOp = "ORB";

// Without `describe` none.
py::array describe_all(const OrbPyramid& pyramid, const std::vector<Keypoint>& keypoints, bool describe) {
  const int64_t n = describe ? static_cast<int64_t>(keypoints.size()) : 0;
  py::array_t<uint8_t> descriptors = empty<uint8_t>(kOp, {n, kOrbTests / 8});
  uint8_t* const bits = descriptors.mutable_data();
  if (n > 0) {
    py::gil_scoped_release release;
    orb_describe(pyramid, keypoints.data(), n, bits);
  }
  return descriptors;
}

// ((xy, size, angle, response, octave), descriptors): without `describe` the last is empty.
py::tuple detect(const py::array& image, const std::optional<py::array>& mask, int64_t max_features,
                 double scale, int64_t levels, int64_t edge, int64_t threshold, bool describe) {
  const GreyImage x = grey_view(image, kOp, "image");
  const PixelMask allowed = mask_view(mask, x, kOp);
  const OrbParams params = orb_params(max_features, scale, levels, edge, threshold);
  std::optional<OrbPyramid> pyramid;
  std::vector<Keypoint> found;
  {
    py::gil_scoped_release release;
    pyramid.emplace(x, params);
    found = orb_detect(*pyramid, params, allowed);
  }
  const py::array descriptors = describe_all(*pyramid, found, describe);
  return py::make_tuple(keypoint_columns(found, kOp), descriptors);
}

// Which of the given keypoints have a descriptor, and those descriptors.
py::tuple compute(const py::array& image, const py::array& xy, const py::array& angle,
                  const py::array& octave, double scale, int64_t levels) {
  const GreyImage x = grey_view(image, kOp, "image");
  const OrbParams params = orb_params(1, scale, levels, kBriefReach, 0);
  const Tensor at = dense_view<const float>(xy, kOp, "xy", 2);
  const int64_t n = at.shape[0];
  check(at.shape[1] == 2, kOp, "expected xy of shape (N, 2), got ", shape_text(at));
  const Tensor angles = dense_view<const float>(angle, kOp, "angle", 1),
               octaves = dense_view<const int32_t>(octave, kOp, "octave", 1);
  check(angles.shape[0] == n && octaves.shape[0] == n, kOp, "expected angle and octave of shape (", n,
        ",), got ", shape_text(angles), " and ", shape_text(octaves));
  std::vector<Keypoint> given(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    Keypoint& k = given[static_cast<size_t>(i)];
    k = {at.as<const float>()[2 * i],   at.as<const float>()[2 * i + 1], 0, angles.as<const float>()[i], 0,
         octaves.as<const int32_t>()[i]};
    check(k.octave >= 0 && k.octave < levels, kOp, "expected octaves in [0, ", levels, "), got ", k.octave);
    check_angle(k.angle, kOp);
  }
  py::array_t<bool> which = empty<bool>(kOp, {n});
  std::optional<OrbPyramid> pyramid;
  {
    py::gil_scoped_release release;
    pyramid.emplace(x, params);
  }
  std::vector<Keypoint> kept = keep_keypoints(given, which.mutable_data(), [&](const Keypoint& k) {
    return k.octave < pyramid->levels() && orb_fits(*pyramid, k);
  });
  return py::make_tuple(which, describe_all(*pyramid, kept, true));
}

void define(py::module_& m) {
  m.def("orb_detect", &detect, py::arg("image"), py::arg("mask"), py::arg("max_features"),
        py::arg("scale_factor"), py::arg("levels"), py::arg("edge_threshold"), py::arg("threshold"),
        py::arg("describe"));
  m.def("orb_compute", &compute, py::arg("image"), py::arg("xy"), py::arg("angle"), py::arg("octave"),
        py::arg("scale_factor"), py::arg("levels"));
}

}  // namespace pyvision::orb_bind
