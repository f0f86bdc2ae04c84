// SPDX-License-Identifier: Apache-2.0
// Loops as plain as the formulas: a row of four values is a vector already, and the compiler makes it one.
#include "ops/boxes/boxes.h"

namespace pyvision::PYVISION_ISA_NS {

// y[i] = body(x[i]) over rows of four.
template <class T, class Body>
inline void for_each_box(const T* x, T* y, int64_t n, Body body) {
  for (int64_t i = 0; i < n; ++i) {
    const T box[4] = {x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]};
    body(box, y + 4 * i);
  }
}

template <class T>
inline void convert_boxes(const T* x, T* y, int64_t n, BoxFormat from, BoxFormat to) {
  constexpr T half = T{0.5};
  const auto put = [](T* out, T a, T b, T c, T d) { out[0] = a, out[1] = b, out[2] = c, out[3] = d; };
  const auto xyxy_to_xywh = [=](const T* b, T* o) { put(o, b[0], b[1], b[2] - b[0], b[3] - b[1]); };
  const auto xywh_to_xyxy = [=](const T* b, T* o) { put(o, b[0], b[1], b[0] + b[2], b[1] + b[3]); };
  const auto xyxy_to_cxcywh = [=](const T* b, T* o) {
    put(o, (b[0] + b[2]) * half, (b[1] + b[3]) * half, b[2] - b[0], b[3] - b[1]);
  };
  const auto cxcywh_to_xyxy = [=](const T* b, T* o) {
    put(o, b[0] - half * b[2], b[1] - half * b[3], b[0] + half * b[2], b[1] + half * b[3]);
  };
  const auto xywh_to_cxcywh = [=](const T* b, T* o) {
    put(o, b[0] + half * b[2], b[1] + half * b[3], b[2], b[3]);
  };
  const auto cxcywh_to_xywh = [=](const T* b, T* o) {
    put(o, b[0] - half * b[2], b[1] - half * b[3], b[2], b[3]);
  };
  using F = BoxFormat;
  if (from == F::kXyxy && to == F::kXywh) return for_each_box(x, y, n, xyxy_to_xywh);
  if (from == F::kXyxy && to == F::kCxcywh) return for_each_box(x, y, n, xyxy_to_cxcywh);
  if (from == F::kXywh && to == F::kXyxy) return for_each_box(x, y, n, xywh_to_xyxy);
  if (from == F::kXywh && to == F::kCxcywh) return for_each_box(x, y, n, xywh_to_cxcywh);
  if (from == F::kCxcywh && to == F::kXyxy) return for_each_box(x, y, n, cxcywh_to_xyxy);
  if (from == F::kCxcywh && to == F::kXywh) return for_each_box(x, y, n, cxcywh_to_xywh);
  for (int64_t i = 0; i < 4 * n; ++i) y[i] = x[i];
}

template <class T>
inline void box_areas(const T* x, T* area, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T w = x[4 * i + 2] - x[4 * i], h = x[4 * i + 3] - x[4 * i + 1];
    area[i] = w <= 0 || h <= 0 ? 0 : w * h;
  }
}

template <class T>
inline void clip_boxes(const T* x, T* y, int64_t n, T width, T height) {
  // Comparisons are false for NaN, which therefore passes through.
  const auto clip = [](T value, T limit) {
    value = value < 0 ? 0 : value;
    return value > limit ? limit : value;
  };
  for_each_box(x, y, n, [=](const T* b, T* out) {
    out[0] = clip(b[0], width);
    out[1] = clip(b[1], height);
    out[2] = clip(b[2], width);
    out[3] = clip(b[3], height);
  });
}

const BoxesKernels boxes = {F32::kIsaName,
                            {convert_boxes<float>, box_areas<float>, clip_boxes<float>},
                            {convert_boxes<double>, box_areas<double>, clip_boxes<double>}};

}  // namespace pyvision::PYVISION_ISA_NS
