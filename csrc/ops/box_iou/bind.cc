// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/box_iou/box_iou.h"

namespace pyvision {
namespace {

template <class T>
py::array run(const py::array& boxes1, const py::array& boxes2) {
  const Tensor a = dense_view<const T>(boxes1, "box_iou", "boxes1", 2);
  const Tensor b = dense_view<const T>(boxes2, "box_iou", "boxes2", 2);
  check(a.shape[1] == 4, "box_iou", "expected boxes1 of shape (N, 4), got ", shape_text(a));
  check(b.shape[1] == 4, "box_iou", "expected boxes2 of shape (M, 4), got ", shape_text(b));
  auto output = empty<T>("box_iou", {a.shape[0], b.shape[0]});
  T* y = output.mutable_data();
  {
    py::gil_scoped_release release;
    box_iou(a.as<const T>(), b.as<const T>(), y, a.shape[0], b.shape[0]);
  }
  return output;
}

}  // namespace

void bind_box_iou(py::module_& m) {
  m.def(
      "box_iou",
      [](const py::array& boxes1, const py::array& boxes2) {
        return py::isinstance<py::array_t<double>>(boxes1) ? run<double>(boxes1, boxes2)
                                                           : run<float>(boxes1, boxes2);
      },
      py::arg("boxes1"), py::arg("boxes2"));
}

}  // namespace pyvision
