// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "features/homography.cuh"

namespace pyvision::cuda::homography_bind {

PointArray points_of(const DeviceArray& array, const char* op, const char* name, const Stream& stream,
                     int64_t n) {
  const bool doubles = array.tensor.dtype == DType::kF64;
  return {checked_data(array, op, name, stream, doubles ? DType::kF64 : DType::kF32, {n, 2}), doubles};
}

// A call whose output and workspace are yet to be allocated by their framework.
struct TransformSearch {
  Stream stream;
  TransformProblem p;

  TransformSearch(const Stream& on, const DeviceArray& src, const DeviceArray& dst, bool affine, bool robust,
                  double threshold, int64_t max_iterations, double confidence, uint64_t seed)
      : stream(on) {
    p.params = {affine, robust, threshold, max_iterations, confidence, seed};
    const char* const op = p.params.op();
    p.src = points_of(src, op, "src", stream, -1);
    p.n = src.tensor.shape[0];
    check(p.n < (int64_t{1} << 26), op, "expected fewer than 2^26 points on CUDA, got ", p.n);
    p.dst = points_of(dst, op, "dst", stream, p.n);
    check_params(p.params);
  }

  void run(const DeviceArray& workspace, const DeviceArray& matrix, const DeviceArray& inliers,
           const DeviceArray& status) const {
    const char* const op = p.params.op();
    void* const memory = workspace_data(workspace, op, stream, find_transform_workspace_bytes(p));
    find_transform(
        stream, p, memory,
        static_cast<double*>(checked_data(matrix, op, "matrix", stream, DType::kF64, {3, 3})),
        static_cast<uint8_t*>(checked_data(inliers, op, "inliers", stream, DType::kBool, {p.n})),
        static_cast<TransformStatus*>(checked_data(status, op, "status", stream, DType::kI32, {1})));
  }
};

void define(py::module_& m) {
  py::class_<TransformSearch>(m, "TransformSearch")
      .def(py::init<const Stream&, const DeviceArray&, const DeviceArray&, bool, bool, double, int64_t,
                    double, uint64_t>(),
           py::arg("stream"), py::arg("src"), py::arg("dst"), py::arg("affine"), py::arg("robust"),
           py::arg("threshold"), py::arg("max_iterations"), py::arg("confidence"), py::arg("seed"))
      .def_property_readonly("workspace_bytes",
                             [](const TransformSearch& s) { return find_transform_workspace_bytes(s.p); })
      .def("run", &TransformSearch::run, py::arg("workspace"), py::arg("matrix"), py::arg("inliers"),
           py::arg("status"));
}

}  // namespace pyvision::cuda::homography_bind
