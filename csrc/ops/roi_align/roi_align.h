// SPDX-License-Identifier: Apache-2.0
// RoI Align (He et al. 2017, "Mask R-CNN"). A box (x1, y1, x2, y2), times spatial_scale and, if aligned, less
// half a pixel, is cut into PH x PW bins. A bin is the average, or the maximum, of G_y x G_x bilinear samples:
//
//   y = y1 + (ph + (i + 0.5) / G_y) * (y2 - y1) / PH,   i in [0, G_y);   x likewise
//   G = sampling_ratio, or ceil(bin size) where that is not positive
//
// The centre of the first pixel is (0, 0). Samples outside [-1, H] x [-1, W] are 0, those between there and
// the border lie on it. Without `aligned` a box is at least 1 x 1 pixels after scaling.
//
// Arrays are dense. T: float or double.
#pragma once

#include "core/dispatch.h"
#include "roi/roi.h"

namespace pyvision {

struct RoiAlignKernels {
  const char* isa;
  GatherBins<float> gather_f32;
  GatherBins<double> gather_f64;
  ScatterBins<float> scatter_f32;
  ScatterBins<double> scatter_f64;
};

PYVISION_KERNELS(RoiAlignKernels, roi_align)

struct RoiAlignOptions {
  RoiGrid grid;
  int64_t sampling_ratio;
  bool aligned, maximum;
};

// out: (K, bins, C), or (K, C, bins) where the maps are planar.
template <class T>
void roi_align(const RoiAlignOptions& options, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes,
               T* out);
// Of averages. grad: as out; maps: what they get
template <class T>
void roi_align_backward(const RoiAlignOptions& options, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes,
                        const T* grad);

}  // namespace pyvision
