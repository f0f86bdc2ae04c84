// SPDX-License-Identifier: Apache-2.0
// pixel_shuffle: the sub-pixel step of Shi et al., "Real-time single image and video super-resolution using
// an efficient sub-pixel convolutional neural network", 2016, and its inverse, as torch's:
//   fine[n, c, h * r + i, w * r + j] = coarse[n, (c * r + i) * r + j, h, w]   i, j in [0, r)
#pragma once

#include <cstdint>

#include "ops/pixel_shuffle/params.h"

namespace pyvision {

// coarse: (n, channels * factor^2, h, w), fine: (n, channels, h * factor, w * factor), dense, of elements of
// `size` bytes: 1, 2, 4 or 8
void pixel_shuffle(const PixelShuffle& job, int64_t size, const void* coarse, void* fine);
void pixel_unshuffle(const PixelShuffle& job, int64_t size, const void* fine, void* coarse);

}  // namespace pyvision
