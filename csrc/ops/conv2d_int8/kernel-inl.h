// SPDX-License-Identifier: Apache-2.0
#include "conv/depthwise_int8-inl.h"
#include "conv/int8-inl.h"
#include "ops/conv2d_int8/conv2d_int8.h"

namespace pyvision::PYVISION_ISA_NS {

const Int8Kernels conv2d_int8 = {
    F32::kIsaName,
    {kRowTile, kPanelWidth, kTileStride, Int8Product::kDepth},
    pack_int8,
    run_tiles<WindowProducer<CopyInt8<uint8_t>>>,
    run_tiles<WindowProducer<CopyInt8<float>>>,
    packed_depthwise_int8,
    pack_depthwise_int8,
    depthwise_int8<uint8_t>,
    depthwise_int8<float>,
};

}  // namespace pyvision::PYVISION_ISA_NS
