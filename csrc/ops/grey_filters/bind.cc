// SPDX-License-Identifier: Apache-2.0
#include "core/bind_grey.h"
#include "ops/grey_filters/grey_filters.h"

namespace pyvision::grey_filters_bind {

py::array grey(const py::array& image) {
  constexpr const char* kOp = "to_grey";
  const Tensor x = view<const uint8_t>(image, kOp, "image");
  check(x.rank == 3 && (x.shape[2] == 3 || x.shape[2] == 4) && x.strides[2] == 1, kOp,
        "expected image of shape (H, W, 3) or (H, W, 4) with contiguous channels, got ", shape_text(x));
  py::array_t<uint8_t> y = empty<uint8_t>(kOp, {x.shape[0], x.shape[1]});
  uint8_t* const pixels = y.mutable_data();
  {
    py::gil_scoped_release release;
    to_grey(x.as<const uint8_t>(), x.strides[0], x.strides[1], x.shape[0], x.shape[1], pixels);
  }
  return y;
}

py::array resize(const py::array& image, int64_t height, int64_t width) {
  constexpr const char* kOp = "resize_grey";
  const GreyImage x = grey_view(image, kOp, "image");
  check(height > 0 && width > 0, kOp, "expected a size of at least 1 x 1, got (", height, ", ", width, ")");
  py::array_t<uint8_t> y = empty<uint8_t>(kOp, {height, width});
  uint8_t* const pixels = y.mutable_data();
  {
    py::gil_scoped_release release;
    resize_grey(x, height, width, pixels);
  }
  return y;
}

py::array blur(const py::array& image) {
  constexpr const char* kOp = "blur_grey";
  const GreyImage x = grey_view(image, kOp, "image");
  py::array_t<uint8_t> y = empty<uint8_t>(kOp, {x.h, x.w});
  uint8_t* const pixels = y.mutable_data();
  {
    py::gil_scoped_release release;
    blur_grey(x, pixels);
  }
  return y;
}

void define(py::module_& m) {
  m.def("to_grey", &grey, py::arg("image"));
  m.def("resize_grey", &resize, py::arg("image"), py::arg("height"), py::arg("width"));
  m.def("blur_grey", &blur, py::arg("image"));
}

}  // namespace pyvision::grey_filters_bind
