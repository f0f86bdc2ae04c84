// SPDX-License-Identifier: Apache-2.0
#include "features/bind.h"
#include "features/sift.cuh"

namespace pyvision::cuda::sift_bind {

constexpr char kOp[] = "SIFT";

SiftProblem problem_of(const Stream& stream, const DeviceArray& image) {
  SiftProblem p;
  const AnyPicture picture = any_picture(image, kOp, stream);
  p.picture = picture.data, p.floats = picture.floats, p.h = picture.h, p.w = picture.w;
  return p;
}

// The steps of sift.cuh; what each needs is allocated in between.
struct SiftDetection {
  Stream stream;
  SiftProblem problem;

  void* found(const DeviceArray& memory) const {
    return workspace_data(memory, kOp, stream, sift_search_bytes(problem));
  }
  size_t rate_bytes(int64_t extrema) const {
    check(extrema > 0 && extrema <= INT32_MAX, kOp, "expected extrema, got ", extrema);
    return sift_rate_bytes(stream, extrema);
  }
  int32_t* one(const DeviceArray& count) const {
    return static_cast<int32_t*>(checked_data(count, kOp, "count", stream, DType::kI32, {1}));
  }
};

void search(const SiftDetection& d, const DeviceArray& memory, const DeviceArray& count) {
  sift_search(kOp, d.stream, d.problem, d.found(memory), d.one(count));
}

void rate(const SiftDetection& d, const DeviceArray& found, int64_t extrema, const DeviceArray& rated,
          const DeviceArray& count) {
  sift_rate(kOp, d.stream, d.problem, d.found(found), extrema,
            workspace_data(rated, kOp, d.stream, d.rate_bytes(extrema)), d.one(count));
}

void put(const SiftDetection& d, const DeviceArray& found, int64_t extrema, const DeviceArray& rated,
         const std::vector<DeviceArray>& columns, const DeviceArray& count, const OptionalArray& descriptors,
         bool root) {
  check(!columns.empty(), kOp, "expected 5 columns, got none");
  const int64_t room = columns[0].tensor.shape[0];
  const KeypointColumns keypoints = keypoint_columns(columns, count, room, kOp, d.stream);
  sift_put(kOp, d.stream, extrema, workspace_data(rated, kOp, d.stream, d.rate_bytes(extrema)), keypoints);
  if (!descriptors) return;
  const GivenKeypoints given = {keypoints.xy, keypoints.size, keypoints.angle, keypoints.octave, room};
  describe_sift(
      kOp, d.stream, sift_pyramid(d.problem, d.found(found)), given, nullptr, keypoints.count, root,
      data_or_null<float>(descriptors, kOp, "descriptors", d.stream, DType::kF32, {room, kSiftValues}));
}

Description compute(const Stream& stream, const DeviceArray& image, const DeviceArray& xy,
                    const DeviceArray& size, const DeviceArray& angle, int64_t layers, double sigma,
                    bool root) {
  SiftProblem p = problem_of(stream, image);
  p.params = sift_params(0, layers, 0, 10, sigma);
  const GivenKeypoints given = given_keypoints(xy, size, angle, std::nullopt, kOp, stream);
  return {kOp,
          stream,
          given.n,
          sift_describe_bytes(p, given),
          DType::kF32,
          kSiftValues,
          [=](void* workspace, int64_t* kept, int32_t* count, void* descriptors) {
            sift_describe(kOp, stream, p, given, root, workspace, kept, count,
                          static_cast<float*>(descriptors));
          }};
}

void define(py::module_& m) {
  py::class_<SiftDetection>(m, "Sift")
      .def_property_readonly("search_bytes",
                             [](const SiftDetection& d) { return sift_search_bytes(d.problem); })
      .def("rate_bytes", &SiftDetection::rate_bytes, py::arg("extrema"))
      .def("search", &search, py::arg("found"), py::arg("count"))
      .def("rate", &rate, py::arg("found"), py::arg("extrema"), py::arg("rated"), py::arg("count"))
      .def("put", &put, py::arg("found"), py::arg("extrema"), py::arg("rated"), py::arg("columns"),
           py::arg("count"), py::arg("descriptors"), py::arg("root"));
  m.def(
      "sift",
      [](const Stream& stream, const DeviceArray& image, const OptionalArray& mask, int64_t max_features,
         int64_t layers, double contrast, double edge, double sigma) {
        SiftProblem p = problem_of(stream, image);
        p.params = sift_params(max_features, layers, contrast, edge, sigma);
        Level picture;
        picture.h = static_cast<int32_t>(p.h), picture.w = static_cast<int32_t>(p.w);
        p.allowed = allowed_in(mask, picture, kOp, stream);
        return SiftDetection{stream, p};
      },
      py::arg("stream"), py::arg("image"), py::arg("mask"), py::arg("max_features"), py::arg("layers"),
      py::arg("contrast_threshold"), py::arg("edge_threshold"), py::arg("sigma"));
  m.def("sift_describe", &compute, py::arg("stream"), py::arg("image"), py::arg("xy"), py::arg("size"),
        py::arg("angle"), py::arg("layers"), py::arg("sigma"), py::arg("root"));
}

}  // namespace pyvision::cuda::sift_bind
