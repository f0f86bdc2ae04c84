// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/warp/grid_sample.h"
#include "simd/bilinear-inl.h"
#include "simd/cubic-inl.h"

namespace pyvision::PYVISION_ISA_NS {

inline float remainder_of(float x, float y) { return __builtin_fmodf(x, y); }
inline double remainder_of(double x, double y) { return __builtin_fmod(x, y); }
inline float nearest_of(float x) { return __builtin_nearbyintf(x); }
inline double nearest_of(double x) { return __builtin_nearbyint(x); }

// A position along one axis, in pixels, and its slope by what it was made of.
template <class T>
struct GridPosition {
  T at, slope;
};

template <class T>
inline GridPosition<T> in_pixels(T g, int64_t extent, bool align_corners) {
  const auto n = static_cast<T>(extent);
  if (align_corners) return {(g + 1) / 2 * (n - 1), (n - 1) / 2};
  return {((g + 1) * n - 1) / 2, n / 2};
}

template <class T>
inline GridPosition<T> reflected(GridPosition<T> p, int64_t extent, bool align_corners) {
  const T low = align_corners ? T{0} : static_cast<T>(-0.5);
  const T span = static_cast<T>(align_corners ? extent - 1 : extent);
  if (!(span > 0)) return {0, 0};
  T x = p.at - low, slope = p.slope;
  if (x < 0) x = -x, slope = -slope;
  const T rest = remainder_of(x, span), flips = floor_of(x / span);
  if (remainder_of(flips, 2) == 0) return {rest + low, slope};
  return {span - rest + low, -slope};
}

// NaN becomes 0.
template <class T>
inline GridPosition<T> clipped(GridPosition<T> p, int64_t extent) {
  const auto last = static_cast<T>(extent - 1);
  if (!(p.at > 0)) return {0, 0};
  return p.at < last ? p : GridPosition<T>{last, 0};
}

template <class T>
inline GridPosition<T> padded(const GridSampleParams& params, GridPosition<T> p, int64_t extent) {
  if (params.padding == GridPadding::kZeros) return p;
  if (params.padding == GridPadding::kReflection) p = reflected(p, extent, params.align_corners);
  return clipped(p, extent);
}

// The pixels that make a sample, as corners: one group for nearest and bilinear. Bicubic has up to 16.
template <class T>
struct GridTaps {
  int groups;
  Bilinear<T> group[5];
  T slope_y, slope_x;  // of the position by the grid's numbers
};

// Where the four taps along one axis lie, -1 for outside, and what they weigh.
template <bool kSlopes, class T>
struct CubicAxis {
  int64_t index[4];
  T weight[4], slope[4];

  CubicAxis(const GridSampleParams& params, T position, int64_t extent) {
    constexpr T kFar = 1 << 26;  // beyond any map, and whole numbers
    if (!(position < kFar))
      position = position > 0 ? kFar : params.padding == GridPadding::kZeros ? -kFar : T{0};
    if (position < -kFar) position = -kFar;
    const T below = floor_of(position);
    cubic_weights(position - below, weight);
    if constexpr (kSlopes) cubic_slopes(position - below, slope);
    for (int k = 0; k < 4; ++k) {
      const T at = padded<T>(params, {below + static_cast<T>(k - 1), 0}, extent).at;
      index[k] = at >= 0 && at < static_cast<T>(extent) ? static_cast<int64_t>(at) : -1;
    }
  }
};

template <bool kSlopes, class T>
inline void cubic_taps(const GridSampleParams& params, T y, T x, const GridImage<T>& image,
                       GridTaps<T>* taps) {
  const CubicAxis<kSlopes, T> rows(params, y, image.h), columns(params, x, image.w);
  int64_t offset[16];
  T weight[16], slope_y[16], slope_x[16];
  int count = 0;
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      if (rows.index[i] < 0 || columns.index[j] < 0) continue;
      offset[count] = rows.index[i] * image.stride_h + columns.index[j] * image.stride_w;
      weight[count] = rows.weight[i] * columns.weight[j];
      if constexpr (kSlopes) {
        slope_y[count] = rows.slope[i] * columns.weight[j];
        slope_x[count] = rows.weight[i] * columns.slope[j];
      }
      ++count;
    }
  }
  taps->groups = 0;
  for (int done = 0; done < count || taps->groups == 0;) {
    Bilinear<T>& group = taps->group[taps->groups++];
    const int left = count - done;
    group.corners = left >= 4 ? 4 : left >= 2 ? 2 : left;  // never 3
    for (int k = 0; k < group.corners; ++k, ++done) {
      group.offset[k] = offset[done];
      group.weight[k] = weight[done];
      if constexpr (kSlopes) group.slope_y[k] = slope_y[done], group.slope_x[k] = slope_x[done];
    }
  }
}

template <bool kSlopes, class T>
inline void grid_taps(const GridSampleParams& params, const GridImage<T>& image, const T* g,
                      GridTaps<T>* taps) {
  GridPosition<T> x = in_pixels(g[0], image.w, params.align_corners),
                  y = in_pixels(g[1], image.h, params.align_corners);
  taps->groups = 1;
  if (params.mode == GridMode::kBicubic) {
    cubic_taps<kSlopes>(params, y.at, x.at, image, taps);
  } else {
    x = padded(params, x, image.w), y = padded(params, y, image.h);
    if (params.mode == GridMode::kNearest) {
      x = {nearest_of(x.at), 0}, y = {nearest_of(y.at), 0};
      // A whole position has one corner of weight 1, and three that are left out or weigh 0.
      const bool inside =
          y.at >= 0 && x.at >= 0 && y.at < static_cast<T>(image.h) && x.at < static_cast<T>(image.w);
      Bilinear<T>& only = taps->group[0];
      only.corners = inside;
      only.offset[0] =
          inside ? static_cast<int64_t>(y.at) * image.stride_h + static_cast<int64_t>(x.at) * image.stride_w
                 : 0;
      only.weight[0] = 1;
      only.slope_y[0] = only.slope_x[0] = 0;
    } else {
      taps->group[0] = bilinear<kSlopes>(y.at, x.at, image.h, image.w, image.stride_h, image.stride_w);
    }
  }
  taps->slope_y = y.slope, taps->slope_x = x.slope;
}

template <class T>
inline void grid_sample_forward(const GridSampleParams& params, const GridImage<T>& x, const T* grid,
                                int64_t count, int64_t channels, T* y, int64_t step) {
  GridTaps<T> taps;
  for (int64_t i = 0; i < count; ++i, y += step) {
    grid_taps<false>(params, x, grid + 2 * i, &taps);
    for (int64_t c = 0; c < channels; ++c) y[c] = 0;
    for (int k = 0; k < taps.groups; ++k) blend_corners<true>(taps.group[k], T{1}, x.data, channels, y);
  }
}

template <class T>
inline void grid_sample_backward(const GridSampleParams& params, const GridImage<T>& x, const T* grid,
                                 const T* grad, int64_t step, int64_t count, int64_t channels, T* grad_x,
                                 T* grad_grid) {
  GridTaps<T> taps;
  for (int64_t i = 0; i < count; ++i, grad += step) {
    grid_taps<true>(params, x, grid + 2 * i, &taps);
    T by_y = 0, by_x = 0;
    for (int k = 0; k < taps.groups; ++k) {
      const SampleGradient<T> share =
          scatter_corners<false, T>(taps.group[k], 1, x.data, grad, channels, grad_x, nullptr);
      by_y += share.y, by_x += share.x;
    }
    grad_grid[2 * i] = by_x * taps.slope_x;
    grad_grid[2 * i + 1] = by_y * taps.slope_y;
  }
}

}  // namespace pyvision::PYVISION_ISA_NS
