// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "core/bind.h"
#include "ops/pool2d_backward/pool2d_backward.h"

namespace pyvision::pool2d_backward_bind {

using Pair = std::array<int64_t, 2>;

Pool2dParams params_of(const Pair& kernel, const Pair& stride, const Pair& padding, const Pair& dilation,
                       bool ceil_mode) {
  Pool2dParams p;
  p.kernel_h = kernel[0], p.kernel_w = kernel[1];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.pad_top = p.pad_bottom = padding[0], p.pad_left = p.pad_right = padding[1];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.ceil_mode = ceil_mode;
  return p;
}

void check_input_size(const char* op, const Pair& size) {
  check(size[0] >= 1 && size[1] >= 1, op, "expected input_shape of at least 1 x 1 pixels, got ",
        shape_text(size.data(), 2));
}

// The gradient that run(dy, dx) writes. output: of the forward call, null for any
template <class T, class Run>
py::array gradient(const char* op, const py::array& grad_output, const Pair& size, const Pair* output,
                   Run run) {
  const auto dy = dense_nhwc<const T>(grad_output, op, "grad_output");
  check(dy.h > 0 && dy.w > 0 && dy.c > 0, op, "expected grad_output with no empty axis but N, got (", dy.n,
        ", ", dy.h, ", ", dy.w, ", ", dy.c, ") as (N, H, W, C)");
  check(output == nullptr || (dy.h == (*output)[0] && dy.w == (*output)[1]), op, "expected grad_output of ",
        output == nullptr ? 0 : (*output)[0], " x ", output == nullptr ? 0 : (*output)[1],
        " pixels as input_shape, kernel_size and stride say, got ", dy.h, " x ", dy.w);
  py::array result = empty<T>(op, {dy.n, size[0], size[1], dy.c});
  const auto dx = nhwc_view<T>(result, op, "grad_input");
  py::gil_scoped_release release;
  run(dy, dx);
  return result;
}

template <class Run>
py::array gradient_of_windows(const char* op, const py::array& grad_output, const Pair& size,
                              const Pool2dParams& params, Run run) {
  check_input_size(op, size);
  check_pool2d(op, params, size[0], size[1]);
  const Pair output = {params.out_h(size[0]), params.out_w(size[1])};
  if (is_f64(grad_output)) return gradient<double>(op, grad_output, size, &output, run);
  return gradient<float>(op, grad_output, size, &output, run);
}

py::array bind_max(const py::array& grad_output, const py::array& indices, const Pair& size,
                   const Pair& kernel, const Pair& stride, const Pair& padding, const Pair& dilation,
                   bool ceil_mode) {
  constexpr const char* kOp = "max_pool2d_backward";
  const Tensor places = dense_view<const int64_t>(indices, kOp, "indices", 4);
  const Pool2dParams params = params_of(kernel, stride, padding, dilation, ceil_mode);
  bool same = grad_output.ndim() == 4;
  for (int i = 0; same && i < 4; ++i) same = grad_output.shape(i) == places.shape[i];
  check(same, kOp, "expected indices of the shape of grad_output, got (N, H, W, C) = ", shape_text(places));
  check_input_size(kOp, size);
  const int64_t pixels = size[0] > INT64_MAX / size[1] ? INT64_MAX : size[0] * size[1];
  const auto* const index = places.as<const int64_t>();
  const auto* const wrong = std::find_if(index, index + places.numel(), [=](int64_t i) {
    return i < -1 || i >= pixels;  // -1: of a window beyond the map
  });
  if (wrong != index + places.numel())
    check(false, kOp, "expected indices in [-1, ", size[0], " * ", size[1], "), got ", *wrong);
  return gradient_of_windows(kOp, grad_output, size, params, [&](const auto& dy, const auto& dx) {
    max_pool2d_backward(params, dy, places.as<const int64_t>(), dx);
  });
}

py::array bind_avg(const py::array& grad_output, const Pair& size, const Pair& kernel, const Pair& stride,
                   const Pair& padding, bool ceil_mode, bool count_include_pad,
                   std::optional<int64_t> divisor_override) {
  constexpr const char* kOp = "avg_pool2d_backward";
  Pool2dParams params = params_of(kernel, stride, padding, {1, 1}, ceil_mode);
  params.count_include_pad = count_include_pad;
  params.divisor_override = divisor_override.value_or(0);
  check(divisor_override != 0, kOp, "expected divisor_override to be other than 0");
  return gradient_of_windows(kOp, grad_output, size, params,
                             [&](const auto& dy, const auto& dx) { avg_pool2d_backward(params, dy, dx); });
}

py::array bind_adaptive(const py::array& grad_output, const Pair& size) {
  constexpr const char* kOp = "adaptive_avg_pool2d_backward";
  check_input_size(kOp, size);
  const auto run = [](const auto& dy, const auto& dx) { adaptive_avg_pool2d_backward(dy, dx); };
  if (is_f64(grad_output)) return gradient<double>(kOp, grad_output, size, nullptr, run);
  return gradient<float>(kOp, grad_output, size, nullptr, run);
}

void define(py::module_& m) {
  m.def("max_pool2d_backward", &bind_max, py::arg("grad_output"), py::arg("indices"), py::arg("input_size"),
        py::arg("kernel_size"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
        py::arg("ceil_mode"));
  m.def("avg_pool2d_backward", &bind_avg, py::arg("grad_output"), py::arg("input_size"),
        py::arg("kernel_size"), py::arg("stride"), py::arg("padding"), py::arg("ceil_mode"),
        py::arg("count_include_pad"), py::arg("divisor_override"));
  m.def("adaptive_avg_pool2d_backward", &bind_adaptive, py::arg("grad_output"), py::arg("input_size"));
}

}  // namespace pyvision::pool2d_backward_bind
