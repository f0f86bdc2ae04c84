// SPDX-License-Identifier: Apache-2.0
// Device code that the kernels of roi.cuh share.
#pragma once

#include "common/launch.cuh"
#include "common/numbers.cuh"
#include "common/sampling.cuh"
#include "roi.cuh"

namespace pyvision::cuda {

constexpr int kRoiThreads = 256;

// A problem as kernels see it.
struct RoiShape {
  int64_t n, h, w, channels;
  const float* boxes;
  int64_t count;
  int bins_h, bins_w;
  float scale, shift, least_size;  // shift: what is subtracted after scaling
  int sampling_ratio;              // 0: by the size of the bins
  RoiLevel level;

  __device__ int64_t bins() const { return int64_t{bins_h} * bins_w; }
};

inline RoiShape shape_of(const RoiProblem& p) {
  return {p.n,
          p.h,
          p.w,
          p.channels,
          p.boxes,
          p.count,
          static_cast<int>(p.bins_h),
          static_cast<int>(p.bins_w),
          static_cast<float>(p.spatial_scale),
          p.aligned ? 0.5f : 0.0f,
          p.aligned ? -INFINITY : 1.0f,
          static_cast<int>(p.sampling_ratio > 0 ? p.sampling_ratio : 0),
          p.level};
}

// A thread's vector of channels in one bin: numbers [0, count * bins_h * bins_w * vectors).
struct BinPlace {
  int64_t k, bin, vector;  // the box; the bin, of all boxes'; the vector, of the bin's
  int ph, pw;

  __device__ BinPlace(const RoiShape& s, int64_t index, int vectors)
      : k(index / vectors / s.bins()),
        bin(index / vectors),
        vector(index % vectors),
        ph(static_cast<int>(bin / s.bins_w % s.bins_h)),
        pw(static_cast<int>(bin % s.bins_w)) {}
};

__device__ __forceinline__ bool image_exists(float image, int64_t n) {
  return image >= 0 && image < static_cast<float>(n) && image == floorf(image);
}

// Lin et al. 2017, Feature Pyramid Networks, equation 1.
__device__ inline bool on_level(const RoiLevel& level, const float* box) {
  if (level.level < 0) return true;
  const float root = sqrtf((box[3] - box[1]) * (box[4] - box[2]));
  float fitting = floorf(level.canonical_level + log2f(root / level.canonical_scale) + 1e-6f);
  if (!(fitting >= level.finest)) fitting = level.finest;  // NaN too
  return static_cast<int>(fminf(fitting, level.coarsest) - level.finest) == level.level;
}

// The samples of one bin along one axis.
struct SampledBin {
  float start, size, count;  // sample i lies at start + (i + 0.5) * size / count
  int first, last;           // [first, last): those that are looked at

  __device__ SampledBin(float low, float box_size, int bin, int bins, int ratio) {
    size = box_size / static_cast<float>(bins);
    start = low + static_cast<float>(bin) * size;
    count = ratio > 0 ? static_cast<float>(ratio) : ceilf(size);
    first = last = 0;
    if (!(count > 0) || !(start - start == 0) || !(size - size == 0)) return;
    last = static_cast<int>(fminf(count, 0x1p30f));
  }
  // Without those that lie before `low` or behind `high`, as far as that is certain.
  __device__ void keep_between(float low, float high) {
    const float step = size / count;
    if (step == 0) return;
    // A sample of slack on both sides for rounding; every sample is checked when it is taken.
    const float one = (low - start) / step, other = (high - start) / step;
    const auto within = [&](float at) {
      return static_cast<int>(fmaxf(static_cast<float>(first), fminf(static_cast<float>(last), at)));
    };
    const int from = within(floorf(fminf(one, other)) - 2), to = within(ceilf(fmaxf(one, other)) + 2);
    first = from, last = to;
  }
  __device__ float sample(int i) const { return start + (static_cast<float>(i) + 0.5f) * size / count; }
  // On the border of the map between there and -1 or extent; false outside of these.
  __device__ bool position(int i, int64_t extent, float* at) const {
    const float y = sample(i);
    *at = fminf(fmaxf(y, 0.0f), static_cast<float>(extent - 1));
    return y >= -1 && y <= static_cast<float>(extent);
  }
};

// A range of bins.
struct BinRange {
  int first, last;
};
// Those of bins from `low` on, `size` each, that lie at least in part between two places, and their
// neighbours.
__device__ inline BinRange bins_between(float low, float size, int bins, float from, float to) {
  if (!(size != 0) || !(low - low == 0) || !(size - size == 0)) return {0, bins};
  const float one = (from - low) / size, other = (to - low) / size, most = static_cast<float>(bins);
  return {static_cast<int>(fmaxf(0.0f, fminf(most, floorf(fminf(one, other)) - 1))),
          static_cast<int>(fmaxf(0.0f, fminf(most, ceilf(fmaxf(one, other)) + 1)))};
}

// How much a pixel counts in the average of a bin along one axis of a box: of bilinear samples.
struct SampledAxis {
  float low, size;
  int bins, ratio;
  int64_t extent;

  __device__ SampledBin samples(int bin) const { return {low, size, bin, bins, ratio}; }
  // Those that may lie inside the map; of those outside only the number counts, for they are 0.
  __device__ SampledBin inside(int bin) const {
    SampledBin samples(low, size, bin, bins, ratio);
    samples.keep_between(-1, static_cast<float>(extent));
    return samples;
  }
  __device__ BinRange bins_near(float from, float to) const {
    return bins_between(low, size / static_cast<float>(bins), bins, from - 1, to + 1);
  }
  __device__ float weight(int bin, int pixel) const {
    SampledBin samples(low, size, bin, bins, ratio);
    const auto at = static_cast<float>(pixel);
    samples.keep_between(at - 1, at + 1);
    float sum = 0;
    for (int i = samples.first; i < samples.last; ++i) {
      float y;
      if (samples.position(i, extent, &y)) sum += fmaxf(0.0f, 1 - fabsf(y - at));
    }
    return samples.first < samples.last ? sum / samples.count : 0.0f;
  }
  // Whether the box reaches these pixels.
  __device__ bool touches(float from, float to) const {
    const float end = low + size;
    return fminf(low, end) - 2 <= to && fmaxf(low, end) + 2 >= from;
  }
};

// A box as RoI Align cuts it.
struct AlignedBox {
  bool exists;
  int64_t image;
  float y1, x1, height, width;

  __device__ AlignedBox(const RoiShape& s, int64_t k) {
    const float* const box = s.boxes + 5 * k;
    exists = image_exists(box[0], s.n);
    image = exists ? static_cast<int64_t>(box[0]) : 0;
    x1 = box[1] * s.scale - s.shift, y1 = box[2] * s.scale - s.shift;
    width = fmaxf(box[3] * s.scale - s.shift - x1, s.least_size);
    height = fmaxf(box[4] * s.scale - s.shift - y1, s.least_size);
  }
  __device__ SampledAxis rows(const RoiShape& s) const {
    return {y1, height, s.bins_h, s.sampling_ratio, s.h};
  }
  __device__ SampledAxis columns(const RoiShape& s) const {
    return {x1, width, s.bins_w, s.sampling_ratio, s.w};
  }
};

// visit(point, y, x) of a bin's samples on the map, row by row.
template <class Visit>
__device__ __forceinline__ void for_each_point(const RoiShape& s, const SampledBin& rows,
                                               const SampledBin& columns, Visit visit) {
  const auto h = static_cast<int>(s.h), w = static_cast<int>(s.w);
  for (int i = rows.first; i < rows.last; ++i) {
    float y, x;
    if (!rows.position(i, s.h, &y)) continue;
    for (int j = columns.first; j < columns.last; ++j) {
      BilinearPoint point;
      if (columns.position(j, s.w, &x) && point.locate(y, x, h, w)) visit(point, y, x);
    }
  }
}

// The pixels of the bins along one axis of a box, in whole numbers; limit: beyond the last that counts.
struct PixelAxis {
  float start, step;
  int bins;
  float limit;

  // low, high: the box's ends, scaled; one_more: 1 where the end belongs to it
  __device__ PixelAxis(float low, float high, float one_more, int bins, int64_t limit)
      : start(roundf(low)),
        step(fmaxf(roundf(high) - roundf(low) + one_more, 1.0f) / static_cast<float>(bins)),
        bins(bins),
        limit(static_cast<float>(limit)) {}

  // 0 where a coordinate is not finite.
  __device__ int first(int bin) const { return clipped(floorf(static_cast<float>(bin) * step) + start); }
  __device__ int last(int bin) const { return clipped(ceilf(static_cast<float>(bin + 1) * step) + start); }
  __device__ int clipped(float at) const {
    return at - at == 0 ? static_cast<int>(fmaxf(0.0f, fminf(limit, at))) : 0;
  }

  __device__ BinRange bins_near(float from, float to) const {
    return bins_between(start, step, bins, from - 1, to + 1);
  }
  __device__ float weight(int bin, int pixel) const {
    const int from = first(bin), to = last(bin);
    return from <= pixel && pixel < to ? 1 / static_cast<float>(to - from) : 0.0f;
  }
  __device__ bool touches(float from, float to) const {
    return start - 2 <= to && start + step * static_cast<float>(bins) + 2 >= from;
  }
};

// Sources of gradients: what a box's bins pass on to a pixel. The boxes of a call are walked in rising order
// by every pixel that they touch, so that results repeat.
//   bool touches(k, image, y, first_x, last_x)             may take part of these pixels of a row
//   void add<kVec>(k, y, x, channel, float (&sum)[kVec])   adds to the gradient of channels of one pixel
template <class Source>
struct Pull {
  using T = typename Source::Item;
  Source source;
  T* map;  // (n, h, w, channels)
  int vectors, vector_blocks, runs;
};

// blockIdx.x: rows of the map, then runs of blockDim.y pixels, then vectors of channels. A block looks for
// its boxes together, kRoiThreads at a time.
template <class Source, int kVec>
__global__ void __launch_bounds__(kRoiThreads, 2) pull_gradients(Pull<Source> job) {
  constexpr int kWarps = kRoiThreads / 32;
  __shared__ int warp_counts[kWarps];
  __shared__ int found[kRoiThreads];
  const RoiShape& shape = job.source.shape;
  const int64_t block = blockIdx.x, rest = block / job.vector_blocks;
  const int vector = static_cast<int>(block % job.vector_blocks * blockDim.x + threadIdx.x);
  const auto first_x = static_cast<int>(rest % job.runs * blockDim.y);
  const int x = first_x + static_cast<int>(threadIdx.y);
  const auto y = static_cast<int>(rest / job.runs % shape.h);
  const int64_t image = rest / job.runs / shape.h;
  const bool mine = vector < job.vectors && x < shape.w;
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x), warp = thread / 32;

  float sum[kVec] = {};
  for (int64_t begin = 0; begin < shape.count; begin += kRoiThreads) {
    const int64_t k = begin + thread;
    const bool touches = k < shape.count &&
                         job.source.touches(k, image, y, first_x, first_x + static_cast<int>(blockDim.y) - 1);
    const unsigned ballot = __ballot_sync(0xffffffffu, touches);
    if (thread % 32 == 0) warp_counts[warp] = __popc(ballot);
    __syncthreads();
    int before = 0, count = 0;
    for (int i = 0; i < kWarps; ++i) {
      if (i < warp) before += warp_counts[i];
      count += warp_counts[i];
    }
    if (touches) found[before + __popc(ballot & ((1u << thread % 32) - 1))] = thread;
    __syncthreads();
    if (mine)
      for (int i = 0; i < count; ++i)
        job.source.template add<kVec>(begin + found[i], y, x, vector * kVec, sum);
    __syncthreads();  // before the lists are written again
  }
  if (mine)
    store_floats<kVec>(sum, job.map + ((image * shape.h + y) * shape.w + x) * shape.channels + vector * kVec);
}

// packed: whether channels may be taken in packs of 16 bytes
template <class Source>
void pull(const char* op, const Stream& stream, const Source& source, typename Source::Item* map,
          bool packed) {
  using T = typename Source::Item;
  const RoiShape& shape = source.shape;
  Pull<Source> job = {source, map, static_cast<int>(shape.channels / (packed ? kPack<T> : 1)), 1, 1};
  unsigned across = 1;
  while (across < 32 && static_cast<int>(across) < job.vectors) across *= 2;
  const dim3 block(across, kRoiThreads / across);
  job.vector_blocks = static_cast<int>(blocks_of(job.vectors, block.x));
  job.runs = static_cast<int>(blocks_of(shape.w, block.y));
  const int64_t blocks = shape.n * shape.h * job.runs * job.vector_blocks;
  if constexpr (Source::kPacks) {
    if (packed)
      return launch(op, stream, {blocks_of(blocks, 1), block}, pull_gradients<Source, kPack<T>>, job);
  }
  launch(op, stream, {blocks_of(blocks, 1), block}, pull_gradients<Source, 1>, job);
}

}  // namespace pyvision::cuda
