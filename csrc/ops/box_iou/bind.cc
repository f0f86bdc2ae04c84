// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "core/bind.h"
#include "ops/box_iou/box_iou.h"

namespace pyvision::box_iou_bind {

struct Name {
  const char* op;
  IouKind kind;
};
constexpr Name kNames[] = {{"box_iou", IouKind::kIou},
                           {"box_iof", IouKind::kIof},
                           {"generalized_box_iou", IouKind::kGiou},
                           {"distance_box_iou", IouKind::kDiou},
                           {"complete_box_iou", IouKind::kCiou}};

template <class T>
py::array run(const Name& name, const py::array& boxes1, const py::array& boxes2, bool aligned, double eps) {
  const char* op = name.op;
  const Tensor a = dense_view<const T>(boxes1, op, "boxes1", 2);
  const Tensor b = dense_view<const T>(boxes2, op, "boxes2", 2);
  const int64_t n = a.shape[0], m = b.shape[0];
  check(a.shape[1] == 4, op, "expected boxes1 of shape (N, 4), got ", shape_text(a));
  check(b.shape[1] == 4, op, "expected boxes2 of shape (M, 4), got ", shape_text(b));
  check(!aligned || m == n, op, "expected boxes2 of shape (", n, ", 4), got ", shape_text(b));
  check(eps >= 0 && std::isfinite(eps), op, "expected eps to be finite and not negative, got ", eps);
  auto output = aligned ? empty<T>(op, {n}) : empty<T>(op, {n, m});
  T* y = output.mutable_data();
  {
    py::gil_scoped_release release;
    box_iou(name.kind, a.as<const T>(), b.as<const T>(), y, n, m, aligned, eps);
  }
  return output;
}

void define(py::module_& m) {
  for (const Name& name : kNames)
    m.def(
        name.op,
        [name](const py::array& boxes1, const py::array& boxes2, bool aligned, double eps) {
          return is_f64(boxes1) ? run<double>(name, boxes1, boxes2, aligned, eps)
                                : run<float>(name, boxes1, boxes2, aligned, eps);
        },
        py::arg("boxes1"), py::arg("boxes2"), py::arg("aligned") = false, py::arg("eps") = 1e-7);
}

}  // namespace pyvision::box_iou_bind
