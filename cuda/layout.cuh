// SPDX-License-Identifier: Apache-2.0
// Batched transposition: (batch, rows, columns) -> (batch, columns, rows). With rows the channels and columns
// the pixels it takes NCHW to NHWC, the other way round it takes it back.
#pragma once

#include <cstdint>

#include "common/device.h"

namespace pyvision::cuda {

// Items of item_bytes: 1, 2, 4 or 8. x and y must not overlap.
void transpose(const char* op, const Stream& stream, const void* x, int64_t batch, int64_t rows,
               int64_t columns, size_t item_bytes, void* y);

}  // namespace pyvision::cuda
