// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_align/roi_align.h"

#include <limits>

#include "roi/axes.h"
#include "roi/pool.h"

namespace pyvision {
namespace {

template <class T>
SampledBox<T> sampled_box(const RoiAlignOptions& options, double scale, const T* box) {
  const T least_size = options.aligned ? -std::numeric_limits<T>::infinity() : 1;
  return {box + 1, scale, options.aligned ? T(0.5) : T(0), least_size, options.grid, options.sampling_ratio};
}

template <class T, class Map>
Regions<T> averages(const RoiAlignOptions& options, const RoiMaps<Map>& maps, const RoiBoxes<T>& boxes) {
  const RoiGrid& grid = options.grid;
  return {boxes, grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
            const RoiLevel<Map>& level = maps.levels[boxes.level(k)];
            const SampledBox<T> box = sampled_box(options, level.scale, boxes[k]);
            for (int64_t ph = 0; ph < grid.h; ++ph) add_sampled_bin(box.y, ph, level.h, T(1), y);
            for (int64_t pw = 0; pw < grid.w; ++pw) add_sampled_bin(box.x, pw, level.w, T(1), x);
          }};
}

// One sample outside stands for all of them: they are all 0.
template <class T>
void add_positions(const SampledAxis<T>& axis, int64_t index, int64_t extent, AxisBuilder<T>* samples) {
  int64_t inside = 0;
  for_each_sample(axis, index, extent, [&](T position) {
    const SampleCell<T> cell(position, extent);
    samples->append(cell.low, static_cast<T>(cell.low) + cell.fraction);
    ++inside;
  });
  if (inside < axis.samples) samples->append(extent - 1, kOutside);
  samples->end_bin();
}

template <class T>
Regions<T> positions(const RoiAlignOptions& options, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes) {
  const RoiGrid& grid = options.grid;
  return {boxes, grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
            const RoiLevel<const T>& level = maps.levels[boxes.level(k)];
            const SampledBox<T> box = sampled_box(options, level.scale, boxes[k]);
            for (int64_t ph = 0; ph < grid.h; ++ph) add_positions(box.y, ph, level.h, y);
            for (int64_t pw = 0; pw < grid.w; ++pw) add_positions(box.x, pw, level.w, x);
          }};
}

template <class T>
void maximum(const RoiAlignOptions& options, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes, T* out) {
  MaximumBins<T> kernel;
  if constexpr (std::is_same_v<T, float>)
    kernel = roi_align_kernels().maximum_f32;
  else
    kernel = roi_align_kernels().maximum_f64;
  gather_regions<T>(
      maps, options.grid, positions(options, maps, boxes),
      [&](const Region<T>& region, int64_t ph, const T* map, int64_t stride_h, int64_t stride_w,
          int64_t channels, T* to, int32_t*) {
        const RoiLevel<const T>& level = maps.levels[region.level];
        kernel(options.grid, region.taps, ph, {map, level.h, level.w, stride_h, stride_w}, channels, to);
      },
      false, out, nullptr);
}

template <class T>
void maximum_backward(const RoiAlignOptions& options, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes,
                      const T* grad, const RoiMaps<const T>& inputs) {
  MaximumScatter<T> kernel;
  if constexpr (std::is_same_v<T, float>)
    kernel = roi_align_kernels().scatter_maximum_f32;
  else
    kernel = roi_align_kernels().scatter_maximum_f64;
  const Regions<T> regions = positions(options, inputs, boxes);
  for (int64_t l = 0; l < maps.level_count; ++l)
    std::fill_n(maps.levels[l].data, maps.n * maps.levels[l].h * maps.levels[l].w * maps.channels, T(0));
  const std::vector<RegionGroup>& groups = regions.groups();
  for_each_channel_block(
      static_cast<int64_t>(groups.size()), maps.channels, [&](int64_t group, int64_t c, int64_t channels) {
        for (int64_t i = groups[group].begin; i < groups[group].end; ++i) {
          const Region<T>& region = regions[i];
          const RoiLevel<T>& level = maps.levels[region.level];
          const int64_t stride_h = level.w * maps.channels, at = region.image * level.h * stride_h + c;
          kernel(options.grid, region.taps,
                 {inputs.levels[region.level].data + at, level.h, level.w, stride_h, maps.channels}, channels,
                 grad + region.box * options.grid.bins() * maps.channels + c, maps.channels, level.data + at);
        }
      });
}

}  // namespace

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

template <class T>
void roi_align(const RoiAlignOptions& options, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes,
               T* out) {
  if (options.maximum)
    maximum(options, maps, boxes, out);
  else
    gather_regions(maps, options.grid, averages(options, maps, boxes), gather_kernel<T>(), out);
}

template <class T>
void roi_align_backward(const RoiAlignOptions& options, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes,
                        const T* grad, const RoiMaps<const T>* inputs) {
  if (options.maximum)
    maximum_backward(options, maps, boxes, grad, *inputs);
  else
    scatter_regions(maps, options.grid, averages(options, maps, boxes), scatter_kernel<T>(), grad);
}

#define PYVISION_INSTANTIATE(T)                                                                             \
  template GatherBins<T> gather_kernel();                                                                   \
  template ScatterBins<T> scatter_kernel();                                                                 \
  template void roi_align(const RoiAlignOptions&, const RoiMaps<const T>&, const RoiBoxes<T>&, T*);         \
  template void roi_align_backward(const RoiAlignOptions&, const RoiMaps<T>&, const RoiBoxes<T>&, const T*, \
                                   const RoiMaps<const T>*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
