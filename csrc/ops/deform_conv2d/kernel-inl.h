// SPDX-License-Identifier: Apache-2.0
#include "conv/deform-inl.h"
#include "conv/direct-inl.h"
#include "ops/deform_conv2d/deform_conv2d.h"

namespace pyvision::PYVISION_ISA_NS {

inline void sample_f64(const DeformField<double>& field, int64_t row, int64_t first, int64_t channels,
                       double* to) {
  sample_pixel(field, DeformPixel<double>(field, row), first, channels, 0, field.taps() * channels, to);
}

const DeformConv2dKernels deform_conv2d = {F32::kIsaName, run_tiles<BilinearProducer>, sample_f64};

}  // namespace pyvision::PYVISION_ISA_NS
