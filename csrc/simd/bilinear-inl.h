// SPDX-License-Identifier: Apache-2.0
// Bilinear samples of a map whose pixels outside are zero, all channels at once, and their gradients.
//
//   v(y, x) = sum of weight_k * pixel_k over the corners k of the cell that (y, x) lies in:
//     (0, 0) (1 - fy)(1 - fx)    (0, 1) (1 - fy) fx      fy = y - floor(y), fx = x - floor(x)
//     (1, 0)      fy (1 - fx)    (1, 1)      fy  fx
//
// The centre of the first pixel is (0, 0). A sample outside (-1, h) x (-1, w), or at NaN, is 0 and so are its
// gradients. Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

#include <cstdint>

#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

inline float floor_of(float x) { return __builtin_floorf(x); }
inline double floor_of(double x) { return __builtin_floor(x); }

// The corners that lie inside: those outside are left out rather than weighted 0, which would turn an
// infinite pixel next to them into NaN.
template <class T>
struct Bilinear {
  int corners;        // [0, 4]
  int64_t offset[4];  // of their pixels, in elements
  T weight[4];
  T slope_y[4], slope_x[4];  // of the weights, by y and by x; unset without kSlopes
};

template <bool kSlopes, class T>
[[gnu::always_inline]] inline Bilinear<T> bilinear(T y, T x, int64_t h, int64_t w, int64_t stride_h,
                                                   int64_t stride_w) {
  Bilinear<T> sample;
  sample.corners = 0;
  if (!(y > -1 && x > -1 && y < static_cast<T>(h) && x < static_cast<T>(w))) return sample;
  const T top = floor_of(y), left = floor_of(x);
  const T fy = y - top, fx = x - left;
  const auto ih = static_cast<int64_t>(top), iw = static_cast<int64_t>(left);  // [-1, h), [-1, w)
  const int64_t origin = ih * stride_h + iw * stride_w;
  const auto add = [&](int64_t offset, T weight_y, T weight_x, T sign_y, T sign_x) {
    const int k = sample.corners++;
    sample.offset[k] = offset;
    sample.weight[k] = weight_y * weight_x;
    if constexpr (kSlopes) {
      sample.slope_y[k] = sign_y * weight_x;
      sample.slope_x[k] = weight_y * sign_x;
    }
  };
  const bool above = ih >= 0, below = ih + 1 < h, before = iw >= 0, behind = iw + 1 < w;
  if (above && before) add(origin, 1 - fy, 1 - fx, -1, -1);
  if (above && behind) add(origin + stride_w, 1 - fy, fx, -1, 1);
  if (below && before) add(origin + stride_h, fy, 1 - fx, 1, -1);
  if (below && behind) add(origin + stride_h + stride_w, fy, fx, 1, 1);
  return sample;
}

// Calls body(Corners<count>) so that loops over corners unroll.
template <int kCount>
struct Corners {
  static constexpr int kCorners = kCount;
};
template <class Body>
[[gnu::always_inline]] inline void with_corner_count(int corners, Body body) {
  switch (corners) {
    case 4:
      return body(Corners<4>{});
    case 2:
      return body(Corners<2>{});
    case 1:
      return body(Corners<1>{});
    default:  // a cell meets the image in 0, 1, 2 or 4 pixels, and in 3 never
      return body(Corners<0>{});
  }
}

// to[c] = scale * v[c], with kAdd more by that, c in [0, n). image: the map's first pixel at the first of
// these channels.
template <bool kAdd = false, class T>
inline void blend_corners(const Bilinear<T>& sample, T scale, const T* image, int64_t n, T* to) {
  with_corner_count(sample.corners, [&](auto count) {
    constexpr int kCorners = decltype(count)::kCorners;
    Vec<T> weight[kCorners + 1] = {};
    const T* corner[kCorners + 1] = {};
#pragma GCC unroll 4
    for (int k = 0; k < kCorners; ++k) {
      weight[k] = Vec<T>::set(sample.weight[k] * scale);
      corner[k] = image + sample.offset[k];
    }
    for_each_vector<T>(n, [&](int64_t c, int lanes) __attribute__((always_inline)) {
      Vec<T> sum = kAdd ? load_lanes<T>(to + c, lanes) : Vec<T>::zero();
      if constexpr (kCorners > 0 && !kAdd) sum = weight[0] * load_lanes(corner[0] + c, lanes);
#pragma GCC unroll 4
      for (int k = kAdd ? 0 : 1; k < kCorners; ++k)
        sum = fma(weight[k], load_lanes(corner[k] + c, lanes), sum);
      store_lanes(sum, to + c, lanes);
    });
  });
}

template <class T>
struct SampleGradient {
  T y, x, scale;
};

// Backward of blend_corners: grad_image[corner k][c] += weight_k * scale * grad[c], and what y, x and scale
// get. With kValues, values[c] = scale * v[c] as well; it may be the memory of grad. sample has slopes.
template <bool kValues, class T>
inline SampleGradient<T> scatter_corners(const Bilinear<T>& sample, T scale, const T* image, const T* grad,
                                         int64_t n, T* grad_image, T* values) {
  SampleGradient<T> result = {0, 0, 0};
  with_corner_count(sample.corners, [&](auto count) {
    constexpr int kCorners = decltype(count)::kCorners;
    Vec<T> weight[kCorners + 1] = {}, dot[kCorners + 1] = {};
#pragma GCC unroll 4
    for (int k = 0; k < kCorners; ++k) {
      weight[k] = Vec<T>::set(sample.weight[k] * scale);
      dot[k] = Vec<T>::zero();
    }
    for_each_vector<T>(n, [&](int64_t c, int lanes) __attribute__((always_inline)) {
      const Vec<T> g = load_lanes(grad + c, lanes);
      Vec<T> value = Vec<T>::zero();
#pragma GCC unroll 4
      for (int k = 0; k < kCorners; ++k) {
        const Vec<T> pixel = load_lanes(image + sample.offset[k] + c, lanes);
        T* const to = grad_image + sample.offset[k] + c;
        dot[k] = fma(g, pixel, dot[k]);
        if constexpr (kValues) value = fma(weight[k], pixel, value);
        store_lanes(fma(weight[k], g, load_lanes<T>(to, lanes)), to, lanes);
      }
      if constexpr (kValues) store_lanes(value, values + c, lanes);
    });
#pragma GCC unroll 4
    for (int k = 0; k < kCorners; ++k) {
      const T sum = reduce_add(dot[k]);
      result.y += sample.slope_y[k] * scale * sum;
      result.x += sample.slope_x[k] * scale * sum;
      result.scale += sample.weight[k] * sum;
    }
  });
  return result;
}

}  // namespace pyvision::PYVISION_ISA_NS
