// SPDX-License-Identifier: Apache-2.0
#include "ops/pool2d_backward/pool2d_backward.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {
namespace {

struct Range {
  int64_t begin, end;
};

// One axis of sliding windows, seen from a position in the image.
struct Axis {
  int64_t in, out, kernel, stride, before, after, dilation;

  // The windows that begin before `position` and end behind it.
  Range around(int64_t position) const {
    const int64_t at = position + before, late = at - dilation * (kernel - 1);
    return {late > 0 ? (late + stride - 1) / stride : 0, std::min(at / stride + 1, out)};
  }
  // How many pixels a window counts.
  int64_t area(int64_t window, bool count_include_pad) const {
    const int64_t start = window * stride - before, end = start + kernel;
    if (count_include_pad) return std::min(end, in + after) - start;
    return std::min(end, in) - std::max<int64_t>(start, 0);
  }
};

// One axis of windows that divide the image.
struct AdaptiveAxis {
  int64_t in, out;

  Range around(int64_t position) const { return {position * out / in, ((position + 1) * out + in - 1) / in}; }
  int64_t area(int64_t window) const { return ((window + 1) * in + out - 1) / out - window * in / out; }
};

// Calls add(h, w, oh, ow, grad, sum) for the windows (oh, ow) around each pixel (h, w); grad, sum: (c,)
template <class T, class RowAxis, class Add>
void pull(const RowAxis& rows, const RowAxis& columns, const Nhwc<const T>& dy, const Nhwc<T>& dx, Add add) {
  if (dx.pixels() * dx.c == 0) return;
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / (dx.w * dx.c));  // some 10 us
  parallel_for(dx.n * dx.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / dx.h, h = i % dx.h;  // [0, n), [0, h)
      const Range around_h = rows.around(h);
      for (int64_t w = 0; w < dx.w; ++w) {
        T* const sum = dx.at(n, h, w);
        std::fill_n(sum, dx.c, T{0});
        const Range around_w = columns.around(w);
        for (int64_t oh = around_h.begin; oh < around_h.end; ++oh)
          for (int64_t ow = around_w.begin; ow < around_w.end; ++ow) add(h, w, oh, ow, dy.at(n, oh, ow), sum);
      }
    }
  });
}

Axis vertical(const Pool2dParams& p, int64_t h) {
  return {h, p.out_h(h), p.kernel_h, p.stride_h, p.pad_top, p.pad_bottom, p.dilation_h};
}
Axis horizontal(const Pool2dParams& p, int64_t w) {
  return {w, p.out_w(w), p.kernel_w, p.stride_w, p.pad_left, p.pad_right, p.dilation_w};
}

template <class T>
void add_quotients(const T* grad, int64_t divisor, int64_t channels, T* sum) {
  const auto by = static_cast<T>(divisor);
  for (int64_t c = 0; c < channels; ++c) sum[c] += grad[c] / by;
}

}  // namespace

template <class T>
void max_pool2d_backward(const Pool2dParams& params, const Nhwc<const T>& dy, const int64_t* indices,
                         const Nhwc<T>& dx) {
  const Axis rows = vertical(params, dx.h), columns = horizontal(params, dx.w);
  pull(rows, columns, dy, dx, [&](int64_t h, int64_t w, int64_t, int64_t, const T* grad, T* sum) {
    const int64_t* const places = indices + (grad - dy.data);
    const int64_t here = h * dx.w + w;
    for (int64_t c = 0; c < dx.c; ++c) sum[c] += places[c] == here ? grad[c] : T{0};
  });
}

template <class T>
void avg_pool2d_backward(const Pool2dParams& params, const Nhwc<const T>& dy, const Nhwc<T>& dx) {
  const Axis rows = vertical(params, dx.h), columns = horizontal(params, dx.w);
  pull(rows, columns, dy, dx, [&](int64_t, int64_t, int64_t oh, int64_t ow, const T* grad, T* sum) {
    const int64_t area = rows.area(oh, params.count_include_pad) * columns.area(ow, params.count_include_pad);
    add_quotients(grad, params.divisor_override != 0 ? params.divisor_override : area, dx.c, sum);
  });
}

template <class T>
void adaptive_avg_pool2d_backward(const Nhwc<const T>& dy, const Nhwc<T>& dx) {
  const AdaptiveAxis rows = {dx.h, dy.h}, columns = {dx.w, dy.w};
  pull(rows, columns, dy, dx, [&](int64_t, int64_t, int64_t oh, int64_t ow, const T* grad, T* sum) {
    add_quotients(grad, rows.area(oh) * columns.area(ow), dx.c, sum);
  });
}

#define PYVISION_POOL2D_BACKWARD(T)                                                             \
  template void max_pool2d_backward(const Pool2dParams&, const Nhwc<const T>&, const int64_t*,  \
                                    const Nhwc<T>&);                                            \
  template void avg_pool2d_backward(const Pool2dParams&, const Nhwc<const T>&, const Nhwc<T>&); \
  template void adaptive_avg_pool2d_backward(const Nhwc<const T>&, const Nhwc<T>&);
PYVISION_POOL2D_BACKWARD(float)
PYVISION_POOL2D_BACKWARD(double)
#undef PYVISION_POOL2D_BACKWARD

}  // namespace pyvision
