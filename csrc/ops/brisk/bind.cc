// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/bind_grey.h"
#include "ops/brisk/brisk.h"

namespace pyvision::brisk_bind {

constexpr const char* kOp = "BRISK";

// Angles where they are missing and, with `describe`, descriptors.
py::array describe_keypoints(const IntegralImage& sums, std::vector<Keypoint>* keypoints, bool describe) {
  const auto n = static_cast<int64_t>(keypoints->size());
  py::array_t<uint8_t> descriptors = empty<uint8_t>(kOp, {describe ? n : 0, kBriskPairs / 8});
  uint8_t* const bits = describe ? descriptors.mutable_data() : nullptr;
  py::gil_scoped_release release;
  brisk_describe(sums, keypoints->data(), n, bits);
  return descriptors;
}

IntegralImage integrate_bytes(const GreyImage& x, int32_t* memory) {
  return integrate({x.data, nullptr, x.h, x.w, x.stride}, memory);
}

// ((xy, size, angle, response, octave), descriptors): without `describe` the last is empty.
py::tuple detect(const py::array& image, const std::optional<py::array>& mask, int64_t max_features,
                 int64_t threshold, int64_t octaves, bool describe) {
  const GreyImage x = grey_view(image, kOp, "image");
  const PixelMask allowed = mask_view(mask, x, kOp);
  const BriskParams params = brisk_params(max_features, threshold, octaves);
  const Scratch<int32_t> memory(integral_size(x.h, x.w));
  IntegralImage sums;
  std::vector<Keypoint> found;
  {
    py::gil_scoped_release release;
    sums = integrate_bytes(x, memory);
    found = brisk_detect(x, params, allowed);
    found.erase(
        std::remove_if(found.begin(), found.end(), [&](const Keypoint& k) { return !brisk_fits(sums, k); }),
        found.end());
    if (max_features > 0 && found.size() > static_cast<size_t>(max_features))
      found.resize(static_cast<size_t>(max_features));
  }
  const py::array descriptors = describe_keypoints(sums, &found, describe);
  return py::make_tuple(keypoint_columns(found, kOp), descriptors);
}

// Which of the given keypoints have a descriptor, their angles, and those descriptors.
py::tuple compute(const py::array& image, const py::array& xy, const py::array& size,
                  const py::array& angle) {
  const GreyImage x = grey_view(image, kOp, "image");
  const std::vector<Keypoint> given = keypoints_view(xy, size, angle, kOp);
  py::array_t<bool> which = empty<bool>(kOp, {static_cast<int64_t>(given.size())});
  const Scratch<int32_t> memory(integral_size(x.h, x.w));
  IntegralImage sums;
  {
    py::gil_scoped_release release;
    sums = integrate_bytes(x, memory);
  }
  std::vector<Keypoint> kept =
      keep_keypoints(given, which.mutable_data(), [&](const Keypoint& k) { return brisk_fits(sums, k); });
  const py::array descriptors = describe_keypoints(sums, &kept, true);
  return py::make_tuple(which, keypoint_columns(kept, kOp)[2], descriptors);
}

void define(py::module_& m) {
  m.def("brisk_detect", &detect, py::arg("image"), py::arg("mask"), py::arg("max_features"),
        py::arg("threshold"), py::arg("octaves"), py::arg("describe"));
  m.def("brisk_compute", &compute, py::arg("image"), py::arg("xy"), py::arg("size"), py::arg("angle"));
}

}  // namespace pyvision::brisk_bind
