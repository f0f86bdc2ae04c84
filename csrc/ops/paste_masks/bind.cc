// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <type_traits>

#include "core/bind.h"
#include "ops/paste_masks/paste_masks.h"

namespace pyvision::paste_masks_bind {

constexpr const char* op = "paste_masks";

template <class T>
py::array run(const Tensor& masks, const Tensor& boxes, int64_t h, int64_t w, int64_t padding,
              double threshold) {
  const int64_t n = masks.shape[0], m = masks.shape[1];
  using Held = std::conditional_t<std::is_same_v<T, float>, float, bool>;
  py::array image = zeros<Held>(op, {n, h, w});
  T* y = static_cast<T*>(image.mutable_data());
  {
    py::gil_scoped_release release;
    paste_masks(masks.as<const float>(), boxes.as<const float>(), y, n, m, padding, h, w,
                static_cast<float>(threshold));
  }
  return image;
}

void define(py::module_& m) {
  m.def(
      op,
      [](const py::array& masks, const py::array& boxes, int64_t height, int64_t width, int64_t padding,
         std::optional<double> threshold) {
        const Tensor masks_view = dense_view<const float>(masks, op, "masks", 3);
        const Tensor boxes_view = dense_view<const float>(boxes, op, "boxes", 2);
        const int64_t n = masks_view.shape[0], m = masks_view.shape[1];
        check(masks_view.shape[2] == m, op, "expected masks of shape (N, M, M), got ",
              shape_text(masks_view));
        check(paste_sizes_fit(m, padding), op,
              "expected masks of 1 to 2^20 columns and padding of 0 to 2^20, got ", m, " and ", padding);
        check(boxes_view.shape[0] == n && boxes_view.shape[1] == 4, op, "expected boxes of shape (", n,
              ", 4), got ", shape_text(boxes_view));
        check(!threshold || (*threshold >= 0 && *threshold <= 1), op, "expected threshold in [0, 1], got ",
              threshold.value_or(0));
        check(paste_boxes_fit(boxes_view.as<const float>(), n, m, padding), op,
              "expected boxes that are finite and within 2^30 pixels, got others");
        return threshold ? run<uint8_t>(masks_view, boxes_view, height, width, padding, *threshold)
                         : run<float>(masks_view, boxes_view, height, width, padding, 0);
      },
      py::arg("masks"), py::arg("boxes"), py::arg("height"), py::arg("width"), py::arg("padding"),
      py::arg("threshold") = py::none());
}

}  // namespace pyvision::paste_masks_bind
