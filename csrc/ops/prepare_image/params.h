// SPDX-License-Identifier: Apache-2.0
// The parameters of prepare_image.h, without its CPU kernels.
#pragma once

#include <array>
#include <cstdint>

#include "core/tensor.h"

namespace pyvision {

struct PrepareImageParams {
  int64_t out_h = 0, out_w = 0;
  int64_t top = 0, left = 0, region_h = 0, region_w = 0;  // where the image goes
  float mean[3] = {0, 0, 0}, stdev[3] = {1, 1, 1};        // in the output's channel order
  float pad = 0;
  bool bgr = false;  // the output's order; the image is RGB
};

// 8-bit pixels with any strides, in bytes. channels: 1 (grey, repeated), 3 (RGB) or 4 (the fourth is not
// read).
struct ImageView {
  const uint8_t* data;
  int64_t h, w, channels;
  int64_t stride_h, stride_w, stride_c;
};

// Of an image of shape (H, W), (H, W, 3) or (H, W, 4). Throw std::invalid_argument where arguments contradict
// each other.
ImageView image_view(const char* op, const Tensor& image);
// region: top, left, height, width
PrepareImageParams prepare_image_params(const char* op, const std::array<int64_t, 2>& size,
                                        const std::array<int64_t, 4>& region,
                                        const std::array<float, 3>& mean, const std::array<float, 3>& stdev,
                                        bool bgr, float pad);

}  // namespace pyvision
