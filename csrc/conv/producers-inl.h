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

// The same of n bytes.
inline void copy_bytes(const void* from, void* to, int64_t n, const void* limit) {
  constexpr int64_t kBytes = F32::kLanes * sizeof(float);
  const auto* source = static_cast<const char*>(from);
  auto* target = static_cast<char*>(to);
  const auto move = [&](int64_t i) {
    F32::load(reinterpret_cast<const float*>(source + i)).store(reinterpret_cast<float*>(target + i));
  };
  int64_t i = 0;
  for (; i + kBytes <= n; i += kBytes) move(i);
  if (i == n) return;
  if (source + i + kBytes <= limit)
    move(i);
  else
    __builtin_memcpy(target + i, source + i, static_cast<size_t>(n - i));
}

inline int64_t clamp_index(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : (x > high ? high : x);
}

// Walks output pixels in memory order without dividing.
struct PixelCursor {
  int64_t n, oh, ow;

  PixelCursor(const OutputExtents& map, int64_t row)
      : n(row / map.out_w / map.out_h), oh(row / map.out_w % map.out_h), ow(row % map.out_w) {}
  // By at most the rest of the output row.
  void advance(const OutputExtents& map, int64_t pixels) {
    ow += pixels;
    if (ow < map.out_w) return;
    ow = 0;
    if (++oh == map.out_h) oh = 0, ++n;
  }
};

// Calls f(r, count, cursor) for the stretches of one output row that the next `rows` pixels consist of: r and
// count number the pixels of a stretch, the cursor stands at its first.
template <class F>
inline void for_each_stretch(const OutputExtents& map, int rows, PixelCursor* cursor, F f) {
  for (int r = 0; r < rows;) {
    const int64_t left = map.out_w - cursor->ow;
    const int count = static_cast<int>(left < rows - r ? left : rows - r);
    f(r, count, *cursor);
    r += count;
    cursor->advance(map, count);
  }
}

// How values of the input become values of the A tile: as they are.
struct CopyFloats {
  using Job = DirectConv;
  using Product = F32Product;
  using Source = float;
  static constexpr bool kVerbatim = true;  // so that the GEMM may read the input itself

  explicit CopyFloats(const Job&) {}
  static void copy(const float* from, float* to, int64_t n, const float* limit) {
    copy_floats(from, to, n, limit);
  }
  static constexpr bool pads_with_zeros() { return true; }
  static void pad(float* to, int64_t n) { zero_floats(to, n); }
};

// Copies windows of the input, channel runs at a time. NHWC makes the taps of one kernel row neighbours in
// memory, so where pixels are dense and undilated a whole kernel row is one run: nine floats for a 3-channel
// image, no padding of channels to a vector.
template <class Copy>
class WindowProducer {
 public:
  using Job = typename Copy::Job;
  using Cursor = PixelCursor;
  using Product = typename Copy::Product;
  static constexpr bool kMayReadInPlace = Copy::kVerbatim;

  explicit WindowProducer(const Job& job) : job_(job), copy_(job) {
    const Nhwc<const Source>& in = job.input;
    const bool merged = job.dilation_w == 1 && in.stride_w == in.c;
    run_taps_ = merged ? job.kernel_w : 1;
    runs_per_kernel_row_ = merged ? 1 : job.kernel_w;
    run_length_ = run_taps_ * in.c;
    step_h_ = job.dilation_h * in.stride_h;
    step_w_ = job.dilation_w * in.stride_w;
    last_h_ = in.h - job.dilation_h * (job.kernel_h - 1);
    last_w_ = in.w - job.dilation_w * (job.kernel_w - 1);
    limit_ = in.data + (in.n - 1) * in.stride_n + (in.h - 1) * in.stride_h + (in.w - 1) * in.stride_w + in.c;
    whole_words_ = in_words(job);
  }

  // Tile rows [r, r + count) are this output pixel and its right neighbours.
  void set_rows(int r, int count, const PixelCursor& pixel) {
    const Nhwc<const Source>& in = job_.input;
    const int64_t ih = pixel.oh * job_.stride_h - job_.pad_top;
    int64_t iw = pixel.ow * job_.stride_w - job_.pad_left;
    const Source* origin = in.data + pixel.n * in.stride_n + ih * in.stride_h + iw * in.stride_w;
    const bool rows_inside = ih >= 0 && ih < last_h_;
    for (int i = r; i < r + count; ++i) {
      windows_[i] = {origin, ih, iw, rows_inside && iw >= 0 && iw < last_w_};
      iw += job_.stride_w;
      origin += job_.stride_w * in.stride_w;
    }
  }

  // Whether consecutive output pixels see consecutive input pixels, one each, so that all rows of all tiles
  // lie in the input at one distance.
  static bool sees_pixels(const Job& job) {
    const Nhwc<const Source>& in = job.input;
    return job.kernel_h == 1 && job.kernel_w == 1 && job.stride_h == 1 && job.stride_w == 1 &&
           job.pad_top == 0 && job.pad_left == 0 && job.rows.out_h == in.h && job.rows.out_w == in.w &&
           in.uniform() && in_words(job);
  }
  // Whether there is nothing between those rows.
  static bool rows_follow(const Job& job) { return sees_pixels(job) && job.input.stride_w == job.input.c; }
  // Whether the GEMM reads those rows. Not where many would fall into the same L1 sets.
  static bool is_uniform(const Job& job) {
    return sees_pixels(job) && job.rows.output.uniform() &&
           (job.rows.residual.data == nullptr || job.rows.residual.uniform()) &&
           job.input.c <= kKBlock * kDepth && job.input.stride_w % (512 * kDepth) != 0;
  }
  // Rows [row, row + kRowTile) of such a convolution.
  TileInput uniform_rows(int64_t row) const {
    return {words(job_.input.data + row * job_.input.stride_w), job_.input.stride_w / kDepth, 1, 0,
            job_.k / kDepth};
  }

  // Whether the windows of this output pixel and its right neighbours, `count` in all, lie inside the image,
  // each kernel row of theirs one run: then the GEMM reads them where they are and nothing is copied.
  bool windows_in_place(const PixelCursor& pixel, int count, TileInput* a) const {
    const Nhwc<const Source>& in = job_.input;
    const int64_t ih = pixel.oh * job_.stride_h - job_.pad_top, iw = pixel.ow * job_.stride_w - job_.pad_left;
    const int64_t step = job_.stride_w * in.stride_w;
    if (runs_per_kernel_row_ != 1 || !whole_words_ || step % (512 * kDepth) == 0 || ih < 0 || ih >= last_h_ ||
        iw < 0 || iw + (count - 1) * job_.stride_w >= last_w_)
      return false;
    const Source* origin = in.data + pixel.n * in.stride_n + ih * in.stride_h + iw * in.stride_w;
    *a = {words(origin), step / kDepth, job_.kernel_h, step_h_ / kDepth, run_length_ / kDepth};
    return true;
  }

  // Whether columns [k_begin, k_end) of all the rows lie outside the image: their products are zeros. So are
  // most taps of a kernel dilated to the size of the map.
  bool sees_nothing(int64_t k_begin, int64_t k_end, int count) const {
    if (!copy_.pads_with_zeros()) return false;
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

  // tile: (count, kTileStride) words, columns [k_begin, k_end) of the rows' K values
  void fill(int64_t k_begin, int64_t k_end, int count, float* tile) const {
    [[maybe_unused]] const bool whole_vectors =
        k_end - k_begin == job_.k && run_length_ <= 2 * F32::kLanes && runs_per_kernel_row_ == 1;
    const int64_t first_run = k_begin == 0 ? 0 : k_begin / run_length_;
    const int64_t kh_begin = first_run == 0 ? 0 : first_run / runs_per_kernel_row_;
    const int64_t kw_begin = first_run - kh_begin * runs_per_kernel_row_;
    const int64_t skip = k_begin - first_run * run_length_;  // of the first run: an earlier K block had it
    for (int r = 0; r < count; ++r) {
      const Window& window = windows_[r];
      if constexpr (std::is_same_v<Copy, CopyFloats>)
        if (whole_vectors && window.inside && may_copy_vectors(window)) {
          copy_vectors(window, tile + r * kTileStride);
          continue;
        }
      Value* to = reinterpret_cast<Value*>(tile + r * kTileStride);
      Value* const end = to + (k_end - k_begin);
      int64_t kh = kh_begin, kw = kw_begin;
      for (int64_t offset = skip; to < end; offset = 0) {
        const int64_t n = run_length_ - offset < end - to ? run_length_ - offset : end - to;
        const Source* from = window.origin + kh * step_h_ + kw * step_w_ + offset;
        if (window.inside)
          copy_.copy(from, to, n, limit_);
        else
          copy_clipped(window.ih + kh * job_.dilation_h, window.iw + kw * job_.dilation_w, from, offset, n,
                       to);
        to += n;
        if (++kw == runs_per_kernel_row_) kw = 0, ++kh;
      }
      if (const int64_t rest = (k_end - k_begin) % kDepth; rest != 0)  // to a whole word
        for (int64_t i = rest; i < kDepth; ++i) *to++ = Value{};
    }
  }

 private:
  using Source = typename Copy::Source;
  using Value = typename Product::Value;
  static constexpr int64_t kDepth = Product::kDepth;

  struct Window {          // of one output pixel
    const Source* origin;  // where tap (0, 0) is, or would be
    int64_t ih, iw;        // its coordinates; may be outside
    bool inside;           // all taps are inside
  };

  // Whether all pixels begin at a word of the input and consist of words.
  static bool in_words(const Job& job) {
    if constexpr (kDepth == 1) return true;
    const Nhwc<const Source>& in = job.input;
    return in.c % kDepth == 0 && in.stride_w % kDepth == 0 && in.stride_h % kDepth == 0 &&
           in.stride_n % kDepth == 0 && reinterpret_cast<uintptr_t>(in.data) % sizeof(float) == 0;
  }
  static const float* words(const Source* p) { return reinterpret_cast<const float*>(p); }

  // Few channels make short runs: a tight loop over whole vectors, where none of them reads past the input's
  // end.
  bool may_copy_vectors(const Window& window) const {
    return window.origin + (job_.kernel_h - 1) * step_h_ + 2 * F32::kLanes <= limit_;
  }
  void copy_vectors(const Window& window, float* to) const {
    const bool two = run_length_ > F32::kLanes;
    const float* from = window.origin;
    // Ascending: each run overwrites the junk behind the one before.
    for (int64_t kh = 0; kh < job_.kernel_h; ++kh, from += step_h_, to += run_length_) {
      F32::load(from).store(to);
      if (two) F32::load(from + F32::kLanes).store(to + F32::kLanes);
    }
  }

  // Values [offset, offset + n) of the run that starts at pixel (ih, iw); taps outside the image are zero.
  void copy_clipped(int64_t ih, int64_t iw, const Source* from, int64_t offset, int64_t n, Value* to) const {
    if (ih < 0 || ih >= job_.input.h) return copy_.pad(to, n);
    const int64_t end = offset + n;
    const int64_t valid_begin = clamp_index(clamp_index(-iw, 0, run_taps_) * job_.input.c, offset, end);
    const int64_t valid_end =
        clamp_index(clamp_index(job_.input.w - iw, 0, run_taps_) * job_.input.c, valid_begin, end);
    copy_.pad(to, valid_begin - offset);
    copy_.copy(from + (valid_begin - offset), to + (valid_begin - offset), valid_end - valid_begin, limit_);
    copy_.pad(to + (valid_end - offset), end - valid_end);
  }

  const Job& job_;
  const Copy copy_;
  int64_t run_taps_, runs_per_kernel_row_, run_length_, step_h_, step_w_;
  int64_t last_h_, last_w_;  // windows that start at or beyond these reach outside
  const Source* limit_;      // end of the input's memory
  bool whole_words_;
  Window windows_[kRowTile];
};
using CopyProducer = WindowProducer<CopyFloats>;

}  // namespace pyvision::PYVISION_ISA_NS
