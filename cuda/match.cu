// SPDX-License-Identifier: Apache-2.0
#include "match.cuh"

#include "common/launch.cuh"
#include "common/scan.cuh"
#include "common/workspace.h"
#include "conv2d.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostSplit = 256;  // values of a row: tensor cores' sums round more often than f32's
constexpr int64_t kScores = int64_t{1} << 26;  // of a block of rows: 256 MB

struct alignas(16) Best {  // moved in one access
  float score;
  int64_t index;

  // In the order in which neighbours are taken.
  __device__ bool before(const Best& other) const {
    return score > other.score || (score == other.score && index < other.index);
  }
};

// -|row|^2 / 2. A warp: one row.
__global__ void __launch_bounds__(kThreads)
    row_biases(const float* rows, int64_t n, int64_t d, float* biases) {
  const int64_t row = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (row >= n) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float sum = 0;
  for (int64_t i = lane; i < d; i += 32) sum = fmaf(rows[row * d + i], rows[row * d + i], sum);
  for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
  if (lane == 0) biases[row] = -0.5f * sum;
}

// The 10 bits of fraction that tf32 keeps, to nearest; what is not finite as it is.
__device__ float tf32_part(float x) {
  const uint32_t bits = __float_as_uint(x);
  return fabsf(x) < INFINITY ? __uint_as_float((bits + 0x1000u) & 0xffffe000u) : x;
}

// Rows three times as long whose products in tf32 are those of f32, but for 2^-21 of them: with x = high +
// low, a = [low, high, high] times b = [high, low, high]. The small products come first, where sums are still
// small.
__global__ void __launch_bounds__(kThreads)
    split_rows(const float* rows, int64_t n, int64_t d, bool low_first, float* split) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n * d) return;
  const float x = rows[i], high = tf32_part(x), low = tf32_part(x - high);
  float* const y = split + i / d * 3 * d + i % d;
  y[0] = low_first ? low : high;
  y[d] = low_first ? high : low;
  y[2 * d] = high;
}

__device__ float difference(float a, float b) { return fabsf(a - b); }
__device__ float difference(uint8_t a, uint8_t b) { return static_cast<float>(__popc(a ^ b)); }

// Minus the distance. A block: 16 rows of a and 16 of b, whose items it walks through together.
template <class T>
__global__ void __launch_bounds__(kThreads)
    difference_scores(const T* a, int64_t rows, const T* b, int64_t n_b, int64_t d, float* scores) {
  constexpr int kTile = 16, kItems = 64;
  __shared__ T tile_a[kTile][kItems + 4], tile_b[kTile][kItems + 4];  // rows begin in different banks
  const int64_t blocks = (n_b + kTile - 1) / kTile;
  const int64_t first_a = blockIdx.x / blocks * kTile, first_b = blockIdx.x % blocks * kTile;
  const int thread = static_cast<int>(threadIdx.x), row = thread / kTile, column = thread % kTile;
  float sum = 0;
  for (int64_t begin = 0; begin < d; begin += kItems) {
    for (int i = thread; i < kTile * kItems; i += kThreads) {
      const int r = i / kItems, item = i % kItems;
      const bool inside = begin + item < d;
      tile_a[r][item] = inside && first_a + r < rows ? a[(first_a + r) * d + begin + item] : T{0};
      tile_b[r][item] = inside && first_b + r < n_b ? b[(first_b + r) * d + begin + item] : T{0};
    }
    __syncthreads();
    for (int item = 0; item < kItems; ++item) sum += difference(tile_a[row][item], tile_b[column][item]);
    __syncthreads();
  }
  if (first_a + row < rows && first_b + column < n_b) scores[(first_a + row) * n_b + first_b + column] = -sum;
}

// A warp: the k best scores of one row. Of l2 the distances are computed again from the differences, and put
// into the order of their own.
template <bool kL2>
__global__ void __launch_bounds__(kThreads)
    take_best(const float* scores, int64_t rows, int64_t n_b, int64_t k, const float* a, const float* b,
              int64_t d, float* distances, int64_t* indices) {
  const int64_t row = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (row >= rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float* const found_distances = distances + row * k;
  int64_t* const found_indices = indices + row * k;
  Best last = {INFINITY, -1};
  for (int64_t taken = 0; taken < k; ++taken) {
    Best best = {-INFINITY, INT64_MAX};
    for (int64_t i = lane; i < n_b; i += 32) {
      const Best candidate = {scores[row * n_b + i], i};
      if (last.before(candidate) && candidate.before(best)) best = candidate;
    }
    for (int apart = 16; apart > 0; apart /= 2) {
      const Best other = {
          __shfl_xor_sync(0xffffffffu, best.score, apart),
          static_cast<int64_t>(__shfl_xor_sync(0xffffffffu, static_cast<long long>(best.index), apart))};
      if (other.before(best)) best = other;
    }
    last = best;
    const bool any = best.index < n_b;
    float distance = any ? -best.score : INFINITY;
    if (kL2 && any) {
      float sum = 0;
      for (int64_t i = lane; i < d; i += 32) {
        const float difference = a[row * d + i] - b[best.index * d + i];
        sum = fmaf(difference, difference, sum);
      }
      for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
      distance = sqrtf(sum);
    }
    if (lane != 0) continue;
    int64_t place = taken;
    for (; kL2 && place > 0; --place) {
      const Best before = {-found_distances[place - 1], found_indices[place - 1]};
      if (!Best{-distance, best.index}.before(before)) break;
      found_distances[place] = -before.score, found_indices[place] = before.index;
    }
    found_distances[place] = distance;
    found_indices[place] = any ? best.index : -1;
  }
}

struct Space {
  Workspace workspace;
  int64_t rows;  // of a, at once
  bool split;    // for tensor cores
  float *biases, *scores, *split_a, *split_b;
  void* convolution;

  Space(const Stream& stream, const MatchProblem& p, void* memory) : workspace(memory) {
    const int64_t most = kScores / (p.n_b > 0 ? p.n_b : 1);
    rows = most < 1 ? 1 : most < p.n_a ? most : p.n_a;
    biases = workspace.take<float>(p.n_b);
    scores = workspace.take<float>(rows * p.n_b);
    const bool gemm = p.metric == MatchMetric::kL2 && rows > 0;
    split = gemm && p.d <= kMostSplit;
    split_a = workspace.take<float>(split ? rows * 3 * p.d : 0);
    split_b = workspace.take<float>(split ? p.n_b * 3 * p.d : 0);
    const size_t bytes = gemm ? conv2d_workspace_bytes(stream, products(p, 0, rows)) : 0;
    convolution = workspace.take<char>(static_cast<int64_t>(bytes));
  }

  // Of rows of a, as pixels, with those of b, as output channels.
  ConvProblem products(const MatchProblem& p, int64_t first, int64_t count) const {
    ConvProblem conv;
    conv.params.in_channels = split ? 3 * p.d : p.d;
    conv.tf32 = split;
    conv.params.out_channels = p.n_b;
    conv.n = conv.h = 1;
    conv.w = count;
    conv.input = split ? split_a : static_cast<const float*>(p.a) + first * p.d;
    conv.weight = split ? split_b : p.b;
    conv.bias = biases;
    conv.output = scores;
    return conv;
  }
};

__global__ void __launch_bounds__(kThreads) find_matches(MatchFilter filter, int32_t* flags) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= filter.n_a * filter.taken) return;
  const int64_t row = at / filter.taken, first = row * filter.k, place = first + at % filter.taken;
  const int64_t index = filter.indices[place];
  const float distance = filter.distances[place];
  bool keep = index >= 0 && distance < INFINITY && static_cast<double>(distance) <= filter.max_distance;
  if (keep && filter.ratio > 0) keep = distance < filter.ratio * filter.distances[first + 1];
  if (keep && filter.back != nullptr) keep = filter.back[index] == row;
  flags[at] = keep;
}

__global__ void __launch_bounds__(kThreads)
    emit_matches(MatchFilter filter, const int32_t* flags, const int32_t* counts, int64_t* pairs,
                 float* distances, int64_t* count) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x, all = filter.n_a * filter.taken;
  if (at == 0) *count = all > 0 ? counts[all - 1] : 0;
  if (at >= all || !flags[at]) return;
  const int64_t row = at / filter.taken, place = row * filter.k + at % filter.taken, to = counts[at] - 1;
  pairs[2 * to] = row;
  pairs[2 * to + 1] = filter.indices[place];
  distances[to] = filter.distances[place];
}

}  // namespace

size_t match_workspace_bytes(const Stream& stream, const MatchProblem& p) {
  return Space(stream, p, nullptr).workspace.bytes();
}

void match(const char* op, const Stream& stream, const MatchProblem& p, void* workspace, float* distances,
           int64_t* indices) {
  const Space space(stream, p, workspace);
  const bool l2 = p.metric == MatchMetric::kL2;
  const auto* const a = static_cast<const float*>(p.a);
  const auto* const b = static_cast<const float*>(p.b);
  if (l2)
    launch(op, stream, {blocks_of(32 * p.n_b, kThreads), kThreads}, row_biases, b, p.n_b, p.d, space.biases);
  const auto split = [&](const float* x, int64_t n, bool low_first, float* to) {
    launch(op, stream, {blocks_of(n * p.d, kThreads), kThreads}, split_rows, x, n, p.d, low_first, to);
  };
  if (space.split) split(b, p.n_b, false, space.split_b);
  for (int64_t first = 0; first < p.n_a; first += space.rows) {
    const int64_t count = p.n_a - first < space.rows ? p.n_a - first : space.rows;
    const int64_t tiles = int64_t{blocks_of(count, 16)} * blocks_of(p.n_b, 16);
    const LaunchShape shape = {blocks_of(tiles, 1), kThreads};
    if (l2) {
      if (space.split) split(a + first * p.d, count, true, space.split_a);
      conv2d(op, stream, space.products(p, first, count), space.convolution);
    } else if (p.metric == MatchMetric::kL1) {
      launch(op, stream, shape, difference_scores<float>, a + first * p.d, count, b, p.n_b, p.d,
             space.scores);
    } else {
      launch(op, stream, shape, difference_scores<uint8_t>, static_cast<const uint8_t*>(p.a) + first * p.d,
             count, static_cast<const uint8_t*>(p.b), p.n_b, p.d, space.scores);
    }
    launch(op, stream, {blocks_of(32 * count, kThreads), kThreads}, l2 ? take_best<true> : take_best<false>,
           space.scores, count, p.n_b, p.k, a + (l2 ? first * p.d : 0), b, p.d, distances + first * p.k,
           indices + first * p.k);
  }
}

size_t match_filter_workspace_bytes(const MatchFilter& filter) {
  Workspace workspace;
  workspace.take<int32_t>(filter.n_a * filter.taken);
  workspace.take<int32_t>(filter.n_a * filter.taken);
  return workspace.bytes();
}

void filter_matches(const char* op, const Stream& stream, const MatchFilter& filter, void* memory,
                    int64_t* pairs, float* distances, int64_t* count) {
  Workspace workspace(memory);
  const int64_t all = filter.n_a * filter.taken;
  int32_t* const flags = workspace.take<int32_t>(all);
  int32_t* const counts = workspace.take<int32_t>(all);
  launch(op, stream, {blocks_of(all, kThreads), kThreads}, find_matches, filter, flags);
  if (all > 0) inclusive_scan(op, stream, flags, all, counts);
  launch(op, stream, {blocks_of(all > 0 ? all : 1, kThreads), kThreads}, emit_matches, filter, flags, counts,
         pairs, distances, count);
}

}  // namespace pyvision::cuda
