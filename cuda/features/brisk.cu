// SPDX-License-Identifier: Apache-2.0
#include "features/brisk.cuh"

#include <algorithm>

#include "features/corners.cuh"
#include "features/falling.cuh"
#include "features/given.cuh"
#include "features/grey.cuh"
#include "features/pixels.cuh"
#include "ops/brisk/peak.h"

namespace pyvision::cuda {
namespace {

constexpr int kBriskThreads = 256, kWarps = kBriskThreads / 32;
constexpr int kRefineThreads = 128;  // with doubles in many registers
constexpr int kMaxLayers = 2 * static_cast<int>(kMaxBriskOctaves);
constexpr int kFitReach = 4;  // of a parabola's scores and their circles
constexpr double kPi = 3.14159265358979323846;

__global__ void __launch_bounds__(kBriskThreads) two_thirds_kernel(Level x, Level y) {
  const int64_t i = int64_t{blockIdx.x} * kBriskThreads + threadIdx.x;
  if (i >= int64_t{y.h} * y.w) return;
  const int row = static_cast<int>(i) / y.w, column = static_cast<int>(i) - row * y.w;
  const uint8_t* const three = x.data + int64_t{row / 2 * 3} * x.w;
  const uint8_t *whole = three + row % 2 * 2 * x.w, *half = three + x.w;
  const auto sum = [&](int at) { return 2 * whole[at] + half[at]; };
  const int first = column / 2 * 3;
  y.data[i] = static_cast<uint8_t>((2 * sum(first + column % 2 * 2) + sum(first + 1) + 4) / 9);
}

struct Steps {
  double scale, x, y;  // pixels of the picture to one of the layer: nominally, and as it was rounded
};

// A layer as the search for corners sees it. Its scores are those of a threshold of 0, which a fit takes.
struct Layer {
  const uint8_t* scores;
  int w, h, threshold;
  Steps steps;

  __device__ int score(int x, int y) const {
    const int value = scores[int64_t{y} * w + x];
    return value > threshold ? value : 0;
  }
  __device__ double to_picture_x(double x) const { return (x + 0.5) * steps.x - 0.5; }
  __device__ double to_picture_y(double y) const { return (y + 0.5) * steps.y - 0.5; }
  __device__ double from_picture_x(double x) const { return (x + 0.5) / steps.x - 0.5; }
  __device__ double from_picture_y(double y) const { return (y + 0.5) / steps.y - 0.5; }
};

struct Layers {
  Levels levels;
  ScoreMaps scores, small_scores;  // of 16 pixels and, of the picture alone, of 8
  int threshold;
  Steps steps[kMaxLayers];

  __device__ Layer of(int l) const {
    return {scores.of[l], levels.of[l].w, levels.of[l].h, threshold, steps[l]};
  }
};

// Whether no neighbour in the layer exceeds a corner, and of equal ones none that comes before it or stands
// among higher ones.
struct IsHighest {
  Layers layers;

  __device__ bool operator()(int l, int64_t item) const {
    const Level& level = layers.levels.of[l];
    if (item >= int64_t{level.h} * level.w) return false;
    if (layers.scores.of[l][item] <= layers.threshold) return false;
    const Layer layer = layers.of(l);
    const int y = static_cast<int>(item) / layer.w, x = static_cast<int>(item) - y * layer.w;
    const int score = layer.score(x, y);
    bool ties = false;
    for (int dy = -1; dy <= 1; ++dy) {
      for (int dx = -1; dx <= 1; ++dx) {
        const int other = layer.score(x + dx, y + dy);
        if (other > score) return false;
        ties |= other == score && (dx != 0 || dy != 0);
      }
    }
    if (!ties) return true;
    const auto around = [&](int u, int v) {
      const auto at = [&](int dx, int dy) { return layer.score(u + dx, v + dy); };
      return 4 * at(0, 0) + 2 * (at(-1, 0) + at(1, 0) + at(0, -1) + at(0, 1)) + at(-1, -1) + at(1, -1) +
             at(-1, 1) + at(1, 1);
    };
    const int mine = around(x, y);
    for (int dy = -1; dy <= 1; ++dy) {
      for (int dx = -1; dx <= 1; ++dx) {
        if ((dx == 0 && dy == 0) || layer.score(x + dx, y + dy) != score) continue;
        const int theirs = around(x + dx, y + dy);
        if (theirs > mine || (theirs == mine && (dy < 0 || (dy == 0 && dx < 0)))) return false;
      }
    }
    return true;
  }
};

__device__ bool has_fit(const Layer& layer, int x, int y) {
  return x >= kFitReach && y >= kFitReach && x < layer.w - kFitReach && y < layer.h - kFitReach;
}

// A score as a threshold.
__device__ int above_zero(int score) { return max(score - 1, 0); }

// The peak, in pixels of the picture, of a corner or of what a neighbouring layer has there.
__device__ BriskPeak peak_at(const Layer& layer, int x, int y) {
  BriskPeak peak = {};
  if (has_fit(layer, x, y)) {
    const uint8_t* const middle = layer.scores + int64_t{y} * layer.w + x;
    peak = fitted_peak([&](int dx, int dy) { return above_zero(middle[int64_t{dy} * layer.w + dx]); });
  }
  return {layer.to_picture_x(x + peak.x), layer.to_picture_y(y + peak.y),
          fmax(peak.value, static_cast<double>(layer.score(x, y) - 1))};
}

// The peak that a neighbouring layer has where `layer` has a corner, and whether it is no higher than that.
__device__ bool neighbour_peak(const Layer& layer, const Layer& other, int x, int y, BriskPeak* peak) {
  const double u = other.from_picture_x(layer.to_picture_x(x)),
               v = other.from_picture_y(layer.to_picture_y(y));
  const double reach = 0.5 * layer.steps.scale / other.steps.scale;  // the corner's pixel
  const auto index = [](double value, int extent) {
    return min(max(static_cast<int>(value), 0), extent - 1);
  };
  const int left = index(ceil(u - reach), other.w), right = index(floor(u + reach), other.w);
  const int top = index(ceil(v - reach), other.h), bottom = index(floor(v + reach), other.h);
  int best_x = index(rint(u), other.w), best_y = index(rint(v), other.h), best = other.score(best_x, best_y);
  const int limit = layer.score(x, y);
  if (best > limit) return false;
  for (int j = top; j <= bottom; ++j) {
    for (int i = left; i <= right; ++i) {
      const int score = other.score(i, j);
      if (score > limit) return false;
      if (score > best) best_x = i, best_y = j, best = score;
    }
  }
  *peak = peak_at(other, best_x, best_y);
  return true;
}

struct Found {
  float x, y, size, response;
};

// A corner between the pixels and the layers, unless it is lower than what a layer above or below has there.
__device__ bool refine(const Layers& layers, int l, int x, int y, Found* found) {
  const Layer layer = layers.of(l);
  const bool has_above = l + 1 < layers.levels.count;
  BriskPeak below = {}, above = {};
  if (has_above && !neighbour_peak(layer, layers.of(l + 1), x, y, &above)) return false;
  if (l > 0 && !neighbour_peak(layer, layers.of(l - 1), x, y, &below)) return false;
  BriskPeak peak = peak_at(layer, x, y);
  double scale = 1;
  if (has_above) {
    const double scale_above = layers.steps[l + 1].scale / layer.steps.scale;
    double scale_below = kBriskBelow;
    if (l > 0) {
      scale_below = layers.steps[l - 1].scale / layer.steps.scale;
    } else {
      int greatest = 0;
      const uint8_t* const middle = layers.small_scores.of[0] + int64_t{y} * layer.w + x;
      if (has_fit(layer, x, y))
        for (int i = 0; i < 9; ++i)
          greatest = max(greatest, above_zero(middle[int64_t{i / 3 - 1} * layer.w + i % 3 - 1]));
      below = {peak.x, peak.y, static_cast<double>(greatest)};
    }
    peak = peak_between(below, peak, above, scale_below, scale_above, &scale);
  }
  found->x = static_cast<float>(peak.x);
  found->y = static_cast<float>(peak.y);
  found->size = static_cast<float>(static_cast<double>(kBriskCornerSize) * scale * layer.steps.scale);
  found->response = static_cast<float>(peak.value);
  return true;
}

// Whether the pattern around a keypoint lies in the picture.
__device__ bool fits(float x, float y, float size, float pattern_reach, int h, int w) {
  const float reach = fmaxf(pattern_reach * (size / kBriskSizePerT), 1.0f) + 2;  // and what rounding adds
  return size > 0 && x >= reach && y >= reach && x < static_cast<float>(w) - reach &&
         y < static_cast<float>(h) - reach;
}

// The layers' highest corners: what they become, and of which layer. A response of 0: nothing.
struct Candidates {
  int32_t* items;
  uint8_t* layers;
  Found* found;
  int64_t room;
};

struct PutCandidate {
  Candidates candidates;
  __device__ void operator()(int layer, int64_t item, int32_t place) const {
    candidates.items[place] = static_cast<int32_t>(item);
    candidates.layers[place] = static_cast<uint8_t>(layer);
  }
};

__global__ void __launch_bounds__(kRefineThreads)
    refine_kernel(const __grid_constant__ Layers layers, Candidates candidates, const int32_t* count,
                  Allowed allowed, float pattern_reach) {
  const int64_t i = int64_t{blockIdx.x} * kRefineThreads + threadIdx.x;
  if (i >= *count) return;
  const int l = candidates.layers[i], w = layers.levels.of[l].w, y = candidates.items[i] / w,
            x = candidates.items[i] - y * w;
  const Level& picture = layers.levels.of[0];
  Found found;
  const bool stays = refine(layers, l, x, y, &found) &&
                     found.response > static_cast<float>(layers.threshold) &&
                     is_allowed(allowed, found.x, found.y) &&
                     fits(found.x, found.y, found.size, pattern_reach, picture.h, picture.w);
  if (!stays) found = {};
  candidates.found[i] = found;
}

struct Stays {
  Candidates candidates;
  const int32_t* count;
  __device__ bool operator()(int, int64_t i) const { return i < *count && candidates.found[i].response > 0; }
};

struct PutListed {
  Candidates candidates;
  FallingOrder order;
  __device__ void operator()(int, int64_t i, int32_t place) const {
    order.put(place, candidates.found[i].response, i);
  }
};

__global__ void __launch_bounds__(kBriskThreads)
    put_kernel(Candidates candidates, const int32_t* order, KeypointColumns keypoints) {
  const int64_t i = int64_t{blockIdx.x} * kBriskThreads + threadIdx.x;
  if (i == 0) *keypoints.count = static_cast<int32_t>(keypoints.room);
  if (i >= keypoints.room) return;
  const Found found = candidates.found[order[i]];
  constexpr float kNoAngle = -1;
  put_keypoint(keypoints, i, found.x, found.y, found.size, kNoAngle, found.response,
               candidates.layers[order[i]]);
}

// The mean over a square whose sides lie between pixels, as csrc/ops/brisk/kernel-inl.h has it, to the bit.
__device__ float mean_of_square(const IntegralSums& sums, float x, float y, float radius) {
  const float ends[2][2] = {{x - radius, x + radius}, {y - radius, y + radius}};
  int at[2][2];
  float part[2][2];
  for (int axis = 0; axis < 2; ++axis) {
    for (int end = 0; end < 2; ++end) {
      const float first = floorf(ends[axis][end]);
      at[axis][end] = static_cast<int>(first);
      part[axis][end] = ends[axis][end] - first;
    }
  }
  const auto weighted = [&](int axis, int box, float value) {
    if (box == 1) return value;
    const float behind = part[axis][box / 2];
    return value * (box == 0 ? 1.0f - behind : behind);
  };
  const auto column = [&](int k) { return at[0][k / 2] + k % 2; };
  const auto row = [&](int k) { return sums.data + int64_t{at[1][k / 2] + k % 2} * (sums.w + 1); };
  float total = 0;
  for (int r = 0; r < 3; ++r) {
    const uint32_t *above = row(r), *below = row(r + 1);
    uint32_t strips[4];
    for (int k = 0; k < 4; ++k) strips[k] = below[column(k)] - above[column(k)];
    float line = 0;
    for (int k = 0; k < 3; ++k)
      line += weighted(0, k, static_cast<float>(static_cast<int32_t>(strips[k + 1] - strips[k])));
    total += weighted(1, r, line);
  }
  const float side = radius + radius;
  return total / (side * side);
}

// A warp: the means of the pattern's points.
__device__ void smooth(const IntegralSums& sums, const BriskPattern& pattern, float x, float y, float t,
                       double degrees, float* values) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const double radians = degrees * (kPi / 180);
  const auto cosine = static_cast<float>(cos(radians)), sine = static_cast<float>(sin(radians));
  __syncwarp();  // the values before have been read
  for (int i = lane; i < kBriskPoints; i += 32) {
    const float u = pattern.x[i] * t, v = pattern.y[i] * t, radius = fmaxf(pattern.half[i] * t, 0.5f);
    values[i] = mean_of_square(sums, (x + 0.5f) + (u * cosine - v * sine),
                               (y + 0.5f) + (u * sine + v * cosine), radius);
  }
  __syncwarp();
}

__device__ float angle_of(const float* values, const BriskPattern& pattern) {
  double dx = 0, dy = 0;
  for (int i = 0; i < kBriskPoints; ++i) {
    dx += static_cast<double>(values[i]) * static_cast<double>(pattern.turn_x[i]);
    dy += static_cast<double>(values[i]) * static_cast<double>(pattern.turn_y[i]);
  }
  const double degrees = atan2(dy, dx) * (180 / kPi);
  const auto angle = static_cast<float>(degrees < 0 ? degrees + 360 : degrees);
  return angle < 360 ? angle : 0;
}

// A warp: a keypoint's angle, where it is negative, and its descriptor.
__global__ void __launch_bounds__(kBriskThreads)
    describe_kernel(IntegralSums sums, const __grid_constant__ BriskPattern constant,
                    GivenKeypoints keypoints, const int64_t* which, const int32_t* count, float* angles,
                    uint8_t* descriptors) {
  __shared__ BriskPattern pattern;  // lanes read neighbours, which constant memory serves one by one
  __shared__ float all_values[kWarps][kBriskPadded];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  for (int i = thread; i < static_cast<int>(sizeof(BriskPattern)); i += kBriskThreads)
    reinterpret_cast<unsigned char*>(&pattern)[i] = reinterpret_cast<const unsigned char*>(&constant)[i];
  __syncthreads();
  const int64_t row = int64_t{blockIdx.x} * kWarps + thread / 32;
  if (row >= *count) return;
  const int64_t i = which == nullptr ? row : which[row];
  const float x = keypoints.xy[2 * i], y = keypoints.xy[2 * i + 1], t = keypoints.size[i] / kBriskSizePerT;
  float* const values = all_values[thread / 32];
  float angle = keypoints.angle[i];
  if (angle < 0) {
    smooth(sums, pattern, x, y, t, 0, values);
    angle = angle_of(values, pattern);
  }
  __syncwarp();  // all have read it, if it is to be overwritten
  if (lane == 0) angles[row] = angle;
  if (descriptors == nullptr) return;
  smooth(sums, pattern, x, y, t, static_cast<double>(angle), values);
  auto* const words = reinterpret_cast<uint32_t*>(descriptors + row * (kBriskPairs / 8));
  for (int first = 0; first < kBriskPairs; first += 32) {
    const int pair = first + lane;
    const uint32_t word =
        __ballot_sync(0xffffffffu, values[pattern.first[pair]] > values[pattern.second[pair]]);
    if (lane == 0) words[first / 32] = word;
  }
}

void describe(const char* op, const Stream& stream, const IntegralSums& sums, const GivenKeypoints& keypoints,
              const int64_t* which, const int32_t* count, float* angles, uint8_t* descriptors) {
  launch(op, stream, {blocks_of(keypoints.n, kWarps), kBriskThreads}, describe_kernel, sums, brisk_pattern(),
         keypoints, which, count, angles, descriptors);
}

// A picture too small for corners is a layer without any.
Layers layers_in(const BriskProblem& p, Workspace* workspace) {
  Levels levels;
  Steps steps[kMaxLayers] = {{1, 1, 1}};
  for (const BriskLayer& layer : brisk_layers(p.picture.h, p.picture.w, p.params.octaves)) {
    Level& level = levels.of[levels.count];
    level.h = static_cast<int32_t>(layer.h), level.w = static_cast<int32_t>(layer.w);
    if (levels.count > 0) level.data = workspace->take<uint8_t>(layer.h * layer.w);
    steps[levels.count++] = {layer.scale, layer.step_x, layer.step_y};
  }
  levels.count = std::max(levels.count, 1);
  levels.of[0] = p.picture;
  Levels first = levels;
  first.count = levels.count > 1 ? 1 : 0;
  Layers layers = {levels, ScoreMaps(workspace, levels), ScoreMaps(workspace, first), p.params.threshold, {}};
  std::copy_n(steps, kMaxLayers, layers.steps);
  return layers;
}

struct SearchSpace {
  Workspace workspace;
  IntegralSpace integral;
  Layers layers;
  Marks corners;
  Candidates candidates;
  Marks kept;

  SearchSpace(const BriskProblem& p, void* memory)
      : workspace(memory),
        integral(&workspace, p.picture.h, p.picture.w, false),
        layers(layers_in(p, &workspace)),
        corners(&workspace, pixel_chunks(layers.levels)),
        candidates(candidates_in(corner_room(layers.levels, true), &workspace)),
        kept(&workspace, Chunks(candidates.room)) {}

  static Candidates candidates_in(int64_t room, Workspace* workspace) {
    return {workspace->take<int32_t>(room), workspace->take<uint8_t>(room), workspace->take<Found>(room),
            room};
  }
};

struct PutSpace {
  Workspace workspace;
  FallingOrder order;

  PutSpace(const Stream& stream, int64_t n, void* memory)
      : workspace(memory), order("BRISK", stream, n, &workspace) {}
};

struct CanBeDescribed {
  GivenKeypoints keypoints;
  float pattern_reach;
  int32_t h, w;
  __device__ bool operator()(int, int64_t i) const {
    return i < keypoints.n && fabsf(keypoints.angle[i]) <= 360 &&
           fits(keypoints.xy[2 * i], keypoints.xy[2 * i + 1], keypoints.size[i], pattern_reach, h, w);
  }
};

DescribeSpace describe_space(const Level& picture, const GivenKeypoints& keypoints, void* memory) {
  return {picture.h, picture.w, false, keypoints, memory};
}

}  // namespace

size_t brisk_search_bytes(const BriskProblem& p) { return SearchSpace(p, nullptr).workspace.bytes(); }

void brisk_search(const char* op, const Stream& stream, const BriskProblem& p, void* search, int32_t* count) {
  const SearchSpace space(p, search);
  const Layers& layers = space.layers;
  const Levels& levels = layers.levels;
  integrate(op, stream, p.picture.data, space.integral);
  for (int l = 1; l < levels.count; ++l) {
    const Level& y = levels.of[l];
    if (l == 1)
      launch(op, stream, {blocks_of(int64_t{y.h} * y.w, kBriskThreads), kBriskThreads}, two_thirds_kernel,
             levels.of[0], y);
    else
      resize_grey(op, stream, levels.of[l - 2], y);
  }
  score_corners(op, stream, levels, 16, 0, layers.scores);
  if (levels.count > 1) {
    Levels first = levels;
    first.count = 1;
    score_corners(op, stream, first, 8, 0, layers.small_scores);
  }
  mark(op, stream, space.corners, IsHighest{layers});
  list(op, stream, space.corners, PutCandidate{space.candidates});
  launch(op, stream, {blocks_of(space.candidates.room, kRefineThreads), kRefineThreads}, refine_kernel,
         layers, space.candidates, space.corners.total(), p.allowed, brisk_pattern().reach);
  mark(op, stream, space.kept, Stays{space.candidates, space.corners.total()});
  put_total(op, stream, space.kept, count);
}

size_t brisk_put_bytes(const Stream& stream, int64_t number) {
  return PutSpace(stream, number, nullptr).workspace.bytes();
}

void brisk_put(const char* op, const Stream& stream, const BriskProblem& p, void* search, int64_t number,
               void* workspace, const KeypointColumns& keypoints, uint8_t* descriptors) {
  const SearchSpace found(p, search);
  const PutSpace space(stream, number, workspace);
  list(op, stream, found.kept, PutListed{found.candidates, space.order});
  space.order.sort(op, stream);
  launch(op, stream, {blocks_of(keypoints.room, kBriskThreads), kBriskThreads}, put_kernel, found.candidates,
         space.order.sorted, keypoints);
  const GivenKeypoints given = {keypoints.xy, keypoints.size, keypoints.angle, nullptr, keypoints.room};
  describe(op, stream, found.integral.sums, given, nullptr, keypoints.count, keypoints.angle, descriptors);
}

size_t brisk_describe_bytes(const Level& picture, const GivenKeypoints& keypoints) {
  return describe_space(picture, keypoints, nullptr).workspace.bytes();
}

void brisk_describe(const char* op, const Stream& stream, const Level& picture,
                    const GivenKeypoints& keypoints, void* workspace, int64_t* kept, int32_t* count,
                    float* angles, uint8_t* descriptors) {
  const DescribeSpace space = describe_space(picture, keypoints, workspace);
  list_kept(op, stream, space.marks, CanBeDescribed{keypoints, brisk_pattern().reach, picture.h, picture.w},
            kept, count);
  integrate(op, stream, picture.data, space.integral);
  describe(op, stream, space.integral.sums, keypoints, kept, count, angles, descriptors);
}

}  // namespace pyvision::cuda
