// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/bind.h"
#include "core/parallel.h"
#include "ops/nms/nms.h"

namespace pyvision {
namespace {

template <class T>
py::array_t<int64_t> run(const char* op, const py::array& boxes, const py::array& scores,
                         const py::array* idxs, double iou_threshold) {
  const Tensor b = dense_view<const T>(boxes, op, "boxes", 2);
  const Tensor s = dense_view<const T>(scores, op, "scores", 1);
  const int64_t n = b.shape[0];
  check(b.shape[1] == 4, op, "expected boxes of shape (N, 4), got ", shape_text(b));
  check(s.shape[0] == n, op, "expected scores of shape (", n, ",), got ", shape_text(s));
  const int64_t* classes = nullptr;
  if (idxs != nullptr) {
    const Tensor c = dense_view<const int64_t>(*idxs, op, "idxs", 1);
    check(c.shape[0] == n, op, "expected idxs of shape (", n, ",), got ", shape_text(c));
    classes = c.as<const int64_t>();
  }
  check(iou_threshold >= 0 && iou_threshold <= 1, op, "expected iou_threshold in [0, 1], got ",
        iou_threshold);
  check(n <= INT32_MAX, op, "expected at most 2147483647 boxes, got ", n);
  Scratch<int64_t> keep(n);
  int64_t count;
  {
    py::gil_scoped_release release;
    count = nms(b.as<const T>(), s.as<const T>(), classes, n, iou_threshold, keep.get());
  }
  auto result = empty<int64_t>(op, {count});
  std::copy_n(keep.get(), count, result.mutable_data());
  return result;
}

py::array_t<int64_t> dispatch(const char* op, const py::array& boxes, const py::array& scores,
                              const py::array* idxs, double iou_threshold) {
  if (py::isinstance<py::array_t<double>>(boxes)) return run<double>(op, boxes, scores, idxs, iou_threshold);
  return run<float>(op, boxes, scores, idxs, iou_threshold);
}

// What pyvision.postprocess calls without the GIL. Returns -1 where nms() would throw.
int64_t nms_f32(const float* boxes, const float* scores, int64_t n, double iou_threshold,
                int64_t* keep) noexcept {
  if (n < 0 || n > INT32_MAX || !(iou_threshold >= 0 && iou_threshold <= 1)) return -1;
  try {
    return nms<float>(boxes, scores, nullptr, n, iou_threshold, keep);
  } catch (...) {
    return -1;
  }
}

}  // namespace

void bind_nms(py::module_& m) {
  m.def(
      "nms",
      [](const py::array& boxes, const py::array& scores, double iou_threshold) {
        return dispatch("nms", boxes, scores, nullptr, iou_threshold);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("iou_threshold"));
  m.def(
      "batched_nms",
      [](const py::array& boxes, const py::array& scores, const py::array& idxs, double iou_threshold) {
        return dispatch("batched_nms", boxes, scores, &idxs, iou_threshold);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("iou_threshold"));
  m.attr("nms_f32") = py::capsule(reinterpret_cast<void*>(&nms_f32), "pyvision._core.nms_f32");
}

}  // namespace pyvision
