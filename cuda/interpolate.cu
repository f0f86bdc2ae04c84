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
  int64_t in, out;
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

  // What output `out` takes of input `at`.
  __device__ __forceinline__ float weight(int64_t out, int64_t at) const {
    const Source from = source(out);
    return (from.first == at ? 1.0f - from.weight : 0.0f) + (from.second == at ? from.weight : 0.0f);
  }
  // The first output that reads input `at` or what is behind it; sources do not fall from output to output.
  __device__ __forceinline__ int64_t first_reader(int64_t at) const {
    int64_t begin = 0, end = out;
    while (begin < end) {
      const int64_t middle = begin + (end - begin) / 2;
      if (source(middle).second < at)
        begin = middle + 1;
      else
        end = middle;
    }
    return begin;
  }
};

template <class T, bool kBilinear>
struct Interpolation {
  const T* input;
  Axis<kBilinear> rows, columns;
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
  const Source row = job.rows.source(items.row % job.rows.out);
  const int64_t pitch = job.columns.in * job.channels;
  const T* const image = job.input + items.row / job.rows.out * job.rows.in * pitch;
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

// The same of the gradient: an input row's pixels sum what the outputs that read them have.
template <class T, int kVec, bool kPlanar, bool kBilinear>
__global__ void __launch_bounds__(kRowThreads) interpolate_backward_kernel(Interpolation<T, kBilinear> job) {
  const RowItems items(job.grid);
  const int64_t row = items.row % job.rows.in;
  const int64_t pitch = job.columns.out * job.channels;
  const T* const grad = job.input + items.row / job.rows.in * job.rows.out * pitch;
  T* const out = job.output + items.row * job.grid.items * kVec;
  const int64_t first_row = job.rows.first_reader(row);
  for (int item = items.first; item < items.end; item += items.step) {
    const int column = kPlanar ? item : item / job.vectors;
    const int channel = kPlanar ? 0 : item % job.vectors * kVec;
    const int64_t first_column = job.columns.first_reader(column);
    float sum[kVec] = {};
    for (int64_t oh = first_row; oh < job.rows.out && job.rows.source(oh).first <= row; ++oh) {
      const float of_row = job.rows.weight(oh, row);
      for (int64_t ow = first_column; ow < job.columns.out && job.columns.source(ow).first <= column; ++ow) {
        const float weight = of_row * job.columns.weight(ow, column);
        float dy[kVec];
        load_floats<kVec>(grad + oh * pitch + ow * job.channels + channel, dy);
#pragma unroll
        for (int i = 0; i < kVec; ++i) sum[i] = fmaf(dy[i], weight, sum[i]);
      }
    }
    store_floats<kVec>(sum, out + int64_t{item} * kVec);
  }
}

template <bool kBilinear>
Axis<kBilinear> axis_of(const InterpolateParams& q, double scale, int64_t in, int64_t out) {
  return {in, out, interpolate_step(q, scale, in, out), q.align_corners,
          q.mode == InterpolateMode::kNearestExact};
}

template <class T, bool kBilinear>
Interpolation<T, kBilinear> job_of(const InterpolateProblem& p, int64_t vectors, const void* from, void* to,
                                   const RowGrid& grid) {
  const InterpolateParams& q = p.params;
  return {static_cast<const T*>(from),
          axis_of<kBilinear>(q, q.scale_h, p.h, p.out_h),
          axis_of<kBilinear>(q, q.scale_w, p.w, p.out_w),
          static_cast<int>(p.channels),
          static_cast<int>(vectors),
          static_cast<T*>(to),
          grid};
}

template <class T, bool kBilinear>
void start(const char* op, const Stream& stream, const InterpolateProblem& p) {
  const bool packed = in_packs<T>(p.channels, p.input, p.output);
  const int64_t vectors = p.channels / (packed ? kPack<T> : 1);
  const auto job =
      job_of<T, kBilinear>(p, vectors, p.input, p.output, RowGrid(op, p.n * p.out_h, p.out_w * vectors));
  launch(op, stream, job.grid.shape(),
         packed            ? interpolate_kernel<T, kPack<T>, false, kBilinear>
         : p.channels == 1 ? interpolate_kernel<T, 1, true, kBilinear>
                           : interpolate_kernel<T, 1, false, kBilinear>,
         job);
}

template <class T, bool kBilinear>
void start_backward(const char* op, const Stream& stream, const InterpolateProblem& p, void* grad_input) {
  const bool packed = in_packs<T>(p.channels, p.output, grad_input);
  const int64_t vectors = p.channels / (packed ? kPack<T> : 1);
  const auto job =
      job_of<T, kBilinear>(p, vectors, p.output, grad_input, RowGrid(op, p.n * p.h, p.w * vectors));
  launch(op, stream, job.grid.shape(),
         packed            ? interpolate_backward_kernel<T, kPack<T>, false, kBilinear>
         : p.channels == 1 ? interpolate_backward_kernel<T, 1, true, kBilinear>
                           : interpolate_backward_kernel<T, 1, false, kBilinear>,
         job);
}

}  // namespace

void interpolate(const char* op, const Stream& stream, const InterpolateProblem& p, void* workspace) {
  if (is_wide(p.params)) return interpolate_wide(op, stream, p, workspace, nullptr);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    p.params.mode == InterpolateMode::kBilinear ? start<T, true>(op, stream, p)
                                                : start<T, false>(op, stream, p);
  });
}

void interpolate_backward(const char* op, const Stream& stream, const InterpolateProblem& p, void* workspace,
                          void* grad_input) {
  if (is_wide(p.params)) return interpolate_wide(op, stream, p, workspace, grad_input);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    p.params.mode == InterpolateMode::kBilinear ? start_backward<T, true>(op, stream, p, grad_input)
                                                : start_backward<T, false>(op, stream, p, grad_input);
  });
}

}  // namespace pyvision::cuda
