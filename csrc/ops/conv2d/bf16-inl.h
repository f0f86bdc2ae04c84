// SPDX-License-Identifier: Apache-2.0
#include "conv/bf16-inl.h"
#include "ops/conv2d/kernels.h"

namespace pyvision::PYVISION_ISA_NS {

inline void bf16_to_f32(const Bf16* x, float* y, int64_t n) {
  for_each_vector<float>(n,
                         [&](int64_t i, int lanes) { store_lanes(load_f32_n(x + i, lanes), y + i, lanes); });
}

inline void f32_to_bf16(const float* x, Bf16* y, int64_t n) {
  for_each_vector<float>(n,
                         [&](int64_t i, int lanes) { store_as_n(load_lanes(x + i, lanes), y + i, lanes); });
}

// Maps stored as bf16 are convolved as they are where there are instructions for bf16.
constexpr auto direct_bf16() {
  if constexpr (Bf16Product::kDepth > 1)
    return run_tiles<WindowProducer<CopyToBf16<Bf16>>>;
  else
    return nullptr;
}

const Bf16Kernels conv2d_bf16 = {
    F32::kIsaName, {kRowTile, kPanelWidth, kTileStride, Bf16Product::kDepth},
    pack_bf16,     run_tiles<WindowProducer<CopyToBf16<float>>>,
    direct_bf16(), bf16_to_f32,
    f32_to_bf16,
};

}  // namespace pyvision::PYVISION_ISA_NS
