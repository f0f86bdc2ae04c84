// SPDX-License-Identifier: Apache-2.0
#include "ops/soft_nms/soft_nms.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/arena.h"
#include "ops/boxes/geometry.h"

namespace pyvision {
namespace {

template <class T>
SoftNmsDecay<T> kernel_of() {
  if constexpr (std::is_same_v<T, float>)
    return soft_nms_kernels().decay_f32;
  else
    return soft_nms_kernels().decay_f64;
}

int64_t padded(int64_t n) { return (n + kSoftNmsPadding - 1) / kSoftNmsPadding * kSoftNmsPadding; }

// Moves the boxes whose score is left to the front, in their order; returns how many they are.
template <class T>
int64_t compact(const SoftNmsColumns<T>& boxes, int64_t* index, int64_t n) {
  T* const score = boxes.field[5];
  int64_t left = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (score[i] == -INFINITY) continue;
    for (T* column : boxes.field) column[left] = column[i];
    index[left++] = index[i];
  }
  std::fill(score + left, score + padded(left), static_cast<T>(-INFINITY));
  return left;
}

// From: the boxes' type; T: the one they are computed in.
template <class T, class From>
int64_t run(const From* boxes, const From* scores, int64_t n, const SoftNmsParams& params, int64_t* keep,
            From* kept_scores) {
  constexpr int64_t kCompactEvery = 32;  // rounds: moving the boxes then costs little beside lowering scores
  const int64_t size = padded(n);
  Scratch<T> memory(SoftNmsColumns<T>::kFields * size);
  Scratch<int64_t> index_memory(size);
  int64_t* const index = index_memory;
  std::fill_n(memory.get(), SoftNmsColumns<T>::kFields * size, T{0});
  const SoftNmsColumns<T> columns(memory, size);
  T* const score = columns.field[5];
  const T threshold = static_cast<T>(params.score_threshold);
  T highest = -INFINITY;
  for (int64_t i = 0; i < n; ++i) {
    T box[4];
    std::copy_n(boxes + 4 * i, 4, box);
    for (int k = 0; k < 4; ++k) columns.field[k][i] = box[k];
    columns.field[4][i] = area_of(box);
    const bool takes_part = finite_box(box) && static_cast<T>(scores[i]) >= threshold;  // false for NaN
    score[i] = takes_part ? static_cast<T>(scores[i]) : static_cast<T>(-INFINITY);
    index[i] = i;
    highest = std::max(highest, score[i]);
  }
  int64_t left = compact(columns, index, n), count = 0;
  const T minus_inverse_sigma = static_cast<T>(-1 / params.sigma);
  while (highest != -INFINITY && count < params.max_output) {
    const int64_t best = std::find(score, score + left, highest) - score;
    T taken[5];
    for (int k = 0; k < 5; ++k) taken[k] = columns.field[k][best];
    keep[count] = index[best];
    kept_scores[count++] = static_cast<From>(highest);
    score[best] = -INFINITY;
    if (count % kCompactEvery == 0) left = compact(columns, index, left);
    highest = kernel_of<T>()(taken, columns, padded(left), params.method,
                             static_cast<T>(params.iou_threshold), minus_inverse_sigma, threshold);
  }
  return count;
}

}  // namespace

template <class T>
int64_t soft_nms(const T* boxes, const T* scores, int64_t n, const SoftNmsParams& params, int64_t* keep,
                 T* kept_scores) {
  if constexpr (std::is_same_v<T, float>) {
    if (!areas_fit_f32(boxes, n)) return run<double>(boxes, scores, n, params, keep, kept_scores);
  }
  return run<T>(boxes, scores, n, params, keep, kept_scores);
}

template int64_t soft_nms<float>(const float*, const float*, int64_t, const SoftNmsParams&, int64_t*, float*);
template int64_t soft_nms<double>(const double*, const double*, int64_t, const SoftNmsParams&, int64_t*,
                                  double*);

}  // namespace pyvision
