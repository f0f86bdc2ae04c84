// SPDX-License-Identifier: Apache-2.0
#include "ops/grey_filters/grey_filters.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

inline void to_grey(const uint8_t* pixels, int64_t step, int64_t n, uint8_t* y) {
  for (int64_t x = 0; x < n; ++x) {
    const uint8_t* const p = pixels + x * step;
    y[x] = static_cast<uint8_t>((9798 * p[0] + 19235 * p[1] + 3735 * p[2] + (1 << 14)) >> 15);
  }
}

constexpr int kSignedOffset = 1 << 15;

// Plain loops over 16 bits: compilers make vectors of them.
inline void blend_rows(const uint8_t* top, const uint8_t* bottom, int weight, int64_t n, int16_t* sums) {
  const auto high = static_cast<uint16_t>(256 - weight), low = static_cast<uint16_t>(weight);
  for (int64_t x = 0; x < n; ++x) {
    const auto sum =
        static_cast<uint16_t>(static_cast<uint16_t>(top[x] * high) + static_cast<uint16_t>(bottom[x] * low));
    sums[x] = static_cast<int16_t>(sum - kSignedOffset);
  }
}

// sum_i w[i] (v[i] - 2^15) to v's 8 bits before the point, rounded: the weights sum to 256.
inline I32 rounding() { return I32::set(256 * kSignedOffset + (1 << 15)); }

// Neighbours as the pairs of 16 bits that are multiplied and added together.
#if defined(__AVX512BW__)
inline I32 load_pairs(const int16_t* p) { return {_mm512_loadu_si512(p)}; }
#elif defined(__AVX2__)
inline I32 load_pairs(const int16_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
#else
inline I32 load_pairs(const int16_t* p) {
  I32 pair;
  __builtin_memcpy(&pair.v, p, sizeof pair.v);
  return pair;
}
#endif

// The same of four outputs from each of a vector's quarters.
#if defined(__AVX512BW__)
inline I32 load_quads(const int16_t* sums, const int64_t* first, const ResizeQuad* quad) {
  const auto words = [=](int i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + first[i]));
  };
  __m512i four = _mm512_castsi128_si512(words(0));
  four = _mm512_inserti32x4(four, words(1), 1);
  four = _mm512_inserti32x4(four, words(2), 2);
  four = _mm512_inserti32x4(four, words(3), 3);
  return {_mm512_shuffle_epi8(four, _mm512_loadu_si512(quad))};
}
#elif defined(__AVX2__)
inline I32 load_quads(const int16_t* sums, const int64_t* first, const ResizeQuad* quad) {
  const auto words = [=](int i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + first[i]));
  };
  const __m256i two = _mm256_inserti128_si256(_mm256_castsi128_si256(words(0)), words(1), 1);
  return {_mm256_shuffle_epi8(two, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quad)))};
}
#endif

inline void resize_row(const int16_t* sums, const ResizeColumns& columns, int64_t n, uint8_t* y) {
  int64_t x = 0;
#if defined(__AVX2__)
  if (columns.quads_fit) {
    for (; x + I32::kLanes <= n; x += I32::kLanes) {
      const I32 pairs = load_quads(sums, columns.first + x / 4, columns.quad + x / 4);
      const I32 sum = multiply_pairs(pairs, I32::load(columns.weights + x)) + rounding();
      shift_right<16>(sum).store_u8(y + x);
    }
  }
#endif
  for (; x < n; ++x) {
    const int16_t* const pair = sums + columns.left[x];
    const int32_t low = columns.weights[x] & 0xffff, high = columns.weights[x] >> 16;
    const int32_t sum = pair[0] * low + pair[1] * high + 256 * kSignedOffset + (1 << 15);
    y[x] = static_cast<uint8_t>(sum >> 16);
  }
}

// exp(-x^2 / 8) in 256ths, rounded from the outside in so that they sum to 256.
constexpr int kTap0 = 18, kTap1 = 34, kTap2 = 48, kTap3 = 56;
static_assert(2 * (kTap0 + kTap1 + kTap2) + kTap3 == 256);

inline void blur_columns(const uint8_t* const rows[kBlurTaps], int64_t n, int16_t* sums) {
  const uint8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3], *e = rows[4], *f = rows[5],
                *g = rows[6];
  for (int64_t x = 0; x < n; ++x) {
    const auto outer = static_cast<uint16_t>(static_cast<uint16_t>((a[x] + g[x]) * kTap0) +
                                             static_cast<uint16_t>((b[x] + f[x]) * kTap1));
    const auto inner = static_cast<uint16_t>(static_cast<uint16_t>((c[x] + e[x]) * kTap2) +
                                             static_cast<uint16_t>(d[x] * kTap3));
    sums[x] = static_cast<int16_t>(static_cast<uint16_t>(outer + inner) - kSignedOffset);
  }
}

constexpr int32_t tap_pair(int low, int high) { return low | high << 16; }

inline void blur_row(const int16_t* sums, int64_t n, uint8_t* y) {
  const I32 w01 = I32::set(tap_pair(kTap0, kTap1)), w23 = I32::set(tap_pair(kTap2, kTap3)),
            w45 = I32::set(tap_pair(kTap2, kTap1)), w6 = I32::set(tap_pair(kTap0, 0));
  const auto every_second = [=](const int16_t* p) {
    const I32 outer = multiply_pairs(load_pairs(p), w01) + multiply_pairs(load_pairs(p + 6), w6);
    const I32 inner = multiply_pairs(load_pairs(p + 2), w23) + multiply_pairs(load_pairs(p + 4), w45);
    return outer + inner + rounding();
  };
  constexpr int64_t kStep = 2 * I32::kLanes;
  const I32 upper = I32::set(static_cast<int32_t>(0xffff0000u));
  const auto both = [=](const int16_t* p) {  // outputs as 16-bit lanes
    return shift_right<16>(every_second(p)) | (every_second(p + 1) & upper);
  };
  uint16_t words[kStep];
  for (int64_t x = 0; x < n; x += kStep) {
    const I32 two = both(sums + x);
#if defined(__AVX512BW__)
    if (x + kStep <= n) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + x), _mm512_cvtepi16_epi8(two.v));
      continue;
    }
#elif defined(__AVX2__)
    if (x + kStep <= n) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y + x),
                       _mm_packus_epi16(_mm256_castsi256_si128(two.v), _mm256_extracti128_si256(two.v, 1)));
      continue;
    }
#endif
    __builtin_memcpy(words, &two, sizeof words);
    for (int64_t i = 0; i < kStep && x + i < n; ++i) y[x + i] = static_cast<uint8_t>(words[i]);
  }
}

// Calls put(x, values) for vectors of whole numbers: a 0, then the pixels of row y.
template <class Pixels, class Put>
[[gnu::always_inline]] inline void for_each_pixel(Pixels pixels, int64_t w, Put put) {
  constexpr int kLanes = I32::kLanes;
  const F32 first = bits_as_f32(pixels(0, static_cast<int>(w < kLanes - 1 ? w : kLanes - 1)));
  put(0, bits_as_i32(move_up(F32::zero(), first)));
  for_each_vector<int32_t>(w + 1 - kLanes,
                           [&](int64_t x, int lanes) { put(x + kLanes, pixels(x + kLanes - 1, lanes)); });
}
template <class Put>
[[gnu::always_inline]] inline void for_each_pixel(const AnyImage& image, int64_t y, float level, Put put) {
  if (image.bytes != nullptr) {
    const uint8_t* const row = image.bytes + y * image.stride;
    for_each_pixel([=](int64_t x, int lanes) { return I32::load_u8_n(row + x, lanes); }, image.w, put);
  } else {
    const float* const row = image.floats + y * image.stride;
    const F32 most = F32::set(255.0f), half = F32::set(0.5f), unit = F32::set(level);
    const auto pixels = [=](int64_t x, int lanes) {
      return to_i32(min(max(load_lanes(row + x, lanes), F32::zero()), most) * unit + half);
    };
    for_each_pixel(pixels, image.w, put);
  }
}

inline void add_row(const AnyImage& image, int64_t y, float level, int32_t* sums) {
  for_each_pixel(image, y, level,
                 [=](int64_t x, I32 values) { (I32::load(sums + x) + values).store(sums + x); });
}

inline void integrate_row(const AnyImage& image, int64_t y, float level, const int32_t* above,
                          int32_t* below) {
  I32 before = I32::zero();
  for_each_pixel(image, y, level, [&](int64_t x, I32 values) {
    I32 all;
    (I32::load(above + x) + (prefix_sum(values, &all) + before)).store(below + x);
    before = before + all;
  });
}

const GreyFiltersKernels grey_filters = {F32::kIsaName, to_grey,  blend_rows, resize_row,
                                         blur_columns,  blur_row, add_row,    integrate_row};

}  // namespace pyvision::PYVISION_ISA_NS
