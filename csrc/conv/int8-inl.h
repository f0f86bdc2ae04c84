// SPDX-License-Identifier: Apache-2.0
// Products of u8 and s8 values, summed in i32: four a lane with AVX512_VNNI's instruction, elsewhere two a
// lane, widened to int16 first, because the older u8 x s8 instruction saturates.
#pragma once

#include "conv/direct-inl.h"
#include "conv/int8.h"

namespace pyvision::PYVISION_ISA_NS {

#if defined(__AVX512VNNI__)

struct Int8Product {
  using Value = uint8_t;  // in B the bits of an int8
  using Sum = I32;
  static constexpr int kDepth = 4;
  static I32 dot(F32 a, F32 b, I32 sum) {
    return {_mm512_dpbusd_epi32(sum.v, bits_as_i32(a).v, bits_as_i32(b).v)};
  }
};

#else

struct Int8Product {
  using Value = int16_t;
  using Sum = I32;
  static constexpr int kDepth = 2;
  static I32 dot(F32 a, F32 b, I32 sum) { return sum + multiply_pairs(bits_as_i32(a), bits_as_i32(b)); }
};

#endif

template <class Out>
struct CopyInt8 {
  using Job = Int8Conv<Out>;
  using Product = Int8Product;
  using Source = uint8_t;
  using Value = Product::Value;
  static constexpr bool kVerbatim = sizeof(Value) == sizeof(Source);

  uint8_t zero_point;

  explicit CopyInt8(const Job& job) : zero_point(job.input_zero_point) {}
  bool pads_with_zeros() const { return zero_point == 0; }
  void copy(const uint8_t* from, Value* to, int64_t n, const uint8_t* limit) const {
    if constexpr (kVerbatim)
      copy_bytes(from, to, n, limit);
    else
      for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
  void pad(Value* to, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) to[i] = zero_point;
  }
};

// Rounded half to even; in [0, 255].
template <int MR, int NV>
[[gnu::always_inline]] inline void quantize_tile(F32 (&y)[MR][NV], float divisor, float zero_point) {
  const F32 zero = F32::set(zero_point), by = F32::set(divisor);
  const F32 low = F32::set(0.0f - zero_point), high = F32::set(255.0f - zero_point);
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) y[r][v] = round(max(min(y[r][v] / by, high), low)) + zero;
  }
}

template <int MR, int NV, class Out>
[[gnu::always_inline]] inline void finish_tile(I32 (&acc)[MR][NV],
                                               const TileOutputOf<RequantizeTo<Out>>& out) {
  if (!out.last) return store_sums(acc, out);
  F32 y[MR][NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
    const F32 scale = F32::load(out.scale + out.column + v * F32::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) y[r][v] = to_f32(acc[r][v]) * scale;
  }
  finish_before_rounding(y, out.activation);
  if constexpr (std::is_same_v<Out, uint8_t>) quantize_tile(y, out.divisor, out.zero_point);
  store_tile(y, out.row, out.column, out.columns);
}

inline void pack_int8(const int8_t* weight, int64_t out_channels, int64_t taps, int64_t channels,
                      float* packed) {
  pack_panels<Int8Product>(weight, out_channels, taps, channels, taps * channels, 1, taps, packed,
                           [](int8_t w) { return static_cast<Int8Product::Value>(w); });
}

// MR neighbouring output pixels from ow on, one vector of channels. kInside: all taps are inside the image.
template <int MR, bool kInside, class Out>
inline void depthwise_int8_pixels(const Int8Depthwise<Out>& job, int64_t n, int64_t oh, int64_t ow, int64_t c,
                                  int lanes) {
  I32 acc[MR][1];
#pragma GCC unroll 4
  for (int p = 0; p < MR; ++p) acc[p][0] = I32::load(job.epilogue.bias + c);
  const I32 padding = I32::set(job.input_zero_point);
  const int64_t ih_first = oh * job.stride_h - job.pad_top, iw_first = ow * job.stride_w - job.pad_left;
  const uint8_t* const image = job.input.data + n * job.input.stride_n + c;
  const int32_t* weight = job.packed + c;
  for (int64_t kh = 0; kh < job.kernel_h; ++kh) {
    const int64_t ih = ih_first + kh * job.dilation_h;
    const bool row_inside = kInside || (ih >= 0 && ih < job.input.h);
    for (int64_t kw = 0; kw < job.kernel_w; ++kw, weight += job.packed_channels) {
      const I32 w = I32::load(weight);
#pragma GCC unroll 4
      for (int p = 0; p < MR; ++p) {
        const int64_t iw = iw_first + p * job.stride_w + kw * job.dilation_w;
        const bool inside = kInside || (row_inside && iw >= 0 && iw < job.input.w);
        const I32 x = inside
                          ? I32::load_u8_n(image + ih * job.input.stride_h + iw * job.input.stride_w, lanes)
                          : padding;
        acc[p][0] = acc[p][0] + multiply_pairs(x, w);
      }
    }
  }
  TileOutputOf<RequantizeTo<Out>> out;
  static_cast<RequantizeTo<Out>&>(out) = job.epilogue;
  out.last = true;
  out.column = c;
  out.columns = lanes;
  for (int p = 0; p < MR; ++p) out.row[p] = job.rows.output.at(n, oh, ow + p);
  finish_tile(acc, out);
}

// Output rows [row_begin, row_end) of the n * out_h rows.
template <class Out>
inline void depthwise_int8(const Int8Depthwise<Out>& job, int64_t row_begin, int64_t row_end) {
  constexpr int kPixels = 4;  // share each load of a weight
  const int64_t channels = job.input.c, out_w = job.rows.out_w;
  const int64_t reach_h = job.dilation_h * (job.kernel_h - 1), reach_w = job.dilation_w * (job.kernel_w - 1);
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int64_t n = row / job.rows.out_h, oh = row % job.rows.out_h;
    const int64_t ih = oh * job.stride_h - job.pad_top;
    const bool rows_inside = ih >= 0 && ih + reach_h < job.input.h;
    for (int64_t ow = 0; ow < out_w;) {
      const int64_t first = ow * job.stride_w - job.pad_left, last = first + (kPixels - 1) * job.stride_w;
      const bool block = ow + kPixels <= out_w;
      const bool inside = rows_inside && first >= 0 && last + reach_w < job.input.w;
      const auto pixels = !block   ? depthwise_int8_pixels<1, false, Out>
                          : inside ? depthwise_int8_pixels<kPixels, true, Out>
                                   : depthwise_int8_pixels<kPixels, false, Out>;
      for (int64_t c = 0; c < channels; c += I32::kLanes)
        pixels(job, n, oh, ow, c, static_cast<int>(channels - c < I32::kLanes ? channels - c : I32::kLanes));
      ow += block ? kPixels : 1;
    }
  }
}

}  // namespace pyvision::PYVISION_ISA_NS
