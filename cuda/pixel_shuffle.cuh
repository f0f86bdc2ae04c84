// SPDX-License-Identifier: Apache-2.0
// What csrc/ops/pixel_shuffle/pixel_shuffle.h says, on the device.
#pragma once

#include "common/device.h"
#include "ops/pixel_shuffle/params.h"

namespace pyvision::cuda {

// Of the coarse map to the fine one, or back. Items of item_bytes: 1, 2, 4 or 8.
void pixel_shuffle(const char* op, const Stream& stream, const PixelShuffle& job, bool to_fine,
                   size_t item_bytes, const void* from, void* to);

}  // namespace pyvision::cuda
