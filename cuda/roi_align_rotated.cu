// SPDX-License-Identifier: Apache-2.0
#include "common/workspace.h"
#include "roi_kernels.cuh"

namespace pyvision::cuda {
namespace {

constexpr float kMostSamples = 65536;  // of a bin

// A box after scaling. Sample (v, u) of its own axes lies at y = cy + v cos - u sin, x = cx + v sin + u cos.
struct RotatedBox {
  int64_t image;  // -1: bins are NaN
  float center_y, center_x, cos, sin, height, width;

  __device__ bool place(float v, float u, int64_t h, int64_t w, BilinearPoint* point) const {
    const float y = v * cos - u * sin + center_y, x = v * sin + u * cos + center_x;
    const auto bottom = static_cast<float>(h), right = static_cast<float>(w);
    return y >= -1 && y <= bottom && x >= -1 && x <= right &&
           point->locate(fminf(fmaxf(y, 0.0f), bottom - 1), fminf(fmaxf(x, 0.0f), right - 1),
                         static_cast<int>(h), static_cast<int>(w));
  }
};

// A bin's samples along one axis of a box.
__device__ inline SampledBin samples_of(float size, int bin, int bins, int ratio) {
  return {-size / 2, size, bin, bins, ratio};
}

__global__ void __launch_bounds__(kRoiThreads, 2) prepare_boxes(RoiShape s, RotatedBox* prepared) {
  const int64_t k = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (k >= s.count) return;
  const float* const box = s.boxes + 6 * k;
  RotatedBox to;
  to.image = image_exists(box[0], s.n) ? static_cast<int64_t>(box[0]) : -1;
  to.center_x = box[1] * s.scale - s.shift, to.center_y = box[2] * s.scale - s.shift;
  to.width = fmaxf(box[3] * s.scale, s.least_size), to.height = fmaxf(box[4] * s.scale, s.least_size);
  const double turn = static_cast<double>(box[5]) * 3.14159265358979323846 / 180;
  to.cos = static_cast<float>(cos(turn)), to.sin = static_cast<float>(sin(turn));
  const auto count = [&](float size, int bins) {
    return s.sampling_ratio > 0 ? static_cast<float>(s.sampling_ratio)
                                : fmaxf(0.0f, ceilf(size / static_cast<float>(bins)));
  };
  if (!(count(to.height, s.bins_h) * count(to.width, s.bins_w) <= kMostSamples)) to.image = -1;
  prepared[k] = to;
}

template <class T>
struct Rotated {
  RoiShape shape;
  const RotatedBox* boxes;
  const T* map;
  T* bins;
  int vectors;
  int64_t total;
};

// A thread: kVec channels of one bin.
template <class T, int kVec>
__global__ void __launch_bounds__(kRoiThreads, 2) roi_align_rotated_kernel(Rotated<T> job) {
  const RoiShape& s = job.shape;
  const int64_t index = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (index >= job.total) return;
  const BinPlace at(s, index, job.vectors);
  const RotatedBox box = job.boxes[at.k];
  float sum[kVec] = {};
  if (box.image < 0) {
    for (int c = 0; c < kVec; ++c) sum[c] = NAN;
  } else {
    const SampledBin rows = samples_of(box.height, at.ph, s.bins_h, s.sampling_ratio);
    const SampledBin columns = samples_of(box.width, at.pw, s.bins_w, s.sampling_ratio);
    const T* const map = job.map + box.image * s.h * s.w * s.channels + at.vector * kVec;
    for (int i = rows.first; i < rows.last; ++i) {
      for (int j = columns.first; j < columns.last; ++j) {
        BilinearPoint point;
        if (box.place(rows.sample(i), columns.sample(j), s.h, s.w, &point))
          add_sample(map, static_cast<int>(s.w), s.channels, point, 1.0f, sum);
      }
    }
    const float samples = rows.count * columns.count;
    for (int c = 0; c < kVec; ++c) sum[c] *= samples > 0 ? 1 / samples : 0;
  }
  store_floats<kVec>(sum, job.bins + index * kVec);
}

template <class T>
struct RotatedSource {
  using Item = T;
  static constexpr bool kPacks = true;
  static constexpr float kReach = 1.5f;  // a sample beside a pixel is at most sqrt(2) away
  RoiShape shape;
  const T* bins;
  const RotatedBox* boxes;

  __device__ bool touches(int64_t k, int64_t image, int y, int first_x, int last_x) const {
    const RotatedBox box = boxes[k];
    const float v = fabsf(box.height) / 2, u = fabsf(box.width) / 2;
    const float high = fabsf(v * box.cos) + fabsf(u * box.sin) + 2;
    const float wide = fabsf(v * box.sin) + fabsf(u * box.cos) + 2;
    const auto at = static_cast<float>(y);
    return box.image == image && fabsf(box.center_y - at) <= high &&
           box.center_x - wide <= static_cast<float>(last_x) &&
           box.center_x + wide >= static_cast<float>(first_x);
  }
  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    const RoiShape& s = shape;
    const RotatedBox box = boxes[k];
    const float dy = static_cast<float>(y) - box.center_y, dx = static_cast<float>(x) - box.center_x;
    const float v = dy * box.cos + dx * box.sin, u = dx * box.cos - dy * box.sin;
    const auto near = [](float size, int count, float at) {
      return bins_between(-size / 2, size / static_cast<float>(count), count, at - kReach, at + kReach);
    };
    const BinRange vertical = near(box.height, s.bins_h, v), horizontal = near(box.width, s.bins_w, u);
    for (int ph = vertical.first; ph < vertical.last; ++ph) {
      SampledBin rows = samples_of(box.height, ph, s.bins_h, s.sampling_ratio);
      rows.keep_between(v - kReach, v + kReach);
      for (int pw = horizontal.first; pw < horizontal.last; ++pw) {
        SampledBin columns = samples_of(box.width, pw, s.bins_w, s.sampling_ratio);
        columns.keep_between(u - kReach, u + kReach);
        const float weight = weight_of(box, rows, columns, y, x);
        if (weight == 0) continue;
        float grad[kVec];
        load_floats<kVec>(bins + (k * s.bins() + ph * s.bins_w + pw) * s.channels + channel, grad);
        for (int c = 0; c < kVec; ++c) sum[c] = fmaf(weight, grad[c], sum[c]);
      }
    }
  }

 private:
  // Of a pixel in a bin's average.
  __device__ float weight_of(const RotatedBox& box, const SampledBin& rows, const SampledBin& columns, int y,
                             int x) const {
    float weight = 0;
    for (int i = rows.first; i < rows.last; ++i) {
      for (int j = columns.first; j < columns.last; ++j) {
        BilinearPoint point;
        if (!box.place(rows.sample(i), columns.sample(j), shape.h, shape.w, &point)) continue;
        const int down = y - point.y, right = x - point.x;
        if (down >= 0 && down <= 1 && right >= 0 && right <= 1) weight += point.weights[2 * down + right];
      }
    }
    return weight == 0 ? 0.0f : weight / (rows.count * columns.count);
  }
};

RotatedBox* prepare(const char* op, const Stream& stream, const RoiProblem& p, void* workspace) {
  RotatedBox* const boxes = Workspace(workspace).take<RotatedBox>(p.count);
  launch(op, stream, {blocks_of(p.count, kRoiThreads), kRoiThreads}, prepare_boxes, shape_of(p), boxes);
  return boxes;
}

}  // namespace

size_t roi_align_rotated_workspace_bytes(const RoiProblem& p) {
  Workspace workspace;
  workspace.take<RotatedBox>(p.count);
  return workspace.bytes();
}

void roi_align_rotated(const char* op, const Stream& stream, const RoiProblem& p, const void* map,
                       void* workspace, void* bins) {
  const RotatedBox* const boxes = prepare(op, stream, p, workspace);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = in_packs<T>(p.channels, map, bins);
    Rotated<T> job = {shape_of(p), boxes, static_cast<const T*>(map), static_cast<T*>(bins), 0, 0};
    job.vectors = static_cast<int>(p.channels / (packed ? kPack<T> : 1));
    job.total = p.count * p.bins_h * p.bins_w * job.vectors;
    launch(op, stream, {blocks_of(job.total, kRoiThreads), kRoiThreads},
           packed ? roi_align_rotated_kernel<T, kPack<T>> : roi_align_rotated_kernel<T, 1>, job);
  });
}

void roi_align_rotated_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* bins,
                                void* workspace, void* map) {
  const RotatedBox* const boxes = prepare(op, stream, p, workspace);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = in_packs<T>(p.channels, map, bins);
    pull(op, stream, RotatedSource<T>{shape_of(p), static_cast<const T*>(bins), boxes}, static_cast<T*>(map),
         packed);
  });
}

}  // namespace pyvision::cuda
