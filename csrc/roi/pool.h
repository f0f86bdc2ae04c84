// SPDX-License-Identifier: Apache-2.0
// Runs a kernel over all regions of a call, whichever way the maps lie.
#pragma once

#include "core/parallel.h"
#include "roi/regions.h"

namespace pyvision {

// run(region, ph, map, stride_h, stride_w, channels, out, argmax) fills a region's row of bins for some
// neighbouring channels; map: the region's image at the first of them; out, argmax: (grid.w, channels).
// Together they become (K, bins, C), or (K, C, bins) of planar maps. argmax may be null in both. taps_alone:
// run reads no pixels but those of the taps, as it must of planar maps.
template <class T>
using GatherRow = FunctionRef<void(const Region<T>& region, int64_t ph, const T* map, int64_t stride_h,
                                   int64_t stride_w, int64_t channels, T* out, int32_t* argmax)>;
template <class T>
void gather_regions(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                    GatherRow<T> run, bool taps_alone, T* out, int32_t* argmax);

// The same with a kernel of weighted sums.
template <class T>
void gather_regions(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                    GatherBins<T> kernel, T* out);

// Sets the maps to what the regions add to them; grad: (K, bins, C), or (K, C, bins) of planar maps. Every
// row of a map belongs to one task, which takes the regions in their order.
template <class T>
void scatter_regions(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                     ScatterBins<T> kernel, const T* grad);

// dots[bin] = the sum over channels of grad * the bin; grad: (bins, channels). Where the taps are derivatives
// of a region's by a parameter, what that parameter gets.
template <class T>
void bin_dots(GatherBins<T> kernel, const RoiGrid& grid, const RoiTaps<T>& taps, const T* map,
              int64_t stride_h, int64_t stride_w, int64_t channels, const T* grad, T* dots);

// Calls body(image, channel, channels) for blocks of channels of images, in parallel: what owns its part of a
// gradient where every channel goes elsewhere.
template <class Body>
void for_each_channel_block(int64_t images, int64_t channels, Body body) {
  constexpr int64_t kBlock = 64;
  const int64_t blocks = (channels + kBlock - 1) / kBlock;
  parallel_for(images * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t c = task % blocks * kBlock;
      body(task / blocks, c, std::min(kBlock, channels - c));
    }
  });
}

}  // namespace pyvision
