// SPDX-License-Identifier: Apache-2.0
// Weighted sums of a few bilinear samples per output, as deformable attention and DCNv3/v4 have them:
// positions and weights of a block of points are computed together, point by point in vector lanes, then all
// channels are gathered.
#pragma once

#include "core/sampled_maps.h"
#include "simd/bilinear-inl.h"

namespace pyvision::PYVISION_ISA_NS {

constexpr int kPointBlock = 32;  // the usual 4 levels x 4 points and 3 x 3 taps fit at once

template <class T>
struct PointBlock {
  T y[kPointBlock], x[kPointBlock], scale[kPointBlock];  // given: positions in pixels, factors
  T weight[4][kPointBlock];                              // of the corners, scaled
  int64_t offset[kPointBlock];                           // of the upper left corner
  int32_t whole[kPointBlock];                            // all four corners lie inside
};

// Fills in weights, offsets and `whole` of points [first, first + count) of the maps. Without branches, so
// that the compiler makes vectors of it.
template <class T>
inline void resolve(const SampledMaps<T>& maps, int64_t first, int count, PointBlock<T>* block) {
  const T *height = maps.h + first, *width = maps.w + first;
  const int64_t *origin = maps.origin + first, *row = maps.row + first;
  const int64_t pixel = maps.pixel;
  for (int i = 0; i < count; ++i) {
    // Within [-2, extent + 1] the integers below are exact; NaN becomes -2, which is outside.
    T y = block->y[i] > -2 ? block->y[i] : -2, x = block->x[i] > -2 ? block->x[i] : -2;
    y = y < height[i] + 1 ? y : height[i] + 1;
    x = x < width[i] + 1 ? x : width[i] + 1;
    const T top = floor_of(y), left = floor_of(x), fy = y - top, fx = x - left;
    const T upper = (1 - fy) * block->scale[i], lower = fy * block->scale[i];
    block->weight[0][i] = upper * (1 - fx);
    block->weight[1][i] = upper * fx;
    block->weight[2][i] = lower * (1 - fx);
    block->weight[3][i] = lower * fx;
    block->whole[i] = (top >= 0) & (left >= 0) & (top <= height[i] - 2) & (left <= width[i] - 2);
    block->offset[i] = origin[i] + static_cast<int32_t>(top) * row[i] + static_cast<int32_t>(left) * pixel;
  }
}

// kVecs vectors of channels, the last of `lanes` lanes. image: at the first of these channels.
template <int kVecs, class T>
inline void sum_points(const SampledMaps<T>& maps, int64_t first, int count, const PointBlock<T>& block,
                       const T* image, int lanes, bool accumulate, T* out) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto lanes_of = [=](int v) { return v + 1 == kVecs ? lanes : kLanes; };
  Vec<T> upper[kVecs] = {}, lower[kVecs] = {};  // two sums each: half the latency
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    upper[v] = accumulate ? load_lanes<T>(out + v * kLanes, lanes_of(v)) : Vec<T>::zero();
    lower[v] = Vec<T>::zero();
  }
  const auto add = [&](Vec<T>(&sum)[kVecs], T weight, const T* corner) __attribute__((always_inline)) {
    const Vec<T> factor = Vec<T>::set(weight);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v)
      sum[v] = fma(factor, load_lanes(corner + v * kLanes, lanes_of(v)), sum[v]);
  };
  for (int i = 0; i < count; ++i) {
    if (block.whole[i]) {
      const T *above = image + block.offset[i], *below = above + maps.row[first + i];
      add(upper, block.weight[0][i], above);
      add(lower, block.weight[2][i], below);
      add(upper, block.weight[1][i], above + maps.pixel);
      add(lower, block.weight[3][i], below + maps.pixel);
    } else {
      const Bilinear<T> sample = bilinear<false>(block.y[i], block.x[i], maps.h[first + i], maps.w[first + i],
                                                 maps.row[first + i], maps.pixel);
      for (int k = 0; k < sample.corners; ++k)
        add(upper, sample.weight[k] * block.scale[i], image + maps.origin[first + i] + sample.offset[k]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) store_lanes(upper[v] + lower[v], out + v * kLanes, lanes_of(v));
}

// out[c] = sum over points of scale * v[c], c in [0, channels). place(first, count, &block) gives positions
// and factors of points [first, first + count). image: the maps' memory at the first of these channels.
template <class T, class Place>
inline void sum_all_points(const SampledMaps<T>& maps, const T* image, int64_t channels, T* out,
                           Place place) {
  constexpr int64_t kLanes = Vec<T>::kLanes;
  PointBlock<T> block;
  int64_t first = 0;
  do {  // once even without points: the sum is 0 then
    const int count = static_cast<int>(maps.points - first < kPointBlock ? maps.points - first : kPointBlock);
    place(first, count, &block);
    resolve(maps, first, count, &block);
    int64_t c = 0;
    for (; c + 4 * kLanes <= channels; c += 4 * kLanes)
      sum_points<4>(maps, first, count, block, image + c, kLanes, first > 0, out + c);
    for (; c + 2 * kLanes <= channels; c += 2 * kLanes)
      sum_points<2>(maps, first, count, block, image + c, kLanes, first > 0, out + c);
    for_each_vector<T>(channels - c, [&](int64_t i, int lanes) {
      sum_points<1>(maps, first, count, block, image + c + i, lanes, first > 0, out + c + i);
    });
    first += count;
  } while (first < maps.points);
}

// Backward of the above for one output: grad_image gets its share, and take(point, gradient) what positions
// and factors get. grad: (channels,); grad_image: as image.
template <class T, class Place, class Take>
inline void scatter_all_points(const SampledMaps<T>& maps, const T* image, const T* grad, int64_t channels,
                               T* grad_image, Place place, Take take) {
  PointBlock<T> block;
  for (int64_t first = 0; first < maps.points; first += kPointBlock) {
    const int count = static_cast<int>(maps.points - first < kPointBlock ? maps.points - first : kPointBlock);
    place(first, count, &block);
    for (int i = 0; i < count; ++i) {
      const int64_t p = first + i;
      const Bilinear<T> sample =
          bilinear<true>(block.y[i], block.x[i], maps.h[p], maps.w[p], maps.row[p], maps.pixel);
      take(p, scatter_corners<false, T>(sample, block.scale[i], image + maps.origin[p], grad, channels,
                                        grad_image + maps.origin[p], nullptr));
    }
  }
}

}  // namespace pyvision::PYVISION_ISA_NS
