// SPDX-License-Identifier: Apache-2.0
// The filters that are wider than two pixels: one axis after the other, each a sparse matrix of runs of taps,
// by csrc/ops/interpolate/filter.h. The gradient is the same of the matrices' transposes.
#include "common/numbers.cuh"
#include "common/rows.cuh"
#include "common/workspace.h"
#include "interpolate.cuh"
#include "ops/interpolate/filter.h"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 128;

// Which positions each of `count` others sums.
struct Runs {
  int64_t* begin;  // (count,)
  int64_t* end;    // (count,)
};

// An axis of the resampling in device memory.
struct Taps {
  int64_t most;   // of an output
  float* weight;  // (out, most)
  Runs read;      // by the outputs, of the inputs
  Runs readers;   // of the inputs, among the outputs: of the gradient
};

__global__ void __launch_bounds__(kThreads)
    find_taps(AxisFilter<float> filter, int64_t most, float* weight, int64_t* begin, int64_t* end) {
  const int64_t o = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (o >= filter.out) return;
  TapRun<float> run(weight + o * most);
  filter.take(o, &run);
  begin[o] = run.begin;
  end[o] = run.begin + run.count;
}

// The first of `count` values, none less than its predecessor, that is greater than `than`.
__device__ int64_t first_greater(const int64_t* values, int64_t count, int64_t than) {
  int64_t begin = 0;
  while (begin < count) {
    const int64_t middle = begin + (count - begin) / 2;
    if (values[middle] > than)
      count = middle;
    else
      begin = middle + 1;
  }
  return begin;
}

// begin, end: (out,), of what the outputs read; those of the inputs' readers: (in,)
__global__ void __launch_bounds__(kThreads)
    find_readers(const int64_t* begin, const int64_t* end, int64_t in, int64_t out, int64_t* readers_begin,
                 int64_t* readers_end) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= in) return;
  readers_begin[i] = first_greater(end, out, i);
  readers_end[i] = first_greater(begin, out, i);
}

// x: (batch, in, pitch) -> y: (batch, out, pitch)
template <class From, class To>
struct Resampling {
  const From* x;
  int64_t in, out, pitch;
  const int64_t *begin, *end;  // (out,), positions of x
  const float* weight;
  int64_t most;
  const int64_t* read;  // of the gradient: (in,), the first position of y that a position of x was made of
  int vectors;          // of a position, of `pitch` values
  To* y;
  RowGrid grid;
};

// A thread: kVec values of some positions of y. kColumns: a row of the grid is y's (out, pitch), of channels;
// else it is one position of y, with a row of pixels. Neighbours read what lies side by side, or at most a
// few steps apart; what the next positions read of it again comes from L1 and L2.
template <class From, class To, int kVec, bool kColumns>
__global__ void __launch_bounds__(kRowThreads) resample_kernel(Resampling<From, To> job) {
  const RowItems items(job.grid);
  const int64_t batch = kColumns ? items.row : items.row / job.out;
  const From* const x = job.x + batch * job.in * job.pitch;
  To* const y = job.y + items.row * job.grid.items * kVec;
  for (int item = items.first; item < items.end; item += items.step) {
    const int64_t position = kColumns ? item / job.vectors : items.row % job.out;  // [0, out)
    const From* const from = x + (kColumns ? item % job.vectors : item) * int64_t{kVec};
    const int64_t begin = job.begin[position], end = job.end[position];
    float sum[kVec] = {};
    for (int64_t k = begin; k < end; ++k) {
      const float weight = job.weight[job.read == nullptr ? position * job.most + k - begin
                                                          : k * job.most + position - job.read[k]];
      float value[kVec];
      load_packs<kVec>(from + k * job.pitch, value);
#pragma unroll
      for (int i = 0; i < kVec; ++i) sum[i] = fmaf(value[i], weight, sum[i]);
    }
    store_packs<kVec>(sum, y + int64_t{item} * kVec);
  }
}

// T: of the map, whose packs set how many values a thread has
template <class T, bool kColumns, class From, class To>
void resample(const char* op, const Stream& stream, const From* x, int64_t batch, int64_t in, int64_t out,
              int64_t pitch, const Taps& taps, bool transposed, To* y) {
  const bool packed = in_packs<T>(pitch, x, y);
  const int64_t vectors = pitch / (packed ? kPack<T> : 1);
  const RowGrid grid(op, kColumns ? batch : batch * out, kColumns ? out * vectors : vectors);
  const Runs& runs = transposed ? taps.readers : taps.read;
  const Resampling<From, To> job = {x,
                                    in,
                                    out,
                                    pitch,
                                    runs.begin,
                                    runs.end,
                                    taps.weight,
                                    taps.most,
                                    transposed ? taps.read.begin : nullptr,
                                    static_cast<int>(vectors),
                                    y,
                                    grid};
  launch(op, stream, grid.shape(),
         packed ? resample_kernel<From, To, kPack<T>, kColumns> : resample_kernel<From, To, 1, kColumns>,
         job);
}

// What is taken of the workspace; with no memory, counted.
struct Layout {
  Taps rows, columns;
  float* between;  // (n, rows, columns, channels): rows are what they shall be, columns not yet
};

Taps taken(const AxisFilter<float>& filter, bool backward, Workspace* workspace) {
  const auto runs = [&](int64_t count) {
    return Runs{workspace->take<int64_t>(count), workspace->take<int64_t>(count)};
  };
  const int64_t most = filter.most_taps();
  return {most, workspace->take<float>(filter.out * most), runs(filter.out),
          backward ? runs(filter.in) : Runs{}};
}

AxisFilter<float> rows_of(const InterpolateProblem& p) { return {p.params, p.params.scale_h, p.h, p.out_h}; }
AxisFilter<float> columns_of(const InterpolateProblem& p) {
  return {p.params, p.params.scale_w, p.w, p.out_w};
}

Layout layout_of(const InterpolateProblem& p, bool backward, Workspace* workspace) {
  const Taps rows = taken(rows_of(p), backward, workspace),
             columns = taken(columns_of(p), backward, workspace);
  const int64_t between = p.n * p.channels * (backward ? p.h * p.out_w : p.out_h * p.w);
  return {rows, columns, workspace->take<float>(between)};
}

void find(const char* op, const Stream& stream, const AxisFilter<float>& filter, bool backward,
          const Taps& taps) {
  launch(op, stream, {blocks_of(filter.out, kThreads), kThreads}, find_taps, filter, taps.most, taps.weight,
         taps.read.begin, taps.read.end);
  if (backward)
    launch(op, stream, {blocks_of(filter.in, kThreads), kThreads}, find_readers, taps.read.begin,
           taps.read.end, filter.in, filter.out, taps.readers.begin, taps.readers.end);
}

}  // namespace

size_t interpolate_workspace(const InterpolateProblem& p, bool backward) {
  if (!is_wide(p.params) || p.n == 0) return 0;
  Workspace counted;
  layout_of(p, backward, &counted);
  return counted.bytes();
}

void interpolate_wide(const char* op, const Stream& stream, const InterpolateProblem& p, void* memory,
                      void* grad_input) {
  if (p.n == 0) return;
  const bool backward = grad_input != nullptr;
  Workspace workspace(memory);
  const Layout layout = layout_of(p, backward, &workspace);
  find(op, stream, rows_of(p), backward, layout.rows);
  find(op, stream, columns_of(p), backward, layout.columns);
  const int64_t h = backward ? p.out_h : p.h, to_h = backward ? p.h : p.out_h;
  const int64_t w = backward ? p.out_w : p.w, to_w = backward ? p.w : p.out_w;
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = static_cast<const T*>(backward ? p.output : p.input);
    T* const to = static_cast<T*>(backward ? grad_input : p.output);
    resample<T, false>(op, stream, from, p.n, h, to_h, w * p.channels, layout.rows, backward, layout.between);
    resample<T, true>(op, stream, static_cast<const float*>(layout.between), p.n * to_h, w, to_w, p.channels,
                      layout.columns, backward, to);
  });
}

}  // namespace pyvision::cuda
