// SPDX-License-Identifier: Apache-2.0
// The tile GEMM that every convolution ends in: what one call computes, as plain data.
//
//   C[r, o] = act(bias[o] + residual[r, o] + sum_k A[r, k] B[k, o])
//
// A row r is one output pixel; the producer writes its K values (taps row-major, channels innermost) into an
// A tile. B is packed once: panels of `panel_width` columns, each panel K rows of consecutive columns,
// zero-padded.
//
// Both consist of 32-bit words. A word holds one float, or `depth` neighbouring K values of a narrower type
// that one instruction multiplies and adds: two bf16 or int16, four int8. Whole words: K is padded with
// zeros.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/tensor.h"

namespace pyvision {

// K values of a tile that are produced and multiplied at a time: 14 rows of 288 floats, or 6 of 672, are 16
// KB, half of the smallest L1 (32 KB), so that the streaming B panel does not evict them; 3 x 3 x 64 channels
// are two whole blocks of 288.
constexpr int64_t k_block_limit(int64_t row_tile) { return 4032 / row_tile / 8 * 8; }

// How K splits into equal blocks of at most the limit, which is in words of `depth` values. Fixed by K and
// the ISA's row tile: the order of additions, and so every bit of the result, is the same for any tiling and
// thread count.
inline int64_t k_block_size(int64_t k, int64_t row_tile, int64_t depth = 1) {
  const int64_t limit = k_block_limit(row_tile) * depth, blocks = (k + limit - 1) / limit;
  return blocks <= 1 ? k : ((k + blocks - 1) / blocks + 7) / 8 * 8;
}

// What a kernel table says of its tiles.
struct TileShape {
  int64_t row_tile, panel_width;
  int64_t stride;  // words per row of an A tile
  int64_t depth;   // values per word
};

// Tiles of A that wait in L2 while one panel of B serves them all: 16 x 16 KB.
constexpr int64_t kTileGroup = 16;
constexpr int64_t kGroupRows = kTileGroup * 14;  // of the ISA with the highest tiles

// What becomes of f32 sums: act(sum + bias + residual), rounded to Out.
template <class Out_>
struct EpilogueTo {
  using Out = Out_;
  using Sum = float;

  const float* bias;  // (out_channels,) padded with zeros to whole panels
  ActivationParams activation;
};
using Epilogue = EpilogueTo<float>;

// Where row r of C lives: output pixel (n, oh, ow), in the output and, if there is one, in the residual.
struct OutputExtents {
  int64_t out_h, out_w;
};
template <class Out>
struct RowMapOf : OutputExtents {
  Nhwc<Out> output;          // data already at the first channel of this group
  Nhwc<const Out> residual;  // data null when there is none
};
using RowMap = RowMapOf<float>;

// What the tile loops know of one group of a convolution, whatever produces its A tiles.
template <class E>
struct TileGemmOf {
  using Epilogue = E;

  const float* packed;  // (panels, ceil(k / depth), panel_width) words; the last panel may be narrower
  int64_t k;            // kernel_h * kernel_w * channels
  int64_t out_channels;
  RowMapOf<typename E::Out> rows;
  E epilogue;
  int64_t row_count;              // n * out_h * out_w
  int64_t row_tiles;              // rows are dealt to this many tiles as evenly as can be
  int64_t rows_base, rows_extra;  // row_count / row_tiles, row_count % row_tiles
  bool panels_in_l2;              // all of B stays in L2: finish a tile before the next, so that C is hot
};
using TileGemm = TileGemmOf<Epilogue>;

// One group of a direct convolution.
template <class In, class E>
struct DirectConvOf : TileGemmOf<E> {
  Nhwc<const In> input;  // data already at the first channel of this group, c = channels per group
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
};
using DirectConv = DirectConvOf<float, Epilogue>;

// Rows of tile t: [tile_begin(t), tile_begin(t + 1)), at most the kernel's row_tile.
template <class E>
inline int64_t tile_begin(const TileGemmOf<E>& job, int64_t tile) {
  return tile * job.rows_base + (tile < job.rows_extra ? tile : job.rows_extra);
}

// Pixels that a weight's gradient sums at a time: a panel of their windows, 112 x 128 bytes, is half of L1.
constexpr int64_t kPixelBlock = 112;

// The gradient of one group's weight: grad_weight[o, k] = sum_r grad_output[r, o] A[r, k], where A holds the
// windows of the input as in the convolution itself.
struct WeightGrad {
  DirectConv conv;           // input, window, k, out_channels, rows.out_h, rows.out_w and row_count
  const float* grad_output;  // (row_count, out_channels), at the first channel of this group
  int64_t grad_stride;       // floats between rows of grad_output
  float* grad_weight;        // (out_channels, k)
  // Blocks of at most kPixelBlock pixels, as many row tiles in each as can be: block i begins at row tile
  // i * row_tiles / blocks. Those to add; the first of all stores.
  int64_t blocks, first_block, last_block;
};

// What depthwise convolutions of either layout share: output channel o sees input channel o / multiplier
// only.
struct DepthwiseTaps {
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int64_t multiplier;
  int64_t tap_pitch;    // of packed, from one tap of a row to the next
  const float* packed;  // (kernel_h, kernel_w, out_channels)
  Epilogue epilogue;
};

struct DepthwiseConv : DepthwiseTaps {
  Nhwc<const float> input;
  RowMap rows;
  // Outputs step apart see inputs that lie on one lattice, this many taps apart.
  int64_t step_h, step_w;             // dilation / gcd(stride, dilation)
  int64_t row_stride, column_stride;  // stride / gcd(stride, dilation)
  int64_t row_blocks;                 // per image: of depthwise_rows * step_h output rows each
  bool prefetch;                      // the input does not fit L2
};

// Vectors of output channels that each see one range of input channels: of several whole groups, or of one
// group or a part of it.
struct GroupVectors {
  int64_t groups, group_in, group_out, lanes;
  int64_t groups_per_vector, vectors_per_group;  // one of them is 1
  int64_t count;

  int64_t group(int64_t vector) const { return vector / vectors_per_group * groups_per_vector; }
  int64_t first_in(int64_t vector) const { return group(vector) * group_in; }
  int64_t first_out(int64_t vector) const {
    return group(vector) * group_out + vector % vectors_per_group * lanes;
  }
  // Channels of [first_out(vector), first_out(vector + 1)).
  int64_t out_lanes(int64_t vector) const {
    return (vector + 1 == count ? groups * group_out : first_out(vector + 1)) - first_out(vector);
  }
};

// A grouped convolution by the depthwise kernel's blocks; packed: (vectors, kernel_h, group_in, kernel_w,
// lanes).
struct GroupedConv : DepthwiseConv {
  GroupVectors vectors;
};

// A depthwise convolution whose result is the A of a 1 x 1 convolution.
struct SeparableConv : TileGemm {
  DepthwiseConv depthwise;  // of its rows only the extents and the output's channels are used
  // A tile is a block of the depthwise kernel: `row_parts` x `column_parts` of them for each phase of the
  // lattices of step_h and step_w, phases innermost. row_count and its kin count kRowTile rows for each.
  int64_t row_parts, column_parts, row_phases, column_phases;
};

struct DepthwisePlanes : DepthwiseTaps {
  const float* input;  // (n, out_channels / multiplier, h, w)
  float* output;       // (n, out_channels, out_h, out_w)
  int64_t h, w, out_h, out_w, out_channels;
  // Rows of the input lie in a strip of memory, each as stride_w phases (every stride_w-th column) of `pitch`
  // floats.
  int64_t strip_rows, pitch;
};

}  // namespace pyvision
