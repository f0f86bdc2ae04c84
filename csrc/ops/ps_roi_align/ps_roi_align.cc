// SPDX-License-Identifier: Apache-2.0
#include "ops/ps_roi_align/ps_roi_align.h"

#include <limits>
#include <type_traits>

#include "roi/axes.h"
#include "roi/own_channels.h"

namespace pyvision {
namespace {

template <class T, class Map>
Regions<T> averages(const RoiGrid& grid, int64_t sampling_ratio, const RoiMaps<Map>& maps,
                    const RoiBoxes<T>& boxes) {
  const RoiLevel<Map>& level = maps.levels[0];
  return {boxes, grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
            const SampledBox<T> box(boxes[k] + 1, level.scale, T(0.5), -std::numeric_limits<T>::infinity(),
                                    grid, sampling_ratio);
            for (int64_t ph = 0; ph < grid.h; ++ph) add_sampled_bin(box.y, ph, level.h, T(1), y);
            for (int64_t pw = 0; pw < grid.w; ++pw) add_sampled_bin(box.x, pw, level.w, T(1), x);
          }};
}

}  // namespace

template <class T>
const OwnChannelKernels<T>& own_channel_kernels() {
  if constexpr (std::is_same_v<T, float>)
    return ps_roi_align_kernels().f32;
  else
    return ps_roi_align_kernels().f64;
}

template <class T>
void ps_roi_align(const RoiGrid& grid, int64_t sampling_ratio, const RoiMaps<const T>& maps,
                  const RoiBoxes<T>& boxes, T* out) {
  gather_own_channels(maps, grid, averages(grid, sampling_ratio, maps, boxes), own_channel_kernels<T>(), out);
}

template <class T>
void ps_roi_align_backward(const RoiGrid& grid, int64_t sampling_ratio, const RoiMaps<T>& maps,
                           const RoiBoxes<T>& boxes, const T* grad) {
  scatter_own_channels(maps, grid, averages(grid, sampling_ratio, maps, boxes), own_channel_kernels<T>(),
                       grad);
}

#define PYVISION_INSTANTIATE(T)                                                                         \
  template const OwnChannelKernels<T>& own_channel_kernels();                                           \
  template void ps_roi_align(const RoiGrid&, int64_t, const RoiMaps<const T>&, const RoiBoxes<T>&, T*); \
  template void ps_roi_align_backward(const RoiGrid&, int64_t, const RoiMaps<T>&, const RoiBoxes<T>&,   \
                                      const T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
