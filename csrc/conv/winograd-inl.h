// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "conv/gemm-inl.h"
#include "conv/winograd.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// The three matrices of F(M x M, R x R), nested as F(M, R) along both axes.
template <int M, int R>
struct Winograd;

// B^T = [1 0 -1 0]   A^T = [1 1  1 0]
//       [0 1  1 0]         [0 1 -1 1]
//       [0 -1 1 0]
//       [0 -1 0 1]
template <>
struct Winograd<2, 3> {
  static constexpr WinogradTiling kTiling{2, 3};
  static constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  static void input(const F32 (&d)[4], F32 (&r)[4]) {
    r[0] = d[0] - d[2];
    r[1] = d[1] + d[2];
    r[2] = d[2] - d[1];
    r[3] = d[3] - d[1];
  }
  static void output(const F32 (&m)[4], F32 (&y)[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] + m[3];
  }
};

// B^T = [2 -1 -2  1 0]   A^T = [1 1  1 1 0]
//       [0 -2 -1  1 0]         [0 1 -1 2 0]
//       [0  2 -3  1 0]         [0 1  1 4 0]
//       [0 -1  0  1 0]         [0 1 -1 8 1]
//       [0  2 -1 -2 1]
template <>
struct Winograd<4, 2> {
  static constexpr WinogradTiling kTiling{4, 2};
  static constexpr double kG[5][2] = {
      {1.0 / 2, 0}, {-1.0 / 2, -1.0 / 2}, {-1.0 / 6, 1.0 / 6}, {1.0 / 6, 1.0 / 3}, {0, 1}};
  static void input(const F32 (&d)[5], F32 (&r)[5]) {
    const F32 two = F32::set(2.0f);
    r[3] = d[3] - d[1];
    r[0] = fma(two, d[0] - d[2], r[3]);
    r[1] = fma(-two, d[1], d[3] - d[2]);
    r[2] = fma(two, d[1], fma(F32::set(-3.0f), d[2], d[3]));
    r[4] = fma(-two, r[3], d[4] - d[2]);
  }
  static void output(const F32 (&m)[5], F32 (&y)[4]) {
    const F32 sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = m[0] + sum + m[3];
    y[1] = fma(F32::set(2.0f), m[3], difference);
    y[2] = fma(F32::set(4.0f), m[3], sum);
    y[3] = fma(F32::set(8.0f), m[3], difference) + m[4];
  }
};

// B^T = [4  0 -5  0  1  0]   [0 -4 -4  1  1  0]   [0  4 -4 -1  1  0]
//       [0 -2 -1  2  1  0]   [0  2 -1 -2  1  0]   [0  4  0 -5  0  1]
// A^T = [1 1 1 1 1 0]   [0 1 -1 2 -2 0]   [0 1 1 4 4 0]   [0 1 -1 8 -8 1]
template <>
struct Winograd<4, 3> {
  static constexpr WinogradTiling kTiling{4, 3};
  static constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                                      {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                      {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                      {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                      {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                      {0, 0, 1}};
  static void input(const F32 (&d)[6], F32 (&r)[6]) {
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
  static void output(const F32 (&m)[6], F32 (&y)[4]) {
    const F32 sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    y[0] = m[0] + sum + sum2;
    y[1] = fma(F32::set(2.0f), difference2, difference);
    y[2] = fma(F32::set(4.0f), sum2, sum);
    y[3] = fma(F32::set(8.0f), difference2, difference) + m[5];
  }
};

// B^T = [1 0 -21/4  0  21/4 0 -1 0]   [0  1  1 -17/4 -17/4  1  1 0]   [0 -1  1 17/4 -17/4 -1 1 0]
//       [0 1/2 1/4 -5/2 -5/4 2 1 0]   [0 -1/2 1/4 5/2 -5/4 -2  1 0]
//       [0  2   4  -5/2 -5 1/2 1 0]   [0 -2   4   5/2 -5 -1/2  1 0]   [0 -1 0 21/4 0 -21/4 0 1]
// A^T = [1 1  1 1  1 32  32 0]   [0 1 -1  2  -2 16 -16 0]   [0 1  1 4 4 8 8 0]
//       [0 1 -1 8 -8  4  -4 0]   [0 1  1 16  16  2   2 0]   [0 1 -1 32 -32 1 -1 1]
template <>
struct Winograd<6, 3> {
  static constexpr WinogradTiling kTiling{6, 3};
  static constexpr double kG[8][3] = {{1, 0, 0},
                                      {-2.0 / 9, -2.0 / 9, -2.0 / 9},
                                      {-2.0 / 9, 2.0 / 9, -2.0 / 9},
                                      {1.0 / 90, 1.0 / 45, 2.0 / 45},
                                      {1.0 / 90, -1.0 / 45, 2.0 / 45},
                                      {1.0 / 45, 1.0 / 90, 1.0 / 180},
                                      {1.0 / 45, -1.0 / 90, 1.0 / 180},
                                      {0, 0, 1}};
  static void input(const F32 (&d)[8], F32 (&r)[8]) {
    const F32 a = F32::set(5.25f), b = F32::set(-4.25f), c = F32::set(0.25f), e = F32::set(-1.25f),
              f = F32::set(-2.5f), half = F32::set(0.5f), two = F32::set(2.0f), four = F32::set(4.0f),
              five = F32::set(-5.0f);
    r[0] = fma(a, d[4] - d[2], d[0] - d[6]);
    r[7] = fma(a, d[3] - d[5], d[7] - d[1]);
    const F32 even1 = fma(b, d[4], d[2] + d[6]), odd1 = fma(b, d[3], d[1] + d[5]);
    r[1] = even1 + odd1;
    r[2] = even1 - odd1;
    const F32 even2 = fma(c, d[2], fma(e, d[4], d[6])), odd2 = fma(half, d[1], fma(f, d[3], two * d[5]));
    r[3] = even2 + odd2;
    r[4] = even2 - odd2;
    const F32 even3 = fma(four, d[2], fma(five, d[4], d[6])),
              odd3 = fma(two, d[1], fma(f, d[3], half * d[5]));
    r[5] = even3 + odd3;
    r[6] = even3 - odd3;
  }
  static void output(const F32 (&m)[8], F32 (&y)[6]) {
    const F32 sum1 = m[1] + m[2], difference1 = m[1] - m[2];
    const F32 sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    const F32 sum3 = m[5] + m[6], difference3 = m[5] - m[6];
    const F32 two = F32::set(2.0f), four = F32::set(4.0f), eight = F32::set(8.0f), sixteen = F32::set(16.0f),
              thirty_two = F32::set(32.0f);
    y[0] = fma(thirty_two, sum3, m[0] + sum1 + sum2);
    y[1] = fma(sixteen, difference3, fma(two, difference2, difference1));
    y[2] = fma(eight, sum3, fma(four, sum2, sum1));
    y[3] = fma(four, difference3, fma(eight, difference2, difference1));
    y[4] = fma(two, sum3, fma(sixteen, sum2, sum1));
    y[5] = fma(thirty_two, difference2, difference1) + difference3 + m[7];
  }
};

// Calls f with the compile-time twin of the tiling.
template <class F>
inline auto with_winograd(WinogradTiling tiling, F f) {
  if (tiling.taps == 2) return f(Winograd<4, 2>{});
  return tiling.outputs == 2   ? f(Winograd<2, 3>{})
         : tiling.outputs == 4 ? f(Winograd<4, 3>{})
                               : f(Winograd<6, 3>{});
}

struct WinogradTile {
  int64_t n, oh, ow;  // first output pixel
};

inline WinogradTile winograd_tile(const WinogradConv& job, int64_t index) {
  const int64_t per_image = job.tiles_h * job.tiles_w;
  const int64_t n = index / per_image, t = index % per_image;
  return {n, t / job.tiles_w * job.tiling.outputs, t % job.tiles_w * job.tiling.outputs};
}

// Patch pixels of a tile; those outside the image point at zeros.
template <class W>
struct WinogradPatch {
  static constexpr int kInputs = W::kTiling.inputs();
  const float* pixel[kInputs][kInputs];

  WinogradPatch(const WinogradConv& job, const WinogradTile& tile) {
    const int64_t ih0 = tile.oh - job.pad_top, iw0 = tile.ow - job.pad_left;
    const float* base =
        job.input.data + tile.n * job.input.stride_n + ih0 * job.input.stride_h + iw0 * job.input.stride_w;
    const bool inside = ih0 >= 0 && iw0 >= 0 && ih0 + kInputs <= job.input.h && iw0 + kInputs <= job.input.w;
    for (int i = 0; i < kInputs; ++i) {
      const bool row_inside = ih0 + i >= 0 && ih0 + i < job.input.h;
      for (int j = 0; j < kInputs; ++j) {
        const bool here = inside || (row_inside && iw0 + j >= 0 && iw0 + j < job.input.w);
        pixel[i][j] = here ? base + i * job.input.stride_h + j * job.input.stride_w : job.zeros;
      }
    }
  }
};

// The second half of a patch's transform: one row of what the first half made of its columns -> points.
template <class W>
[[gnu::always_inline]] inline void transform_row(const F32* row, int lanes, float* to, int64_t point) {
  constexpr int kInputs = W::kTiling.inputs();
  F32 d[kInputs], r[kInputs];
#pragma GCC unroll 8
  for (int j = 0; j < kInputs; ++j) d[j] = row[j];
  W::input(d, r);
#pragma GCC unroll 8
  for (int j = 0; j < kInputs; ++j) store_lanes(r[j], to + j * point, lanes);
}

// One vector of channels of one tile: patch -> points, `point` floats apart from `to` on.
template <class W>
inline void transform_patch(const WinogradPatch<W>& patch, int64_t c, int lanes, float* to, int64_t point) {
  constexpr int kInputs = W::kTiling.inputs();
  F32 t[kInputs][kInputs];
#pragma GCC unroll 8
  for (int j = 0; j < kInputs; ++j) {
    F32 d[kInputs], r[kInputs];
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) d[i] = load_lanes(patch.pixel[i][j] + c, lanes);
    W::input(d, r);
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) t[i][j] = r[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) transform_row<W>(t[i], lanes, to + i * kInputs * point, point);
}

// Producer: tiles [first, last) of the block, all channels.
template <class W>
inline void winograd_input(const WinogradConv& job, const WinogradBlock& block, int64_t first, int64_t last) {
  const int64_t channels = job.input.c, k_block = job.k_block;
  const int64_t point = block.tile_count * block.v_stride;
  for (int64_t t = first; t < last; ++t) {
    const WinogradPatch<W> patch(job, winograd_tile(job, block.tile_begin + t));
    for (int64_t k = 0; k < channels; k += k_block) {
      const int64_t k_end = k + k_block < channels ? k + k_block : channels;
      float* to = block.v + (k / k_block * W::kTiling.points() * block.tile_count + t) * block.v_stride;
      int64_t c = k;
      for (; c + F32::kLanes <= k_end; c += F32::kLanes)
        transform_patch<W>(patch, c, F32::kLanes, to + (c - k), point);
      if (c < k_end) transform_patch<W>(patch, c, static_cast<int>(k_end - c), to + (c - k), point);
    }
  }
}
inline void winograd_input(const WinogradConv& job, const WinogradBlock& block, int64_t first, int64_t last) {
  with_winograd(job.tiling, [&](auto f) { winograd_input<decltype(f)>(job, block, first, last); });
}

// Matrix products of points [first, last). One group's B is large: each of its panels serves all tiles before
// the next one. Those of many groups are small, and stay in L1 while a few tiles pass through all of them.
inline void winograd_multiply(const WinogradConv& job, const WinogradBlock& block, int64_t first,
                              int64_t last) {
  const int64_t channels = job.input.c / job.groups, out_channels = job.out_channels / job.groups;
  const int64_t packed_per_group = job.tiling.points() * job.packed_per_point;
  const int64_t row_tiles = (block.tile_count + kRowTile - 1) / kRowTile;
  TileOutput out;
  out.bias = job.zeros;
  out.has_residual = false;
  out.last = false;
  out.fetched = true;  // in time, while the sums are computed
  for (int64_t point = first; point < last; ++point) {
    const float* const of_point = job.packed + point * job.packed_per_point;
    int64_t begin = 0, end = 0;
    const auto take_tile = [&](int64_t t) {
      begin = t * block.tile_count / row_tiles, end = (t + 1) * block.tile_count / row_tiles;
      float* const m = block.m + point * block.m_per_point;
      for (int64_t r = begin; r < end; ++r) out.row[r - begin] = m + r * job.m_stride;
    };
    // Of the tile that was taken, for K values from k on.
    const auto multiply = [&](int64_t g, int64_t k, int64_t column, int64_t t) {
      const int64_t k_end = k + job.k_block < channels ? k + job.k_block : channels;
      const bool narrow = panel_is_narrow(out_channels - column);
      const int64_t width = narrow ? F32::kLanes : kPanelWidth;
      const float* const packed = of_point + g * packed_per_group;
      const float* const b = packed + column * channels + k * width;
      const float* const next = column + width < out_channels ? b + width * channels
                                : k_end < channels            ? packed + k_end * kPanelWidth
                                : g + 1 < job.groups          ? packed + packed_per_group
                                                              : of_point + job.packed_per_point;
      const float* const v =
          block.v +
          ((k / job.k_block * job.tiling.points() + point) * block.tile_count + begin) * block.v_stride;
      out.first = k == 0;
      out.column = g * out_channels + column;
      out.columns = static_cast<int>(width);
      pick_microkernel(static_cast<int>(end - begin), narrow)(
          {v + g * channels, block.v_stride, 1, 0, k_end - k}, b,
          PanelAhead::share(next, width, row_tiles).after(t * (k_end - k)), out);
    };
    if (job.groups == 1) {
      for (int64_t k = 0; k < channels; k += job.k_block)
        for (int64_t column = 0; column < out_channels; column += kPanelWidth)
          for (int64_t t = 0; t < row_tiles; ++t) take_tile(t), multiply(0, k, column, t);
    } else {
      for (int64_t t = 0; t < row_tiles; ++t) {
        take_tile(t);
        for (int64_t g = 0; g < job.groups; ++g)
          for (int64_t column = 0; column < out_channels; column += kPanelWidth) multiply(g, 0, column, t);
      }
    }
  }
}

// One vector of output channels of one tile: points -> outputs, of which h x w are inside the image. Calls
// take(i, y) with each row of theirs.
template <class W, class Take>
[[gnu::always_inline]] inline void transform_outputs(const WinogradConv& job, const float* from,
                                                     int64_t point, int64_t o, int h, Take take) {
  constexpr int kInputs = W::kTiling.inputs(), kOutputs = W::kTiling.outputs;
  F32 t[kOutputs][kInputs];
#pragma GCC unroll 8
  for (int j = 0; j < kInputs; ++j) {
    F32 m[kInputs], y[kOutputs];
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) m[i] = F32::load(from + (i * kInputs + j) * point);
    W::output(m, y);
#pragma GCC unroll 8
    for (int i = 0; i < kOutputs; ++i) t[i][j] = y[i];
  }
  const F32 bias = F32::load(job.epilogue.bias + o);
#pragma GCC unroll 8
  for (int i = 0; i < kOutputs; ++i) {
    if (i >= h) return;
    F32 y[kOutputs];
    W::output(t[i], y);
#pragma GCC unroll 8
    for (int j = 0; j < kOutputs; ++j) y[j] = y[j] + bias;
    take(i, y);
  }
}

// How many of a tile's outputs, along an axis with `left` of them from its first on, are inside the image.
template <class W>
inline int outputs_inside(int64_t left) {
  return static_cast<int>(left < W::kTiling.outputs ? left : W::kTiling.outputs);
}

// Epilogue: tiles [first, last) of the block, all output channels.
template <class W>
inline void winograd_output(const WinogradConv& job, const WinogradBlock& block, int64_t first,
                            int64_t last) {
  constexpr int kOutputs = W::kTiling.outputs;
  for (int64_t t = first; t < last; ++t) {
    const WinogradTile tile = winograd_tile(job, block.tile_begin + t);
    const int h = outputs_inside<W>(job.rows.out_h - tile.oh),
              w = outputs_inside<W>(job.rows.out_w - tile.ow);
    for (int64_t o = 0; o < job.out_channels; o += F32::kLanes) {
      const int64_t left = job.out_channels - o;
      const int lanes = static_cast<int>(left < F32::kLanes ? left : F32::kLanes);
      const float* const from = block.m + t * job.m_stride + o;
      transform_outputs<W>(job, from, block.m_per_point, o, h, [&](int i, F32(&y)[kOutputs]) {
        if (job.rows.residual.data != nullptr) {
          const float* residual = job.rows.residual.at(tile.n, tile.oh + i, tile.ow) + o;
#pragma GCC unroll 8
          for (int j = 0; j < kOutputs; ++j)
            if (j < w) y[j] = y[j] + load_lanes(residual + j * job.rows.residual.stride_w, lanes);
        }
        // Chosen anew for each row: around the whole transform, it would be compiled six times.
        with_cheap_activation(job.epilogue.activation, [&](auto f) {
#pragma GCC unroll 8
          for (int j = 0; j < kOutputs; ++j) y[j] = f(y[j]);
        });
        float* to = job.rows.output.at(tile.n, tile.oh + i, tile.ow) + o;
#pragma GCC unroll 8
        for (int j = 0; j < kOutputs; ++j)
          if (j < w) store_lanes(y[j], to + j * job.rows.output.stride_w, lanes);
      });
    }
    for (int i = 0; i < h; ++i)
      finish_exponential(job.epilogue.activation, job.rows.output.at(tile.n, tile.oh + i, tile.ow),
                         job.rows.output.stride_w, w, job.out_channels);
  }
}
inline void winograd_output(const WinogradConv& job, const WinogradBlock& block, int64_t first,
                            int64_t last) {
  with_winograd(job.tiling, [&](auto f) { winograd_output<decltype(f)>(job, block, first, last); });
}

// weight: (out_channels, channels, taps, taps); packed: (points, panels, channels, width), zero-padded. G g
// G^T in double: it is done once.
template <class W>
inline void winograd_pack(const float* weight, int64_t out_channels, int64_t channels, float* packed,
                          int64_t packed_per_point) {
  constexpr int kInputs = W::kTiling.inputs(), kTaps = W::kTiling.taps;
  for (int64_t o = 0; o < out_channels; ++o) {
    const int64_t column = o / kPanelWidth * kPanelWidth;
    const int64_t width = panel_is_narrow(out_channels - column) ? F32::kLanes : kPanelWidth;
    for (int64_t i = 0; i < channels; ++i) {
      const float* g = weight + (o * channels + i) * kTaps * kTaps;
      float* to = packed + column * channels + i * width + (o - column);
      double half[kInputs][kTaps];  // G g
      for (int r = 0; r < kInputs; ++r)
        for (int kw = 0; kw < kTaps; ++kw) {
          half[r][kw] = 0;
          for (int kh = 0; kh < kTaps; ++kh) half[r][kw] += W::kG[r][kh] * g[kh * kTaps + kw];
        }
      for (int r = 0; r < kInputs; ++r)
        for (int s = 0; s < kInputs; ++s) {
          double u = 0;
          for (int kw = 0; kw < kTaps; ++kw) u += half[r][kw] * W::kG[s][kw];
          to[(r * kInputs + s) * packed_per_point] = static_cast<float>(u);
        }
    }
  }
}
inline void winograd_pack(WinogradTiling tiling, const float* weight, int64_t out_channels, int64_t channels,
                          float* packed, int64_t packed_per_point) {
  with_winograd(tiling, [&](auto f) {
    winograd_pack<decltype(f)>(weight, out_channels, channels, packed, packed_per_point);
  });
}

}  // namespace pyvision::PYVISION_ISA_NS
