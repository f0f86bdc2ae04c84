// SPDX-License-Identifier: Apache-2.0
// Packed masks as shapes of suppress.cuh.
#pragma once

#include <cuda_runtime.h>

#include "mask_nms.cuh"

namespace pyvision::cuda {

struct PackedMask {
  int32_t index, area;
};

template <class T>
struct MaskShape {
  using Score = T;
  using Item = PackedMask;
  const uint64_t* words;
  const int32_t* areas;
  int64_t words_each;
  double threshold;

  __device__ Item load(int64_t i) const { return {static_cast<int32_t>(i), areas[i]}; }
  __device__ bool valid(const Item&) const { return true; }
  __device__ bool wide(const Item&) const { return false; }
  __device__ bool hits(const Item& a, const Item& b, bool) const {
    const double less = min(a.area, b.area), more = max(a.area, b.area);
    return less > threshold * more && ratio(a, b) > threshold;  // else no IoU is so high
  }
  __device__ T iou(const Item& a, const Item& b) const { return static_cast<T>(ratio(a, b)); }

 private:
  __device__ double ratio(const Item& a, const Item& b) const {
    int64_t both = 0;
    for (int64_t i = 0; i < words_each; ++i)
      both += __popcll(words[a.index * words_each + i] & words[b.index * words_each + i]);
    const int64_t any = int64_t{a.area} + b.area - both;
    return any > 0 ? static_cast<double>(both) / static_cast<double>(any) : 0.0;
  }
};

}  // namespace pyvision::cuda
