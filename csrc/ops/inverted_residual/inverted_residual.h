// SPDX-License-Identifier: Apache-2.0
// inverted_residual: y = separable_conv2d(e, …) + r,  e[n, h, w, c] = act_e(b_e[c] + sum_i w_e[c, i] x[n, h,
//   w, i]): a 1 x 1 convolution expands the channels, a depthwise one filters them, a 1 x 1 one projects them
//   back (Sandler et al. 2018, "MobileNetV2"). The expanded map is several times as large as the others and
//   is never stored whole:
//
//     input    expanded, in L2      output
//     ┌─────┐  ┌───────────────┐   ┌─────┐
//     │     │  ├ rows kept ─ ─ ┤   │ ... │   a strip of output rows at a time; the rows that two strips'
//     │strip│─►│ rows added    │──►│strip│   windows share are kept, not computed again
//     └─────┘  └───────────────┘   └─────┘
//
// Beyond the image the depthwise convolution sees zeros, not expanded zeros. Everything here is NHWC, as in
// conv2d.
#pragma once

#include <cstdint>
#include <memory>

#include "ops/conv2d/conv2d.h"
#include "ops/separable_conv2d/separable_conv2d.h"

namespace pyvision {

// With its weights packed for the ISA in force when it was made. Immutable, so any number of threads may run
// it at once.
class InvertedResidual {
 public:
  // The 1 x 1 convolution's out_channels are the depthwise one's in_channels.
  InvertedResidual(Conv2d expand, SeparableConv2d filter_and_project);

  const Conv2d& expand() const { return expand_; }
  const SeparableConv2d& separable() const { return separable_; }
  int64_t packed_bytes() const { return expand_.packed_bytes() + separable_.packed_bytes(); }

  // As Conv2d::run.
  void run(const Nhwc<const float>& input, const Nhwc<const float>* residual,
           const Nhwc<float>& output) const;
  // As Conv2d::run_nchw.
  void run_nchw(const float* input, int64_t n, int64_t h, int64_t w, const float* residual,
                float* output) const;

 private:
  // As SeparableConv2d::run_part.
  void run_part(const Nhwc<const float>& input, int64_t pad_top, const Nhwc<const float>* residual,
                const Nhwc<float>& output) const;
  Conv2d expand_;
  SeparableConv2d separable_;
};

}  // namespace pyvision
