// SPDX-License-Identifier: Apache-2.0
#include "ops/clahe/clahe.h"
#include "simd/gather-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Products and sums are rounded one by one, never fused: every ISA gives the same bits, which are OpenCV's.
inline void look_up(const uint8_t* x, const int32_t* quads, const float* across, float down, int64_t n,
                    uint8_t* y) {
  const F32 one = F32::set(1.0f), upper = F32::set(1 - down), lower = F32::set(down);
  const I32 byte = I32::set(255);
  for_each_vector<float>(n, [&](int64_t i, int lanes) {
    const I32 quad = gather(quads, I32::load_u8_n(x + i, lanes));
    const F32 right = load_lanes(across + i, lanes), left = one - right;
    const F32 above = to_f32(quad & byte) * left + to_f32(shift_right<8>(quad) & byte) * right;
    const F32 below = to_f32(shift_right<16>(quad) & byte) * left + to_f32(shift_right<24>(quad)) * right;
    to_i32(round(above * upper + below * lower)).store_u8_n(y + i, lanes);
  });
}

const ClaheKernels clahe = {F32::kIsaName, look_up};

}  // namespace pyvision::PYVISION_ISA_NS
