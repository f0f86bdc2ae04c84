// SPDX-License-Identifier: Apache-2.0
#include "ops/ps_roi_pool/ps_roi_pool.h"

#include "ops/ps_roi_align/ps_roi_align.h"
#include "roi/axes.h"
#include "roi/own_channels.h"

namespace pyvision {
namespace {

template <class T>
void add_axis(T begin, T end, int64_t bins, int64_t extent, AxisBuilder<T>* taps) {
  const T start = std::round(begin), bin = std::max(std::round(end) - start, T(1)) / static_cast<T>(bins);
  for (int64_t i = 0; i < bins; ++i)
    add_range(std::floor(static_cast<T>(i) * bin) + start, std::ceil(static_cast<T>(i + 1) * bin) + start,
              extent - 1, taps, [](int64_t pixels) { return 1 / static_cast<T>(pixels); });
}

template <class T, class Map>
Regions<T> averages(const RoiGrid& grid, const RoiMaps<Map>& maps, const RoiBoxes<T>& boxes) {
  const RoiLevel<Map>& level = maps.levels[0];
  return {boxes, grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
            const T *box = boxes[k] + 1, scale = static_cast<T>(level.scale);
            add_axis(box[1] * scale, box[3] * scale, grid.h, level.h, y);
            add_axis(box[0] * scale, box[2] * scale, grid.w, level.w, x);
          }};
}

}  // namespace

template <class T>
void ps_roi_pool(const RoiGrid& grid, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes, T* out) {
  gather_own_channels(maps, grid, averages(grid, maps, boxes), own_channel_kernels<T>(), out);
}

template <class T>
void ps_roi_pool_backward(const RoiGrid& grid, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes,
                          const T* grad) {
  scatter_own_channels(maps, grid, averages(grid, maps, boxes), own_channel_kernels<T>(), grad);
}

#define PYVISION_INSTANTIATE(T)                                                               \
  template void ps_roi_pool(const RoiGrid&, const RoiMaps<const T>&, const RoiBoxes<T>&, T*); \
  template void ps_roi_pool_backward(const RoiGrid&, const RoiMaps<T>&, const RoiBoxes<T>&, const T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
