// SPDX-License-Identifier: Apache-2.0
// Winograd convolution F(4x4, 3x3): A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2015.
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A      g: 3x3 taps, d: 6x6 input patch, Y: 4x4 outputs, * element-wise
//
// Summed over input channels, the element-wise product is 36 matrix products (tiles x channels) (channels x
// outputs): the same tile GEMM, with the input transform as its producer and the output transform as its
// epilogue. 36 multiplications per channel and tile stand for 144 direct ones.
#pragma once

#include <cstdint>

#include "conv/gemm.h"

namespace pyvision {

constexpr int kWinogradOut = 4;                             // outputs per tile and axis
constexpr int kWinogradIn = 6;                              // inputs per tile and axis
constexpr int kWinogradPoints = kWinogradIn * kWinogradIn;  // matrix products

struct WinogradConv {
  Nhwc<const float> input;
  int64_t pad_top, pad_left;
  const float* packed;  // (36, panels, channels, panel_width)
  int64_t packed_per_point;
  int64_t out_channels;
  RowMap rows;
  Epilogue epilogue;
  int64_t tiles_h, tiles_w;  // per image
  const float* zeros;  // a pixel outside the image, and the bias of a product: max(channels, panel_width)
};

// The transformed values of one block of tiles.
struct WinogradBlock {
  int64_t tile_begin, tile_count;  // of the n * tiles_h * tiles_w tiles
  float* v;                        // (k_blocks, 36, tile_count, tile_stride): transformed input, A tiles
  float* m;                        // (36, tile_count, padded outputs) + padding: products
  int64_t m_per_point;             // floats between the 36 planes of m
};

}  // namespace pyvision
