// SPDX-License-Identifier: Apache-2.0
// Weighted sums of bilinear samples, and their gradients: what DCNv3, DCNv4, deformable attention,
// grid_sample and the gradient of deform_conv2d have in common.
//
//   out[o, :] = sum over taps t of scale(o, t) * map(plane of o, y(o, t), x(o, t), :)
//
// Outputs o = (image, place, group) see the channels of their group of their image's map, whose pixels lie in
// memory as (images, pixels, groups, channels); outputs as (images, places, groups, channels).
//
// No sample may add to a map's gradient by itself, for who comes first would show in the sum. Instead samples
// are sorted by their upper left pixel, stably, and every pixel pulls from the lists of the up to four pixels
// whose samples reach it.
#pragma once

#include "common/launch.cuh"
#include "common/sampling.cuh"
#include "common/sort.h"
#include "common/workspace.h"

namespace pyvision::cuda {

constexpr int kSumThreads = 256;

struct SampledShape {
  int64_t images = 0, pixels = 0, places = 0;
  int groups = 1, channels = 0, taps = 0;

  __host__ __device__ int64_t outputs() const { return images * places * groups; }
  __host__ __device__ int64_t samples() const { return outputs() * taps; }
  __host__ __device__ int64_t cells() const { return images * pixels * groups; }  // pixels of a group
  __host__ __device__ int64_t stride() const { return int64_t{groups} * channels; }
};

struct OutputPlace {
  int64_t place;  // [0, images * places)
  int group;

  __device__ OutputPlace(const SampledShape& s, int64_t output)
      : place(output / s.groups), group(static_cast<int>(output % s.groups)) {}
};

// Where a sample lies on its plane: rows and columns of a map that begins at pixel `first`.
struct Sample {
  float y, x, scale;
  int h, w;
  int64_t first;
};
// A pixel of a plane.
struct PlanePixel {
  int y, x, w;
  int64_t first;
};

// Sources, with Item the type that is stored:
//   SampledShape shape;  const Item* map;
//   Sample sample(place, group, tap)
//   PlanePixel pixel(int64_t pixel)                      of [0, pixels)
//   const Item* grad(place, group, tap, channel)         the gradient of what the sample is added to
//   void store(place, group, tap, sample, by_scale, by_y, by_x)
template <class Source>
__device__ __forceinline__ const typename Source::Item* plane_of(const Source& source, const OutputPlace& at,
                                                                 const Sample& sample) {
  const SampledShape& s = source.shape;
  return source.map + (at.place / s.places * s.pixels + sample.first) * s.stride() +
         int64_t{at.group} * s.channels;
}

// A thread: kVec channels of one output.
template <class Source, int kVec>
__global__ void __launch_bounds__(kSumThreads, 2) sum_samples(Source source, typename Source::Item* out) {
  const SampledShape& s = source.shape;
  const int vectors = s.channels / kVec;
  const int64_t index = int64_t{blockIdx.x} * kSumThreads + threadIdx.x, output = index / vectors;
  if (output >= s.outputs()) return;
  const auto channel = static_cast<int>(index % vectors) * kVec;
  const OutputPlace at(s, output);
  float sum[kVec] = {};
  for (int tap = 0; tap < s.taps; ++tap) {
    const Sample sample = source.sample(at.place, at.group, tap);
    BilinearPoint point;
    if (point.locate(sample.y, sample.x, sample.h, sample.w))
      add_sample(plane_of(source, at, sample) + channel, sample.w, s.stride(), point, sample.scale, sum);
  }
  store_floats<kVec>(sum, out + output * s.channels + channel);
}

// A warp: the gradients of one sample's scale and position.
template <class Source>
__global__ void __launch_bounds__(kSumThreads, 2) sample_gradients(Source source) {
  const SampledShape& s = source.shape;
  const int64_t index = (int64_t{blockIdx.x} * kSumThreads + threadIdx.x) / 32;
  if (index >= s.samples()) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, tap = static_cast<int>(index % s.taps);
  const OutputPlace at(s, index / s.taps);
  const Sample sample = source.sample(at.place, at.group, tap);
  BilinearPoint point;
  float by_scale = 0, by_y = 0, by_x = 0;
  if (point.locate(sample.y, sample.x, sample.h, sample.w)) {
    const auto* const map = plane_of(source, at, sample);
    const float down = sample.y - floorf(sample.y), right = sample.x - floorf(sample.x);
    for (int channel = lane; channel < s.channels; channel += 32) {
      const SampleSlopes at_point =
          sample_slopes(map + channel, sample.h, sample.w, s.stride(), point, down, right);
      const float grad = to_float(*source.grad(at.place, at.group, tap, channel));
      by_scale = fmaf(grad, at_point.value, by_scale);
      by_y = fmaf(grad, at_point.by_y, by_y);
      by_x = fmaf(grad, at_point.by_x, by_x);
    }
  }
  for (int apart = 16; apart > 0; apart /= 2) {
    by_scale += __shfl_xor_sync(0xffffffffu, by_scale, apart);
    by_y += __shfl_xor_sync(0xffffffffu, by_y, apart);
    by_x += __shfl_xor_sync(0xffffffffu, by_x, apart);
  }
  if (lane == 0)
    source.store(at.place, at.group, tap, sample, by_scale, by_y * sample.scale, by_x * sample.scale);
}

// Of a sample that is somewhere: what its pixels need to know of it.
struct SampleRecord {
  float y, x, scale, unused;
};

// Keys: (image, upper left pixel inside the map, group); the number of cells where a sample is nowhere.
template <class Source, class Key>
__global__ void __launch_bounds__(kSumThreads, 2)
    find_cells(Source source, Key* keys, int32_t* samples, SampleRecord* records) {
  const SampledShape& s = source.shape;
  const int64_t index = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (index >= s.samples()) return;
  const OutputPlace at(s, index / s.taps);
  const Sample sample = source.sample(at.place, at.group, static_cast<int>(index % s.taps));
  BilinearPoint point;
  int64_t key = s.cells();
  if (point.locate(sample.y, sample.x, sample.h, sample.w)) {
    const int64_t pixel = sample.first + int64_t{max(point.y, 0)} * sample.w + max(point.x, 0);
    key = (at.place / s.places * s.pixels + pixel) * s.groups + at.group;
  }
  keys[index] = static_cast<Key>(key);
  samples[index] = static_cast<int32_t>(index);
  records[index] = {sample.y, sample.x, sample.scale, 0};
}

// starts[cell]: the first of the sorted samples that is of this cell or of a later one. (cells + 1,)
template <class Key>
__global__ void find_starts(const Key* sorted, int64_t samples, int64_t cells, int32_t* starts) {
  const int64_t cell = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (cell > cells) return;
  int64_t low = 0, high = samples;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (sorted[middle] < static_cast<Key>(cell)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  starts[cell] = static_cast<int32_t>(low);
}

// A thread: kVec channels of one pixel's gradient.
template <class Source, int kVec>
__global__ void __launch_bounds__(kSumThreads, 2)
    pull_samples(Source source, const int32_t* starts, const int32_t* samples, const SampleRecord* records,
                 typename Source::Item* grad_map) {
  const SampledShape& s = source.shape;
  const int vectors = s.channels / kVec;
  const int64_t index = int64_t{blockIdx.x} * kSumThreads + threadIdx.x, cell = index / vectors;
  if (cell >= s.cells()) return;
  const auto channel = static_cast<int>(index % vectors) * kVec;
  const int64_t image = cell / s.groups / s.pixels;
  const PlanePixel pixel = source.pixel(cell / s.groups % s.pixels);
  float sum[kVec] = {};
  for (int y = max(pixel.y - 1, 0); y <= pixel.y; ++y) {
    for (int x = max(pixel.x - 1, 0); x <= pixel.x; ++x) {
      const int64_t corner =
          (image * s.pixels + pixel.first + int64_t{y} * pixel.w + x) * s.groups + cell % s.groups;
      for (int32_t i = starts[corner]; i < starts[corner + 1]; ++i) {
        const int64_t sample = samples[i];
        const SampleRecord record = records[sample];
        const float weight = fmaxf(0.0f, 1 - fabsf(record.y - static_cast<float>(pixel.y))) *
                             fmaxf(0.0f, 1 - fabsf(record.x - static_cast<float>(pixel.x))) * record.scale;
        if (weight == 0) continue;
        const OutputPlace at(s, sample / s.taps);
        float grad[kVec];
        load_floats<kVec>(source.grad(at.place, at.group, static_cast<int>(sample % s.taps), channel), grad);
        for (int c = 0; c < kVec; ++c) sum[c] = fmaf(weight, grad[c], sum[c]);
      }
    }
  }
  store_floats<kVec>(sum, grad_map + cell * s.channels + channel);
}

template <class Source>
void run_sums(const char* op, const Stream& stream, const Source& source, typename Source::Item* out,
              bool packed) {
  constexpr int kVec = kPack<typename Source::Item>;
  const int64_t threads = source.shape.outputs() * (source.shape.channels / (packed ? kVec : 1));
  launch(op, stream, {blocks_of(threads, kSumThreads), kSumThreads},
         packed ? sum_samples<Source, kVec> : sum_samples<Source, 1>, source, out);
}

template <class Source>
void run_sample_gradients(const char* op, const Stream& stream, const Source& source) {
  launch(op, stream, {blocks_of(source.shape.samples() * 32, kSumThreads), kSumThreads},
         sample_gradients<Source>, source);
}

// The arrays of a pull.
template <class Key>
struct PullSpace {
  Key *keys, *sorted_keys;
  int32_t *samples, *sorted_samples, *starts;
  SampleRecord* records;
  void* temporary;
  size_t temporary_bytes;

  PullSpace(const char* op, const Stream& stream, const SampledShape& s, Workspace* workspace) {
    const int64_t count = s.samples();
    keys = workspace->take<Key>(count), sorted_keys = workspace->take<Key>(count);
    samples = workspace->take<int32_t>(count), sorted_samples = workspace->take<int32_t>(count);
    starts = workspace->take<int32_t>(s.cells() + 1);
    records = workspace->take<SampleRecord>(count);
    temporary_bytes = sort_temporary_bytes<Key>(op, stream, count);
    temporary = workspace->take<char>(static_cast<int64_t>(temporary_bytes));
  }
};

// run(Key{}) of the smallest key that names all cells.
template <class Run>
void with_key(const SampledShape& s, Run run) {
  if (s.cells() < int64_t{UINT32_MAX}) return run(uint32_t{});
  run(uint64_t{});
}

inline void take_pull_space(const char* op, const Stream& stream, const SampledShape& s,
                            Workspace* workspace) {
  with_key(s, [&](auto key) { PullSpace<decltype(key)>(op, stream, s, workspace); });
}

// The gradient of the map. Sources of fewer than 2^31 samples.
template <class Source>
void run_pull(const char* op, const Stream& stream, const Source& source, Workspace* workspace,
              typename Source::Item* grad_map, bool packed) {
  const SampledShape& s = source.shape;
  with_key(s, [&](auto zero) {
    using Key = decltype(zero);
    const PullSpace<Key> space(op, stream, s, workspace);
    const int64_t count = s.samples();
    if (count > 0) {
      launch(op, stream, {blocks_of(count, kSumThreads), kSumThreads}, find_cells<Source, Key>, source,
             space.keys, space.samples, space.records);
      sort_pairs(op, stream, space.keys, space.samples, count, space.temporary, space.temporary_bytes,
                 space.sorted_keys, space.sorted_samples);
    }
    launch(op, stream, {blocks_of(s.cells() + 1, kSumThreads), kSumThreads}, find_starts<Key>,
           space.sorted_keys, count, s.cells(), space.starts);
    constexpr int kVec = kPack<typename Source::Item>;
    const int64_t threads = s.cells() * (s.channels / (packed ? kVec : 1));
    launch(op, stream, {blocks_of(threads, kSumThreads), kSumThreads},
           packed ? pull_samples<Source, kVec> : pull_samples<Source, 1>, source, space.starts,
           space.sorted_samples, space.records, grad_map);
  });
}

}  // namespace pyvision::cuda
