// SPDX-License-Identifier: Apache-2.0
#include "ops/nms/arguments.h"
#include "ops/nms_rotated/nms_rotated.h"

namespace pyvision::nms_rotated_bind {

template <class T>
py::array_t<int64_t> run(const py::array& boxes, const py::array& scores, const OptionalArray& idxs,
                         double iou_threshold, std::optional<int64_t> max_output) {
  const char* op = idxs ? "batched_nms_rotated" : "nms_rotated";
  const Tensor b = dense_view<const T>(boxes, op, "boxes", 2);
  const int64_t n = b.shape[0];
  check(b.shape[1] == 5, op, "expected boxes of shape (N, 5), got ", shape_text(b));
  const T* s = nms_scores<T>(op, scores, n);
  const NmsGroups groups = nms_groups(op, n, idxs, std::nullopt, max_output);
  check_iou_threshold(op, iou_threshold);
  return kept_indices(
      op, n, [&](int64_t* keep) { return nms_rotated(b.as<const T>(), s, n, groups, iou_threshold, keep); });
}

void define(py::module_& m) {
  m.def(
      "nms_rotated",
      [](const py::array& boxes, const py::array& scores, const OptionalArray& idxs, double iou_threshold,
         std::optional<int64_t> max_output) {
        return is_f64(boxes) ? run<double>(boxes, scores, idxs, iou_threshold, max_output)
                             : run<float>(boxes, scores, idxs, iou_threshold, max_output);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("iou_threshold"),
      py::arg("max_output") = py::none());
}

}  // namespace pyvision::nms_rotated_bind
