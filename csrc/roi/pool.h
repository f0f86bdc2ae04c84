// SPDX-License-Identifier: Apache-2.0
// Runs a kernel over all regions of a call, whichever way the maps lie.
#pragma once

#include "core/parallel.h"
#include "roi/regions.h"

namespace pyvision {

// Calls run(region, map, stride_h, stride_w, first_channel, channels, out) for parts of regions that together
// cover all channels; map: the region's image at the first of these channels, which are neighbours there;
// out: (bins, channels). `out` becomes (K, bins, C), or (K, C, bins) of planar maps.
template <class T>
using GatherRegion = FunctionRef<void(const Region<T>& region, const T* map, int64_t stride_h,
                                      int64_t stride_w, int64_t channels, T* out)>;
template <class T>
void gather_regions(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                    GatherRegion<T> run, T* out);

// Sets the maps to what the regions add to them; grad: (K, bins, C), or (K, C, bins) of planar maps. Every
// row of a map belongs to one task, which takes the regions in their order.
template <class T>
void scatter_regions(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                     ScatterBins<T> kernel, const T* grad);

}  // namespace pyvision
