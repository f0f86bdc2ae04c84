// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>

#include "core/bind.h"
#include "ops/weighted_boxes_fusion/weighted_boxes_fusion.h"

namespace pyvision::weighted_boxes_fusion_bind {

constexpr const char* kOp = "weighted_boxes_fusion";

ConfType parse_conf_type(const std::string& name) {
  // in the order of enum ConfType
  constexpr const char* kNames[] = {"avg", "max", "box_and_model_avg", "absent_model_aware_avg"};
  for (int i = 0; i < 4; ++i)
    if (name == kNames[i]) return static_cast<ConfType>(i);
  check(false, kOp, "expected conf_type to be avg, max, box_and_model_avg or absent_model_aware_avg, got '",
        name, "'");
  return ConfType::kAvg;
}

template <class T>
const T* vector_of(const py::array& array, const char* name, int64_t n) {
  const Tensor t = dense_view<const T>(array, kOp, name, 1);
  check(t.shape[0] == n, kOp, "expected ", name, " of shape (", n, ",), got ", shape_text(t));
  return t.as<const T>();
}

template <class T>
py::tuple run(const py::array& boxes, const py::array& scores, const py::array& labels,
              const py::array& models, const FusionParams& params) {
  const Tensor b = dense_view<const T>(boxes, kOp, "boxes", 2);
  const int64_t n = b.shape[0], model_count = static_cast<int64_t>(params.weights.size());
  check(b.shape[1] == 4, kOp, "expected boxes of shape (N, 4), got ", shape_text(b));
  const T* score = vector_of<T>(scores, "scores", n);
  const int64_t* label = vector_of<int64_t>(labels, "labels", n);
  const int64_t* model = vector_of<int64_t>(models, "models", n);
  for (int64_t i = 0; i < n; ++i)
    check(model[i] >= 0 && model[i] < model_count, kOp, "expected models in [0, ", model_count, "), got ",
          model[i]);
  std::vector<FusedBox> fused;
  {
    py::gil_scoped_release release;
    fused = weighted_boxes_fusion(b.as<const T>(), score, label, model, n, params);
  }
  const int64_t count = static_cast<int64_t>(fused.size());
  auto boxes_out = empty<T>(kOp, {count, 4});
  auto scores_out = empty<T>(kOp, {count});
  auto labels_out = empty<int64_t>(kOp, {count});
  for (int64_t i = 0; i < count; ++i) {
    for (int k = 0; k < 4; ++k) boxes_out.mutable_data()[4 * i + k] = static_cast<T>(fused[i].box[k]);
    scores_out.mutable_data()[i] = static_cast<T>(fused[i].score);
    labels_out.mutable_data()[i] = fused[i].label;
  }
  return py::make_tuple(boxes_out, scores_out, labels_out);
}

void define(py::module_& m) {
  m.def(
      "weighted_boxes_fusion",
      [](const py::array& boxes, const py::array& scores, const py::array& labels, const py::array& models,
         const std::vector<double>& weights, double iou_thr, double skip_box_thr,
         const std::string& conf_type, bool allows_overflow) {
        check(!weights.empty(), kOp, "expected weights to hold at least one, got none");
        for (double weight : weights)
          check(weight > 0 && std::isfinite(weight), kOp, "expected weights to be finite and positive, got ",
                weight);
        check(iou_thr >= 0 && iou_thr <= 1, kOp, "expected iou_thr in [0, 1], got ", iou_thr);
        check(std::isfinite(skip_box_thr), kOp, "expected skip_box_thr to be finite, got ", skip_box_thr);
        const FusionParams params = {weights, iou_thr, skip_box_thr, parse_conf_type(conf_type),
                                     allows_overflow};
        return is_f64(boxes) ? run<double>(boxes, scores, labels, models, params)
                             : run<float>(boxes, scores, labels, models, params);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("labels"), py::arg("models"), py::arg("weights"),
      py::arg("iou_thr"), py::arg("skip_box_thr"), py::arg("conf_type"), py::arg("allows_overflow"));
}

}  // namespace pyvision::weighted_boxes_fusion_bind
