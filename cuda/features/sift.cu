// SPDX-License-Identifier: Apache-2.0
// From the pyramid to keypoints.
#include "features/sift.cuh"

#include <algorithm>

#include "common/keys.cuh"
#include "common/sort.h"
#include "core/parabola.h"
#include "features/direction.cuh"
#include "features/lists.cuh"
#include "features/pixels.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kSiftThreads = 256, kWarps = kSiftThreads / 32;
constexpr int kMostAngles = kSiftAngleBins / 2;  // no two neighbours are peaks

// ---- extrema ----

struct IsExtremum {
  SiftPyramid pyramid;
  float threshold;

  __device__ bool operator()(int o, int64_t item) const {
    const SiftOctave& octave = pyramid.of[o];
    const int64_t size = int64_t{octave.h} * octave.w;
    if (item >= pyramid.layers * size) return false;
    const auto layer = static_cast<int>(item / size) + 1, pixel = static_cast<int>(item % size);
    const int y = pixel / octave.w, x = pixel - y * octave.w;
    constexpr int kBorder = static_cast<int>(kSiftBorder);
    if (x < kBorder || y < kBorder || x >= octave.w - kBorder || y >= octave.h - kBorder) return false;
    const auto difference = [&](int from, int64_t place) {
      const float* const image = octave.data + from * size + place;
      return image[size] - image[0];
    };
    const float v = difference(layer, pixel);
    if (!(fabsf(v) > threshold)) return false;
    const float sign = v > 0 ? 1.0f : -1.0f;  // of the value, that a neighbour may not exceed
    for (int i = 0; i < 3; ++i) {
      const int from =
          layer + (i == 0 ? 0 : 2 * i - 3);  // the layer itself first: it leaves one in some fifty
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx)
          if (!(sign * difference(from, pixel + int64_t{dy} * octave.w + dx) <= sign * v)) return false;
    }
    return true;
  }
};

struct Extrema {
  int32_t* items;  // layer - 1 and pixel
  uint8_t* octaves;
};

struct PutExtremum {
  Extrema extrema;
  __device__ void operator()(int octave, int64_t item, int32_t place) const {
    extrema.items[place] = static_cast<int32_t>(item);
    extrema.octaves[place] = static_cast<uint8_t>(octave);
  }
};

// ---- candidates ----

struct Candidate {
  float x, y, size, response;  // in pixels of the doubled image
  int32_t octave, layer, column, row;
};

constexpr uint64_t kRefused = ~uint64_t{0};

struct RefineLimits {
  double contrast, edge;
};

__device__ float to_given(float x) { return 0.5f * x - 0.25f; }

// Moves an extremum between the pixels and the layers, or refuses it.
__device__ bool refine(const SiftPyramid& pyramid, const RefineLimits& limits, int octave, int layer, int y,
                       int x, Candidate* found) {
  constexpr int kSteps = 5, kBorder = static_cast<int>(kSiftBorder);
  constexpr double kGrey = 1.0 / 255;
  const SiftOctave& images = pyramid.of[octave];
  const int64_t w = images.w, size = images.h * w;
  for (int i = 0; i < kSteps; ++i) {
    const float* const middle = images.data + layer * size + y * w + x;
    const Parabola3 p = parabola_of([&](int l, int row, int column) {  // differences of Gaussians
      const float* const pixel = middle + l * size + row * w + column;
      return kGrey * static_cast<double>(pixel[size] - pixel[0]);
    });
    double to[3];
    const double longest = p.step_to_extremum(to);
    if (!(longest < 1e6)) return false;
    if (longest >= 0.5) {
      x += static_cast<int>(rint(to[0]));
      y += static_cast<int>(rint(to[1]));
      layer += static_cast<int>(rint(to[2]));
      if (layer < 1 || layer > pyramid.layers || x < kBorder || x >= images.w - kBorder || y < kBorder ||
          y >= images.h - kBorder)
        return false;
      continue;
    }
    const double response = fabs(p.value + (p.dx * to[0] + p.dy * to[1] + p.ds * to[2]) / 2);
    if (response * pyramid.layers < limits.contrast) return false;
    const double trace = p.xx + p.yy, det = p.xx * p.yy - p.xy * p.xy;
    if (det <= 0 || trace * trace * limits.edge >= (limits.edge + 1) * (limits.edge + 1) * det) return false;
    const double unit = ldexp(1.0, octave);
    found->x = static_cast<float>((x + to[0]) * unit);
    found->y = static_cast<float>((y + to[1]) * unit);
    found->size = static_cast<float>(pyramid.sigma * exp2((layer + to[2]) / pyramid.layers) * unit * 2);
    found->response = static_cast<float>(response);
    found->octave = octave, found->layer = layer, found->column = x, found->row = y;
    return true;
  }
  return false;
}

// places: keys by octave, layer and pixel; responses: keys by which they fall; both greatest for what is
// refused
__global__ void __launch_bounds__(kSiftThreads)
    refine_kernel(const __grid_constant__ SiftPyramid pyramid, RefineLimits limits, Allowed allowed,
                  Extrema extrema, int64_t n, Candidate* candidates, uint64_t* places, uint32_t* responses,
                  int32_t* indices) {
  const int64_t i = int64_t{blockIdx.x} * kSiftThreads + threadIdx.x;
  if (i >= n) return;
  const int octave = extrema.octaves[i];
  const SiftOctave& images = pyramid.of[octave];
  const int64_t size = int64_t{images.h} * images.w, item = extrema.items[i];
  const auto layer = static_cast<int>(item / size) + 1, pixel = static_cast<int>(item % size);
  Candidate* const c = candidates + i;
  const bool kept = refine(pyramid, limits, octave, layer, pixel / images.w, pixel % images.w, c) &&
                    is_allowed(allowed, to_given(c->x), to_given(c->y));
  places[i] = kept ? uint64_t(octave) << 36 | uint64_t(c->layer) << 32 |
                         static_cast<uint64_t>(c->row * images.w + c->column)
                   : kRefused;
  responses[i] = kept ? falling_key(c->response) : ~0u;
  indices[i] = static_cast<int32_t>(i);
}

__global__ void __launch_bounds__(kSiftThreads)
    gather_keys(const uint32_t* keys, const int32_t* order, int64_t n, uint32_t* gathered) {
  const int64_t i = int64_t{blockIdx.x} * kSiftThreads + threadIdx.x;
  if (i < n) gathered[i] = keys[order[i]];
}

// Two extrema may move to one place: then they stand side by side.
struct IsFirstOfPlace {
  const uint64_t* places;
  const int32_t* order;
  int64_t n;
  __device__ bool operator()(int, int64_t i) const {
    if (i >= n || places[order[i]] == kRefused) return false;
    return i == 0 || places[order[i]] != places[order[i - 1]];
  }
};

struct PutChosen {
  const int32_t* order;
  int32_t* chosen;
  __device__ void operator()(int, int64_t i, int32_t place) const { chosen[place] = order[i]; }
};

// ---- angles ----

struct Angles {
  int32_t *counts, *ends;  // (n,), and their running sums
  float* degrees;          // (n, kMostAngles), clockwise on screen
};

// A warp: a candidate. Each lane has a histogram of its own, and all are added up in one order.
__global__ void __launch_bounds__(kSiftThreads)
    angles_kernel(const __grid_constant__ SiftPyramid pyramid, const Candidate* candidates,
                  const int32_t* chosen, const int32_t* count, int64_t most, int64_t n, Angles angles) {
  constexpr int kBins = kSiftAngleBins, kWeights = 64;  // a radius is 51 at most
  __shared__ float histograms[kWarps][kBins][32];       // a bank for each lane
  __shared__ float all_weights[kWarps][kWeights], all_raw[kWarps][kBins], all_smooth[kWarps][kBins];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t i = int64_t{blockIdx.x} * kWarps + warp;
  if (i >= n) return;
  if (i >= min(static_cast<int64_t>(*count), most)) {
    if (lane == 0) angles.counts[i] = 0;
    return;
  }
  const Candidate c = candidates[chosen[i]];
  const SiftOctave& images = pyramid.of[c.octave];
  const float* const image = images.data + int64_t{c.layer} * images.h * images.w;
  float (&histogram)[kBins][32] = histograms[warp];
  float *weights = all_weights[warp], *raw = all_raw[warp], *smooth = all_smooth[warp];
  const double sigma = 1.5 * (0.5 * static_cast<double>(c.size) / ldexp(1.0, c.octave));
  const int radius = min(static_cast<int>(rint(3 * sigma)), kWeights - 1);
  for (int k = lane; k <= radius; k += 32)
    weights[k] = static_cast<float>(exp(-0.5 * (k * k) / (sigma * sigma)));
  for (int bin = 0; bin < kBins; ++bin) histogram[bin][lane] = 0;
  __syncwarp();
  const int left = max(1, c.column - radius), right = min(images.w - 2, c.column + radius);
  const int top = max(1, c.row - radius), bottom = min(images.h - 2, c.row + radius);
  for (int y = top; y <= bottom; ++y) {
    const float* const row = image + int64_t{y} * images.w;
    for (int x = left + lane; x <= right; x += 32) {
      const float dx = row[x + 1] - row[x - 1], dy = row[x - images.w] - row[x + images.w];
      const float magnitude = sqrtf(dx * dx + dy * dy);
      const int bin = static_cast<int>(direction(dx, dy) * (kBins / 360.0f) + 0.5f) % kBins;
      histogram[bin][lane] += weights[abs(y - c.row)] * weights[abs(x - c.column)] * magnitude;
    }
  }
  __syncwarp();
  for (int bin = lane; bin < kBins; bin += 32) {
    float sum = 0;
    for (int k = 0; k < 32; ++k) sum += histogram[bin][(bin + k) % 32];  // from different banks
    raw[bin] = sum;
  }
  __syncwarp();
  const auto at = [](const float* bins, int bin) { return bins[(bin + kBins) % kBins]; };
  for (int bin = lane; bin < kBins; bin += 32)
    smooth[bin] = (at(raw, bin - 2) + at(raw, bin + 2)) * (1.0f / 16) +
                  (at(raw, bin - 1) + at(raw, bin + 1)) * (4.0f / 16) + raw[bin] * (6.0f / 16);
  __syncwarp();
  float highest = fmaxf(smooth[lane], smooth[32 + lane % (kBins - 32)]);
  for (int apart = 16; apart > 0; apart /= 2)
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, apart));
  int found = 0;
  for (int first = 0; first < kBins; first += 32) {
    const int bin = first + lane;
    const float before = at(smooth, bin - 1), here = at(smooth, bin), after = at(smooth, bin + 1);
    const bool peak = bin < kBins && here > before && here > after && here >= 0.8f * highest;
    const uint32_t peaks = __ballot_sync(0xffffffffu, peak);
    if (peak) {
      const float exact = static_cast<float>(bin) + 0.5f * (before - after) / (before - 2 * here + after);
      const float angle = fmodf(720 - exact * (360.0f / kBins), 360.0f);
      angles.degrees[i * kMostAngles + found + __popc(peaks & ((1u << lane) - 1))] = angle < 360 ? angle : 0;
    }
    found += __popc(peaks);
  }
  if (lane == 0) angles.counts[i] = found;
}

__global__ void __launch_bounds__(kSiftThreads)
    put_kernel(const Candidate* candidates, const int32_t* chosen, Angles angles, int64_t n,
               KeypointColumns keypoints) {
  const int64_t i = int64_t{blockIdx.x} * kSiftThreads + threadIdx.x;
  if (i == 0) *keypoints.count = static_cast<int32_t>(keypoints.room);
  if (i >= n) return;
  const int32_t count = angles.counts[i], begin = angles.ends[i] - count;
  for (int32_t k = 0; k < count && begin + k < keypoints.room; ++k) {
    const Candidate& c = candidates[chosen[i]];
    put_keypoint(keypoints, begin + k, to_given(c.x), to_given(c.y), 0.5f * c.size,
                 angles.degrees[i * kMostAngles + k], c.response, c.octave - 1);
  }
}

Chunks chunks_of(const SiftPyramid& pyramid) {
  return Chunks(pyramid.count,
                [&](int o) { return int64_t{pyramid.layers} * pyramid.of[o].h * pyramid.of[o].w; });
}

struct SearchSpace {
  Workspace workspace;
  SiftPyramid pyramid;
  Marks marks;

  SearchSpace(const SiftProblem& p, void* memory)
      : workspace(memory),
        pyramid(sift_pyramid(p, workspace.take<char>(static_cast<int64_t>(sift_pyramid_bytes(p))))),
        marks(&workspace, chunks_of(pyramid)) {}
};

struct RatedSpace {
  Workspace workspace;
  Extrema extrema;
  Candidate* candidates;
  uint64_t *places, *sorted_places;
  uint32_t *responses, *keys, *sorted_keys;
  int32_t *indices, *by_place, *order, *chosen;
  Angles angles;
  size_t sort_bytes;
  char* sort_memory;
  Marks marks;

  RatedSpace(const Stream& stream, int64_t n, void* memory)
      : workspace(memory),
        extrema{workspace.take<int32_t>(n), workspace.take<uint8_t>(n)},
        candidates(workspace.take<Candidate>(n)),
        places(workspace.take<uint64_t>(n)),
        sorted_places(workspace.take<uint64_t>(n)),
        responses(workspace.take<uint32_t>(n)),
        keys(workspace.take<uint32_t>(n)),
        sorted_keys(workspace.take<uint32_t>(n)),
        indices(workspace.take<int32_t>(n)),
        by_place(workspace.take<int32_t>(n)),
        order(workspace.take<int32_t>(n)),
        chosen(workspace.take<int32_t>(n)),
        angles{workspace.take<int32_t>(n), workspace.take<int32_t>(n),
               workspace.take<float>(n * kMostAngles)},
        sort_bytes(std::max(sort_temporary_bytes<uint64_t>("SIFT", stream, n),
                            sort_temporary_bytes<uint32_t>("SIFT", stream, n))),
        sort_memory(workspace.take<char>(static_cast<int64_t>(sort_bytes))),
        marks(&workspace, Chunks(n)) {}
};

int64_t most_features(const SiftProblem& p) {
  return p.params.max_features > 0 ? p.params.max_features : INT32_MAX;
}

}  // namespace

size_t sift_search_bytes(const SiftProblem& p) { return SearchSpace(p, nullptr).workspace.bytes(); }

void sift_search(const char* op, const Stream& stream, const SiftProblem& p, void* search, int32_t* count) {
  const SearchSpace space(p, search);
  fill_sift_pyramid(op, stream, p, space.pyramid);
  mark(op, stream, space.marks, IsExtremum{space.pyramid, p.params.least_difference()});
  put_total(op, stream, space.marks, count);
}

size_t sift_rate_bytes(const Stream& stream, int64_t extrema) {
  return RatedSpace(stream, extrema, nullptr).workspace.bytes();
}

void sift_rate(const char* op, const Stream& stream, const SiftProblem& p, void* search, int64_t n,
               void* rated, int32_t* count) {
  const SearchSpace found(p, search);
  const RatedSpace space(stream, n, rated);
  const LaunchShape shape = {blocks_of(n, kSiftThreads), kSiftThreads};
  list(op, stream, found.marks, PutExtremum{space.extrema});
  launch(op, stream, shape, refine_kernel, found.pyramid, RefineLimits{p.params.contrast, p.params.edge},
         p.allowed, space.extrema, n, space.candidates, space.places, space.responses, space.indices);
  // By falling response, equal ones by place.
  sort_pairs(op, stream, space.places, space.indices, n, space.sort_memory, space.sort_bytes,
             space.sorted_places, space.by_place);
  launch(op, stream, shape, gather_keys, space.responses, space.by_place, n, space.keys);
  sort_pairs(op, stream, space.keys, space.by_place, n, space.sort_memory, space.sort_bytes,
             space.sorted_keys, space.order);
  mark(op, stream, space.marks, IsFirstOfPlace{space.places, space.order, n});
  list(op, stream, space.marks, PutChosen{space.order, space.chosen});
  launch(op, stream, {blocks_of(n, kWarps), kSiftThreads}, angles_kernel, found.pyramid, space.candidates,
         space.chosen, space.marks.total(), most_features(p), n, space.angles);
  inclusive_scan(op, stream, space.angles.counts, n, space.angles.ends);
  put_last(op, stream, space.angles.ends, n, most_features(p), count);
}

void sift_put(const char* op, const Stream& stream, int64_t n, void* rated,
              const KeypointColumns& keypoints) {
  const RatedSpace space(stream, n, rated);
  launch(op, stream, {blocks_of(n, kSiftThreads), kSiftThreads}, put_kernel, space.candidates, space.chosen,
         space.angles, n, keypoints);
}

}  // namespace pyvision::cuda
