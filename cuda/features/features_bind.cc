// SPDX-License-Identifier: Apache-2.0
#include "features/bind.h"
#include "features/grey.cuh"

namespace pyvision::cuda::features_bind {

void run(const Detection& detection, const DeviceArray& workspace, const std::vector<DeviceArray>& columns,
         const DeviceArray& count, const OptionalArray& descriptors) {
  const char* const op = detection.op.c_str();
  const Stream& stream = detection.stream;
  const int64_t room = detection.room;
  const KeypointColumns keypoints = keypoint_columns(columns, count, room, op, stream);
  void* const rows = data_or_null<void>(descriptors, op, "descriptors", stream, detection.descriptor_type,
                                        {room, detection.descriptor_length});
  detection.run(workspace_data(workspace, op, stream, detection.workspace_bytes), keypoints, rows);
}

void describe(const Description& description, const DeviceArray& workspace, const DeviceArray& kept,
              const DeviceArray& count, const DeviceArray& descriptors) {
  const char* const op = description.op.c_str();
  const Stream& stream = description.stream;
  const int64_t n = description.n;
  void* const rows = checked_data(descriptors, op, "descriptors", stream, description.descriptor_type,
                                  {n, description.descriptor_length});
  description.run(workspace_data(workspace, op, stream, description.workspace_bytes),
                  static_cast<int64_t*>(checked_data(kept, op, "kept", stream, DType::kI64, {n})),
                  static_cast<int32_t*>(checked_data(count, op, "count", stream, DType::kI32, {1})), rows);
}

size_t put_bytes(const Search& s, int64_t number) {
  check(number > 0 && number <= INT32_MAX, s.op.c_str(), "expected keypoints, got ", number);
  return s.put_bytes(number);
}

void search(const Search& s, const DeviceArray& found, const DeviceArray& count) {
  const char* const op = s.op.c_str();
  s.search(workspace_data(found, op, s.stream, s.search_bytes),
           static_cast<int32_t*>(checked_data(count, op, "count", s.stream, DType::kI32, {1})));
}

void put(const Search& s, const DeviceArray& found, int64_t number, const DeviceArray& workspace,
         const std::vector<DeviceArray>& columns, const DeviceArray& count,
         const OptionalArray& descriptors) {
  const char* const op = s.op.c_str();
  check(!columns.empty() && columns[0].tensor.shape[0] <= number, op, "expected columns of at most ", number);
  const int64_t room = columns[0].tensor.shape[0];
  s.put(workspace_data(found, op, s.stream, s.search_bytes), number,
        workspace_data(workspace, op, s.stream, put_bytes(s, number)),
        keypoint_columns(columns, count, room, op, s.stream),
        data_or_null<void>(descriptors, op, "descriptors", s.stream, s.descriptor_type,
                           {room, s.descriptor_length}));
}

// Of the dtype of `result`: floats stay floats only where that is asked for.
void grey(const Stream& stream, const std::string& op, const DeviceArray& image, const DeviceArray& result) {
  const char* const name = op.c_str();
  const Tensor& t = image.tensor;
  ColorPicture picture;
  std::tie(picture.h, picture.w) = checked_extents(image, name);
  picture.floats = t.dtype == DType::kF32;
  picture.channels = t.rank == 3 ? static_cast<int>(t.shape[2]) : 1;
  picture.data = checked_data(image, name, "image", stream, picture.floats ? DType::kF32 : DType::kU8,
                              std::vector<int64_t>(t.shape, t.shape + t.rank));
  const bool to_floats = picture.floats && result.tensor.dtype == DType::kF32;
  void* const y = checked_data(result, name, "grey", stream, to_floats ? DType::kF32 : DType::kU8,
                               {picture.h, picture.w});
  if (to_floats) return to_float_grey(name, stream, picture, static_cast<float*>(y));
  to_grey(name, stream, picture, static_cast<uint8_t*>(y));
}

void define(py::module_& m) {
  py::class_<Description>(m, "Description")
      .def_readonly("workspace_bytes", &Description::workspace_bytes)
      .def_readonly("descriptor_length", &Description::descriptor_length)
      .def("run", &describe, py::arg("workspace"), py::arg("kept"), py::arg("count"), py::arg("descriptors"));
  py::class_<Detection>(m, "Detection")
      .def_readonly("room", &Detection::room)
      .def_readonly("workspace_bytes", &Detection::workspace_bytes)
      .def_readonly("descriptor_length", &Detection::descriptor_length)
      .def("run", &run, py::arg("workspace"), py::arg("columns"), py::arg("count"), py::arg("descriptors"));
  py::class_<Search>(m, "Search")
      .def_readonly("search_bytes", &Search::search_bytes)
      .def_readonly("descriptor_length", &Search::descriptor_length)
      .def("put_bytes", &put_bytes, py::arg("number"))
      .def("search", &search, py::arg("found"), py::arg("count"))
      .def("put", &put, py::arg("found"), py::arg("number"), py::arg("workspace"), py::arg("columns"),
           py::arg("count"), py::arg("descriptors"));
  m.def("to_grey", &grey, py::arg("stream"), py::arg("op"), py::arg("image"), py::arg("grey"));
}

}  // namespace pyvision::cuda::features_bind
