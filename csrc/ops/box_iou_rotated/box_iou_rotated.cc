// SPDX-License-Identifier: Apache-2.0
#include "ops/box_iou_rotated/box_iou_rotated.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

template <class T>
const BoxIouRotatedOf<T>& kernels_of() {
  if constexpr (std::is_same_v<T, float>)
    return box_iou_rotated_kernels().f32;
  else
    return box_iou_rotated_kernels().f64;
}

// From: the boxes' type; T: the one they are computed in.
template <class T, class From>
void fill(const RotatedColumns<T>& columns, const From* boxes, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    T box[5], fields[RotatedColumns<T>::kFields];
    std::copy_n(boxes + 5 * i, 5, box);
    describe_rotated(box, fields);
    for (int k = 0; k < RotatedColumns<T>::kFields; ++k) columns.field[k][i] = fields[k];
  }
}

template <class T, class From>
void overlaps_in(const From* a, const From* b, From* y, int64_t n, int64_t m, bool matched) {
  constexpr int64_t kFields = RotatedColumns<T>::kFields, kBlock = 2048;  // pairs: some 10 us of vector work
  Scratch<T> memory_a(kFields * n), memory_b(kFields * m);
  const RotatedColumns<T> left(memory_a, n), right(memory_b, m);
  fill(left, a, n);
  fill(right, b, m);
  const BoxIouRotatedOf<T>& kernels = kernels_of<T>();
  const auto compute = [&](auto kernel, int64_t i, int64_t j, From* out, int64_t count) {
    if constexpr (std::is_same_v<T, From>) {
      kernel(left.at(i), right.at(j), out, count);
    } else {
      Scratch<T> wide(count);
      kernel(left.at(i), right.at(j), wide.get(), count);
      for (int64_t k = 0; k < count; ++k) out[k] = static_cast<From>(wide[k]);
    }
  };
  if (matched) {
    parallel_for(n, kBlock, [&](int64_t begin, int64_t end) {
      compute(kernels.matched, begin, begin, y + begin, end - begin);
    });
  } else {
    parallel_for(n, std::max<int64_t>(1, 4 * kBlock / m), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) compute(kernels.row, i, 0, y + i * m, m);
    });
  }
}

}  // namespace

template <class T>
void describe_rotated(const T* box, T* fields) {
  const bool finite = std::all_of(box, box + 5, [](T value) { return std::isfinite(value); });
  const T w = box[2], h = box[3];
  const bool solid = w > 0 && h > 0;
  // Exact at multiples of 90 degrees.
  const double angle = std::fmod(static_cast<double>(box[4]), 360.0);
  const double quarters = std::nearbyint(angle / 90), rest = (angle - 90 * quarters) * (M_PI / 180);
  const double c = std::cos(rest), s = std::sin(rest);
  const double turned[5] = {c, -s, -c, s, c};  // cosines; a quarter behind them the sines
  const int quarter = finite ? static_cast<int>(quarters) & 3 : 0;
  const T values[] = {box[0],
                      box[1],
                      solid ? w / 2 : 0,
                      solid ? h / 2 : 0,
                      static_cast<T>(turned[quarter]),
                      static_cast<T>(quarter == 0 ? s : turned[quarter - 1]),
                      finite ? (solid ? w * h : 0) : static_cast<T>(NAN)};
  std::copy_n(values, RotatedColumns<T>::kFields, fields);
}

bool rotated_fit_f32(const float* boxes, int64_t n) {
  constexpr float kLargest = 0x1p60f, kSmallestArea = 0x1p-100f;
  for (int64_t i = 0; i < n; ++i) {
    const float* b = boxes + 5 * i;
    for (int k = 0; k < 4; ++k)
      if (std::fabs(b[k]) > kLargest) return false;
    if (b[2] > 0 && b[3] > 0 && b[2] * b[3] < kSmallestArea) return false;
  }
  return true;
}

template <class T>
void box_iou_rotated(const T* a, const T* b, T* y, int64_t n, int64_t m, bool matched) {
  if (n == 0 || m == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (!rotated_fit_f32(a, n) || !rotated_fit_f32(b, m)) return overlaps_in<double>(a, b, y, n, m, matched);
  }
  overlaps_in<T>(a, b, y, n, m, matched);
}

template void describe_rotated<float>(const float*, float*);
template void describe_rotated<double>(const double*, double*);
template void box_iou_rotated<float>(const float*, const float*, float*, int64_t, int64_t, bool);
template void box_iou_rotated<double>(const double*, const double*, double*, int64_t, int64_t, bool);

}  // namespace pyvision
