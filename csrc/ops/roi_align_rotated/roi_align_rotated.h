// SPDX-License-Identifier: Apache-2.0
// RoI Align of rotated boxes (Ma et al. 2018, "Arbitrary-Oriented Scene Text Detection via Rotation
// Proposals", sampled as RoI Align does; detectron2 and mmcv). A box is (cx, cy, w, h, angle), in degrees,
// counter-clockwise on screen; it is scaled and, if aligned, its centre moved by half a pixel. In its own
// axes
//
//   v = -h / 2 + (ph + (i + 0.5) / G_y) * h / PH,   i in [0, G_y);   u likewise
//   y = cy + v cos - u sin,   x = cx + v sin + u cos
//
// and a bin is the average of the bilinear samples there: outside [-1, H] x [-1, W] 0, between there and the
// border on it. G = sampling_ratio, or ceil(bin size). Unless aligned a box is at least 1 x 1 pixels.
//
// Arrays are dense. T: float or double.
#pragma once

#include "core/dispatch.h"
#include "core/sampled_maps.h"
#include "roi/roi.h"

namespace pyvision {

// A box after scaling.
template <class T>
struct RotatedBox {
  T center_y, center_x, cos, sin;
  T start_v, start_u, bin_v, bin_u;
  int64_t samples_v, samples_u;  // of a bin
};

// The bins of one box; maps: as many points as a bin has samples. out: (bins, channels)
template <class T>
using GatherRotated = void (*)(const RoiGrid& grid, const RotatedBox<T>& box, const SampledMaps<T>& maps,
                               const T* image, int64_t channels, T* out);
// Adds the gradients of its bins, grad_stride apart, to the image's.
template <class T>
using ScatterRotated = void (*)(const RoiGrid& grid, const RotatedBox<T>& box, const SampledMaps<T>& maps,
                                const T* grad, int64_t grad_stride, int64_t channels, T* image);

struct RoiAlignRotatedKernels {
  const char* isa;
  GatherRotated<float> gather_f32;
  GatherRotated<double> gather_f64;
  ScatterRotated<float> scatter_f32;
  ScatterRotated<double> scatter_f64;
};

PYVISION_KERNELS(RoiAlignRotatedKernels, roi_align_rotated)

struct RoiAlignRotatedOptions {
  RoiGrid grid;
  int64_t sampling_ratio;
  bool aligned;
};

// No maps are planar here. out: (K, bins, C)
template <class T>
void roi_align_rotated(const RoiAlignRotatedOptions& options, const RoiMaps<const T>& maps,
                       const RoiBoxes<T>& boxes, T* out);
// maps: what they get; grad: as out
template <class T>
void roi_align_rotated_backward(const RoiAlignRotatedOptions& options, const RoiMaps<T>& maps,
                                const RoiBoxes<T>& boxes, const T* grad);

// Samples of a bin that are still taken: adaptive sampling asks for that many from bins of 256 x 256 pixels.
constexpr int64_t kMaxRotatedSamples = 1 << 16;
// Of the box whose bins have most; more than the above where there are too many.
template <class T>
int64_t most_rotated_samples(const RoiAlignRotatedOptions& options, double scale, const RoiBoxes<T>& boxes);

}  // namespace pyvision
