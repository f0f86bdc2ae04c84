// SPDX-License-Identifier: Apache-2.0
// The activations over F32, one at a time and over rows. Formulas: torch.nn.functional's.
#pragma once

#include "core/activation.h"
#include "simd/math-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Cheap ones take a few instructions and no register beyond constants: a GEMM applies them before it stores.
inline bool is_cheap(Activation kind) { return kind <= Activation::kHardSwish; }

// Calls body(f) with f: F32 -> F32 for the activation, so that a loop inside `body` has no branch in it.
// Always inlined, or what `body` captures would leave its registers. An activation that is not cheap is left
// to the caller: identity.
template <class Body>
[[gnu::always_inline]] inline void with_cheap_activation(const ActivationParams& params, Body body) {
  const F32 zero = F32::zero(), six = F32::set(6.0f), sixth = F32::set(params.sixth);
  const auto hard_sigmoid = [=](F32 x) { return max(zero, min(six, x + F32::set(3.0f))) * sixth; };
  switch (params.kind) {
    case Activation::kRelu:
      return body([=](F32 x) { return max(zero, x); });
    case Activation::kRelu6:
      return body([=](F32 x) { return max(zero, min(six, x)); });
    case Activation::kLeakyRelu: {
      const F32 slope = F32::set(params.slope);
      return body([=](F32 x) { return select(x < zero, x * slope, x); });
    }
    case Activation::kHardSigmoid:
      return body(hard_sigmoid);
    case Activation::kHardSwish:
      return body([=](F32 x) { return x * hard_sigmoid(x); });
    default:
      return body([](F32 x) { return x; });
  }
}

template <class Body>
inline void with_activation(const ActivationParams& params, Body body) {
  switch (params.kind) {
    case Activation::kSigmoid:
      return body([](F32 x) { return sigmoid(x); });
    case Activation::kSilu:
      return body([](F32 x) { return x * sigmoid(x); });
    case Activation::kTanh:
      return body([](F32 x) { return tanh(x); });
    case Activation::kGelu:
      return body([](F32 x) {
        return F32::set(0.5f) * x * (F32::set(1.0f) + erf(x * F32::set(0.70710678118654752f)));
      });
    default:
      return with_cheap_activation(params, body);
  }
}

// y[i] = f(x[i]) for i in [0, n); x and y may be the same.
inline void activate(const ActivationParams& params, const float* x, float* y, int64_t n) {
  with_activation(params, [=](auto f) {
    int64_t i = 0;
    for (; i + F32::kLanes <= n; i += F32::kLanes) f(F32::load(x + i)).store(y + i);
    if (i < n) f(F32::load_n(x + i, static_cast<int>(n - i))).store_n(y + i, static_cast<int>(n - i));
  });
}

// What with_cheap_activation left undone, over `count` pixels of `channels` channels while they are in L1.
// (Inlined into every kernel, the exponentials would cost more to compile than this second pass costs to
// run.)
inline void finish_exponential(const ActivationParams& params, float* pixel, int64_t stride, int64_t count,
                               int64_t channels) {
  if (is_cheap(params.kind)) return;
  if (stride == channels) return activate(params, pixel, pixel, count * channels);
  for (int64_t i = 0; i < count; ++i) activate(params, pixel + i * stride, pixel + i * stride, channels);
}

}  // namespace pyvision::PYVISION_ISA_NS
