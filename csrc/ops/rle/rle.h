// SPDX-License-Identifier: Apache-2.0
// Run-length encoding of masks, as COCO stores them.
//
// A mask (h, w) is read down its columns, left to right, and becomes the lengths of its runs, alternately of
// unset and of set pixels, unset ones first (0 where the first pixel is set); they sum to h * w. Two
// spellings:
//   uncompressed  the lengths as they are
//   compressed    a text: each length from the fourth on as its difference from the one two before; these
//   signed
//                 numbers five bits at a time from the lowest, a further bit saying that more follow, plus 48
// Both as in the COCO API's maskApi (Lin et al., "Microsoft COCO", ECCV 2014), whose results these functions
// give bit for bit. A run of set pixels has half-open bounds [start, end) in this order of pixels.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dispatch.h"

namespace pyvision {

// h * w of any mask, so that a length fits 32 bits.
constexpr int64_t kMaxRlePixels = UINT32_MAX;

// Whether a mask may have this size; an empty one is no longer or wider than others may be.
inline bool rle_size_fits(int64_t h, int64_t w) {
  return h >= 0 && w >= 0 && h <= kMaxRlePixels && w <= kMaxRlePixels && (w == 0 || h <= kMaxRlePixels / w);
}

struct RleKernels {
  const char* isa;
  // A mask's columns as bits: bit r % 64 of bits[c * words + r / 64] says whether mask[r][c] is set; words =
  // ceil(h / 64), bits beyond h are 0. mask: (h, w), blocks: scratch (ceil(w / 64), 64), bits: (w, words)
  void (*pack_columns)(const uint8_t* mask, int64_t h, int64_t w, uint64_t* blocks, uint64_t* bits);
  // The inverse for `columns` <= 64 columns from `first` on; writes 0 and 1. bits: (columns, words), mask:
  // (h, w)
  void (*unpack_columns)(const uint64_t* bits, int64_t h, int64_t w, int64_t first, int64_t columns,
                         uint8_t* mask);
};

PYVISION_KERNELS(RleKernels, rle)

using Runs = std::vector<uint32_t>;

// Lengths of runs in anyone's memory.
struct RunsView {
  const uint32_t* data;
  int64_t count;

  RunsView(const uint32_t* lengths, int64_t n) : data(lengths), count(n) {}
  RunsView(const Runs& runs)
      : data(runs.data()), count(static_cast<int64_t>(runs.size())) {}  // NOLINT: a view
};

struct Rle {
  int64_t h, w;
  Runs runs;
};

// From one spelling to the other. text: room for kMaxRleDigits characters per length; returns how many there
// are.
constexpr int64_t kMaxRleDigits = 7;  // 35 bits hold every difference of two lengths
int64_t rle_compress(RunsView runs, char* text);
// runs: room for `length`. Null where the text is an encoding, else what it lacks.
const char* rle_decompress(const char* text, int64_t length, uint32_t* runs, int64_t* count);
// Whether the lengths sum to `pixels`.
bool rle_sums_to(RunsView runs, int64_t pixels);

// mask: (h, w), any byte but 0 is set; runs: room for h * w + 1 lengths. Returns how many there are.
int64_t rle_encode(const uint8_t* mask, int64_t h, int64_t w, uint32_t* runs);
// runs: of h * w pixels; mask: (h, w), zeros when called, set pixels become 1
void rle_decode(RunsView runs, int64_t h, int64_t w, uint8_t* mask);

// How many pixels are set.
int64_t rle_area(RunsView runs);
// x, y, width, height of the smallest box around the set pixels; zeros where there are none.
void rle_to_bbox(RunsView runs, int64_t h, double* bbox);
// Pixels set in any, or in all with `intersect`; there are some, all of one size.
Runs rle_merge(const std::vector<Rle>& rles, bool intersect);

// What an overlap needs of one encoding.
struct RleSpans {
  std::vector<uint32_t> starts, ends;  // of the runs of set pixels
  int64_t area = 0;
  int64_t first_row = 0, last_row = INT64_MAX;  // known where h is

  explicit RleSpans(RunsView runs, int64_t h = 0);
};

// Intersection over union, or with `crowd` over the area of `a`; 0 where they share nothing.
double rle_iou(const RleSpans& a, const RleSpans& b, bool crowd);

// The polygon through k points xy (x, y) as maskApi draws it: edges sampled five times per pixel, a column's
// part lies between its first and last crossings, those of an odd number of edges. Coordinates within 2^20.
constexpr double kMaxPolygonCoordinate = 1 << 20;
Runs rle_from_polygon(const double* xy, int64_t k, int64_t h, int64_t w);

}  // namespace pyvision
