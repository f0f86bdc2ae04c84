// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "core/bind.h"
#include "ops/box_coding/box_coding.h"

namespace pyvision::box_coding_bind {

using Weights = std::array<double, 4>;

template <class T>
std::array<T, 4> checked(const char* op, const Weights& weights) {
  std::array<T, 4> result;
  for (int k = 0; k < 4; ++k) {
    result[k] = static_cast<T>(weights[k]);
    check(result[k] > 0 && std::isfinite(result[k]), op, "expected weights to be finite and positive, got ",
          weights[k]);
  }
  return result;
}

template <class T>
py::array encode(const py::array& reference_boxes, const py::array& proposals, const Weights& weights) {
  constexpr const char* op = "encode_boxes";
  const Tensor g = dense_view<const T>(reference_boxes, op, "reference_boxes", 2);
  const Tensor p = dense_view<const T>(proposals, op, "proposals", 2);
  check(g.shape[1] == 4, op, "expected reference_boxes of shape (N, 4), got ", shape_text(g));
  check(p.shape[0] == g.shape[0] && p.shape[1] == 4, op, "expected proposals of shape (", g.shape[0],
        ", 4), got ", shape_text(p));
  const auto w = checked<T>(op, weights);
  auto output = empty<T>(op, {g.shape[0], 4});
  T* codes = output.mutable_data();
  {
    py::gil_scoped_release release;
    encode_boxes(g.as<const T>(), p.as<const T>(), codes, g.shape[0], w.data());
  }
  return output;
}

template <class T>
py::array decode(const py::array& rel_codes, const py::array& boxes, const Weights& weights, double clip) {
  constexpr const char* op = "decode_boxes";
  const Tensor codes = dense_view<const T>(rel_codes, op, "rel_codes", 2);
  const Tensor p = dense_view<const T>(boxes, op, "boxes", 2);
  check(codes.shape[1] % 4 == 0, op, "expected rel_codes of shape (N, 4 * classes), got ", shape_text(codes));
  check(p.shape[0] == codes.shape[0] && p.shape[1] == 4, op, "expected boxes of shape (", codes.shape[0],
        ", 4), got ", shape_text(p));
  const auto w = checked<T>(op, weights);
  check(clip > -INFINITY, op, "expected bbox_xform_clip above -infinity, got ", clip);
  const int64_t per_box = codes.shape[1] / 4;
  auto output = empty<T>(op, {codes.shape[0], codes.shape[1]});
  T* y = output.mutable_data();
  {
    py::gil_scoped_release release;
    decode_boxes(codes.as<const T>(), p.as<const T>(), y, codes.shape[0], per_box, w.data(),
                 static_cast<T>(clip));
  }
  return output;
}

void define(py::module_& m) {
  m.def(
      "encode_boxes",
      [](const py::array& reference_boxes, const py::array& proposals, const Weights& weights) {
        return is_f64(reference_boxes) ? encode<double>(reference_boxes, proposals, weights)
                                       : encode<float>(reference_boxes, proposals, weights);
      },
      py::arg("reference_boxes"), py::arg("proposals"), py::arg("weights"));
  m.def(
      "decode_boxes",
      [](const py::array& rel_codes, const py::array& boxes, const Weights& weights, double bbox_xform_clip) {
        return is_f64(rel_codes) ? decode<double>(rel_codes, boxes, weights, bbox_xform_clip)
                                 : decode<float>(rel_codes, boxes, weights, bbox_xform_clip);
      },
      py::arg("rel_codes"), py::arg("boxes"), py::arg("weights"), py::arg("bbox_xform_clip"));
}

}  // namespace pyvision::box_coding_bind
