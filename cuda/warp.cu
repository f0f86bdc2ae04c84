// SPDX-License-Identifier: Apache-2.0
#include "warp.cuh"

#include <type_traits>

#include "common/cubic.cuh"
#include "common/launch.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kPixels = 256;  // of a block, a thread each where positions are found

// The pixel in [0, n) that stands at i, or -1 for the border's value.
__device__ int resolved(BorderMode border, int i, int n) {
  if (i >= 0 && i < n) return i;
  const auto modulo = [i](int period) {
    const int rest = i % period;
    return rest < 0 ? rest + period : rest;
  };
  if (border == BorderMode::kConstant) return -1;
  if (border == BorderMode::kReplicate) return i < 0 ? 0 : n - 1;
  if (border == BorderMode::kWrap) return modulo(n);
  if (border == BorderMode::kReflect) {
    const int at = modulo(2 * n);
    return min(at, 2 * n - 1 - at);
  }
  if (n == 1) return 0;
  const int at = modulo(2 * n - 2);
  return min(at, 2 * n - 2 - at);
}

// Positions of outputs: (u, v) of (ow, oh).
__device__ inline void project(const double* h, int ow, int oh, double* u, double* v) {
  const double x = ow, y = oh, w = h[6] * x + h[7] * y + h[8];
  *u = (h[0] * x + h[1] * y + h[2]) / w;
  *v = (h[3] * x + h[4] * y + h[5]) / w;
}
struct Projection {
  double h[9];
  __device__ void operator()(int64_t, int ow, int oh, double* u, double* v) const {
    project(h, ow, oh, u, v);
  }
};
struct DeviceProjection {
  const double* h;
  __device__ void operator()(int64_t, int ow, int oh, double* u, double* v) const {
    project(h, ow, oh, u, v);
  }
};
struct PositionMap {
  const float *x, *y;
  int64_t step;
  __device__ void operator()(int64_t pixel, int, int, double* u, double* v) const {
    *u = x[pixel * step];
    *v = y[pixel * step];
  }
};

// Along one axis, of all samples of a block: where their taps lie and what they weigh. Weights of bilinear
// bytes are 256ths: integers are quicker than the conversion of four bytes to floats.
template <class T, int kTaps>
struct AxisTaps {
  using Weight = std::conditional_t<std::is_same_v<T, uint8_t> && kTaps == 2, int, float>;
  int at[kTaps][kPixels];
  Weight weight[kTaps][kPixels];

  __device__ void set(int slot, double position, int extent, BorderMode border) {
    constexpr double kFarthest = 1 << 25;
    // NaN becomes the limit.
    const double x = fmax(-kFarthest, fmin(position, kFarthest));
    const double below = kTaps == 1 ? rint(x) : floor(x);  // of two pixels as near the even one
    const int first = static_cast<int>(below) - (kTaps == 4);
    const auto f = static_cast<float>(x - below);
    for (int k = 0; k < kTaps; ++k) at[k][slot] = resolved(border, first + k, extent);
    if constexpr (kTaps == 4) {
      float w[4];
      cubic_weights(f, w);
      for (int k = 0; k < 4; ++k) weight[k][slot] = w[k];
    } else if constexpr (std::is_same_v<Weight, int>) {
      const auto far = static_cast<int>(f * 256.0f + 0.5f);
      weight[0][slot] = 256 - far, weight[1][slot] = far;
    } else if constexpr (kTaps == 2) {
      weight[0][slot] = 1.0f - f, weight[1][slot] = f;
    }
  }
};

__device__ __forceinline__ float as_stored(float x, float) { return x; }
__device__ __forceinline__ uint8_t as_stored(float x, uint8_t) {
  return static_cast<uint8_t>(rintf(fminf(fmaxf(x, 0.0f), 255.0f)));
}
__device__ __forceinline__ uint8_t as_stored(int x, uint8_t) {
  return static_cast<uint8_t>((x + (1 << 15)) >> 16);
}

template <class T, class Place>
struct Warp {
  const T* input;
  T* output;
  int h, w, out_w, channels;
  int64_t pixels;   // of an output
  unsigned blocks;  // of an output
  BorderMode border;
  BorderValues values;
  Place place;
};

// A block: kPixels neighbouring outputs of an image. Positions and borders are found once for each, by a
// thread of its own. Then a thread has one value, not one pixel: a warp stores whole lines whatever the
// number of channels, and the bytes it gathers lie side by side as far as the transform allows.
template <class T, int kTaps, class Place>
__global__ void __launch_bounds__(kPixels, kTaps == 4 ? 3 : 4) warp_kernel(Warp<T, Place> job) {
  __shared__ AxisTaps<T, kTaps> rows, columns;
  const int64_t image = blockIdx.x / job.blocks;
  const int64_t begin = int64_t{blockIdx.x % job.blocks} * kPixels;
  const auto count = static_cast<int>(min(int64_t{kPixels}, job.pixels - begin));
  const auto thread = static_cast<int>(threadIdx.x);
  if (thread < count) {
    const int64_t pixel = begin + thread;
    double u, v;
    job.place(pixel, static_cast<int>(pixel % job.out_w), static_cast<int>(pixel / job.out_w), &u, &v);
    rows.set(thread, v, job.h, job.border);
    columns.set(thread, u, job.w, job.border);
  }
  __syncthreads();
  const int64_t pitch = int64_t{job.w} * job.channels;
  const T* const map = job.input + image * job.h * pitch;
  T* const out = job.output + (image * job.pixels + begin) * job.channels;
  for (int i = thread; i < count * job.channels; i += kPixels) {
    const int slot = i / job.channels, c = i % job.channels;
    const auto pixel = [&](int r, int k) {
      const int y = rows.at[r][slot], x = columns.at[k][slot];
      return y < 0 || x < 0 ? static_cast<T>(job.values.value[job.values.count == 1 ? 0 : c])
                            : map[y * pitch + int64_t{x} * job.channels + c];
    };
    if constexpr (kTaps == 1) {
      out[i] = pixel(0, 0);
    } else {
      using Sum = typename AxisTaps<T, kTaps>::Weight;
      Sum sum = 0;
#pragma unroll
      for (int k = 0; k < kTaps; ++k) {
        Sum column = 0;
#pragma unroll
        for (int r = 0; r < kTaps; ++r) column += static_cast<Sum>(pixel(r, k)) * rows.weight[r][slot];
        sum += column * columns.weight[k][slot];
      }
      out[i] = as_stored(sum, T{});
    }
  }
}

// One thread: from output to input, as numbers of its own.
template <class T>
__global__ void prepare_transform(const T* matrix, int numbers, bool inverted, double* to) {
  double m[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  for (int i = 0; i < numbers; ++i) m[i] = static_cast<double>(matrix[i]);
  double adjugate[9], det = 1;
  for (int i = 0; i < 9; ++i) {
    const int row = i % 3, column = i / 3, r = (row + 1) % 3, s = (row + 2) % 3;
    const int c = (column + 1) % 3, d = (column + 2) % 3;
    adjugate[i] = m[3 * r + c] * m[3 * s + d] - m[3 * r + d] * m[3 * s + c];
  }
  if (!inverted) det = m[0] * adjugate[0] + m[1] * adjugate[3] + m[2] * adjugate[6];
  for (int i = 0; i < 9; ++i) to[i] = (inverted ? m[i] : adjugate[i]) / det;  // NaN where det is 0
}

template <class T, class Place>
void start(const char* op, const Stream& stream, const WarpProblem& p, const Place& place) {
  const int64_t pixels = int64_t{p.out_h} * p.out_w;
  const unsigned blocks = blocks_of(pixels, kPixels);
  const Warp<T, Place> job = {static_cast<const T*>(p.input),
                              static_cast<T*>(p.output),
                              p.h,
                              p.w,
                              p.out_w,
                              static_cast<int>(p.channels),
                              pixels,
                              blocks,
                              p.params.border,
                              p.border,
                              place};
  const auto kernel = p.params.mode == WarpMode::kNearest    ? warp_kernel<T, 1, Place>
                      : p.params.mode == WarpMode::kBilinear ? warp_kernel<T, 2, Place>
                                                             : warp_kernel<T, 4, Place>;
  launch(op, stream, {blocks_of(p.n * blocks, 1), kPixels}, kernel, job);
}

template <class Place>
void start_of_type(const char* op, const Stream& stream, const WarpProblem& p, const Place& place) {
  if (p.dtype == DType::kU8) return start<uint8_t>(op, stream, p, place);
  start<float>(op, stream, p, place);
}

}  // namespace

void warp_projective(const char* op, const Stream& stream, const WarpProblem& p, const double* transform) {
  Projection projection;
  for (int i = 0; i < 9; ++i) projection.h[i] = transform[i];
  start_of_type(op, stream, p, projection);
}

void warp_projective_by(const char* op, const Stream& stream, const WarpProblem& p,
                        const DeviceTransform& transform, void* workspace) {
  auto* const numbers = static_cast<double*>(workspace);
  const auto prepare = [&](auto zero) {
    using T = decltype(zero);
    launch(op, stream, {1, 1}, prepare_transform<T>, static_cast<const T*>(transform.matrix),
           static_cast<int>(3 * transform.rows), transform.inverted, numbers);
  };
  if (transform.dtype == DType::kF64)
    prepare(0.0);
  else
    prepare(0.0f);
  start_of_type(op, stream, p, DeviceProjection{numbers});
}

void warp_map(const char* op, const Stream& stream, const WarpProblem& p, const float* map_x,
              const float* map_y, int64_t step) {
  start_of_type(op, stream, p, PositionMap{map_x, map_y, step});
}

}  // namespace pyvision::cuda
