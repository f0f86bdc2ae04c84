// SPDX-License-Identifier: Apache-2.0
#include "conv/f64.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {
namespace {

// Calls f(tap, ih, iw) for the taps of output pixel (oh, ow) that lie inside the h x w image.
template <class F>
void for_each_tap(const Conv2dParams& p, int64_t h, int64_t w, int64_t oh, int64_t ow, F f) {
  for (int64_t kh = 0; kh < p.kernel_h; ++kh)
    for (int64_t kw = 0; kw < p.kernel_w; ++kw) {
      const int64_t ih = oh * p.stride_h - p.pad_top + kh * p.dilation_h;
      const int64_t iw = ow * p.stride_w - p.pad_left + kw * p.dilation_w;
      if (ih >= 0 && ih < h && iw >= 0 && iw < w) f(kh * p.kernel_w + kw, ih, iw);
    }
}

}  // namespace

void conv2d_f64(const Conv2dParams& p, const Nhwc<const double>& input, const double* weight,
                const double* bias, const Nhwc<double>& output) {
  const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
  const int64_t taps = p.kernel_h * p.kernel_w;
  parallel_for(output.n * output.h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t ow = 0; ow < output.w; ++ow) {
        const int64_t n = row / output.h, oh = row % output.h;
        double* y = output.at(n, oh, ow);
        for (int64_t o = 0; o < p.out_channels; ++o) {
          double sum = bias != nullptr ? bias[o] : 0.0;
          for_each_tap(p, input.h, input.w, oh, ow, [&](int64_t tap, int64_t ih, int64_t iw) {
            const double* x = input.at(n, ih, iw) + o / group_out * group_in;
            const double* w = weight + (o * taps + tap) * group_in;
            for (int64_t i = 0; i < group_in; ++i) sum += w[i] * x[i];
          });
          y[o] = sum;
        }
      }
  });
}

void conv2d_adjoint_f64(const Conv2dParams& p, const Nhwc<const double>& grad_output, const double* weight,
                        const double* bias, const Nhwc<double>& grad_input) {
  const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
  const int64_t taps = p.kernel_h * p.kernel_w;
  // Outputs scatter to overlapping windows: images and groups are what threads can share without sharing
  // sums.
  parallel_for(grad_output.n * p.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / p.groups, g = task % p.groups;
      for (int64_t ih = 0; ih < grad_input.h; ++ih)
        for (int64_t iw = 0; iw < grad_input.w; ++iw)
          for (int64_t i = g * group_in; i < (g + 1) * group_in; ++i)
            grad_input.at(n, ih, iw)[i] = bias != nullptr ? bias[i] : 0.0;
      for (int64_t oh = 0; oh < grad_output.h; ++oh)
        for (int64_t ow = 0; ow < grad_output.w; ++ow)
          for_each_tap(p, grad_input.h, grad_input.w, oh, ow, [&](int64_t tap, int64_t ih, int64_t iw) {
            double* x = grad_input.at(n, ih, iw) + g * group_in;
            for (int64_t o = g * group_out; o < (g + 1) * group_out; ++o) {
              const double y = grad_output.at(n, oh, ow)[o];
              const double* w = weight + (o * taps + tap) * group_in;
              for (int64_t i = 0; i < group_in; ++i) x[i] += w[i] * y;
            }
          });
    }
  });
}

void conv2d_grad_weight_f64(const Conv2dParams& p, const Nhwc<const double>& input,
                            const Nhwc<const double>& grad_output, double* grad_weight) {
  const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
  const int64_t filter = p.kernel_h * p.kernel_w * group_in;
  parallel_for(p.out_channels, 1, [&](int64_t begin, int64_t end) {
    std::fill(grad_weight + begin * filter, grad_weight + end * filter, 0.0);
    for (int64_t o = begin; o < end; ++o)
      for (int64_t n = 0; n < grad_output.n; ++n)
        for (int64_t oh = 0; oh < grad_output.h; ++oh)
          for (int64_t ow = 0; ow < grad_output.w; ++ow) {
            const double y = grad_output.at(n, oh, ow)[o];
            for_each_tap(p, input.h, input.w, oh, ow, [&](int64_t tap, int64_t ih, int64_t iw) {
              const double* x = input.at(n, ih, iw) + o / group_out * group_in;
              double* w = grad_weight + o * filter + tap * group_in;
              for (int64_t i = 0; i < group_in; ++i) w[i] += y * x[i];
            });
          }
  });
}

}  // namespace pyvision
