// SPDX-License-Identifier: Apache-2.0
// Python arguments that every non-maximum suppression takes, checked, and its result.
#pragma once

#include <algorithm>
#include <optional>

#include "core/bind.h"
#include "ops/nms/suppress.h"

namespace pyvision {

using OptionalArray = std::optional<py::array>;

// The int64 array of shape (n,) behind an optional argument, or null.
inline const int64_t* indices_or_null(const char* op, const char* name, const OptionalArray& array,
                                      int64_t n) {
  if (!array) return nullptr;
  const Tensor t = dense_view<const int64_t>(*array, op, name, 1);
  check(t.shape[0] == n, op, "expected ", name, " of shape (", n, ",), got ", shape_text(t));
  return t.as<const int64_t>();
}

inline NmsGroups nms_groups(const char* op, int64_t n, const OptionalArray& idxs,
                            const OptionalArray& image_idxs, std::optional<int64_t> max_output) {
  check(n <= INT32_MAX, op, "expected at most 2147483647 boxes, got ", n);
  check(!max_output || *max_output > 0, op, "expected max_output to be positive, got ",
        max_output.value_or(0));
  return {indices_or_null(op, "idxs", idxs, n), indices_or_null(op, "image_idxs", image_idxs, n),
          max_output.value_or(INT64_MAX)};
}

// scores, (n,), as T.
template <class T>
const T* nms_scores(const char* op, const py::array& scores, int64_t n) {
  const Tensor s = dense_view<const T>(scores, op, "scores", 1);
  check(s.shape[0] == n, op, "expected scores of shape (", n, ",), got ", shape_text(s));
  return s.as<const T>();
}

inline void check_iou_threshold(const char* op, double iou_threshold) {
  check(iou_threshold >= 0 && iou_threshold <= 1, op, "expected iou_threshold in [0, 1], got ",
        iou_threshold);
}

// run(keep) without the GIL; keep has room for n indices. The result holds as many as it returns.
template <class Run>
py::array_t<int64_t> kept_indices(const char* op, int64_t n, Run run) {
  Scratch<int64_t> keep(n);
  int64_t count;
  {
    py::gil_scoped_release release;
    count = run(keep.get());
  }
  auto result = empty<int64_t>(op, {count});
  std::copy_n(keep.get(), count, result.mutable_data());
  return result;
}

// The same for run(keep, kept_scores): (indices, scores).
template <class T, class Run>
py::tuple kept_and_scores(const char* op, int64_t n, Run run) {
  Scratch<T> kept_scores(n);
  const auto keep = kept_indices(op, n, [&](int64_t* indices) { return run(indices, kept_scores.get()); });
  auto scores = empty<T>(op, {keep.size()});
  std::copy_n(kept_scores.get(), keep.size(), scores.mutable_data());
  return py::make_tuple(keep, scores);
}

}  // namespace pyvision
