// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "core/bind.h"
#include "ops/interpolate/interpolate.h"

namespace pyvision::interpolate_bind {

constexpr const char* kOp = "interpolate";

py::array bind(const py::array& input, const std::array<int64_t, 2>& size, const std::string& mode,
               bool align_corners, const std::array<double, 2>& scale, const std::optional<py::array>& addend,
               const std::optional<py::array>& out) {
  const auto x = nhwc_view<const float>(input, kOp, "input");
  check(x.h > 0 && x.w > 0 && x.c > 0, kOp, "expected input with no empty axis but N, got (N, H, W, C) = (",
        x.n, ", ", x.h, ", ", x.w, ", ", x.c, ")");
  const InterpolateParams params = interpolate_params(kOp, size, mode, align_corners, scale);
  const std::vector<int64_t> shape = {x.n, size[0], size[1], x.c};
  Nhwc<const float> add;
  if (addend) {
    add = nhwc_view<const float>(*addend, kOp, "addend");
    check(add.n == x.n && add.h == size[0] && add.w == size[1] && add.c == x.c, kOp,
          "expected addend of shape ", shape_text(shape.data(), 4));
  }
  py::array output = output_array<float>(kOp, out, shape);
  const auto y = nhwc_view<float>(output, kOp, "out");
  {
    py::gil_scoped_release release;
    interpolate(params, x, addend ? &add : nullptr, y);
  }
  return output;
}

void define(py::module_& m) {
  m.def("interpolate", &bind, py::arg("input"), py::arg("size"), py::arg("mode"), py::arg("align_corners"),
        py::arg("scale") = std::array<double, 2>{0, 0}, py::arg("addend") = py::none(),
        py::arg("out") = py::none());
}

}  // namespace pyvision::interpolate_bind
