// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/box_iou_rotated/box_iou_rotated.h"
#include "simd/f64-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <class T>
struct RotatedVec {
  Vec<T> cx, cy, half_w, half_h, cos, sin, area;
};

// load(field) for every field, in the order of the columns.
template <class T, class Load>
inline RotatedVec<T> load_rotated(Load load) {
  return {load(0), load(1), load(2), load(3), load(4), load(5), load(6)};
}

// NaN becomes `low`.
template <class V>
inline V clamp(V x, V low, V high) {
  return min(max(x, low), high);
}

// The integral of clamp(y, -h, h) dx over the part of the side (x0, y0) to (x1, y1) with x in [-w, w].
template <class V>
inline V clamped_area(V x0, V y0, V x1, V y1, V w, V h, V zero, V one, V half) {
  const V dx = x1 - x0, dy = y1 - y0;
  const V xa = clamp(x0, -w, w), xb = clamp(x1, -w, w);
  // Quotients matter only where xa and xb, or ca and cb, differ: there 0 / 0 does not occur.
  const V ya = y0 + clamp((xa - x0) / dx, zero, one) * dy;
  const V yb = y0 + clamp((xb - x0) / dx, zero, one) * dy;
  const V ca = clamp(ya, -h, h), cb = clamp(yb, -h, h);
  const V share = clamp((half * (cb - ca) + (yb - cb)) / (yb - ya), zero, one);  // of cb in the mean
  return (xb - xa) * (ca + (cb - ca) * share);
}

// Whether b, not a, is the one to look from when the areas are equal: any order does that is an order.
template <class V>
inline auto comes_first(const V (&a)[6], const V (&b)[6]) {
  auto first = a[0] < b[0];
  auto equal = a[0] == b[0];
  for (int k = 1; k < 6; ++k) {
    first = first | (equal & (a[k] < b[k]));
    equal = equal & (a[k] == b[k]);
  }
  return first;
}

template <class T>
inline Vec<T> rotated_iou(const RotatedVec<T>& a, const RotatedVec<T>& b) {
  using V = Vec<T>;
  const V zero = V::zero(), one = V::set(T{1}), half = V::set(T{0.5});
  // The way from a to b in a's axes and in b's, and b's turn against a.
  const V dx = b.cx - a.cx, dy = b.cy - a.cy;
  const V ax = dx * a.cos - dy * a.sin, ay = dx * a.sin + dy * a.cos;
  const V bx = dx * b.cos - dy * b.sin, by = dx * b.sin + dy * b.cos;
  const auto parallel = (a.cos == b.cos) & (a.sin == b.sin);
  const V cos = select(parallel, one, a.cos * b.cos + a.sin * b.sin);
  const V sin = select(parallel, zero, b.sin * a.cos - b.cos * a.sin);

  const V c = abs(cos), s = abs(sin);
  const auto touching = (abs(ax) < a.half_w + (b.half_w * c + b.half_h * s)) &
                        (abs(ay) < a.half_h + (b.half_w * s + b.half_h * c)) &
                        (abs(bx) < b.half_w + (a.half_w * c + a.half_h * s)) &
                        (abs(by) < b.half_h + (a.half_w * s + a.half_h * c));
  const V areas = a.area + b.area;
  const V none = zero * areas;  // NaN where an area is
  if (bits(touching) == 0) return none;

  auto from_b = a.area < b.area;
  const auto tied = a.area == b.area;
  if (bits(tied) != 0) {
    const V key_a[6] = {a.half_w, a.half_h, a.cos, a.sin, a.cx, a.cy};
    const V key_b[6] = {b.half_w, b.half_h, b.cos, b.sin, b.cx, b.cy};
    from_b = from_b | (tied & comes_first(key_a, key_b));
  }
  const V w = select(from_b, b.half_w, a.half_w), h = select(from_b, b.half_h, a.half_h);
  const V other_w = select(from_b, a.half_w, b.half_w), other_h = select(from_b, a.half_h, b.half_h);
  const V x = select(from_b, -bx, ax), y = select(from_b, -by, ay);
  const V turn = select(from_b, -sin, sin);

  const V ux = other_w * cos, uy = -(other_w * turn), vx = other_h * turn, vy = other_h * cos;
  const V px[4] = {x - ux - vx, x + ux - vx, x + ux + vx, x - ux + vx};
  const V py[4] = {y - uy - vy, y + uy - vy, y + uy + vy, y - uy + vy};
  V sum = zero;
  for (int k = 0; k < 4; ++k) {
    const int next = (k + 1) & 3;
    sum = sum + clamped_area(px[k], py[k], px[next], py[next], w, h, zero, one, half);
  }
  const V intersection = min(abs(sum), min(a.area, b.area));
  const auto overlapping = touching & (zero < intersection);
  return select(overlapping, intersection / (areas - intersection), none);
}

}  // namespace pyvision::PYVISION_ISA_NS
