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

// Without `describe` none.
py::array describe_all(const SiftPyramid& pyramid, const std::vector<SiftKeypoint>& keypoints,
                       bool describe) {
  const int64_t n = describe ? static_cast<int64_t>(keypoints.size()) : 0;
  py::array_t<float> descriptors = empty<float>(kOp, {n, kSiftValues});
  float* const values = descriptors.mutable_data();
  if (n > 0) {
    py::gil_scoped_release release;
    sift_describe(pyramid, keypoints.data(), n, values);
  }
  return descriptors;
}

// ((xy, size, angle, response, octave), descriptors): without `describe` the last is empty.
py::tuple detect(const py::array& image, const std::optional<py::array>& mask, int64_t max_features,
                 int64_t layers, double contrast, double edge, double sigma, bool describe) {
  const AnyImage x = image_of(image);
  const PixelMask allowed = mask_view(mask, x, kOp);
  const SiftParams params = sift_params(max_features, layers, contrast, edge, sigma);
  const Scratch<float> memory(SiftPyramid::floats_of(x.h, x.w, params));
  std::optional<SiftDetection> found;
  {
    py::gil_scoped_release release;
    found.emplace(sift_detect(x, params, allowed, memory));
  }
  const py::array descriptors = describe_all(found->pyramid, found->keypoints, describe);
  return py::make_tuple(keypoint_columns(found->keypoints, kOp), descriptors);
}

// Which of the given keypoints have a descriptor, and those descriptors.
py::tuple compute(const py::array& image, const py::array& xy, const py::array& size, const py::array& angle,
                  int64_t layers, double sigma) {
  const AnyImage x = image_of(image);
  const SiftParams params = sift_params(0, layers, 0, 10, sigma);
  const std::vector<Keypoint> given = keypoints_view(xy, size, angle, kOp);
  py::array_t<bool> which = empty<bool>(kOp, {static_cast<int64_t>(given.size())});
  bool* const fits = which.mutable_data();
  const Scratch<float> memory(SiftPyramid::floats_of(x.h, x.w, params));
  std::optional<SiftPyramid> pyramid;
  {
    py::gil_scoped_release release;
    pyramid.emplace(x, params, memory);
  }
  std::vector<SiftKeypoint> kept;
  for (size_t i = 0; i < given.size(); ++i) {
    SiftKeypoint k = {given[i], 0};
    fits[i] = is_inside(x, k) && k.size > 0 && pyramid->locate(k.size, params, &k.octave, &k.layer);
    if (fits[i]) kept.push_back(k);
  }
  return py::make_tuple(which, describe_all(*pyramid, kept, true));
}

void define(py::module_& m) {
  m.def("sift_detect", &detect, py::arg("image"), py::arg("mask"), py::arg("max_features"), py::arg("layers"),
        py::arg("contrast_threshold"), py::arg("edge_threshold"), py::arg("sigma"), py::arg("describe"));
  m.def("sift_compute", &compute, py::arg("image"), py::arg("xy"), py::arg("size"), py::arg("angle"),
        py::arg("layers"), py::arg("sigma"));
}

}  // namespace pyvision::sift_bind
