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
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "core/bind.h"
#include "ops/boxes/geometry.h"

namespace pyvision {
namespace {

constexpr const char* kOp = "weighted_boxes_fusion";
constexpr const char* kConfTypes[] = {"avg", "max", "box_and_model_avg", "absent_model_aware_avg"};
enum ConfType { kAvg, kMax, kBoxAndModelAvg, kAbsentModelAwareAvg };

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

  double score(ConfType type, const std::vector<double>& weights, bool allows_overflow) const {
    const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
    const double members = static_cast<double>(models.size());
    std::vector<bool> present(weights.size());
    double present_weight = 0;
    for (int64_t model : models) {
      if (!present[model]) present_weight += weights[model];
      present[model] = true;
    }
    switch (type) {
      case kMax:
        return highest / *std::max_element(weights.begin(), weights.end());
      case kBoxAndModelAvg:
        return confidence / weight * present_weight / all;
      case kAbsentModelAwareAvg:
        return confidence / (weight + all - present_weight);
      case kAvg:
        break;
    }
    const double counted = allows_overflow ? members : std::min(members, static_cast<double>(weights.size()));
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

template <class T>
py::tuple run(const py::array& boxes, const py::array& scores, const py::array& labels,
              const py::array& models, const std::vector<double>& weights, double iou_threshold,
              double skip_box_threshold, ConfType conf_type, bool allows_overflow) {
  const Tensor b = dense_view<const T>(boxes, kOp, "boxes", 2);
  const int64_t n = b.shape[0];
  check(b.shape[1] == 4, kOp, "expected boxes of shape (N, 4), got ", shape_text(b));
  const auto vector_of = [&](const Tensor& t, const char* name) {
    check(t.shape[0] == n, kOp, "expected ", name, " of shape (", n, ",), got ", shape_text(t));
    return t;
  };
  const T* score = vector_of(dense_view<const T>(scores, kOp, "scores", 1), "scores").template as<const T>();
  const int64_t* label =
      vector_of(dense_view<const int64_t>(labels, kOp, "labels", 1), "labels").template as<const int64_t>();
  const int64_t* model =
      vector_of(dense_view<const int64_t>(models, kOp, "models", 1), "models").template as<const int64_t>();
  const int64_t model_count = static_cast<int64_t>(weights.size());
  check(model_count > 0, kOp, "expected weights to hold at least one, got none");
  for (double weight : weights)
    check(weight > 0 && std::isfinite(weight), kOp, "expected weights to be finite and positive, got ",
          weight);
  for (int64_t i = 0; i < n; ++i)
    check(model[i] >= 0 && model[i] < model_count, kOp, "expected models in [0, ", model_count, "), got ",
          model[i]);
  check(iou_threshold >= 0 && iou_threshold <= 1, kOp, "expected iou_thr in [0, 1], got ", iou_threshold);
  check(std::isfinite(skip_box_threshold), kOp, "expected skip_box_thr to be finite, got ",
        skip_box_threshold);

  std::vector<Member> members;
  std::vector<Fused> fused;
  std::vector<double> fused_scores;
  std::vector<size_t> order;
  {
    py::gil_scoped_release release;
    for (int64_t i = 0; i < n; ++i) {
      const T* box = b.as<const T>() + 4 * i;
      // A weighted mean needs positive weights.
      if (!finite_box(box) || !(score[i] >= skip_box_threshold) || !(score[i] > 0) || std::isinf(score[i]))
        continue;
      members.push_back({{static_cast<double>(box[0]), static_cast<double>(box[1]),
                          static_cast<double>(box[2]), static_cast<double>(box[3])},
                         score[i] * weights[model[i]],
                         weights[model[i]],
                         label[i],
                         model[i]});
    }
    std::stable_sort(members.begin(), members.end(), [](const Member& p, const Member& q) {
      return p.label != q.label ? p.label < q.label : p.confidence > q.confidence;
    });
    fused = fuse(members, iou_threshold);
    for (const Fused& f : fused) {
      order.push_back(order.size());
      fused_scores.push_back(f.score(conf_type, weights, allows_overflow));
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t p, size_t q) { return fused_scores[p] > fused_scores[q]; });
  }
  const int64_t count = static_cast<int64_t>(fused.size());
  auto boxes_out = empty<T>(kOp, {count, 4});
  auto scores_out = empty<T>(kOp, {count});
  auto labels_out = empty<int64_t>(kOp, {count});
  for (int64_t i = 0; i < count; ++i) {
    const Fused& f = fused[order[i]];
    for (int k = 0; k < 4; ++k) boxes_out.mutable_data()[4 * i + k] = static_cast<T>(f.box[k]);
    scores_out.mutable_data()[i] = static_cast<T>(fused_scores[order[i]]);
    labels_out.mutable_data()[i] = f.label;
  }
  return py::make_tuple(boxes_out, scores_out, labels_out);
}

}  // namespace

void bind_weighted_boxes_fusion(py::module_& m) {
  m.def(
      "weighted_boxes_fusion",
      [](const py::array& boxes, const py::array& scores, const py::array& labels, const py::array& models,
         const std::vector<double>& weights, double iou_thr, double skip_box_thr,
         const std::string& conf_type, bool allows_overflow) {
        const auto* name = std::find(std::begin(kConfTypes), std::end(kConfTypes), conf_type);
        check(name != std::end(kConfTypes), kOp,
              "expected conf_type to be avg, max, box_and_model_avg or absent_model_aware_avg, got '",
              conf_type, "'");
        const ConfType type = static_cast<ConfType>(name - kConfTypes);
        return py::isinstance<py::array_t<double>>(boxes)
                   ? run<double>(boxes, scores, labels, models, weights, iou_thr, skip_box_thr, type,
                                 allows_overflow)
                   : run<float>(boxes, scores, labels, models, weights, iou_thr, skip_box_thr, type,
                                allows_overflow);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("labels"), py::arg("models"), py::arg("weights"),
      py::arg("iou_thr"), py::arg("skip_box_thr"), py::arg("conf_type"), py::arg("allows_overflow"));
}

}  // namespace pyvision
