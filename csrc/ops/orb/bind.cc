// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "core/bind_grey.h"
#include "ops/brief/brief.h"
#include "ops/orb/orb.h"
#include "ops/orb/pattern.h"

namespace pyvision::orb_bind {

constexpr const char* kOp = "ORB";

// ((xy, size, angle, response, octave), descriptors): without `describe` the last is empty.
py::tuple detect(const py::array& image, const std::optional<py::array>& mask, int64_t max_features,
                 double scale, int64_t levels, int64_t edge, int64_t threshold, bool describe) {
  const GreyImage x = grey_view(image, kOp, "image");
  const PixelMask allowed = mask_view(mask, x, kOp);
  const OrbParams params = orb_params(max_features, scale, levels, edge, threshold);
  std::vector<Keypoint> found;
  std::vector<uint8_t> bits;
  {
    py::gil_scoped_release release;
    const OrbPyramid pyramid(x, params);
    found = orb_detect(pyramid, params, allowed);
    if (describe) {
      bits.resize(found.size() * (kOrbTests / 8));
      orb_describe(pyramid, found.data(), static_cast<int64_t>(found.size()), bits.data());
    }
  }
  py::array_t<uint8_t> descriptors =
      empty<uint8_t>(kOp, {describe ? static_cast<int64_t>(found.size()) : 0, kOrbTests / 8});
  std::copy(bits.begin(), bits.end(), descriptors.mutable_data());
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
  std::vector<Keypoint> given(static_cast<size_t>(n)), kept;
  for (int64_t i = 0; i < n; ++i) {
    Keypoint& k = given[static_cast<size_t>(i)];
    k = {at.as<const float>()[2 * i],   at.as<const float>()[2 * i + 1], 0, angles.as<const float>()[i], 0,
         octaves.as<const int32_t>()[i]};
    check(k.octave >= 0 && k.octave < levels, kOp, "expected octaves in [0, ", levels, "), got ", k.octave);
    check(std::isfinite(k.angle), kOp, "expected finite angles, got ", k.angle);
  }
  py::array_t<bool> which = empty<bool>(kOp, {n});
  bool* const fits = which.mutable_data();
  std::vector<uint8_t> bits;
  {
    py::gil_scoped_release release;
    const OrbPyramid pyramid(x, params);
    for (int64_t i = 0; i < n; ++i) {
      const Keypoint& k = given[static_cast<size_t>(i)];
      fits[i] = k.octave < pyramid.levels() && orb_fits(pyramid, k);
      if (fits[i]) kept.push_back(k);
    }
    bits.resize(kept.size() * (kOrbTests / 8));
    if (!kept.empty()) orb_describe(pyramid, kept.data(), static_cast<int64_t>(kept.size()), bits.data());
  }
  py::array_t<uint8_t> descriptors = empty<uint8_t>(kOp, {static_cast<int64_t>(kept.size()), kOrbTests / 8});
  std::copy(bits.begin(), bits.end(), descriptors.mutable_data());
  return py::make_tuple(which, descriptors);
}

void define(py::module_& m) {
  m.def("orb_detect", &detect, py::arg("image"), py::arg("mask"), py::arg("max_features"),
        py::arg("scale_factor"), py::arg("levels"), py::arg("edge_threshold"), py::arg("threshold"),
        py::arg("describe"));
  m.def("orb_compute", &compute, py::arg("image"), py::arg("xy"), py::arg("angle"), py::arg("octave"),
        py::arg("scale_factor"), py::arg("levels"));
}

}  // namespace pyvision::orb_bind
