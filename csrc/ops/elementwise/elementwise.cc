// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise/elementwise.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {
namespace {

// An operand seen with y's extents: axes of extent 1 repeat.
Nhwc<const float> expand(Nhwc<const float> x, const Nhwc<float>& y) {
  if (x.n == 1) x.stride_n = 0;
  if (x.h == 1) x.stride_h = 0;
  if (x.w == 1) x.stride_w = 0;
  x.n = y.n, x.h = y.h, x.w = y.w;
  return x;
}

template <class T>
bool dense(const Nhwc<T>& x) {
  return (x.w == 1 || x.stride_w == x.c) && (x.h == 1 || x.stride_h == x.w * x.c) &&
         (x.n == 1 || x.stride_n == x.h * x.w * x.c);
}

// Calls the kernel until all of y is done, in parallel: stretches of elements where everything is dense, of
// pixels where they lie at constant distances, else rows.
template <class Kernel, class... Operands>
void for_each_run(Kernel kernel, const ActivationParams& f, const Nhwc<float>& y,
                  const Operands&... operands) {
  constexpr int64_t kChunk = 1 << 14;  // elements: a few microseconds, and whole cache lines
  const int64_t elements = y.pixels() * y.c;
  if (elements == 0) return;
  if (dense(y) && (dense(operands) && ...)) {
    parallel_for(elements, kChunk, [&](int64_t begin, int64_t end) {
      kernel(f, ConstRow{operands.data + begin, 0}..., PixelRow<float>{y.data + begin, 0}, 1, end - begin);
    });
    return;
  }
  if (y.uniform() && (operands.uniform() && ...)) {
    parallel_for(y.pixels(), kChunk / y.c, [&](int64_t begin, int64_t end) {
      kernel(f, ConstRow{operands.data + begin * operands.stride_w, operands.stride_w}...,
             PixelRow<float>{y.data + begin * y.stride_w, y.stride_w}, end - begin, y.c);
    });
    return;
  }
  const int64_t grain = kChunk / (y.w * y.c);
  parallel_for(y.n * y.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / y.h, h = i % y.h;  // [0, n), [0, h)
      kernel(f, ConstRow{operands.at(n, h, 0), operands.stride_w}...,
             PixelRow<float>{y.at(n, h, 0), y.stride_w}, y.w, y.c);
    }
  });
}

}  // namespace

void activate(const ActivationParams& f, const Nhwc<const float>& x, const Nhwc<float>& y) {
  for_each_run(elementwise_kernels().activate, f, y, x);
}

void add(const Nhwc<const float>& a, const Nhwc<const float>& b, const ActivationParams& f,
         const Nhwc<float>& y) {
  for_each_run(elementwise_kernels().add, f, y, a, expand(b, y));
}

void mul(const Nhwc<const float>& a, const Nhwc<const float>& b, const ActivationParams& f,
         const Nhwc<float>& y) {
  for_each_run(elementwise_kernels().mul, f, y, a, expand(b, y));
}

void mul_add(const Nhwc<const float>& a, const Nhwc<const float>& b, const Nhwc<const float>& c,
             const ActivationParams& f, const Nhwc<float>& y) {
  for_each_run(elementwise_kernels().mul_add, f, y, a, expand(b, y), expand(c, y));
}

}  // namespace pyvision
