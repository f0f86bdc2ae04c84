// SPDX-License-Identifier: Apache-2.0
// conv_transpose2d_backward. A transposed convolution is the adjoint of the convolution whose input has its
// output's shape, so that with x and g in exchanged roles its gradients are that convolution's:
//   grad_x = conv2d(g, w),  grad_w = conv2d_grad_weight(input g, grad_output x),  grad_b = sum of g
#include "conv/f64.h"
#include "ops/conv2d_backward/gradients.h"
#include "ops/conv_transpose2d/conv_transpose2d.h"

namespace pyvision::conv_transpose2d_backward_bind {

constexpr const char* kOp = "conv_transpose2d_backward";
using Pair = std::array<int64_t, 2>;

void convolve(const Conv2dParams& p, const Nhwc<const float>& x, const float* weight, const Nhwc<float>& y) {
  Conv2d(p, channels_last_weight(p, weight), nullptr).run(x, nullptr, y);
}
void convolve(const Conv2dParams& p, const Nhwc<const double>& x, const double* weight,
              const Nhwc<double>& y) {
  conv2d_f64(p, x, weight, nullptr, y);
}

template <class T>
py::tuple backward(const py::array& grad_output, const py::array& input, const py::array& weight, Pair stride,
                   Pair padding, Pair output_padding, int64_t groups, Pair dilation,
                   const std::array<bool, 3>& output_mask) {
  const Nhwc<const T> g = dense_nhwc<const T>(grad_output, kOp, "grad_output");
  const Nhwc<const T> x = dense_nhwc<const T>(input, kOp, "input");
  const Tensor w = dense_view<const T>(weight, kOp, "weight", 4);  // (in, kernel_h, kernel_w, out / groups)
  ConvTranspose2dParams t;
  t.in_channels = w.shape[0];
  t.kernel_h = w.shape[1], t.kernel_w = w.shape[2];
  t.out_channels = w.shape[3] * groups;
  t.stride_h = stride[0], t.stride_w = stride[1];
  t.padding_h = padding[0], t.padding_w = padding[1];
  t.output_padding_h = output_padding[0], t.output_padding_w = output_padding[1];
  t.dilation_h = dilation[0], t.dilation_w = dilation[1];
  t.groups = groups;
  check_conv_transpose2d(kOp, t, x.h, x.w);
  check(x.c == t.in_channels, kOp, "expected input with ", t.in_channels, " channels, got ", x.c);
  check_grad_output(kOp, g, {x.n, t.out_h(x.h), t.out_w(x.w), t.out_channels});
  const Conv2dParams p = adjoint_of(t);
  Gradients<T> gradients(kOp, x, w, t.out_channels, output_mask);
  {
    py::gil_scoped_release release;
    if (output_mask[0]) convolve(p, g, w.as<const T>(), gradients.input);
    if (output_mask[1]) conv2d_grad_weight(p, g, x, gradients.weight);
    if (output_mask[2]) channel_sums(g, gradients.bias);
  }
  return gradients.tuple();
}

void define(py::module_& m) {
  m.def(
      "conv_transpose2d_backward",
      [](const py::array& grad_output, const py::array& input, const py::array& weight, Pair stride,
         Pair padding, Pair output_padding, int64_t groups, Pair dilation, std::array<bool, 3> output_mask) {
        const auto run = is_f64(grad_output) ? backward<double> : backward<float>;
        return run(grad_output, input, weight, stride, padding, output_padding, groups, dilation,
                   output_mask);
      },
      py::arg("grad_output"), py::arg("input"), py::arg("weight"), py::arg("stride"), py::arg("padding"),
      py::arg("output_padding"), py::arg("groups"), py::arg("dilation"), py::arg("output_mask"));
}

}  // namespace pyvision::conv_transpose2d_backward_bind
