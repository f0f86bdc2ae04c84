// SPDX-License-Identifier: Apache-2.0
#include "soft_nms.cuh"

#include "boxes.cuh"
#include "common/launch.cuh"
#include "common/workspace.h"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / 32;

template <class T>
struct SoftJob {
  const T* boxes;
  const T* scores;
  int64_t n, max_output;
  SoftNms method;
  T iou_threshold, minus_inverse_sigma, score_threshold;
  T* left;  // (n,): the scores so far, -infinity where a box is out
  int64_t* keep;
  T* kept_scores;
  int64_t* count;
};

template <class T>
struct alignas(16) Candidate {  // moved in one access
  T score;
  int64_t index;

  __device__ bool loses_to(const Candidate& other) const {
    return other.score > score || (other.score == score && other.index < index);
  }
};

template <class T>
__device__ Candidate<T> best_of_block(Candidate<T> mine, Candidate<T>* shared) {
  for (int apart = 16; apart > 0; apart /= 2) {
    const Candidate<T> other = {
        __shfl_xor_sync(0xffffffffu, mine.score, apart),
        static_cast<int64_t>(__shfl_xor_sync(0xffffffffu, static_cast<long long>(mine.index), apart))};
    if (mine.loses_to(other)) mine = other;
  }
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % 32 == 0) shared[thread / 32] = mine;
  __syncthreads();
  Candidate<T> best = shared[0];
  for (int i = 1; i < kWarps; ++i)
    if (best.loses_to(shared[i])) best = shared[i];
  __syncthreads();  // before they are written again
  return best;
}

template <class T>
__device__ T lowered(const SoftJob<T>& job, T score, T overlap) {
  if (job.method == SoftNms::kGaussian) {
    score *= exp(overlap * overlap * job.minus_inverse_sigma);
  } else if (overlap > job.iou_threshold) {
    score = job.method == SoftNms::kLinear ? score * (1 - overlap) : static_cast<T>(-INFINITY);
  }
  return score >= job.score_threshold ? score : static_cast<T>(-INFINITY);
}

// One block, whose threads have every kThreads-th box each.
template <class T>
__global__ void __launch_bounds__(kThreads) soft_nms_kernel(SoftJob<T> job) {
  __shared__ Candidate<T> shared[kWarps];
  const Candidate<T> none = {static_cast<T>(-INFINITY), job.n};
  Candidate<T> mine = none;
  for (int64_t i = threadIdx.x; i < job.n; i += kThreads) {
    const T score = job.scores[i];
    const bool takes_part = is_finite(load_box(job.boxes, i)) && score >= job.score_threshold;
    const Candidate<T> candidate = {takes_part ? score : none.score, i};
    job.left[i] = candidate.score;
    if (mine.loses_to(candidate)) mine = candidate;
  }
  int64_t taken = 0;
  while (taken < job.max_output) {
    const Candidate<T> best = best_of_block(mine, shared);
    if (best.score == none.score) break;
    if (threadIdx.x == 0) {
      job.keep[taken] = best.index;
      job.kept_scores[taken] = best.score;
    }
    ++taken;
    const Box<T> box = load_box(job.boxes, best.index);
    mine = none;
    for (int64_t i = threadIdx.x; i < job.n; i += kThreads) {
      if (job.left[i] == none.score) continue;
      const T score =
          i == best.index ? none.score : lowered(job, job.left[i], iou(box, load_box(job.boxes, i)));
      job.left[i] = score;
      if (mine.loses_to({score, i})) mine = {score, i};
    }
  }
  for (int64_t i = taken + threadIdx.x; i < job.n; i += kThreads) {
    job.keep[i] = -1;
    job.kept_scores[i] = 0;
  }
  if (threadIdx.x == 0) *job.count = taken;
}

template <class T>
void run(const char* op, const Stream& stream, const SoftNmsProblem& problem, void* workspace, int64_t* keep,
         void* kept_scores, int64_t* count) {
  const NmsProblem& p = problem.p;
  const SoftJob<T> job = {static_cast<const T*>(p.boxes),
                          static_cast<const T*>(p.scores),
                          p.n,
                          p.max_output,
                          problem.method,
                          static_cast<T>(p.threshold),
                          static_cast<T>(-1 / problem.sigma),
                          static_cast<T>(problem.score_threshold),
                          Workspace(workspace).take<T>(p.n),
                          keep,
                          static_cast<T*>(kept_scores),
                          count};
  launch(op, stream, {1, kThreads}, soft_nms_kernel<T>, job);
}

}  // namespace

size_t soft_nms_workspace_bytes(const SoftNmsProblem& problem) {
  Workspace workspace;
  workspace.take<double>(problem.p.n);
  return workspace.bytes();
}

void soft_nms(const char* op, const Stream& stream, const SoftNmsProblem& problem, void* workspace,
              int64_t* keep, void* kept_scores, int64_t* count) {
  (problem.p.dtype == DType::kF64 ? run<double> : run<float>)(op, stream, problem, workspace, keep,
                                                              kept_scores, count);
}

}  // namespace pyvision::cuda
