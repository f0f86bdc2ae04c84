// SPDX-License-Identifier: Apache-2.0
#include "common/workspace.h"
#include "roi_kernels.cuh"

namespace pyvision::cuda {
namespace {

// A box whose bins lie where they were moved to.
struct MovedBox : AlignedBox {
  const float *offset_x, *offset_y, *mask;  // (bins), or null
  float step_y, step_x;                     // what offsets are multiplied by

  __device__ MovedBox(const RoiShape& s, const BinMoves& moves, int64_t k)
      : AlignedBox(s, k),
        offset_x(moves.offset ? moves.offset + 2 * k * s.bins() : nullptr),
        offset_y(moves.offset ? offset_x + s.bins() : nullptr),
        mask(moves.mask ? moves.mask + k * s.bins() : nullptr),
        step_y(moves.gamma * (height / static_cast<float>(s.bins_h)) * static_cast<float>(s.bins_h)),
        step_x(moves.gamma * (width / static_cast<float>(s.bins_w)) * static_cast<float>(s.bins_w)) {}

  __device__ float factor(int bin) const { return mask ? mask[bin] : 1.0f; }
  __device__ SampledAxis rows(const RoiShape& s, int bin) const {
    return moved(AlignedBox::rows(s), offset_y, step_y, bin);
  }
  __device__ SampledAxis columns(const RoiShape& s, int bin) const {
    return moved(AlignedBox::columns(s), offset_x, step_x, bin);
  }

 private:
  __device__ static SampledAxis moved(SampledAxis axis, const float* offset, float step, int bin) {
    if (offset) axis.low += step * offset[bin];
    return axis;
  }
};

// The mean of no samples is 0.
__device__ inline float share_of(const SampledBin& rows, const SampledBin& columns) {
  const float samples = rows.count * columns.count;
  return samples > 0 ? 1 / samples : 0.0f;
}

template <class T>
struct DeformRoiPool {
  RoiShape shape;
  BinMoves moves;
  const T* map;
  T* bins;
  int vectors;    // of a bin's channels
  int64_t total;  // vectors of all bins
};

// A thread: kVec channels of one bin.
template <class T, int kVec>
__global__ void __launch_bounds__(kRoiThreads, 2) deform_roi_pool_kernel(DeformRoiPool<T> job) {
  const RoiShape& s = job.shape;
  const int64_t index = int64_t{blockIdx.x} * kRoiThreads + threadIdx.x;
  if (index >= job.total) return;
  const BinPlace at(s, index, job.vectors);
  const MovedBox box(s, job.moves, at.k);
  const int bin = at.ph * s.bins_w + at.pw;
  float result[kVec] = {};
  if (box.exists) {
    const SampledBin rows = box.rows(s, bin).inside(at.ph), columns = box.columns(s, bin).inside(at.pw);
    const T* const map = job.map + box.image * s.h * s.w * s.channels + at.vector * kVec;
    const float weight = box.factor(bin) * share_of(rows, columns);
    for_each_point(s, rows, columns, [&](const BilinearPoint& point, float, float) {
      add_sample(map, static_cast<int>(s.w), s.channels, point, weight, result);
    });
  } else {
    for (int c = 0; c < kVec; ++c) result[c] = NAN;
  }
  store_floats<kVec>(result, job.bins + index * kVec);
}

// The pixels that the bins of a box may reach; none where there is no such box.
struct Reach {
  float top, left, bottom, right;
};

// A warp: a box.
__global__ void __launch_bounds__(kRoiThreads, 2) find_reaches(RoiShape s, BinMoves moves, Reach* reaches) {
  const int64_t k = (int64_t{blockIdx.x} * kRoiThreads + threadIdx.x) / 32;
  if (k >= s.count) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const MovedBox box(s, moves, k);
  Reach reach = {INFINITY, INFINITY, -INFINITY, -INFINITY};
  const auto widen = [](const SampledBin& samples, float* from, float* to) {
    const float end = samples.start + samples.size;
    *from = fminf(*from, fminf(samples.start, end) - 2);  // a sample reaches a pixel around; one for rounding
    *to = fmaxf(*to, fmaxf(samples.start, end) + 2);
  };
  for (int64_t bin = lane; box.exists && bin < s.bins(); bin += 32) {
    const auto at = static_cast<int>(bin);
    const SampledBin rows = box.rows(s, at).samples(at / s.bins_w);
    const SampledBin columns = box.columns(s, at).samples(at % s.bins_w);
    if (rows.first >= rows.last || columns.first >= columns.last) continue;
    widen(rows, &reach.top, &reach.bottom);
    widen(columns, &reach.left, &reach.right);
  }
  for (int apart = 16; apart > 0; apart /= 2) {
    reach.top = fminf(reach.top, __shfl_xor_sync(0xffffffffu, reach.top, apart));
    reach.left = fminf(reach.left, __shfl_xor_sync(0xffffffffu, reach.left, apart));
    reach.bottom = fmaxf(reach.bottom, __shfl_xor_sync(0xffffffffu, reach.bottom, apart));
    reach.right = fmaxf(reach.right, __shfl_xor_sync(0xffffffffu, reach.right, apart));
  }
  if (lane == 0) reaches[k] = reach;
}

template <class T>
struct MovedSource {
  using Item = T;
  static constexpr bool kPacks = true;
  RoiShape shape;
  BinMoves moves;
  const Reach* reaches;
  const T* bins;

  __device__ bool touches(int64_t k, int64_t image, int y, int first_x, int last_x) const {
    const AlignedBox box(shape, k);
    const Reach reach = reaches[k];
    const auto at = static_cast<float>(y);
    return box.exists && box.image == image && reach.top <= at && at <= reach.bottom &&
           reach.left <= static_cast<float>(last_x) && static_cast<float>(first_x) <= reach.right;
  }
  template <int kVec>
  __device__ void add(int64_t k, int y, int x, int channel, float (&sum)[kVec]) const {
    const RoiShape& s = shape;
    const MovedBox box(s, moves, k);
    for (int bin = 0; bin < s.bins(); ++bin) {  // any of them may have been moved here
      const float vertical = box.rows(s, bin).weight(bin / s.bins_w, y);
      if (vertical == 0) continue;
      const float both = vertical * box.columns(s, bin).weight(bin % s.bins_w, x);
      if (both == 0) continue;
      const float weight = both * box.factor(bin);
      float grad[kVec];
      load_floats<kVec>(bins + (k * s.bins() + bin) * s.channels + channel, grad);
      for (int c = 0; c < kVec; ++c) sum[c] = fmaf(weight, grad[c], sum[c]);
    }
  }
};

template <class T>
struct MoveGradients {
  RoiShape shape;
  BinMoves moves;
  const T *map, *grad;
  float *grad_offset, *grad_mask;  // or null
};

// A warp: a bin, whose channels its lanes share.
template <class T>
__global__ void __launch_bounds__(kRoiThreads, 2) move_gradients(MoveGradients<T> job) {
  const RoiShape& s = job.shape;
  const int64_t index = (int64_t{blockIdx.x} * kRoiThreads + threadIdx.x) / 32, k = index / s.bins();
  if (k >= s.count) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, bin = static_cast<int>(index % s.bins());
  const MovedBox box(s, job.moves, k);
  float by_mask = 0, by_y = 0, by_x = 0;
  if (box.exists) {
    const SampledBin rows = box.rows(s, bin).inside(bin / s.bins_w);
    const SampledBin columns = box.columns(s, bin).inside(bin % s.bins_w);
    const auto h = static_cast<int>(s.h), w = static_cast<int>(s.w);
    const T* const map = job.map + box.image * s.h * s.w * s.channels;
    const T* const grads = job.grad + index * s.channels;
    float value = 0, slope_y = 0, slope_x = 0;
    for_each_point(s, rows, columns, [&](const BilinearPoint& point, float y, float x) {
      const float down = y - static_cast<float>(point.y), right = x - static_cast<float>(point.x);
      // On the border a sample does not move with its bin.
      const bool moves_y = y > 0 && y < static_cast<float>(h - 1);
      const bool moves_x = x > 0 && x < static_cast<float>(w - 1);
      for (int64_t channel = lane; channel < s.channels; channel += 32) {
        const SampleSlopes sample = sample_slopes(map + channel, h, w, s.channels, point, down, right);
        const float grad = to_float(grads[channel]);
        value = fmaf(grad, sample.value, value);
        if (moves_y) slope_y = fmaf(grad, sample.by_y, slope_y);
        if (moves_x) slope_x = fmaf(grad, sample.by_x, slope_x);
      }
    });
    if (rows.first < rows.last && columns.first < columns.last) {
      const float share = share_of(rows, columns), weight = share * box.factor(bin);
      by_mask = share * value, by_y = weight * box.step_y * slope_y, by_x = weight * box.step_x * slope_x;
    }
  }
  for (int apart = 16; apart > 0; apart /= 2) {
    by_mask += __shfl_xor_sync(0xffffffffu, by_mask, apart);
    by_y += __shfl_xor_sync(0xffffffffu, by_y, apart);
    by_x += __shfl_xor_sync(0xffffffffu, by_x, apart);
  }
  if (lane != 0) return;
  if (job.grad_mask != nullptr) job.grad_mask[index] = by_mask;
  if (job.grad_offset != nullptr) {
    job.grad_offset[index + k * s.bins()] = by_x;
    job.grad_offset[index + (k + 1) * s.bins()] = by_y;
  }
}

template <class T>
void run(const char* op, const Stream& stream, const RoiProblem& p, const BinMoves& moves, const void* map,
         void* bins) {
  const bool packed = in_packs<T>(p.channels, map, bins);
  DeformRoiPool<T> job = {shape_of(p), moves, static_cast<const T*>(map), static_cast<T*>(bins), 0, 0};
  job.vectors = static_cast<int>(p.channels / (packed ? kPack<T> : 1));
  job.total = p.count * p.bins_h * p.bins_w * job.vectors;
  launch(op, stream, {blocks_of(job.total, kRoiThreads), kRoiThreads},
         packed ? deform_roi_pool_kernel<T, kPack<T>> : deform_roi_pool_kernel<T, 1>, job);
}

}  // namespace

void deform_roi_pool(const char* op, const Stream& stream, const RoiProblem& p, const BinMoves& moves,
                     const void* map, void* bins) {
  with_float(p.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, moves, map, bins); });
}

size_t deform_roi_pool_backward_workspace_bytes(const RoiProblem& p) {
  Workspace workspace;
  workspace.take<Reach>(p.count);
  return workspace.bytes();
}

void deform_roi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p,
                              const BinMoves& moves, const void* map, const void* grad, void* workspace,
                              void* grad_map, float* grad_offset, float* grad_mask) {
  Reach* const reaches = Workspace(workspace).take<Reach>(p.count);
  const RoiShape shape = shape_of(p);
  constexpr int kWarps = kRoiThreads / 32;
  launch(op, stream, {blocks_of(p.count, kWarps), kRoiThreads}, find_reaches, shape, moves, reaches);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const grads = static_cast<const T*>(grad);
    pull(op, stream, MovedSource<T>{shape, moves, reaches, grads}, static_cast<T*>(grad_map),
         in_packs<T>(p.channels, grad_map, grad));
    if (grad_offset == nullptr && grad_mask == nullptr) return;
    launch(op, stream, {blocks_of(p.count * p.bins_h * p.bins_w, kWarps), kRoiThreads}, move_gradients<T>,
           MoveGradients<T>{shape, moves, static_cast<const T*>(map), grads, grad_offset, grad_mask});
  });
}

}  // namespace pyvision::cuda
