// SPDX-License-Identifier: Apache-2.0
// Samples of a deformable convolution, and the producer that fills A tiles with them. Position and weights
// are computed once per (pixel, tap, offset group) and serve all its channels.
#pragma once

#include "conv/deform.h"
#include "conv/producers-inl.h"
#include "simd/bilinear-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// One output pixel of the field.
template <class T>
struct DeformPixel {
  const T* image;          // the input's first pixel
  const T *offset, *mask;  // at this pixel
  int64_t ih, iw;          // where tap (0, 0) would be without an offset

  DeformPixel() = default;
  DeformPixel(const DeformField<T>& field, int64_t row)  // [0, n * out_h * out_w)
      : DeformPixel(field, row / field.out_w / field.out_h, row / field.out_w % field.out_h,
                    row % field.out_w) {}
  DeformPixel(const DeformField<T>& field, int64_t n, int64_t oh, int64_t ow)
      : image(field.input.at(n, 0, 0)),
        offset(field.offset.at(n, oh, ow)),
        mask(field.mask.data == nullptr ? nullptr : field.mask.at(n, oh, ow)),
        ih(oh * field.stride_h - field.pad_h),
        iw(ow * field.stride_w - field.pad_w) {}
};

// Channels [channel, channel + count) of the input at one tap: they share their sample.
struct DeformRun {
  int64_t kh, kw, offset_group, channel, count;
};

// The runs that K values [k_begin, k_end) of the weight group with channels [first, first + channels) consist
// of, in order. K: taps row-major, channels innermost.
template <class T, class Body>
[[gnu::always_inline]] inline void for_each_run(const DeformField<T>& field, int64_t first, int64_t channels,
                                                int64_t k_begin, int64_t k_end, Body body) {
  int64_t c = k_begin % channels;  // [0, channels)
  int64_t kh = k_begin / channels / field.kernel_w, kw = k_begin / channels % field.kernel_w;
  for (int64_t k = k_begin; k < k_end;) {
    const int64_t group = (first + c) / field.offset_group_channels;
    int64_t end = (group + 1) * field.offset_group_channels - first;  // of the offset group, then of the run
    if (end > channels) end = channels;
    if (end > c + k_end - k) end = c + k_end - k;
    body(DeformRun{kh, kw, group, first + c, end - c});
    k += end - c;
    c = end;
    if (c == channels) {
      c = 0;
      if (++kw == field.kernel_w) kw = 0, ++kh;
    }
  }
}

template <bool kSlopes, class T>
[[gnu::always_inline]] inline Bilinear<T> sample_run(const DeformField<T>& field, const DeformPixel<T>& pixel,
                                                     const DeformRun& run) {
  const int64_t tap = run.offset_group * field.taps() + run.kh * field.kernel_w + run.kw;
  const T* const offset = pixel.offset + 2 * tap * field.offset.stride_c;
  const T y = static_cast<T>(pixel.ih + run.kh * field.dilation_h) + offset[0];
  const T x = static_cast<T>(pixel.iw + run.kw * field.dilation_w) + offset[field.offset.stride_c];
  return bilinear<kSlopes>(y, x, field.input.h, field.input.w, field.input.stride_h, field.input.stride_w);
}

template <class T>
inline T mask_of_run(const DeformField<T>& field, const DeformPixel<T>& pixel, const DeformRun& run) {
  if (pixel.mask == nullptr) return 1;
  return pixel
      .mask[(run.offset_group * field.taps() + run.kh * field.kernel_w + run.kw) * field.mask.stride_c];
}

// to[k - k_begin] = K value k of the pixel, k in [k_begin, k_end)
template <class T>
inline void sample_pixel(const DeformField<T>& field, const DeformPixel<T>& pixel, int64_t first,
                         int64_t channels, int64_t k_begin, int64_t k_end, T* to) {
  for_each_run(field, first, channels, k_begin, k_end, [&](const DeformRun& run) {
    const Bilinear<T> sample = sample_run<false>(field, pixel, run);
    blend_corners(sample, mask_of_run(field, pixel, run), pixel.image + run.channel, run.count, to);
    to += run.count;
  });
}

class BilinearProducer {
 public:
  using Job = DeformConv;
  using Product = F32Product;
  using Cursor = PixelCursor;
  static constexpr bool kMayReadInPlace = false;

  explicit BilinearProducer(const DeformConv& job) : job_(job) {}

  void set_rows(int r, int count, const PixelCursor& pixel) {
    for (int i = 0; i < count; ++i)
      pixels_[r + i] = DeformPixel<float>(job_.field, pixel.n, pixel.oh, pixel.ow + i);
  }

  // Not known without the samples.
  static bool sees_nothing(int64_t, int64_t, int) { return false; }

  // tile: (count, kTileStride), columns [k_begin, k_end) of the rows' K values
  void fill(int64_t k_begin, int64_t k_end, int count, float* tile) const {
    for (int r = 0; r < count; ++r)
      sample_pixel(job_.field, pixels_[r], job_.first_channel, job_.channels, k_begin, k_end,
                   tile + r * kTileStride);
  }

 private:
  const DeformConv& job_;
  DeformPixel<float> pixels_[kRowTile];
};

}  // namespace pyvision::PYVISION_ISA_NS
