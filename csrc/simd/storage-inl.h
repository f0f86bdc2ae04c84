// SPDX-License-Identifier: Apache-2.0
// f32 lanes from and to memory of narrower types, by one name. Include after one of scalar.h, avx2.h,
// avx512.h.
#pragma once

#include "core/bf16.h"

namespace pyvision::PYVISION_ISA_NS {

// To nearest even; NaNs stay NaNs, quiet ones.
inline F32 round_to_bf16(F32 x) {
  const I32 bits = bits_as_i32(x), upper = I32::set(static_cast<int32_t>(0xffff0000u));
  const I32 odd = shift_right<16>(bits) & I32::set(1);
  const I32 rounded = bits + I32::set(0x7fff) + odd;
  return select(is_nan(x), bits_as_f32((bits | I32::set(0x400000)) & upper), bits_as_f32(rounded & upper));
}

inline F32 load_f32(const float* p) { return F32::load(p); }
inline F32 load_f32_n(const float* p, int n) { return F32::load_n(p, n); }
inline F32 load_f32(const uint8_t* p) { return F32::load_u8(p); }
inline F32 load_f32_n(const uint8_t* p, int n) { return F32::load_u8_n(p, n); }
inline F32 load_f32(const Bf16* p) { return bits_as_f32(shift_left<16>(I32::load_u16(&p->bits))); }
inline F32 load_f32_n(const Bf16* p, int n) {
  return bits_as_f32(shift_left<16>(I32::load_u16_n(&p->bits, n)));
}

inline void store_as(F32 x, float* p) { x.store(p); }
inline void store_as_n(F32 x, float* p, int n) { x.store_n(p, n); }
#if defined(__AVX512BF16__)  // takes subnormals for zeros, as the products do
inline void store_as(F32 x, Bf16* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}
inline void store_as_n(F32 x, Bf16* p, int n) {
  _mm256_mask_storeu_epi16(p, lane_mask(n), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}
#else
inline void store_as(F32 x, Bf16* p) { shift_right<16>(bits_as_i32(round_to_bf16(x))).store_u16(&p->bits); }
inline void store_as_n(F32 x, Bf16* p, int n) {
  shift_right<16>(bits_as_i32(round_to_bf16(x))).store_u16_n(&p->bits, n);
}
#endif
// x: integers in [0, 255]
inline void store_as(F32 x, uint8_t* p) { to_i32(x).store_u8(p); }
inline void store_as_n(F32 x, uint8_t* p, int n) { to_i32(x).store_u8_n(p, n); }

}  // namespace pyvision::PYVISION_ISA_NS
