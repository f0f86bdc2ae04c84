// SPDX-License-Identifier: Apache-2.0
#define PYVISION_ISA_NS avx512_vpopcntdq
#include "simd/avx512.h"
//
#include "ops/match/bits-inl.h"

namespace pyvision::avx512_vpopcntdq {

const BitMatchKernels match_bits = {F32::kIsaName, Words::kLanes, match_bit_rows};

}  // namespace pyvision::avx512_vpopcntdq
