// SPDX-License-Identifier: Apache-2.0
#include "features/bind.h"
#include "features/fast.cuh"

namespace pyvision::cuda::fast_bind {

constexpr char kOp[] = "FAST";

Detection make(const Stream& stream, const DeviceArray& image, const OptionalArray& mask, int circle,
               int threshold, bool suppress, int64_t max_features) {
  FastProblem p;
  p.picture = grey_level(image, kOp, stream);
  check(circle == 16 || circle == 12 || circle == 8, kOp, "expected a circle of 16, 12 or 8 pixels, got ",
        circle);
  check(threshold >= 0 && threshold <= 255, kOp, "expected threshold in [0, 255], got ", threshold);
  check(max_features >= 0, kOp, "expected max_features of at least 0, got ", max_features);
  p.search.circle = circle, p.search.threshold = threshold, p.search.suppress = suppress;
  p.search.allowed = allowed_in(mask, p.picture, kOp, stream);
  p.max_features = max_features;
  return {kOp,
          stream,
          p.room(),
          fast_workspace_bytes(p),
          DType::kU8,
          0,
          [=](void* workspace, const KeypointColumns& keypoints, void*) {
            fast(kOp, stream, p, workspace, keypoints);
          }};
}

void define(py::module_& m) {
  m.def("fast", &make, py::arg("stream"), py::arg("image"), py::arg("mask"), py::arg("circle"),
        py::arg("threshold"), py::arg("suppress"), py::arg("max_features"));
}

}  // namespace pyvision::cuda::fast_bind
