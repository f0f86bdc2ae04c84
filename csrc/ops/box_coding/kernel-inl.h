// SPDX-License-Identifier: Apache-2.0
#include "ops/box_coding/box_coding.h"
#include "simd/f64-inl.h"
#include "simd/math-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <class T>
struct CentredBox {
  T x, y, w, h;
};

template <class T>
inline CentredBox<T> centred(const T* box) {
  const T w = box[2] - box[0], h = box[3] - box[1];
  return {box[0] + T{0.5} * w, box[1] + T{0.5} * h, w, h};
}

template <class T>
inline void encode_boxes(const T* boxes, const T* proposals, T* codes, int64_t n, const T* weights) {
  const auto log = [](T x) { return static_cast<T>(__builtin_log(static_cast<double>(x))); };
  for (int64_t i = 0; i < n; ++i) {
    const CentredBox<T> g = centred(boxes + 4 * i), p = centred(proposals + 4 * i);
    codes[4 * i] = weights[0] * (g.x - p.x) / p.w;
    codes[4 * i + 1] = weights[1] * (g.y - p.y) / p.h;
    codes[4 * i + 2] = weights[2] * log(g.w / p.w);
    codes[4 * i + 3] = weights[3] * log(g.h / p.h);
  }
}

template <class T>
inline void decode_boxes(const T* codes, const T* proposals, T* boxes, int64_t n, int64_t per_box,
                         const T* weights, T clip) {
  constexpr int kBlock = 64;  // sizes, whose exponentials are taken together
  T scale[kBlock];
  const auto bounded = [clip](T x) { return x > clip ? clip : x; };  // NaN stays NaN
  for (int64_t i = 0; i < n; ++i) {
    const CentredBox<T> p = centred(proposals + 4 * i);
    for (int64_t first = 0; first < per_box; first += kBlock / 2) {
      const int64_t count = per_box - first < kBlock / 2 ? per_box - first : kBlock / 2;
      const T* code = codes + 4 * (i * per_box + first);
      T* box = boxes + 4 * (i * per_box + first);
      for (int64_t k = 0; k < count; ++k) {
        scale[2 * k] = bounded(code[4 * k + 2] / weights[2]);
        scale[2 * k + 1] = bounded(code[4 * k + 3] / weights[3]);
      }
      for (int64_t k = 2 * count; k % Vec<T>::kLanes != 0; ++k) scale[k] = 0;
      for (int64_t k = 0; k < 2 * count; k += Vec<T>::kLanes) exp(Vec<T>::load(scale + k)).store(scale + k);
      for (int64_t k = 0; k < count; ++k) {
        const T x = code[4 * k] / weights[0] * p.w + p.x, y = code[4 * k + 1] / weights[1] * p.h + p.y;
        const T half_w = T{0.5} * (scale[2 * k] * p.w), half_h = T{0.5} * (scale[2 * k + 1] * p.h);
        box[4 * k] = x - half_w;
        box[4 * k + 1] = y - half_h;
        box[4 * k + 2] = x + half_w;
        box[4 * k + 3] = y + half_h;
      }
    }
  }
}

const BoxCodingKernels box_coding = {
    F32::kIsaName, {encode_boxes<float>, decode_boxes<float>}, {encode_boxes<double>, decode_boxes<double>}};

}  // namespace pyvision::PYVISION_ISA_NS
