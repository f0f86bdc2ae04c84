// SPDX-License-Identifier: Apache-2.0
// What a transposed convolution's parameters must fulfil, on whatever device it runs.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "ops/conv_transpose2d/conv_transpose2d.h"

namespace pyvision {

Conv2dParams adjoint_of(const ConvTranspose2dParams& p) {
  Conv2dParams adjoint;
  adjoint.in_channels = p.out_channels, adjoint.out_channels = p.in_channels;
  adjoint.kernel_h = p.kernel_h, adjoint.kernel_w = p.kernel_w;
  adjoint.stride_h = p.stride_h, adjoint.stride_w = p.stride_w;
  adjoint.pad_top = p.padding_h, adjoint.pad_left = p.padding_w;
  adjoint.pad_bottom = p.padding_h - p.output_padding_h, adjoint.pad_right = p.padding_w - p.output_padding_w;
  adjoint.dilation_h = p.dilation_h, adjoint.dilation_w = p.dilation_w;
  adjoint.groups = p.groups;
  return adjoint;
}

void check_conv_transpose2d_params(const char* op, const ConvTranspose2dParams& p) {
  Conv2dParams counted = adjoint_of(p);
  std::swap(counted.in_channels, counted.out_channels);  // messages count them as the caller does
  counted.pad_bottom = p.padding_h, counted.pad_right = p.padding_w;  // the adjoint's may be less than 0
  check_conv2d_params(op, counted);
  constexpr int64_t kMaxPhases = 1 << 16;  // each is a convolution with weights of its own
  check(p.stride_h <= kMaxPhases && p.stride_w <= kMaxPhases && p.stride_h * p.stride_w <= kMaxPhases, op,
        "expected stride_h * stride_w of at most ", kMaxPhases, ", got (", p.stride_h, ", ", p.stride_w, ")");
  check(p.output_padding_h >= 0 && p.output_padding_w >= 0 &&
            p.output_padding_h < std::max(p.stride_h, p.dilation_h) &&
            p.output_padding_w < std::max(p.stride_w, p.dilation_w),
        op, "expected output_padding in [0, max(stride, dilation)), got (", p.output_padding_h, ", ",
        p.output_padding_w, ")");
}

void check_conv_transpose2d(const char* op, const ConvTranspose2dParams& p, int64_t h, int64_t w) {
  check_conv_transpose2d_params(op, p);
  check(h > 0 && w > 0 && p.out_h(h) > 0 && p.out_w(w) > 0, op, "expected a non-empty output, got ",
        p.out_h(h), "x", p.out_w(w), " for an input of ", h, "x", w);
}

}  // namespace pyvision
