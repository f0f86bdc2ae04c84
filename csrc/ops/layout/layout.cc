// SPDX-License-Identifier: Apache-2.0
#include "ops/layout/layout.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"

namespace pyvision {
namespace {

// Calls body(image, first_pixel, pixels) over blocks of pixels: the axis both transposes are split along.
template <class Body>
void for_each_block(int64_t n, int64_t c, int64_t pixels, Body body) {
  if (n * c * pixels == 0) return;
  // 64 KB read and 64 KB written per block; whole cache lines of pixels, so that threads share none.
  const int64_t block = std::min(pixels, std::max<int64_t>(16, 16384 / c / 16 * 16));
  const int64_t blocks = (pixels + block - 1) / block;
  parallel_for(n * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / blocks, first = i % blocks * block;  // [0, n), [0, pixels)
      body(image, first, std::min(block, pixels - first));
    }
  });
}

// 8 x 8 bytes in words of a row each: halves, quarters and bytes change places.
// x: (8, 8) with rows x_stride apart, y: the same with y_stride
void transpose_bytes_8x8(const uint8_t* x, int64_t x_stride, uint8_t* y, int64_t y_stride) {
  uint64_t row[8];
  for (int i = 0; i < 8; ++i) std::memcpy(row + i, x + i * x_stride, 8);
  const auto exchange = [&](int distance, int shift, uint64_t low) {
    for (int i = 0; i < 8; ++i) {
      if ((i & distance) != 0) continue;
      const uint64_t differing = ((row[i] >> shift) ^ row[i + distance]) & low;
      row[i] ^= differing << shift;
      row[i + distance] ^= differing;
    }
  };
  exchange(4, 32, 0x00000000FFFFFFFF);
  exchange(2, 16, 0x0000FFFF0000FFFF);
  exchange(1, 8, 0x00FF00FF00FF00FF);
  for (int i = 0; i < 8; ++i) std::memcpy(y + i * y_stride, row + i, 8);
}

void transpose(const uint8_t* x, int64_t x_stride, uint8_t* y, int64_t y_stride, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < rows; i += 8)
    for (int64_t j = 0; j < cols; j += 8) {
      if (i + 8 <= rows && j + 8 <= cols) {
        transpose_bytes_8x8(x + i * x_stride + j, x_stride, y + j * y_stride + i, y_stride);
        continue;
      }
      for (int64_t a = i; a < std::min(i + 8, rows); ++a)
        for (int64_t b = j; b < std::min(j + 8, cols); ++b) y[b * y_stride + a] = x[a * x_stride + b];
    }
}
void transpose(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t cols) {
  layout_kernels().transpose(x, x_stride, y, y_stride, rows, cols);
}

template <class T>
void to_nhwc(const T* x, T* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  for_each_block(n, c, pixels, [&](int64_t image, int64_t first, int64_t count) {
    transpose(x + image * c * plane + first, plane, y + (image * pixels + first) * c, c, c, count);
  });
}

template <class T>
void to_nchw(const T* x, T* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  for_each_block(n, c, pixels, [&](int64_t image, int64_t first, int64_t count) {
    transpose(x + (image * pixels + first) * c, c, y + image * c * plane + first, plane, count, c);
  });
}

}  // namespace

void nchw_to_nhwc(const float* x, float* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  to_nhwc(x, y, n, c, plane, pixels);
}
void nhwc_to_nchw(const float* x, float* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  to_nchw(x, y, n, c, plane, pixels);
}
void nchw_to_nhwc(const uint8_t* x, uint8_t* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  to_nhwc(x, y, n, c, plane, pixels);
}
void nhwc_to_nchw(const uint8_t* x, uint8_t* y, int64_t n, int64_t c, int64_t plane, int64_t pixels) {
  to_nchw(x, y, n, c, plane, pixels);
}

}  // namespace pyvision
