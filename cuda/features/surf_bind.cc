// SPDX-License-Identifier: Apache-2.0
#include "features/bind.h"
#include "features/surf.cuh"

namespace pyvision::cuda::surf_bind {

constexpr char kOp[] = "SURF";

SurfProblem problem_of(const Stream& stream, const DeviceArray& image, bool extended) {
  SurfProblem p;
  const AnyPicture picture = any_picture(image, kOp, stream);
  p.picture = picture.data, p.floats = picture.floats, p.h = picture.h, p.w = picture.w;
  p.extended = extended;
  return p;
}

Search detect(const Stream& stream, const DeviceArray& image, const OptionalArray& mask, double threshold,
              int octaves, bool upright, bool extended) {
  SurfProblem p = problem_of(stream, image, extended);
  check(octaves >= 1 && octaves <= 4, kOp, "expected octaves in [1, 4], got ", octaves);
  check(threshold >= 0, kOp, "expected threshold of at least 0, got ", threshold);
  Level picture;
  picture.h = p.h, picture.w = p.w;
  p.allowed = allowed_in(mask, picture, kOp, stream);
  p.threshold = static_cast<float>(threshold);
  p.octaves = octaves, p.upright = upright;
  return {
      kOp,
      stream,
      surf_search_bytes(p),
      DType::kF32,
      p.length(),
      [=](int64_t number) { return surf_put_bytes(stream, number); },
      [=](void* found, int32_t* count) { surf_search(kOp, stream, p, found, count); },
      [=](void* found, int64_t number, void* workspace, const KeypointColumns& keypoints, void* descriptors) {
        surf_put(kOp, stream, p, found, number, workspace, keypoints, static_cast<float*>(descriptors));
      }};
}

Description compute(const Stream& stream, const DeviceArray& image, const DeviceArray& xy,
                    const DeviceArray& size, const DeviceArray& angle, bool extended) {
  const SurfProblem p = problem_of(stream, image, extended);
  const GivenKeypoints given = given_keypoints(xy, size, angle, std::nullopt, kOp, stream);
  return {kOp,
          stream,
          given.n,
          surf_describe_bytes(p, given),
          DType::kF32,
          p.length(),
          [=](void* workspace, int64_t* kept, int32_t* count, void* descriptors) {
            surf_describe(kOp, stream, p, given, workspace, kept, count, static_cast<float*>(descriptors));
          }};
}

void define(py::module_& m) {
  m.def("surf", &detect, py::arg("stream"), py::arg("image"), py::arg("mask"), py::arg("threshold"),
        py::arg("octaves"), py::arg("upright"), py::arg("extended"));
  m.def("surf_describe", &compute, py::arg("stream"), py::arg("image"), py::arg("xy"), py::arg("size"),
        py::arg("angle"), py::arg("extended"));
}

}  // namespace pyvision::cuda::surf_bind
