// SPDX-License-Identifier: Apache-2.0
#include "ops/warp/warp.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

// What `block` pixels starting at (oh, ow) of the output see.
using Place = FunctionRef<void(int64_t oh, int64_t ow, int count, WarpPositions* positions)>;

int taps_of(WarpMode mode) { return mode == WarpMode::kNearest ? 1 : mode == WarpMode::kBilinear ? 2 : 4; }

int64_t modulo(int64_t i, int64_t n) {
  const int64_t rest = i % n;
  return rest < 0 ? rest + n : rest;
}

// The pixel in [0, n) that stands at i, or -1 for the border's value.
int64_t resolved(BorderMode border, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  switch (border) {
    case BorderMode::kConstant:
      return -1;
    case BorderMode::kReplicate:
      return i < 0 ? 0 : n - 1;
    case BorderMode::kReflect:
      i = modulo(i, 2 * n);
      return std::min(i, 2 * n - 1 - i);
    case BorderMode::kReflect101:
      if (n == 1) return 0;
      i = modulo(i, 2 * n - 2);
      return std::min(i, 2 * n - 2 - i);
    case BorderMode::kWrap:
      break;
  }
  return modulo(i, n);
}

// A copy of the window that begins at (top, left), rows `row` elements apart.
template <class T>
void copy_window(BorderMode border, const Nhwc<const T>& x, int64_t n, int64_t top, int64_t left, int taps,
                 const T* value, int64_t row, T* window) {
  for (int i = 0; i < taps; ++i) {
    const int64_t h = resolved(border, top + i, x.h);
    for (int j = 0; j < taps; ++j) {
      const int64_t w = resolved(border, left + j, x.w);
      const T* const pixel = h < 0 || w < 0 ? value : x.at(n, h, w);
      std::copy_n(pixel, x.c, window + i * row + j * x.c);
    }
  }
}

// Elements of a window's row as copied: with what kernels may read behind it.
int64_t row_of_copy(int taps, int64_t channels) { return taps * channels + kWarpReadAhead; }

// Whether the kernels for few channels take it.
bool is_few(int taps, int64_t channels) { return taps == 2 && channels <= 4; }

// Where the windows of a block's samples are read: in the image or, where they reach over its edge, in a copy
// that the border's rule made.
template <class T>
class Windows {
 public:
  Windows(const WarpParams& params, const Nhwc<const T>& x, const T* border, int block)
      : kernels_(warp_kernels()),
        border_(params.border),
        x_(x),
        value_(border),
        taps_(taps_of(params.mode)),
        row_(row_of_copy(taps_, x.c)),
        copies_(block * taps_ * row_),
        outside_(row_) {
    // None where the image is smaller than a window, or than what is read of it.
    const int64_t margin = is_few(taps_, x.c) ? (kWarpReadAhead + x.c - 1) / x.c : taps_;
    last_x_ = static_cast<int32_t>(x.w - margin), last_y_ = static_cast<int32_t>(x.h - taps_);
    for (int k = 0; k < taps_; ++k) std::copy_n(border, x.c, outside_ + k * x.c);
    std::fill_n(outside_ + taps_ * x.c, kWarpReadAhead, T{0});
    std::fill_n(image_rows_, kWarpBlock, x.stride_h);
  }

  // Sets `first`, rounded up to a multiple of 4; returns the elements between rows of each.
  const int64_t* find(const WarpPositions& positions, int64_t n, int count) {
    const bool any_inside = last_x_ >= 0 && last_y_ >= 0;
    constexpr int64_t kSize = sizeof(T);
    const int64_t* rows = image_rows_;
    if (!any_inside ||
        !kernels_.locate(positions, count, last_x_, last_y_, x_.at(n, 0, 0), kSize * x_.stride_h,
                         kSize * x_.c, reinterpret_cast<const void**>(first))) {
      for (int k = 0; k < count; ++k) rows_[k] = find_one(k, n, positions.x[k], positions.y[k], any_inside);
      for (int k = count; k % 4 != 0; ++k) rows_[k] = rows_[count - 1];
      rows = rows_;
    }
    for (int k = count; k % 4 != 0; ++k) first[k] = first[count - 1];
    // Along a row of the image the processor fetches ahead by itself.
    if (positions.y[0] != positions.y[count - 1]) fetch(rows, count);
    return rows;
  }

  const T* first[kWarpBlock];

 private:
  void fetch(const int64_t* rows, int count) const {
    for (int k = 0; k < count; k += 2) {
      __builtin_prefetch(first[k]);
      __builtin_prefetch(first[k] + (taps_ - 1) * rows[k]);
    }
  }

  int64_t find_one(int k, int64_t n, int64_t left, int64_t top, bool any_inside) {
    if (any_inside && left >= 0 && left <= last_x_ && top >= 0 && top <= last_y_)
      return x_.stride_h;  // located already
    const bool beyond = left + taps_ <= 0 || top + taps_ <= 0 || left >= x_.w || top >= x_.h;
    if (beyond && border_ == BorderMode::kConstant) {
      first[k] = outside_;
      return 0;
    }
    T* const copy = copies_ + k * taps_ * row_;
    copy_window(border_, x_, n, top, left, taps_, value_, row_, copy);
    first[k] = copy;
    return row_;
  }

  const WarpKernels& kernels_;
  BorderMode border_;
  const Nhwc<const T>& x_;
  const T* value_;  // (c,)
  int taps_;
  int64_t row_;
  int32_t last_x_, last_y_;  // where windows inside begin at most
  Scratch<T> copies_, outside_;
  int64_t image_rows_[kWarpBlock], rows_[kWarpBlock];
};

template <class T>
void warp_rows(const WarpParams& params, const Nhwc<const T>& x, const T* border, const Nhwc<T>& y,
               Place place) {
  const WarpKernels& kernels = warp_kernels();
  const int taps = taps_of(params.mode);
  const int64_t c = x.c;
  const auto block =
      static_cast<int>(std::clamp<int64_t>((1 << 16) / (taps * row_of_copy(taps, c)), 1, kWarpBlock));
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / (y.w * std::min<int64_t>(c, 1 << 10)));
  parallel_for(y.n * y.h, grain, [&](int64_t begin, int64_t end) {
    const Scratch<T> results(block * c + 16);
    const Scratch<float> blended(taps * c + 16);
    // Two blocks in turn: while one is sampled, the other's pixels are on their way.
    struct Block {
      Block(const WarpParams& params, const Nhwc<const T>& x, const T* border, int block)
          : windows(params, x, border, block) {}

      Windows<T> windows;
      WarpPositions positions;
      const int64_t* rows;
      T* out;
      int count;
    };
    Block first(params, x, border, block), second(params, x, border, block);
    Block *next = &first, *ready = nullptr;
    const auto sample = [&](Block& b) {
      if (is_few(taps, c)) {
        if constexpr (std::is_same_v<T, uint8_t>)
          kernels.sample_few_u8(b.windows.first, b.rows, b.positions, b.count, c, results);
        else
          kernels.sample_few_f32(b.windows.first, b.rows, b.positions, b.count, c, results);
        std::copy_n(results.get(), b.count * c, b.out);
      } else if constexpr (std::is_same_v<T, uint8_t>) {
        kernels.sample_u8(b.windows.first, b.rows, b.positions, taps, b.count, c, blended, b.out);
      } else {
        kernels.sample_f32(b.windows.first, b.rows, b.positions, taps, b.count, c, blended, b.out);
      }
    };
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / y.h, oh = i % y.h;  // [0, n), [0, h)
      for (int64_t ow = 0; ow < y.w; ow += block) {
        next->count = static_cast<int>(std::min<int64_t>(block, y.w - ow));
        place(oh, ow, next->count, &next->positions);
        next->rows = next->windows.find(next->positions, n, next->count);
        next->out = y.at(n, oh, ow);
        if (ready != nullptr) sample(*ready);
        ready = next;
        next = next == &first ? &second : &first;
      }
    }
    if (ready != nullptr) sample(*ready);
  });
}

}  // namespace

template <class T>
void warp_projective(const WarpParams& params, const Nhwc<const T>& x, const double* h, const T* border,
                     const Nhwc<T>& y) {
  const WarpKernels& kernels = warp_kernels();
  const bool affine = h[6] == 0 && h[7] == 0 && h[8] == 1;
  const auto place = [&](int64_t oh, int64_t ow, int count, WarpPositions* positions) {
    const auto row = static_cast<double>(oh), first = static_cast<double>(ow);
    const auto at = [&](int k, double column) { return h[k] * column + h[k + 1] * row + h[k + 2]; };
    // In the middle of the block: what lies there is divided by 1.
    const double middle = first + 0.5 * count;
    double scale = affine ? 1 : 1 / at(6, middle);
    if (!std::isfinite(scale)) scale = 1;
    const auto even = [](double position) {
      return std::abs(position) < (1 << 24) ? 2 * std::nearbyint(position / 2) : 0.0;
    };
    const double u = even(at(0, middle) * scale), v = even(at(3, middle) * scale);
    WarpLine line;
    line.a = static_cast<float>((h[0] - u * h[6]) * scale);
    line.b = static_cast<float>((at(0, first) - u * at(6, first)) * scale);
    line.c = static_cast<float>((h[3] - v * h[6]) * scale);
    line.d = static_cast<float>((at(3, first) - v * at(6, first)) * scale);
    line.g = static_cast<float>(h[6] * scale);
    line.e = static_cast<float>(at(6, first) * scale);
    line.x = static_cast<int32_t>(u), line.y = static_cast<int32_t>(v);
    kernels.project(line, taps_of(params.mode), count, positions);
  };
  warp_rows<T>(params, x, border, y, place);
}

template <class T>
void warp_map(const WarpParams& params, const Nhwc<const T>& x, const float* map_x, const float* map_y,
              int64_t step, int64_t stride, const T* border, const Nhwc<T>& y) {
  const WarpKernels& kernels = warp_kernels();
  const auto place = [&](int64_t oh, int64_t ow, int count, WarpPositions* positions) {
    const int64_t first = oh * stride + ow * step;
    kernels.look_up(map_x + first, map_y + first, step, taps_of(params.mode), count, positions);
  };
  warp_rows<T>(params, x, border, y, place);
}

#define PYVISION_WARP(T)                                                                               \
  template void warp_projective(const WarpParams&, const Nhwc<const T>&, const double*, const T*,      \
                                const Nhwc<T>&);                                                       \
  template void warp_map(const WarpParams&, const Nhwc<const T>&, const float*, const float*, int64_t, \
                         int64_t, const T*, const Nhwc<T>&);
PYVISION_WARP(uint8_t)
PYVISION_WARP(float)
#undef PYVISION_WARP

}  // namespace pyvision
