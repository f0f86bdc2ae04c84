// SPDX-License-Identifier: Apache-2.0
// What a convolution's parameters must fulfil, on whatever device it runs.
#include <algorithm>

#include "core/check.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision {

Precision parse_precision(const char* op, const std::string& name) {
  if (name == "f32") return Precision::kF32;
  check(name == "bf16", op, "expected precision to be 'f32' or 'bf16', got '", name, "'");
  return Precision::kBf16;
}

void check_conv2d_params(const char* op, const Conv2dParams& p) {
  check(p.kernel_h > 0 && p.kernel_w > 0, op, "expected a kernel of at least 1x1, got ", p.kernel_h, "x",
        p.kernel_w);
  check(p.stride_h > 0 && p.stride_w > 0, op, "expected stride > 0, got (", p.stride_h, ", ", p.stride_w,
        ")");
  check(p.dilation_h > 0 && p.dilation_w > 0, op, "expected dilation > 0, got (", p.dilation_h, ", ",
        p.dilation_w, ")");
  check(p.pad_top >= 0 && p.pad_left >= 0 && p.pad_bottom >= 0 && p.pad_right >= 0, op,
        "expected padding >= 0, got (", p.pad_top, ", ", p.pad_left, ", ", p.pad_bottom, ", ", p.pad_right,
        ")");
  check(p.groups > 0, op, "expected groups > 0, got ", p.groups);
  check(p.in_channels > 0 && p.out_channels > 0, op, "expected at least one channel, got ", p.in_channels,
        " in and ", p.out_channels, " out");
  check(p.in_channels % p.groups == 0 && p.out_channels % p.groups == 0, op,
        "expected channels divisible by groups=", p.groups, ", got ", p.in_channels, " in and ",
        p.out_channels, " out");
  const int64_t largest = std::max({p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.dilation_h,
                                    p.dilation_w, p.pad_top, p.pad_left, p.pad_bottom, p.pad_right});
  check(largest < (int64_t{1} << 31), op, "expected kernel, stride, padding and dilation below 2^31, got ",
        largest);
}

void check_conv2d(const char* op, const Conv2dParams& p, int64_t h, int64_t w) {
  check_conv2d_params(op, p);
  check(h > 0 && w > 0, op, "expected a non-empty image, got ", h, "x", w);
  check(h + p.pad_top + p.pad_bottom >= p.dilation_h * (p.kernel_h - 1) + 1 &&
            w + p.pad_left + p.pad_right >= p.dilation_w * (p.kernel_w - 1) + 1,
        op, "expected input no smaller than the kernel, got ", h, "x", w, " with padding for a ", p.kernel_h,
        "x", p.kernel_w, " kernel, dilation (", p.dilation_h, ", ", p.dilation_w, ")");
}

}  // namespace pyvision
