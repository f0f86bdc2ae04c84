// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution over NHWC: lanes are channels, no GEMM. A block of neighbouring outputs is computed
// in registers, so that an input vector is loaded once for all the taps and output rows that see it:
//
//   stride 1, K = 3:  input   x0 x1 x2 x3 …      each x feeds up to K outputs of each of the block's rows
//                     output  y0 = k0 x0 + k1 x1 + k2 x2,  y1 = k0 x1 + k1 x2 + k2 x3 …
//
// Dilation needs no kernel of its own: outputs that lie dilation / gcd(stride, dilation) apart see the same
// lattice of inputs, stride / gcd(stride, dilation) taps apart, so a block takes those as its neighbours.
#pragma once

#include "conv/gemm-inl.h"
#include "simd/activation-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Outputs of a block. Seven pixels divide the maps of 224-pixel networks (112, 56, 28, 14, 7) and waste
// little of others. Two rows read each input row half as often, where 14 accumulators, two rows of up to 7
// weights and an input fit the register file.
constexpr int kDepthwiseRows = F32::kLanes == 16 ? 2 : 1;
constexpr int kDepthwisePixels = 7;

struct DepthwiseBlock {
  int rows, pixels;                  // [1, kDepthwiseRows], [1, kDepthwisePixels]
  const float* window;               // the first output's tap (0, 0), channel 0; may be outside the image
  int64_t row_begin, row_end;        // rows of the window, a dilation apart, that are inside
  int64_t column_begin, column_end;  // columns, likewise
  float* output[kDepthwiseRows];     // channel 0 of the first pixel
  const float* residual[kDepthwiseRows];  // likewise, or null
  int64_t output_step, residual_step;     // from pixel to pixel
};

// All of the window's columns are inside, all outputs wanted, all lanes in use.
struct WholeLanes {
  static constexpr int64_t group_in = 1;
  const float* address(const float* p, int64_t) const { return p; }
  F32 input(const float* p, int64_t, int64_t = 0) const { return F32::load(p); }
  F32 parameters(const float* p) const { return F32::load(p); }
  F32 load(const float* p, int) const { return F32::load(p); }
  void store(F32 x, float* p, int) const { x.store(p); }
};

alignas(64) constexpr float kZeroLanes[F32::kLanes] = {};

// Columns outside read as zeros, pixels beyond the last are not written, lanes beyond the last do not exist.
struct ClippedLanes {
  static constexpr int64_t group_in = 1;
  int lanes, pixels;
  int64_t column_begin, column_end;

  const float* address(const float* p, int64_t column) const {
    return column >= column_begin && column < column_end ? p : kZeroLanes;
  }
  F32 input(const float* p, int64_t column, int64_t = 0) const {
    return F32::load_n(address(p, column), lanes);
  }
  F32 parameters(const float* p) const { return F32::load_n(p, lanes); }
  F32 load(const float* p, int pixel) const { return F32::load_n(p, pixel < pixels ? lanes : 0); }
  void store(F32 x, float* p, int pixel) const {
    if (pixel < pixels) x.store_n(p, lanes);
  }
};

// The same with all lanes in use: masked vectors, AVX2's stores above all, take several times as long.
struct EdgeLanes {
  static constexpr int64_t group_in = 1;
  int pixels;
  int64_t column_begin, column_end;

  F32 input(const float* p, int64_t column, int64_t = 0) const {
    return F32::load(column >= column_begin && column < column_end ? p : kZeroLanes);
  }
  F32 parameters(const float* p) const { return F32::load(p); }
  F32 load(const float* p, int pixel) const { return F32::load(pixel < pixels ? p : kZeroLanes); }
  void store(F32 x, float* p, int pixel) const {
    if (pixel < pixels) x.store(p);
  }
};

// Clipped, and each input channel feeds `multiplier` neighbouring output channels.
struct RepeatedLanes {
  static constexpr int64_t group_in = 1;
  ClippedLanes outputs, inputs;
  I32 source;  // lane of the input vector by output lane

  RepeatedLanes(const ClippedLanes& clipped, int64_t multiplier, int64_t c)
      : outputs(clipped), inputs(clipped) {
    const int64_t first = c % multiplier;  // of the output channels that share the first input channel
    inputs.lanes = static_cast<int>((first + clipped.lanes - 1) / multiplier) + 1;
    // The half keeps quotients away from whole numbers: rounding cannot reach the next one.
    source = to_i32((F32::iota() + F32::set(static_cast<float>(first) + 0.5f)) /
                    F32::set(static_cast<float>(multiplier)));
  }
  F32 input(const float* p, int64_t column, int64_t) const {
    return permute(inputs.input(p, column), source);
  }
  F32 parameters(const float* p) const { return outputs.parameters(p); }
  F32 load(const float* p, int pixel) const { return outputs.load(p, pixel); }
  void store(F32 x, float* p, int pixel) const { outputs.store(x, p, pixel); }
};

using DepthwiseSums = F32[kDepthwiseRows][kDepthwisePixels];

// One window row times one row of taps for each of the output rows [kFirst, kFirst + kCount): the i-th input
// channel of each lane's group. Inlined, as its callers are, or the sums would live in memory.
template <int K, int S, int kFirst, int kCount, class Lanes>
[[gnu::always_inline]] inline void add_input(DepthwiseSums& sums, const DepthwiseConv& job, const float* row,
                                             const float* const (&taps)[kCount], const Lanes& lanes,
                                             int64_t i) {
  const int64_t pixel = job.dilation_w * job.input.stride_w, pitch = job.tap_pitch;
  if constexpr (K == 0) {  // any width, any stride
    for (int64_t kw = 0; kw < job.kernel_w; ++kw) {
      F32 w[kCount];
#pragma GCC unroll 2
      for (int r = 0; r < kCount; ++r) w[r] = lanes.parameters(taps[r] + kw * pitch);
#pragma GCC unroll 8
      for (int p = 0; p < kDepthwisePixels; ++p) {
        const int64_t column = p * job.column_stride + kw;
        const F32 x = lanes.input(row + column * pixel, column, i);
#pragma GCC unroll 2
        for (int r = 0; r < kCount; ++r) sums[kFirst + r][p] = fma(w[r], x, sums[kFirst + r][p]);
      }
    }
  } else {
    F32 w[kCount][K];
#pragma GCC unroll 2
    for (int r = 0; r < kCount; ++r) {
#pragma GCC unroll 8
      for (int kw = 0; kw < K; ++kw) w[r][kw] = lanes.parameters(taps[r] + kw * pitch);
    }
    // Window column q S + s, as two loops: GCC unrolls none of more than 16 rounds completely.
#pragma GCC unroll 16
    for (int q = 0; q < kDepthwisePixels + (K - 1) / S; ++q) {
#pragma GCC unroll 2
      for (int s = 0; s < S; ++s) {
        if (q * S + s >= (kDepthwisePixels - 1) * S + K) continue;
        const F32 x = lanes.input(row + (q * S + s) * pixel, q * S + s, i);
#pragma GCC unroll 8
        for (int t = 0; t < (K - s + S - 1) / S; ++t) {  // tap column t S + s of output q - t
          const int p = q - t;
          if (p < 0 || p >= kDepthwisePixels) continue;
#pragma GCC unroll 2
          for (int r = 0; r < kCount; ++r) sums[kFirst + r][p] = fma(w[r][t * S + s], x, sums[kFirst + r][p]);
        }
      }
    }
  }
}

// The same for all the inputs of a group.
template <int K, int S, int kFirst, int kCount, class Lanes>
[[gnu::always_inline]] inline void add_window_row(DepthwiseSums& sums, const DepthwiseConv& job,
                                                  const float* row, const float* const (&taps)[kCount],
                                                  const Lanes& lanes) {
  const float* of_input[kCount];
#pragma GCC unroll 2
  for (int r = 0; r < kCount; ++r) of_input[r] = taps[r];
  for (int64_t i = 0; i < lanes.group_in; ++i) {
    add_input<K, S, kFirst, kCount>(sums, job, row, of_input, lanes, i);
#pragma GCC unroll 2
    for (int r = 0; r < kCount; ++r) of_input[r] += job.kernel_w * job.tap_pitch;
  }
}

// A vector of output channels from c on, which sees the input channels from c_in on. taps: (kernel_h,
// group_in, kernel_w) vectors, tap_pitch apart
template <int K, int S, class Lanes>
[[gnu::always_inline]] inline void depthwise_vector(const DepthwiseConv& job, const DepthwiseBlock& block,
                                                    const Lanes& lanes, int64_t c, int64_t c_in,
                                                    const float* taps) {
  constexpr int kRows = kDepthwiseRows, kPixels = kDepthwisePixels;
  DepthwiseSums sums;
  const F32 bias = lanes.parameters(job.epilogue.bias + c);
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) sums[r][p] = bias;
  }
  const int64_t window_step = job.dilation_h * job.input.stride_h;
  const int64_t taps_step = lanes.group_in * job.kernel_w * job.tap_pitch;
  const float* row = block.window + c_in + block.row_begin * window_step;
  taps += block.row_begin * taps_step;                // that meet the window row in output row 0
  const int64_t behind = job.row_stride * taps_step;  // output row 1 sees it by earlier ones
  for (int64_t i = block.row_begin; i < block.row_end; ++i, row += window_step, taps += taps_step) {
    if constexpr (kRows == 1) {
      add_window_row<K, S, 0, 1>(sums, job, row, {taps}, lanes);
    } else {
      const bool first = i < job.kernel_h, second = block.rows == 2 && i >= job.row_stride;
      if (first && second)
        add_window_row<K, S, 0, 2>(sums, job, row, {taps, taps - behind}, lanes);
      else if (first)
        add_window_row<K, S, 0, 1>(sums, job, row, {taps}, lanes);
      else if (second)
        add_window_row<K, S, 1, 1>(sums, job, row, {taps - behind}, lanes);
    }
  }
  if (block.residual[0] != nullptr) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      if (r >= block.rows) break;
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p)
        sums[r][p] = sums[r][p] + lanes.load(block.residual[r] + p * block.residual_step + c, p);
    }
  }
  with_cheap_activation(job.epilogue.activation, [&](auto f) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) sums[r][p] = f(sums[r][p]);
    }
  });
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    if (r >= block.rows) break;
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) lanes.store(sums[r][p], block.output[r] + p * block.output_step + c, p);
  }
}

// Part `part` of the cache lines of `pixels` pixels' channels, of as many parts as a pixel has lines: the
// lines of one pixel after another's.
template <bool kWrite>
[[gnu::always_inline]] inline void prefetch_part(const float* first, int64_t step, int64_t pixels,
                                                 int64_t lines, int64_t part) {
  int64_t line = part * pixels % lines;
  for (first += part * pixels / lines * step; pixels > 0; --pixels) {
    __builtin_prefetch(first + line * kFloatsPerLine, kWrite, 2);
    if (++line == lines) line = 0, first += step;
  }
}

// The rows that the next row block adds to this window, and the next block's outputs: with the pixels
// of several rows by turns, the hardware's prefetchers lose track. Inlined: GCC drops calls of functions that
// do nothing but prefetch.
[[gnu::always_inline]] inline void prefetch_ahead(const DepthwiseConv& job, const DepthwiseBlock& block,
                                                  int64_t c, int64_t c_begin, int64_t c_end) {
  const int64_t lines = (c_end - c_begin) / kFloatsPerLine, part = (c - c_begin) / kFloatsPerLine;
  if ((c - c_begin) % kFloatsPerLine != 0 || part >= lines) return;
  const int64_t window_step = job.dilation_h * job.input.stride_h;
  const float* row =
      block.window + c_begin + ((kDepthwiseRows - 1) * job.row_stride + job.kernel_h) * window_step;
  for (int64_t r = 0; r < kDepthwiseRows * job.row_stride; ++r, row += window_step)
    prefetch_part<false>(row, job.dilation_w * job.input.stride_w, kDepthwisePixels * job.column_stride,
                         lines, part);
  for (int r = 0; r < block.rows; ++r)
    prefetch_part<true>(block.output[r] + c_begin + kDepthwisePixels * block.output_step, block.output_step,
                        kDepthwisePixels, lines, part);
}

// Whether all of the block's window columns are inside and all of its outputs wanted.
inline bool is_whole(const DepthwiseConv& job, const DepthwiseBlock& block) {
  return block.pixels == kDepthwisePixels && block.column_begin == 0 &&
         block.column_end == (kDepthwisePixels - 1) * job.column_stride + job.kernel_w;
}

// Exponential activations, while the outputs are in L1.
inline void finish_block(const DepthwiseConv& job, const DepthwiseBlock& block, int64_t c_begin,
                         int64_t c_end) {
  for (int r = 0; r < block.rows; ++r)
    finish_exponential(job.epilogue.activation, block.output[r] + c_begin, block.output_step, block.pixels,
                       c_end - c_begin);
}

// Output channels [c, c_end) where no whole vector of input channels can be had: of any kernel, since one for
// each would cost more to compile than it is worth.
inline void clipped_block(const DepthwiseConv& job, const DepthwiseBlock& block, int64_t c, int64_t c_end) {
  for (; c < c_end; c += F32::kLanes) {
    const int lanes = static_cast<int>(c_end - c < F32::kLanes ? c_end - c : F32::kLanes);
    const ClippedLanes clipped{lanes, block.pixels, block.column_begin, block.column_end};
    if (job.multiplier == 1)
      depthwise_vector<0, 0>(job, block, clipped, c, c, job.packed + c);
    else
      depthwise_vector<0, 0>(job, block, RepeatedLanes(clipped, job.multiplier, c), c, c / job.multiplier,
                             job.packed + c);
  }
}

// Channels before the first vector of the window that is aligned, where those of all pixels are then. NumPy's
// arrays begin at any 16 bytes, and a load that crosses cache lines takes the time of two: with a stride,
// where an output costs several loads, more than a vector that overlaps the next. Measured.
inline int64_t leading_channels(const DepthwiseConv& job, const float* window, int64_t channels) {
  const Nhwc<const float>& in = job.input;
  if (job.column_stride == 1 || channels < 6 * F32::kLanes) return 0;
  if ((in.stride_w | in.stride_h | in.stride_n) % F32::kLanes != 0) return 0;
  return static_cast<int64_t>(-(reinterpret_cast<uintptr_t>(window) / sizeof(float)) % F32::kLanes);
}

// Output channels [c_begin, c_end).
template <int K, int S>
void depthwise_block(const DepthwiseConv& job, const DepthwiseBlock& block, int64_t c_begin, int64_t c_end) {
  int64_t c = c_begin;
  if (job.multiplier == 1) {
    const EdgeLanes edge{block.pixels, block.column_begin, block.column_end};
    const bool whole = is_whole(job, block);
    const auto vector = [&](int64_t at) __attribute__((always_inline)) {
      if (whole)
        depthwise_vector<K, S>(job, block, WholeLanes{}, at, at, job.packed + at);
      else
        depthwise_vector<K, S>(job, block, edge, at, at, job.packed + at);
    };
    // The first and the last vector overlap their neighbours, unless a residual may be what the one before
    // has overwritten.
    const bool overlap = c_end - c_begin >= F32::kLanes && block.residual[0] == nullptr;
    const int64_t lead = overlap ? leading_channels(job, block.window + c_begin, c_end - c_begin) : 0;
    if (lead != 0) vector(c);
    c += lead;
    while (overlap ? c < c_end : c + F32::kLanes <= c_end) {
      if (job.prefetch) prefetch_ahead(job, block, c - lead, c_begin, c_end);
      vector(c + F32::kLanes <= c_end ? c : c_end - F32::kLanes);
      c += F32::kLanes;
    }
  }
  clipped_block(job, block, c, c_end);
  finish_block(job, block, c_begin, c_end);
}

using DepthwiseKernel = void (*)(const DepthwiseConv& job, const DepthwiseBlock& block, int64_t c_begin,
                                 int64_t c_end);

// Compiled once for each ISA, in ops/conv2d.
DepthwiseKernel pick_depthwise_kernel(const DepthwiseConv& job);

// Steps of a dilation from `first` on that stay inside [0, extent): [begin, end), at most `count`.
inline void clip_window(int64_t first, int64_t dilation, int64_t extent, int64_t count, int64_t* begin,
                        int64_t* end) {
  *begin = first >= 0 ? 0 : (-first + dilation - 1) / dilation;
  *end = first >= extent ? 0 : (extent - first + dilation - 1) / dilation;
  if (*end > count) *end = count;
  if (*begin > *end) *begin = *end;
}

// The outputs (n, oh + r * step_h, ow + p * step_w), as many as a block has and the map holds. Where they go
// is left to the caller.
inline void set_window(const DepthwiseConv& job, int64_t n, int64_t oh, int64_t ow, int rows, int pixels,
                       DepthwiseBlock* block) {
  block->rows = rows, block->pixels = pixels;
  const int64_t ih = oh * job.stride_h - job.pad_top, iw = ow * job.stride_w - job.pad_left;
  const Nhwc<const float>& in = job.input;
  block->window = in.data + n * in.stride_n + ih * in.stride_h + iw * in.stride_w;
  clip_window(ih, job.dilation_h, in.h, (rows - 1) * job.row_stride + job.kernel_h, &block->row_begin,
              &block->row_end);
  clip_window(iw, job.dilation_w, in.w, (kDepthwisePixels - 1) * job.column_stride + job.kernel_w,
              &block->column_begin, &block->column_end);
}

// Outputs from `first` on, `step` apart, of a map of `extent`, at most `most`.
inline int count_outputs(int64_t first, int64_t step, int64_t extent, int most) {
  const int64_t count = (extent - first + step - 1) / step;
  return static_cast<int>(count < most ? count : most);
}

// Weights that stay in L1 beside the inputs and outputs of a block: 12 KB.
constexpr int64_t kChunkFloats = (12 << 10) / sizeof(float);
inline int64_t depthwise_chunk(const DepthwiseConv& job) {
  const int64_t channels = kChunkFloats / (job.kernel_h * job.kernel_w);
  return channels < 64 ? 64 : channels / 16 * 16;
}

// Row blocks [block_begin, block_end) of the n * row_blocks of all images, channels [c_begin, c_end) or
// whatever else the kernel counts. A chunk's weights stay in L1 for a row of blocks.
inline void run_row_blocks(const DepthwiseConv& job, DepthwiseKernel kernel, int64_t chunk,
                           int64_t block_begin, int64_t block_end, int64_t c_begin, int64_t c_end) {
  const RowMap& map = job.rows;
  DepthwiseBlock block;
  block.output_step = job.step_w * map.output.stride_w;
  block.residual_step = job.step_w * map.residual.stride_w;
  for (int r = 0; r < kDepthwiseRows; ++r) block.residual[r] = nullptr;
  for (int64_t b = block_begin; b < block_end; ++b) {
    const int64_t n = b / job.row_blocks, first_row = b % job.row_blocks * kDepthwiseRows * job.step_h;
    for (int64_t c = c_begin; c < c_end; c += chunk) {
      for (int64_t oh = first_row; oh < first_row + job.step_h && oh < map.out_h; ++oh) {
        const int rows = count_outputs(oh, job.step_h, map.out_h, kDepthwiseRows);
        for (int64_t first = 0; first < map.out_w; first += kDepthwisePixels * job.step_w) {
          for (int64_t ow = first; ow < first + job.step_w && ow < map.out_w; ++ow) {
            set_window(job, n, oh, ow, rows, count_outputs(ow, job.step_w, map.out_w, kDepthwisePixels),
                       &block);
            for (int r = 0; r < rows; ++r) {
              block.output[r] = map.output.at(n, oh + r * job.step_h, ow);
              if (map.residual.data != nullptr)
                block.residual[r] = map.residual.at(n, oh + r * job.step_h, ow);
            }
            kernel(job, block, c, c + chunk < c_end ? c + chunk : c_end);
          }
        }
      }
    }
  }
}

inline void depthwise_conv(const DepthwiseConv& job, int64_t block_begin, int64_t block_end, int64_t c_begin,
                           int64_t c_end) {
  run_row_blocks(job, pick_depthwise_kernel(job), depthwise_chunk(job), block_begin, block_end, c_begin,
                 c_end);
}

}  // namespace pyvision::PYVISION_ISA_NS
