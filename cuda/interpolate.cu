// SPDX-License-Identifier: Apache-2.0
#include "interpolate.cuh"

#include "common/numbers.cuh"
#include "common/rows.cuh"

namespace pyvision::cuda {
namespace {

// Where an output reads along one axis.
struct Source {
  int64_t first, second;  // [0, in)
  float weight;           // of the second, [0, 1]
};

template <bool kBilinear>
struct Axis {
  int64_t in;
  float step;
  bool align_corners, exact;  // of bilinear, of nearest

  __device__ __forceinline__ Source source(int64_t out) const {
    const auto o = static_cast<float>(out), last = static_cast<float>(in - 1);
    if constexpr (kBilinear) {
      const float position = fmaxf(align_corners ? o * step : (o + 0.5f) * step - 0.5f, 0.0f);
      const int64_t first = position < last ? static_cast<int64_t>(position) : in - 1;
      const float weight = fminf(fmaxf(position - static_cast<float>(first), 0.0f), 1.0f);
      return {first, min(first + 1, in - 1), weight};
    } else {
      const float position = (exact ? o + 0.5f : o) * step;
      // Compared as float: the product may lie beyond any integer.
      const int64_t nearest = position < last ? static_cast<int64_t>(position) : in - 1;
      return {nearest, nearest, 0};
    }
  }
};

template <class T, bool kBilinear>
struct Interpolation {
  const T* input;
  Axis<kBilinear> rows, columns;
  int64_t out_h;
  int channels, vectors;  // of a pixel
  T* output;
  RowGrid grid;
};

__device__ __forceinline__ float blend(float a, float b, float weight) {
  return fmaf(b, weight, a * (1.0f - weight));
}

// A thread: kVec channels of some pixels of an output row; kPlanar: of one channel. Neighbours write
// neighbours, and read what lies side by side or at most a few steps apart: an input's line is fetched once
// from memory, what the next rows read of it again comes from L2.
template <class T, int kVec, bool kPlanar, bool kBilinear>
__global__ void __launch_bounds__(kRowThreads, 4) interpolate_kernel(Interpolation<T, kBilinear> job) {
  const RowItems items(job.grid);
  const Source row = job.rows.source(items.row % job.out_h);
  const int64_t pitch = job.columns.in * job.channels;
  const T* const image = job.input + items.row / job.out_h * job.rows.in * pitch;
  const T *const top = image + row.first * pitch, *const bottom = image + row.second * pitch;
  T* const out = job.output + items.row * job.grid.items * kVec;
  for (int item = items.first; item < items.end; item += items.step) {
    const int column = kPlanar ? item : item / job.vectors;
    const int channel = kPlanar ? 0 : item % job.vectors * kVec;
    const Source at = job.columns.source(column);
    const int64_t left = at.first * job.channels + channel;
    float y[kVec];
    load_floats<kVec>(top + left, y);
    if constexpr (kBilinear) {
      const int64_t right = at.second * job.channels + channel;
      float b[kVec], c[kVec], d[kVec];
      load_floats<kVec>(top + right, b);
      load_floats<kVec>(bottom + left, c);
      load_floats<kVec>(bottom + right, d);
#pragma unroll
      for (int i = 0; i < kVec; ++i)
        y[i] = blend(blend(y[i], b[i], at.weight), blend(c[i], d[i], at.weight), row.weight);
    }
    store_floats<kVec>(y, out + int64_t{item} * kVec);
  }
}

template <class T, bool kBilinear>
void start(const char* op, const Stream& stream, const InterpolateProblem& p) {
  const InterpolateParams& q = p.params;
  const bool packed = in_packs<T>(p.channels, p.input, p.output);
  const int64_t vectors = p.channels / (packed ? kPack<T> : 1);
  const auto axis = [&](double scale, int64_t in, int64_t out) {
    const bool exact = q.mode == InterpolateMode::kNearestExact;
    return Axis<kBilinear>{in, interpolate_step(q, scale, in, out), q.align_corners, exact};
  };
  const Interpolation<T, kBilinear> job = {
      static_cast<const T*>(p.input), axis(q.scale_h, p.h, p.out_h),
      axis(q.scale_w, p.w, p.out_w),  p.out_h,
      static_cast<int>(p.channels),   static_cast<int>(vectors),
      static_cast<T*>(p.output),      RowGrid(op, p.n * p.out_h, p.out_w * vectors)};
  launch(op, stream, job.grid.shape(),
         packed            ? interpolate_kernel<T, kPack<T>, false, kBilinear>
         : p.channels == 1 ? interpolate_kernel<T, 1, true, kBilinear>
                           : interpolate_kernel<T, 1, false, kBilinear>,
         job);
}

}  // namespace

void interpolate(const char* op, const Stream& stream, const InterpolateProblem& p) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    p.params.mode == InterpolateMode::kBilinear ? start<T, true>(op, stream, p)
                                                : start<T, false>(op, stream, p);
  });
}

}  // namespace pyvision::cuda
