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

void convolve(const Conv2dParams& p, const EitherMap<const float>& x, const float* weight,
              const EitherMap<float>& y) {
  const Conv2d conv(p, channels_last_weight(p, weight), nullptr);
  if (y.planes == nullptr) return conv.run(x.nhwc, nullptr, y.nhwc);
  conv.run_nchw(x.planes, x.nhwc.n, x.nhwc.h, x.nhwc.w, nullptr, y.planes);
}
void convolve(const Conv2dParams& p, const EitherMap<const double>& x, const double* weight,
              const EitherMap<double>& y) {
  conv2d_f64(p, x.nhwc, weight, nullptr, y.nhwc);
}

template <class T>
py::tuple backward(const py::array& grad_output, const py::array& input, const py::array& weight, Pair stride,
                   Pair padding, Pair output_padding, int64_t groups, Pair dilation,
                   const std::array<bool, 3>& output_mask, bool nchw) {
  const EitherMap<const T> g = map_view<T>(grad_output, kOp, "grad_output", nchw);
  const EitherMap<const T> x = map_view<T>(input, kOp, "input", nchw);
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
  const int64_t n = x.nhwc.n, h = x.nhwc.h, width = x.nhwc.w, channels = x.nhwc.c;
  check_conv_transpose2d(kOp, t, h, width);
  check(channels == t.in_channels, kOp, "expected input with ", t.in_channels, " channels, got ", channels);
  check_grad_output(kOp, g, {n, t.out_h(h), t.out_w(width), t.out_channels});
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
         Pair padding, Pair output_padding, int64_t groups, Pair dilation, std::array<bool, 3> output_mask,
         bool nchw) {
        const auto run = is_f64(grad_output) ? backward<double> : backward<float>;
        return run(grad_output, input, weight, stride, padding, output_padding, groups, dilation, output_mask,
                   nchw);
      },
      py::arg("grad_output"), py::arg("input"), py::arg("weight"), py::arg("stride"), py::arg("padding"),
      py::arg("output_padding"), py::arg("groups"), py::arg("dilation"), py::arg("output_mask"),
      py::arg("nchw") = false);
}

}  // namespace pyvision::conv_transpose2d_backward_bind
