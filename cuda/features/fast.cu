// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "features/corners.cuh"
#include "features/pixels.cuh"
#include "ops/fast/ring.h"

namespace pyvision::cuda {
namespace {

constexpr int kFastThreads = 256, kBorder = static_cast<int>(kFastBorder);
constexpr int kTileColumns = 64, kTileRows = 16;  // a block's: four pixels to a thread
constexpr int kPitch = kTileColumns + 2 * kBorder + 2;

struct RingOffsets {
  int at[16];  // in a tile, from the pixel
};

template <int kCircle>
RingOffsets ring_offsets() {
  RingOffsets offsets = {};
  for (int i = 0; i < kCircle; ++i)
    offsets.at[i] = Ring<kCircle>::kPixels[i].y * kPitch + Ring<kCircle>::kPixels[i].x;
  return offsets;
}

// M of fast.h, or less than the threshold where there is no corner.
template <int kCircle>
__device__ int corner_score(const uint8_t* pixel, const RingOffsets& ring, int threshold) {
  constexpr int kArc = kCircle / 2 + 1;
  constexpr int kSpan = kArc >= 8 ? 8 : 4;  // two of them cover an arc
  const int center = *pixel;
  const auto difference = [&](int i) { return pixel[ring.at[i]] - center; };
  // Of any arc's pixels two are neighbours among four at right angles: a bound that most pixels fail.
  const int a = difference(0), b = difference(kCircle / 4), c = difference(kCircle / 2),
            d = difference(3 * kCircle / 4);
  const int bound = max(min(max(a, c), max(b, d)), -max(min(a, c), min(b, d)));
  if (bound <= threshold) return 0;
  int least[kCircle], most[kCircle];  // of so many neighbours from each on: 1, 2, 4, 8
#pragma unroll
  for (int i = 0; i < kCircle; ++i) least[i] = most[i] = difference(i);
#pragma unroll
  for (int span = 1; span < kSpan; span *= 2) {
    int wider_least[kCircle], wider_most[kCircle];
#pragma unroll
    for (int i = 0; i < kCircle; ++i) {
      wider_least[i] = min(least[i], least[(i + span) % kCircle]);
      wider_most[i] = max(most[i], most[(i + span) % kCircle]);
    }
#pragma unroll
    for (int i = 0; i < kCircle; ++i) least[i] = wider_least[i], most[i] = wider_most[i];
  }
  int best = 0;
#pragma unroll
  for (int i = 0; i < kCircle; ++i) {
    constexpr int kRest = kArc - kSpan;
    best = max(best, min(least[i], least[(i + kRest) % kCircle]));
    best = max(best, -max(most[i], most[(i + kRest) % kCircle]));
  }
  return best;
}

template <int kCircle>
__global__ void __launch_bounds__(kFastThreads)
    score_kernel(const __grid_constant__ Levels levels, const __grid_constant__ RingOffsets ring,
                 int threshold, const __grid_constant__ ScoreMaps maps) {
  __shared__ uint8_t tile[kTileRows + 2 * kBorder][kPitch];
  const Level& level = levels.of[blockIdx.z];
  const int left = static_cast<int>(blockIdx.x) * kTileColumns,
            top = static_cast<int>(blockIdx.y) * kTileRows, thread = static_cast<int>(threadIdx.x);
  if (left >= level.w || top >= level.h) return;
  for (int i = thread; i < (kTileRows + 2 * kBorder) * kPitch; i += kFastThreads) {
    const int row = i / kPitch, column = i % kPitch;
    const int y = min(max(top + row - kBorder, 0), level.h - 1),
              x = min(max(left + column - kBorder, 0), level.w - 1);
    tile[row][column] = level.data[int64_t{y} * level.w + x];
  }
  __syncthreads();
  const int column = thread % kTileColumns, x = left + column;
  if (x >= level.w) return;
  for (int row = thread / kTileColumns; row < kTileRows && top + row < level.h;
       row += kFastThreads / kTileColumns) {
    const int y = top + row;
    int score = 0;
    if (x >= kBorder && x < level.w - kBorder && y >= kBorder && y < level.h - kBorder)
      score = corner_score<kCircle>(&tile[row + kBorder][column + kBorder], ring, threshold);
    maps.of[blockIdx.z][int64_t{y} * level.w + x] = static_cast<uint8_t>(score > threshold ? score : 0);
  }
}

struct IsCorner {
  Levels levels;
  ScoreMaps maps;
  bool suppress;
  int32_t edge;
  Allowed allowed;

  __device__ bool operator()(int l, int64_t item) const {
    const Level& level = levels.of[l];
    if (item >= int64_t{level.h} * level.w) return false;
    const uint8_t* const scores = maps.of[l] + item;
    const int score = *scores;
    if (score == 0) return false;
    const int y = static_cast<int>(item) / level.w, x = static_cast<int>(item) - y * level.w;
    if (x < edge || y < edge || x >= level.w - edge || y >= level.h - edge) return false;
    if (suppress) {
      const auto at = [=](int64_t offset) { return static_cast<int>(scores[offset]); };
      int most = max(at(-1), at(1));
      for (int i = -1; i <= 1; ++i) most = max(most, max(at(i - level.w), at(i + level.w)));
      if (score <= max(most, 1))
        return false;  // scores are M - 1: one of 0 is no greater than that of no corner
    }
    return is_allowed(allowed, static_cast<float>(x) * level.scale, static_cast<float>(y) * level.scale);
  }
};

struct PutCorner {
  ScoreMaps maps;
  ItemList corners;

  __device__ void operator()(int l, int64_t item, int32_t place) const {
    corners.items[place] = static_cast<int32_t>(item);
    corners.keys[place] = maps.of[l][item] - 1u;
  }
};

__global__ void __launch_bounds__(kFastThreads)
    put_keypoints(ItemList corners, int32_t width, KeypointColumns keypoints) {
  const int64_t i = int64_t{blockIdx.x} * kFastThreads + threadIdx.x;
  const int32_t count = corners.counts[0];
  if (i == 0) *keypoints.count = count;
  if (i >= count) return;
  const int32_t item = corners.items[i], y = item / width;
  constexpr float kSize = 7, kNoAngle = -1;
  put_keypoint(keypoints, i, static_cast<float>(item - y * width), static_cast<float>(y), kSize, kNoAngle,
               static_cast<float>(corners.keys[i]), 0);
}

Levels alone(const Level& picture) {
  Levels levels;
  levels.count = 1;
  levels.of[0] = picture;
  return levels;
}

struct Space {
  Workspace workspace;
  CornerSpace corners;
  ItemList selected;

  Space(const FastProblem& p, void* memory)
      : workspace(memory), corners(&workspace, alone(p.picture), p.search.suppress) {
    if (p.max_features > 0) selected = ItemList(&workspace, corner_room(alone(p.picture), p.search.suppress));
  }
};

}  // namespace

int64_t corner_room(const Levels& levels, bool suppress) {
  int64_t room = 0;
  for (int l = 0; l < levels.count; ++l) {
    const int64_t h = levels.of[l].h, w = levels.of[l].w;
    room += suppress ? (h + 1) / 2 * ((w + 1) / 2) : h * w;  // no two neighbours exceed each other
  }
  return room;
}

ScoreMaps::ScoreMaps(Workspace* workspace, const Levels& levels) {
  for (int l = 0; l < levels.count; ++l)
    of[l] = workspace->take<uint8_t>(int64_t{levels.of[l].h} * levels.of[l].w);
}

CornerSpace::CornerSpace(Workspace* workspace, const Levels& levels, bool suppress)
    : scores(workspace, levels),
      marks(workspace, pixel_chunks(levels)),
      corners(workspace, corner_room(levels, suppress)) {}

void score_corners(const char* op, const Stream& stream, const Levels& levels, int circle, int threshold,
                   const ScoreMaps& maps) {
  const dim3 grid(blocks_of(most_of(levels, [](const Level& l) { return l.w; }), kTileColumns),
                  blocks_of(most_of(levels, [](const Level& l) { return l.h; }), kTileRows),
                  static_cast<unsigned>(levels.count));
  const auto score = [&](auto kernel, const RingOffsets& ring) {
    launch(op, stream, {grid, kFastThreads}, kernel, levels, ring, threshold, maps);
  };
  if (circle == 16)
    score(score_kernel<16>, ring_offsets<16>());
  else if (circle == 12)
    score(score_kernel<12>, ring_offsets<12>());
  else
    score(score_kernel<8>, ring_offsets<8>());
}

void find_corners(const char* op, const Stream& stream, const Levels& levels, const CornerSearch& search,
                  const CornerSpace& space) {
  const ScoreMaps& maps = space.scores;
  score_corners(op, stream, levels, search.circle, search.threshold, maps);
  mark(op, stream, space.marks, IsCorner{levels, maps, search.suppress, search.edge, search.allowed});
  list(op, stream, space.marks, PutCorner{maps, space.corners});
  find_spans(op, stream, space.marks, space.corners.begins, space.corners.counts);
}

int64_t FastProblem::room() const {
  const int64_t most = corner_room(alone(picture), search.suppress);
  return max_features > 0 ? std::min(max_features, most) : most;
}

size_t fast_workspace_bytes(const FastProblem& p) { return Space(p, nullptr).workspace.bytes(); }

void fast(const char* op, const Stream& stream, const FastProblem& p, void* workspace,
          const KeypointColumns& keypoints) {
  const Space space(p, workspace);
  find_corners(op, stream, alone(p.picture), p.search, space.corners);
  if (p.max_features > 0)
    launch(op, stream, {1, kListThreads}, select_strongest<8>, space.corners.corners,
           Wanted{{p.max_features}}, false, space.selected);
  launch(op, stream, {blocks_of(keypoints.room, kFastThreads), kFastThreads}, put_keypoints,
         p.max_features > 0 ? space.selected : space.corners.corners, p.picture.w, keypoints);
}

}  // namespace pyvision::cuda
