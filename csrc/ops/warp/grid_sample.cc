// SPDX-License-Identifier: Apache-2.0
#include "ops/warp/grid_sample.h"

#include <algorithm>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/warp/warp.h"

namespace pyvision {
namespace {

template <class T>
const GridSampleKernels<T>& kernels() {
  if constexpr (std::is_same_v<T, float>)
    return warp_kernels().grid_sample_f32;
  else
    return warp_kernels().grid_sample_f64;
}

template <class T>
GridImage<T> image_of(const Nhwc<const T>& x, int64_t n, int64_t channel) {
  return {x.at(n, 0, 0) + channel, x.h, x.w, x.stride_h, x.stride_w};
}

}  // namespace

template <class T>
void grid_sample(const GridSampleParams& params, const Nhwc<const T>& x, const T* grid, const Nhwc<T>& y) {
  const GridSampleKernels<T>& kernel = kernels<T>();
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(1, y.w * y.c));
  parallel_for(y.n * y.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)  // [0, n * h)
      kernel.forward(params, image_of(x, i / y.h, 0), grid + 2 * i * y.w, y.w, y.c, y.at(i / y.h, i % y.h, 0),
                     y.stride_w);
  });
}

template <class T>
void grid_sample_backward(const GridSampleParams& params, const Nhwc<const T>& x, const T* grid,
                          const Nhwc<const T>& grad, T* grad_x, T* grad_grid) {
  // Images and channels are shared out, outputs are not: each sum over these has one order. What positions
  // get is summed per share first, and then over the shares.
  constexpr int64_t kShare = 32;  // channels: two vectors and more
  const int64_t shares = (x.c + kShare - 1) / kShare, count = grad.h * grad.w;
  if (shares == 0) {
    std::fill_n(grad_grid, x.n * count * 2, T{0});
    return;
  }
  const AlignedBuffer memory(shares == 1 ? 0 : static_cast<size_t>(shares * x.n * count * 2) * sizeof(T));
  T* const parts = shares == 1 ? grad_grid : memory.as<T>();
  const GridSampleKernels<T>& kernel = kernels<T>();
  parallel_for(x.n * shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / shares, share = i % shares, channel = share * kShare;
      kernel.backward(params, image_of(x, n, channel), grid + 2 * n * count, grad.at(n, 0, 0) + channel,
                      grad.stride_w, count, std::min(kShare, x.c - channel),
                      grad_x + n * x.stride_n + channel, parts + (share * x.n + n) * count * 2);
    }
  });
  if (shares == 1) return;
  parallel_for(x.n * count * 2, 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T sum = 0;
      for (int64_t share = 0; share < shares; ++share) sum += parts[share * x.n * count * 2 + i];
      grad_grid[i] = sum;
    }
  });
}

#define PYVISION_GRID_SAMPLE(T)                                                                       \
  template void grid_sample(const GridSampleParams&, const Nhwc<const T>&, const T*, const Nhwc<T>&); \
  template void grid_sample_backward(const GridSampleParams&, const Nhwc<const T>&, const T*,         \
                                     const Nhwc<const T>&, T*, T*);
PYVISION_GRID_SAMPLE(float)
PYVISION_GRID_SAMPLE(double)
#undef PYVISION_GRID_SAMPLE

}  // namespace pyvision
