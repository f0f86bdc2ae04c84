// SPDX-License-Identifier: Apache-2.0
#include "common/launch.cuh"
#include "pool_windows.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct PoolGradient {
  const T* grad_output;
  const int64_t* places;
  Axis rows, columns;
  int64_t channels;
  Divisor divisor;
  T* grad_input;
  int64_t vectors, total;  // of channels in a pixel, of the input
};

// A thread: kVec channels of one input pixel, which pulls from the few windows around it, row by row. Every
// byte of the gradient is written once and no window's is added to by two threads: nothing has to be zeroed
// before, and the order of the sum is fixed. Neighbouring threads read neighbouring packs; what windows that
// overlap read again is in L1 or L2.
template <class T, int kVec, Pooling kKind>
__global__ void __launch_bounds__(kThreads, 3) pool2d_backward_kernel(PoolGradient<T> job) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= job.total) return;
  const int64_t channel = index % job.vectors * kVec, pixel = index / job.vectors;  // pixel: [0, n * h * w)
  const int64_t w = pixel % job.columns.extent, h = pixel / job.columns.extent % job.rows.extent;
  const int64_t image = pixel / job.columns.extent / job.rows.extent;
  constexpr bool kAdaptive = kKind == Pooling::kAdaptiveAverage, kPlaces = kKind == Pooling::kMaximumPlaces;
  const WindowRange rows = kAdaptive ? job.rows.adaptive_around(h) : job.rows.around(h);
  const WindowRange columns = kAdaptive ? job.columns.adaptive_around(w) : job.columns.around(w);

  float sum[kVec] = {};
  for (int64_t oh = rows.first; oh < rows.end; ++oh) {
    for (int64_t ow = columns.first; ow < columns.end; ++ow) {
      const int64_t at = ((image * job.rows.out + oh) * job.columns.out + ow) * job.channels + channel;
      float grad[kVec];
      load_floats<kVec>(job.grad_output + at, grad);
      if constexpr (kPlaces) {
        const int64_t here = h * job.columns.extent + w;
        for (int c = 0; c < kVec; ++c) sum[c] += job.places[at + c] == here ? grad[c] : 0.0f;
      } else {
        const float divisor =
            kAdaptive ? job.divisor.of(job.rows.adaptive_window(oh), job.columns.adaptive_window(ow))
                      : job.divisor.of(job.rows.window(oh), job.columns.window(ow));
        for (int c = 0; c < kVec; ++c) sum[c] += grad[c] / divisor;
      }
    }
  }
  store_floats<kVec>(sum, job.grad_input + pixel * job.channels + channel);
}

template <class T, int kVec>
auto kernel_of(Pooling kind) {
  if (kind == Pooling::kMaximumPlaces) return pool2d_backward_kernel<T, kVec, Pooling::kMaximumPlaces>;
  if (kind == Pooling::kAverage) return pool2d_backward_kernel<T, kVec, Pooling::kAverage>;
  return pool2d_backward_kernel<T, kVec, Pooling::kAdaptiveAverage>;
}

}  // namespace

void pool2d_backward(const char* op, const Stream& stream, const Pool2dProblem& p, const void* grad_output,
                     void* grad_input) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    PoolGradient<T> job = {};
    job.grad_output = static_cast<const T*>(grad_output);
    job.places = p.places;
    job.rows = rows_of(p);
    job.columns = columns_of(p);
    job.channels = p.channels;
    job.divisor = {p.params.count_include_pad, p.params.divisor_override};
    job.grad_input = static_cast<T*>(grad_input);
    const bool packed = in_packs<T>(p.channels, grad_output, grad_input);
    job.vectors = p.channels / (packed ? kPack<T> : 1);
    job.total = p.n * p.h * p.w * job.vectors;
    launch(op, stream, {blocks_of(job.total, kThreads), kThreads},
           packed ? kernel_of<T, kPack<T>>(p.kind) : kernel_of<T, 1>(p.kind), job);
  });
}

}  // namespace pyvision::cuda
