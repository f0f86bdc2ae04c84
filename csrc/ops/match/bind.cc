// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/match/match.h"

namespace pyvision::match_bind {

constexpr const char* kOp = "match";

// (distances, indices), (n_a, k) each.
py::tuple run(const py::array& a, const py::array& b, const std::string& metric, int64_t k) {
  const bool bits = metric == "hamming";
  check(bits || metric == "l2" || metric == "l1", kOp, "expected metric to be 'l2', 'l1' or 'hamming', got '",
        metric, "'");
  const auto rows_of = [&](const py::array& array, const char* name) {
    return bits ? dense_view<const uint8_t>(array, kOp, name, 2)
                : dense_view<const float>(array, kOp, name, 2);
  };
  const Tensor x = rows_of(a, "a"), y = rows_of(b, "b");
  const int64_t n_a = x.shape[0], n_b = y.shape[0], d = x.shape[1];
  check(y.shape[1] == d && d > 0, kOp, "expected a and b to have rows of one length, got shapes ",
        shape_text(x), " and ", shape_text(y));
  check(d < (int64_t{1} << 28) && n_b < (int64_t{1} << 31), kOp,
        "expected rows of b to be fewer than 2^31, and shorter than 2^28, got shape ", shape_text(y));
  check(k >= 1 && k <= n_b, kOp, "expected k in [1, ", n_b, "], got ", k);
  py::array_t<float> distances = empty<float>(kOp, {n_a, k});
  py::array_t<int64_t> indices = empty<int64_t>(kOp, {n_a, k});
  float* const values = distances.mutable_data();
  int64_t* const whose = indices.mutable_data();
  {
    py::gil_scoped_release release;
    if (bits)
      match_bytes(x.as<const uint8_t>(), n_a, y.as<const uint8_t>(), n_b, d, k, values, whose);
    else
      match_floats(metric == "l2" ? MatchMetric::kL2 : MatchMetric::kL1, x.as<const float>(), n_a,
                   y.as<const float>(), n_b, d, k, values, whose);
  }
  return py::make_tuple(distances, indices);
}

std::string kernel_isa() { return match_bits_kernels().isa; }

void define(py::module_& m) {
  m.def("match", &run, py::arg("a"), py::arg("b"), py::arg("metric"), py::arg("k"));
  m.def("match_bits_isa", &kernel_isa);
}

}  // namespace pyvision::match_bind
