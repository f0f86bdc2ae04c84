// SPDX-License-Identifier: Apache-2.0
// Producers: they fill an A tile with the input values that a few output pixels see.
#pragma once

#include "conv/gemm-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Copies n floats and up to a vector of junk behind them, where the source stays below `limit`. An A tile has
// room for it (kTileStride), and what follows in the row is written next; short runs become one load and one
// store.
inline void copy_floats(const float* from, float* to, int64_t n, const float* limit) {
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) F32::load(from + i).store(to + i);
  if (i == n) return;
  if (from + i + F32::kLanes <= limit)
    F32::load(from + i).store(to + i);
  else
    F32::load_n(from + i, static_cast<int>(n - i)).store(to + i);
}

inline void zero_floats(float* to, int64_t n) {
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) F32::zero().store(to + i);
  if (i < n) F32::zero().store_n(to + i, static_cast<int>(n - i));
}

inline int64_t clamp_index(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : (x > high ? high : x);
}

// Walks output pixels in memory order without dividing.
struct PixelCursor {
  int64_t n, oh, ow;

  PixelCursor(const RowMap& map, int64_t row)
      : n(row / map.out_w / map.out_h), oh(row / map.out_w % map.out_h), ow(row % map.out_w) {}
  // By at most the rest of the output row.
  void advance(const RowMap& map, int64_t pixels) {
    ow += pixels;
    if (ow < map.out_w) return;
    ow = 0;
    if (++oh == map.out_h) oh = 0, ++n;
  }
};

// Calls f(r, count, cursor) for the stretches of one output row that the next `rows` pixels consist of: r and
// count number the pixels of a stretch, the cursor stands at its first.
template <class F>
inline void for_each_stretch(const RowMap& map, int rows, PixelCursor* cursor, F f) {
  for (int r = 0; r < rows;) {
    const int64_t left = map.out_w - cursor->ow;
    const int count = static_cast<int>(left < rows - r ? left : rows - r);
    f(r, count, *cursor);
    r += count;
    cursor->advance(map, count);
  }
}

// Copies windows of the input, channel runs at a time. NHWC makes the taps of one kernel row neighbours in
// memory, so where pixels are dense and undilated a whole kernel row is one run: nine floats for a 3-channel
// image, no padding of channels to a vector.
class CopyProducer {
 public:
  using Job = DirectConv;
  static constexpr bool kMayReadInPlace = true;

  explicit CopyProducer(const DirectConv& job) : job_(job) {
    const Nhwc<const float>& in = job.input;
    const bool merged = job.dilation_w == 1 && in.stride_w == in.c;
    run_taps_ = merged ? job.kernel_w : 1;
    runs_per_kernel_row_ = merged ? 1 : job.kernel_w;
    run_length_ = run_taps_ * in.c;
    step_h_ = job.dilation_h * in.stride_h;
    step_w_ = job.dilation_w * in.stride_w;
    last_h_ = in.h - job.dilation_h * (job.kernel_h - 1);
    last_w_ = in.w - job.dilation_w * (job.kernel_w - 1);
    limit_ = in.data + (in.n - 1) * in.stride_n + (in.h - 1) * in.stride_h + (in.w - 1) * in.stride_w + in.c;
  }

  // Tile rows [r, r + count) are this output pixel and its right neighbours.
  void set_rows(int r, int count, const PixelCursor& pixel) {
    const Nhwc<const float>& in = job_.input;
    const int64_t ih = pixel.oh * job_.stride_h - job_.pad_top;
    int64_t iw = pixel.ow * job_.stride_w - job_.pad_left;
    const float* origin = in.data + pixel.n * in.stride_n + ih * in.stride_h + iw * in.stride_w;
    const bool rows_inside = ih >= 0 && ih < last_h_;
    for (int i = r; i < r + count; ++i) {
      windows_[i] = {origin, ih, iw, rows_inside && iw >= 0 && iw < last_w_};
      iw += job_.stride_w;
      origin += job_.stride_w * in.stride_w;
    }
  }

  // Whether consecutive output pixels see consecutive input pixels, one each, so that all rows of all tiles
  // lie in the input at one distance. Not where many rows would fall into the same L1 sets.
  static bool is_uniform(const DirectConv& job) {
    const Nhwc<const float>& in = job.input;
    return job.kernel_h == 1 && job.kernel_w == 1 && job.stride_h == 1 && job.stride_w == 1 &&
           job.pad_top == 0 && job.pad_left == 0 && job.rows.out_h == in.h && job.rows.out_w == in.w &&
           in.uniform() && job.rows.output.uniform() &&
           (job.rows.residual.data == nullptr || job.rows.residual.uniform()) && in.c <= kKBlock &&
           in.stride_w % 512 != 0;
  }
  // Rows [row, row + kRowTile) of such a convolution.
  TileInput uniform_rows(int64_t row) const {
    return {job_.input.data + row * job_.input.stride_w, job_.input.stride_w, 1, 0, job_.k};
  }

  // Whether the tile's windows lie inside the image, side by side in one image row, each kernel row of theirs
  // one run: then the GEMM reads them where they are and nothing is copied.
  bool windows_in_place(int count) const {
    const int64_t step = job_.stride_w * job_.input.stride_w;
    const Window &first = windows_[0], &last = windows_[count - 1];
    return runs_per_kernel_row_ == 1 && step % 512 != 0 && first.inside && last.inside &&
           first.ih == last.ih && last.iw - first.iw == (count - 1) * job_.stride_w &&
           last.origin - first.origin == (count - 1) * step;
  }
  TileInput window_rows() const {
    return {windows_[0].origin, job_.stride_w * job_.input.stride_w, job_.kernel_h, step_h_, run_length_};
  }

  // Whether columns [k_begin, k_end) of all the rows lie outside the image: their products are zeros. So are
  // most taps of a kernel dilated to the size of the map.
  bool sees_nothing(int64_t k_begin, int64_t k_end, int count) const {
    const int64_t channels = job_.input.c;
    for (int64_t tap = k_begin / channels; tap * channels < k_end; ++tap) {
      const int64_t h = tap / job_.kernel_w * job_.dilation_h, w = tap % job_.kernel_w * job_.dilation_w;
      for (int r = 0; r < count; ++r) {
        const int64_t ih = windows_[r].ih + h, iw = windows_[r].iw + w;
        if (ih >= 0 && ih < job_.input.h && iw >= 0 && iw < job_.input.w) return false;
      }
    }
    return k_begin < k_end;
  }

  // tile: (count, kTileStride), columns [k_begin, k_end) of the rows' K values
  void fill(int64_t k_begin, int64_t k_end, int count, float* tile) const {
    if (k_end - k_begin == job_.k && fits_whole_vectors(count)) return fill_whole_vectors(count, tile);
    const int64_t first_run = k_begin == 0 ? 0 : k_begin / run_length_;
    const int64_t kh_begin = first_run == 0 ? 0 : first_run / runs_per_kernel_row_;
    const int64_t kw_begin = first_run - kh_begin * runs_per_kernel_row_;
    const int64_t skip = k_begin - first_run * run_length_;  // of the first run: an earlier K block had it
    for (int r = 0; r < count; ++r) {
      const Window& window = windows_[r];
      float* to = tile + r * kTileStride;
      float* const end = to + (k_end - k_begin);
      int64_t kh = kh_begin, kw = kw_begin;
      for (int64_t offset = skip; to < end; offset = 0) {
        const int64_t n = run_length_ - offset < end - to ? run_length_ - offset : end - to;
        const float* from = window.origin + kh * step_h_ + kw * step_w_ + offset;
        if (window.inside)
          copy_floats(from, to, n, limit_);
        else
          copy_clipped(window.ih + kh * job_.dilation_h, window.iw + kw * job_.dilation_w, from, offset, n,
                       to);
        to += n;
        if (++kw == runs_per_kernel_row_) kw = 0, ++kh;
      }
    }
  }

 private:
  struct Window {         // of one output pixel
    const float* origin;  // where tap (0, 0) is, or would be
    int64_t ih, iw;       // its coordinates; may be outside
    bool inside;          // all taps are inside
  };

  // Few channels make short runs: a tight loop over whole vectors, where none of them reads past the input's
  // end.
  bool fits_whole_vectors(int count) const {
    if (run_length_ > 2 * F32::kLanes || runs_per_kernel_row_ != 1) return false;
    for (int r = 0; r < count; ++r)
      if (!windows_[r].inside) return false;
    return windows_[count - 1].origin + (job_.kernel_h - 1) * step_h_ + 2 * F32::kLanes <= limit_;
  }
  void fill_whole_vectors(int count, float* tile) const {
    const bool two = run_length_ > F32::kLanes;
    for (int64_t kh = 0; kh < job_.kernel_h;
         ++kh) {  // ascending: each run overwrites the junk behind the one before
      for (int r = 0; r < count; ++r) {
        const float* from = windows_[r].origin + kh * step_h_;
        float* to = tile + r * kTileStride + kh * run_length_;
        F32::load(from).store(to);
        if (two) F32::load(from + F32::kLanes).store(to + F32::kLanes);
      }
    }
  }

  // Floats [offset, offset + n) of the run that starts at pixel (ih, iw); taps outside the image are zero.
  void copy_clipped(int64_t ih, int64_t iw, const float* from, int64_t offset, int64_t n, float* to) const {
    if (ih < 0 || ih >= job_.input.h) return zero_floats(to, n);
    const int64_t end = offset + n;
    const int64_t valid_begin = clamp_index(clamp_index(-iw, 0, run_taps_) * job_.input.c, offset, end);
    const int64_t valid_end =
        clamp_index(clamp_index(job_.input.w - iw, 0, run_taps_) * job_.input.c, valid_begin, end);
    zero_floats(to, valid_begin - offset);
    copy_floats(from + (valid_begin - offset), to + (valid_begin - offset), valid_end - valid_begin, limit_);
    zero_floats(to + (valid_end - offset), end - valid_end);
  }

  const DirectConv& job_;
  int64_t run_taps_, runs_per_kernel_row_, run_length_, step_h_, step_w_;
  int64_t last_h_, last_w_;  // windows that start at or beyond these reach outside
  const float* limit_;       // end of the input's memory
  Window windows_[kRowTile];
};

}  // namespace pyvision::PYVISION_ISA_NS
