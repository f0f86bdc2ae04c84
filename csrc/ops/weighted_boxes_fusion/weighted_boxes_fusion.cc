// SPDX-License-Identifier: Apache-2.0
#include "ops/weighted_boxes_fusion/weighted_boxes_fusion.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/boxes/geometry.h"

namespace pyvision {
namespace {

struct Member {
  double box[4];
  double confidence, weight;
  int64_t label, model;
};

struct Fused {
  double box[4];
  double weighted_sum[4] = {};
  double confidence = 0, highest = 0, weight = 0;
  int64_t label = 0;
  std::vector<int64_t> models;

  explicit Fused(const Member& first) : label(first.label) { add(first); }

  void add(const Member& m) {
    confidence += m.confidence;
    highest = std::max(highest, m.confidence);
    weight += m.weight;
    models.push_back(m.model);
    for (int k = 0; k < 4; ++k) {
      weighted_sum[k] += m.confidence * m.box[k];
      box[k] = weighted_sum[k] / confidence;
    }
  }

  double score(const FusionParams& params) const {
    const std::vector<double>& weights = params.weights;
    const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
    const double members = static_cast<double>(models.size());
    std::vector<bool> present(weights.size());
    double present_weight = 0;
    for (int64_t model : models) {
      if (!present[model]) present_weight += weights[model];
      present[model] = true;
    }
    switch (params.conf_type) {
      case ConfType::kMax:
        return highest / *std::max_element(weights.begin(), weights.end());
      case ConfType::kBoxAndModelAvg:
        return confidence / weight * present_weight / all;
      case ConfType::kAbsentModelAwareAvg:
        return confidence / (weight + all - present_weight);
      case ConfType::kAvg:
        break;
    }
    const double counted =
        params.allows_overflow ? members : std::min(members, static_cast<double>(weights.size()));
    return confidence / members * counted / all;
  }
};

double iou(const double* a, const double* b) {
  const double w = std::min(a[2], b[2]) - std::max(a[0], b[0]),
               h = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (!(w > 0 && h > 0)) return 0;
  return w * h / (area_of(a) + area_of(b) - w * h);
}

// members: by label, then by falling confidence
std::vector<Fused> fuse(const std::vector<Member>& members, double iou_threshold) {
  std::vector<Fused> all;
  size_t of_label = 0;  // where the fused boxes of the present label begin
  for (const Member& m : members) {
    if (of_label < all.size() && all[of_label].label != m.label) of_label = all.size();
    Fused* best = nullptr;
    double highest = iou_threshold;
    for (size_t i = of_label; i < all.size(); ++i) {
      const double overlap = iou(all[i].box, m.box);
      if (overlap > highest) highest = overlap, best = &all[i];
    }
    if (best != nullptr)
      best->add(m);
    else
      all.emplace_back(m);
  }
  return all;
}

}  // namespace

template <class T>
std::vector<FusedBox> weighted_boxes_fusion(const T* boxes, const T* scores, const int64_t* labels,
                                            const int64_t* models, int64_t n, const FusionParams& params) {
  std::vector<Member> members;
  for (int64_t i = 0; i < n; ++i) {
    const T* box = boxes + 4 * i;
    if (!finite_box(box) || !std::isfinite(scores[i]) || !(scores[i] > 0)) continue;
    if (scores[i] < params.skip_box_threshold) continue;
    const double weight = params.weights[models[i]];
    Member& m = members.emplace_back();
    std::copy_n(box, 4, m.box);
    m.confidence = scores[i] * weight;
    m.weight = weight;
    m.label = labels[i];
    m.model = models[i];
  }
  std::stable_sort(members.begin(), members.end(), [](const Member& p, const Member& q) {
    return p.label != q.label ? p.label < q.label : p.confidence > q.confidence;
  });
  std::vector<FusedBox> result;
  for (const Fused& f : fuse(members, params.iou_threshold))
    result.push_back({{f.box[0], f.box[1], f.box[2], f.box[3]}, f.score(params), f.label});
  std::stable_sort(result.begin(), result.end(),
                   [](const FusedBox& p, const FusedBox& q) { return p.score > q.score; });
  return result;
}

template std::vector<FusedBox> weighted_boxes_fusion<float>(const float*, const float*, const int64_t*,
                                                            const int64_t*, int64_t, const FusionParams&);
template std::vector<FusedBox> weighted_boxes_fusion<double>(const double*, const double*, const int64_t*,
                                                             const int64_t*, int64_t, const FusionParams&);

}  // namespace pyvision
