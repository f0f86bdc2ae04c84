// SPDX-License-Identifier: Apache-2.0
// Dense NCHW maps through an op that works on NHWC ones: strip by strip of output rows. The NHWC copies of a
// strip, and of the input rows that it sees, stay in cache; no copy of a whole map is made.
//
//   input (c, h, w)       NHWC        op        NHWC         output (o, out_h, out_w)
//   ├ rows seen ─ ┤ ──► ┌──────┐ ──────────► ┌───────┐ ──► ├ strip ─ ─ ─ ┤
//
// A map that fits is one strip, and small images go several at a time.
#pragma once

#include <cstdint>

#include "core/parallel.h"
#include "core/tensor.h"

namespace pyvision {

template <class T>
Nhwc<const T> as_const(const Nhwc<T>& map) {
  return {map.data, map.n, map.h, map.w, map.c, map.stride_n, map.stride_h, map.stride_w};
}

// A map of either layout: NHWC, or dense NCHW where `planes` is set. `nhwc` has the extents of both.
template <class T>
struct EitherMap {
  Nhwc<T> nhwc;
  T* planes = nullptr;  // (n, c, h, w)
};

// Memory that kernels may read, and do not use, behind a map's last pixel.
constexpr int64_t kReadAhead = 64;

// The map as NHWC, of which pixels [begin, end) of all the n * h * w are there: in `memory`, (end - begin) *
// c + kReadAhead floats, where they had to be converted.
Nhwc<const float> convert_pixels(const EitherMap<const float>& map, int64_t begin, int64_t end,
                                 float* memory);

// [begin, end); beyond the image where the op sees padding.
struct RowRange {
  int64_t begin, end;
};
// The input rows that output rows [first, last) see.
using RowsSeen = FunctionRef<RowRange(int64_t first, int64_t last)>;

// Of a strip's copies, input and output, for each thread: what L2 or a share of L3 holds.
constexpr int64_t kStripBytes = 1 << 20;

struct NchwShape {
  int64_t n, in_channels, h, w;
  int64_t out_channels, out_h, out_w;
  // Strips begin at its multiples: where rows are computed together (tiles of Winograd, phases of a
  // transposed convolution), so that a strip computes what the whole map would, the same bits.
  int64_t row_unit = 1;
  int64_t strip_bytes = kStripBytes;
};

// A strip of the images from first_image on: output rows from first_out on, and the input's rows from
// first_in on, at least all that they see of the image.
template <class In, class Out>
struct NchwStrip {
  int64_t first_image;
  Nhwc<const In> input;
  int64_t first_in;
  Nhwc<Out> output;
  int64_t first_out;
};

// How many input rows the strips of one image convert, altogether.
template <class In, class Out>
int64_t rows_converted(const NchwShape& shape, RowsSeen seen);

// Calls run(strip), which fills the strip's output, over all of the output. input: (n, in_channels, h, w),
// output: (n, out_channels, out_h, out_w). residual: null, or of the output's shape: then strips' outputs
// hold it when they are run.
template <class In, class Out>
void run_strips(const NchwShape& shape, const In* input, const Out* residual, Out* output, RowsSeen seen,
                FunctionRef<void(const NchwStrip<In, Out>& strip)> run);

// What fills a strip's copies, and takes its output: of `images` images from `image` on the rows [row, row +
// rows), dense (images, rows, w, channels). `read_output` is null, or fills the output before the run.
template <class In, class Out>
struct StripCopies {
  FunctionRef<void(int64_t image, int64_t images, int64_t row, int64_t rows, In* copy)> read;
  const FunctionRef<void(int64_t image, int64_t images, int64_t row, int64_t rows, Out* copy)>* read_output;
  FunctionRef<void(int64_t image, int64_t images, int64_t row, int64_t rows, const Out* copy)> write;
};

// The same of maps held in any other way.
template <class In, class Out>
void run_strips(const NchwShape& shape, const StripCopies<In, Out>& copies, RowsSeen seen,
                FunctionRef<void(const NchwStrip<In, Out>& strip)> run);

}  // namespace pyvision
