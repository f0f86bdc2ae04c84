// SPDX-License-Identifier: Apache-2.0
#include "ops/warp/warp.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/arena.h"
#include "core/check.h"
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

// Samples as the kernels have them: whole windows, read where they lie or, where they reach over the image's
// edge, from a copy that the border's rule made.
template <class T>
void warp_rows(const WarpParams& params, const Nhwc<const T>& x, const T* border, const Nhwc<T>& y,
               Place place) {
  const WarpKernels& kernels = warp_kernels();
  constexpr int64_t size = sizeof(T);
  const int taps = taps_of(params.mode);
  const int64_t c = x.c, row = taps * c + kWarpReadAhead, window = taps * row;
  const bool few = taps == 2 && c <= 4;
  const auto block = static_cast<int>(std::clamp<int64_t>((1 << 16) / window, 1, kWarpBlock));
  // The last places of a window inside; none where the image is smaller than one, or than what is read of it.
  const int64_t margin = few ? (kWarpReadAhead + c - 1) / c : taps;
  const auto last_x = static_cast<int32_t>(x.w - margin), last_y = static_cast<int32_t>(x.h - taps);
  const bool any_inside = last_x >= 0 && last_y >= 0;

  const int64_t grain = std::max<int64_t>(1, (1 << 15) / (y.w * std::min<int64_t>(c, 1 << 10)));
  parallel_for(y.n * y.h, grain, [&](int64_t begin, int64_t end) {
    const Scratch<T> copies(block * window), constant(row), results(block * c + 16);
    const Scratch<float> blended(taps * c + 16);
    for (int k = 0; k < taps; ++k) std::copy_n(border, c, constant + k * c);
    std::fill_n(constant + taps * c, kWarpReadAhead, T{0});
    WarpPositions positions;
    int64_t same_rows[kWarpBlock], rows[kWarpBlock];
    const T* windows[kWarpBlock];
    std::fill_n(same_rows, kWarpBlock, x.stride_h);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / y.h, oh = i % y.h;  // [0, n), [0, h)
      const T* const image = x.at(n, 0, 0);
      for (int64_t ow = 0; ow < y.w; ow += block) {
        const auto count = static_cast<int>(std::min<int64_t>(block, y.w - ow));
        place(oh, ow, count, &positions);
        const bool whole =
            any_inside && kernels.locate(positions, count, last_x, last_y, image, size * x.stride_h, size * c,
                                         reinterpret_cast<const void**>(windows));
        for (int k = 0; !whole && k < count; ++k) {
          const int64_t left = positions.x[k], top = positions.y[k];
          const bool beyond = left + taps <= 0 || top + taps <= 0 || left >= x.w || top >= x.h;
          if (any_inside && left >= 0 && left <= last_x && top >= 0 && top <= last_y) {
            rows[k] = x.stride_h;  // windows[k] is right already
          } else if (beyond && params.border == BorderMode::kConstant) {
            windows[k] = constant;
            rows[k] = 0;
          } else {
            T* const copy = copies + k * window;
            copy_window(params.border, x, n, top, left, taps, border, row, copy);
            windows[k] = copy;
            rows[k] = row;
          }
        }
        const int64_t* const apart = whole ? same_rows : rows;
        T* const out = y.at(n, oh, ow);
        if (few) {
          for (int k = count; k % 4 != 0; ++k) windows[k] = windows[count - 1], rows[k] = apart[count - 1];
          if constexpr (std::is_same_v<T, uint8_t>)
            kernels.sample_few_u8(windows, apart, positions, count, c, results);
          else
            kernels.sample_few_f32(windows, apart, positions, count, c, results);
          std::copy_n(results.get(), count * c, out);
        } else if constexpr (std::is_same_v<T, uint8_t>) {
          kernels.sample_u8(windows, apart, positions, taps, count, c, blended, out);
        } else {
          kernels.sample_f32(windows, apart, positions, taps, count, c, blended, out);
        }
      }
    }
  });
}

}  // namespace

WarpMode parse_warp_mode(const char* op, const std::string& name) {
  if (name == "nearest") return WarpMode::kNearest;
  if (name == "bilinear") return WarpMode::kBilinear;
  check(name == "bicubic", op, "expected interpolation to be one of nearest, bilinear, bicubic, got '", name,
        "'");
  return WarpMode::kBicubic;
}

BorderMode parse_border_mode(const char* op, const std::string& name) {
  if (name == "constant") return BorderMode::kConstant;
  if (name == "replicate") return BorderMode::kReplicate;
  if (name == "reflect") return BorderMode::kReflect;
  if (name == "reflect_101") return BorderMode::kReflect101;
  check(name == "wrap", op,
        "expected border_mode to be one of constant, replicate, reflect, reflect_101, wrap, got '", name,
        "'");
  return BorderMode::kWrap;
}

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
    const auto whole = [](double position) {
      return std::abs(position) < (1 << 24) ? std::nearbyint(position) : 0.0;
    };
    const double u = whole(at(0, middle) * scale), v = whole(at(3, middle) * scale);
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
