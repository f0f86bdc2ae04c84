// SPDX-License-Identifier: Apache-2.0
// Vec<double> with one lane: bodies templated on the type take f64 without a second text. It exists for
// gradient checks, not for speed. Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

#include <cstdint>

namespace pyvision::PYVISION_ISA_NS {

template <>
struct Vec<double> {
  static constexpr int kLanes = 1;
  double v;
  static Vec zero() { return {0.0}; }
  static Vec set(double x) { return {x}; }
  static Vec load(const double* p) { return {*p}; }
  static Vec load_n(const double* p, int n) { return {n > 0 ? *p : 0.0}; }
  void store(double* p) const { *p = v; }
  void store_n(double* p, int n) const {
    if (n > 0) *p = v;
  }
};
using F64 = Vec<double>;
inline F64 operator+(F64 a, F64 b) { return {a.v + b.v}; }
inline F64 operator-(F64 a, F64 b) { return {a.v - b.v}; }
inline F64 operator*(F64 a, F64 b) { return {a.v * b.v}; }
inline F64 operator/(F64 a, F64 b) { return {a.v / b.v}; }
inline F64 operator-(F64 a) { return {-a.v}; }
inline F64 fma(F64 a, F64 b, F64 c) { return {a.v * b.v + c.v}; }
// min and max return the second argument when either is NaN, as the other vectors' do.
inline F64 min(F64 a, F64 b) { return {a.v < b.v ? a.v : b.v}; }
inline F64 max(F64 a, F64 b) { return {a.v > b.v ? a.v : b.v}; }
inline F64 abs(F64 a) { return {__builtin_fabs(a.v)}; }
inline F64 exp(F64 a) { return {__builtin_exp(a.v)}; }
inline double reduce_add(F64 a) { return a.v; }
inline double reduce_max(F64 a) { return a.v; }

struct MaskF64 {
  bool m;
};
inline MaskF64 operator<(F64 a, F64 b) { return {a.v < b.v}; }
inline MaskF64 operator<=(F64 a, F64 b) { return {a.v <= b.v}; }
inline MaskF64 operator==(F64 a, F64 b) { return {a.v == b.v}; }
inline MaskF64 operator&(MaskF64 a, MaskF64 b) { return {a.m && b.m}; }
inline MaskF64 operator|(MaskF64 a, MaskF64 b) { return {a.m || b.m}; }
inline F64 select(MaskF64 m, F64 a, F64 b) { return m.m ? a : b; }
inline uint32_t bits(MaskF64 m) { return m.m; }

}  // namespace pyvision::PYVISION_ISA_NS
