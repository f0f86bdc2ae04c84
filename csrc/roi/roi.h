// SPDX-License-Identifier: Apache-2.0
// What the ops on regions of interest share, as plain data: maps, boxes, and regions as weighted pixels.
// An axis-parallel bin is the product of two lists of taps, one per axis:
//
//   out[ph, pw, c] = sum over i in y taps of the bin, j in x taps of the bin:
//                      y.weight[i] * x.weight[j] * map[y.index[i], x.index[j], c]
//
// This holds for every average of bilinear samples on a grid whose rules (border, out of range) go axis by
// axis, for plain averages over a rectangle, and for exact integrals of the bilinear surface. Samples that
// fall on one pixel are one tap, so that a bin reads a pixel once however many samples it has.
#pragma once

#include <cstdint>

namespace pyvision {

// Maps of a pyramid, each a dense (n, h, w, c) or, with `planar`, (n, c, h, w).
template <class T>
struct RoiLevel {
  T* data;
  int64_t h, w;
  double scale;  // of the boxes
};
template <class T>
struct RoiMaps {
  const RoiLevel<T>* levels;
  int64_t level_count, n, channels;
  bool planar;
};

template <class T>
struct RoiBoxes {
  const T* data;  // (count, columns), the image's index first
  int64_t count, columns;
  const int64_t* levels;  // (count,), or null: the first

  const T* operator[](int64_t k) const { return data + k * columns; }
  int64_t image(int64_t k) const { return static_cast<int64_t>(data[k * columns]); }
  int64_t level(int64_t k) const { return levels ? levels[k] : 0; }
};

struct RoiGrid {
  int64_t h, w;  // bins
  bool shared;   // a row of bins shares its y taps and a column its x taps; otherwise each bin has its own

  int64_t bins() const { return h * w; }
  int64_t y_bins() const { return shared ? h : h * w; }
  int64_t x_bins() const { return shared ? w : h * w; }
  int64_t y_bin(int64_t ph, int64_t pw) const { return shared ? ph : ph * w + pw; }
  int64_t x_bin(int64_t ph, int64_t pw) const { return shared ? pw : ph * w + pw; }
};

// Bin b has taps [first[b], first[b + 1]) by rising index; an index may occur twice.
template <class T>
struct RoiAxis {
  const int64_t* first;
  const int32_t* index;  // [0, extent of the map)
  const T* weight;

  bool is_empty(int64_t bin) const { return first[bin] == first[bin + 1]; }
  int64_t last(int64_t bin) const { return index[first[bin + 1] - 1]; }  // of a bin with taps
};
template <class T>
struct RoiTaps {
  RoiAxis<T> y, x;
};

// A region's row of bins. map: its image's first pixel, channels neighbours; out: (grid.w, channels)
template <class T>
using GatherBins = void (*)(const RoiGrid& grid, const RoiTaps<T>& taps, int64_t ph, const T* map,
                            int64_t stride_h, int64_t stride_w, int64_t channels, T* out);
// The transpose, as far as it concerns rows [begin, end) of the map, which is added to.
// grad: (bins, channels); map: the first pixel of row `begin`
template <class T>
using ScatterBins = void (*)(const RoiGrid& grid, const RoiTaps<T>& taps, const T* grad, int64_t channels,
                             int64_t begin, int64_t end, T* map, int64_t stride_h, int64_t stride_w);

// The x taps of one bin of many regions, spread over spans of neighbouring columns: bin k has spans
// [first[k], first[k + 1]), each of as many columns as a vector has lanes. A map less wide has one span.
template <class T>
struct RoiSpans {
  const int64_t* first;
  const int32_t* column;  // a span's first
  const T* weight;        // of all its columns, 0 where the bin has no tap
};
// sums[k] = bin k of the plane, k in [begin, end). y: the bin's y taps in each region
template <class T>
using SumPlane = void (*)(const RoiAxis<T>& y, const RoiSpans<T>& x, int64_t begin, int64_t end,
                          const T* plane, int64_t width, T* sums);

// A bin's taps along one axis, one to four, as four: where there are fewer, some have their weight in halves
// or quarters, which add up to just what they would be. Sums of them have no branch that hangs on their
// number. `at`: their index, in steps of `stride`
template <class T, class At = int64_t>
struct FourTaps {
  At at[4];
  T weight[4];

  FourTaps() = default;
  FourTaps(const int32_t* index, const T* weights, int64_t count, At stride) {
    constexpr int64_t kTap[4][4] = {{0, 0, 0, 0}, {0, 0, 1, 1}, {0, 1, 2, 2}, {0, 1, 2, 3}};
    constexpr T kShare[4][4] = {
        {0.25, 0.25, 0.25, 0.25}, {0.5, 0.5, 0.5, 0.5}, {1, 1, 0.5, 0.5}, {1, 1, 1, 1}};
    for (int64_t i = 0; i < 4; ++i) {
      at[i] = index[kTap[count - 1][i]] * stride;
      weight[i] = weights[kTap[count - 1][i]] * kShare[count - 1][i];
    }
  }
};

// A row of a map of neighbouring channels, of which bin b has channels b, b + bins, ...: one for each output.
// Only those outputs are meant that begin with `first`.
struct OwnRow {
  int64_t bins, first, outputs;
};
// Four x taps of a bin, by their pixels' places in the row, beside a y tap. Neighbouring rows share it: the
// latter weighs something else in either.
template <class T, class Sum>
struct OwnTap {
  const FourTaps<T, int32_t>* x;
  Sum* sums;  // of all outputs
  int32_t bin;
  T weight[2];
};
// Adds what the row has for its taps, with their weight r, to their sums. row: its first pixel, at the first
// output meant
template <class T>
using SumTaps = void (*)(const OwnRow& shape, const OwnTap<T, T>* taps, int64_t count, int64_t r,
                         const T* row);
// The transpose: adds to the row what its taps have of their grads.
template <class T>
using AddTaps = void (*)(const OwnRow& shape, const OwnTap<T, const T>* taps, int64_t count, int64_t r,
                         T* row);

template <class T>
struct OwnChannelKernels {
  SumPlane<T> sum_plane;
  SumTaps<T> sum_taps;
  AddTaps<T> add_taps;
  int64_t lanes;
};

}  // namespace pyvision
