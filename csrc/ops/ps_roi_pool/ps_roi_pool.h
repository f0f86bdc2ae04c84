// SPDX-License-Identifier: Apache-2.0
// Position-sensitive RoI Pool (Dai et al. 2016, "R-FCN"): bin b of output channel c is the average of the
// bin's pixels in input channel c * PH * PW + b.
//
//   x1, y1, x2, y2 = round(box * spatial_scale), half away from zero;   height = max(y2 - y1, 1)
//   bin ph takes rows [floor(ph * height / PH), ceil((ph + 1) * height / PH)) from y1 on, both ends clipped
//   to [0, H - 1], so that the map's last row and column never count;  columns likewise
//
// An empty bin is 0. Arrays are dense. T: float or double.
#pragma once

#include "roi/roi.h"

namespace pyvision {

// out: (K, bins, C / bins), or (K, C / bins, bins) where the maps are planar.
template <class T>
void ps_roi_pool(const RoiGrid& grid, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes, T* out);
// maps: what they get; grad: as out
template <class T>
void ps_roi_pool_backward(const RoiGrid& grid, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes,
                          const T* grad);

}  // namespace pyvision
