// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution, NHWC: every thread has 16 bytes of channels and a run of output pixels of one row.
// Each input vector of the run's window is loaded once and used for all taps it meets.
//
//   run of 4, 3x3, stride 1:   x x x x x x      6 loads and 4 * 3 multiply-adds a row of taps
//                              |-0-|
//                                |-1-|
//                                  |-2-|
//                                    |-3-|
#include "common/launch.cuh"
#include "common/numbers.cuh"
#include "conv2d.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRun =
    4;  // 8 channels of 4 pixels are 32 sums: half of what a thread may hold at full occupancy

template <class T>
struct Depthwise {
  ConvGeometry g;
  const T* input;
  const T* weight;  // (kernel_h, kernel_w, out_channels)
  const T* bias;
  T* output;
  ActivationParams activation;
  int vectors;        // of channels in a pixel
  int vector_blocks;  // thread blocks side by side in one pixel
  int runs, run_blocks;

  // The thread's place: blockIdx.x counts rows of the output, then runs, then vectors.
  __device__ bool locate(int* vector, int* run, int* oh, int64_t* image) const {
    const int64_t block = blockIdx.x;
    *vector = static_cast<int>(block % vector_blocks) * static_cast<int>(blockDim.x) +
              static_cast<int>(threadIdx.x);
    const int64_t rest = block / vector_blocks;  // [0, n * out_h * run_blocks)
    *run = static_cast<int>(rest % run_blocks) * static_cast<int>(blockDim.y) + static_cast<int>(threadIdx.y);
    *oh = static_cast<int>(rest / run_blocks % g.out_h);
    *image = rest / run_blocks / g.out_h;
    return *vector < vectors && *run < runs;
  }
};

template <int kVec, class T>
__device__ void finish(const Depthwise<T>& job, int64_t image, int oh, int ow, int channel,
                       float (&sum)[kVec]) {
  if (job.bias != nullptr) {
    float bias[kVec];
    load_floats<kVec>(job.bias + channel, bias);
    for (int i = 0; i < kVec; ++i) sum[i] += bias[i];
  }
  for (int i = 0; i < kVec; ++i) sum[i] = activate(job.activation, sum[i]);
  const ConvGeometry& g = job.g;
  store_floats<kVec>(sum, job.output + ((image * g.out_h + oh) * g.out_w + ow) * g.out_channels + channel);
}

// kKernel x kKernel taps, dilation 1, one output channel to an input channel.
template <class T, int kKernel, int kStride>
__global__ void __launch_bounds__(kThreads, 2) depthwise_run(Depthwise<T> job) {
  constexpr int kVec = kPack<T>, kWindow = (kRun - 1) * kStride + kKernel;
  const ConvGeometry& g = job.g;
  int vector, run, oh;
  int64_t image;
  if (!job.locate(&vector, &run, &oh, &image)) return;
  const int channel = vector * kVec, ow = run * kRun;
  const int left = ow * kStride - g.pad_left, top = oh * kStride - g.pad_top;
  float sum[kRun][kVec] = {};
  for (int kh = 0; kh < kKernel; ++kh) {
    const int ih = top + kh;
    if (ih < 0 || ih >= g.h) continue;
    float weight[kKernel][kVec];
#pragma unroll
    for (int kw = 0; kw < kKernel; ++kw)
      load_floats<kVec>(job.weight + static_cast<int64_t>(kh * kKernel + kw) * g.out_channels + channel,
                        weight[kw]);
    const T* const row = job.input + (image * g.h + ih) * g.w * g.in_channels + channel;
#pragma unroll
    for (int column = 0; column < kWindow; ++column) {
      const int iw = left + column;
      if (iw < 0 || iw >= g.w) continue;
      float x[kVec];
      load_floats<kVec>(row + static_cast<int64_t>(iw) * g.in_channels, x);
#pragma unroll
      for (int pixel = 0; pixel < kRun; ++pixel) {
        const int kw = column - pixel * kStride;
        if (kw < 0 || kw >= kKernel) continue;
#pragma unroll
        for (int i = 0; i < kVec; ++i) sum[pixel][i] = fmaf(weight[kw][i], x[i], sum[pixel][i]);
      }
    }
  }
#pragma unroll
  for (int pixel = 0; pixel < kRun; ++pixel)
    if (ow + pixel < g.out_w) finish(job, image, oh, ow + pixel, channel, sum[pixel]);
}

// Any kernel, stride and dilation, one pixel a thread; with kVec 1 any number of outputs to an input channel.
template <class T, int kVec>
__global__ void __launch_bounds__(kThreads, 2) depthwise_general(Depthwise<T> job) {
  const ConvGeometry& g = job.g;
  int vector, ow, oh;
  int64_t image;
  if (!job.locate(&vector, &ow, &oh, &image)) return;
  const int channel = vector * kVec, from = channel / g.group_out;
  float sum[kVec] = {};
  for (int kh = 0; kh < g.kernel_h; ++kh) {
    const int64_t ih = int64_t{oh} * g.stride_h - g.pad_top + int64_t{kh} * g.dilation_h;
    if (ih < 0 || ih >= g.h) continue;
    for (int kw = 0; kw < g.kernel_w; ++kw) {
      const int64_t iw = int64_t{ow} * g.stride_w - g.pad_left + int64_t{kw} * g.dilation_w;
      if (iw < 0 || iw >= g.w) continue;
      float x[kVec], weight[kVec];
      load_floats<kVec>(job.input + ((image * g.h + ih) * g.w + iw) * g.in_channels + from, x);
      load_floats<kVec>(job.weight + (int64_t{kh} * g.kernel_w + kw) * g.out_channels + channel, weight);
      for (int i = 0; i < kVec; ++i) sum[i] = fmaf(weight[i], x[i], sum[i]);
    }
  }
  finish(job, image, oh, ow, channel, sum);
}

template <class T>
using Kernel = void (*)(Depthwise<T>);

// The tuned kernel for the geometry, or null.
template <class T>
Kernel<T> run_kernel(const ConvGeometry& g) {
  const int k = g.kernel_h, s = g.stride_h;
  if (g.kernel_w != k || g.stride_w != s || g.dilation_h != 1 || g.dilation_w != 1 || s > 2) return nullptr;
  if (k == 3) return s == 1 ? depthwise_run<T, 3, 1> : depthwise_run<T, 3, 2>;
  if (k == 5) return s == 1 ? depthwise_run<T, 5, 1> : depthwise_run<T, 5, 2>;
  if (k == 7) return s == 1 ? depthwise_run<T, 7, 1> : depthwise_run<T, 7, 2>;
  return nullptr;
}

template <class T>
void run(const char* op, const Stream& stream, const ConvProblem& p) {
  Depthwise<T> job = {};
  job.g = geometry_of(p);
  job.input = static_cast<const T*>(p.input);
  job.weight = static_cast<const T*>(p.weight);
  job.bias = static_cast<const T*>(p.bias);
  job.output = static_cast<T*>(p.output);
  job.activation = p.params.activation;
  const bool packed =
      job.g.group_out == 1 && in_packs<T>(job.g.out_channels, p.input, p.weight, p.bias, p.output);
  const Kernel<T> tuned = packed ? run_kernel<T>(job.g) : nullptr;
  const Kernel<T> kernel = tuned ? tuned : packed ? depthwise_general<T, kPack<T>> : depthwise_general<T, 1>;
  const int run = tuned ? kRun : 1;
  job.vectors = job.g.out_channels / (packed ? kPack<T> : 1);
  job.runs = static_cast<int>(blocks_of(job.g.out_w, run));
  // A warp's lanes side by side in the channels, as far as there are channels.
  unsigned across = 1;
  while (across < 32 && static_cast<int>(across) < job.vectors) across *= 2;
  const dim3 block(across, kThreads / across);
  job.vector_blocks = static_cast<int>(blocks_of(job.vectors, block.x));
  job.run_blocks = static_cast<int>(blocks_of(job.runs, block.y));
  const int64_t blocks = p.n * job.g.out_h * job.run_blocks * job.vector_blocks;
  launch(op, stream, {blocks_of(blocks, 1), block}, kernel, job);
}

}  // namespace

void depthwise_conv2d(const char* op, const Stream& stream, const ConvProblem& problem) {
  with_float(problem.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, problem); });
}

}  // namespace pyvision::cuda
