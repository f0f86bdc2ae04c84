// SPDX-License-Identifier: Apache-2.0
// Pooling of whole pixels: roi_pool and ps_roi_pool.
#include "common/workspace.h"
#include "roi_kernels.cuh"

namespace pyvision::cuda {
namespace {

struct PixelBox {
  bool exists;
  int64_t image;
  PixelAxis rows, columns;

  // own: position-sensitive, where neither a box's end nor the map's last row and column belong to it
  __device__ PixelBox(const RoiShape& s, int64_t k, bool own) : PixelBox(s, s.boxes + 5 * k, own) {}
  __device__ PixelBox(const RoiShape& s, const float* box, bool own)
      : exists(image_exists(box[0], s.n)),
        image(exists ? static_cast<int64_t>(box[0]) : 0),
        rows(box[2] * s.scale, box[4] * s.scale, own ? 0.0f : 1.0f, s.bins_h, s.h - (own ? 1 : 0)),
        columns(box[1] * s.scale, box[3] * s.scale, own ? 0.0f : 1.0f, s.bins_w, s.w - (own ? 1 : 0)) {}
};

template <class T>
struct RoiPool {
  RoiShape shape;
  const T* map;
  T* bins;
  int32_t* argmax;
  int vectors;
  int64_t total;
};

// A thread: kVec channels of one bin.
template <class T, int kVec>
__global__ void __launch_bounds__(kRoiThreads, 2) roi_pool_kernel(RoiPool<T> job) {
  const RoiShape& s = job.shape;
  const int64_t index = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (index >= job.total) return;
  const BinPlace at(s, index, job.vectors);
  const PixelBox box(s, at.k, false);
  const int top = box.rows.first(at.ph), bottom = box.rows.last(at.ph);
  const int left = box.columns.first(at.pw), right = box.columns.last(at.pw);
  const bool empty = top >= bottom || left >= right;
  const T* const map = job.map + box.image * s.h * s.w * s.channels + at.vector * kVec;
  float best[kVec];
  int32_t place[kVec];
  for (int c = 0; c < kVec; ++c) {
    best[c] = !box.exists ? NAN : empty ? 0 : -INFINITY;
    place[c] = box.exists && !empty ? top * static_cast<int>(s.w) + left : -1;
  }
  if (box.exists) {
    for (int y = top; y < bottom; ++y) {
      for (int x = left; x < right; ++x) {
        const int64_t pixel = int64_t{y} * s.w + x;
        float value[kVec];
        load_floats<kVec>(map + pixel * s.channels, value);
        for (int c = 0; c < kVec; ++c) {
          if (!(value[c] > best[c])) continue;
          best[c] = value[c];
          place[c] = static_cast<int32_t>(pixel);
        }
      }
    }
  }
  const int64_t out = index * kVec;
  store_floats<kVec>(best, job.bins + out);
  for (int c = 0; c < kVec; ++c) job.argmax[out + c] = place[c];
}

template <class T>
__global__ void __launch_bounds__(kRoiThreads, 2) ps_roi_pool_kernel(RoiPool<T> job) {
  const RoiShape& s = job.shape;
  const int64_t index = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (index >= job.total) return;
  const BinPlace at(s, index, job.vectors);
  const PixelBox box(s, at.k, true);
  const int top = box.rows.first(at.ph), bottom = box.rows.last(at.ph);
  const int left = box.columns.first(at.pw), right = box.columns.last(at.pw);
  const T* const map =
      job.map + box.image * s.h * s.w * s.channels + at.vector * s.bins() + at.ph * s.bins_w + at.pw;
  float sum = 0;
  if (box.exists)
    for (int y = top; y < bottom; ++y)
      for (int x = left; x < right; ++x) sum += to_float(map[(int64_t{y} * s.w + x) * s.channels]);
  const auto area = static_cast<float>(bottom - top) * static_cast<float>(right - left);
  const bool empty = top >= bottom || left >= right;
  job.bins[index] = from_float<T>(!box.exists ? NAN : empty ? 0 : sum / area);
}

template <class T>
void run(const char* op, const Stream& stream, const RoiProblem& p, const void* map, void* bins,
         int32_t* argmax, bool own) {
  const bool packed = !own && in_packs<T>(p.channels, map, bins);
  RoiPool<T> job = {shape_of(p), static_cast<const T*>(map), static_cast<T*>(bins), argmax, 0, 0};
  job.vectors = static_cast<int>(p.channels / (own ? p.bins_h * p.bins_w : packed ? kPack<T> : 1));
  job.total = p.count * p.bins_h * p.bins_w * job.vectors;
  launch(op, stream, {blocks_of(job.total, kRoiThreads), kRoiThreads},
         own      ? ps_roi_pool_kernel<T>
         : packed ? roi_pool_kernel<T, kPack<T>>
                  : roi_pool_kernel<T, 1>,
         job);
}

// Of the maxima of a bin or of a box; empty where top > bottom.
struct Extent {
  int top, bottom, left, right;

  __device__ bool holds(int y, int first_x, int last_x) const {
    return top <= y && y <= bottom && left <= last_x && first_x <= right;
  }
};

// A block: one box, whose bins its warps share.
__global__ void __launch_bounds__(kRoiThreads, 2)
    find_extents(const int32_t* argmax, RoiShape s, Extent* boxes, Extent* bins) {
  __shared__ Extent whole;
  const int64_t k = blockIdx.x, pixels = s.h * s.w;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const Extent none = {INT32_MAX, -1, INT32_MAX, -1};
  if (thread == 0) whole = none;
  __syncthreads();
  for (int64_t bin = thread / 32; bin < s.bins(); bin += kRoiThreads / 32) {
    Extent extent = none;
    for (int64_t c = lane; c < s.channels; c += 32) {
      const int32_t place = argmax[(k * s.bins() + bin) * s.channels + c];
      if (place < 0 || place >= pixels) continue;
      const auto y = static_cast<int>(place / s.w), x = static_cast<int>(place % s.w);
      extent = {min(extent.top, y), max(extent.bottom, y), min(extent.left, x), max(extent.right, x)};
    }
    for (int apart = 16; apart > 0; apart /= 2) {
      extent.top = min(extent.top, __shfl_xor_sync(0xffffffffu, extent.top, apart));
      extent.bottom = max(extent.bottom, __shfl_xor_sync(0xffffffffu, extent.bottom, apart));
      extent.left = min(extent.left, __shfl_xor_sync(0xffffffffu, extent.left, apart));
      extent.right = max(extent.right, __shfl_xor_sync(0xffffffffu, extent.right, apart));
    }
    if (lane != 0) continue;
    bins[k * s.bins() + bin] = extent;
    atomicMin(&whole.top, extent.top);
    atomicMax(&whole.bottom, extent.bottom);
    atomicMin(&whole.left, extent.left);
    atomicMax(&whole.right, extent.right);
  }
  __syncthreads();
  if (thread == 0) boxes[k] = whole;
}

template <class T>
struct ArgmaxSource {
  using Item = T;
  static constexpr bool kPacks = true;
  RoiShape shape;
  const T* bins;
  const int32_t* argmax;
  const Extent* box_extents;  // (count,)
  const Extent* bin_extents;  // (count, bins)

  __device__ bool touches(int64_t k, int64_t image, int y, int first_x, int last_x) const {
    const float index = shape.boxes[5 * k];
    return image_exists(index, shape.n) && static_cast<int64_t>(index) == image &&
           box_extents[k].holds(y, first_x, last_x);
  }
  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    const int64_t pixel = int64_t{y} * shape.w + x;
    for (int64_t bin = k * shape.bins(); bin < (k + 1) * shape.bins(); ++bin) {
      if (!bin_extents[bin].holds(y, x, x)) continue;
      float grad[kVec];
      load_floats<kVec>(bins + bin * shape.channels + channel, grad);
      for (int c = 0; c < kVec; ++c)
        if (argmax[bin * shape.channels + channel + c] == pixel) sum[c] += grad[c];
    }
  }
};

template <class T>
struct MeanSource {
  using Item = T;
  static constexpr bool kPacks = false;
  RoiShape shape;
  const T* bins;

  __device__ bool touches(int64_t k, int64_t image, int y, int first_x, int last_x) const {
    const PixelBox box(shape, k, true);
    const auto at = static_cast<float>(y);
    return box.exists && box.image == image && box.rows.touches(at, at) &&
           box.columns.touches(static_cast<float>(first_x), static_cast<float>(last_x));
  }
  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    static_assert(kVec == 1, "neighbouring channels belong to different bins");
    const PixelBox box(shape, k, true);
    const auto count = static_cast<int>(shape.bins());
    const int bin = channel % count;
    const float weight = box.rows.weight(bin / shape.bins_w, y) * box.columns.weight(bin % shape.bins_w, x);
    if (weight == 0) return;
    const int64_t at = (k * count + bin) * (shape.channels / count) + channel / count;
    sum[0] = fmaf(weight, to_float(bins[at]), sum[0]);
  }
};

struct Space {
  Workspace workspace;
  Extent *boxes, *bins;

  Space(const RoiProblem& p, void* memory)
      : workspace(memory),
        boxes(workspace.take<Extent>(p.count)),
        bins(workspace.take<Extent>(p.count * p.bins_h * p.bins_w)) {}
};

}  // namespace

void roi_pool(const char* op, const Stream& stream, const RoiProblem& p, const void* map, void* bins,
              int32_t* argmax) {
  with_float(p.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, map, bins, argmax, false); });
}

void ps_roi_pool(const char* op, const Stream& stream, const RoiProblem& p, const void* map, void* bins) {
  with_float(p.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, map, bins, nullptr, true); });
}

size_t roi_pool_backward_workspace_bytes(const RoiProblem& p) { return Space(p, nullptr).workspace.bytes(); }

void roi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* bins,
                       const int32_t* argmax, void* workspace, void* map) {
  const Space space(p, workspace);
  const RoiShape shape = shape_of(p);
  launch(op, stream, {blocks_of(p.count, 1), kRoiThreads}, find_extents, argmax, shape, space.boxes,
         space.bins);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const ArgmaxSource<T> source = {shape, static_cast<const T*>(bins), argmax, space.boxes, space.bins};
    const bool packed = in_packs<T>(p.channels, bins, map);
    pull(op, stream, source, static_cast<T*>(map), packed);
  });
}

void ps_roi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* bins,
                          void* map) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    pull(op, stream, MeanSource<T>{shape_of(p), static_cast<const T*>(bins)}, static_cast<T*>(map), false);
  });
}

}  // namespace pyvision::cuda
