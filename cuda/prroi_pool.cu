// SPDX-License-Identifier: Apache-2.0
#include "ops/prroi_pool/integral_axis.h"
#include "roi_kernels.cuh"

namespace pyvision::cuda {
namespace {

struct IntegralBox {
  bool exists;
  int64_t image;
  IntegralAxis y, x;

  __device__ IntegralBox(const RoiShape& s, double scale, int64_t k) {
    const float* const box = s.boxes + 5 * k;
    exists = image_exists(box[0], s.n);
    image = exists ? static_cast<int64_t>(box[0]) : 0;
    y = {box[2] * scale, box[4] * scale, s.bins_h, s.h};
    x = {box[1] * scale, box[3] * scale, s.bins_w, s.w};
  }
};

template <class T>
struct PrRoiPool {
  RoiShape shape;
  double scale;
  const T* map;
  T* bins;
  int vectors;    // of a bin's channels
  int64_t total;  // vectors of all bins
};

// A thread: kVec channels of one bin.
template <class T, int kVec>
__global__ void __launch_bounds__(kRoiThreads, 2) prroi_pool_kernel(PrRoiPool<T> job) {
  const RoiShape& s = job.shape;
  const int64_t index = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (index >= job.total) return;
  const BinPlace at(s, index, job.vectors);
  const IntegralBox box(s, job.scale, at.k);
  float sum[kVec] = {};
  if (box.exists) {
    const IntegralAxis::Bin rows = box.y.bin(at.ph), columns = box.x.bin(at.pw);
    const T* const map = job.map + box.image * s.h * s.w * s.channels + at.vector * kVec;
    for (int64_t y = rows.first; y < rows.last; ++y) {
      const auto vertical = static_cast<float>(rows.weight(y));
      for (int64_t x = columns.first; x < columns.last; ++x) {
        const float weight = vertical * static_cast<float>(columns.weight(x));
        if (weight == 0) continue;
        float pixel[kVec];
        load_floats<kVec>(map + (y * s.w + x) * s.channels, pixel);
        for (int c = 0; c < kVec; ++c) sum[c] = fmaf(weight, pixel[c], sum[c]);
      }
    }
  } else {
    for (int c = 0; c < kVec; ++c) sum[c] = NAN;
  }
  store_floats<kVec>(sum, job.bins + index * kVec);
}

template <class T>
struct IntegralSource {
  using Item = T;
  static constexpr bool kPacks = true;
  RoiShape shape;
  double scale;
  const T* bins;

  __device__ bool touches(int64_t k, int64_t image, int y, int first_x, int last_x) const {
    const IntegralBox box(shape, scale, k);
    return box.exists && box.image == image && box.y.begin - 1 < y && y < box.y.end + 1 &&
           box.x.begin - 1 < last_x && first_x < box.x.end + 1;
  }
  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    const RoiShape& s = shape;
    const IntegralBox box(s, scale, k);
    for (int ph = 0; ph < s.bins_h; ++ph) {
      const float vertical = weight_in(box.y.bin(ph), y);
      if (vertical == 0) continue;
      for (int pw = 0; pw < s.bins_w; ++pw) {
        const float weight = vertical * weight_in(box.x.bin(pw), x);
        if (weight == 0) continue;
        float grad[kVec];
        load_floats<kVec>(bins + (k * s.bins() + ph * s.bins_w + pw) * s.channels + channel, grad);
        for (int c = 0; c < kVec; ++c) sum[c] = fmaf(weight, grad[c], sum[c]);
      }
    }
  }

 private:
  __device__ static float weight_in(const IntegralAxis::Bin& bin, int pixel) {
    return bin.first <= pixel && pixel < bin.last ? static_cast<float>(bin.weight(pixel)) : 0.0f;
  }
};

template <class T>
struct BoxGradients {
  RoiShape shape;
  double scale;
  const T *map, *grad;
  float* grad_boxes;  // (count, 5)
};

// A block: a box, a warp some of its bins, whose channels its lanes share; all sums in a fixed order.
template <class T>
__global__ void __launch_bounds__(kRoiThreads, 2) box_gradients(BoxGradients<T> job) {
  constexpr int kWarps = kRoiThreads / 32;
  __shared__ float warp_sums[kWarps][4];
  const RoiShape& s = job.shape;
  const int64_t k = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const IntegralBox box(s, job.scale, k);
  float sum[4] = {};  // by x1, y1, x2, y2
  for (int64_t bin = warp; box.exists && bin < s.bins(); bin += kWarps) {
    const IntegralAxis::Bin rows = box.y.bin(bin / s.bins_w), columns = box.x.bin(bin % s.bins_w);
    const T* const grads = job.grad + (k * s.bins() + bin) * s.channels;
    for (int64_t y = rows.first; y < rows.last; ++y) {
      const auto row = static_cast<float>(rows.weight(y));
      const auto row_begin = static_cast<float>(job.scale * rows.by_box_begin(y));
      const auto row_end = static_cast<float>(job.scale * rows.by_box_end(y));
      for (int64_t x = columns.first; x < columns.last; ++x) {
        const T* const pixel = job.map + ((box.image * s.h + y) * s.w + x) * s.channels;
        float dot = 0;
        for (int64_t c = lane; c < s.channels; c += 32)
          dot = fmaf(to_float(pixel[c]), to_float(grads[c]), dot);
        const auto column = static_cast<float>(columns.weight(x));
        sum[0] += row * static_cast<float>(job.scale * columns.by_box_begin(x)) * dot;
        sum[1] += row_begin * column * dot;
        sum[2] += row * static_cast<float>(job.scale * columns.by_box_end(x)) * dot;
        sum[3] += row_end * column * dot;
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int apart = 16; apart > 0; apart /= 2) sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], apart);
    if (lane == 0) warp_sums[warp][i] = sum[i];
  }
  __syncthreads();
  if (threadIdx.x >= 5) return;
  float all = 0;
  for (int i = 0; threadIdx.x > 0 && i < kWarps; ++i) all += warp_sums[i][threadIdx.x - 1];
  job.grad_boxes[5 * k + threadIdx.x] = all;
}

}  // namespace

void prroi_pool(const char* op, const Stream& stream, const RoiProblem& p, const void* map, void* bins) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = in_packs<T>(p.channels, map, bins);
    PrRoiPool<T> job = {
        shape_of(p), p.spatial_scale, static_cast<const T*>(map), static_cast<T*>(bins), 0, 0};
    job.vectors = static_cast<int>(p.channels / (packed ? kPack<T> : 1));
    job.total = p.count * p.bins_h * p.bins_w * job.vectors;
    launch(op, stream, {blocks_of(job.total, kRoiThreads), kRoiThreads},
           packed ? prroi_pool_kernel<T, kPack<T>> : prroi_pool_kernel<T, 1>, job);
  });
}

void prroi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* map,
                         const void* grad, void* grad_map, float* grad_boxes) {
  const RoiShape shape = shape_of(p);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const grads = static_cast<const T*>(grad);
    pull(op, stream, IntegralSource<T>{shape, p.spatial_scale, grads}, static_cast<T*>(grad_map),
         in_packs<T>(p.channels, grad_map, grad));
    launch(op, stream, {static_cast<unsigned>(p.count), kRoiThreads}, box_gradients<T>,
           BoxGradients<T>{shape, p.spatial_scale, static_cast<const T*>(map), grads, grad_boxes});
  });
}

}  // namespace pyvision::cuda
