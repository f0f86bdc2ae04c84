// SPDX-License-Identifier: Apache-2.0
#include "ops/prroi_pool/prroi_pool.h"

#include "ops/roi_align/roi_align.h"
#include "roi/axes.h"
#include "roi/pool.h"

namespace pyvision {
namespace {

double hat(double x) { return std::max(0.0, 1 - std::abs(x)); }

// Its integral from -infinity to x.
double hat_integral(double x) {
  const double t = std::clamp(x, -1.0, 1.0);
  return t < 0 ? (t + 1) * (t + 1) / 2 : 1 - (1 - t) * (1 - t) / 2;
}

// A box along one axis, [begin, end], in double: the mean of a thin bin is a small difference's quotient.
struct IntegralAxis {
  double begin, end;
  int64_t bins, extent;

  // Calls visit(pixel, its weight in bin i, that weight's derivatives by the bin's ends).
  template <class Visit>
  void for_each_pixel(int64_t i, Visit visit) const {
    const double size = (end - begin) / static_cast<double>(bins);
    const double a = begin + static_cast<double>(i) * size, b = a + size;
    if (!(b > a) || !std::isfinite(b - a)) return;
    const double last = static_cast<double>(extent - 1);
    const auto first_pixel = static_cast<int64_t>(std::clamp(std::floor(a), 0.0, last));
    const auto last_pixel = static_cast<int64_t>(std::clamp(std::ceil(b), 0.0, last));
    for (int64_t q = first_pixel; q <= last_pixel; ++q) {
      const double at = static_cast<double>(q);
      const double weight = (hat_integral(b - at) - hat_integral(a - at)) / (b - a);
      visit(q, weight, (weight - hat(a - at)) / (b - a), (hat(b - at) - weight) / (b - a));
    }
  }

  template <class T>
  void add_weights(AxisBuilder<T>* taps) const {
    for (int64_t i = 0; i < bins; ++i) {
      for_each_pixel(i,
                     [&](int64_t q, double weight, double, double) { taps->add(q, static_cast<T>(weight)); });
      taps->end_bin();
    }
  }
  // The weights' derivatives by `begin` and `end`, times scale.
  template <class T>
  void add_slopes(double scale, AxisBuilder<T>* by_begin, AxisBuilder<T>* by_end) const {
    for (int64_t i = 0; i < bins; ++i) {
      const double lower = static_cast<double>(i) / static_cast<double>(bins);
      const double upper = static_cast<double>(i + 1) / static_cast<double>(bins);
      for_each_pixel(i, [&](int64_t q, double, double by_a, double by_b) {
        by_begin->add(q, static_cast<T>(scale * ((1 - lower) * by_a + (1 - upper) * by_b)));
        by_end->add(q, static_cast<T>(scale * (lower * by_a + upper * by_b)));
      });
      by_begin->end_bin();
      by_end->end_bin();
    }
  }
};

struct IntegralBox {
  IntegralAxis y, x;

  template <class T, class Map>
  IntegralBox(const RoiGrid& grid, const RoiLevel<Map>& level, const T* box)
      : y{box[2] * level.scale, box[4] * level.scale, grid.h, level.h},
        x{box[1] * level.scale, box[3] * level.scale, grid.w, level.w} {}
};

template <class T, class Map>
Regions<T> integrals(const RoiGrid& grid, const RoiMaps<Map>& maps, const RoiBoxes<T>& boxes) {
  return {boxes, grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
            const IntegralBox box(grid, maps.levels[0], boxes[k]);
            box.y.add_weights(y);
            box.x.add_weights(x);
          }};
}

}  // namespace

template <class T>
void prroi_pool(const RoiGrid& grid, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes, T* out) {
  gather_regions(maps, grid, integrals(grid, maps, boxes), gather_kernel<T>(), out);
}

template <class T>
void prroi_pool_backward(const RoiGrid& grid, const RoiMaps<const T>& inputs, const RoiBoxes<T>& boxes,
                         const T* grad, const RoiMaps<T>& maps, T* grad_boxes) {
  scatter_regions(maps, grid, integrals(grid, maps, boxes), scatter_kernel<T>(), grad);
  const GatherBins<T> kernel = gather_kernel<T>();
  const RoiLevel<const T>& level = inputs.levels[0];
  const int64_t bins = grid.bins(), channels = inputs.channels, stride_h = level.w * channels;
  parallel_for(boxes.count, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> dots(static_cast<size_t>(bins));
    for (int64_t k = begin; k < end; ++k) {
      const IntegralBox box(grid, level, boxes[k]);
      AxisBuilder<T> y, x, y_by_begin, y_by_end, x_by_begin, x_by_end;
      box.y.add_weights(&y);
      box.x.add_weights(&x);
      box.y.add_slopes(level.scale, &y_by_begin, &y_by_end);
      box.x.add_slopes(level.scale, &x_by_begin, &x_by_end);
      const RoiTaps<T> by_corner[] = {{y.from(0), x_by_begin.from(0)},
                                      {y_by_begin.from(0), x.from(0)},
                                      {y.from(0), x_by_end.from(0)},
                                      {y_by_end.from(0), x.from(0)}};
      const T* const map = level.data + boxes.image(k) * level.h * stride_h;
      grad_boxes[k * 5] = 0;
      for (int i = 0; i < 4; ++i) {
        bin_dots(kernel, grid, by_corner[i], map, stride_h, channels, channels, grad + k * bins * channels,
                 dots.data());
        T sum = 0;
        for (const T dot : dots) sum += dot;
        grad_boxes[k * 5 + 1 + i] = sum;
      }
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                            \
  template void prroi_pool(const RoiGrid&, const RoiMaps<const T>&, const RoiBoxes<T>&, T*);               \
  template void prroi_pool_backward(const RoiGrid&, const RoiMaps<const T>&, const RoiBoxes<T>&, const T*, \
                                    const RoiMaps<T>&, T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
