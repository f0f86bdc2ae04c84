// SPDX-License-Identifier: Apache-2.0
#include "ops/warp/grid_sample-inl.h"
#include "ops/warp/warp.h"
#include "simd/cubic-inl.h"
#include "simd/lanes-inl.h"
#include "simd/storage-inl.h"

namespace pyvision::PYVISION_ISA_NS {

constexpr float kFarthest = 1 << 25;
static_assert(kWarpBlock % F32::kLanes == 0, "positions are stored as whole vectors");

inline F32 clamped(F32 x, float limit) {  // NaN becomes the limit
  return max(F32::set(-limit), min(x, F32::set(limit)));
}

// Whole part and fraction of positions u beside the whole numbers `origin`, which are even: so that of two
// pixels as near the even one is taken.
inline void split(F32 u, int32_t origin, int taps, int32_t* whole, float* fraction) {
  const F32 x = clamped(u, kFarthest);
  const F32 below = taps == 1 ? round(x) : floor(x);
  (to_i32(below) + I32::set(origin - (taps == 4))).store(whole);
  (x - below).store(fraction);
}

inline void project(const WarpLine& line, int taps, int count, WarpPositions* positions) {
  const F32 a = F32::set(line.a), b = F32::set(line.b), c = F32::set(line.c), d = F32::set(line.d);
  const F32 g = F32::set(line.g), e = F32::set(line.e), one = F32::set(1.0f);
  const bool affine = line.g == 0.0f && line.e == 1.0f;
  for (int i = 0; i < count; i += F32::kLanes) {
    const F32 t = F32::iota() + F32::set(static_cast<float>(i));
    F32 u = fma(a, t, b), v = fma(c, t, d);
    if (!affine) {
      const F32 scale = one / fma(g, t, e);
      u = u * scale, v = v * scale;
    }
    split(u, line.x, taps, positions->x + i, positions->fx + i);
    split(v, line.y, taps, positions->y + i, positions->fy + i);
  }
}

inline void look_up(const float* map_x, const float* map_y, int64_t step, int taps, int count,
                    WarpPositions* positions) {
  float u[kWarpBlock], v[kWarpBlock];
  for (int i = 0; i < count; ++i) u[i] = map_x[i * step], v[i] = map_y[i * step];
  for (int i = count; i % F32::kLanes != 0; ++i) u[i] = v[i] = 0.0f;
  for (int i = 0; i < count; i += F32::kLanes) {
    split(F32::load(u + i), 0, taps, positions->x + i, positions->fx + i);
    split(F32::load(v + i), 0, taps, positions->y + i, positions->fy + i);
  }
}

// Plain loops: compilers make vectors of them. A negative number is a large one without its sign.
inline bool locate(const WarpPositions& positions, int count, int32_t last_x, int32_t last_y,
                   const void* image, int64_t stride, int64_t pixel, const void** windows) {
  uint32_t outside = 0;
  for (int i = 0; i < count; ++i)
    outside |= static_cast<uint32_t>(static_cast<uint32_t>(positions.x[i]) > static_cast<uint32_t>(last_x)) |
               static_cast<uint32_t>(static_cast<uint32_t>(positions.y[i]) > static_cast<uint32_t>(last_y));
  // Unsigned: addresses far outside may wrap, and nobody reads there.
  const auto address = [=](int32_t y, int32_t x) {
    return reinterpret_cast<uintptr_t>(image) + static_cast<uintptr_t>(y) * static_cast<uintptr_t>(stride) +
           static_cast<uintptr_t>(x) * static_cast<uintptr_t>(pixel);
  };
  for (int i = 0; i < count; ++i)
    windows[i] = reinterpret_cast<const void*>(address(positions.y[i], positions.x[i]));
  return outside == 0;
}

// Rows are blended first, in 16 bits with 2^15 taken off; then neighbours, as pairs of them:
//
//   words   a0 a1 a2 b0 b1 b2 . .          the pixels a and b, three channels here
//   pairs   a0 b0 | a1 b1 | a2 b2 | . .    times 256 - f, f
constexpr int kByteOffset = 1 << 15;

// Both weights of every position in 256ths, as pairs of 16 bits.
inline void byte_weights(const float* fractions, int count, int32_t* pairs) {
  for (int i = 0; i < count; i += F32::kLanes) {
    const I32 f = to_i32(fma(F32::load(fractions + i), F32::set(256.0f), F32::set(0.5f)));
    ((I32::set(256) - f) | shift_left<16>(f)).store(pairs + i);
  }
}

// One channel: neighbours in a row lie in one word, all four pixels of a sample in one lane.
inline void sample_grey(const uint8_t* const* windows, const int64_t* rows, const int32_t* wx,
                        const int32_t* wy, int count, uint8_t* out) {
  alignas(64) int32_t pixels[kWarpBlock];
  for (int i = 0; i < count; ++i) {
    uint16_t above, below;
    __builtin_memcpy(&above, windows[i], 2);
    __builtin_memcpy(&below, windows[i] + rows[i], 2);
    pixels[i] = static_cast<int32_t>(above | static_cast<uint32_t>(below) << 16);
  }
  for (int i = count; i % I32::kLanes != 0; ++i) pixels[i] = 0;
  const I32 bytes = I32::set(0x00ff00ff), low = I32::set(0xffff), offset = I32::set(kByteOffset);
  for (int i = 0; i < count; i += I32::kLanes) {
    const I32 four = I32::load(pixels + i), vertical = I32::load(wy + i);
    const I32 left = multiply_pairs(four & bytes, vertical) - offset;
    const I32 right = multiply_pairs(shift_right<8>(four) & bytes, vertical) - offset;
    const I32 sum = multiply_pairs((left & low) | shift_left<16>(right), I32::load(wx + i));
    shift_right<16>(sum + I32::set(256 * kByteOffset + (1 << 15))).store_u8(out + i);
  }
}

inline void sample_few_u8(const uint8_t* const* windows, const int64_t* rows, const WarpPositions& positions,
                          int count, int64_t channels, uint8_t* out) {
  alignas(64) int32_t wx[kWarpBlock], wy[kWarpBlock];
  byte_weights(positions.fx, count, wx);
  byte_weights(positions.fy, count, wy);
  if (channels == 1) return sample_grey(windows, rows, wx, wy, count, out);
#if defined(__AVX2__)
  const auto eight = [](const uint8_t* p) {
    int64_t word;
    __builtin_memcpy(&word, p, 8);
    return word;
  };
  alignas(16) uint8_t pair_bytes[16];
  for (int k = 0; k < 16; ++k) {
    const int64_t c = k / 4 < channels ? k / 4 : 0;
    pair_bytes[k] = static_cast<uint8_t>(2 * (c + (k % 4 >= 2 ? channels : 0)) + k % 2);
  }
  const __m128i pairs = _mm_load_si128(reinterpret_cast<const __m128i*>(pair_bytes));
  constexpr int kRounding = 256 * kByteOffset + (1 << 15);
#endif
#if defined(__AVX512BW__)
  const __m512i all_pairs = _mm512_broadcast_i32x4(pairs);
  // Quarter q of a register takes position q: its first weight, its second one, both.
  const __m512i step =
      _mm512_setr_epi32(0, 0, 0, 0, 0x04040404, 0x04040404, 0x04040404, 0x04040404, 0x08080808, 0x08080808,
                        0x08080808, 0x08080808, 0x0c0c0c0c, 0x0c0c0c0c, 0x0c0c0c0c, 0x0c0c0c0c);
  const __m512i first = _mm512_add_epi32(step, _mm512_set1_epi32(0x01000100));
  const __m512i second = _mm512_add_epi32(step, _mm512_set1_epi32(0x03020302));
  const __m512i both = _mm512_add_epi32(step, _mm512_set1_epi32(0x03020100));
  alignas(16) uint8_t kept[16];  // the bytes that are channels
  for (int k = 0; k < 16; ++k)
    kept[k] = static_cast<uint8_t>(k < 4 * channels ? k / channels * 4 + k % channels : 0);
  const __m128i keep = _mm_load_si128(reinterpret_cast<const __m128i*>(kept));
  for (int i = 0; i < count; i += 4) {
    const auto words = [&](int64_t far) {
      const __m256i bytes = _mm256_set_epi64x(
          eight(windows[i + 3] + far * rows[i + 3]), eight(windows[i + 2] + far * rows[i + 2]),
          eight(windows[i + 1] + far * rows[i + 1]), eight(windows[i] + far * rows[i]));
      return _mm512_cvtepu8_epi16(bytes);
    };
    const __m512i vertical = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(wy + i)));
    const __m512i horizontal =
        _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(wx + i)));
    const __m512i blended =
        _mm512_add_epi16(_mm512_mullo_epi16(words(0), _mm512_shuffle_epi8(vertical, first)),
                         _mm512_mullo_epi16(words(1), _mm512_shuffle_epi8(vertical, second)));
    const __m512i centred = _mm512_xor_si512(blended, _mm512_set1_epi16(static_cast<int16_t>(kByteOffset)));
    const __m512i sum =
        _mm512_madd_epi16(_mm512_shuffle_epi8(centred, all_pairs), _mm512_shuffle_epi8(horizontal, both));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(sum, _mm512_set1_epi32(kRounding)), 16);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * channels),
                     _mm_shuffle_epi8(_mm512_cvtepi32_epi8(rounded), keep));
  }
#elif defined(__AVX2__)
  const __m256i all_pairs = _mm256_broadcastsi128_si256(pairs);
  const __m256i step = _mm256_setr_epi32(0, 0, 0, 0, 0x04040404, 0x04040404, 0x04040404, 0x04040404);
  const __m256i first = _mm256_add_epi32(step, _mm256_set1_epi32(0x01000100));
  const __m256i second = _mm256_add_epi32(step, _mm256_set1_epi32(0x03020302));
  const __m256i both = _mm256_add_epi32(step, _mm256_set1_epi32(0x03020100));
  for (int i = 0; i < count; i += 2) {
    const auto words = [&](int64_t far) {
      return _mm256_cvtepu8_epi16(
          _mm_set_epi64x(eight(windows[i + 1] + far * rows[i + 1]), eight(windows[i] + far * rows[i])));
    };
    const auto weights = [i](const int32_t* w) {
      return _mm256_broadcastsi128_si256(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(w + i)));
    };
    const __m256i vertical = weights(wy), horizontal = weights(wx);
    const __m256i blended =
        _mm256_add_epi16(_mm256_mullo_epi16(words(0), _mm256_shuffle_epi8(vertical, first)),
                         _mm256_mullo_epi16(words(1), _mm256_shuffle_epi8(vertical, second)));
    const __m256i centred = _mm256_xor_si256(blended, _mm256_set1_epi16(static_cast<int16_t>(kByteOffset)));
    const __m256i sum =
        _mm256_madd_epi16(_mm256_shuffle_epi8(centred, all_pairs), _mm256_shuffle_epi8(horizontal, both));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(kRounding)), 16);
    const __m256i narrow = _mm256_packus_epi16(_mm256_packus_epi32(rounded, rounded), rounded);
    const int32_t pixel[2] = {_mm256_extract_epi32(narrow, 0), _mm256_extract_epi32(narrow, 4)};
    __builtin_memcpy(out + i * channels, pixel, 4);
    __builtin_memcpy(out + (i + 1) * channels, pixel + 1, 4);  // over what the first wrote behind its pixel
  }
#else
  for (int i = 0; i < count; ++i) {
    const int32_t left = wx[i] & 0xffff, right = wx[i] >> 16, upper = wy[i] & 0xffff, lower = wy[i] >> 16;
    const uint8_t *above = windows[i], *below = above + rows[i];
    for (int64_t c = 0; c < channels; ++c) {
      const int32_t a = above[c] * upper + below[c] * lower;
      const int32_t b = above[c + channels] * upper + below[c + channels] * lower;
      out[i * channels + c] = static_cast<uint8_t>((a * left + b * right + (1 << 15)) >> 16);
    }
  }
#endif
}

inline void sample_few_f32(const float* const* windows, const int64_t* rows, const WarpPositions& positions,
                           int count, int64_t channels, float* out) {
#if defined(__AVX2__)
  const __m256i next = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 0, 0, 0, 0),
                                        _mm256_set1_epi32(static_cast<int>(channels)));
  for (int i = 0; i < count; ++i) {
    const __m256 above = _mm256_loadu_ps(windows[i]), below = _mm256_loadu_ps(windows[i] + rows[i]);
    const __m256 left =
        _mm256_fmadd_ps(_mm256_broadcast_ss(positions.fy + i), _mm256_sub_ps(below, above), above);
    const __m256 step = _mm256_sub_ps(_mm256_permutevar8x32_ps(left, next), left);
    const __m256 pixel = _mm256_fmadd_ps(_mm256_broadcast_ss(positions.fx + i), step, left);
    _mm_storeu_ps(out + i * channels, _mm256_castps256_ps128(pixel));  // the next one covers what is too much
  }
#else
  for (int i = 0; i < count; ++i) {
    const float *above = windows[i], *below = above + rows[i];
    for (int64_t c = 0; c < channels; ++c) {
      const float left = above[c] + positions.fy[i] * (below[c] - above[c]);
      const float right = above[c + channels] + positions.fy[i] * (below[c + channels] - above[c + channels]);
      out[i * channels + c] = left + positions.fx[i] * (right - left);
    }
  }
#endif
}

template <int kBytes>
inline void copy_pixels(const void* const* windows, int count, uint8_t* out) {
  for (int i = 0; i < count; ++i) __builtin_memcpy(out + i * kBytes, windows[i], kBytes);
}

// Nearest: one pixel each.
template <class T>
inline void sample_nearest(const T* const* windows, int count, int64_t channels, T* out) {
  const auto* const from = reinterpret_cast<const void* const*>(windows);
  auto* const to = reinterpret_cast<uint8_t*>(out);
  if (channels == 1) return copy_pixels<sizeof(T)>(from, count, to);
  if (channels == 3) return copy_pixels<3 * sizeof(T)>(from, count, to);
  if (channels == 4) return copy_pixels<4 * sizeof(T)>(from, count, to);
  for (int i = 0; i < count; ++i)
    __builtin_memcpy(out + i * channels, windows[i], static_cast<size_t>(channels) * sizeof(T));
}

template <int kTaps>
inline void tap_weights(float f, float (&weight)[kTaps]) {
  if constexpr (kTaps == 2) {
    weight[0] = 1.0f - f, weight[1] = f;
  } else {
    cubic_weights(f, weight);
  }
}

// Of a block's positions, so that compilers make vectors of it.
template <int kTaps>
inline void block_weights(const float* fractions, int count, float (&weight)[kTaps][kWarpBlock]) {
  for (int i = 0; i < count; ++i) {
    float w[kTaps];
    tap_weights(fractions[i], w);
    for (int k = 0; k < kTaps; ++k) weight[k][i] = w[k];
  }
}

inline float as_stored(float x, const float*) { return x; }
inline uint8_t as_stored(float x, const uint8_t*) {
  const float level = x > 0 ? x < 255 ? x : 255.0f : 0.0f;
  return static_cast<uint8_t>(__builtin_nearbyintf(level));
}
inline F32 as_stored(F32 x, const float*) { return x; }
inline F32 as_stored(F32 x, const uint8_t*) { return round(max(F32::zero(), min(x, F32::set(255.0f)))); }

template <int kTaps, class T>
inline void sample_windows(const T* const* windows, const int64_t* rows, const WarpPositions& positions,
                           int count, int64_t channels, float* scratch, T* out) {
  float wx[kTaps][kWarpBlock], wy[kTaps][kWarpBlock];
  block_weights(positions.fx, count, wx);
  block_weights(positions.fy, count, wy);
  for (int i = 0; i < count; ++i, out += channels) {
    const T* const window = windows[i];
    const int64_t row = rows[i];
    for_each_vector<float>(kTaps * channels, [&](int64_t k, int lanes) __attribute__((always_inline)) {
      F32 sum = F32::zero();
#pragma GCC unroll 4
      for (int r = 0; r < kTaps; ++r) {
        const T* const p = window + r * row + k;
        const F32 pixel = lanes == F32::kLanes ? load_f32(p) : load_f32_n(p, lanes);
        sum = fma(pixel, F32::set(wy[r][i]), sum);
      }
      sum.store(scratch + k);  // whole, so that parts of it can be read again at once
    });
    if (channels <= 4) {  // less than a vector, which would have to wait for several stores
      for (int64_t c = 0; c < channels; ++c) {
        float sum = scratch[c] * wx[0][i];
#pragma GCC unroll 4
        for (int k = 1; k < kTaps; ++k) sum += scratch[k * channels + c] * wx[k][i];
        out[c] = as_stored(sum, out);
      }
      continue;
    }
    for_each_vector<float>(channels, [&](int64_t c, int lanes) __attribute__((always_inline)) {
      F32 sum = F32::load(scratch + c) * F32::set(wx[0][i]);
#pragma GCC unroll 4
      for (int k = 1; k < kTaps; ++k)
        sum = fma(F32::load(scratch + k * channels + c), F32::set(wx[k][i]), sum);
      const F32 y = as_stored(sum, out);
      if (lanes == F32::kLanes)
        store_as(y, out + c);
      else
        store_as_n(y, out + c, lanes);
    });
  }
}

// One channel: the four neighbours of a row lie in one word, and a vector takes as many samples as it has
// lanes.
inline void sample_grey_cubic(const uint8_t* const* windows, const int64_t* rows,
                              const WarpPositions& positions, int count, uint8_t* out) {
  alignas(64) float wx[4][kWarpBlock], wy[4][kWarpBlock];
  alignas(64) int32_t pixels[4][kWarpBlock];
  block_weights(positions.fx, count, wx);
  block_weights(positions.fy, count, wy);
  for (int i = 0; i < count; ++i)
    for (int r = 0; r < 4; ++r) __builtin_memcpy(&pixels[r][i], windows[i] + r * rows[i], 4);
  for (int i = 0; i < count; i += F32::kLanes) {
    F32 sum = F32::zero();
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const I32 four = I32::load(pixels[r] + i), byte = I32::set(0xff);
      F32 row = to_f32(four & byte) * F32::load(wx[0] + i);
      row = fma(to_f32(shift_right<8>(four) & byte), F32::load(wx[1] + i), row);
      row = fma(to_f32(shift_right<16>(four) & byte), F32::load(wx[2] + i), row);
      row = fma(to_f32(shift_right<24>(four)), F32::load(wx[3] + i), row);
      sum = fma(row, F32::load(wy[r] + i), sum);
    }
    to_i32(as_stored(sum, out)).store_u8_n(out + i, count - i);
  }
}

template <class T>
inline void sample(const T* const* windows, const int64_t* rows, const WarpPositions& positions, int taps,
                   int count, int64_t channels, float* scratch, T* out) {
  if (taps == 1) return sample_nearest(windows, count, channels, out);
  if (taps == 2) return sample_windows<2>(windows, rows, positions, count, channels, scratch, out);
  if constexpr (sizeof(T) == 1)
    if (channels == 1) return sample_grey_cubic(windows, rows, positions, count, out);
  sample_windows<4>(windows, rows, positions, count, channels, scratch, out);
}

const WarpKernels warp = {F32::kIsaName,
                          project,
                          look_up,
                          locate,
                          sample_few_u8,
                          sample_few_f32,
                          sample<uint8_t>,
                          sample<float>,
                          {grid_sample_forward<float>, grid_sample_backward<float>},
                          {grid_sample_forward<double>, grid_sample_backward<double>}};

}  // namespace pyvision::PYVISION_ISA_NS
