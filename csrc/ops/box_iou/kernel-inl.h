// SPDX-License-Identifier: Apache-2.0
#include "ops/box_iou/box_iou.h"
#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <class T>
struct BoxVec {
  Vec<T> x1, y1, x2, y2, area, slant;  // slant: atan(w / h)
};

template <IouKind kKind, class T>
inline BoxVec<T> load_boxes(const BoxColumns<T>& b, int64_t j, int lanes) {
  const auto load = [&](int field) { return load_lanes(b.field[field] + j, lanes); };
  BoxVec<T> v = {load(0), load(1), load(2), load(3), load(4), Vec<T>::zero()};
  if constexpr (kKind == IouKind::kCiou) v.slant = load(5);
  return v;
}

template <IouKind kKind, class T>
inline Vec<T> overlap(const BoxVec<T>& a, const BoxVec<T>& b, Vec<T> eps) {
  using V = Vec<T>;
  const V zero = V::zero();
  const V w = max(zero, min(a.x2, b.x2) - max(a.x1, b.x1));
  const V h = max(zero, min(a.y2, b.y2) - max(a.y1, b.y1));
  const V intersection = w * h;
  const V united = (a.area + b.area) - intersection;
  // zero * united is 0, or NaN where an area is
  if constexpr (kKind == IouKind::kIof)
    return select(zero < intersection, intersection / a.area, zero * united);
  const V iou = select(zero < intersection, intersection / united, zero * united);
  if constexpr (kKind == IouKind::kIou) return iou;

  const auto ratio = [&](V part, V whole) { return select(zero < whole, part / whole, zero); };
  const V around_w = max(zero, max(a.x2, b.x2) - min(a.x1, b.x1));
  const V around_h = max(zero, max(a.y2, b.y2) - min(a.y1, b.y1));
  if constexpr (kKind == IouKind::kGiou) {
    const V around = around_w * around_h;
    return iou - ratio(around - united, around);
  }
  const V half = V::set(T{0.5});
  const V dx = half * ((a.x1 + a.x2) - (b.x1 + b.x2)), dy = half * ((a.y1 + a.y2) - (b.y1 + b.y2));
  const V diou = iou - ratio(dx * dx + dy * dy, around_w * around_w + around_h * around_h + eps);
  if constexpr (kKind == IouKind::kDiou) return diou;

  const V turn = a.slant - b.slant;
  const V v = V::set(T(0.40528473456935108578)) * turn * turn;  // 4 / pi^2
  return diou - v * ratio(v, (V::set(T{1}) - iou) + v + eps);
}

template <IouKind kKind, bool kMatched, class T>
inline void overlaps(const BoxColumns<T>& a, const BoxColumns<T>& b, T* y, int64_t m, T eps) {
  const auto broadcast = [&](int field) { return Vec<T>::set(*a.field[field]); };
  const BoxVec<T> first = {broadcast(0), broadcast(1),
                           broadcast(2), broadcast(3),
                           broadcast(4), kKind == IouKind::kCiou ? broadcast(5) : Vec<T>::zero()};
  for_each_vector<T>(m, [&](int64_t j, int lanes) {
    const BoxVec<T> left = kMatched ? load_boxes<kKind>(a, j, lanes) : first;
    store_lanes(overlap<kKind>(left, load_boxes<kKind>(b, j, lanes), Vec<T>::set(eps)), y + j, lanes);
  });
}

template <bool kMatched, class T>
inline void overlaps_of_kind(IouKind kind, const BoxColumns<T>& a, const BoxColumns<T>& b, T* y, int64_t m,
                             T eps) {
  switch (kind) {
    case IouKind::kIou:
      return overlaps<IouKind::kIou, kMatched>(a, b, y, m, eps);
    case IouKind::kIof:
      return overlaps<IouKind::kIof, kMatched>(a, b, y, m, eps);
    case IouKind::kGiou:
      return overlaps<IouKind::kGiou, kMatched>(a, b, y, m, eps);
    case IouKind::kDiou:
      return overlaps<IouKind::kDiou, kMatched>(a, b, y, m, eps);
    case IouKind::kCiou:
      return overlaps<IouKind::kCiou, kMatched>(a, b, y, m, eps);
  }
}

const BoxIouKernels box_iou = {F32::kIsaName,
                               {overlaps_of_kind<false, float>, overlaps_of_kind<true, float>},
                               {overlaps_of_kind<false, double>, overlaps_of_kind<true, double>}};

}  // namespace pyvision::PYVISION_ISA_NS
