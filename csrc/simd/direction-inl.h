// SPDX-License-Identifier: Apache-2.0
// Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

namespace pyvision::PYVISION_ISA_NS {

// Degrees in [0, 360) of the direction (x, y), within 1e-3: Abramowitz and Stegun, Handbook of Mathematical
// Functions, 4.4.49, for the eighth of the circle next to an axis.
inline F32 direction(F32 x, F32 y) {
  const F32 ax = abs(x), ay = abs(y), tiny = F32::set(1e-30f);
  const F32 t = min(ax, ay) / max(max(ax, ay), tiny), s = t * t;
  F32 p = F32::set(0.0208351f);
  p = fma(p, s, F32::set(-0.0851330f));
  p = fma(p, s, F32::set(0.1801410f));
  p = fma(p, s, F32::set(-0.3302995f));
  p = fma(p, s, F32::set(0.9998660f));
  F32 angle = p * t * F32::set(57.2957795f);
  angle = select(ax < ay, F32::set(90.0f) - angle, angle);
  angle = select(x < F32::zero(), F32::set(180.0f) - angle, angle);
  angle = select(y < F32::zero(), F32::set(360.0f) - angle, angle);
  return select(angle < F32::set(360.0f), angle, F32::zero());
}

}  // namespace pyvision::PYVISION_ISA_NS
