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

// An area that makes every IoU with the box NaN, when one of its coordinates is not finite.
template <class T>
T iou_area(const T* box) {
  return finite_box(box) ? area_of(box) : static_cast<T>(NAN);
}

// In doubles, for T of either kind.
template <class T>
void box_iou_f64(const T* a, const T* b, T* y, int64_t m) {
  const double p[4] = {a[0], a[1], a[2], a[3]};
  const double area = iou_area(p);
  for (int64_t j = 0; j < m; ++j) {
    const double q[4] = {b[4 * j], b[4 * j + 1], b[4 * j + 2], b[4 * j + 3]};
    const double w = std::max(0.0, std::min(p[2], q[2]) - std::max(p[0], q[0]));
    const double h = std::max(0.0, std::min(p[3], q[3]) - std::max(p[1], q[1]));
    const double intersection = w * h;
    const double united = (area + iou_area(q)) - intersection;
    y[j] = static_cast<T>(intersection > 0 ? intersection / united : 0 * united);
  }
}

}  // namespace

template <class T>
void box_iou(const T* a, const T* b, T* y, int64_t n, int64_t m) {
  if (n == 0 || m == 0) return;
  const int64_t grain = std::max<int64_t>(1, 65536 / m);  // about 20 us of vector work
  if constexpr (std::is_same_v<T, float>) {
    if (areas_fit_f32(a, n) && areas_fit_f32(b, m)) {
      Scratch<float> columns(5 * m);
      float* const c[5] = {columns, columns + m, columns + 2 * m, columns + 3 * m, columns + 4 * m};
      for (int64_t j = 0; j < m; ++j) {
        for (int k = 0; k < 4; ++k) c[k][j] = b[4 * j + k];
        c[4][j] = iou_area(b + 4 * j);
      }
      const BoxIouKernels& kernels = box_iou_kernels();
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) kernels.row(a + 4 * i, iou_area(a + 4 * i), c, y + i * m, m);
      });
      return;
    }
  }
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) box_iou_f64(a + 4 * i, b, y + i * m, m);
  });
}

template void box_iou<float>(const float*, const float*, float*, int64_t, int64_t);
template void box_iou<double>(const double*, const double*, double*, int64_t, int64_t);

}  // namespace pyvision
