// SPDX-License-Identifier: Apache-2.0
// soft_nms: instead of dropping a box that overlaps a better one, lower its score. Again and again the box M
// with the highest score is taken (the lower index when equal), and the score of every other box b falls by
//
//   linear    1 - IoU(M, b)              where IoU > threshold
//   gaussian  exp(-IoU(M, b)^2 / sigma)
//   hard      0                          where IoU > threshold: greedy suppression
//
// A box is dropped once its score is under the score threshold; with `hard`, when it is suppressed. Boxes
// with a NaN score or a coordinate that is not finite take no part. IoU as box_iou.
//
// Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "ops/boxes/columns.h"

namespace pyvision {

enum class SoftNmsMethod : uint8_t { kLinear, kGaussian, kHard };

struct SoftNmsParams {
  SoftNmsMethod method;
  double iou_threshold, sigma, score_threshold;
  int64_t max_output;
};

template <class T>
using SoftNmsColumns = Columns<T, 6>;  // x1, y1, x2, y2, area, score

// Columns are as long as a multiple of this; boxes beyond the last have score -inf.
constexpr int64_t kSoftNmsPadding = 16;  // an AVX-512 register of float

// Lowers the scores of n boxes, a multiple of the padding, for the box taken: (5,), its first five fields.
// Those dropped become -inf. Returns the highest score left.
template <class T>
using SoftNmsDecay = T (*)(const T* taken, const SoftNmsColumns<T>& boxes, int64_t n, SoftNmsMethod method,
                           T iou_threshold, T minus_inverse_sigma, T score_threshold);

struct SoftNmsKernels {
  const char* isa;
  SoftNmsDecay<float> decay_f32;
  SoftNmsDecay<double> decay_f64;
};

PYVISION_KERNELS(SoftNmsKernels, soft_nms)

// boxes: (n, 4), scores: (n,); keep, kept_scores: room for n, by falling score. Returns how many.
template <class T>
int64_t soft_nms(const T* boxes, const T* scores, int64_t n, const SoftNmsParams& params, int64_t* keep,
                 T* kept_scores);

}  // namespace pyvision
