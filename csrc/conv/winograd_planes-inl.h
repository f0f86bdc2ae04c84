// SPDX-License-Identifier: Apache-2.0
// Winograd's transforms of maps in planes. The lanes of a plane's row are neighbours, those of the products
// channels: a run of tiles, neighbours too, is transposed while it is in L1.
//
//   planes ── B^T d, along columns ──► (row, channel, column) ── transposed, then d B along rows ──► v
//   m ── A^T m A ──► (row, column, channel) ── transposed ──► planes
//
// Rows of many planes may lie a multiple of 4 KB apart, and would push each other out of L1: the lines of a
// plane's rows are read once, before the next plane's.
#pragma once

#include "conv/winograd-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// to[j] lane i = x[i * stride + j], i and j in [0, kLanes)
[[gnu::always_inline]] inline void load_transposed(const float* x, int64_t stride, F32* to) {
  F32 block[F32::kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < F32::kLanes; ++i) block[i] = F32::load(x + i * stride);
  transpose(block);
#pragma GCC unroll 16
  for (int i = 0; i < F32::kLanes; ++i) to[i] = block[i];
}

// Calls body(t, tile, count) for runs of at most `most` tiles, neighbours in one row, that cover tiles
// [first, last) of the block.
template <class Body>
inline void for_each_run(const WinogradPlanes& job, const WinogradBlock& block, int64_t first, int64_t last,
                         int64_t most, Body body) {
  for (int64_t t = first; t < last;) {
    const WinogradTile tile = winograd_tile(job, block.tile_begin + t);
    const int64_t column = tile.ow / job.tiling.outputs;  // [0, tiles_w)
    int64_t count = most < last - t ? most : last - t;
    count = count < job.tiles_w - column ? count : job.tiles_w - column;
    body(t, tile, count);
    t += count;
  }
}

// Rows of a plane that a run of tiles sees, of each channel by turns; a row outside the image is zeros.
template <class W>
struct WinogradRows {
  static constexpr int kInputs = W::kTiling.inputs();
  const float* row[kInputs];  // at the run's first column, in the image or not
  int64_t to_next[kInputs];   // from there to the next channel's
  int64_t begin, end;         // of the columns [0, columns), those inside the image
  int64_t columns;
  int64_t ahead;  // from here to the run after this one

  WinogradRows(const WinogradPlanes& job, const WinogradTile& tile, const WinogradTile& next, int64_t count) {
    const Nchw<const float>& map = job.input_planes;
    const int64_t ih = tile.oh - job.pad_top, iw = tile.ow - job.pad_left;
    for (int i = 0; i < kInputs; ++i) {
      const bool here = ih + i >= 0 && ih + i < map.h;
      row[i] = here ? map.at(tile.n, 0, ih + i, iw) : job.zeros;
      to_next[i] = here ? map.h * map.w : 0;
    }
    columns = count * W::kTiling.outputs + W::kTiling.taps - 1;
    const int64_t before = iw < 0 ? -iw : 0, inside = map.w - iw < columns ? map.w - iw : columns;
    begin = before < columns ? before : columns;
    end = inside > begin ? inside : begin;
    ahead = (next.n - tile.n) * map.stride_n + (next.oh - tile.oh) * map.w + next.ow - tile.ow;
  }
  void next_channel() {
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) row[i] += to_next[i];
  }
};

// The first half of the transform, of the columns of `lanes` channels. to: (kInputs, kLanes,
// kWinogradColumns)
template <class W>
inline void transform_columns(WinogradRows<W>* rows, int lanes, float* to) {
  constexpr int kInputs = W::kTiling.inputs();
  constexpr int64_t kRow = F32::kLanes * kWinogradColumns;
  const int64_t begin = rows->begin, end = rows->end;
  for (int lane = 0; lane < lanes; ++lane, to += kWinogradColumns) {
    // The hardware's prefetchers cannot foresee jumps from plane to plane. All that the next run of a row
    // does not share with this one is in two lines.
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) {
      __builtin_prefetch(rows->row[i] + rows->ahead + kWinogradColumns / 2 - 1, 0, 2);
      __builtin_prefetch(rows->row[i] + rows->ahead + kWinogradColumns - 1, 0, 2);
    }
    for_each_vector<float>(end - begin, [&](int64_t at, int some) {
      F32 d[kInputs], r[kInputs];
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i) d[i] = load_lanes(rows->row[i] + begin + at, some);
      W::input(d, r);
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i) store_lanes(r[i], to + i * kRow + begin + at, some);
    });
    if (end - begin < rows->columns) {
      for (int i = 0; i < kInputs; ++i) {
        for (int64_t j = 0; j < begin; ++j) to[i * kRow + j] = 0.0f;
        for (int64_t j = end; j < rows->columns; ++j) to[i * kRow + j] = 0.0f;
      }
    }
    rows->next_channel();
  }
}

// Producer: tiles [first, last) of the block, all channels.
template <class W>
inline void winograd_input_planes(const WinogradPlanes& job, const WinogradBlock& block, int64_t first,
                                  int64_t last) {
  constexpr int kInputs = W::kTiling.inputs(), kOutputs = W::kTiling.outputs;
  constexpr int64_t kMost = (kWinogradColumns - W::kTiling.taps + 1) / kOutputs;
  alignas(64) float strip[kInputs * F32::kLanes * kWinogradColumns] =
      {};  // what is of no channel or no run is dropped
  const int64_t channels = job.input.c, k_block = job.k_block;
  const int64_t point = block.tile_count * block.v_stride;
  const int64_t last_tile = job.input.n * job.tiles_h * job.tiles_w - 1;
  for_each_run(job, block, first, last, kMost, [&](int64_t t, const WinogradTile& tile, int64_t count) {
    const int64_t next = block.tile_begin + t + count;
    WinogradRows<W> rows(job, tile, winograd_tile(job, next < last_tile ? next : last_tile), count);
    for (int64_t k = 0; k < channels; k += k_block) {
      const int64_t k_end = k + k_block < channels ? k + k_block : channels;
      float* const to = block.v + (k / k_block * W::kTiling.points() * block.tile_count + t) * block.v_stride;
      for_each_vector<float>(k_end - k, [&](int64_t c, int lanes) {
        transform_columns<W>(&rows, lanes, strip);
        for (int i = 0; i < kInputs; ++i) {
          const float* const half = strip + i * F32::kLanes * kWinogradColumns;  // of the transform
          float* const row = to + i * kInputs * point + c;
          F32 columns[kWinogradColumns];
          for (int64_t j = 0; j < rows.columns; j += F32::kLanes)
            load_transposed(half + j, kWinogradColumns, columns + j);
          for (int64_t r = 0; r < count; ++r)
            transform_row<W>(columns + r * kOutputs, lanes, row + r * block.v_stride, point);
        }
      });
    }
  });
}
inline void winograd_input_planes(const WinogradPlanes& job, const WinogradBlock& block, int64_t first,
                                  int64_t last) {
  with_winograd(job.tiling, [&](auto f) { winograd_input_planes<decltype(f)>(job, block, first, last); });
}

// One vector of channels of a run's outputs, (h, kPitch, kLanes), of which `w` columns are inside the image.
template <int64_t kPitch>
inline void store_planes(const WinogradPlanes& job, const float* strip, const WinogradTile& tile, int64_t o,
                         int lanes, int h, int64_t w) {
  const Nchw<float>& map = job.output_planes;
  const int64_t plane = map.h * map.w;
  float* const output = map.at(tile.n, o, tile.oh, tile.ow);
  const float* const residual =
      job.residual_planes.data == nullptr ? nullptr : job.residual_planes.at(tile.n, o, tile.oh, tile.ow);
  with_cheap_activation(job.epilogue.activation, [&](auto f) {
    for (int i = 0; i < h; ++i)
      for_each_vector<float>(w, [&](int64_t at, int some) {
        F32 y[F32::kLanes];
        load_transposed(strip + (i * kPitch + at) * F32::kLanes, F32::kLanes, y);
        int64_t offset = i * map.w + at;
#pragma GCC unroll 16
        for (int lane = 0; lane < F32::kLanes; ++lane, offset += plane) {
          if (lane >= lanes) break;
          if (residual != nullptr) y[lane] = y[lane] + load_lanes(residual + offset, some);
          store_lanes(f(y[lane]), output + offset, some);
        }
      });
  });
  for (int lane = 0; lane < lanes; ++lane)
    finish_exponential(job.epilogue.activation, output + lane * plane, map.w, h, w);
}

// For stores to `rows` rows of a plane. Inlined: GCC drops calls of functions that do nothing but prefetch.
[[gnu::always_inline]] inline void prefetch_lines(const float* first, int64_t stride, int rows,
                                                  int64_t columns) {
  for (int i = 0; i < rows; ++i, first += stride)
    for (int64_t line = 0; line < columns; line += kFloatsPerLine) __builtin_prefetch(first + line, 1, 2);
}

// Epilogue: tiles [first, last) of the block, all output channels.
template <class W>
inline void winograd_output_planes(const WinogradPlanes& job, const WinogradBlock& block, int64_t first,
                                   int64_t last) {
  constexpr int kOutputs = W::kTiling.outputs;
  constexpr int64_t kPitch = 48;  // three cache lines of each row, whole tiles of every size; 18 KB in L1
  const Nchw<float>& map = job.output_planes;
  alignas(64) float strip[kOutputs * kPitch * F32::kLanes] = {};
  for_each_run(
      job, block, first, last, kPitch / kOutputs, [&](int64_t t, const WinogradTile& tile, int64_t count) {
        const int h = outputs_inside<W>(job.rows.out_h - tile.oh);
        const int64_t right = job.rows.out_w - tile.ow,
                      w = right < count * kOutputs ? right : count * kOutputs;
        for_each_vector<float>(job.out_channels, [&](int64_t o, int lanes) {
          const int64_t share = (lanes + count - 1) / count;  // of the planes to prefetch, with each tile
          for (int64_t r = 0; r < count; ++r) {
            for (int64_t lane = r * share; lane < (r + 1) * share && lane < lanes; ++lane)
              prefetch_lines(map.at(tile.n, o + lane, tile.oh, tile.ow), map.w, h, w);
            const float* const from = block.m + (t + r) * job.m_stride + o;
            float* const to = strip + r * kOutputs * F32::kLanes;
            transform_outputs<W>(job, from, block.m_per_point, o, h, [&](int i, const F32(&y)[kOutputs]) {
#pragma GCC unroll 8
              for (int j = 0; j < kOutputs; ++j) y[j].store(to + (i * kPitch + j) * F32::kLanes);
            });
          }
          store_planes<kPitch>(job, strip, tile, o, lanes, h, w);
        });
      });
}
inline void winograd_output_planes(const WinogradPlanes& job, const WinogradBlock& block, int64_t first,
                                   int64_t last) {
  with_winograd(job.tiling, [&](auto f) { winograd_output_planes<decltype(f)>(job, block, first, last); });
}

}  // namespace pyvision::PYVISION_ISA_NS
