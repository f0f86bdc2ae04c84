// SPDX-License-Identifier: Apache-2.0
#include "ops/prepare_image/prepare_image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

struct Tap {
  int64_t first, second;  // [0, extent), second is first or first + 1
  float weight;           // of the second
};

// Where output i of `out` lies among `extent` pixels.
Tap tap_at(int64_t i, int64_t out, int64_t extent) {
  const double position =
      (static_cast<double>(i) + 0.5) * static_cast<double>(extent) / static_cast<double>(out) - 0.5;
  const double clamped = std::clamp(position, 0.0, static_cast<double>(extent - 1));
  const int64_t first = static_cast<int64_t>(clamped);
  return {first, std::min(first + 1, extent - 1), static_cast<float>(clamped - static_cast<double>(first))};
}

// A pixel's three output channels in the low three bytes.
template <bool kBgr>
uint32_t pixel(const uint8_t* p, int64_t step) {
  const uint32_t r = p[0], g = p[step], b = p[2 * step];
  return kBgr ? b | g << 8 | r << 16 : r | g << 8 | b << 16;
}

// The same by one load. It reads a fourth byte, so a further pixel must follow.
template <bool kBgr>
uint32_t packed_pixel(const uint8_t* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return kBgr ? __builtin_bswap32(word) >> 8 : word;
}

// Copies the pixels at `offsets` of one row side by side. Each is written as four bytes, the fourth of which
// the next one overwrites: `out` has room for 3 n + 1. The first `packed` pixels may be read as words.
template <bool kBgr>
void gather_row(const ImageView& image, const uint8_t* row, const int64_t* offsets, int64_t n, int64_t packed,
                uint8_t* out) {
  const auto put = [out](int64_t j, uint32_t word) { std::memcpy(out + 3 * j, &word, sizeof word); };
  if (image.channels == 1) {
    for (int64_t j = 0; j < n; ++j) put(j, row[offsets[j]] * 0x010101u);
    return;
  }
  const int64_t step = image.stride_c;  // a copy: for all the compiler knows, `out` may point at `image`
  for (int64_t j = 0; j < packed; ++j) put(j, packed_pixel<kBgr>(row + offsets[j]));
  for (int64_t j = packed; j < n; ++j) put(j, pixel<kBgr>(row + offsets[j], step));
}

void fill_row(const float* values, float* y, int64_t pixels) {
  for (int64_t j = 0; j < pixels; ++j) std::copy_n(values, 3, y + 3 * j);
}

template <bool kBgr>
void prepare(const ImageView& image, const PrepareImageParams& p, float* output) {
  const int64_t n = p.region_w, values = 3 * n;
  float pad[3];
  for (int c = 0; c < 3; ++c) pad[c] = (p.pad - p.mean[c]) / p.stdev[c];

  // What every row has in common.
  Scratch<int64_t> offsets(2 * n);  // of the left taps, then of the right ones
  Scratch<float> columns(3 * values);
  float *wx = columns, *mean = wx + values, *stdev = mean + values;
  const bool words = image.channels != 1 && image.stride_c == 1 && image.stride_w >= 3;
  int64_t packed[2] = {0, 0};
  for (int64_t j = 0; j < n; ++j) {
    const Tap tap = tap_at(j, n, image.w);
    offsets[j] = tap.first * image.stride_w;
    offsets[n + j] = tap.second * image.stride_w;
    packed[0] += words && tap.first < image.w - 1;  // columns never fall: these are the leading ones
    packed[1] += words && tap.second < image.w - 1;
    for (int c = 0; c < 3; ++c) {
      wx[3 * j + c] = tap.weight;
      mean[3 * j + c] = p.mean[c];
      stdev[3 * j + c] = p.stdev[c];
    }
  }

  const PrepareImageKernels& kernels = prepare_image_kernels();
  const int64_t grain = std::max<int64_t>(1, 16384 / p.out_w);  // pixels: some 50 us
  const int64_t* const offsets_of_all = offsets;
  parallel_for(p.out_h, grain, [&](int64_t begin, int64_t end) {
    const int64_t length = values + 1;
    Scratch<uint8_t> gathered(4 * length);
    uint8_t* taps[4] = {gathered, gathered + length, gathered + 2 * length, gathered + 3 * length};
    for (int64_t i = begin; i < end; ++i) {
      float* y = output + 3 * i * p.out_w;
      if (i < p.top || i >= p.top + p.region_h) {
        fill_row(pad, y, p.out_w);
        continue;
      }
      const Tap tap = tap_at(i - p.top, p.region_h, image.h);
      for (int side = 0; side < 2; ++side) {
        const int64_t* columns_of_side = offsets_of_all + side * n;
        const uint8_t *up = image.data + tap.first * image.stride_h,
                      *down = image.data + tap.second * image.stride_h;
        gather_row<kBgr>(image, up, columns_of_side, n, packed[side], taps[side]);
        gather_row<kBgr>(image, down, columns_of_side, n, packed[side], taps[2 + side]);
      }
      fill_row(pad, y, p.left);
      kernels.row(taps, wx, tap.weight, mean, stdev, y + 3 * p.left, values);
      fill_row(pad, y + 3 * (p.left + n), p.out_w - p.left - n);
    }
  });
}

}  // namespace

void prepare_image(const ImageView& image, const PrepareImageParams& params, float* output) {
  params.bgr ? prepare<true>(image, params, output) : prepare<false>(image, params, output);
}

}  // namespace pyvision
