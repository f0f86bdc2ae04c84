// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution, NHWC, backwards: both of its gradients read the same two maps once per tap, which
// the caches turn into about once.
#include "common/split_sums.cuh"
#include "conv2d_backward.cuh"
#include "conv_transpose2d.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct DepthwiseTranspose {
  const T* input;   // (n, h, w, channels * multiplier)
  const T* weight;  // (kernel_h, kernel_w, channels * multiplier)
  const T* bias;
  T* output;  // (n, out_h, out_w, channels)
  ActivationParams activation;
  int64_t h, w, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int64_t channels, multiplier;
  int64_t vectors, total;  // of channels in a pixel, of the output
};

// A thread: kVec channels of one output pixel, gathered from the inputs whose windows hold it.
template <class T, int kVec>
__global__ void __launch_bounds__(kThreads, 2) depthwise_transpose(DepthwiseTranspose<T> job) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= job.total) return;
  const int64_t channel = index % job.vectors * kVec, pixel = index / job.vectors;
  const int64_t ow = pixel % job.out_w, oh = pixel / job.out_w % job.out_h;
  const int64_t image = pixel / job.out_w / job.out_h, inputs = job.channels * job.multiplier;
  float sum[kVec] = {};
  for (int64_t kh = 0; kh < job.kernel_h; ++kh) {
    const int64_t y = oh + job.padding_h - kh * job.dilation_h, ih = y / job.stride_h;
    if (y < 0 || y % job.stride_h != 0 || ih >= job.h) continue;
    for (int64_t kw = 0; kw < job.kernel_w; ++kw) {
      const int64_t x = ow + job.padding_w - kw * job.dilation_w, iw = x / job.stride_w;
      if (x < 0 || x % job.stride_w != 0 || iw >= job.w) continue;
      const T* const from = job.input + ((image * job.h + ih) * job.w + iw) * inputs;
      const T* const weight = job.weight + (kh * job.kernel_w + kw) * inputs;
      for (int64_t j = 0; j < job.multiplier; ++j) {
        float a[kVec], b[kVec];
        load_floats<kVec>(from + channel * job.multiplier + j, a);
        load_floats<kVec>(weight + channel * job.multiplier + j, b);
        for (int i = 0; i < kVec; ++i) sum[i] = fmaf(a[i], b[i], sum[i]);
      }
    }
  }
  for (int i = 0; i < kVec; ++i) {
    if (job.bias != nullptr) sum[i] += to_float(job.bias[channel + i]);
    sum[i] = activate(job.activation, sum[i]);
  }
  store_floats<kVec>(sum, job.output + pixel * job.channels + channel);
}

template <class T>
void run_transpose(const char* op, const Stream& stream, const ConvTransposeProblem& p) {
  const ConvTranspose2dParams& q = p.params;
  DepthwiseTranspose<T> job = {};
  job.input = static_cast<const T*>(p.input);
  job.weight = static_cast<const T*>(p.weight);
  job.bias = static_cast<const T*>(p.bias);
  job.output = static_cast<T*>(p.output);
  job.activation = q.activation;
  job.h = p.h, job.w = p.w, job.out_h = p.out_h, job.out_w = p.out_w;
  job.kernel_h = q.kernel_h, job.kernel_w = q.kernel_w;
  job.stride_h = q.stride_h, job.stride_w = q.stride_w;
  job.padding_h = q.padding_h, job.padding_w = q.padding_w;
  job.dilation_h = q.dilation_h, job.dilation_w = q.dilation_w;
  job.channels = q.out_channels, job.multiplier = q.in_channels / q.out_channels;
  const bool packed = job.multiplier == 1 && in_packs<T>(job.channels, p.input, p.weight, p.output);
  job.vectors = job.channels / (packed ? kPack<T> : 1);
  job.total = p.n * p.out_h * p.out_w * job.vectors;
  launch(op, stream, {blocks_of(job.total, kThreads), kThreads},
         packed ? depthwise_transpose<T, kPack<T>> : depthwise_transpose<T, 1>, job);
}

template <class T>
struct DepthwiseWeight {
  ConvGeometry g;
  const T* input;
  const T* grad;
  int64_t lines, lines_per_split;  // of all images' outputs
  int vectors;                     // of output channels
  float* partial;                  // (splits, kernel_h * kernel_w, out_channels)
};

// A thread: kVec channels of one tap, over a split of the output's lines, which blockIdx.y counts.
template <class T, int kVec>
__global__ void __launch_bounds__(kThreads, 2) depthwise_weight(DepthwiseWeight<T> job) {
  const ConvGeometry& g = job.g;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int taps = g.kernel_h * g.kernel_w;
  if (index >= int64_t{job.vectors} * taps) return;
  const int channel = static_cast<int>(index % job.vectors) * kVec, from = channel / g.group_out;
  const int tap = static_cast<int>(index / job.vectors), kh = tap / g.kernel_w, kw = tap % g.kernel_w;
  const int64_t split = blockIdx.y, first = split * job.lines_per_split;
  const int64_t last = min(job.lines, first + job.lines_per_split);
  float sum[kVec] = {};
  for (int64_t line = first; line < last; ++line) {
    const int64_t ih = line % g.out_h * g.stride_h - g.pad_top + kh * g.dilation_h;
    if (ih < 0 || ih >= g.h) continue;
    const T* const grads = job.grad + line * g.out_w * g.out_channels + channel;
    const T* const inputs = job.input + (line / g.out_h * g.h + ih) * g.w * g.in_channels + from;
    for (int ow = 0; ow < g.out_w; ++ow) {
      const int iw = ow * g.stride_w - g.pad_left + kw * g.dilation_w;
      if (iw < 0 || iw >= g.w) continue;
      float a[kVec], b[kVec];
      load_floats<kVec>(grads + int64_t{ow} * g.out_channels, a);
      load_floats<kVec>(inputs + int64_t{iw} * g.in_channels, b);
      for (int i = 0; i < kVec; ++i) sum[i] = fmaf(a[i], b[i], sum[i]);
    }
  }
  float* const to = job.partial + (split * taps + tap) * g.out_channels + channel;
  for (int i = 0; i < kVec; ++i) to[i] = sum[i];
}

int64_t weights_of(const ConvProblem& p) {
  return p.params.kernel_h * p.params.kernel_w * p.params.out_channels;
}

int splits_of(const Stream& stream, const ConvProblem& p) {
  constexpr int kLeastLines = 2, kMostSplits = 256;
  return splits_for(stream, blocks_of(weights_of(p), kThreads), 4, p.n * p.out_h(), kLeastLines, kMostSplits);
}

template <class T>
void run_weight(const char* op, const Stream& stream, const ConvProblem& p, const void* grad, void* workspace,
                void* grad_weight) {
  const int splits = splits_of(stream, p);
  DepthwiseWeight<T> job = {};
  job.g = geometry_of(p);
  job.input = static_cast<const T*>(p.input);
  job.grad = static_cast<const T*>(grad);
  job.lines = p.n * p.out_h();
  job.lines_per_split = blocks_of(job.lines, splits);
  job.partial = Workspace(workspace).take<float>(splits * weights_of(p));
  const ConvGeometry& g = job.g;
  const bool packed = g.group_out == 1 && in_packs<T>(g.out_channels, p.input, grad);
  job.vectors = g.out_channels / (packed ? kPack<T> : 1);
  const int64_t threads = int64_t{job.vectors} * g.kernel_h * g.kernel_w;
  const LaunchShape shape = {{blocks_of(threads, kThreads), static_cast<unsigned>(splits)}, kThreads};
  launch(op, stream, shape, packed ? depthwise_weight<T, kPack<T>> : depthwise_weight<T, 1>, job);
  add_splits(op, stream, job.partial, splits, weights_of(p), static_cast<T*>(grad_weight));
}

}  // namespace

void depthwise_conv_transpose2d(const char* op, const Stream& stream, const ConvTransposeProblem& p) {
  with_float(p.dtype, [&](auto zero) { run_transpose<decltype(zero)>(op, stream, p); });
}

size_t depthwise_grad_weight_workspace_bytes(const Stream& stream, const ConvProblem& p) {
  return split_bytes(splits_of(stream, p), weights_of(p));
}

void depthwise_grad_weight(const char* op, const Stream& stream, const ConvProblem& p, const void* grad,
                           void* workspace, void* grad_weight) {
  with_float(p.dtype,
             [&](auto zero) { run_weight<decltype(zero)>(op, stream, p, grad, workspace, grad_weight); });
}

}  // namespace pyvision::cuda
