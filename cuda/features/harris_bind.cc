// SPDX-License-Identifier: Apache-2.0
#include "features/bind.h"
#include "features/harris.cuh"

namespace pyvision::cuda::harris_bind {

HarrisProblem problem_of(const Stream& stream, const char* op, const DeviceArray& image, bool harris,
                         double k, int block) {
  HarrisProblem p;
  const AnyPicture picture = any_picture(image, op, stream);
  p.picture = picture.data, p.floats = picture.floats, p.h = picture.h, p.w = picture.w;
  check(k >= 0 && k <= 0.25, op, "expected k in [0, 0.25], got ", k);
  check(block >= 1 && block <= kMostCornerBlock, op, "expected block_size in [1, ", kMostCornerBlock,
        "], got ", block);
  p.harris = harris, p.k = static_cast<float>(k), p.block = block;
  return p;
}

void response(const Stream& stream, const std::string& op, const DeviceArray& image, bool harris, double k,
              int block, const DeviceArray& output) {
  const HarrisProblem p = problem_of(stream, op.c_str(), image, harris, k, block);
  corner_response(
      op.c_str(), stream, p,
      static_cast<float*>(checked_data(output, op.c_str(), "response", stream, DType::kF32, {p.h, p.w})));
}

Search detect(const Stream& stream, const std::string& op, const DeviceArray& image,
              const OptionalArray& mask, bool harris, double k, int block, double quality) {
  HarrisProblem p = problem_of(stream, op.c_str(), image, harris, k, block);
  check(quality > 0 && quality <= 1, op.c_str(), "expected quality in (0, 1], got ", quality);
  p.quality = quality;
  Level picture;
  picture.h = p.h, picture.w = p.w;
  p.allowed = allowed_in(mask, picture, op.c_str(), stream);
  return {op,
          stream,
          harris_search_bytes(p),
          DType::kU8,
          0,
          [=](int64_t number) { return harris_put_bytes(stream, number); },
          [=](void* found, int32_t* count) { harris_search(op.c_str(), stream, p, found, count); },
          [=](void* found, int64_t number, void* workspace, const KeypointColumns& keypoints, void*) {
            harris_put(op.c_str(), stream, p, found, number, workspace, keypoints);
          }};
}

ApartProblem apart_of(const Stream& stream, const std::string& op, const DeviceArray& xy,
                      const DeviceArray& response, double distance, int64_t max_output) {
  ApartProblem p;
  p.xy = static_cast<float*>(checked_data(xy, op.c_str(), "xy", stream, DType::kF32, {-1, 2}));
  p.n = xy.tensor.shape[0];
  check(p.n < (int64_t{1} << 30), op.c_str(), "expected fewer than 2^30 keypoints, got ", p.n);
  p.response =
      static_cast<float*>(checked_data(response, op.c_str(), "response", stream, DType::kF32, {p.n}));
  p.distance = distance;
  if (max_output > 0) p.max_output = max_output;
  return p;
}

void define(py::module_& m) {
  m.def("corner_response", &response, py::arg("stream"), py::arg("op"), py::arg("image"), py::arg("harris"),
        py::arg("k"), py::arg("block_size"), py::arg("response"));
  m.def("corners", &detect, py::arg("stream"), py::arg("op"), py::arg("image"), py::arg("mask"),
        py::arg("harris"), py::arg("k"), py::arg("block_size"), py::arg("quality"));
  m.def(
      "keep_apart_workspace",
      [](const Stream& stream, const std::string& op, const DeviceArray& xy, const DeviceArray& response) {
        return keep_apart_workspace_bytes(stream, apart_of(stream, op, xy, response, 0, 0));
      },
      py::arg("stream"), py::arg("op"), py::arg("xy"), py::arg("response"));
  m.def(
      "keep_apart",
      [](const Stream& stream, const std::string& op, const DeviceArray& xy, const DeviceArray& response,
         double distance, int64_t max_output, const DeviceArray& workspace, const DeviceArray& keep,
         const DeviceArray& count) {
        const ApartProblem p = apart_of(stream, op, xy, response, distance, max_output);
        const char* const name = op.c_str();
        void* const memory = workspace_data(workspace, name, stream, keep_apart_workspace_bytes(stream, p));
        keep_apart(name, stream, p, memory,
                   static_cast<int64_t*>(checked_data(keep, name, "keep", stream, DType::kI64, {p.n})),
                   static_cast<int64_t*>(checked_data(count, name, "count", stream, DType::kI64, {1})));
      },
      py::arg("stream"), py::arg("op"), py::arg("xy"), py::arg("response"), py::arg("distance"),
      py::arg("max_output"), py::arg("workspace"), py::arg("keep"), py::arg("count"));
}

}  // namespace pyvision::cuda::harris_bind
