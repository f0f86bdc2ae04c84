// SPDX-License-Identifier: Apache-2.0
#include "features/bind.h"
#include "features/brisk.cuh"

namespace pyvision::cuda::brisk_bind {

constexpr char kOp[] = "BRISK";

Search detect(const Stream& stream, const DeviceArray& image, const OptionalArray& mask, int64_t threshold,
              int64_t octaves) {
  BriskProblem p;
  p.picture = grey_level(image, kOp, stream);
  p.allowed = allowed_in(mask, p.picture, kOp, stream);
  p.params = brisk_params(0, threshold, octaves);
  return {
      kOp,
      stream,
      brisk_search_bytes(p),
      DType::kU8,
      kBriskPairs / 8,
      [=](int64_t number) { return brisk_put_bytes(stream, number); },
      [=](void* found, int32_t* count) { brisk_search(kOp, stream, p, found, count); },
      [=](void* found, int64_t number, void* workspace, const KeypointColumns& keypoints, void* descriptors) {
        brisk_put(kOp, stream, p, found, number, workspace, keypoints, static_cast<uint8_t*>(descriptors));
      }};
}

// angles: (n,), of those that are described
Description compute(const Stream& stream, const DeviceArray& image, const DeviceArray& xy,
                    const DeviceArray& size, const DeviceArray& angle, const DeviceArray& angles) {
  const Level picture = grey_level(image, kOp, stream);
  const GivenKeypoints given = given_keypoints(xy, size, angle, std::nullopt, kOp, stream);
  auto* const known =
      static_cast<float*>(checked_data(angles, kOp, "angles", stream, DType::kF32, {given.n}));
  return {kOp,
          stream,
          given.n,
          brisk_describe_bytes(picture, given),
          DType::kU8,
          kBriskPairs / 8,
          [=](void* workspace, int64_t* kept, int32_t* count, void* descriptors) {
            brisk_describe(kOp, stream, picture, given, workspace, kept, count, known,
                           static_cast<uint8_t*>(descriptors));
          }};
}

void define(py::module_& m) {
  m.def("brisk", &detect, py::arg("stream"), py::arg("image"), py::arg("mask"), py::arg("threshold"),
        py::arg("octaves"));
  m.def("brisk_describe", &compute, py::arg("stream"), py::arg("image"), py::arg("xy"), py::arg("size"),
        py::arg("angle"), py::arg("angles"));
}

}  // namespace pyvision::cuda::brisk_bind
