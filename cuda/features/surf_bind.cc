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

// The steps of surf.cuh; what each needs is allocated in between.
struct SurfDetection {
  Stream stream;
  SurfProblem problem;

  void* found(const DeviceArray& memory) const {
    return workspace_data(memory, kOp, stream, surf_search_bytes(problem));
  }
  size_t put_bytes(int64_t maxima) const {
    check(maxima > 0 && maxima <= INT32_MAX, kOp, "expected maxima, got ", maxima);
    return surf_put_bytes(stream, maxima);
  }
};

void search(const SurfDetection& d, const DeviceArray& memory, const DeviceArray& count) {
  surf_search(kOp, d.stream, d.problem, d.found(memory),
              static_cast<int32_t*>(checked_data(count, kOp, "count", d.stream, DType::kI32, {1})));
}

void put(const SurfDetection& d, const DeviceArray& found, int64_t maxima, const DeviceArray& workspace,
         const std::vector<DeviceArray>& columns, const DeviceArray& count,
         const OptionalArray& descriptors) {
  check(!columns.empty() && columns[0].tensor.shape[0] <= maxima, kOp, "expected columns of at most ",
        maxima);
  const int64_t room = columns[0].tensor.shape[0];
  surf_put(kOp, d.stream, d.problem, d.found(found), maxima,
           workspace_data(workspace, kOp, d.stream, d.put_bytes(maxima)),
           keypoint_columns(columns, count, room, kOp, d.stream),
           data_or_null<float>(descriptors, kOp, "descriptors", d.stream, DType::kF32,
                               {room, d.problem.length()}));
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
  py::class_<SurfDetection>(m, "Surf")
      .def_property_readonly("search_bytes",
                             [](const SurfDetection& d) { return surf_search_bytes(d.problem); })
      .def("put_bytes", &SurfDetection::put_bytes, py::arg("maxima"))
      .def("search", &search, py::arg("found"), py::arg("count"))
      .def("put", &put, py::arg("found"), py::arg("maxima"), py::arg("workspace"), py::arg("columns"),
           py::arg("count"), py::arg("descriptors"));
  m.def(
      "surf",
      [](const Stream& stream, const DeviceArray& image, const OptionalArray& mask, double threshold,
         int octaves, bool upright, bool extended) {
        SurfProblem p = problem_of(stream, image, extended);
        check(octaves >= 1 && octaves <= 4, kOp, "expected octaves in [1, 4], got ", octaves);
        check(threshold >= 0, kOp, "expected threshold of at least 0, got ", threshold);
        Level picture;
        picture.h = p.h, picture.w = p.w;
        p.allowed = allowed_in(mask, picture, kOp, stream);
        p.threshold = static_cast<float>(threshold);
        p.octaves = octaves, p.upright = upright;
        return SurfDetection{stream, p};
      },
      py::arg("stream"), py::arg("image"), py::arg("mask"), py::arg("threshold"), py::arg("octaves"),
      py::arg("upright"), py::arg("extended"));
  m.def("surf_describe", &compute, py::arg("stream"), py::arg("image"), py::arg("xy"), py::arg("size"),
        py::arg("angle"), py::arg("extended"));
}

}  // namespace pyvision::cuda::surf_bind
