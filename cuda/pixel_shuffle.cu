// SPDX-License-Identifier: Apache-2.0
#include "pixel_shuffle.cuh"

#include "common/rows.cuh"

namespace pyvision::cuda {
namespace {

template <class T>
struct Shuffle {
  const T* from;
  int channels, h, w, factor;  // as PixelShuffle's
  T* to;
  RowGrid grid;  // rows of the result
};

// A pixel's place in the coarse map, and the item within its fine pixels.
struct Place {
  int64_t map;  // [0, n), planar: [0, n * channels), of the fine one
  int64_t h, w;
  int i, j, channel;  // [0, factor), [0, factor), [0, channels); planar: 0
};

// (n, h, i, w, j, channels); planar: each channel is a map of one
template <class T, bool kPlanar>
__device__ __forceinline__ int64_t fine_index(const Shuffle<T>& job, const Place& at) {
  const int64_t row = (at.map * job.h + at.h) * job.factor + at.i;
  return ((row * job.w + at.w) * job.factor + at.j) * (kPlanar ? 1 : job.channels) + at.channel;
}
// (n, h, w, channels, i, j); planar: (n * channels, i, j, h, w)
template <class T, bool kPlanar>
__device__ __forceinline__ int64_t coarse_index(const Shuffle<T>& job, const Place& at) {
  if constexpr (kPlanar)
    return (((at.map * job.factor + at.i) * job.factor + at.j) * job.h + at.h) * job.w + at.w;
  const int64_t pixel = (at.map * job.h + at.h) * job.w + at.w;
  return ((pixel * job.channels + at.channel) * job.factor + at.i) * job.factor + at.j;
}

// A thread: some items of a row of the result, neighbours side by side. What they read lies `factor` or its
// square apart, and the lines are read whole by neighbours, or from L2 by the next rows.
template <class T, bool kPlanar, bool kToFine>
__global__ void __launch_bounds__(kRowThreads) pixel_shuffle_kernel(Shuffle<T> job) {
  const RowItems items(job.grid);
  const int r = job.factor;
  Place at = {};
  if (kToFine || !kPlanar) {
    const int64_t rows = kToFine ? int64_t{job.h} * r : job.h;  // of a map
    at.map = items.row / rows;
    at.h = kToFine ? items.row % rows / r : items.row % rows;
    at.i = kToFine ? static_cast<int>(items.row % r) : 0;
  } else {
    const int64_t plane = items.row / job.h;  // (n * channels, i, j)
    at.map = plane / (r * r);
    at.h = items.row % job.h;
    at.i = static_cast<int>(plane / r % r);
    at.j = static_cast<int>(plane % r);
  }
  T* const to = job.to + items.row * job.grid.items;
  for (int item = items.first; item < items.end; item += items.step) {
    if (kToFine) {  // (w, j, channels), planar: (w, j)
      const int pixel = kPlanar ? item : item / job.channels;
      at.w = pixel / r;
      at.j = pixel % r;
      at.channel = kPlanar ? 0 : item % job.channels;
    } else if (kPlanar) {
      at.w = item;
    } else {  // (w, channels, i, j)
      const int channel = item / (r * r);
      at.w = channel / job.channels;
      at.channel = channel % job.channels;
      at.i = item / r % r;
      at.j = item % r;
    }
    to[item] = job.from[kToFine ? coarse_index<T, kPlanar>(job, at) : fine_index<T, kPlanar>(job, at)];
  }
}

template <class T>
void run(const char* op, const Stream& stream, const PixelShuffle& p, bool to_fine, const void* from,
         void* to) {
  const int64_t maps = p.planar ? p.n * p.channels : p.n, channels = p.planar ? 1 : p.channels;
  const int64_t area = p.factor * p.factor;
  const RowGrid grid = to_fine    ? RowGrid(op, maps * p.h * p.factor, p.w * p.factor * channels)
                       : p.planar ? RowGrid(op, maps * area * p.h, p.w)
                                  : RowGrid(op, maps * p.h, p.w * p.channels * area);
  const Shuffle<T> job = {static_cast<const T*>(from),
                          static_cast<int>(p.channels),
                          static_cast<int>(p.h),
                          static_cast<int>(p.w),
                          static_cast<int>(p.factor),
                          static_cast<T*>(to),
                          grid};
  launch(op, stream, grid.shape(),
         p.planar ? (to_fine ? pixel_shuffle_kernel<T, true, true> : pixel_shuffle_kernel<T, true, false>)
                  : (to_fine ? pixel_shuffle_kernel<T, false, true> : pixel_shuffle_kernel<T, false, false>),
         job);
}

}  // namespace

void pixel_shuffle(const char* op, const Stream& stream, const PixelShuffle& job, bool to_fine,
                   size_t item_bytes, const void* from, void* to) {
  if (job.n == 0 || job.channels == 0 || job.h == 0 || job.w == 0) return;
  if (item_bytes == 1) return run<uint8_t>(op, stream, job, to_fine, from, to);
  if (item_bytes == 2) return run<uint16_t>(op, stream, job, to_fine, from, to);
  if (item_bytes == 4) return run<uint32_t>(op, stream, job, to_fine, from, to);
  run<uint64_t>(op, stream, job, to_fine, from, to);
}

}  // namespace pyvision::cuda
