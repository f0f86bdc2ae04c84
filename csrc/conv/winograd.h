// SPDX-License-Identifier: Apache-2.0
// Winograd convolution F(m x m, 3x3) with m = 2, 4 or 6, and F(4x4, 2x2): A. Lavin and S. Gray, "Fast
// Algorithms for Convolutional Neural Networks", 2015.
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A      g: r x r taps, d: (m+r-1)x(m+r-1) input patch, Y: m x m outputs,
//                                            * element-wise
//
// Summed over input channels, the element-wise product is (m+r-1)^2 matrix products (tiles x channels)
// (channels x outputs): the same tile GEMM, with the input transform as its producer and the output transform
// as its epilogue. Per channel and tile 16, 36 or 64 multiplications stand for 36, 144 or 324 direct ones of
// 3x3 taps, and 25 for 64 of 2x2; rounding errors grow with m.
#pragma once

#include <cstdint>

#include "conv/gemm.h"

namespace pyvision {

// Of a tile, along each axis.
struct WinogradTiling {
  int outputs, taps;
  constexpr int inputs() const { return outputs + taps - 1; }
  constexpr int points() const { return inputs() * inputs(); }  // matrix products
};

struct WinogradConv {
  WinogradTiling tiling;
  Nhwc<const float> input;
  int64_t pad_top, pad_left;
  const float* packed;  // (groups, points, panels, channels of a group, panel_width)
  int64_t packed_per_point;
  int64_t groups, out_channels;  // out_channels: of all groups
  int64_t k_block;               // channels of v's K blocks; all of them if there are several groups
  int64_t m_stride;              // floats between the rows of m, see winograd_m_stride
  RowMap rows;
  Epilogue epilogue;
  int64_t tiles_h, tiles_w;  // per image
  const float* zeros;        // see winograd_zeros: a pixel outside the image, and the bias of a product
};

// Of a row of a plane, what the input transform takes at a time: whole vectors of every ISA, 16 KB in L1 of
// 16 channels and 8 rows.
constexpr int64_t kWinogradColumns = 32;

// Over maps in planes: of the base's maps only the extents are used.
struct WinogradPlanes : WinogradConv {
  Nchw<const float> input_planes;
  Nchw<float> output_planes;
  Nchw<const float> residual_planes;  // data null when there is none
};

// How many zeros there have to be; channels: of all groups of a block.
inline int64_t winograd_zeros(int64_t channels, int64_t m_stride) {
  const int64_t pixel = channels > m_stride ? channels : m_stride;
  return pixel > kWinogradColumns ? pixel : kWinogradColumns;
}

// The transformed values of one block of tiles.
struct WinogradBlock {
  int64_t tile_begin, tile_count;  // of the n * tiles_h * tiles_w tiles
  float* v;                        // (k_blocks, points, tile_count, v_stride): transformed input, A tiles
  int64_t v_stride;                // see winograd_v_stride
  float* m;                        // (points, tile_count, m_stride) + padding: products
  int64_t m_per_point;             // floats between the planes of m
};

// Distance between the rows of v: those of one K block, an odd number of cache lines, so that they spread
// over all L1 sets.
inline int64_t winograd_v_stride(int64_t k_block) { return ((k_block + 15) / 16 | 1) * 16; }

// Distance between the rows of m: each group's products come in whole panels, of which the next group's
// overwrite what is too much.
inline int64_t winograd_m_stride(int64_t groups, int64_t group_out, int64_t panel_width) {
  return (groups - 1) * group_out + (group_out + panel_width - 1) / panel_width * panel_width;
}

}  // namespace pyvision
