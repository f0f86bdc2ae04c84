// SPDX-License-Identifier: Apache-2.0
#include "separable_conv2d.cuh"

#include "conv_gemm.cuh"

namespace pyvision::cuda {
namespace {

template <class T, int kBlockM, bool kPacked>
class DepthwiseProducer;

// The source of a separable convolution.
template <class T>
struct DepthwiseInputs {
  using Item = T;
  template <int kBlockM, bool kPacked>
  using Producer = DepthwiseProducer<T, kBlockM, kPacked>;
  ConvGeometry g;   // of the depthwise convolution
  const T* data;    // (n, h, w, in_channels)
  const T* weight;  // (kernel_h, kernel_w, out_channels)
  const T* bias;
  ActivationParams activation;

  __device__ static int64_t output_pixel(const ConvGeometry&, int64_t row) { return row; }
};

// With kPacked channels come in whole packs, one of each input channel.
template <class T, int kBlockM, bool kPacked>
class DepthwiseProducer {
 public:
  __device__ __forceinline__ DepthwiseProducer(const ConvGeometry& g, const DepthwiseInputs<T>& source, int,
                                               int64_t first_row, int first_stage)
      : source_(source),
        chunk_(static_cast<int>(threadIdx.x) % kChunks),
        row_(static_cast<int>(threadIdx.x) / kChunks),
        channel_(first_stage * kDepth + chunk_ * kPack<T>) {
    const ConvGeometry& d = source.g;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = first_row + row_ + i * kRowsApart;  // [0, n * out_h * out_w) or beyond
      const int64_t pixel = row < g.rows ? row : 0;           // what is beyond is not stored
      image_[i] = pixel / d.out_w / d.out_h * d.h * d.w;
      top_[i] = static_cast<int>(pixel / d.out_w % d.out_h) * d.stride_h - d.pad_top;
      left_[i] = static_cast<int>(pixel % d.out_w) * d.stride_w - d.pad_left;
    }
  }

  __device__ __forceinline__ void fill(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      unsigned char* const to = tile + swizzled(row_ + i * kRowsApart, chunk_);
      if constexpr (kPacked) {
        T items[kPack<T>];
        convolve<kPack<T>>(i, channel_, items);
        uint4 raw;
        memcpy(&raw, items, sizeof raw);
        *reinterpret_cast<uint4*>(to) = raw;
      } else {
#pragma unroll 1  // few layers come here, and unrolled they would take most of the time to compile
        for (int j = 0; j < kPack<T>; ++j) convolve<1>(i, channel_ + j, reinterpret_cast<T*>(to) + j);
      }
    }
    channel_ += kDepth;
  }

 private:
  static constexpr int kRows = kBlockM / kRowsApart, kDepth = kRowBytes / static_cast<int>(sizeof(T));

  template <int kVec>
  __device__ __forceinline__ void convolve(int i, int channel, T* to) const {
    const ConvGeometry& d = source_.g;
    float sum[kVec] = {};
    if (channel < d.out_channels) {
      const T* const from = source_.data + channel / d.group_out;
      for (int kh = 0; kh < d.kernel_h; ++kh) {
        const int ih = top_[i] + kh * d.dilation_h;
        if (ih < 0 || ih >= d.h) continue;
        for (int kw = 0; kw < d.kernel_w; ++kw) {
          const int iw = left_[i] + kw * d.dilation_w;
          if (iw < 0 || iw >= d.w) continue;
          float x[kVec], weight[kVec];
          load_floats<kVec>(from + (image_[i] + int64_t{ih} * d.w + iw) * d.in_channels, x);
          load_floats<kVec>(source_.weight + (int64_t{kh} * d.kernel_w + kw) * d.out_channels + channel,
                            weight);
          for (int j = 0; j < kVec; ++j) sum[j] = fmaf(weight[j], x[j], sum[j]);
        }
      }
      if (source_.bias != nullptr) {
        float bias[kVec];
        load_floats<kVec>(source_.bias + channel, bias);
        for (int j = 0; j < kVec; ++j) sum[j] += bias[j];
      }
      for (int j = 0; j < kVec; ++j) sum[j] = activate(source_.activation, sum[j]);
    }
    for (int j = 0; j < kVec; ++j) to[j] = from_float<T>(sum[j]);
  }

  const DepthwiseInputs<T>& source_;
  int chunk_, row_, channel_;
  int64_t image_[kRows];  // its first pixel
  int top_[kRows], left_[kRows];
};

Plan plan_of(const Stream& stream, const SeparableProblem& p) {
  return plan_of(stream, geometry_of(p.pointwise), p.pointwise.dtype, /*wide=*/false);
}

template <class T>
void run(const char* op, const Stream& stream, const SeparableProblem& p, void* workspace) {
  const ConvGeometry g = geometry_of(p.pointwise);
  const Plan plan = plan_of(stream, p);
  const DepthwiseInputs<T> inputs = {geometry_of(p.depthwise), static_cast<const T*>(p.depthwise.input),
                                     static_cast<const T*>(p.depthwise.weight),
                                     static_cast<const T*>(p.depthwise.bias), p.depthwise.params.activation};
  const bool packed = inputs.g.group_out == 1 &&
                      in_packs<T>(g.in_channels, inputs.data, inputs.weight, inputs.bias, p.pointwise.weight);
  run_gemm(op, stream, g, plan, inputs, static_cast<const T*>(p.pointwise.weight),
           epilogue_of<T>(p.pointwise), workspace,
           [&](const Conv<DepthwiseInputs<T>>& job) { start_narrow(op, stream, plan, packed, job); });
}

}  // namespace

size_t separable_conv2d_workspace_bytes(const Stream& stream, const SeparableProblem& p) {
  return partial_bytes(plan_of(stream, p), geometry_of(p.pointwise));
}

void separable_conv2d(const char* op, const Stream& stream, const SeparableProblem& p, void* workspace) {
  with_float(p.pointwise.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, workspace); });
}

}  // namespace pyvision::cuda
