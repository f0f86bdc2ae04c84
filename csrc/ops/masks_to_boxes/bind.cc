// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/masks_to_boxes/masks_to_boxes.h"

namespace pyvision::masks_to_boxes_bind {

void define(py::module_& m) {
  m.def(
      "masks_to_boxes",
      [](const py::array& masks) {
        const Tensor t = dense_view<const uint8_t>(masks, "masks_to_boxes", "masks", 3);
        auto boxes = empty<float>("masks_to_boxes", {t.shape[0], 4});
        float* y = boxes.mutable_data();
        {
          py::gil_scoped_release release;
          masks_to_boxes(t.as<const uint8_t>(), t.shape[0], t.shape[1], t.shape[2], y);
        }
        return boxes;
      },
      py::arg("masks"));
}

}  // namespace pyvision::masks_to_boxes_bind
