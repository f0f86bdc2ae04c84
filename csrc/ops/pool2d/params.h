// SPDX-License-Identifier: Apache-2.0
// The parameters of pool2d.h, without its CPU kernels.
#pragma once

#include <cstdint>

namespace pyvision {

struct Pool2dParams {
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;  // 1 for averages
  bool ceil_mode = false;                  // a last window may hang over the far edge, if it starts before it
  bool count_include_pad = true;           // averages only
  int64_t divisor_override = 0;            // averages only; 0: none

  int64_t out_h(int64_t h) const {
    return out_extent(h, kernel_h, stride_h, pad_top, pad_bottom, dilation_h);
  }
  int64_t out_w(int64_t w) const {
    return out_extent(w, kernel_w, stride_w, pad_left, pad_right, dilation_w);
  }

 private:
  int64_t out_extent(int64_t in, int64_t kernel, int64_t stride, int64_t before, int64_t after,
                     int64_t dilation) const {
    const int64_t room = in + before + after - dilation * (kernel - 1) - 1;
    if (room < 0 && !(ceil_mode && room + stride > 0)) return 0;
    const int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    return ceil_mode && (out - 1) * stride >= in + before ? out - 1 : out;
  }
};

// Throws std::invalid_argument when the parameters contradict each other or the input's extents.
void check_pool2d(const char* op, const Pool2dParams& params, int64_t h, int64_t w);

}  // namespace pyvision
