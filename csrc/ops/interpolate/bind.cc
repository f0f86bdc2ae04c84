// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "core/bind.h"
#include "ops/interpolate/interpolate.h"

namespace pyvision::interpolate_bind {

constexpr const char *kOp = "interpolate", *kBackward = "interpolate_backward";

using Pair = std::array<int64_t, 2>;

template <class T>
py::array forward(const py::array& input, const Pair& size, const InterpolateParams& params,
                  const std::optional<py::array>& addend, const std::optional<py::array>& out) {
  const auto x = nhwc_view<const T>(input, kOp, "input");
  check(x.h > 0 && x.w > 0 && x.c > 0, kOp, "expected input with no empty axis but N, got (N, H, W, C) = (",
        x.n, ", ", x.h, ", ", x.w, ", ", x.c, ")");
  const std::vector<int64_t> shape = {x.n, size[0], size[1], x.c};
  Nhwc<const T> add;
  if (addend) {
    add = nhwc_view<const T>(*addend, kOp, "addend");
    check(add.n == x.n && add.h == size[0] && add.w == size[1] && add.c == x.c, kOp,
          "expected addend of shape ", shape_text(shape.data(), 4));
  }
  py::array output = output_array<T>(kOp, out, shape);
  const auto y = nhwc_view<T>(output, kOp, "out");
  {
    py::gil_scoped_release release;
    interpolate(params, x, addend ? &add : nullptr, y);
  }
  return output;
}

py::array bind(const py::array& input, const Pair& size, const std::string& mode, bool align_corners,
               bool antialias, const std::array<double, 2>& scale, const std::optional<py::array>& addend,
               const std::optional<py::array>& out) {
  const InterpolateParams params = interpolate_params(kOp, size, mode, align_corners, antialias, scale);
  return (is_f64(input) ? forward<double> : forward<float>)(input, size, params, addend, out);
}

template <class T>
py::array backward(const py::array& grad_output, const Pair& size, const InterpolateParams& params) {
  const auto grad = nhwc_view<const T>(grad_output, kBackward, "grad_output");
  check(grad.c > 0, kBackward, "expected grad_output with no empty axis but N, got (N, H, W, C) = (", grad.n,
        ", ", grad.h, ", ", grad.w, ", ", grad.c, ")");
  py::array result = empty<T>(kBackward, {grad.n, size[0], size[1], grad.c});
  const auto grad_x = nhwc_view<T>(result, kBackward, "grad_input");
  {
    py::gil_scoped_release release;
    interpolate_backward<T>(params, grad, grad_x);
  }
  return result;
}

py::array bind_backward(const py::array& grad_output, const Pair& size, const std::string& mode,
                        bool align_corners, bool antialias, const std::array<double, 2>& scale) {
  check(grad_output.ndim() == 4, kBackward, "expected grad_output with 4 dimensions (N, H, W, C), got ",
        grad_output.ndim());
  check(size[0] >= 1 && size[1] >= 1, kBackward, "expected input_shape of at least 1 x 1 pixels, got ",
        shape_text(size.data(), 2));
  const Pair output = {grad_output.shape(1), grad_output.shape(2)};
  const InterpolateParams params =
      interpolate_params(kBackward, output, mode, align_corners, antialias, scale);
  return (is_f64(grad_output) ? backward<double> : backward<float>)(grad_output, size, params);
}

void define(py::module_& m) {
  m.def("interpolate", &bind, py::arg("input"), py::arg("size"), py::arg("mode"), py::arg("align_corners"),
        py::arg("antialias") = false, py::arg("scale") = std::array<double, 2>{0, 0},
        py::arg("addend") = py::none(), py::arg("out") = py::none());
  m.def("interpolate_backward", &bind_backward, py::arg("grad_output"), py::arg("input_size"),
        py::arg("mode"), py::arg("align_corners"), py::arg("antialias") = false,
        py::arg("scale") = std::array<double, 2>{0, 0});
}

}  // namespace pyvision::interpolate_bind
