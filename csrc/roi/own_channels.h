// SPDX-License-Identifier: Apache-2.0
// Position-sensitive pooling: maps with a channel for every bin of every output. Bin b of output channel c is
// a weighted sum over input channel c * bins + b.
#pragma once

#include "roi/regions.h"

namespace pyvision {

// out, grad: (K, bins, C / bins), or (K, C / bins, bins) of planar maps.
template <class T>
void gather_own_channels(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                         const OwnChannelKernels<T>& kernels, T* out);
// Its transpose, to which the maps are set.
template <class T>
void scatter_own_channels(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                          const OwnChannelKernels<T>& kernels, const T* grad);

}  // namespace pyvision
