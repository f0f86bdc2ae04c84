// SPDX-License-Identifier: Apache-2.0
#include "ops/deform_roi_pool/deform_roi_pool.h"

#include <limits>

#include "ops/roi_align/roi_align.h"
#include "roi/axes.h"
#include "roi/pool.h"

namespace pyvision {
namespace {

template <class T>
struct DeformBox {
  const DeformRoiPool<T>& job;
  SampledBox<T> box;
  const T* offset;  // (2, bins), or null
  const T* mask;    // (bins), or null
  T height, width;  // what offsets are multiplied by

  DeformBox(const DeformRoiPool<T>& job, double scale, const RoiBoxes<T>& boxes, int64_t k)
      : job(job),
        box(boxes[k] + 1, scale, T(0.5), -std::numeric_limits<T>::infinity(), job.grid, job.sampling_ratio),
        offset(job.offset ? job.offset + 2 * k * job.grid.bins() : nullptr),
        mask(job.mask ? job.mask + k * job.grid.bins() : nullptr),
        height(job.gamma * box.y.bin * static_cast<T>(job.grid.h)),
        width(job.gamma * box.x.bin * static_cast<T>(job.grid.w)) {}

  T factor(int64_t bin) const { return mask ? mask[bin] : T(1); }
  SampledAxis<T> y(int64_t bin) const {
    return moved(box.y, offset ? height * offset[job.grid.bins() + bin] : 0);
  }
  SampledAxis<T> x(int64_t bin) const { return moved(box.x, offset ? width * offset[bin] : 0); }

 private:
  static SampledAxis<T> moved(SampledAxis<T> axis, T by) {
    axis.start += by;
    return axis;
  }
};

template <class T, class Map>
Regions<T> moved_bins(const DeformRoiPool<T>& job, const RoiMaps<Map>& maps, const RoiBoxes<T>& boxes) {
  const RoiLevel<Map>& level = maps.levels[0];
  return {boxes, job.grid, [&](int64_t k, AxisBuilder<T>* y, AxisBuilder<T>* x) {
            const DeformBox<T> box(job, level.scale, boxes, k);
            for (int64_t bin = 0; bin < job.grid.bins(); ++bin) {
              add_sampled_bin(box.y(bin), bin / job.grid.w, level.h, box.factor(bin), y);
              add_sampled_bin(box.x(bin), bin % job.grid.w, level.w, T(1), x);
            }
          }};
}

}  // namespace

template <class T>
void deform_roi_pool(const DeformRoiPool<T>& job, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes,
                     T* out) {
  gather_regions(maps, job.grid, moved_bins(job, maps, boxes), gather_kernel<T>(), out);
}

template <class T>
void deform_roi_pool_backward(const DeformRoiPool<T>& job, const RoiMaps<const T>& inputs,
                              const RoiBoxes<T>& boxes, const T* grad, const RoiMaps<T>& maps, T* grad_offset,
                              T* grad_mask) {
  const RoiGrid& grid = job.grid;
  scatter_regions(maps, grid, moved_bins(job, maps, boxes), scatter_kernel<T>(), grad);
  if (grad_offset == nullptr && grad_mask == nullptr) return;
  const GatherBins<T> kernel = gather_kernel<T>();
  const RoiLevel<const T>& level = inputs.levels[0];
  const int64_t bins = grid.bins(), channels = inputs.channels, stride_h = level.w * channels;
  parallel_for(boxes.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const DeformBox<T> box(job, level.scale, boxes, k);
      AxisBuilder<T> y, x, y_slope, x_slope;
      for (int64_t bin = 0; bin < bins; ++bin) {
        add_sampled_bin(box.y(bin), bin / grid.w, level.h, T(1), &y);
        add_sampled_bin(box.x(bin), bin % grid.w, level.w, T(1), &x);
        add_sampled_slope(box.y(bin), bin / grid.w, level.h, box.factor(bin) * box.height, &y_slope);
        add_sampled_slope(box.x(bin), bin % grid.w, level.w, box.factor(bin) * box.width, &x_slope);
      }
      const T* const map = level.data + boxes.image(k) * level.h * stride_h;
      const auto dots = [&](const AxisBuilder<T>& rows, const AxisBuilder<T>& columns, T* to) {
        bin_dots(kernel, grid, {rows.from(0), columns.from(0)}, map, stride_h, channels, channels,
                 grad + k * bins * channels, to);
      };
      if (grad_offset != nullptr) {
        dots(y, x_slope, grad_offset + 2 * k * bins);
        dots(y_slope, x, grad_offset + (2 * k + 1) * bins);
      }
      if (grad_mask != nullptr) dots(y, x, grad_mask + k * bins);
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                            \
  template void deform_roi_pool(const DeformRoiPool<T>&, const RoiMaps<const T>&, const RoiBoxes<T>&, T*); \
  template void deform_roi_pool_backward(const DeformRoiPool<T>&, const RoiMaps<const T>&,                 \
                                         const RoiBoxes<T>&, const T*, const RoiMaps<T>&, T*, T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
