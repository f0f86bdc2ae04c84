// SPDX-License-Identifier: Apache-2.0
#include "ops/interpolate/interpolate.h"

#include <algorithm>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/interpolate/taps.h"

namespace pyvision {
namespace {

// Positions along one axis, in f32 arithmetic as torch's.
class Axis {
 public:
  Axis(const InterpolateParams& params, double stated_scale, int64_t in, int64_t out)
      : mode_(params.mode),
        align_corners_(params.align_corners),
        in_(in),
        scale_(interpolate_step(params, stated_scale, in, out)) {}

  struct Source {
    int64_t first, second;  // [0, in)
    float weight;           // of the second, [0, 1]
  };

  Source source(int64_t out) const {
    const auto o = static_cast<float>(out);
    const float last = static_cast<float>(in_ - 1);
    if (mode_ != InterpolateMode::kBilinear) {
      const float position = (mode_ == InterpolateMode::kNearest ? o : o + 0.5f) * scale_;
      // Compared as float: the product may lie beyond any integer.
      const int64_t nearest = position < last ? static_cast<int64_t>(position) : in_ - 1;
      return {nearest, nearest, 0.0f};
    }
    const float position = std::max(align_corners_ ? o * scale_ : (o + 0.5f) * scale_ - 0.5f, 0.0f);
    const int64_t first = position < last ? static_cast<int64_t>(position) : in_ - 1;
    const float weight = std::clamp(position - static_cast<float>(first), 0.0f, 1.0f);
    return {first, std::min(first + 1, in_ - 1), weight};
  }

 private:
  InterpolateMode mode_;
  bool align_corners_;
  int64_t in_;
  float scale_;
};

template <class T>
void interpolate_by_taps(const InterpolateParams& params, const Nhwc<const T>& x, const Nhwc<const T>* addend,
                         const Nhwc<T>& y) {
  if (y.pixels() * y.c == 0) return;  // however long its axes are
  resample(interpolate_taps<T>(params, params.scale_h, x.h, y.h),
           interpolate_taps<T>(params, params.scale_w, x.w, y.w), x, addend, y);
}

}  // namespace

void interpolate(const InterpolateParams& params, const Nhwc<const double>& x,
                 const Nhwc<const double>* addend, const Nhwc<double>& y) {
  interpolate_by_taps(params, x, addend, y);
}

template <class T>
void interpolate_backward(const InterpolateParams& params, const Nhwc<const T>& grad, const Nhwc<T>& grad_x) {
  if (grad_x.pixels() * grad_x.c == 0) return;
  const auto axis = [&](double scale, int64_t in, int64_t out) {
    return transposed(interpolate_taps<T>(params, scale, in, out), in);
  };
  resample<T>(axis(params.scale_h, grad_x.h, grad.h), axis(params.scale_w, grad_x.w, grad.w), grad, nullptr,
              grad_x);
}
template void interpolate_backward(const InterpolateParams&, const Nhwc<const float>&, const Nhwc<float>&);
template void interpolate_backward(const InterpolateParams&, const Nhwc<const double>&, const Nhwc<double>&);

void interpolate(const InterpolateParams& params, const Nhwc<const float>& x, const Nhwc<const float>* addend,
                 const Nhwc<float>& y) {
  if (y.pixels() * y.c == 0) return;
  if (is_wide(params)) return interpolate_by_taps(params, x, addend, y);
  const InterpolateKernels& kernels = interpolate_kernels();
  const Axis vertical(params, params.scale_h, x.h, y.h), horizontal(params, params.scale_w, x.w, y.w);
  const bool bilinear = params.mode == InterpolateMode::kBilinear;
  // One dimension at a time: half the arithmetic where an input pixel serves several outputs, and long rows
  // to blend where channels are few.
  const bool separable = bilinear && (y.w > x.w || x.c <= 4);
  const int64_t pixel = separable ? x.c : x.stride_w;
  const Scratch<InterpolateColumn> columns(y.w);
  for (int64_t ow = 0; ow < y.w; ++ow) {
    const Axis::Source source = horizontal.source(ow);
    columns[ow] = {source.first * pixel, source.second * pixel, source.weight};
  }
  const InterpolateColumn* const shared_columns = columns;
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / (y.w * y.c));  // about 5 us of copying each
  parallel_for(y.n * y.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / y.h, oh = i % y.h;  // [0, n), [0, h)
      const Axis::Source rows = vertical.source(oh);
      const float* add = addend == nullptr ? nullptr : addend->at(n, oh, 0);
      const int64_t add_step = addend == nullptr ? 0 : addend->stride_w;
      const float *top = x.at(n, rows.first, 0), *bottom = x.at(n, rows.second, 0);
      float* out = y.at(n, oh, 0);
      if (separable) {
        const Scratch<float> row(x.w * x.c);
        kernels.blend_rows(top, bottom, rows.weight, x.stride_w, row, x.w, x.c);
        kernels.linear(row, shared_columns, add, add_step, out, y.stride_w, y.w, y.c);
      } else if (bilinear) {
        kernels.bilinear(top, bottom, rows.weight, shared_columns, add, add_step, out, y.stride_w, y.w, y.c);
      } else {
        kernels.nearest(top, shared_columns, add, add_step, out, y.stride_w, y.w, y.c);
      }
    }
  });
}

}  // namespace pyvision
