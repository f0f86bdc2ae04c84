// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "core/bind.h"
#include "core/parallel.h"
#include "ops/boxes/boxes.h"

namespace pyvision::boxes_bind {

constexpr int64_t kGrain = 16384;  // boxes: 256 KB of float32, some 20 us

BoxFormat parse_format(const std::string& name, const char* argument) {
  constexpr const char* kNames[] = {"xyxy", "xywh", "cxcywh"};  // in the order of enum BoxFormat
  for (int i = 0; i < 3; ++i)
    if (name == kNames[i]) return static_cast<BoxFormat>(i);
  check(false, "box_convert", "expected ", argument, " to be xyxy, xywh or cxcywh, got '", name, "'");
  return BoxFormat::kXyxy;
}

template <class T>
const BoxesOf<T>& kernels() {
  if constexpr (std::is_same_v<T, float>)
    return boxes_kernels().f32;
  else
    return boxes_kernels().f64;
}

// body(x, y, n) over blocks of boxes: x (n, 4), y (n, 4), or (n,) when `values` is 1. Output: the input's
// shape, with the last axis dropped then.
template <class T, class Body>
py::array map_boxes(const char* op, const py::array& boxes, int values, Body body) {
  const Tensor x = view<const T>(boxes, op, "boxes");
  check(x.rank >= 1 && x.shape[x.rank - 1] == 4, op, "expected boxes of shape (..., 4), got ", shape_text(x));
  check(x.contiguous(), op, "expected boxes to be C-contiguous");
  auto output = empty<T>(op, {x.shape, x.shape + x.rank - (values == 1)});
  T* y = output.mutable_data();
  {
    py::gil_scoped_release release;
    parallel_for(x.numel() / 4, kGrain, [&](int64_t begin, int64_t end) {
      body(x.as<const T>() + 4 * begin, y + values * begin, end - begin);
    });
  }
  return output;
}

// call(T{}) for the dtype of the boxes.
template <class Call>
py::array for_dtype(const py::array& boxes, Call call) {
  return is_f64(boxes) ? call(double{}) : call(float{});
}

void define(py::module_& m) {
  m.def(
      "box_convert",
      [](const py::array& boxes, const std::string& in_fmt, const std::string& out_fmt) {
        const BoxFormat from = parse_format(in_fmt, "in_fmt"), to = parse_format(out_fmt, "out_fmt");
        return for_dtype(boxes, [&](auto zero) {
          using T = decltype(zero);
          const auto convert = kernels<T>().convert;
          return map_boxes<T>("box_convert", boxes, 4,
                              [=](const T* x, T* y, int64_t n) { convert(x, y, n, from, to); });
        });
      },
      py::arg("boxes"), py::arg("in_fmt"), py::arg("out_fmt"));
  m.def(
      "box_area",
      [](const py::array& boxes) {
        return for_dtype(boxes, [&](auto zero) {
          using T = decltype(zero);
          return map_boxes<T>("box_area", boxes, 1, kernels<T>().area);
        });
      },
      py::arg("boxes"));
  m.def(
      "clip_boxes_to_image",
      [](const py::array& boxes, int64_t height, int64_t width) {
        check(height >= 0 && width >= 0, "clip_boxes_to_image", "expected size to be non-negative, got (",
              height, ", ", width, ")");
        return for_dtype(boxes, [&](auto zero) {
          using T = decltype(zero);
          const auto clip = kernels<T>().clip;
          return map_boxes<T>("clip_boxes_to_image", boxes, 4, [=](const T* x, T* y, int64_t n) {
            clip(x, y, n, static_cast<T>(width), static_cast<T>(height));
          });
        });
      },
      py::arg("boxes"), py::arg("height"), py::arg("width"));
}

}  // namespace pyvision::boxes_bind
