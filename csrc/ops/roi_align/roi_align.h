// SPDX-License-Identifier: Apache-2.0
// RoI Align (He et al. 2017, "Mask R-CNN"). A box (x1, y1, x2, y2), times spatial_scale and, if aligned, less
// half a pixel, is cut into PH x PW bins. A bin is the average, or the maximum, of G_y x G_x bilinear
// samples:
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

// The taps of a maximum are the samples themselves: weights are positions, kOutside where there is none.
constexpr int kOutside = -2;

// The maps of one image, (h, w, channels of which some are meant), rows and pixels `stride` elements apart.
template <class T>
struct SampledImage {
  T* data;  // at the first of these channels
  int64_t h, w, stride_h, stride_w;
};
// A region's row of bins. out: (grid.w, channels)
template <class T>
using MaximumBins = void (*)(const RoiGrid& grid, const RoiTaps<T>& samples, int64_t ph,
                             const SampledImage<const T>& image, int64_t channels, T* out);
// Adds the gradients of a region's bins, `grad_stride` apart, to the pixels of their largest samples.
template <class T>
using MaximumScatter = void (*)(const RoiGrid& grid, const RoiTaps<T>& samples,
                                const SampledImage<const T>& image, int64_t channels, const T* grad,
                                int64_t grad_stride, T* grad_image);

struct RoiAlignKernels {
  const char* isa;
  GatherBins<float> gather_f32;
  GatherBins<double> gather_f64;
  ScatterBins<float> scatter_f32;
  ScatterBins<double> scatter_f64;
  MaximumBins<float> maximum_f32;
  MaximumBins<double> maximum_f64;
  MaximumScatter<float> scatter_maximum_f32;
  MaximumScatter<double> scatter_maximum_f64;
};

PYVISION_KERNELS(RoiAlignKernels, roi_align)

// The kernels of T, for the ops that share them.
template <class T>
GatherBins<T> gather_kernel();
template <class T>
ScatterBins<T> scatter_kernel();

struct RoiAlignOptions {
  RoiGrid grid;
  int64_t sampling_ratio;
  bool aligned, maximum;
};

// out: (K, bins, C), or (K, C, bins) where the maps are planar. Maxima take no planar maps.
template <class T>
void roi_align(const RoiAlignOptions& options, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes,
               T* out);
// grad: as out; maps: what they get. inputs: the maps themselves, which only maxima need
template <class T>
void roi_align_backward(const RoiAlignOptions& options, const RoiMaps<T>& maps, const RoiBoxes<T>& boxes,
                        const T* grad, const RoiMaps<const T>* inputs);

}  // namespace pyvision
