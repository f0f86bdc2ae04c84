// SPDX-License-Identifier: Apache-2.0
#include "ops/box_iou/box_iou.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/boxes/geometry.h"

namespace pyvision {
namespace {

// From: the boxes' type; T: the one they are computed in.
template <class T, class From>
void fill(const BoxColumns<T>& columns, const From* boxes, int64_t n, IouKind kind) {
  for (int64_t i = 0; i < n; ++i) {
    const T box[4] = {boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]};
    set_box(columns, i, box, kind);
  }
}

template <class T, class From>
void box_iou_in(IouKind kind, const From* a, const From* b, From* y, int64_t n, int64_t m, bool matched,
                T eps) {
  constexpr int64_t kFields = BoxColumns<T>::kFields, kBlock = 4096;  // pairs: some 5 us of vector work
  Scratch<T> memory_a(kFields * n), memory_b(kFields * m);
  const BoxColumns<T> left(memory_a, n), right(memory_b, m);
  fill(left, a, n, kind);
  fill(right, b, m, kind);
  const BoxIouOf<T>& kernels = box_iou_kernels_of<T>();
  const auto compute = [&](auto kernel, int64_t i, int64_t j, From* out, int64_t count) {
    if constexpr (std::is_same_v<T, From>) {
      kernel(kind, left.at(i), right.at(j), out, count, eps);
    } else {
      Scratch<T> wide(count);
      kernel(kind, left.at(i), right.at(j), wide.get(), count, eps);
      for (int64_t k = 0; k < count; ++k) out[k] = static_cast<From>(wide[k]);
    }
  };
  if (matched) {
    parallel_for(n, kBlock, [&](int64_t begin, int64_t end) {
      compute(kernels.matched, begin, begin, y + begin, end - begin);
    });
  } else {
    parallel_for(n, std::max<int64_t>(1, 16 * kBlock / m), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) compute(kernels.row, i, 0, y + i * m, m);
    });
  }
}

}  // namespace

template <class T>
void set_box(const BoxColumns<T>& columns, int64_t i, const T* box, IouKind kind) {
  for (int k = 0; k < 4; ++k) columns.field[k][i] = box[k];
  columns.field[4][i] = finite_box(box) ? area_of(box) : static_cast<T>(NAN);  // NaN makes every overlap NaN
  if (kind == IouKind::kCiou) {
    const T w = box[2] - box[0], h = box[3] - box[1];
    columns.field[5][i] = w == 0 && h == 0 ? 0 : std::atan(w / h);
  }
}

template <class T>
void box_iou(IouKind kind, const T* a, const T* b, T* y, int64_t n, int64_t m, bool matched, double eps) {
  if (n == 0 || m == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (!areas_fit_f32(a, n) || !areas_fit_f32(b, m))
      return box_iou_in<double>(kind, a, b, y, n, m, matched, eps);
  }
  box_iou_in<T>(kind, a, b, y, n, m, matched, static_cast<T>(eps));
}

template void set_box<float>(const BoxColumns<float>&, int64_t, const float*, IouKind);
template void set_box<double>(const BoxColumns<double>&, int64_t, const double*, IouKind);
template void box_iou<float>(IouKind, const float*, const float*, float*, int64_t, int64_t, bool, double);
template void box_iou<double>(IouKind, const double*, const double*, double*, int64_t, int64_t, bool, double);

}  // namespace pyvision
