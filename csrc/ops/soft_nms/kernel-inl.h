// SPDX-License-Identifier: Apache-2.0
#include "ops/soft_nms/soft_nms.h"
#include "simd/f64-inl.h"
#include "simd/math-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <SoftNmsMethod kMethod, class T>
inline T decay_by(const T* taken, const SoftNmsColumns<T>& boxes, int64_t n, T iou_threshold,
                  T minus_inverse_sigma, T score_threshold) {
  using V = Vec<T>;
  const V zero = V::zero(), one = V::set(T{1}), dropped = V::set(-__builtin_inff());
  const V x1 = V::set(taken[0]), y1 = V::set(taken[1]), x2 = V::set(taken[2]), y2 = V::set(taken[3]),
          area = V::set(taken[4]), limit = V::set(iou_threshold), least = V::set(score_threshold);
  V highest = dropped;
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const auto load = [&](int field) { return V::load(boxes.field[field] + i); };
    const V w = max(zero, min(x2, load(2)) - max(x1, load(0)));
    const V h = max(zero, min(y2, load(3)) - max(y1, load(1)));
    const V intersection = w * h;
    V score = load(5);
    const auto overlapping = zero < intersection;
    if (bits(overlapping) != 0) {
      const V iou = select(overlapping, intersection / ((area + load(4)) - intersection), zero);
      if constexpr (kMethod == SoftNmsMethod::kLinear) {
        score = select(limit < iou, score * (one - iou), score);
      } else if constexpr (kMethod == SoftNmsMethod::kGaussian) {
        score = select(overlapping, score * exp(iou * iou * V::set(minus_inverse_sigma)), score);
      } else {
        score = select(limit < iou, dropped, score);
      }
      score = select(least <= score, score, dropped);  // what was dropped before may be NaN here
      score.store(boxes.field[5] + i);
    }
    highest = max(highest, score);
  }
  return reduce_max(highest);
}

template <class T>
inline T soft_nms_decay(const T* taken, const SoftNmsColumns<T>& boxes, int64_t n, SoftNmsMethod method,
                        T iou_threshold, T minus_inverse_sigma, T score_threshold) {
  const auto run = [&](auto decay) {
    return decay(taken, boxes, n, iou_threshold, minus_inverse_sigma, score_threshold);
  };
  if (method == SoftNmsMethod::kLinear) return run(decay_by<SoftNmsMethod::kLinear, T>);
  if (method == SoftNmsMethod::kGaussian) return run(decay_by<SoftNmsMethod::kGaussian, T>);
  return run(decay_by<SoftNmsMethod::kHard, T>);
}

const SoftNmsKernels soft_nms = {F32::kIsaName, soft_nms_decay<float>, soft_nms_decay<double>};

}  // namespace pyvision::PYVISION_ISA_NS
