// SPDX-License-Identifier: Apache-2.0
#include "core/arena.h"
#include "core/bind_grey.h"
#include "ops/sift/sift.h"

namespace pyvision::sift_bind {

constexpr const char* kOp = "SIFT";

AnyImage image_of(const py::array& image) {
  const AnyImage x = any_image(image, kOp);
  check(x.h <= (int64_t{1} << 20) && x.w <= (int64_t{1} << 20) && x.h * x.w <= (int64_t{1} << 30), kOp,
        "expected image of at most 2^30 pixels, got (", x.h, ", ", x.w, ")");
  return x;
}

// ((xy, size, angle, response, octave), descriptors): without `describe` the last is empty.
py::tuple detect(const py::array& image, const std::optional<py::array>& mask, int64_t max_features,
                 int64_t layers, double contrast, double edge, double sigma, bool describe) {
  const AnyImage x = image_of(image);
  const PixelMask allowed = mask_view(mask, x, kOp);
  const SiftParams params = sift_params(max_features, layers, contrast, edge, sigma);
  std::vector<SiftKeypoint> found;
  std::vector<float> values;
  {
    py::gil_scoped_release release;
    const Scratch<float> memory(SiftPyramid::floats_of(x.h, x.w, params));
    SiftDetection detection = sift_detect(x, params, allowed, memory);
    found = std::move(detection.keypoints);
    if (describe) {
      values.resize(found.size() * kSiftValues);
      sift_describe(detection.pyramid, found.data(), static_cast<int64_t>(found.size()), values.data());
    }
  }
  py::array_t<float> descriptors =
      empty<float>(kOp, {describe ? static_cast<int64_t>(found.size()) : 0, kSiftValues});
  std::copy(values.begin(), values.end(), descriptors.mutable_data());
  return py::make_tuple(keypoint_columns(found, kOp), descriptors);
}

// Which of the given keypoints have a descriptor, and those descriptors.
py::tuple compute(const py::array& image, const py::array& xy, const py::array& size, const py::array& angle,
                  int64_t layers, double sigma) {
  const AnyImage x = image_of(image);
  const SiftParams params = sift_params(0, layers, 0, 10, sigma);
  const std::vector<Keypoint> given = keypoints_view(xy, size, angle, kOp);
  py::array_t<bool> which = empty<bool>(kOp, {static_cast<int64_t>(given.size())});
  bool* const fits = which.mutable_data();
  std::vector<SiftKeypoint> kept;
  std::vector<float> values;
  {
    py::gil_scoped_release release;
    const Scratch<float> memory(SiftPyramid::floats_of(x.h, x.w, params));
    const SiftPyramid pyramid(x, params, memory);
    for (size_t i = 0; i < given.size(); ++i) {
      SiftKeypoint k = {given[i], 0};
      fits[i] = is_inside(x, k) && k.size > 0 && pyramid.locate(k.size, params, &k.octave, &k.layer);
      if (fits[i]) kept.push_back(k);
    }
    values.resize(kept.size() * kSiftValues);
    sift_describe(pyramid, kept.data(), static_cast<int64_t>(kept.size()), values.data());
  }
  py::array_t<float> descriptors = empty<float>(kOp, {static_cast<int64_t>(kept.size()), kSiftValues});
  std::copy(values.begin(), values.end(), descriptors.mutable_data());
  return py::make_tuple(which, descriptors);
}

void define(py::module_& m) {
  m.def("sift_detect", &detect, py::arg("image"), py::arg("mask"), py::arg("max_features"), py::arg("layers"),
        py::arg("contrast_threshold"), py::arg("edge_threshold"), py::arg("sigma"), py::arg("describe"));
  m.def("sift_compute", &compute, py::arg("image"), py::arg("xy"), py::arg("size"), py::arg("angle"),
        py::arg("layers"), py::arg("sigma"));
}

}  // namespace pyvision::sift_bind
