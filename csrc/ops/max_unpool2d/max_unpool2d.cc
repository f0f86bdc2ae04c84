// SPDX-License-Identifier: Apache-2.0
#include "ops/max_unpool2d/max_unpool2d.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {

template <class T>
void max_unpool2d(const Nhwc<const T>& x, const int64_t* indices, const Nhwc<T>& y) {
  constexpr int64_t kChannels = 64 / sizeof(T);  // a cache line of each pixel, which no other thread writes
  const int64_t pixels = x.h * x.w, places = y.h * y.w, blocks = (x.c + kChannels - 1) / kChannels;
  if (y.n * places * y.c == 0) return;
  parallel_for(x.n * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / blocks, c = i % blocks * kChannels;  // [0, n), [0, c)
      const int64_t count = std::min(kChannels, x.c - c);
      T* const plane = y.at(n, 0, 0) + c;
      for (int64_t p = 0; p < places; ++p) std::fill_n(plane + p * y.c, count, T(0));
      for (int64_t p = n * pixels; p < (n + 1) * pixels; ++p)
        for (int64_t k = 0; k < count; ++k)
          plane[indices[p * x.c + c + k] * y.c + k] = x.data[p * x.c + c + k];
    }
  });
}

template <class T>
void max_unpool2d_backward(const Nhwc<const T>& grad_y, const int64_t* indices, const Nhwc<T>& grad_x) {
  const int64_t pixels = grad_x.h * grad_x.w, c = grad_x.c;
  if (grad_x.n * pixels * c == 0) return;
  parallel_for(grad_x.n * pixels, std::max<int64_t>(1, (1 << 14) / c), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const T* const plane = grad_y.at(p / pixels, 0, 0);
      for (int64_t k = 0; k < c; ++k) grad_x.data[p * c + k] = plane[indices[p * c + k] * c + k];
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                     \
  template void max_unpool2d(const Nhwc<const T>&, const int64_t*, const Nhwc<T>&); \
  template void max_unpool2d_backward(const Nhwc<const T>&, const int64_t*, const Nhwc<T>&);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
