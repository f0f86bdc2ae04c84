// SPDX-License-Identifier: Apache-2.0
// Elementary functions, written once over F32. Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

#include <cfloat>

namespace pyvision::PYVISION_ISA_NS {

// e^x within 2 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7 (the first
// term left out is under 6e-9 there), scaled by 2^n in two steps so that subnormal results and 2^128 come out
// right. NaN stays NaN, because min and max return their second argument then.
inline F32 exp(F32 x) {
  const F32 clamped = max(F32::set(-104.0f), min(F32::set(89.0f), x));
  const F32 n = round(clamped * F32::set(1.44269504088896341f));
  F32 r = fma(n, F32::set(-0.693359375f), clamped);  // ln 2 in two parts, the first exact in 10 bits
  r = fma(n, F32::set(2.12194440e-4f), r);
  F32 p = F32::set(1.0f / 5040);
  p = fma(p, r, F32::set(1.0f / 720));
  p = fma(p, r, F32::set(1.0f / 120));
  p = fma(p, r, F32::set(1.0f / 24));
  p = fma(p, r, F32::set(1.0f / 6));
  p = fma(p, r, F32::set(0.5f));
  p = fma(p, r, F32::set(1.0f));
  p = fma(p, r, F32::set(1.0f));
  const F32 half = floor(n * F32::set(0.5f));
  const auto pow2 = [](F32 k) { return bits_as_f32(shift_left<23>(to_i32(k) + I32::set(127))); };
  return p * pow2(half) * pow2(n - half);
}

inline F32 sigmoid(F32 x) { return F32::set(1.0f) / (F32::set(1.0f) + exp(-x)); }

// For small |x| the odd Taylor polynomial, elsewhere 1 - 2 / (e^2|x| + 1) with the sign put back.
inline F32 tanh(F32 x) {
  const F32 one = F32::set(1.0f), two = F32::set(2.0f), a = abs(x), s = x * x;
  const F32 large = one - two / (exp(two * a) + one);
  F32 p = F32::set(62.0f / 2835);
  p = fma(p, s, F32::set(-17.0f / 315));
  p = fma(p, s, F32::set(2.0f / 15));
  p = fma(p, s, F32::set(-1.0f / 3));
  const F32 small = fma(p * s, x, x);
  return select(a < F32::set(0.25f), small, select(x < F32::zero(), -large, large));
}

// The error function within 2e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
inline F32 erf(F32 x) {
  const F32 one = F32::set(1.0f), a = abs(x);
  const F32 t = one / fma(F32::set(0.3275911f), a, one);
  F32 p = F32::set(1.061405429f);
  p = fma(p, t, F32::set(-1.453152027f));
  p = fma(p, t, F32::set(1.421413741f));
  p = fma(p, t, F32::set(-0.284496736f));
  p = fma(p, t, F32::set(0.254829592f));
  const F32 y = one - p * t * exp(-(a * a));
  return select(x < F32::zero(), -y, y);
}

}  // namespace pyvision::PYVISION_ISA_NS
