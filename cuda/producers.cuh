// SPDX-License-Identifier: Apache-2.0
// What fills the stages of gemm.cuh. Every thread fills one chunk of 16 bytes of every 32nd row: its place in
// K is the same in all of them, and moves on by a stage's depth with every fill.
#pragma once

#include "conv2d.cuh"
#include "gemm.cuh"

namespace pyvision::cuda {

constexpr int kRowsApart = kGemmThreads / kChunks;  // rows between two that a thread fills

// A place in K = (kernel_h, kernel_w, channels).
struct Tap {
  int kh, kw, channel;

  __device__ __forceinline__ Tap(const ConvGeometry& g, int64_t k) {
    channel = static_cast<int>(k % g.group_in);
    kw = static_cast<int>(k / g.group_in % g.kernel_w);
    kh = static_cast<int>(k / g.group_in / g.kernel_w);
  }
  __device__ __forceinline__ void advance(const ConvGeometry& g, int channels) {
    channel += channels;
    while (channel >= g.group_in) {
      channel -= g.group_in;
      if (++kw == g.kernel_w) {
        kw = 0;
        ++kh;
      }
    }
  }
};

template <class T, int kBlockM, bool kPacked>
class CopyProducer;

// The source of a dense convolution: (n, h, w, in_channels).
template <class T>
struct DenseInputs {
  using Item = T;
  template <int kBlockM, bool kPacked>
  using Producer = CopyProducer<T, kBlockM, kPacked>;
  const T* data;

  // Where in the output the pixel of a row of A lies.
  __device__ static int64_t output_pixel(const ConvGeometry&, int64_t row) { return row; }
};

// Copies the inputs under each tap; T: what is stored. With kPacked a group's channels come in whole packs,
// so that a chunk belongs to one tap and is copied behind the thread's back; else item by item.
template <class T, int kBlockM, bool kPacked>
class CopyProducer {
 public:
  __device__ __forceinline__ CopyProducer(const ConvGeometry& g, const DenseInputs<T>& source, int group,
                                          int64_t first_row, int first_stage)
      : g_(g),
        input_(source.data + group * g.group_in),
        chunk_(static_cast<int>(threadIdx.x) % kChunks),
        row_(static_cast<int>(threadIdx.x) / kChunks),
        tap_(g, int64_t{first_stage} * kDepth + chunk_ * kPack<T>) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = first_row + row_ + i * kRowsApart;  // [0, n * out_h * out_w) or beyond
      const int64_t pixel = row < g.rows ? row : 0;
      const int ow = static_cast<int>(pixel % g.out_w), oh = static_cast<int>(pixel / g.out_w % g.out_h);
      image_[i] = pixel / g.out_w / g.out_h * g.h * g.w;
      top_[i] = row < g.rows ? oh * g.stride_h - g.pad_top : kOutside;
      left_[i] = ow * g.stride_w - g.pad_left;
    }
  }

  __device__ __forceinline__ void fill(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      unsigned char* const to = tile + swizzled(row_ + i * kRowsApart, chunk_);
      if constexpr (kPacked) {
        const T* const from = at(i, tap_);
        cp_async16(to, from != nullptr ? from : input_, from != nullptr ? 16 : 0);
      } else {
        T items[kPack<T>];
        Tap tap = tap_;
        for (int j = 0; j < kPack<T>; ++j, tap.advance(g_, 1)) {
          const T* const from = at(i, tap);
          items[j] = from != nullptr ? *from : from_float<T>(0.0f);
        }
        uint4 raw;
        memcpy(&raw, items, sizeof raw);
        *reinterpret_cast<uint4*>(to) = raw;
      }
    }
    tap_.advance(g_, kDepth);
  }

 private:
  static constexpr int kRows = kBlockM / kRowsApart, kDepth = kRowBytes / static_cast<int>(sizeof(T));
  static constexpr int kOutside = -(1 << 30);

  __device__ __forceinline__ const T* at(int i, const Tap& tap) const {
    const int ih = top_[i] + tap.kh * g_.dilation_h, iw = left_[i] + tap.kw * g_.dilation_w;
    if (tap.kh >= g_.kernel_h || ih < 0 || ih >= g_.h || iw < 0 || iw >= g_.w) return nullptr;
    return input_ + (image_[i] + int64_t{ih} * g_.w + iw) * g_.in_channels + tap.channel;
  }

  const ConvGeometry& g_;
  const T* input_;
  int chunk_, row_;
  Tap tap_;
  int64_t image_[kRows];  // its first pixel
  int top_[kRows], left_[kRows];
};

// Rows of the weight, (rows, depth) dense: each an output channel.
template <class T, int kBlockN, bool kPacked>
class WeightProducer {
 public:
  __device__ __forceinline__ WeightProducer(const T* weight, int rows, int64_t depth, int first_row,
                                            int first_stage)
      : weight_(weight),
        rows_(rows),
        first_row_(first_row),
        depth_(depth),
        chunk_(static_cast<int>(threadIdx.x) % kChunks),
        row_(static_cast<int>(threadIdx.x) / kChunks),
        k_(int64_t{first_stage} * kDepth + chunk_ * kPack<T>) {}

  __device__ __forceinline__ void fill(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < kBlockN / kRowsApart; ++i) {
      const int row = first_row_ + row_ + i * kRowsApart;
      unsigned char* const to = tile + swizzled(row_ + i * kRowsApart, chunk_);
      const T* const from = weight_ + row * depth_ + k_;
      if constexpr (kPacked) {
        const bool inside = row < rows_ && k_ < depth_;
        cp_async16(to, inside ? from : weight_, inside ? 16 : 0);
      } else {
        T items[kPack<T>];
        for (int j = 0; j < kPack<T>; ++j)
          items[j] = row < rows_ && k_ + j < depth_ ? from[j] : from_float<T>(0.0f);
        uint4 raw;
        memcpy(&raw, items, sizeof raw);
        *reinterpret_cast<uint4*>(to) = raw;
      }
    }
    k_ += kDepth;
  }

 private:
  static constexpr int kDepth = kRowBytes / static_cast<int>(sizeof(T));
  const T* weight_;
  int rows_, first_row_;
  int64_t depth_;
  int chunk_, row_;
  int64_t k_;
};

}  // namespace pyvision::cuda
