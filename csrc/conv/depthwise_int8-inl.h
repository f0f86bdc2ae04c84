// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution of u8 maps with s8 weights. The products of a word run down a window column: a word
// holds neighbouring rows' bytes of one channel, as many as one instruction multiplies and adds, so that a
// 3 x 3 window is three such instructions (VNNI) for a vector of channels. Words are made once for each
// window column, and serve all the taps and both output rows that see them:
//
//   rows r0 … r3 of a column   a0 a1 a2 …   b0 b1 …   c0 c1 …   d0 d1 …
//   words                      a0b0c0d0  a1b1c1d1  …
//   taps of output row 0       w0 w1 w2 0
//   taps of output row 1       0 w0 w1 w2
#pragma once

#include "conv/int8-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// A vector of words holds kPixels neighbouring pixels' words of kLanes channels; kVectors vectors together
// hold a unit of channels.
#if defined(__AVX2__)

// Unpacking and packing again work within 128 bits, so that vector v holds every fourth four channels.
struct ByteWords {
  static constexpr int kLanes = 8, kVectors = 4;
  static constexpr int channel(int vector, int lane) { return lane / 4 * 16 + vector * 4 + lane % 4; }

  // n bytes, at most a unit's; zeros behind them.
  static __m256i load(const uint8_t* p, int n) {
    if (n == kLanes * kVectors) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
#if defined(__AVX512BW__)
    return _mm256_maskz_loadu_epi8((1u << n) - 1, p);
#else
    alignas(32) uint8_t bytes[32] = {};
    __builtin_memcpy(bytes, p, static_cast<size_t>(n));
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
#endif
  }
  static void store_bytes(__m256i x, uint8_t* p, int n) {
    if (n == kLanes * kVectors) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
    alignas(32) uint8_t bytes[32];  // masked stores take longer
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), x);
    __builtin_memcpy(p, bytes, static_cast<size_t>(n));
  }
  // rows: n bytes each; vector v goes to words + v * pitch
  [[gnu::always_inline]] static void interleave(const uint8_t* const (&rows)[Int8Product::kDepth], int n,
                                                int32_t* words, int64_t pitch) {
    __m256i low[2], high[2];  // the eight lower and upper bytes of each 16
    const __m256i a = load(rows[0], n), b = load(rows[1], n);
    low[0] = _mm256_unpacklo_epi8(a, b), high[0] = _mm256_unpackhi_epi8(a, b);
    const auto store = [&](int v, __m256i x) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(words + v * pitch), x);
    };
    if constexpr (Int8Product::kDepth == 4) {
      const __m256i c = load(rows[2], n), d = load(rows[3], n);
      low[1] = _mm256_unpacklo_epi8(c, d), high[1] = _mm256_unpackhi_epi8(c, d);
      store(0, _mm256_unpacklo_epi16(low[0], low[1]));
      store(1, _mm256_unpackhi_epi16(low[0], low[1]));
      store(2, _mm256_unpacklo_epi16(high[0], high[1]));
      store(3, _mm256_unpackhi_epi16(high[0], high[1]));
    } else {
      const __m256i zero = _mm256_setzero_si256();
      store(0, _mm256_unpacklo_epi8(low[0], zero));
      store(1, _mm256_unpackhi_epi8(low[0], zero));
      store(2, _mm256_unpacklo_epi8(high[0], zero));
      store(3, _mm256_unpackhi_epi8(high[0], zero));
    }
  }
#if defined(__AVX512F__)
  static constexpr int kPixels = 2;
  using Bytes = __m512i;
  static I32 repeat(const int32_t* p) {
    return {_mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  // Four channels of a pixel: 16 (at % 2) + 4 v on of pixel at / 2, of the two.
  static __m128 quarter(F32 y, int at) {
    return at == 0   ? _mm512_castps512_ps128(y.v)
           : at == 1 ? _mm512_extractf32x4_ps(y.v, 1)
           : at == 2 ? _mm512_extractf32x4_ps(y.v, 2)
                     : _mm512_extractf32x4_ps(y.v, 3);
  }
  // Rounded to even, the zero point added, clamped to [0, 255]; y less than 2^31
  static Bytes pack(const F32 (&y)[kVectors], int zero_point) {
    const auto rounded = [&](int v) { return _mm512_cvtps_epi32(y[v].v); };
    const __m512i zero = _mm512_set1_epi16(static_cast<int16_t>(zero_point));
    const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(rounded(0), rounded(1)), zero);
    const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(rounded(2), rounded(3)), zero);
    return _mm512_packus_epi16(low, high);
  }
  [[gnu::always_inline]] static void store(Bytes y, uint8_t* p, int64_t step, int64_t pixels, int n) {
    store_bytes(_mm512_castsi512_si256(y), p, n);
    if (pixels > 1) store_bytes(_mm512_extracti64x4_epi64(y, 1), p + step, n);
  }
#else
  static constexpr int kPixels = 1;
  using Bytes = __m256i;
  static I32 repeat(const int32_t* p) { return I32::load(p); }
  static __m128 quarter(F32 y, int at) {
    return at == 0 ? _mm256_castps256_ps128(y.v) : _mm256_extractf128_ps(y.v, 1);
  }
  static Bytes pack(const F32 (&y)[kVectors], int zero_point) {
    const auto rounded = [&](int v) { return _mm256_cvtps_epi32(y[v].v); };
    const __m256i zero = _mm256_set1_epi16(static_cast<int16_t>(zero_point));
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(rounded(0), rounded(1)), zero);
    const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(rounded(2), rounded(3)), zero);
    return _mm256_packus_epi16(low, high);
  }
  static void store(Bytes y, uint8_t* p, int64_t, int64_t, int n) { store_bytes(y, p, n); }
#endif
  static void store(const F32 (&y)[kVectors], float* p, int64_t step, int64_t pixels, int n) {
    for (int part = 0; part < 2 * kPixels && part < 2 * pixels; ++part) {
      for (int v = 0; v < kVectors; ++v) {
        const int channel = part % 2 * 16 + v * 4, left = n - channel;
        float four[4];
        _mm_storeu_ps(four, quarter(y[v], part));
        if (left > 0)
          __builtin_memcpy(p + part / 2 * step + channel, four, sizeof(float) * (left < 4 ? left : 4));
      }
    }
  }
};

#else

struct ByteWords {
  static constexpr int kLanes = 1, kVectors = 1, kPixels = 1;
  static constexpr int channel(int, int) { return 0; }
  static void interleave(const uint8_t* const (&rows)[2], int, int32_t* words, int64_t) {
    *words = *rows[0] | *rows[1] << 16;
  }
  static I32 repeat(const int32_t* p) { return I32::load(p); }
  using Bytes = uint8_t;
  static Bytes pack(const F32 (&y)[1], int zero_point) {
    const F32 low = F32::set(static_cast<float>(-zero_point));
    return static_cast<uint8_t>(to_i32(round(max(y[0], low))).v + zero_point);
  }
  static void store(Bytes y, uint8_t* p, int64_t, int64_t, int) { *p = y; }
  static void store(const F32 (&y)[1], float* p, int64_t, int64_t, int) { *p = y[0].v; }
};

#endif

constexpr int kDepthwiseUnit = ByteWords::kLanes * ByteWords::kVectors;  // channels, words of them in a pixel

// Output pixels of a block: 28 divide the maps of 224-pixel networks down to 28.
constexpr int64_t kInt8Pixels = 28;
// Window columns of one step: a group of window rows by some taps of a row. 64 columns of 128 bytes; the
// words of one or two steps are all that most kernels need, and stay in L1.
constexpr int64_t kInt8Columns = 64, kInt8Steps = 4;
inline int64_t taps_of_step(int64_t column_stride) { return column_stride <= 2 ? 8 : 2; }

// Where a unit's channels begin: the last overlaps the one before.
inline int64_t unit_begin(int64_t unit, int64_t channels) {
  const int64_t first = unit * kDepthwiseUnit, last = channels - kDepthwiseUnit;
  return first <= last ? first : last < 0 ? 0 : last;
}
inline int64_t unit_count(int64_t channels) { return (channels + kDepthwiseUnit - 1) / kDepthwiseUnit; }

// Groups of window rows that one word holds.
inline int64_t row_groups(int64_t kernel_h, int64_t rows) {
  return (kernel_h + rows - 1 + Int8Product::kDepth - 1) / Int8Product::kDepth;
}

// A unit: bias and scale, then (group, kernel_w, rows) times the weights' words.
inline int64_t unit_words(int64_t kernel_h, int64_t kernel_w, int64_t rows) {
  return (2 + row_groups(kernel_h, rows) * kernel_w * rows) * kDepthwiseUnit;
}

inline int64_t packed_depthwise_int8(int64_t channels, int64_t kernel_h, int64_t kernel_w, int64_t rows) {
  return unit_count(channels) * unit_words(kernel_h, kernel_w, rows);
}

inline void pack_depthwise_int8(const int8_t* weight, const int32_t* bias, const float* scale,
                                int64_t channels, int64_t kernel_h, int64_t kernel_w, int64_t rows,
                                int32_t* packed) {
  constexpr int64_t kDepth = Int8Product::kDepth;
  for (int64_t unit = 0; unit < unit_count(channels); ++unit) {
    for (int v = 0; v < ByteWords::kVectors; ++v) {
      for (int lane = 0; lane < ByteWords::kLanes; ++lane) {
        const int64_t c = unit_begin(unit, channels) + ByteWords::channel(v, lane);
        const bool used = c < channels;
        int32_t* const words = packed + v * ByteWords::kLanes + lane;
        words[0] = used ? bias[c] : 0;
        const float its_scale = used ? scale[c] : 0.0f;
        __builtin_memcpy(words + kDepthwiseUnit, &its_scale, sizeof(float));
        for (int64_t g = 0; g < row_groups(kernel_h, rows); ++g) {
          for (int64_t kw = 0; kw < kernel_w; ++kw) {
            for (int64_t r = 0; r < rows; ++r) {
              Int8Product::Value values[kDepth] = {};
              for (int64_t d = 0; d < kDepth; ++d) {
                const int64_t kh = g * kDepth + d - r;
                if (used && kh >= 0 && kh < kernel_h)
                  values[d] = static_cast<Int8Product::Value>(weight[(c * kernel_h + kh) * kernel_w + kw]);
              }
              __builtin_memcpy(words + (2 + (g * kernel_w + kw) * rows + r) * kDepthwiseUnit, values,
                               sizeof(values));
            }
          }
        }
      }
    }
    packed += unit_words(kernel_h, kernel_w, rows);
  }
}

struct Int8Step {
  int64_t taps, phases, phase_pitch;  // every column_stride-th column is a phase of its own; in words
};

// One unit of a block. Its vectors of words lie a pitch apart.
struct Int8Unit {
  static constexpr int64_t kColumnPitch = (kInt8Columns + 2) * ByteWords::kLanes;
  static constexpr int64_t kSumPitch = kInt8Pixels * ByteWords::kLanes;

  alignas(64) int32_t columns[kInt8Steps * ByteWords::kVectors * kColumnPitch];
  alignas(64) int32_t sums[2 * ByteWords::kVectors * kSumPitch];  // where not all the steps fit
  Int8Step steps[kInt8Steps];
  int step_count;
  bool first, last;        // of the steps: start from the bias, write the output
  int n;                   // channels in use
  int64_t pixels;          // output pixels
  const int32_t* packed;   // bias and scale
  const int32_t* weights;  // of the first of these steps

  int32_t* step_columns(int step) { return columns + step * ByteWords::kVectors * kColumnPitch; }
  int32_t* sum(int row, int v, int64_t pixel) {
    return sums + (row * ByteWords::kVectors + v) * kSumPitch + pixel * ByteWords::kLanes;
  }
};

// The words of a group of rows, null where they are outside, for the taps of a step whose first one sees
// column first of the image.
template <class Job>
inline void lay_out_columns(const Job& job, const uint8_t* const (&rows)[Int8Product::kDepth], int64_t first,
                            const Int8Step& step, int64_t pixels, int n, int32_t* columns) {
  constexpr int kDepth = Int8Product::kDepth;
  uint8_t padding[kDepthwiseUnit];
  for (uint8_t& p : padding) p = job.input_zero_point;
  const uint8_t* outside[kDepth];
  for (int d = 0; d < kDepth; ++d) outside[d] = padding;
  const int64_t stride = job.column_stride * job.dilation_w;
  for (int64_t phase = 0; phase < step.phases; ++phase) {
    int32_t* words = columns + phase * step.phase_pitch;
    const int32_t* const end =
        words + (pixels + (step.taps - 1 - phase) / job.column_stride) * ByteWords::kLanes;
    int64_t iw = first + phase * job.dilation_w;
    for (; words < end && iw < 0; iw += stride, words += ByteWords::kLanes)
      ByteWords::interleave(outside, n, words, Int8Unit::kColumnPitch);
    const uint8_t* inside[kDepth];
    int64_t steps[kDepth];
    for (int d = 0; d < kDepth; ++d) {
      inside[d] = rows[d] == nullptr ? padding : rows[d] + iw * job.input.stride_w;
      steps[d] = rows[d] == nullptr ? 0 : stride * job.input.stride_w;
    }
    for (; words < end && iw < job.input.w; iw += stride, words += ByteWords::kLanes) {
      ByteWords::interleave(inside, n, words, Int8Unit::kColumnPitch);
#pragma GCC unroll 4
      for (int d = 0; d < kDepth; ++d) inside[d] += steps[d];
    }
    for (; words < end; words += ByteWords::kLanes)
      ByteWords::interleave(outside, n, words, Int8Unit::kColumnPitch);
  }
}

// Of kRows output rows kCount vectors of pixels, from `pixel` on.
template <int kRows, int kCount, class Out>
inline void add_steps(const Int8Depthwise<Out>& job, Int8Unit* unit, int64_t pixel, Out* const (&output)[2]) {
  constexpr int kLanes = ByteWords::kLanes, kVectors = ByteWords::kVectors, kPixels = ByteWords::kPixels;
  I32 acc[kRows * kCount][kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const I32 bias = ByteWords::repeat(unit->packed + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kCount; ++i)
      acc[i][v] = unit->first ? bias : I32::load(unit->sum(i / kCount, v, pixel + i % kCount * kPixels));
  }
  const int32_t* weights = unit->weights;
  for (int s = 0; s < unit->step_count; ++s) {
    const Int8Step& step = unit->steps[s];
    const int32_t* words = unit->step_columns(s) + pixel * kLanes;
    int64_t phase = 0, first = 0;  // of tap t: t % column_stride, t / column_stride
    for (int64_t t = 0; t < step.taps; ++t, weights += job.packed_rows * kDepthwiseUnit) {
      const int32_t* const tap_words = words + phase * step.phase_pitch + first * kLanes;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        F32 w[kRows];
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r)
          w[r] = bits_as_f32(ByteWords::repeat(weights + r * kDepthwiseUnit + v * kLanes));
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          const F32 x = bits_as_f32(I32::load(tap_words + v * Int8Unit::kColumnPitch + i * I32::kLanes));
#pragma GCC unroll 2
          for (int r = 0; r < kRows; ++r)
            acc[r * kCount + i][v] = Int8Product::dot(x, w[r], acc[r * kCount + i][v]);
        }
      }
      if (++phase == job.column_stride) phase = 0, ++first;
    }
  }
  if (!unit->last) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kCount; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        acc[i][v].store(unit->sum(i / kCount, v, pixel + i % kCount * kPixels));
    }
    return;
  }
  F32 y[kRows * kCount][kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const F32 scale = bits_as_f32(ByteWords::repeat(unit->packed + kDepthwiseUnit + v * kLanes));
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kCount; ++i) y[i][v] = to_f32(acc[i][v]) * scale;
  }
  finish_before_rounding(y, job.epilogue.activation);
  const int64_t step = job.step_w * job.rows.output.stride_w;
  const auto store_pixels = [&](int i, const auto& values) __attribute__((always_inline)) {
    const int64_t p = pixel + i % kCount * kPixels;
    ByteWords::store(values, output[i / kCount] + p * step, step, unit->pixels - p, unit->n);
  };
  if constexpr (std::is_same_v<Out, uint8_t>) {
    divide_tile(y, job.epilogue.divisor);
    const F32 high = F32::set(255.0f - job.epilogue.zero_point);
    ByteWords::Bytes bytes[kRows * kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kCount; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) y[i][v] = min(y[i][v], high);
      bytes[i] = ByteWords::pack(y[i], static_cast<int>(job.epilogue.zero_point));
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kCount; ++i) store_pixels(i, bytes[i]);
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kCount; ++i) store_pixels(i, y[i]);
  }
}

template <int kRows, class Out>
inline void add_steps(const Int8Depthwise<Out>& job, Int8Unit* unit, Out* const (&output)[2]) {
  constexpr int kPixels = ByteWords::kPixels;
  for (int64_t pixel = 0; pixel < unit->pixels;) {
    const int64_t left = (unit->pixels - pixel + kPixels - 1) / kPixels;
    int count = 1;  // 8 sums of 16 registers
    if constexpr (F32::kLanes == 16) count = left == 4 || left < 3 ? (left > 1 ? 2 : 1) : 3;  // 24 of 32
    if constexpr (F32::kLanes == 16) {
      if (count == 3) add_steps<kRows, 3>(job, unit, pixel, output);
      if (count == 2) add_steps<kRows, 2>(job, unit, pixel, output);
    }
    if (count == 1) add_steps<kRows, 1>(job, unit, pixel, output);
    pixel += count * kPixels;
  }
}

// Output rows (oh + r * step_h), r in [0, rows), and pixels (ow + p * step_w), p in [0, pixels), all
// channels.
template <class Out>
inline void depthwise_int8_block(const Int8Depthwise<Out>& job, int64_t n, int64_t oh, int rows, int64_t ow,
                                 int64_t pixels, Int8Unit* unit) {
  constexpr int kDepth = Int8Product::kDepth, kPixels = ByteWords::kPixels;
  const Nhwc<const uint8_t>& in = job.input;
  const int64_t ih = oh * job.stride_h - job.pad_top, iw = ow * job.stride_w - job.pad_left;
  const int64_t whole_pixels = (pixels + kPixels - 1) / kPixels * kPixels;  // of the last vector too
  const int64_t groups = row_groups(job.kernel_h, job.packed_rows), most = taps_of_step(job.column_stride);
  unit->pixels = pixels;
  unit->n = static_cast<int>(in.c < kDepthwiseUnit ? in.c : kDepthwiseUnit);
  unit->packed = job.packed;
  for (int64_t u = 0; u < unit_count(in.c); ++u) {
    const int64_t c = unit_begin(u, in.c);
    Out* output[2];
    for (int r = 0; r < 2; ++r)
      output[r] = r < rows ? job.rows.output.at(n, oh + r * job.step_h, ow) + c : nullptr;
    unit->weights = unit->packed + 2 * kDepthwiseUnit;
    unit->step_count = 0, unit->first = true;
    const int32_t* weights = unit->weights;
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* window[kDepth];
      for (int d = 0; d < kDepth; ++d) {
        const int64_t at = ih + (g * kDepth + d) * job.dilation_h;
        window[d] = at >= 0 && at < in.h ? in.data + n * in.stride_n + at * in.stride_h + c : nullptr;
      }
      for (int64_t kw = 0; kw < job.kernel_w; kw += most) {
        const int64_t taps = job.kernel_w - kw < most ? job.kernel_w - kw : most;
        Int8Step& step = unit->steps[unit->step_count];
        step = {taps, taps < job.column_stride ? taps : job.column_stride,
                (whole_pixels + (taps - 1) / job.column_stride) * ByteWords::kLanes};
        lay_out_columns(job, window, iw + kw * job.dilation_w, step, whole_pixels, unit->n,
                        unit->step_columns(unit->step_count));
        weights += taps * job.packed_rows * kDepthwiseUnit;
        unit->last = g + 1 == groups && kw + taps == job.kernel_w;
        if (++unit->step_count < kInt8Steps && !unit->last) continue;
        rows == 2 ? add_steps<2>(job, unit, output) : add_steps<1>(job, unit, output);
        unit->weights = weights;
        unit->step_count = 0, unit->first = false;
      }
    }
    unit->packed = weights;
  }
}

// Row blocks [block_begin, block_end) of the n * row_blocks of all images.
template <class Out>
inline void depthwise_int8(const Int8Depthwise<Out>& job, int64_t block_begin, int64_t block_end) {
  Int8Unit unit;
  const int64_t out_h = job.rows.out_h, out_w = job.rows.out_w;
  for (int64_t b = block_begin; b < block_end; ++b) {
    const int64_t n = b / job.row_blocks, first_row = b % job.row_blocks * job.packed_rows * job.step_h;
    for (int64_t oh = first_row; oh < first_row + job.step_h && oh < out_h; ++oh) {
      const int rows = job.packed_rows == 2 && oh + job.step_h < out_h ? 2 : 1;
      for (int64_t first = 0; first < out_w; first += kInt8Pixels * job.step_w) {
        for (int64_t ow = first; ow < first + job.step_w && ow < out_w; ++ow) {
          const int64_t left = (out_w - ow + job.step_w - 1) / job.step_w;
          depthwise_int8_block(job, n, oh, rows, ow, left < kInt8Pixels ? left : kInt8Pixels, &unit);
        }
      }
    }
  }
}

}  // namespace pyvision::PYVISION_ISA_NS
