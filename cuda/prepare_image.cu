// SPDX-License-Identifier: Apache-2.0
#include "prepare_image.cuh"

#include "common/launch.cuh"
#include "common/numbers.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 128;  // of a tile: taps of 2 KB, and a warp's stores fill whole lines
constexpr int kRows = 4;       // of a tile: enough values to pay for its taps, which are computed in double

struct Tap {
  int first, second;
  float weight;  // of the second
};

// Where position i of `out` lies among `extent` pixels.
__device__ Tap tap_at(int i, int64_t out, int64_t extent) {
  const double position =
      (static_cast<double>(i) + 0.5) * static_cast<double>(extent) / static_cast<double>(out) - 0.5;
  const double clamped = fmin(fmax(position, 0.0), static_cast<double>(extent - 1));
  const auto first = static_cast<int64_t>(clamped);
  return {static_cast<int>(first), static_cast<int>(min(first + 1, extent - 1)),
          static_cast<float>(clamped - static_cast<double>(first))};
}

template <class T>
struct Preparation {
  ImageView image;
  PrepareImageParams params;
  T* output;
  unsigned tiles_across;
};

// A block: a tile of the output. Its taps are computed once, by a thread each; then a thread has one value,
// so that neighbours write neighbours and read bytes that lie side by side. Four bytes are read for a value
// and two or four written: the image is small beside what comes of it, and its rows stay in L1.
template <class T>
__global__ void __launch_bounds__(kThreads, 4) prepare_image_kernel(Preparation<T> job) {
  __shared__ Tap columns[kColumns], rows[kRows];
  const PrepareImageParams& p = job.params;
  const ImageView& image = job.image;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t top = int64_t{blockIdx.x / job.tiles_across} * kRows;
  const int64_t left = int64_t{blockIdx.x % job.tiles_across} * kColumns;
  const auto height = static_cast<int>(min(int64_t{kRows}, p.out_h - top));
  const auto width = static_cast<int>(min(int64_t{kColumns}, p.out_w - left));
  for (int i = thread; i < height + width; i += kThreads) {
    const bool is_row = i >= width;
    const int64_t at = is_row ? top + (i - width) - p.top : left + i - p.left;
    const int64_t region = is_row ? p.region_h : p.region_w;
    // -1: beside the image
    const Tap tap = at >= 0 && at < region ? tap_at(static_cast<int>(at), region, is_row ? image.h : image.w)
                                           : Tap{-1, -1, 0};
    (is_row ? rows[i - width] : columns[i]) = tap;
  }
  __syncthreads();
  for (int i = thread; i < 3 * width * height; i += kThreads) {
    const int row = i / (3 * width), column = i % (3 * width) / 3, c = i % (3 * width) % 3;
    const Tap y = rows[row], x = columns[column];
    float value = p.pad;
    if (y.first >= 0 && x.first >= 0) {
      const int channel = image.channels == 1 ? 0 : p.bgr ? 2 - c : c;
      const uint8_t *const up = image.data + y.first * image.stride_h + channel * image.stride_c,
                           *const down = image.data + y.second * image.stride_h + channel * image.stride_c;
      const float up_left = up[x.first * image.stride_w], up_right = up[x.second * image.stride_w];
      const float down_left = down[x.first * image.stride_w], down_right = down[x.second * image.stride_w];
      const float at_left = fmaf(y.weight, down_left - up_left, up_left);
      const float at_right = fmaf(y.weight, down_right - up_right, up_right);
      value = fmaf(x.weight, at_right - at_left, at_left);
    }
    job.output[((top + row) * p.out_w + left) * 3 + i % (3 * width)] =
        from_float<T>((value - p.mean[c]) / p.stdev[c]);
  }
}

}  // namespace

void prepare_image(const char* op, const Stream& stream, const ImageView& image,
                   const PrepareImageParams& params, DType dtype, void* output) {
  with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const unsigned across = blocks_of(params.out_w, kColumns);
    launch(op, stream, {blocks_of(across * ((params.out_h + kRows - 1) / kRows), 1), kThreads},
           prepare_image_kernel<T>, Preparation<T>{image, params, static_cast<T*>(output), across});
  });
}

}  // namespace pyvision::cuda
