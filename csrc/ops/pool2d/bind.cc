// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "core/bind.h"
#include "ops/pool2d/pool2d.h"

namespace pyvision::pool2d_bind {

using Pair = std::array<int64_t, 2>;
using Padding = std::array<int64_t, 4>;  // top, left, bottom, right

Pool2dParams make_params(const Pair& kernel, const Pair& stride, const Padding& padding, const Pair& dilation,
                         bool ceil_mode) {
  Pool2dParams p;
  p.kernel_h = kernel[0], p.kernel_w = kernel[1];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.pad_top = padding[0], p.pad_left = padding[1], p.pad_bottom = padding[2], p.pad_right = padding[3];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.ceil_mode = ceil_mode;
  return p;
}

template <class T>
Nhwc<const T> input_view(const char* op, const py::array& input) {
  const auto x = nhwc_view<const T>(input, op, "input");
  check(x.h > 0 && x.w > 0 && x.c > 0, op, "expected input with no empty axis but N, got (N, H, W, C) = (",
        x.n, ", ", x.h, ", ", x.w, ", ", x.c, ")");
  return x;
}

template <class T>
py::object bind_max(const py::array& input, const Pair& kernel, const Pair& stride, const Padding& padding,
                    const Pair& dilation, bool ceil_mode, bool return_indices,
                    const std::optional<py::array>& out) {
  constexpr const char* kOp = "max_pool2d";
  const Nhwc<const T> x = input_view<T>(kOp, input);
  const Pool2dParams params = make_params(kernel, stride, padding, dilation, ceil_mode);
  check_pool2d(kOp, params, x.h, x.w);
  check(!return_indices || params.kernel_h * params.kernel_w < (int64_t{1} << 31), kOp,
        "expected a kernel of fewer than 2^31 taps, got ", params.kernel_h, " x ", params.kernel_w);
  const std::vector<int64_t> shape = {x.n, params.out_h(x.h), params.out_w(x.w), x.c};
  const py::array output = output_array<T>(kOp, out, shape);
  const Nhwc<T> y = nhwc_view<T>(output, kOp, "out");
  py::object indices = py::none();
  int64_t* index = nullptr;
  if (return_indices) {
    auto array = empty<int64_t>(kOp, shape);
    index = array.mutable_data();
    indices = std::move(array);
  }
  {
    py::gil_scoped_release release;
    max_pool2d<T>(params, x, y, index);
  }
  if (return_indices) return py::make_tuple(output, indices);
  return output;
}

template <class T>
py::array bind_avg(const py::array& input, const Pair& kernel, const Pair& stride, const Padding& padding,
                   bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override,
                   const std::optional<py::array>& out) {
  constexpr const char* kOp = "avg_pool2d";
  const Nhwc<const T> x = input_view<T>(kOp, input);
  Pool2dParams params = make_params(kernel, stride, padding, {1, 1}, ceil_mode);
  params.count_include_pad = count_include_pad;
  params.divisor_override = divisor_override.value_or(0);
  check_pool2d(kOp, params, x.h, x.w);
  check(divisor_override != 0, kOp, "expected divisor_override to be other than 0");
  py::array output = output_array<T>(kOp, out, {x.n, params.out_h(x.h), params.out_w(x.w), x.c});
  const Nhwc<T> y = nhwc_view<T>(output, kOp, "out");
  {
    py::gil_scoped_release release;
    avg_pool2d<T>(params, x, y);
  }
  return output;
}

template <class T>
py::array bind_adaptive(const py::array& input, const Pair& output_size,
                        const std::optional<py::array>& out) {
  constexpr const char* kOp = "adaptive_avg_pool2d";
  const Nhwc<const T> x = input_view<T>(kOp, input);
  check(output_size[0] >= 1 && output_size[1] >= 1, kOp, "expected output_size of at least 1, got ",
        shape_text(output_size.data(), 2));
  py::array output = output_array<T>(kOp, out, {x.n, output_size[0], output_size[1], x.c});
  const Nhwc<T> y = nhwc_view<T>(output, kOp, "out");
  {
    py::gil_scoped_release release;
    adaptive_avg_pool2d<T>(x, y);
  }
  return output;
}

// The function of two of one signature that `input`, its first argument, asks for.
template <class Result, class... Args>
auto by_dtype(Result (*f32)(const py::array&, Args...), Result (*f64)(const py::array&, Args...)) {
  return [=](const py::array& input, Args... args) { return (is_f64(input) ? f64 : f32)(input, args...); };
}

void define(py::module_& m) {
  m.def("max_pool2d", by_dtype(&bind_max<float>, &bind_max<double>), py::arg("input"), py::arg("kernel_size"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"),
        py::arg("return_indices"), py::arg("out") = py::none());
  m.def("avg_pool2d", by_dtype(&bind_avg<float>, &bind_avg<double>), py::arg("input"), py::arg("kernel_size"),
        py::arg("stride"), py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"),
        py::arg("divisor_override"), py::arg("out") = py::none());
  m.def("adaptive_avg_pool2d", by_dtype(&bind_adaptive<float>, &bind_adaptive<double>), py::arg("input"),
        py::arg("output_size"), py::arg("out") = py::none());
}

}  // namespace pyvision::pool2d_bind
