// SPDX-License-Identifier: Apache-2.0
#include "match.cuh"

#include "common/bind.h"

namespace pyvision::cuda::match_bind {

constexpr char kOp[] = "match";

MatchProblem problem_of(const Stream& stream, const DeviceArray& a, const DeviceArray& b,
                        const std::string& metric, int64_t k) {
  MatchProblem p;
  const bool bits = metric == "hamming";
  const DType dtype = bits ? DType::kU8 : DType::kF32;
  p.metric = bits ? MatchMetric::kHamming : metric == "l1" ? MatchMetric::kL1 : MatchMetric::kL2;
  p.a = checked_data(a, kOp, "a", stream, dtype, {-1, -1});
  p.n_a = a.tensor.shape[0], p.d = a.tensor.shape[1];
  p.b = checked_data(b, kOp, "b", stream, dtype, {-1, p.d});
  p.n_b = b.tensor.shape[0];
  constexpr int64_t kLargest = int64_t{1} << 24;  // bits are counted in floats, the GEMM in 32 bits
  check(p.n_a < (int64_t{1} << 29) && p.n_b < (int64_t{1} << 29) && p.d < kLargest / 8, kOp,
        "expected fewer rows than 2^29, shorter than 2^21, on CUDA");
  check(k >= 1 && k <= p.n_b, kOp, "expected k of at most the rows of b, ", p.n_b, ", got ", k);
  p.k = k;
  return p;
}

void define(py::module_& m) {
  m.def(
      "match_workspace",
      [](const Stream& stream, const DeviceArray& a, const DeviceArray& b, const std::string& metric,
         int64_t k) { return match_workspace_bytes(stream, problem_of(stream, a, b, metric, k)); },
      py::arg("stream"), py::arg("a"), py::arg("b"), py::arg("metric"), py::arg("k"));
  m.def(
      "match",
      [](const Stream& stream, const DeviceArray& a, const DeviceArray& b, const std::string& metric,
         int64_t k, const DeviceArray& workspace, const DeviceArray& distances, const DeviceArray& indices) {
        const MatchProblem p = problem_of(stream, a, b, metric, k);
        void* const memory = workspace_data(workspace, kOp, stream, match_workspace_bytes(stream, p));
        const std::vector<int64_t> shape = {p.n_a, k};
        match(kOp, stream, p, memory,
              static_cast<float*>(checked_data(distances, kOp, "distances", stream, DType::kF32, shape)),
              static_cast<int64_t*>(checked_data(indices, kOp, "indices", stream, DType::kI64, shape)));
      },
      py::arg("stream"), py::arg("a"), py::arg("b"), py::arg("metric"), py::arg("k"), py::arg("workspace"),
      py::arg("distances"), py::arg("indices"));
  m.def(
      "match_filter_workspace",
      [](int64_t rows, int64_t taken) {
        MatchFilter filter;
        filter.n_a = rows, filter.taken = taken;
        return match_filter_workspace_bytes(filter);
      },
      py::arg("rows"), py::arg("taken"));
  m.def(
      "filter_matches",
      [](const Stream& stream, const DeviceArray& distances, const DeviceArray& indices, int64_t taken,
         float ratio, const OptionalArray& back, double max_distance, const DeviceArray& workspace,
         const DeviceArray& pairs, const DeviceArray& pair_distances, const DeviceArray& count) {
        MatchFilter f;
        f.distances = static_cast<const float*>(
            checked_data(distances, kOp, "distances", stream, DType::kF32, {-1, -1}));
        f.n_a = distances.tensor.shape[0], f.k = distances.tensor.shape[1];
        f.indices = static_cast<const int64_t*>(
            checked_data(indices, kOp, "indices", stream, DType::kI64, {f.n_a, f.k}));
        check(taken >= 1 && taken <= f.k && (ratio == 0 || f.k >= 2), kOp, "expected ", taken,
              " neighbours, two with a ratio, got ", f.k);
        f.taken = taken, f.ratio = ratio, f.max_distance = max_distance;
        f.back = data_or_null<const int64_t>(back, kOp, "back", stream, DType::kI64, {-1, 1});
        const int64_t room = f.n_a * taken;
        check(room <= INT32_MAX, kOp, "expected at most 2147483647 matches, got ", room);
        void* const memory = workspace_data(workspace, kOp, stream, match_filter_workspace_bytes(f));
        filter_matches(
            kOp, stream, f, memory,
            static_cast<int64_t*>(checked_data(pairs, kOp, "pairs", stream, DType::kI64, {room, 2})),
            static_cast<float*>(checked_data(pair_distances, kOp, "distances", stream, DType::kF32, {room})),
            static_cast<int64_t*>(checked_data(count, kOp, "count", stream, DType::kI64, {1})));
      },
      py::arg("stream"), py::arg("distances"), py::arg("indices"), py::arg("taken"), py::arg("ratio"),
      py::arg("back"), py::arg("max_distance"), py::arg("workspace"), py::arg("pairs"),
      py::arg("pair_distances"), py::arg("count"));
}

}  // namespace pyvision::cuda::match_bind
