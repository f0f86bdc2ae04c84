// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_align/roi_align.h"

#include <limits>

#include "roi/axes.h"
#include "roi/pool.h"

namespace pyvision {
namespace {

template <class T, class Map>
Regions<T> averages(const RoiAlignOptions& options, const RoiMaps<Map>& maps, const RoiBoxes<T>& boxes) {
  const RoiGrid& grid = options.grid;
  return {boxes, grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
            const RoiLevel<Map>& level = maps.levels[boxes.level(k)];
            const T shift = options.aligned ? T(0.5) : 0;
            const T least_size = options.aligned ? -std::numeric_limits<T>::infinity() : 1;
            const SampledBox<T> box(boxes[k] + 1, level.scale, shift, least_size, grid,
                                    options.sampling_ratio);
            for (int64_t ph = 0; ph < grid.h; ++ph) add_sampled_bin(box.y, ph, level.h, y);
            for (int64_t pw = 0; pw < grid.w; ++pw) add_sampled_bin(box.x, pw, level.w, x);
          }};
}

template <class T>
GatherBins<T> gather_kernel() {
  if constexpr (std::is_same_v<T, float>)
    return roi_align_kernels().gather_f32;
  else
    return roi_align_kernels().gather_f64;
}

template <class T>
ScatterBins<T> scatter_kernel() {
  if constexpr (std::is_same_v<T, float>)
    return roi_align_kernels().scatter_f32;
  else
    return roi_align_kernels().scatter_f64;
}

}  // namespace

template <class T>
void roi_align(const RoiAlignOptions& options, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes,
               T* out) {
  const GatherBins<T> kernel = gather_kernel<T>();
  gather_regions<T>(
      maps, options.grid, averages(options, maps, boxes),
      [&](const Region<T>& region, const T* map, int64_t stride_h, int64_t stride_w, int64_t channels,
          T* to) { kernel(options.grid, region.taps, map, stride_h, stride_w, channels, to); },
      out);
}

template <class T>
void roi_align_backward(const RoiAlignOptions& options, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes,
                        const T* grad) {
  scatter_regions(maps, options.grid, averages(options, maps, boxes), scatter_kernel<T>(), grad);
}

#define PYVISION_INSTANTIATE(T)                                                                          \
  template void roi_align(const RoiAlignOptions&, const RoiMaps<const T>&, const RoiBoxes<T>&, T*);      \
  template void roi_align_backward(const RoiAlignOptions&, const RoiMaps<T>&, const RoiBoxes<T>&, const T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
