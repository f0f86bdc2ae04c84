// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_pool/roi_pool.h"

#include "roi/axes.h"
#include "roi/pool.h"

namespace pyvision {
namespace {

template <class T>
void add_axis(T begin, T end, int64_t bins, int64_t extent, AxisBuilder<T>* taps) {
  const T start = std::round(begin), size = std::max(std::round(end) - start + 1, T(1));
  const T bin = size / static_cast<T>(bins);
  for (int64_t i = 0; i < bins; ++i)
    add_range(std::floor(static_cast<T>(i) * bin) + start, std::ceil(static_cast<T>(i + 1) * bin) + start,
              extent, taps, [](int64_t) { return T(1); });
}

}  // namespace

template <class T>
void roi_pool(const RoiGrid& grid, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes, T* out,
              int32_t* argmax) {
  const RoiLevel<const T>& level = maps.levels[0];
  const Regions<T> regions(boxes, grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
    const T *box = boxes[k] + 1, scale = static_cast<T>(level.scale);
    add_axis(box[1] * scale, box[3] * scale, grid.h, level.h, y);
    add_axis(box[0] * scale, box[2] * scale, grid.w, level.w, x);
  });
  LargestPixels<T> kernel;
  if constexpr (std::is_same_v<T, float>)
    kernel = roi_pool_kernels().largest_f32;
  else
    kernel = roi_pool_kernels().largest_f64;
  gather_regions<T>(
      maps, grid, regions,
      [&](const Region<T>& region, int64_t ph, const T* map, int64_t stride_h, int64_t stride_w,
          int64_t channels, T* to, int32_t* where) {
        kernel(grid, region.taps, ph, map, level.w, stride_h, stride_w, channels, to, where);
      },
      true, out, argmax);
}

template <class T>
void roi_pool_backward(const RoiGrid& grid, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes, const T* grad,
                       const int32_t* argmax) {
  const RoiLevel<T>& level = maps.levels[0];
  const int64_t all = maps.channels, plane = level.h * level.w, bins = grid.bins();
  const int64_t pixel_step = maps.planar ? 1 : all, channel_step = maps.planar ? plane : 1;
  std::fill_n(level.data, maps.n * plane * all, T(0));
  for_each_channel_block(maps.n, all, [&](int64_t image, int64_t first, int64_t channels) {
    T* const map = level.data + image * plane * all;
    const auto add = [&](int64_t from, int64_t c) {
      if (argmax[from] >= 0) map[argmax[from] * pixel_step + c * channel_step] += grad[from];
    };
    for (int64_t k = 0; k < boxes.count; ++k) {
      if (boxes.image(k) != image) continue;
      if (maps.planar) {
        for (int64_t c = first; c < first + channels; ++c)
          for (int64_t bin = 0; bin < bins; ++bin) add((k * all + c) * bins + bin, c);
      } else {
        for (int64_t bin = 0; bin < bins; ++bin)
          for (int64_t c = first; c < first + channels; ++c) add((k * bins + bin) * all + c, c);
      }
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                      \
  template void roi_pool(const RoiGrid&, const RoiMaps<const T>&, const RoiBoxes<T>&, T*, int32_t*); \
  template void roi_pool_backward(const RoiGrid&, const RoiMaps<T>&, const RoiBoxes<T>&, const T*,   \
                                  const int32_t*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
