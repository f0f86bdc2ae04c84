// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "ops/nms/arguments.h"
#include "ops/nms/nms.h"

namespace pyvision::nms_bind {

template <class T>
py::array_t<int64_t> run(const char* op, const py::array& boxes, const py::array& scores,
                         const OptionalArray& idxs, const OptionalArray& image_idxs, double iou_threshold,
                         std::optional<int64_t> max_output) {
  const Tensor b = dense_view<const T>(boxes, op, "boxes", 2);
  const int64_t n = b.shape[0];
  check(b.shape[1] == 4, op, "expected boxes of shape (N, 4), got ", shape_text(b));
  const T* s = nms_scores<T>(op, scores, n);
  const NmsGroups groups = nms_groups(op, n, idxs, image_idxs, max_output);
  check_iou_threshold(op, iou_threshold);
  return kept_indices(op, n,
                      [&](int64_t* keep) { return nms(b.as<const T>(), s, n, groups, iou_threshold, keep); });
}

template <class... Arguments>
py::array_t<int64_t> dispatch(const char* op, const py::array& boxes, const Arguments&... arguments) {
  if (is_f64(boxes)) return run<double>(op, boxes, arguments...);
  return run<float>(op, boxes, arguments...);
}

void define(py::module_& m) {
  m.def(
      "nms",
      [](const py::array& boxes, const py::array& scores, double iou_threshold,
         std::optional<int64_t> max_output) {
        return dispatch("nms", boxes, scores, OptionalArray{}, OptionalArray{}, iou_threshold, max_output);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("iou_threshold"), py::arg("max_output") = py::none());
  m.def(
      "batched_nms",
      [](const py::array& boxes, const py::array& scores, const py::array& idxs, double iou_threshold,
         const OptionalArray& image_idxs, std::optional<int64_t> max_output) {
        return dispatch("batched_nms", boxes, scores, OptionalArray{idxs}, image_idxs, iou_threshold,
                        max_output);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("iou_threshold"),
      py::arg("image_idxs") = py::none(), py::arg("max_output") = py::none());
}

}  // namespace pyvision::nms_bind
