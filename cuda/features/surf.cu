// SPDX-License-Identifier: Apache-2.0
// From a picture to keypoints: integral image, responses, maxima.
#include "features/surf.cuh"

#include <algorithm>

#include "core/parabola.h"
#include "features/falling.cuh"
#include "features/given.cuh"
#include "features/pixels.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kSurfThreads = 256;
constexpr int kLayers = 4, kOctaves = 4;

// Responses of an octave at every step-th pixel.
struct ResponseMaps {
  int octaves = 0;
  struct {
    float* data;  // (kLayers, rows, columns)
    int32_t rows, columns;
  } of[kOctaves];

  int64_t size(int octave) const { return int64_t{of[octave].rows} * of[octave].columns; }
};

__host__ __device__ inline int lobe_of(int octave, int layer) { return (2 << octave) * (layer + 1) + 1; }
__host__ __device__ inline int radius_of(int octave, int layer) {
  return (3 * lobe_of(octave, layer) - 1) / 2;
}

__global__ void __launch_bounds__(kSurfThreads)
    respond_kernel(IntegralSums sums, const __grid_constant__ ResponseMaps maps, int octave) {
  const int layer = static_cast<int>(blockIdx.y);
  const auto& map = maps.of[octave];
  const int64_t size = int64_t{map.rows} * map.columns, i = int64_t{blockIdx.x} * kSurfThreads + threadIdx.x;
  if (i >= size) return;
  const int y = static_cast<int>(i / map.columns) << octave, x = static_cast<int>(i % map.columns) << octave;
  const int l = lobe_of(octave, layer), h = l / 2, r = l + h;
  float response = 0;
  if (y >= r && x >= r && y + r < sums.h && x + r < sums.w) {
    const uint32_t* const middle = sums.data + int64_t{y} * (sums.w + 1) + x;
    // Of rows [top, bottom) and columns [left, right) around the pixel.
    const auto box = [&](int top, int bottom, int left, int right) {
      const uint32_t *a = middle + int64_t{top} * (sums.w + 1), *b = middle + int64_t{bottom} * (sums.w + 1);
      return b[right] - a[right] - (b[left] - a[left]);
    };
    const uint32_t xx = box(1 - l, l, -r, r + 1) - 3 * box(1 - l, l, -h, h + 1);
    const uint32_t yy = box(-r, r + 1, 1 - l, l) - 3 * box(-h, h + 1, 1 - l, l);
    const uint32_t xy =
        (box(-l, 0, -l, 0) - box(-l, 0, 1, l + 1)) - (box(1, l + 1, -l, 0) - box(1, l + 1, 1, l + 1));
    const float all = sums.unit / static_cast<float>(l * (2 * l - 1));
    const float a = static_cast<float>(static_cast<int32_t>(xx)) * all,
                b = static_cast<float>(static_cast<int32_t>(xy)) * all,
                c = static_cast<float>(static_cast<int32_t>(yy)) * all;
    response = a * c - 0.81f * (b * b);
  }
  map.data[layer * size + i] = response;
}

struct Maximum {
  float x, y, size;
};

// Moves a maximum between the grid's points and the layers, or refuses it.
__device__ bool refine(const float* middle, int64_t layer_step, int64_t row_step, int octave, int layer,
                       int row, int column, Maximum* found) {
  const auto at = [&](int l, int r, int c) {
    return static_cast<double>(middle[l * layer_step + r * row_step + c]);
  };
  double to[3];
  if (!(parabola_of(at).step_to_extremum(to) <= 1)) return false;
  const double step = 1 << octave;
  found->x = static_cast<float>((column + to[0]) * step);
  found->y = static_cast<float>((row + to[1]) * step);
  found->size = static_cast<float>(3 * lobe_of(octave, layer) + to[2] * (6 * step));
  return true;
}

struct FindMaxima {
  IntegralSums sums;
  ResponseMaps maps;
  float threshold;
  Allowed allowed;

  __device__ float response(int octave, int64_t item) const {
    return maps.of[octave].data[int64_t{maps.of[octave].rows} * maps.of[octave].columns + item];
  }
  // item: layer - 1, row, column
  __device__ bool find(int octave, int64_t item, Maximum* found) const {
    const auto& map = maps.of[octave];
    const int64_t size = int64_t{map.rows} * map.columns;
    if (item >= 2 * size) return false;
    const int layer = static_cast<int>(item / size) + 1, point = static_cast<int>(item % size);
    const int row = point / map.columns, column = point - row * map.columns;
    const int step = 1 << octave, reach = radius_of(octave, layer + 1);  // the next layer's filter has to fit
    if (row < 1 || column < 1 || row >= map.rows - 1 || column >= map.columns - 1) return false;
    if (row * step < reach || column * step < reach || row * step + reach >= sums.h ||
        column * step + reach >= sums.w)
      return false;
    const float* const middle = map.data + layer * size + point;
    const float v = *middle;
    if (!(v > threshold)) return false;
    for (int l = -1; l <= 1; ++l)
      for (int r = -1; r <= 1; ++r)
        for (int c = -1; c <= 1; ++c)
          if (!(middle[l * size + r * map.columns + c] <= v)) return false;
    return refine(middle, size, map.columns, octave, layer, row, column, found);
  }
  __device__ bool operator()(int octave, int64_t item) const {
    Maximum found;
    return find(octave, item, &found) && is_allowed(allowed, found.x, found.y);
  }
};

struct ListedMaxima {
  int32_t* items;
  uint8_t* octaves;
};

struct PutMaximum {
  FindMaxima maxima;
  ListedMaxima listed;
  FallingOrder order;
  __device__ void operator()(int octave, int64_t item, int32_t place) const {
    listed.items[place] = static_cast<int32_t>(item);
    listed.octaves[place] = static_cast<uint8_t>(octave);
    order.put(place, maxima.response(octave, item), place);
  }
};

__global__ void __launch_bounds__(kSurfThreads)
    put_kernel(const __grid_constant__ FindMaxima maxima, ListedMaxima listed, const int32_t* order,
               KeypointColumns keypoints) {
  const int64_t i = int64_t{blockIdx.x} * kSurfThreads + threadIdx.x;
  if (i == 0) *keypoints.count = static_cast<int32_t>(keypoints.room);
  if (i >= keypoints.room) return;
  const int octave = listed.octaves[order[i]];
  const int64_t item = listed.items[order[i]];
  Maximum found = {};
  maxima.find(octave, item, &found);
  constexpr float kNoAngle = -1;
  put_keypoint(keypoints, i, found.x, found.y, found.size, kNoAngle, maxima.response(octave, item), octave);
}

struct SearchSpace {
  Workspace workspace;
  IntegralSpace integral;
  ResponseMaps maps;
  Marks marks;

  SearchSpace(const SurfProblem& p, void* memory)
      : workspace(memory),
        integral(&workspace, p.h, p.w, p.floats),
        maps(maps_in(p, &workspace)),
        marks(&workspace, Chunks(p.octaves, [&](int o) { return 2 * maps.size(o); })) {}

  static ResponseMaps maps_in(const SurfProblem& p, Workspace* workspace) {
    ResponseMaps maps = {};
    maps.octaves = p.octaves;
    for (int o = 0; o < p.octaves; ++o) {
      maps.of[o].rows = (p.h + (1 << o) - 1) >> o, maps.of[o].columns = (p.w + (1 << o) - 1) >> o;
      maps.of[o].data = workspace->take<float>(kLayers * maps.size(o));
    }
    return maps;
  }
  FindMaxima maxima(const SurfProblem& p) const { return {integral.sums, maps, p.threshold, p.allowed}; }
};

struct PutSpace {
  Workspace workspace;
  ListedMaxima listed;
  FallingOrder order;

  PutSpace(const Stream& stream, int64_t n, void* memory)
      : workspace(memory),
        listed{workspace.take<int32_t>(n), workspace.take<uint8_t>(n)},
        order("SURF", stream, n, &workspace) {}
};

// The keypoints inside the picture that have a size below 1e5.
struct CanBeDescribed {
  GivenKeypoints keypoints;
  int32_t h, w;
  __device__ bool operator()(int, int64_t i) const {
    if (i >= keypoints.n) return false;
    const float x = keypoints.xy[2 * i], y = keypoints.xy[2 * i + 1], size = keypoints.size[i];
    return x >= 0 && y >= 0 && x < static_cast<float>(w) && y < static_cast<float>(h) &&
           fabsf(keypoints.angle[i]) <= 360 && size > 0 && size < 1e5f;
  }
};

DescribeSpace describe_space(const SurfProblem& p, const GivenKeypoints& keypoints, void* memory) {
  return {p.h, p.w, p.floats, keypoints, memory};
}

}  // namespace

size_t surf_search_bytes(const SurfProblem& p) { return SearchSpace(p, nullptr).workspace.bytes(); }

void surf_search(const char* op, const Stream& stream, const SurfProblem& p, void* search, int32_t* count) {
  const SearchSpace space(p, search);
  integrate(op, stream, p.picture, space.integral);
  for (int o = 0; o < p.octaves; ++o)
    launch(op, stream, {{blocks_of(space.maps.size(o), kSurfThreads), kLayers}, kSurfThreads}, respond_kernel,
           space.integral.sums, space.maps, o);
  mark(op, stream, space.marks, space.maxima(p));
  put_total(op, stream, space.marks, count);
}

size_t surf_put_bytes(const Stream& stream, int64_t maxima) {
  return PutSpace(stream, maxima, nullptr).workspace.bytes();
}

void surf_put(const char* op, const Stream& stream, const SurfProblem& p, void* search, int64_t maxima,
              void* workspace, const KeypointColumns& keypoints, float* descriptors) {
  const SearchSpace found(p, search);
  const PutSpace space(stream, maxima, workspace);
  list(op, stream, found.marks, PutMaximum{found.maxima(p), space.listed, space.order});
  space.order.sort(op, stream);
  launch(op, stream, {blocks_of(keypoints.room, kSurfThreads), kSurfThreads}, put_kernel, found.maxima(p),
         space.listed, space.order.sorted, keypoints);
  if (!p.upright) orient_surf(op, stream, found.integral.sums, keypoints);
  if (descriptors == nullptr) return;
  const GivenKeypoints given = {keypoints.xy, keypoints.size, keypoints.angle, keypoints.octave,
                                keypoints.room};
  describe_surf(op, stream, found.integral.sums, given, nullptr, keypoints.count, p.extended, descriptors);
}

size_t surf_describe_bytes(const SurfProblem& p, const GivenKeypoints& keypoints) {
  return describe_space(p, keypoints, nullptr).workspace.bytes();
}

void surf_describe(const char* op, const Stream& stream, const SurfProblem& p,
                   const GivenKeypoints& keypoints, void* workspace, int64_t* kept, int32_t* count,
                   float* descriptors) {
  const DescribeSpace space = describe_space(p, keypoints, workspace);
  list_kept(op, stream, space.marks, CanBeDescribed{keypoints, p.h, p.w}, kept, count);
  integrate(op, stream, p.picture, space.integral);
  describe_surf(op, stream, space.integral.sums, keypoints, kept, count, p.extended, descriptors);
}

}  // namespace pyvision::cuda
