// SPDX-License-Identifier: Apache-2.0
#include "ops/max_unpool2d/max_unpool2d.h"

#include <algorithm>
#include <array>

#include "core/bind.h"

namespace pyvision::max_unpool2d_bind {

using Pair = std::array<int64_t, 2>;

// Dense indices of the shape of `like`, each within [0, places).
const int64_t* checked_indices(const char* op, const py::array& indices, const std::vector<int64_t>& like,
                               int64_t places) {
  const Tensor view = dense_view<const int64_t>(indices, op, "indices", 4);
  check(std::equal(like.begin(), like.end(), view.shape), op, "expected indices of shape ",
        shape_text(like.data(), 4), " as (N, H, W, C), got ", shape_text(view));
  const auto* const values = view.as<const int64_t>();
  const auto* const end = values + view.numel();
  const auto* const wrong =
      std::find_if(values, end, [=](int64_t index) { return index < 0 || index >= places; });
  if (wrong != end) check(false, op, "expected indices in [0, ", places, "), got ", *wrong);
  return values;
}

template <class T>
py::array forward(const py::array& input, const py::array& indices, const Pair& size) {
  constexpr const char* kOp = "max_unpool2d";
  const auto x = dense_nhwc<const T>(input, kOp, "input");
  check(size[0] >= 1 && size[1] >= 1, kOp, "expected an output of at least 1 x 1 pixels, got ",
        shape_text(size.data(), 2));
  const std::vector<int64_t> shape = {x.n, size[0], size[1], x.c};
  checked_numel(kOp, shape.data(), 4, sizeof(T));
  const int64_t* const places = checked_indices(kOp, indices, {x.n, x.h, x.w, x.c}, size[0] * size[1]);
  py::array result = empty<T>(kOp, shape);
  const auto y = nhwc_view<T>(result, kOp, "output");
  {
    py::gil_scoped_release release;
    max_unpool2d<T>(x, places, y);
  }
  return result;
}

template <class T>
py::array backward(const py::array& grad_output, const py::array& indices) {
  constexpr const char* kOp = "max_unpool2d_backward";
  const auto grad = dense_nhwc<const T>(grad_output, kOp, "grad_output");
  const Tensor shape = dense_view<const int64_t>(indices, kOp, "indices", 4);
  const std::vector<int64_t> like = {grad.n, shape.shape[1], shape.shape[2], grad.c};
  const int64_t* const places = checked_indices(kOp, indices, like, grad.h * grad.w);
  py::array result = empty<T>(kOp, like);
  const auto grad_x = nhwc_view<T>(result, kOp, "grad_input");
  {
    py::gil_scoped_release release;
    max_unpool2d_backward<T>(grad, places, grad_x);
  }
  return result;
}

void define(py::module_& m) {
  m.def(
      "max_unpool2d",
      [](const py::array& input, const py::array& indices, const Pair& size) {
        return (is_f64(input) ? forward<double> : forward<float>)(input, indices, size);
      },
      py::arg("input"), py::arg("indices"), py::arg("size"));
  m.def(
      "max_unpool2d_backward",
      [](const py::array& grad_output, const py::array& indices) {
        return (is_f64(grad_output) ? backward<double> : backward<float>)(grad_output, indices);
      },
      py::arg("grad_output"), py::arg("indices"));
}

}  // namespace pyvision::max_unpool2d_bind
