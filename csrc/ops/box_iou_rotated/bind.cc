// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/box_iou_rotated/box_iou_rotated.h"

namespace pyvision::box_iou_rotated_bind {

template <class T>
py::array run(const py::array& boxes1, const py::array& boxes2, bool aligned) {
  constexpr const char* op = "box_iou_rotated";
  const Tensor a = dense_view<const T>(boxes1, op, "boxes1", 2);
  const Tensor b = dense_view<const T>(boxes2, op, "boxes2", 2);
  const int64_t n = a.shape[0], m = b.shape[0];
  check(a.shape[1] == 5, op, "expected boxes1 of shape (N, 5), got ", shape_text(a));
  check(b.shape[1] == 5, op, "expected boxes2 of shape (M, 5), got ", shape_text(b));
  check(!aligned || m == n, op, "expected boxes2 of shape (", n, ", 5), got ", shape_text(b));
  auto output = aligned ? empty<T>(op, {n}) : empty<T>(op, {n, m});
  T* y = output.mutable_data();
  {
    py::gil_scoped_release release;
    box_iou_rotated(a.as<const T>(), b.as<const T>(), y, n, m, aligned);
  }
  return output;
}

void define(py::module_& m) {
  m.def(
      "box_iou_rotated",
      [](const py::array& boxes1, const py::array& boxes2, bool aligned) {
        return is_f64(boxes1) ? run<double>(boxes1, boxes2, aligned) : run<float>(boxes1, boxes2, aligned);
      },
      py::arg("boxes1"), py::arg("boxes2"), py::arg("aligned") = false);
}

}  // namespace pyvision::box_iou_rotated_bind
