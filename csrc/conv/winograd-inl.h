// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "conv/gemm-inl.h"
#include "conv/winograd.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// r = B^T d for one column or row of a patch:
//   [4  0 -5  0  1  0]   [0 -4 -4  1  1  0]   [0  4 -4 -1  1  0]
//   [0 -2 -1  2  1  0]   [0  2 -1 -2  1  0]   [0  4  0 -5  0  1]
inline void input_transform(const F32 (&d)[6], F32 (&r)[6]) {
  const F32 four = F32::set(4.0f), five = F32::set(5.0f), two = F32::set(2.0f);
  const F32 even = fma(-four, d[2], d[4]), odd = fma(-four, d[1], d[3]);
  const F32 even2 = d[4] - d[2], odd2 = two * (d[3] - d[1]);
  r[0] = fma(four, d[0], fma(-five, d[2], d[4]));
  r[1] = even + odd;
  r[2] = even - odd;
  r[3] = even2 + odd2;
  r[4] = even2 - odd2;
  r[5] = fma(four, d[1], fma(-five, d[3], d[5]));
}

// y = A^T m:  [1 1 1 1 1 0]   [0 1 -1 2 -2 0]   [0 1 1 4 4 0]   [0 1 -1 8 -8 1]
inline void output_transform(const F32 (&m)[6], F32 (&y)[4]) {
  const F32 sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  y[0] = m[0] + sum + sum2;
  y[1] = fma(F32::set(2.0f), difference2, difference);
  y[2] = fma(F32::set(4.0f), sum2, sum);
  y[3] = fma(F32::set(8.0f), difference2, difference) + m[5];
}

struct WinogradTile {
  int64_t n, oh, ow;  // first output pixel
};

inline WinogradTile winograd_tile(const WinogradConv& job, int64_t index) {
  const int64_t per_image = job.tiles_h * job.tiles_w;
  const int64_t n = index / per_image, t = index % per_image;
  return {n, t / job.tiles_w * kWinogradOut, t % job.tiles_w * kWinogradOut};
}

// Patch pixels of a tile; those outside the image point at zeros.
struct WinogradPatch {
  const float* pixel[kWinogradPoints];

  WinogradPatch(const WinogradConv& job, const WinogradTile& tile) {
    const int64_t ih0 = tile.oh - job.pad_top, iw0 = tile.ow - job.pad_left;
    const float* base =
        job.input.data + tile.n * job.input.stride_n + ih0 * job.input.stride_h + iw0 * job.input.stride_w;
    const bool inside =
        ih0 >= 0 && iw0 >= 0 && ih0 + kWinogradIn <= job.input.h && iw0 + kWinogradIn <= job.input.w;
    for (int i = 0; i < kWinogradIn; ++i) {
      const bool row_inside = ih0 + i >= 0 && ih0 + i < job.input.h;
      for (int j = 0; j < kWinogradIn; ++j) {
        const bool here = inside || (row_inside && iw0 + j >= 0 && iw0 + j < job.input.w);
        pixel[i * kWinogradIn + j] =
            here ? base + i * job.input.stride_h + j * job.input.stride_w : job.zeros;
      }
    }
  }
};

// One vector of channels of one tile: patch -> 36 points, `point` floats apart from `to` on.
inline void transform_patch(const WinogradPatch& patch, int64_t c, int lanes, float* to, int64_t point) {
  F32 t[kWinogradIn][kWinogradIn];
#pragma GCC unroll 6
  for (int j = 0; j < kWinogradIn; ++j) {
    F32 d[kWinogradIn], r[kWinogradIn];
#pragma GCC unroll 6
    for (int i = 0; i < kWinogradIn; ++i) d[i] = load_lanes(patch.pixel[i * kWinogradIn + j] + c, lanes);
    input_transform(d, r);
#pragma GCC unroll 6
    for (int i = 0; i < kWinogradIn; ++i) t[i][j] = r[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < kWinogradIn; ++i) {
    F32 r[kWinogradIn];
    input_transform(t[i], r);
#pragma GCC unroll 6
    for (int j = 0; j < kWinogradIn; ++j) store_lanes(r[j], to + (i * kWinogradIn + j) * point, lanes);
  }
}

// Producer: tiles [first, last) of the block, all channels.
inline void winograd_input(const WinogradConv& job, const WinogradBlock& block, int64_t first, int64_t last) {
  const int64_t channels = job.input.c, k_block = k_block_size(channels);
  const int64_t point = block.tile_count * kTileStride;
  for (int64_t t = first; t < last; ++t) {
    const WinogradPatch patch(job, winograd_tile(job, block.tile_begin + t));
    for (int64_t k = 0; k < channels; k += k_block) {
      const int64_t k_end = k + k_block < channels ? k + k_block : channels;
      float* to = block.v + (k / k_block * kWinogradPoints * block.tile_count + t) * kTileStride;
      int64_t c = k;
      for (; c + F32::kLanes <= k_end; c += F32::kLanes)
        transform_patch(patch, c, F32::kLanes, to + (c - k), point);
      if (c < k_end) transform_patch(patch, c, static_cast<int>(k_end - c), to + (c - k), point);
    }
  }
}

// Matrix products of points [first, last).
inline void winograd_multiply(const WinogradConv& job, const WinogradBlock& block, int64_t first,
                              int64_t last) {
  const int64_t channels = job.input.c, k_block = k_block_size(channels);
  const int64_t padded = (job.out_channels + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  const int64_t row_tiles = (block.tile_count + kRowTile - 1) / kRowTile;
  TileOutput out;
  out.bias = job.zeros;
  out.has_residual = false;
  out.last = false;
  for (int64_t point = first; point < last; ++point) {
    for (int64_t k = 0; k < channels; k += k_block) {
      const int64_t k_end = k + k_block < channels ? k + k_block : channels;
      out.first = k == 0;
      const float* v = block.v + (k / k_block * kWinogradPoints + point) * block.tile_count * kTileStride;
      for (int64_t column = 0; column < job.out_channels; column += kPanelWidth) {
        const bool narrow = panel_is_narrow(job.out_channels - column);
        const int64_t width = narrow ? F32::kLanes : kPanelWidth;
        out.columns = static_cast<int>(width);
        const float* b = job.packed + point * job.packed_per_point + column * channels + k * width;
        for (int64_t t = 0; t < row_tiles; ++t) {
          const int64_t begin = t * block.tile_count / row_tiles,
                        end = (t + 1) * block.tile_count / row_tiles;
          for (int64_t r = begin; r < end; ++r)
            out.row[r - begin] = block.m + point * block.m_per_point + r * padded + column;
          const TileInput a{v + begin * kTileStride, kTileStride, 1, 0, k_end - k};
          pick_microkernel(static_cast<int>(end - begin), narrow)(a, b, out);
        }
      }
    }
  }
}

// One vector of output channels of one tile: 36 points -> 4x4 outputs, of which h x w are inside the image.
template <class F>
inline void transform_outputs(const WinogradConv& job, const WinogradTile& tile, const float* from,
                              int64_t point, int64_t o, int lanes, int h, int w, F f) {
  F32 t[kWinogradOut][kWinogradIn];
#pragma GCC unroll 6
  for (int j = 0; j < kWinogradIn; ++j) {
    F32 m[kWinogradIn], y[kWinogradOut];
#pragma GCC unroll 6
    for (int i = 0; i < kWinogradIn; ++i) m[i] = F32::load(from + (i * kWinogradIn + j) * point);
    output_transform(m, y);
#pragma GCC unroll 4
    for (int i = 0; i < kWinogradOut; ++i) t[i][j] = y[i];
  }
  const F32 bias = F32::load(job.epilogue.bias + o);
#pragma GCC unroll 4
  for (int i = 0; i < kWinogradOut; ++i) {
    if (i >= h) return;
    F32 y[kWinogradOut];
    output_transform(t[i], y);
    float* to = job.rows.output.at(tile.n, tile.oh + i, tile.ow) + o;
#pragma GCC unroll 4
    for (int j = 0; j < kWinogradOut; ++j) {
      if (j >= w) break;
      F32 sum = y[j] + bias;
      if (job.rows.residual.data != nullptr)
        sum = sum + load_lanes(job.rows.residual.at(tile.n, tile.oh + i, tile.ow + j) + o, lanes);
      store_lanes(f(sum), to + j * job.rows.output.stride_w, lanes);
    }
  }
}

// Epilogue: tiles [first, last) of the block, all output channels.
inline void winograd_output(const WinogradConv& job, const WinogradBlock& block, int64_t first,
                            int64_t last) {
  const int64_t padded = (job.out_channels + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  with_cheap_activation(job.epilogue.activation, [&](auto f) {
    for (int64_t t = first; t < last; ++t) {
      const WinogradTile tile = winograd_tile(job, block.tile_begin + t);
      const int64_t below = job.rows.out_h - tile.oh, right = job.rows.out_w - tile.ow;
      const int h = static_cast<int>(below < kWinogradOut ? below : kWinogradOut);
      const int w = static_cast<int>(right < kWinogradOut ? right : kWinogradOut);
      for (int64_t o = 0; o < job.out_channels; o += F32::kLanes) {
        const int64_t left = job.out_channels - o;
        const int lanes = static_cast<int>(left < F32::kLanes ? left : F32::kLanes);
        transform_outputs(job, tile, block.m + t * padded + o, block.m_per_point, o, lanes, h, w, f);
      }
      for (int i = 0; i < h; ++i)
        finish_exponential(job.epilogue.activation, job.rows.output.at(tile.n, tile.oh + i, tile.ow),
                           job.rows.output.stride_w, w, job.out_channels);
    }
  });
}

// weight: (out_channels, channels, 3, 3); packed: (36, panels, channels, width). G g G^T in double: it is
// done once.
inline void winograd_pack(const float* weight, int64_t out_channels, int64_t channels, float* scratch,
                          float* packed, int64_t packed_per_point) {
  constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                               {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                               {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                               {1.0 / 24, 1.0 / 12, 1.0 / 6},
                               {1.0 / 24, -1.0 / 12, 1.0 / 6},
                               {0, 0, 1}};
  for (int point = 0; point < kWinogradPoints; ++point) {  // scratch: (out_channels, channels)
    const double* left = kG[point / 6];
    const double* right = kG[point % 6];
    for (int64_t i = 0; i < out_channels * channels; ++i) {
      double u = 0;
      for (int kh = 0; kh < 3; ++kh)
        for (int kw = 0; kw < 3; ++kw) u += left[kh] * weight[i * 9 + kh * 3 + kw] * right[kw];
      scratch[i] = static_cast<float>(u);
    }
    pack_panels(scratch, out_channels, 1, channels, channels, 0, 1, packed + point * packed_per_point);
  }
}

}  // namespace pyvision::PYVISION_ISA_NS
