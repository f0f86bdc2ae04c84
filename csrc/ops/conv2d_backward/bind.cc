// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/conv2d_backward/gradients.h"

namespace pyvision::conv2d_backward_bind {

template <class T>
py::tuple backward(const char* op, const py::array& grad_output, const py::array& input,
                   const py::array& weight, std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                   std::array<int64_t, 2> dilation, int64_t groups, const std::array<bool, 3>& output_mask,
                   bool allow_winograd, bool nchw) {
  const EitherMap<const T> g = map_view<T>(grad_output, op, "grad_output", nchw);
  const EitherMap<const T> x = map_view<T>(input, op, "input", nchw);
  const Tensor w = dense_view<const T>(weight, op, "weight", 4);
  Conv2dParams p;
  p.out_channels = w.shape[0];
  p.kernel_h = w.shape[1], p.kernel_w = w.shape[2];
  p.in_channels = w.shape[3] * groups;
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.pad_top = padding[0], p.pad_left = padding[1], p.pad_bottom = padding[2], p.pad_right = padding[3];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.groups = groups;
  p.allow_winograd = allow_winograd;
  const int64_t n = x.nhwc.n, h = x.nhwc.h, width = x.nhwc.w, channels = x.nhwc.c;
  check_conv2d(op, p, h, width);
  check(channels == p.in_channels, op, "expected input with ", p.in_channels, " channels, got ", channels);
  check_grad_output(op, g, {n, p.out_h(h), p.out_w(width), p.out_channels});
  Gradients<T> gradients(op, x, w, p.out_channels, output_mask);
  {
    py::gil_scoped_release release;
    if (output_mask[0]) conv2d_grad_input(p, w.as<const T>(), g, gradients.input);
    if (output_mask[1]) conv2d_grad_weight(p, x, g, gradients.weight);
    if (output_mask[2]) channel_sums(g, gradients.bias);
  }
  return gradients.tuple();
}

void define(py::module_& m) {
  m.def(
      "conv2d_backward",
      [](const py::array& grad_output, const py::array& input, const py::array& weight,
         std::array<int64_t, 2> stride, std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation,
         int64_t groups, std::array<bool, 3> output_mask, bool allow_winograd, const std::string& op,
         bool nchw) {
        const auto run = is_f64(grad_output) ? backward<double> : backward<float>;
        return run(op.c_str(), grad_output, input, weight, stride, padding, dilation, groups, output_mask,
                   allow_winograd, nchw);
      },
      py::arg("grad_output"), py::arg("input"), py::arg("weight"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"), py::arg("output_mask"), py::arg("allow_winograd") = true,
      py::arg("op") = "conv2d_backward", py::arg("nchw") = false);
}

}  // namespace pyvision::conv2d_backward_bind
