// SPDX-License-Identifier: Apache-2.0
#include "pool2d.cuh"

#include "common/launch.cuh"
#include "common/numbers.cuh"
#include "pool_windows.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct Pool {
  const T* input;
  Axis rows, columns;
  int64_t channels;
  Divisor divisor;
  T* output;
  int64_t* places;
  int64_t vectors, total;  // of channels in a pixel, of the output
};

// A thread: kVec channels of one output pixel. Three blocks, so 80 registers a thread: left to itself, ptxas
// takes 48 and spills two.
template <class T, int kVec, Pooling kKind>
__global__ void __launch_bounds__(kThreads, 3) pool2d_kernel(Pool<T> job) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= job.total) return;
  const int64_t vector = index % job.vectors, pixel = index / job.vectors;  // pixel: [0, n * out_h * out_w)
  const int64_t ow = pixel % job.columns.out, oh = pixel / job.columns.out % job.rows.out;
  const int64_t image = pixel / job.columns.out / job.rows.out;
  constexpr bool kAdaptive = kKind == Pooling::kAdaptiveAverage;
  const Taps rows = kAdaptive ? job.rows.adaptive_window(oh) : job.rows.window(oh);
  const Taps columns = kAdaptive ? job.columns.adaptive_window(ow) : job.columns.window(ow);
  const T* const map =
      job.input + image * job.rows.extent * job.columns.extent * job.channels + vector * kVec;

  constexpr bool kPlaces = kKind == Pooling::kMaximumPlaces;
  constexpr bool kMaximum = kKind == Pooling::kMaximum || kPlaces;
  float result[kVec];
  int64_t place[kPlaces ? kVec : 1] = {};
  for (int c = 0; c < kVec; ++c) result[c] = kMaximum ? -INFINITY : 0;
  if constexpr (kPlaces) {
    const bool any = rows.count > 0 && columns.count > 0;
    for (int c = 0; c < kVec; ++c) place[c] = any ? rows.first * job.columns.extent + columns.first : -1;
  }
  for (int64_t i = 0; i < rows.count; ++i) {
    const T* const row = map + (rows.first + i * rows.step) * job.columns.extent * job.channels;
    for (int64_t j = 0; j < columns.count; ++j) {
      float x[kVec];
      load_floats<kVec>(row + (columns.first + j * columns.step) * job.channels, x);
      for (int c = 0; c < kVec; ++c) {
        if (!kMaximum) {
          result[c] += x[c];
        } else if (x[c] > result[c] || x[c] != x[c]) {  // a NaN stays
          result[c] = x[c];
          if constexpr (kPlaces)
            place[c] = (rows.first + i * rows.step) * job.columns.extent + columns.first + j * columns.step;
        }
      }
    }
  }
  if (!kMaximum) {
    const float divisor = job.divisor.of(rows, columns);
    for (int c = 0; c < kVec; ++c) result[c] /= divisor;
  }
  store_floats<kVec>(result, job.output + pixel * job.channels + vector * kVec);
  if constexpr (kPlaces)
    for (int c = 0; c < kVec; ++c) job.places[pixel * job.channels + vector * kVec + c] = place[c];
}

template <class T, int kVec>
auto kernel_of(Pooling kind) {
  if (kind == Pooling::kMaximum) return pool2d_kernel<T, kVec, Pooling::kMaximum>;
  if (kind == Pooling::kMaximumPlaces) return pool2d_kernel<T, kVec, Pooling::kMaximumPlaces>;
  if (kind == Pooling::kAverage) return pool2d_kernel<T, kVec, Pooling::kAverage>;
  return pool2d_kernel<T, kVec, Pooling::kAdaptiveAverage>;
}

template <class T>
void run(const char* op, const Stream& stream, const Pool2dProblem& p) {
  Pool<T> job = {};
  job.input = static_cast<const T*>(p.input);
  job.rows = rows_of(p);
  job.columns = columns_of(p);
  job.channels = p.channels;
  job.divisor = {p.params.count_include_pad, p.params.divisor_override};
  job.output = static_cast<T*>(p.output);
  job.places = p.places;
  const bool packed = in_packs<T>(p.channels, p.input, p.output);
  job.vectors = p.channels / (packed ? kPack<T> : 1);
  job.total = p.n * p.out_h * p.out_w * job.vectors;
  launch(op, stream, {blocks_of(job.total, kThreads), kThreads},
         packed ? kernel_of<T, kPack<T>>(p.kind) : kernel_of<T, 1>(p.kind), job);
}

}  // namespace

void pool2d(const char* op, const Stream& stream, const Pool2dProblem& problem) {
  with_float(problem.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, problem); });
}

}  // namespace pyvision::cuda
