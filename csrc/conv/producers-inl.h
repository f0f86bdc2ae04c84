// SPDX-License-Identifier: Apache-2.0
// Producers: they fill an A tile with the input values that a few output pixels see.
#pragma once

#include "conv/gemm-inl.h"

namespace pyvision::PYVISION_ISA_NS {

inline void copy_floats(const float* from, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) F32::load(from + i).store(to + i);
  if (i < n) F32::load_n(from + i, static_cast<int>(n - i)).store_n(to + i, static_cast<int>(n - i));
}

inline void zero_floats(float* to, int64_t n) {
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) F32::zero().store(to + i);
  if (i < n) F32::zero().store_n(to + i, static_cast<int>(n - i));
}

inline int64_t clamp_index(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : (x > high ? high : x);
}

// Copies windows of the input, channel runs at a time. NHWC makes the taps of one kernel row neighbours in
// memory, so where pixels are dense and undilated a whole kernel row is one run: nine floats for a 3-channel
// image, no padding of channels to a vector.
class CopyProducer {
 public:
  CopyProducer(const DirectConv& job, int64_t row_begin, int64_t row_end) : job_(job) {
    const bool merged = job.dilation_w == 1 && job.input.stride_w == job.input.c;
    run_taps_ = merged ? job.kernel_w : 1;
    runs_per_kernel_row_ = merged ? 1 : job.kernel_w;
    run_length_ = run_taps_ * job.input.c;
    const int64_t out_w = job.rows.out_w, out_h = job.rows.out_h;
    int64_t ow = row_begin % out_w, oh = row_begin / out_w % out_h, n = row_begin / out_w / out_h;
    count_ = static_cast<int>(row_end - row_begin);
    for (int r = 0; r < count_; ++r) {
      image_[r] = job.input.data + n * job.input.stride_n;
      ih_[r] = oh * job.stride_h - job.pad_top;
      iw_[r] = ow * job.stride_w - job.pad_left;
      if (++ow == out_w) {
        ow = 0;
        if (++oh == out_h) oh = 0, ++n;
      }
    }
  }

  // tile: (count, kTileStride), columns [k_begin, k_end) of the rows' K values
  void fill(int64_t k_begin, int64_t k_end, float* tile) const {
    const int64_t first_run = k_begin / run_length_;
    for (int r = 0; r < count_; ++r) {
      float* to = tile + r * kTileStride;
      int64_t k = k_begin;
      int64_t kh = first_run / runs_per_kernel_row_, kw = first_run % runs_per_kernel_row_;
      for (int64_t offset = k_begin - first_run * run_length_; k < k_end; offset = 0) {
        const int64_t left = run_length_ - offset;
        const int64_t n = left < k_end - k ? left : k_end - k;
        copy_run(r, kh, kw, offset, n, to);
        to += n;
        k += n;
        if (++kw == runs_per_kernel_row_) kw = 0, ++kh;
      }
    }
  }

 private:
  // Floats [offset, offset + n) of run (kh, kw) of row r; taps outside the image are zero.
  void copy_run(int r, int64_t kh, int64_t kw, int64_t offset, int64_t n, float* to) const {
    const int64_t ih = ih_[r] + kh * job_.dilation_h, iw = iw_[r] + kw * job_.dilation_w;
    if (ih < 0 || ih >= job_.input.h) return zero_floats(to, n);
    const float* from = image_[r] + ih * job_.input.stride_h + iw * job_.input.stride_w + offset;
    if (iw >= 0 && iw + run_taps_ <= job_.input.w) return copy_floats(from, to, n);
    const int64_t end = offset + n;
    const int64_t valid_begin = clamp_index(clamp_index(-iw, 0, run_taps_) * job_.input.c, offset, end);
    const int64_t valid_end =
        clamp_index(clamp_index(job_.input.w - iw, 0, run_taps_) * job_.input.c, valid_begin, end);
    zero_floats(to, valid_begin - offset);
    copy_floats(from + (valid_begin - offset), to + (valid_begin - offset), valid_end - valid_begin);
    zero_floats(to + (valid_end - offset), end - valid_end);
  }

  const DirectConv& job_;
  int64_t run_taps_, runs_per_kernel_row_, run_length_;
  int count_;
  const float* image_[kRowTile];
  int64_t ih_[kRowTile], iw_[kRowTile];
};

}  // namespace pyvision::PYVISION_ISA_NS
