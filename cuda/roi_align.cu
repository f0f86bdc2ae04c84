// SPDX-License-Identifier: Apache-2.0
#include "roi_kernels.cuh"

namespace pyvision::cuda {
namespace {

template <class T>
struct RoiAlign {
  RoiShape shape;
  const T* map;
  T* bins;
  float2* places;
  int vectors;    // of a bin's channels
  int64_t total;  // vectors of all bins
};

// A thread: kVec channels of one bin.
template <class T, int kVec, RoiKind kKind>
__global__ void __launch_bounds__(kRoiThreads, 2) roi_align_kernel(RoiAlign<T> job) {
  const RoiShape& s = job.shape;
  const int64_t index = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (index >= job.total) return;
  const BinPlace at(s, index, job.vectors);
  const int64_t out = index * kVec;
  if (!on_level(s.level, s.boxes + 5 * at.k)) return;
  const AlignedBox box(s, at.k);
  float result[kVec] = {};
  if (box.exists) {
    const SampledBin rows = box.rows(s).inside(at.ph), columns = box.columns(s).inside(at.pw);
    const int64_t channel =
        kKind == RoiKind::kOwnChannels ? at.vector * s.bins() + at.ph * s.bins_w + at.pw : at.vector * kVec;
    const T* const map = job.map + box.image * s.h * s.w * s.channels + channel;
    const auto w = static_cast<int>(s.w);
    const float samples = rows.count * columns.count;
    float2 places[kVec];
    float inside = 0;
    if constexpr (kKind == RoiKind::kMaximum) {
      for (int c = 0; c < kVec; ++c) {
        result[c] = -INFINITY;
        places[c] = make_float2(NAN, NAN);
      }
    }
    for_each_point(s, rows, columns, [&](const BilinearPoint& point, float y, float x) {
      if constexpr (kKind == RoiKind::kMaximum) {
        float value[kVec] = {};
        add_sample(map, w, s.channels, point, 1.0f, value);
        inside += 1;
        for (int c = 0; c < kVec; ++c) {
          if (!(value[c] > result[c])) continue;
          result[c] = value[c];
          places[c] = make_float2(y, x);
        }
      } else {
        add_sample(map, w, s.channels, point, 1.0f, result);
      }
    });
    for (int c = 0; c < kVec; ++c) {
      if constexpr (kKind == RoiKind::kMaximum) {
        if (inside < samples && result[c] < 0) {  // a sample outside is 0
          result[c] = 0;
          places[c] = make_float2(NAN, NAN);
        }
        if (!(samples > 0)) result[c] = 0;
        if (job.places != nullptr) job.places[out + c] = places[c];
      } else {
        result[c] *= samples > 0 ? 1 / samples : 0;
      }
    }
  } else {
    for (int c = 0; c < kVec; ++c) {
      result[c] = NAN;
      if (kKind == RoiKind::kMaximum && job.places != nullptr) job.places[out + c] = make_float2(NAN, NAN);
    }
  }
  store_floats<kVec>(result, job.bins + out);
}

template <class T>
void run(const char* op, const Stream& stream, const RoiProblem& p, RoiKind kind, const void* map, void* bins,
         float* places) {
  const bool own = kind == RoiKind::kOwnChannels;
  const bool packed = !own && in_packs<T>(p.channels, map, bins);
  RoiAlign<T> job = {shape_of(p),
                     static_cast<const T*>(map),
                     static_cast<T*>(bins),
                     reinterpret_cast<float2*>(places),
                     0,
                     0};
  job.vectors = static_cast<int>(p.channels / (own ? p.bins_h * p.bins_w : packed ? kPack<T> : 1));
  job.total = p.count * p.bins_h * p.bins_w * job.vectors;
  auto kernel =
      packed ? roi_align_kernel<T, kPack<T>, RoiKind::kAverage> : roi_align_kernel<T, 1, RoiKind::kAverage>;
  if (kind == RoiKind::kMaximum) {
    kernel =
        packed ? roi_align_kernel<T, kPack<T>, RoiKind::kMaximum> : roi_align_kernel<T, 1, RoiKind::kMaximum>;
  }
  if (own) kernel = roi_align_kernel<T, 1, RoiKind::kOwnChannels>;
  launch(op, stream, {blocks_of(job.total, kRoiThreads), kRoiThreads}, kernel, job);
}

template <class T>
struct AlignedSource {
  using Item = T;
  RoiShape shape;
  const T* bins;

  __device__ bool touches(int64_t k, int64_t image, int y, int first_x, int last_x) const {
    const AlignedBox box(shape, k);
    const auto at = static_cast<float>(y);
    return box.exists && box.image == image && on_level(shape.level, shape.boxes + 5 * k) &&
           box.rows(shape).touches(at, at) &&
           box.columns(shape).touches(static_cast<float>(first_x), static_cast<float>(last_x));
  }
};

// visit(ph, pw) of all bins of a box with samples beside a pixel.
template <class Visit>
__device__ __forceinline__ void for_each_bin(const SampledAxis& rows, const SampledAxis& columns, int y,
                                             int x, Visit visit) {
  const BinRange vertical = rows.bins_near(static_cast<float>(y), static_cast<float>(y));
  const BinRange horizontal = columns.bins_near(static_cast<float>(x), static_cast<float>(x));
  for (int ph = vertical.first; ph < vertical.last; ++ph)
    for (int pw = horizontal.first; pw < horizontal.last; ++pw) visit(ph, pw);
}

template <class T>
struct AverageSource : AlignedSource<T> {
  static constexpr bool kPacks = true;

  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    const RoiShape& s = this->shape;
    const AlignedBox box(s, k);
    const SampledAxis rows = box.rows(s), columns = box.columns(s);
    for_each_bin(rows, columns, y, x, [&](int ph, int pw) {
      const float weight = rows.weight(ph, y) * columns.weight(pw, x);
      if (weight == 0) return;
      float grad[kVec];
      load_floats<kVec>(this->bins + (k * s.bins() + ph * s.bins_w + pw) * s.channels + channel, grad);
      for (int c = 0; c < kVec; ++c) sum[c] = fmaf(weight, grad[c], sum[c]);
    });
  }
};

template <class T>
struct MaximumSource : AlignedSource<T> {
  static constexpr bool kPacks = true;
  const float2* places;

  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    const RoiShape& s = this->shape;
    const AlignedBox box(s, k);
    for_each_bin(box.rows(s), box.columns(s), y, x, [&](int ph, int pw) {
      const int64_t at = (k * s.bins() + ph * s.bins_w + pw) * s.channels + channel;
      float grad[kVec];
      load_floats<kVec>(this->bins + at, grad);
      for (int c = 0; c < kVec; ++c) {
        const float2 place = places[at + c];  // NaN: fmaxf makes 0 of it
        const float weight = fmaxf(0.0f, 1 - fabsf(place.x - static_cast<float>(y))) *
                             fmaxf(0.0f, 1 - fabsf(place.y - static_cast<float>(x)));
        if (weight != 0) sum[c] = fmaf(weight, grad[c], sum[c]);
      }
    });
  }
};

template <class T>
struct OwnChannelsSource : AlignedSource<T> {
  static constexpr bool kPacks = false;

  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    static_assert(kVec == 1, "neighbouring channels belong to different bins");
    const RoiShape& s = this->shape;
    const AlignedBox box(s, k);
    const auto bins = static_cast<int>(s.bins());
    const int bin = channel % bins;
    const float weight = box.rows(s).weight(bin / s.bins_w, y) * box.columns(s).weight(bin % s.bins_w, x);
    if (weight == 0) return;
    const int64_t at = (k * bins + bin) * (s.channels / bins) + channel / bins;
    sum[0] = fmaf(weight, to_float(this->bins[at]), sum[0]);
  }
};

template <class T>
void run_backward(const char* op, const Stream& stream, const RoiProblem& p, RoiKind kind, const void* bins,
                  const float* places, void* map) {
  const bool packed = in_packs<T>(p.channels, map, bins);
  const AlignedSource<T> source = {shape_of(p), static_cast<const T*>(bins)};
  T* const to = static_cast<T*>(map);
  if (kind == RoiKind::kMaximum) {
    return pull(op, stream, MaximumSource<T>{source, reinterpret_cast<const float2*>(places)}, to, packed);
  }
  if (kind == RoiKind::kOwnChannels) return pull(op, stream, OwnChannelsSource<T>{source}, to, false);
  pull(op, stream, AverageSource<T>{source}, to, packed);
}

__global__ void join_boxes_kernel(const float* boxes, int64_t count, int columns, float image, float* rows) {
  const int64_t i = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (i >= count * (columns + 1)) return;
  const int64_t box = i / (columns + 1), column = i % (columns + 1);
  rows[i] = column == 0 ? image : boxes[box * columns + column - 1];
}

}  // namespace

void join_boxes(const char* op, const Stream& stream, const float* boxes, int64_t count, int64_t columns,
                int64_t image, int64_t begin, float* joined) {
  launch(op, stream, {blocks_of(count * (columns + 1), kRoiThreads), kRoiThreads}, join_boxes_kernel, boxes,
         count, static_cast<int>(columns), static_cast<float>(image), joined + begin * (columns + 1));
}

void roi_align(const char* op, const Stream& stream, const RoiProblem& p, RoiKind kind, const void* map,
               void* bins, float* places) {
  with_float(p.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, kind, map, bins, places); });
}

void roi_align_backward(const char* op, const Stream& stream, const RoiProblem& p, RoiKind kind,
                        const void* bins, const float* places, void* map) {
  with_float(p.dtype,
             [&](auto zero) { run_backward<decltype(zero)>(op, stream, p, kind, bins, places, map); });
}

}  // namespace pyvision::cuda
