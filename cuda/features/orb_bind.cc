// SPDX-License-Identifier: Apache-2.0
#include "features/bind.h"
#include "features/orb.cuh"
#include "ops/brief/params.h"
#include "ops/orb/pattern.h"

namespace pyvision::cuda::orb_bind {

constexpr char kOp[] = "ORB";

Detection detect(const Stream& stream, const DeviceArray& image, const OptionalArray& mask,
                 int64_t max_features, double scale, int64_t levels, int64_t edge, int64_t threshold) {
  OrbProblem p;
  p.picture = grey_level(image, kOp, stream);
  p.allowed = allowed_in(mask, p.picture, kOp, stream);
  p.params = orb_params(max_features, scale, levels, edge, threshold);
  return {kOp,
          stream,
          p.room(),
          orb_workspace_bytes(stream, p),
          DType::kU8,
          kOrbTests / 8,
          [=](void* workspace, const KeypointColumns& keypoints, void* descriptors) {
            orb(kOp, stream, p, workspace, keypoints, static_cast<uint8_t*>(descriptors));
          }};
}

Description compute(const Stream& stream, const DeviceArray& image, const DeviceArray& xy,
                    const DeviceArray& size, const DeviceArray& angle, const DeviceArray& octave,
                    double scale, int64_t levels) {
  OrbProblem p;
  p.picture = grey_level(image, kOp, stream);
  p.params = orb_params(1, scale, levels, kBriefReach, 0);
  const GivenKeypoints given = given_keypoints(xy, size, angle, octave, kOp, stream);
  return {kOp,
          stream,
          given.n,
          orb_describe_workspace_bytes(p, given),
          DType::kU8,
          kOrbTests / 8,
          [=](void* workspace, int64_t* kept, int32_t* count, void* descriptors) {
            orb_describe(kOp, stream, p, given, workspace, kept, count, static_cast<uint8_t*>(descriptors));
          }};
}

void define(py::module_& m) {
  m.def("orb", &detect, py::arg("stream"), py::arg("image"), py::arg("mask"), py::arg("max_features"),
        py::arg("scale_factor"), py::arg("levels"), py::arg("edge_threshold"), py::arg("threshold"));
  m.def("orb_describe", &compute, py::arg("stream"), py::arg("image"), py::arg("xy"), py::arg("size"),
        py::arg("angle"), py::arg("octave"), py::arg("scale_factor"), py::arg("levels"));
}

}  // namespace pyvision::cuda::orb_bind
