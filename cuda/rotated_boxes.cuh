// SPDX-License-Identifier: Apache-2.0
// Rotated boxes (cx, cy, w, h, angle) on the device: the formula, and why it needs no case of its own for
// touching or equal boxes, are in csrc/ops/box_iou_rotated/box_iou_rotated.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pyvision::cuda {

template <class T>
struct RotatedBoxFields {
  T cx, cy, half_w, half_h, cos, sin, area;
};

template <class T>
__device__ RotatedBoxFields<T> load_rotated(const T* boxes, int64_t i) {
  const T* const box = boxes + 5 * i;
  const bool solid = box[2] > 0 && box[3] > 0;
  // Exact at multiples of 90 degrees.
  const double angle = fmod(static_cast<double>(box[4]), 360.0);
  const double quarters = rint(angle / 90), rest = (angle - 90 * quarters) * (3.14159265358979323846 / 180);
  const double c = cos(rest), s = sin(rest);
  const int quarter = rest - rest == 0 ? static_cast<int>(quarters) & 3 : 0;
  const double cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
  const double sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
  return {box[0], box[1],
          // NaN and infinity stay, to be found
          solid ? box[2] / 2 : box[2] - box[2], solid ? box[3] / 2 : box[3] - box[3], static_cast<T>(cosine),
          static_cast<T>(sine), solid ? box[2] * box[3] : T{0}};
}

__device__ inline RotatedBoxFields<double> widened(const RotatedBoxFields<float>& b) {
  const double w = 2.0 * b.half_w, h = 2.0 * b.half_h;
  return {b.cx, b.cy, b.half_w, b.half_h, b.cos, b.sin, w > 0 && h > 0 ? w * h : 0.0};
}
__device__ inline RotatedBoxFields<double> widened(const RotatedBoxFields<double>& b) { return b; }

template <class T>
__device__ bool is_finite(const RotatedBoxFields<T>& b) {  // x - x is 0 for finite x alone
  return b.cx - b.cx == 0 && b.cy - b.cy == 0 && b.half_w - b.half_w == 0 && b.half_h - b.half_h == 0 &&
         b.cos - b.cos == 0;
}

// Whether float32 could lose an area to overflow or underflow.
__device__ inline bool needs_double(const RotatedBoxFields<float>& b) {
  constexpr float kLargest = 0x1p60f, kSmallestArea = 0x1p-100f;
  const bool far = fabsf(b.cx) > kLargest || fabsf(b.cy) > kLargest || fabsf(b.half_w) > kLargest ||
                   fabsf(b.half_h) > kLargest;
  return far || (b.half_w > 0 && b.half_h > 0 && b.area < kSmallestArea);
}
__device__ inline bool needs_double(const RotatedBoxFields<double>&) { return false; }

// NaN becomes `low`.
template <class T>
__device__ T clamped(T x, T low, T high) {
  return x > low ? (x < high ? x : high) : low;
}

// The integral of clamp(y, -h, h) dx over the part of the side (x0, y0) to (x1, y1) with x in [-w, w].
template <class T>
__device__ T clamped_area(T x0, T y0, T x1, T y1, T w, T h) {
  const T dx = x1 - x0, dy = y1 - y0;
  const T xa = clamped(x0, -w, w), xb = clamped(x1, -w, w);
  // Quotients matter only where xa and xb, or ca and cb, differ: there 0 / 0 does not occur.
  const T ya = y0 + clamped((xa - x0) / dx, T{0}, T{1}) * dy;
  const T yb = y0 + clamped((xb - x0) / dx, T{0}, T{1}) * dy;
  const T ca = clamped(ya, -h, h), cb = clamped(yb, -h, h);
  const T share = clamped((T{0.5} * (cb - ca) + (yb - cb)) / (yb - ya), T{0}, T{1});  // of cb in the mean
  return (xb - xa) * (ca + (cb - ca) * share);
}

// Whether b, not a, is the one to look from: the larger one, and with equal areas any order will do.
template <class T>
__device__ bool from_second(const RotatedBoxFields<T>& a, const RotatedBoxFields<T>& b) {
  if (a.area != b.area) return a.area < b.area;
  if (a.half_w != b.half_w) return a.half_w < b.half_w;
  if (a.half_h != b.half_h) return a.half_h < b.half_h;
  if (a.cos != b.cos) return a.cos < b.cos;
  if (a.sin != b.sin) return a.sin < b.sin;
  if (a.cx != b.cx) return a.cx < b.cx;
  return a.cy < b.cy;
}

template <class T>
__device__ T rotated_iou(const RotatedBoxFields<T>& first, const RotatedBoxFields<T>& second) {
  const bool swapped = from_second(first, second);
  const RotatedBoxFields<T>& a = swapped ? second : first;
  const RotatedBoxFields<T>& b = swapped ? first : second;
  // The way from a to b in a's axes and in b's, and b's turn against a.
  const T dx = b.cx - a.cx, dy = b.cy - a.cy;
  const T x = dx * a.cos - dy * a.sin, y = dx * a.sin + dy * a.cos;
  const T bx = dx * b.cos - dy * b.sin, by = dx * b.sin + dy * b.cos;
  const bool parallel = a.cos == b.cos && a.sin == b.sin;
  const T cosine = parallel ? T{1} : a.cos * b.cos + a.sin * b.sin;
  const T sine = parallel ? T{0} : b.sin * a.cos - b.cos * a.sin;
  const T c = cosine < 0 ? -cosine : cosine, s = sine < 0 ? -sine : sine;
  const auto within = [](T at, T reach) { return (at < 0 ? -at : at) < reach; };
  if (!within(x, a.half_w + (b.half_w * c + b.half_h * s)) ||
      !within(y, a.half_h + (b.half_w * s + b.half_h * c)) ||
      !within(bx, b.half_w + (a.half_w * c + a.half_h * s)) ||
      !within(by, b.half_h + (a.half_w * s + a.half_h * c)))
    return 0;

  const T ux = b.half_w * cosine, uy = -(b.half_w * sine), vx = b.half_h * sine, vy = b.half_h * cosine;
  const T px[4] = {x - ux - vx, x + ux - vx, x + ux + vx, x - ux + vx};
  const T py[4] = {y - uy - vy, y + uy - vy, y + uy + vy, y - uy + vy};
  T sum = 0;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const int next = (k + 1) & 3;
    sum += clamped_area(px[k], py[k], px[next], py[next], a.half_w, a.half_h);
  }
  const T size = sum < 0 ? -sum : sum, smaller = min(a.area, b.area), intersection = min(size, smaller);
  return intersection > 0 ? intersection / ((a.area + b.area) - intersection) : T{0};
}

}  // namespace pyvision::cuda
