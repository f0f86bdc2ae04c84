// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "core/bind.h"
#include "ops/homography/homography.h"

namespace pyvision::homography_bind {

// (3 x 3 matrix or None, which pairs are inliers)
py::tuple run(const py::array& src, const py::array& dst, bool affine, bool robust, double threshold,
              int64_t max_iterations, double confidence, uint64_t seed) {
  const RansacParams params = {affine, robust, threshold, max_iterations, confidence, seed};
  const char* const op = params.op();
  const Tensor a = dense_view<const double>(src, op, "src", 2),
               b = dense_view<const double>(dst, op, "dst", 2);
  const int64_t n = a.shape[0];
  check(a.shape[1] == 2, op, "expected src of shape (N, 2), got ", shape_text(a));
  check(b.shape[0] == n && b.shape[1] == 2, op, "expected dst of shape (", n, ", 2), got ", shape_text(b));
  for (int64_t i = 0; i < 2 * n; ++i) {
    check(std::abs(a.as<const double>()[i]) <= kMostCoordinate, op,
          "expected src to be finite and at most 1e15, got ", a.as<const double>()[i]);
    check(std::abs(b.as<const double>()[i]) <= kMostCoordinate, op,
          "expected dst to be finite and at most 1e15, got ", b.as<const double>()[i]);
  }
  check_params(params);
  PlaneTransform transform;
  std::vector<uint8_t> inliers(static_cast<size_t>(n));
  bool found;
  {
    py::gil_scoped_release release;
    found = find_transform(a.as<const double>(), b.as<const double>(), n, params, &transform, inliers.data());
  }
  py::array_t<bool> which = empty<bool>(op, {n});
  std::copy(inliers.begin(), inliers.end(), which.mutable_data());
  if (!found) return py::make_tuple(py::none(), which);
  py::array_t<double> matrix = empty<double>(op, {3, 3});
  std::copy_n(transform.h, 9, matrix.mutable_data());
  return py::make_tuple(matrix, which);
}

void define(py::module_& m) {
  m.def("find_transform", &run, py::arg("src"), py::arg("dst"), py::arg("affine"), py::arg("robust"),
        py::arg("threshold"), py::arg("max_iterations"), py::arg("confidence"), py::arg("seed"));
}

}  // namespace pyvision::homography_bind
