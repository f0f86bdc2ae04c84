// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <optional>

#include "core/bind.h"
#include "ops/prepare_image/prepare_image.h"

namespace pyvision::prepare_image_bind {

using Triple = std::array<float, 3>;
using Quad = std::array<int64_t, 4>;

py::array run(const py::array& image, std::array<int64_t, 2> size, const Quad& region, const Triple& mean,
              const Triple& stdev, bool bgr, float pad, std::optional<py::array> out) {
  constexpr const char* kOp = "prepare_image";
  const Tensor x = view<const uint8_t>(image, kOp, "image");
  const ImageView pixels = image_view(kOp, x);
  const PrepareImageParams params = prepare_image_params(kOp, size, region, mean, stdev, bgr, pad);
  if (!out) out = empty<float>(kOp, {1, size[0], size[1], 3});
  const Tensor y = dense_view<float>(*out, kOp, "out", 4);
  check(y.shape[0] == 1 && y.shape[1] == size[0] && y.shape[2] == size[1] && y.shape[3] == 3, kOp,
        "expected out of shape (1, ", size[0], ", ", size[1], ", 3), got ", shape_text(y));
  {
    py::gil_scoped_release release;
    prepare_image(pixels, params, y.as<float>());
  }
  return *out;
}

void define(py::module_& m) {
  m.def("prepare_image", &run, py::arg("image"), py::arg("size"), py::arg("region"), py::arg("mean"),
        py::arg("std"), py::arg("bgr"), py::arg("pad_value"), py::arg("out") = py::none());
}

}  // namespace pyvision::prepare_image_bind
