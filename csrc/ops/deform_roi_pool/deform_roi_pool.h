// SPDX-License-Identifier: Apache-2.0
// Deformable RoI pooling, plain (Dai et al. 2017, "Deformable Convolutional Networks") and modulated (Zhu et
// al. 2019, "Deformable ConvNets v2"): aligned RoI Align whose bins are each moved by
//
//   gamma * (box height * offset[k, 1, ph, pw], box width * offset[k, 0, ph, pw])
//
// and then multiplied by mask[k, 0, ph, pw]. Arrays are dense. T: float or double.
#pragma once

#include "roi/roi.h"

namespace pyvision {

template <class T>
struct DeformRoiPool {
  RoiGrid grid;  // not shared
  int64_t sampling_ratio;
  T gamma;
  const T* offset;  // (K, 2, PH, PW), x and then y, or null
  const T* mask;    // (K, PH, PW), or null
};

// out: (K, bins, C), or (K, C, bins) where the maps are planar.
template <class T>
void deform_roi_pool(const DeformRoiPool<T>& job, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes,
                     T* out);
// No maps are planar here. inputs: the maps; grad: as out; maps, grad_offset, grad_mask: what they get, null
// where the job has none
template <class T>
void deform_roi_pool_backward(const DeformRoiPool<T>& job, const RoiMaps<const T>& inputs,
                              const RoiBoxes<T>& boxes, const T* grad, const RoiMaps<T>& maps, T* grad_offset,
                              T* grad_mask);

}  // namespace pyvision
