// SPDX-License-Identifier: Apache-2.0
#include "features/orb.cuh"

#include <algorithm>

#include "common/keys.cuh"
#include "common/sort.h"
#include "features/corners.cuh"
#include "features/grey.cuh"
#include "features/pixels.cuh"
#include "ops/orb/pattern.h"

namespace pyvision::cuda {
namespace {

constexpr int kOrbThreads = 256, kWarps = kOrbThreads / 32;

__device__ int sum_of_warp(int value) {
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
  return value;
}

// Harris responses become the keys of the corners. A warp: a corner at a time, a lane two of its 49
// gradients.
__global__ void __launch_bounds__(kOrbThreads)
    rate_corners(const __grid_constant__ Levels levels, ItemList corners) {
  constexpr int kBlock = 7;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const Level& level = levels.of[blockIdx.y];
  const int32_t begin = corners.begins[blockIdx.y], count = corners.counts[blockIdx.y];
  for (int32_t i = static_cast<int32_t>(blockIdx.x * kWarps + threadIdx.x / 32); i < count;
       i += static_cast<int32_t>(gridDim.x * kWarps)) {
    const uint8_t* const pixel = level.data + corners.items[begin + i];
    int xx = 0, yy = 0, xy = 0;
    for (int place = lane; place < kBlock * kBlock; place += 32) {
      const uint8_t* const p =
          pixel + int64_t{place / kBlock - kBlock / 2} * level.w + place % kBlock - kBlock / 2;
      const uint8_t *above = p - level.w, *below = p + level.w;
      const int dx = 2 * (p[1] - p[-1]) + (above[1] - above[-1]) + (below[1] - below[-1]);
      const int dy = 2 * (below[0] - above[0]) + (below[-1] - above[-1]) + (below[1] - above[1]);
      xx += dx * dx, yy += dy * dy, xy += dx * dy;
    }
    const auto a = static_cast<float>(sum_of_warp(xx)), b = static_cast<float>(sum_of_warp(yy)),
               c = static_cast<float>(sum_of_warp(xy));
    constexpr float kScale = 1.0f / (4 * kBlock * 255.0f), kHarris = 0.04f;
    const float response =
        (a * b - c * c - kHarris * (a + b) * (a + b)) * (kScale * kScale * kScale * kScale);
    if (lane == 0) corners.keys[begin + i] = rising_key(response);
  }
}

// Keys by which levels rise and responses fall within them; behind the last corner the greatest there is.
__global__ void __launch_bounds__(kOrbThreads)
    sort_keys(ItemList corners, int levels, int64_t room, uint64_t* keys, int32_t* places) {
  const int64_t i = int64_t{blockIdx.x} * kOrbThreads + threadIdx.x;
  if (i >= room) return;
  int64_t before = 0;
  int level = 0;
  for (; level < levels && i >= before + corners.counts[level]; ++level) before += corners.counts[level];
  const auto place = level < levels ? static_cast<int32_t>(corners.begins[level] + i - before) : 0;
  keys[i] =
      level < levels ? uint64_t(level) << 32 | static_cast<uint32_t>(~corners.keys[place]) : ~uint64_t{0};
  places[i] = place;
}

// A warp: a keypoint and its angle. Lane x + 15 sums column x of the disc.
__global__ void __launch_bounds__(kOrbThreads)
    put_keypoints(const __grid_constant__ Levels levels, ItemList corners, const uint64_t* keys,
                  const int32_t* places, KeypointColumns keypoints) {
  const int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int32_t count = 0;
  for (int l = 0; l < levels.count; ++l) count += corners.counts[l];
  if (i == 0 && lane == 0) *keypoints.count = count;
  if (i >= count) return;
  const auto octave = static_cast<int32_t>(keys[i] >> 32);
  const Level& level = levels.of[octave];
  const int32_t item = corners.items[places[i]], y = item / level.w, x = item - y * level.w;
  // The half width of each row of the disc, four bits each: round(sqrt(15^2 - y^2)), made symmetric about the
  // diagonal, so that a column has as many pixels as the row.
  constexpr int kRadius = 15;
  constexpr uint64_t kHalfWidths = 0x3689abcddeeeffff;
  const int dx = lane - kRadius;
  const int half = dx <= kRadius ? static_cast<int>(kHalfWidths >> (4 * abs(dx)) & 15) : -1;
  int sum = 0, moment = 0;
  for (int dy = -half; dy <= half; ++dy) {
    const int pixel = level.data[int64_t{y + dy} * level.w + x + dx];
    sum += pixel;
    moment += dy * pixel;
  }
  const int m10 = sum_of_warp(dx * sum), m01 = sum_of_warp(moment);
  if (lane != 0) return;
  const double degrees =
      atan2(static_cast<double>(m01), static_cast<double>(m10)) * (180 / 3.14159265358979323846);
  const auto angle = static_cast<float>(degrees < 0 ? degrees + 360 : degrees);
  put_keypoint(keypoints, i, static_cast<float>(x) * level.scale, static_cast<float>(y) * level.scale,
               kOrbPatch * level.scale, angle < 360 ? angle : 0,
               of_rising_key(~static_cast<uint32_t>(keys[i])), octave);
}

Levels in_memory(Levels levels, Workspace* workspace, int first) {
  for (int l = first; l < levels.count; ++l)
    levels.of[l].data = workspace->take<uint8_t>(int64_t{levels.of[l].h} * levels.of[l].w);
  return levels;
}

struct Space {
  Workspace workspace;
  Levels levels, blurred;
  CornerSpace corners;
  ItemList selected;
  uint64_t *keys, *sorted_keys;
  int32_t *places, *sorted_places;
  size_t sort_bytes;
  char* sort_memory;

  Space(const Stream& stream, const OrbProblem& p, void* memory)
      : workspace(memory),
        levels(in_memory(p.levels(), &workspace, 1)),
        blurred(in_memory(p.levels(), &workspace, 0)),
        corners(&workspace, levels, true),
        selected(&workspace, corner_room(levels, true)) {
    const int64_t room = p.room();
    keys = workspace.take<uint64_t>(room), sorted_keys = workspace.take<uint64_t>(room);
    places = workspace.take<int32_t>(room), sorted_places = workspace.take<int32_t>(room);
    sort_bytes = sort_temporary_bytes<uint64_t>("ORB", stream, room);
    sort_memory = workspace.take<char>(static_cast<int64_t>(sort_bytes));
  }
};

void fill_levels(const char* op, const Stream& stream, const Levels& levels) {
  for (int l = 1; l < levels.count; ++l) resize_grey(op, stream, levels.of[l - 1], levels.of[l]);
}

PointPairs orb_pairs() {
  PointPairs pairs = {};
  pairs.count = kOrbTests;
  for (int i = 0; i < kOrbTests; ++i)
    for (int k = 0; k < 4; ++k) pairs.of[k][i] = kOrbPattern[i][k];
  return pairs;
}

BriefProblem description_of(const OrbProblem& p, const GivenKeypoints& keypoints, Workspace* workspace) {
  return {in_memory(p.levels(), workspace, 1), orb_pairs(), keypoints, true};
}

}  // namespace

Levels OrbProblem::levels() const {
  Levels levels;
  for (; levels.count < params.levels; ++levels.count) {
    const int64_t l = levels.count, h = params.extent(picture.h, l), w = params.extent(picture.w, l);
    if (h < 1 || w < 1) break;
    levels.of[l] = {l == 0 ? picture.data : nullptr, static_cast<int32_t>(h), static_cast<int32_t>(w),
                    params.scale_of(l)};
  }
  return levels;
}

int64_t OrbProblem::room() const {
  const int64_t corners = corner_room(levels(), true);
  return params.max_features > 0 ? std::min(params.max_features, corners) : corners;
}

size_t orb_workspace_bytes(const Stream& stream, const OrbProblem& p) {
  return Space(stream, p, nullptr).workspace.bytes();
}

void orb(const char* op, const Stream& stream, const OrbProblem& p, void* workspace,
         const KeypointColumns& keypoints, uint8_t* descriptors) {
  const Space space(stream, p, workspace);
  const Levels& levels = space.levels;
  const auto count = static_cast<unsigned>(levels.count);
  fill_levels(op, stream, levels);
  CornerSearch search;
  search.threshold = p.params.threshold;
  search.edge = static_cast<int32_t>(p.params.edge);
  search.allowed = p.allowed;
  find_corners(op, stream, levels, search, space.corners);

  const std::vector<int64_t> shares = p.params.shares();
  Wanted wanted = {}, twice = {};
  for (int l = 0; l < levels.count; ++l) {
    wanted.of[l] = shares[static_cast<size_t>(l)];
    twice.of[l] = 2 * wanted.of[l];
  }
  launch(op, stream, {count, kListThreads}, select_strongest<8>, space.corners.corners, twice, true,
         space.selected);
  const auto blocks = static_cast<unsigned>(2 * multiprocessors(stream.device));
  launch(op, stream, {{blocks, count}, kOrbThreads}, rate_corners, levels, space.selected);
  launch(op, stream, {count, kListThreads}, select_strongest<32>, space.selected, wanted, false,
         space.corners.corners);
  launch(op, stream, {blocks_of(keypoints.room, kOrbThreads), kOrbThreads}, sort_keys, space.corners.corners,
         levels.count, keypoints.room, space.keys, space.places);
  sort_pairs(op, stream, space.keys, space.places, keypoints.room, space.sort_memory, space.sort_bytes,
             space.sorted_keys, space.sorted_places);
  launch(op, stream, {blocks_of(keypoints.room, kWarps), kOrbThreads}, put_keypoints, levels,
         space.corners.corners, space.sorted_keys, space.sorted_places, keypoints);
  if (descriptors == nullptr) return;
  blur_grey(op, stream, levels, space.blurred);
  const GivenKeypoints found = {keypoints.xy, keypoints.size, keypoints.angle, keypoints.octave,
                                keypoints.room};
  describe_pairs(op, stream, space.blurred, orb_pairs(), found, nullptr, keypoints.count, descriptors);
}

size_t orb_describe_workspace_bytes(const OrbProblem& p, const GivenKeypoints& keypoints) {
  Workspace workspace;
  const BriefProblem description = description_of(p, keypoints, &workspace);
  return workspace.bytes() + brief_workspace_bytes(description);
}

void orb_describe(const char* op, const Stream& stream, const OrbProblem& p, const GivenKeypoints& keypoints,
                  void* memory, int64_t* kept, int32_t* count, uint8_t* descriptors) {
  Workspace workspace(memory);
  const BriefProblem description = description_of(p, keypoints, &workspace);
  fill_levels(op, stream, description.levels);
  brief(op, stream, description, static_cast<char*>(memory) + workspace.bytes(), kept, count, descriptors);
}

}  // namespace pyvision::cuda
