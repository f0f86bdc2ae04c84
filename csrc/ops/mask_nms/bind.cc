// SPDX-License-Identifier: Apache-2.0
// mask_nms: nms by the intersection over union of masks (n, h, w), bytes of which any but 0 is set. An empty
// mask overlaps nothing.
#include <algorithm>

#include "ops/mask_nms/packed_masks.h"
#include "ops/nms/arguments.h"

namespace pyvision {
namespace {

void greedy(const PackedMasks& masks, const uint32_t* indices, int64_t size, double threshold, int64_t limit,
            uint8_t* survives) {
  Scratch<uint32_t> kept(size);
  int64_t count = 0;
  for (int64_t i = 0; i < size; ++i) {
    const auto suppressed_by = [&](uint32_t k) {
      const auto [less, more] = std::minmax({masks.area(k), masks.area(indices[i])});
      return static_cast<double>(less) > threshold * static_cast<double>(more) &&  // else no IoU is so high
             masks.iou(k, indices[i]) > threshold;
    };
    survives[i] = count < limit && std::none_of(kept.get(), kept + count, suppressed_by);
    if (survives[i]) kept[count++] = indices[i];
  }
}

template <class T>
py::array_t<int64_t> run(const Tensor& masks, const py::array& scores, const OptionalArray& idxs,
                         double iou_threshold, std::optional<int64_t> max_output) {
  constexpr const char* op = "mask_nms";
  const int64_t n = masks.shape[0];
  const T* s = nms_scores<T>(op, scores, n);
  const NmsGroups groups = nms_groups(op, n, idxs, std::nullopt, max_output);
  check_iou_threshold(op, iou_threshold);
  return kept_indices(op, n, [&](int64_t* keep) {
    const PackedMasks packed(masks.as<const uint8_t>(), n, masks.shape[1] * masks.shape[2]);
    return suppress(
        s, n, groups, [](int64_t) { return true; },
        [&](const uint32_t* indices, int64_t size, int64_t limit, uint8_t* survives) {
          greedy(packed, indices, size, iou_threshold, limit, survives);
        },
        keep);
  });
}

}  // namespace

void bind_mask_nms(py::module_& m) {
  m.def(
      "mask_nms",
      [](const py::array& masks, const py::array& scores, double iou_threshold, const OptionalArray& idxs,
         std::optional<int64_t> max_output) {
        const Tensor t = dense_view<const uint8_t>(masks, "mask_nms", "masks", 3);
        return py::isinstance<py::array_t<double>>(scores)
                   ? run<double>(t, scores, idxs, iou_threshold, max_output)
                   : run<float>(t, scores, idxs, iou_threshold, max_output);
      },
      py::arg("masks"), py::arg("scores"), py::arg("iou_threshold"), py::arg("idxs") = py::none(),
      py::arg("max_output") = py::none());
}

}  // namespace pyvision
