// SPDX-License-Identifier: Apache-2.0
// From pixels to a network's input on the device: what csrc/ops/prepare_image/prepare_image.h says, into f32,
// f16 or bf16.
#pragma once

#include "common/device.h"
#include "core/tensor.h"
#include "ops/prepare_image/params.h"

namespace pyvision::cuda {

// output: (out_h, out_w, 3), dense, of kF32, kF16 or kBf16
void prepare_image(const char* op, const Stream& stream, const ImageView& image,
                   const PrepareImageParams& params, DType dtype, void* output);

}  // namespace pyvision::cuda
