// SPDX-License-Identifier: Apache-2.0
// DCNv3 and DCNv4 on the device: what csrc/ops/deform_conv3/deform_conv3.h says, of arrays in f32, f16 or
// bf16 with positions and sums in f32.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"

namespace pyvision::cuda {

// What of a pixel's offsets or masks belongs to one group: `group` items behind the one before.
struct DeformEntries {
  void* data = nullptr;
  int64_t pixel = 0, group = 0;  // items between pixels and groups
};

struct DeformConv3Problem {
  DType dtype = DType::kF32;    // of all arrays: kF32, kF16, kBf16
  const void* input = nullptr;  // (n, h, w, groups, group_channels)
  int64_t n = 0, h = 0, w = 0, groups = 1, group_channels = 0, out_h = 0, out_w = 0;
  int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1,
          dilation_w = 1;
  float offset_scale = 1;
  bool remove_center = false;
  DeformEntries offset, mask;

  int64_t taps() const { return kernel_h * kernel_w - (remove_center ? 1 : 0); }
};

struct DeformConv3Gradients {
  const void* output = nullptr;  // (n, out_h, out_w, groups, group_channels)
  void* input = nullptr;
  DeformEntries offset, mask;
  int64_t padding = 0;  // items behind a pixel's last mask, of DCNv4; they become 0
};

void deform_conv3(const char* op, const Stream& stream, const DeformConv3Problem& p, void* output);
size_t deform_conv3_backward_workspace_bytes(const char* op, const Stream& stream,
                                             const DeformConv3Problem& p);
void deform_conv3_backward(const char* op, const Stream& stream, const DeformConv3Problem& p,
                           const DeformConv3Gradients& grad, void* workspace);

}  // namespace pyvision::cuda
