// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "core/bind.h"
#include "core/sampled_maps.h"
#include "ops/flow/flow.h"

namespace pyvision::flow_bind {

// Checks that a further field is like the first.
const float* like(const Tensor& first, const py::array& array, const char* name) {
  constexpr const char* kOp = "horn_schunck";
  const Tensor t = dense_view<const float>(array, kOp, name, 2);
  check(t.shape[0] == first.shape[0] && t.shape[1] == first.shape[1], kOp, "expected ", name, " of shape ",
        shape_text(first), ", got ", shape_text(t));
  return t.as<const float>();
}

Tensor field(const py::array& array, const char* name) {
  constexpr const char* kOp = "horn_schunck";
  const Tensor x = dense_view<const float>(array, kOp, name, 2);
  check(x.numel() > 0, kOp, "expected ", name, " with pixels, got shape ", shape_text(x));
  return x;
}

py::tuple terms(const py::array& a, const py::array& b, const py::array& u, const py::array& v) {
  constexpr const char* kOp = "horn_schunck";
  const Tensor x = field(a, "a");
  const float *pb = like(x, b, "b"), *pu = like(x, u, "u"), *pv = like(x, v, "v");
  const auto out = [&] { return empty<float>(kOp, {x.shape[0], x.shape[1]}); };
  py::array_t<float> ix = out(), iy = out(), it = out();
  float *to_x = ix.mutable_data(), *to_y = iy.mutable_data(), *to_t = it.mutable_data();
  {
    py::gil_scoped_release release;
    flow_terms(x.as<const float>(), pb, pu, pv, x.shape[0], x.shape[1], to_x, to_y, to_t);
  }
  return py::make_tuple(ix, iy, it);
}

py::tuple dense(const py::array& ix, const py::array& iy, const py::array& it, const py::array& u,
                const py::array& v, float alpha, int iterations) {
  constexpr const char* kOp = "horn_schunck";
  const Tensor x = field(ix, "ix");
  check(std::isfinite(alpha) && alpha > 0, kOp, "expected a finite, positive alpha, got ", alpha);
  check(iterations >= 0, kOp, "expected iterations of at least 0, got ", iterations);
  const FlowTerms terms = {x.as<const float>(), like(x, iy, "iy"), like(x, it, "it"), like(x, u, "u"),
                           like(x, v, "v"),     x.shape[0],        x.shape[1],        alpha};
  py::array_t<float> to_u = empty<float>(kOp, {x.shape[0], x.shape[1]}),
                     to_v = empty<float>(kOp, {x.shape[0], x.shape[1]});
  float *pu = to_u.mutable_data(), *pv = to_v.mutable_data();
  {
    py::gil_scoped_release release;
    std::copy_n(terms.u0, x.numel(), pu);
    std::copy_n(terms.v0, x.numel(), pv);
    horn_schunck(terms, iterations, pu, pv);
  }
  return py::make_tuple(to_u, to_v);
}

TrackImage picture(const py::array& array, const char* name) {
  constexpr const char* kOp = "lucas_kanade";
  const Tensor t = dense_view<const float>(array, kOp, name, 2);
  check(t.numel() > 0, kOp, "expected ", name, " with pixels, got shape ", shape_text(t));
  check(t.shape[0] <= kMaxSampledExtent && t.shape[1] <= kMaxSampledExtent, kOp, "expected ", name,
        " of at most ", kMaxSampledExtent, " rows and columns, got shape ", shape_text(t));
  return {t.as<const float>(), t.shape[0], t.shape[1]};
}

// One level. shifted, found and errors are written in place.
void sparse(const py::array& a, const py::array& b, const py::array& points, const py::array& shifted,
            const py::array& found, const py::array& errors, int window, int max_iterations, float epsilon,
            float min_eigenvalue, bool finest) {
  constexpr const char* kOp = "lucas_kanade";
  const TrackImage from = picture(a, "a"), to = picture(b, "b");
  check(from.h == to.h && from.w == to.w, kOp, "expected a and b of one shape, got (", from.h, ", ", from.w,
        ") and (", to.h, ", ", to.w, ")");
  const Tensor p = dense_view<const float>(points, kOp, "points", 2),
               q = dense_view<float>(shifted, kOp, "shifted", 2);
  const Tensor f = dense_view<uint8_t>(found, kOp, "found", 1),
               e = dense_view<float>(errors, kOp, "errors", 1);
  check(p.shape[1] == 2 && q.shape[1] == 2 && q.shape[0] == p.shape[0] && f.shape[0] == p.shape[0] &&
            e.shape[0] == p.shape[0],
        kOp, "expected points of shape (N, 2), and shifted, found and errors to match, got ", shape_text(p),
        ", ", shape_text(q), ", ", shape_text(f), ", ", shape_text(e));
  check(window >= 3 && window <= kMaxTrackWindow && window % 2 == 1, kOp, "expected an odd window in [3, ",
        kMaxTrackWindow, "], got ", window);
  check(max_iterations >= 1, kOp, "expected max_iterations of at least 1, got ", max_iterations);
  const TrackParams params = {window, max_iterations, epsilon, min_eigenvalue, finest};
  py::gil_scoped_release release;
  lucas_kanade(from, to, params, p.shape[0], p.as<const float>(), q.as<float>(), f.as<uint8_t>(),
               e.as<float>());
}

void define(py::module_& m) {
  m.def("horn_schunck_terms", &terms, py::arg("a"), py::arg("b"), py::arg("u"), py::arg("v"));
  m.def("horn_schunck", &dense, py::arg("ix"), py::arg("iy"), py::arg("it"), py::arg("u"), py::arg("v"),
        py::arg("alpha"), py::arg("iterations"));
  m.def("lucas_kanade", &sparse, py::arg("a"), py::arg("b"), py::arg("points"), py::arg("shifted"),
        py::arg("found"), py::arg("errors"), py::arg("window"), py::arg("max_iterations"), py::arg("epsilon"),
        py::arg("min_eigenvalue"), py::arg("finest"));
}

}  // namespace pyvision::flow_bind
