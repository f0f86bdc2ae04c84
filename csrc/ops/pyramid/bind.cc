// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/pyramid/pyramid.h"

namespace pyvision::pyramid_bind {

// (h, w, c) as a batch of one.
Nhwc<const float> image_view(const py::array& image, const char* op) {
  const Tensor x = dense_view<const float>(image, op, "image", 3);
  check(x.numel() > 0, op, "expected image with pixels, got shape ", shape_text(x));
  return dense_nhwc(x.as<const float>(), 1, x.shape[0], x.shape[1], x.shape[2]);
}

py::array run(const char* op, const Nhwc<const float>& x, int64_t height, int64_t width,
              void (*filter)(const Nhwc<const float>&, const Nhwc<float>&)) {
  py::array_t<float> output = empty<float>(op, {height, width, x.c});
  const auto y = dense_nhwc(output.mutable_data(), 1, height, width, x.c);
  {
    py::gil_scoped_release release;
    filter(x, y);
  }
  return output;
}

py::array down(const py::array& image) {
  const auto x = image_view(image, "pyr_down");
  return run("pyr_down", x, (x.h + 1) / 2, (x.w + 1) / 2, pyr_down);
}

py::array up(const py::array& image, int64_t height, int64_t width) {
  const auto x = image_view(image, "pyr_up");
  check(height > 0 && width > 0 && (height + 1) / 2 == x.h && (width + 1) / 2 == x.w, "pyr_up",
        "expected a size that halves to (", x.h, ", ", x.w, "), got (", height, ", ", width, ")");
  return run("pyr_up", x, height, width, pyr_up);
}

void define(py::module_& m) {
  m.def("pyr_down", &down, py::arg("image"));
  m.def("pyr_up", &up, py::arg("image"), py::arg("height"), py::arg("width"));
}

}  // namespace pyvision::pyramid_bind
