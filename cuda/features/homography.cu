// SPDX-License-Identifier: Apache-2.0
#include "features/homography.cuh"

#include "common/launch.cuh"
#include "common/workspace.h"
#include "ops/homography/plane.h"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kMostSums = 45;                        // of the direct linear transform
constexpr int64_t kFirstBatch = 256, kBatch = 8192;  // samples: each batch has twice those of the one before
constexpr int kWindow = 1024;                        // random numbers looked at together
constexpr int64_t kPairsOfWarp = 2048;               // of a sample's score

struct alignas(16) FloatPair {
  float x, y, u, v;
};

// How far the search is. Kernels copy it, and the one that decides writes it.
struct State {
  Normalisation from, to;
  PlaneTransform best;
  double limit;
  uint64_t position;   // of the next random number
  int64_t most, stop;  // inliers; samples to look at, at most
};

struct Job {
  TransformProblem p;
  State* state;
  Pair* pairs;            // (n,)
  FloatPair* floats;      // (n,)
  uint8_t* selected;      // (n,)
  PlaneTransform* drawn;  // (kBatch,): of samples; zeros, which take no pair anywhere, where implausible
  int32_t* counts;        // (kBatch,)
  double* matrix;
  uint8_t* inliers;
  TransformStatus* status;

  Job(const TransformProblem& problem, Workspace* workspace)
      : p(problem),
        state(workspace->take<State>(1)),
        pairs(workspace->take<Pair>(p.n)),
        floats(workspace->take<FloatPair>(p.n)),
        selected(workspace->take<uint8_t>(p.n)),
        drawn(workspace->take<PlaneTransform>(kBatch)),
        counts(workspace->take<int32_t>(kBatch)) {}
};

__device__ double coordinate(const PointArray& points, int64_t i) {
  return points.doubles ? static_cast<const double*>(points.data)[i]
                        : static_cast<double>(static_cast<const float*>(points.data)[i]);
}

// As csrc/ops/homography/kernel-inl.h has it, rounding by rounding.
struct FloatTransform {
  float h[9];
};
__device__ FloatTransform rounded(const PlaneTransform& transform) {
  FloatTransform result;
  for (int i = 0; i < 9; ++i) result.h[i] = static_cast<float>(transform.h[i]);
  return result;
}
__device__ bool takes(const FloatTransform& transform, const FloatPair& p, float limit) {
  const float* const h = transform.h;
  const float w = h[6] * p.x + h[7] * p.y + h[8];
  const float dx = h[0] * p.x + h[1] * p.y + h[2] - p.u * w, dy = h[3] * p.x + h[4] * p.y + h[5] - p.v * w;
  return dx * dx + dy * dy <= limit * w * w && 0 < w * w;
}

struct Scratch {
  double parts[kWarps][kMostSums], sums[kMostSums];
};

// The pairs of a block, as plane.h speaks to them. Every thread has every kThreads-th pair, and gets what all
// get, so that all of them take the same way through what they run.
class BlockPoints {
 public:
  __device__ BlockPoints(const Job& job, double limit, Scratch* scratch)
      : job_(job), limit_(limit), scratch_(scratch), thread_(static_cast<int>(threadIdx.x)) {}

  __device__ void select_all() {
    for (int64_t i = thread_; i < job_.p.n; i += kThreads) job_.selected[i] = 1;
  }
  __device__ int64_t select(const PlaneTransform& transform) {
    double count[1] = {};
    for (int64_t i = thread_; i < job_.p.n; i += kThreads)
      count[0] += job_.selected[i] = squared_error(transform, job_.pairs[i]) <= limit_;
    add_up(count);
    return static_cast<int64_t>(count[0]);
  }
  __device__ int64_t score(const PlaneTransform& transform) const {
    const FloatTransform h = rounded(transform);
    double count[1] = {};
    for (int64_t i = thread_; i < job_.p.n; i += kThreads)
      count[0] += takes(h, job_.floats[i], static_cast<float>(limit_));
    add_up(count);
    return static_cast<int64_t>(count[0]);
  }
  template <int kCount, class Add>
  __device__ void sum(double (&sums)[kCount], const Add& add) const {
    for (int64_t i = thread_; i < job_.p.n; i += kThreads)
      if (job_.selected[i]) add(job_.pairs[i], sums);
    add_up(sums);
  }
  template <int kCount, class Work>
  __device__ void once(double (&result)[kCount], const Work& work) const {
    if (thread_ == 0) {
      work(result);
      for (int i = 0; i < kCount; ++i) scratch_->sums[i] = result[i];
    }
    hand_out(result);
  }
  // Over the block: lanes pairwise, then warps in their order.
  template <int kCount>
  __device__ void add_up(double (&sums)[kCount]) const {
    static_assert(kCount <= kMostSums, "room for them");
    for (int i = 0; i < kCount; ++i) {
      double sum = sums[i];
      for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
      if (thread_ % 32 == 0) scratch_->parts[thread_ / 32][i] = sum;
    }
    __syncthreads();
    if (thread_ < kCount) {
      double sum = 0;
      for (int warp = 0; warp < kWarps; ++warp) sum += scratch_->parts[warp][thread_];
      scratch_->sums[thread_] = sum;
    }
    hand_out(sums);
  }

 private:
  template <int kCount>
  __device__ void hand_out(double (&values)[kCount]) const {
    __syncthreads();
    for (int i = 0; i < kCount; ++i) values[i] = scratch_->sums[i];
    __syncthreads();  // before they are written again
  }

  const Job& job_;
  double limit_;
  Scratch* scratch_;
  int thread_;
};

__device__ Normalisation normalisation_of(const PointArray& points, int64_t n, const BlockPoints& block) {
  double centre[2] = {}, distance[1] = {};
  for (int64_t i = threadIdx.x; i < n; i += kThreads)
    for (int c = 0; c < 2; ++c) centre[c] += coordinate(points, 2 * i + c) / static_cast<double>(n);
  block.add_up(centre);
  for (int64_t i = threadIdx.x; i < n; i += kThreads)
    distance[0] += hypot(coordinate(points, 2 * i) - centre[0], coordinate(points, 2 * i + 1) - centre[1]) /
                   static_cast<double>(n);
  block.add_up(distance);
  return {centre[0], centre[1], scale_of(distance[0])};
}

// How many coordinates are too large or no number.
__device__ bool any_bad(const PointArray& points, int64_t n) {
  bool bad = false;
  for (int64_t i = threadIdx.x; i < 2 * n; i += kThreads)
    bad |= !(fabs(coordinate(points, i)) <= kMostCoordinate);
  return __syncthreads_or(bad);
}

// One block: what the points are, and whether there is anything to look for.
__global__ void __launch_bounds__(kThreads) prepare(const __grid_constant__ Job job) {
  __shared__ Scratch scratch;
  const TransformProblem& p = job.p;
  const int64_t n = p.n, sample = sample_of(p.params.affine);
  BlockPoints points(job, 0, &scratch);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) job.inliers[i] = 0;
  const bool bad_src = any_bad(p.src, n), bad_dst = any_bad(p.dst, n);
  TransformStatus status = bad_src   ? TransformStatus::kBadSrc
                           : bad_dst ? TransformStatus::kBadDst
                                     : TransformStatus::kNone;
  if (!bad_src && !bad_dst && n >= sample) {
    const Normalisation from = normalisation_of(p.src, n, points), to = normalisation_of(p.dst, n, points);
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const Pair given = {coordinate(p.src, 2 * i), coordinate(p.src, 2 * i + 1), coordinate(p.dst, 2 * i),
                          coordinate(p.dst, 2 * i + 1)};
      const Pair pair = normalised(given, from, to);
      job.pairs[i] = pair;
      job.floats[i] = {static_cast<float>(pair.x), static_cast<float>(pair.y), static_cast<float>(pair.u),
                       static_cast<float>(pair.v)};
    }
    points.select_all();
    if (spans_planes(points, n)) status = TransformStatus::kSearching;
    const double threshold = p.params.threshold * to.scale;
    if (threadIdx.x == 0)
      *job.state = {from, to, {}, threshold * threshold, 0, sample - 1, p.params.max_iterations};
  }
  if (threadIdx.x == 0) *job.status = status;
}

__device__ bool is_over(const Job& job, int64_t begin) {
  return *job.status != TransformStatus::kSearching || begin >= job.state->stop;
}

// One block draws the samples of a batch. How many numbers a sample takes, from wherever it may begin, is
// found side by side; where samples do begin follows from one to the next.
__global__ void __launch_bounds__(kThreads)
    draw_samples(const __grid_constant__ Job job, int64_t begin, int count) {
  __shared__ int32_t taken[kWindow], begins[kWindow];
  __shared__ int32_t drawn_to, end;
  if (is_over(job, begin)) return;
  const RansacParams& params = job.p.params;
  const int thread = static_cast<int>(threadIdx.x), sample = sample_of(params.affine);
  uint64_t position = job.state->position;
  int64_t indices[4];
  for (int drawn = 0; drawn < count;) {
    for (int i = thread; i < kWindow; i += kThreads)
      taken[i] = draw_sample(params.seed, position + static_cast<uint64_t>(i), job.p.n, sample, indices);
    __syncthreads();
    if (thread == 0) {
      int at = 0, s = drawn;
      for (; at < kWindow && s < count; at += taken[at]) begins[s++ - drawn] = at;
      drawn_to = s;
      end = at;
    }
    __syncthreads();
    for (int s = drawn + thread; s < drawn_to; s += kThreads) {
      draw_sample(params.seed, position + static_cast<uint64_t>(begins[s - drawn]), job.p.n, sample, indices);
      Pair pairs[4];
      for (int i = 0; i < sample; ++i) pairs[i] = job.pairs[indices[i]];
      PlaneTransform transform;
      const bool plausible = fit_sample(pairs, sample, &transform);
      job.drawn[s] = plausible ? transform : PlaneTransform{};
      job.counts[s] = 0;
    }
    drawn = drawn_to;
    position += static_cast<uint64_t>(end);
    __syncthreads();  // before they are written again
  }
  if (thread == 0) job.state->position = position;
}

// A warp: a sample and some of the pairs. Whole numbers may be added in any order.
__global__ void __launch_bounds__(kThreads)
    score_samples(const __grid_constant__ Job job, int64_t begin, int count) {
  if (is_over(job, begin)) return;
  const int s = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);
  if (s >= count) return;
  const FloatTransform h = rounded(job.drawn[s]);
  const auto limit = static_cast<float>(job.state->limit);
  const int64_t first = blockIdx.y * kPairsOfWarp, after = first + kPairsOfWarp;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int inliers = 0;
  for (int64_t i = first + lane; i < job.p.n && i < after; i += 32) inliers += takes(h, job.floats[i], limit);
  for (int apart = 16; apart > 0; apart /= 2) inliers += __shfl_xor_sync(0xffffffffu, inliers, apart);
  if (lane == 0 && inliers > 0) atomicAdd(&job.counts[s], inliers);
}

// One block: the samples with more inliers than any before, in their order.
__global__ void __launch_bounds__(kThreads)
    decide(const __grid_constant__ Job job, int64_t begin, int count) {
  __shared__ Scratch scratch;
  __shared__ int next;
  if (is_over(job, begin)) return;
  const RansacParams& params = job.p.params;
  const int thread = static_cast<int>(threadIdx.x);
  PlaneTransform best = job.state->best;
  int64_t most = job.state->most, stop = job.state->stop;
  BlockPoints points(job, job.state->limit, &scratch);
  for (int at = 0;; ++at) {
    const int64_t left = stop - begin;
    const int end = left < count ? static_cast<int>(left) : count;
    if (thread == 0) next = end;
    __syncthreads();
    for (int s = at + thread; s < end; s += kThreads) {
      if (job.counts[s] <= most) continue;
      atomicMin(&next, s);
      break;
    }
    __syncthreads();
    at = next;
    __syncthreads();  // before it is written again
    if (at >= end) break;
    best = job.drawn[at];
    most = job.counts[at];
    optimise(points, params.affine, &best, &most);
    const int64_t needed =
        samples_needed(most, job.p.n, sample_of(params.affine), params.confidence, params.max_iterations);
    const int64_t round_end = (begin + at) / kHypotheses * kHypotheses + kHypotheses;
    const int64_t enough = needed > round_end ? needed : round_end;
    stop = enough < stop ? enough : stop;
  }
  if (thread != 0) return;
  job.state->best = best;
  job.state->most = most;
  job.state->stop = stop;
}

// One block: the last fit, or the only one; and what it takes.
__global__ void __launch_bounds__(kThreads) finish(const __grid_constant__ Job job) {
  __shared__ Scratch scratch;
  if (*job.status != TransformStatus::kSearching) return;
  const State state = *job.state;
  const RansacParams& params = job.p.params;
  BlockPoints points(job, state.limit, &scratch);
  PlaneTransform found = state.best, matrix;
  bool is_found = true;
  if (params.robust) {
    is_found = state.most >= sample_of(params.affine);
    if (is_found) polish(points, params.affine, &found);
  } else {
    points.select_all();
    if (!params.affine) fit_linear(points, &found);
    is_found = fit_selected(points, params.affine, &found);
  }
  for (int64_t i = threadIdx.x; is_found && i < job.p.n; i += kThreads)
    job.inliers[i] = !params.robust || squared_error(found, job.pairs[i]) <= state.limit;
  __syncthreads();  // all have read the status
  if (threadIdx.x != 0) return;
  is_found = is_found && denormalise(found, state.from, state.to, &matrix);
  for (int i = 0; is_found && i < 9; ++i) job.matrix[i] = matrix.h[i];
  *job.status = is_found ? TransformStatus::kFound : TransformStatus::kNone;
}

}  // namespace

size_t find_transform_workspace_bytes(const TransformProblem& problem) {
  Workspace workspace;
  Job(problem, &workspace);
  return workspace.bytes();
}

void find_transform(const Stream& stream, const TransformProblem& problem, void* memory, double* matrix,
                    uint8_t* inliers, TransformStatus* status) {
  const char* const op = problem.params.op();
  Workspace workspace(memory);
  Job job(problem, &workspace);
  job.matrix = matrix;
  job.inliers = inliers;
  job.status = status;
  launch(op, stream, {1, kThreads}, prepare, job);
  const int64_t samples = problem.params.robust && problem.n > 0 ? problem.params.max_iterations : 0;
  for (int64_t begin = 0, batch = kFirstBatch; begin < samples;) {
    const int64_t left = samples - begin;
    const int count = static_cast<int>(batch < left ? batch : left);
    launch(op, stream, {1, kThreads}, draw_samples, job, begin, count);
    launch(op, stream, {{blocks_of(count, kWarps), blocks_of(problem.n, kPairsOfWarp)}, kThreads},
           score_samples, job, begin, count);
    launch(op, stream, {1, kThreads}, decide, job, begin, count);
    begin += count;
    batch = 2 * batch < kBatch ? 2 * batch : kBatch;
  }
  launch(op, stream, {1, kThreads}, finish, job);
}

}  // namespace pyvision::cuda
