// SPDX-License-Identifier: Apache-2.0
// Position-sensitive RoI Align (Dai et al. 2016, "R-FCN", with the sampling of RoI Align): bin b of output
// channel c is the average that aligned RoI Align has there, of input channel c * PH * PW + b alone.
//
// Arrays are dense. T: float or double.
#pragma once

#include "core/dispatch.h"
#include "roi/roi.h"

namespace pyvision {

struct PsRoiAlignKernels {
  const char* isa;
  OwnChannelKernels<float> f32;
  OwnChannelKernels<double> f64;
};

PYVISION_KERNELS(PsRoiAlignKernels, ps_roi_align)

// The kernels of T, for the ops that share them.
template <class T>
const OwnChannelKernels<T>& own_channel_kernels();

// out: (K, bins, C / bins), or (K, C / bins, bins) where the maps are planar.
template <class T>
void ps_roi_align(const RoiGrid& grid, int64_t sampling_ratio, const RoiMaps<const T>& maps,
                  const RoiBoxes<T>& boxes, T* out);
// maps: what they get; grad: as out
template <class T>
void ps_roi_align_backward(const RoiGrid& grid, int64_t sampling_ratio, const RoiMaps<T>& maps,
                           const RoiBoxes<T>& boxes, const T* grad);

}  // namespace pyvision
