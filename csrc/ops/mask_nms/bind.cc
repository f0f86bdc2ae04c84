// SPDX-License-Identifier: Apache-2.0
#include "ops/mask_nms/mask_nms.h"
#include "ops/nms/arguments.h"

namespace pyvision::mask_nms_bind {

template <class T>
py::array_t<int64_t> run(const Tensor& masks, const py::array& scores, const OptionalArray& idxs,
                         double iou_threshold, std::optional<int64_t> max_output) {
  constexpr const char* op = "mask_nms";
  const int64_t n = masks.shape[0], pixels = masks.shape[1] * masks.shape[2];
  const T* s = nms_scores<T>(op, scores, n);
  const NmsGroups groups = nms_groups(op, n, idxs, std::nullopt, max_output);
  check_iou_threshold(op, iou_threshold);
  return kept_indices(op, n, [&](int64_t* keep) {
    return mask_nms(masks.as<const uint8_t>(), pixels, s, n, groups, iou_threshold, keep);
  });
}

void define(py::module_& m) {
  m.def(
      "mask_nms",
      [](const py::array& masks, const py::array& scores, double iou_threshold, const OptionalArray& idxs,
         std::optional<int64_t> max_output) {
        const Tensor t = dense_view<const uint8_t>(masks, "mask_nms", "masks", 3);
        return is_f64(scores) ? run<double>(t, scores, idxs, iou_threshold, max_output)
                              : run<float>(t, scores, idxs, iou_threshold, max_output);
      },
      py::arg("masks"), py::arg("scores"), py::arg("iou_threshold"), py::arg("idxs") = py::none(),
      py::arg("max_output") = py::none());
}

}  // namespace pyvision::mask_nms_bind
