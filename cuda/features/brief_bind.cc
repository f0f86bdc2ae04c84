// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>

#include <cmath>

#include "features/bind.h"
#include "features/brief.cuh"

namespace pyvision::cuda::brief_bind {

constexpr char kOp[] = "BRIEF";

PointPairs pairs_of(const py::array_t<float>& pattern) {
  check(pattern.ndim() == 2 && pattern.shape(0) == 4 && pattern.shape(1) % 32 == 0 &&
            pattern.shape(1) <= kBriefMaxTests,
        kOp, "expected a pattern of shape (4, tests) with a multiple of 32 tests up to ", kBriefMaxTests);
  const auto points = pattern.unchecked<2>();
  PointPairs pairs = {};
  pairs.count = static_cast<int32_t>(pattern.shape(1));
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < pairs.count; ++k) {
      check(std::abs(points(i, k)) <= kBriefRadius && points(i, k) == std::rint(points(i, k)), kOp,
            "expected a pattern of whole pixels within ", kBriefRadius);
      pairs.of[i][k] = static_cast<int8_t>(points(i, k));
    }
  }
  return pairs;
}

Description compute(const Stream& stream, const DeviceArray& image, const DeviceArray& xy,
                    const DeviceArray& size, const DeviceArray& angle, const py::array_t<float>& pattern,
                    bool turned) {
  BriefProblem p;
  p.levels.count = 1;
  p.levels.of[0] = grey_level(image, kOp, stream);
  p.pairs = pairs_of(pattern);
  p.keypoints = given_keypoints(xy, size, angle, std::nullopt, kOp, stream);
  p.turned = turned;
  return {kOp,
          stream,
          p.keypoints.n,
          brief_workspace_bytes(p),
          DType::kU8,
          p.pairs.count / 8,
          [=](void* workspace, int64_t* kept, int32_t* count, void* descriptors) {
            brief(kOp, stream, p, workspace, kept, count, static_cast<uint8_t*>(descriptors));
          }};
}

void define(py::module_& m) {
  m.def("brief", &compute, py::arg("stream"), py::arg("image"), py::arg("xy"), py::arg("size"),
        py::arg("angle"), py::arg("pattern"), py::arg("turned"));
}

}  // namespace pyvision::cuda::brief_bind
