// SPDX-License-Identifier: Apache-2.0
#include "conv/direct-inl.h"
#include "conv/separable-inl.h"
#include "ops/separable_conv2d/separable_conv2d.h"

namespace pyvision::PYVISION_ISA_NS {

const SeparableConv2dKernels separable_conv2d = {F32::kIsaName, kDepthwiseRows, kSeparablePixels,
                                                 run_tiles<DepthwiseProducer>};

}  // namespace pyvision::PYVISION_ISA_NS
