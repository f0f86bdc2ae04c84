// SPDX-License-Identifier: Apache-2.0
// A non-owning view of an n-dimensional array: what every op takes and fills.
#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace pyvision {

enum class DType : uint8_t { kF32, kF64, kF16, kBf16, kU8, kI8, kI32, kI64, kBool };  // kF16: CUDA alone

template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct dtype_of<Bf16> {
  static constexpr DType value = DType::kBf16;
};
template <>
struct dtype_of<int8_t> {
  static constexpr DType value = DType::kI8;
};
template <>
struct dtype_of<uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <>
struct dtype_of<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct dtype_of<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct dtype_of<bool> {
  static constexpr DType value = DType::kBool;
};

constexpr int kMaxRank = 6;

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};  // in elements; may be zero or negative

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }

  // Axes of extent 1 have no meaningful stride, as in NumPy.
  bool contiguous() const {
    if (numel() == 0) return true;
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
};

// The view most kernels work on. Channels are contiguous; pixels, rows and images may be further apart than
// their extents, which is how a convolution reads or writes a channel slice of a wider (concatenated) map.
template <class T>
struct Nhwc {
  T* data = nullptr;  // (n, h, w, c)
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t stride_n = 0, stride_h = 0, stride_w = 0;  // in elements

  T* at(int64_t in, int64_t ih, int64_t iw) const {
    return data + in * stride_n + ih * stride_h + iw * stride_w;
  }
  int64_t pixels() const { return n * h * w; }
  // True when all N*H*W pixels lie at one constant distance, so that they can be walked as one row.
  bool uniform() const {
    return (h == 1 || stride_h == w * stride_w) && (n == 1 || stride_n == h * w * stride_w);
  }
};

template <class T>
Nhwc<T> dense_nhwc(T* data, int64_t n, int64_t h, int64_t w, int64_t c) {
  return {data, n, h, w, c, h * w * c, w * c, c};
}

// A map in planes, whose rows are dense. A slice of its channels leaves images further apart than its own
// planes reach.
template <class T>
struct Nchw {
  T* data = nullptr;  // (n, c, h, w)
  int64_t n = 0, c = 0, h = 0, w = 0;
  int64_t stride_n = 0;  // in elements

  T* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + in * stride_n + (ic * h + ih) * w + iw;
  }
};

template <class T>
Nchw<T> dense_nchw(T* data, int64_t n, int64_t c, int64_t h, int64_t w) {
  return {data, n, c, h, w, c * h * w};
}

}  // namespace pyvision
