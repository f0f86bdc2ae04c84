// SPDX-License-Identifier: Apache-2.0
// RoI Pool (Girshick 2015, "Fast R-CNN"): the maximum of every bin of a box, whole pixels.
//
//   x1, y1, x2, y2 = round(box * spatial_scale), half away from zero, x2 and y2 inclusive
//   height = max(y2 - y1 + 1, 1);   bin ph takes rows [floor(ph * height / PH), ceil((ph + 1) * height / PH))
//   from y1 on, clipped to the map;  columns likewise
//
// An empty bin is 0 and its argmax -1. Otherwise argmax is y * W + x of the first of the largest pixels; NaNs
// are passed over, and a bin of nothing but NaNs is -infinity. Arrays are dense. T: float or double.
#pragma once

#include "core/dispatch.h"
#include "roi/roi.h"

namespace pyvision {

// A region's row of bins; width: of the map. out, argmax: (grid.w, channels)
template <class T>
using LargestPixels = void (*)(const RoiGrid& grid, const RoiTaps<T>& taps, int64_t ph, const T* map,
                               int64_t width, int64_t stride_h, int64_t stride_w, int64_t channels, T* out,
                               int32_t* argmax);

struct RoiPoolKernels {
  const char* isa;
  LargestPixels<float> largest_f32;
  LargestPixels<double> largest_f64;
};

PYVISION_KERNELS(RoiPoolKernels, roi_pool)

// out, argmax: (K, bins, C), or (K, C, bins) where the maps are planar.
template <class T>
void roi_pool(const RoiGrid& grid, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes, T* out,
              int32_t* argmax);
// maps: what they get; grad, argmax: as out. argmax is -1 or a pixel of the map.
template <class T>
void roi_pool_backward(const RoiGrid& grid, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes, const T* grad,
                       const int32_t* argmax);

}  // namespace pyvision
