// SPDX-License-Identifier: Apache-2.0
#include "ops/prroi_pool/prroi_pool.h"

#include "ops/prroi_pool/integral_axis.h"
#include "ops/roi_align/roi_align.h"
#include "roi/axes.h"
#include "roi/pool.h"

namespace pyvision {
namespace {

template <class T>
void add_weights(const IntegralAxis& axis, AxisBuilder<T>* taps) {
  for (int64_t i = 0; i < axis.bins; ++i) {
    const IntegralAxis::Bin bin = axis.bin(i);
    for (int64_t q = bin.first; q < bin.last; ++q) taps->add(q, static_cast<T>(bin.weight(q)));
    taps->end_bin();
  }
}

// The weights' derivatives by the box's ends, times scale.
template <class T>
void add_slopes(const IntegralAxis& axis, double scale, AxisBuilder<T>* by_begin, AxisBuilder<T>* by_end) {
  for (int64_t i = 0; i < axis.bins; ++i) {
    const IntegralAxis::Bin bin = axis.bin(i);
    for (int64_t q = bin.first; q < bin.last; ++q) {
      by_begin->add(q, static_cast<T>(scale * bin.by_box_begin(q)));
      by_end->add(q, static_cast<T>(scale * bin.by_box_end(q)));
    }
    by_begin->end_bin();
    by_end->end_bin();
  }
}

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
            add_weights(box.y, y);
            add_weights(box.x, x);
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
      add_weights(box.y, &y);
      add_weights(box.x, &x);
      add_slopes(box.y, level.scale, &y_by_begin, &y_by_end);
      add_slopes(box.x, level.scale, &x_by_begin, &x_by_end);
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
