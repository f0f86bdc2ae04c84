// SPDX-License-Identifier: Apache-2.0
// What a pooling's parameters must fulfil, on whatever device it runs.
#include "ops/pool2d/params.h"

#include <algorithm>
#include <limits>

#include "core/check.h"

namespace pyvision {
namespace {

void check_axis(const char* op, const char* name, int64_t kernel, int64_t stride, int64_t before,
                int64_t after, int64_t dilation) {
  constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();  // so that no product leaves 64 bits
  const auto in_range = [&](const char* what, int64_t value, int64_t least) {
    check(value >= least && value <= kLimit, op, "expected ", what, " in [", least, ", ", kLimit,
          "] along the ", name, ", got ", value);
  };
  in_range("kernel_size", kernel, 1);
  in_range("stride", stride, 1);
  in_range("dilation", dilation, 1);
  in_range("padding", before, 0);
  in_range("padding", after, 0);
  const int64_t half = (dilation * (kernel - 1) + 1) / 2;
  check(std::max(before, after) <= half, op, "expected padding of at most half the kernel (", half,
        ") along the ", name, ", got ", std::max(before, after));
}

}  // namespace

void check_pool2d(const char* op, const Pool2dParams& p, int64_t h, int64_t w) {
  check_axis(op, "height", p.kernel_h, p.stride_h, p.pad_top, p.pad_bottom, p.dilation_h);
  check_axis(op, "width", p.kernel_w, p.stride_w, p.pad_left, p.pad_right, p.dilation_w);
  check(h >= 1 && w >= 1, op, "expected an image of at least 1 x 1, got ", h, " x ", w);
  check(p.out_h(h) >= 1 && p.out_w(w) >= 1, op, "expected windows no larger than the padded image, got ", h,
        " x ", w, " pixels for a ", p.kernel_h, " x ", p.kernel_w, " kernel");
}

}  // namespace pyvision
