// SPDX-License-Identifier: Apache-2.0
#include "features/brief.cuh"

#include "features/given.cuh"
#include "features/grey.cuh"
#include "ops/brief/params.h"

namespace pyvision::cuda {
namespace {

constexpr int kBriefThreads = 256, kWarps = kBriefThreads / 32;

struct Place {
  float x, y;  // in pixels of the level
  int level;
};

__device__ Place place_of(const Levels& levels, const GivenKeypoints& keypoints, int64_t i) {
  const int level = keypoints.octave == nullptr ? 0 : keypoints.octave[i];
  if (level < 0 || level >= levels.count) return {-1, -1, -1};
  const float x = keypoints.xy[2 * i], y = keypoints.xy[2 * i + 1], scale = levels.of[level].scale;
  const float inverse = 1.0f / scale;
  return {rintf(x * inverse), rintf(y * inverse), level};
}

struct Fits {
  Levels levels;
  GivenKeypoints keypoints;
  bool turned;

  __device__ bool operator()(int, int64_t i) const {
    if (i >= keypoints.n) return false;
    const Place at = place_of(levels, keypoints, i);
    if (at.level < 0 || (turned && !(fabsf(keypoints.angle[i]) < INFINITY))) return false;
    const Level& level = levels.of[at.level];
    constexpr int kReach = static_cast<int>(kBriefReach);
    // Compared as float: a place may lie beyond any integer, or be none.
    return at.x >= kReach && at.y >= kReach && at.x < static_cast<float>(level.w - kReach) &&
           at.y < static_cast<float>(level.h - kReach);
  }
};

__global__ void __launch_bounds__(kBriefThreads)
    describe_kernel(const __grid_constant__ Levels blurred, const __grid_constant__ PointPairs pairs,
                    GivenKeypoints keypoints, const int64_t* which, const int32_t* count,
                    uint8_t* descriptors) {
  __shared__ int8_t
      points[4][kBriefMaxTests];  // lanes read neighbours, which constant memory serves one by one
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  for (int i = thread; i < 4 * pairs.count; i += kBriefThreads)
    points[i / pairs.count][i % pairs.count] = pairs.of[i / pairs.count][i % pairs.count];
  __syncthreads();
  const int64_t row = int64_t{blockIdx.x} * kWarps + thread / 32;
  if (row >= *count) return;
  const int64_t i = which == nullptr ? row : which[row];
  const Place at = place_of(blurred, keypoints, i);
  const Level& level = blurred.of[at.level];
  const uint8_t* const center =
      level.data + static_cast<int64_t>(at.y) * level.w + static_cast<int64_t>(at.x);
  const double radians = keypoints.angle == nullptr
                             ? 0
                             : static_cast<double>(keypoints.angle[i]) * (3.14159265358979323846 / 180);
  const auto cosine = static_cast<float>(cos(radians)), sine = static_cast<float>(sin(radians));
  const auto pixel = [&](int8_t px, int8_t py) {  // products and sums are rounded one by one
    const auto x = static_cast<float>(px), y = static_cast<float>(py);
    const int column = static_cast<int>(rintf(x * cosine - y * sine)),
              line = static_cast<int>(rintf(x * sine + y * cosine));
    return center[int64_t{line} * level.w + column];
  };
  auto* const words = reinterpret_cast<uint32_t*>(descriptors + row * (pairs.count / 8));
  for (int first = 0; first < pairs.count; first += 32) {
    const int pair = first + lane;
    const uint8_t a = pixel(points[0][pair], points[1][pair]), b = pixel(points[2][pair], points[3][pair]);
    const uint32_t word = __ballot_sync(0xffffffffu, a < b);
    if (lane == 0) words[first / 32] = word;
  }
}

struct Space {
  Workspace workspace;
  Levels blurred;
  Marks marks;

  Space(const BriefProblem& p, void* memory)
      : workspace(memory), blurred(p.levels), marks(&workspace, Chunks(p.keypoints.n)) {
    for (int l = 0; l < blurred.count; ++l)
      blurred.of[l].data = workspace.take<uint8_t>(int64_t{blurred.of[l].h} * blurred.of[l].w);
  }
};

}  // namespace

size_t brief_workspace_bytes(const BriefProblem& p) { return Space(p, nullptr).workspace.bytes(); }

void describe_pairs(const char* op, const Stream& stream, const Levels& blurred, const PointPairs& pairs,
                    const GivenKeypoints& keypoints, const int64_t* which, const int32_t* count,
                    uint8_t* descriptors) {
  launch(op, stream, {blocks_of(keypoints.n, kWarps), kBriefThreads}, describe_kernel, blurred, pairs,
         keypoints, which, count, descriptors);
}

void brief(const char* op, const Stream& stream, const BriefProblem& p, void* workspace, int64_t* kept,
           int32_t* count, uint8_t* descriptors) {
  const Space space(p, workspace);
  GivenKeypoints keypoints = p.keypoints;
  list_kept(op, stream, space.marks, Fits{p.levels, keypoints, p.turned}, kept, count);
  blur_grey(op, stream, p.levels, space.blurred);
  if (!p.turned) keypoints.angle = nullptr;
  describe_pairs(op, stream, space.blurred, p.pairs, keypoints, kept, count, descriptors);
}

}  // namespace pyvision::cuda
