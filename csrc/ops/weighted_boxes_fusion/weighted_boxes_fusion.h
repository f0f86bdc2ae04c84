// SPDX-License-Identifier: Apache-2.0
// weighted_boxes_fusion: the boxes of several models become fewer, better ones. By falling weighted score
// c = score * weight of its model, each box joins the fused box of its class with the highest IoU, when that
// is above the threshold, or founds one. A fused box is the mean of its members weighted by c. Its score, of
// members m and models M:
//
//   avg                      mean(c) * min(|m|, |M|) / sum of weights  (|m| with allows_overflow)
//   max                      max(c) / max of weights
//   box_and_model_avg        sum(c) / sum of members' weights * sum of weights of models among m / sum of
//   weights absent_model_aware_avg   sum(c) / (sum of members' weights + sum of weights of models not among
//   m)
//
// Solovyev et al., "Weighted boxes fusion: Ensembling boxes from different object detection models", Image
// and Vision Computing 2021; conf_type as in the authors' package.
#pragma once

#include <cstdint>
#include <vector>

namespace pyvision {

enum class ConfType : uint8_t { kAvg, kMax, kBoxAndModelAvg, kAbsentModelAwareAvg };

struct FusionParams {
  std::vector<double> weights;  // of the models, positive
  double iou_threshold, skip_box_threshold;
  ConfType conf_type;
  bool allows_overflow;
};

struct FusedBox {
  double box[4], score;
  int64_t label;
};

// boxes: (n, 4), scores, labels: (n,), models: (n,) in [0, weights). By falling score. Boxes with a
// coordinate that is not finite, or a score that is not both positive and finite, are left out: a weighted
// mean needs positive weights. T: float or double.
template <class T>
std::vector<FusedBox> weighted_boxes_fusion(const T* boxes, const T* scores, const int64_t* labels,
                                            const int64_t* models, int64_t n, const FusionParams& params);

}  // namespace pyvision
