// SPDX-License-Identifier: Apache-2.0
#include "conv_transpose2d.cuh"

#include <numeric>

#include "conv_gemm.cuh"

namespace pyvision::cuda {
namespace {

// One axis of a sub-pixel phase: outputs first, first + stride, … see taps last, last - step, …, and along
// them the input moves one pixel per output.
//
//   stride 2, kernel 4, padding 1:   phase 0: taps 3 1    phase 1: taps 2 0
struct PhaseAxis {
  int first, outputs;
  int last, step, taps;
  int dilation, pad;  // of the convolution it is; pad may be negative: the phase starts inside the input
};

PhaseAxis phase_of_axis(int64_t first, int64_t extent, int64_t kernel, int64_t stride, int64_t padding,
                        int64_t dilation) {
  const int64_t common = std::gcd(dilation, stride), step = stride / common;
  int64_t last = kernel - 1;
  while (last >= 0 && (first + padding - last * dilation) % stride != 0) --last;
  const int64_t taps = last < 0 ? 0 : last / step + 1;
  const int64_t pad = last < 0 ? 0 : (last * dilation - first - padding) / stride;
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  return {narrow(first), first < extent ? narrow((extent - first + stride - 1) / stride) : 0,
          narrow(last),  narrow(step),
          narrow(taps),  narrow(dilation / common),
          narrow(pad)};
}

// The inputs of a phase, whose outputs lie apart.
template <class T>
struct PhaseInputs : DenseInputs<T> {
  int64_t out_h, out_w;  // of the whole output
  int first_h, first_w, stride_h, stride_w;

  __device__ int64_t output_pixel(const ConvGeometry& g, int64_t row) const {
    const int64_t column = row % g.out_w * stride_w + first_w;
    const int64_t line = row / g.out_w % g.out_h * stride_h + first_h;
    return (row / g.out_w / g.out_h * out_h + line) * out_w + column;
  }
};

constexpr int kThreads = 256;

// The taps of a phase, in the order in which the GEMM reads them: (out_channels, taps, inputs of a group).
template <class T>
__global__ void arrange_weight(const T* weight, ConvGeometry phase, PhaseAxis rows, PhaseAxis columns,
                               int kernel_h, int kernel_w, T* arranged, int64_t count) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= count) return;
  const int64_t in = index % phase.group_in, tap = index / phase.group_in % (columns.taps * rows.taps);
  const int64_t out = index / phase.group_in / (columns.taps * rows.taps);  // [0, out_channels)
  const int64_t kh = rows.last - tap / columns.taps * rows.step;
  const int64_t kw = columns.last - tap % columns.taps * columns.step;
  const int64_t group = out / phase.group_out;
  arranged[index] =
      weight[(((group * phase.group_in + in) * kernel_h + kh) * kernel_w + kw) * phase.group_out +
             out % phase.group_out];
}

// visit(geometry, rows, columns) of every phase that has outputs.
template <class Visit>
void for_each_phase(const ConvTransposeProblem& p, Visit visit) {
  const ConvTranspose2dParams& q = p.params;
  for (int64_t i = 0; i < q.stride_h; ++i) {
    const PhaseAxis rows = phase_of_axis(i, p.out_h, q.kernel_h, q.stride_h, q.padding_h, q.dilation_h);
    for (int64_t j = 0; j < q.stride_w; ++j) {
      const PhaseAxis columns = phase_of_axis(j, p.out_w, q.kernel_w, q.stride_w, q.padding_w, q.dilation_w);
      ConvGeometry g = {};
      g.h = static_cast<int>(p.h), g.w = static_cast<int>(p.w);
      g.out_h = rows.outputs, g.out_w = columns.outputs;
      g.kernel_h = rows.taps, g.kernel_w = columns.taps;
      g.stride_h = g.stride_w = 1;
      g.pad_top = rows.pad, g.pad_left = columns.pad;
      g.dilation_h = rows.dilation, g.dilation_w = columns.dilation;
      g.in_channels = static_cast<int>(q.in_channels), g.out_channels = static_cast<int>(q.out_channels);
      g.group_in = static_cast<int>(q.in_channels / q.groups);
      g.group_out = static_cast<int>(q.out_channels / q.groups);
      g.rows = p.n * g.out_h * g.out_w;
      if (rows.outputs > 0 && columns.outputs > 0) visit(g, rows, columns);
    }
  }
}

// Of a workspace that every phase uses again.
struct Space {
  size_t weight_bytes = 0, partial_bytes = 0;

  Space(const Stream& stream, const ConvTransposeProblem& p) {
    for_each_phase(p, [&](const ConvGeometry& g, const PhaseAxis&, const PhaseAxis&) {
      const size_t weight = static_cast<size_t>(depth_of(g) * g.out_channels) * item_bytes(p.dtype);
      const size_t partial = cuda::partial_bytes(plan_of(stream, g, p.dtype, /*wide=*/false), g);
      weight_bytes = weight > weight_bytes ? weight : weight_bytes;
      partial_bytes = partial > partial_bytes ? partial : partial_bytes;
    });
  }
};

template <class T>
void run(const char* op, const Stream& stream, const ConvTransposeProblem& p, void* memory) {
  const ConvTranspose2dParams& q = p.params;
  const Space space(stream, p);
  Workspace workspace(memory);
  T* const arranged = reinterpret_cast<T*>(workspace.take<char>(static_cast<int64_t>(space.weight_bytes)));
  void* const partial = workspace.take<char>(static_cast<int64_t>(space.partial_bytes));
  const Epilogue<T> epilogue = {static_cast<const T*>(p.bias), nullptr, static_cast<T*>(p.output),
                                q.activation};
  for_each_phase(p, [&](const ConvGeometry& phase, const PhaseAxis& rows, const PhaseAxis& columns) {
    const int64_t count = depth_of(phase) * phase.out_channels;
    launch(op, stream, {blocks_of(count, kThreads), kThreads}, arrange_weight<T>,
           static_cast<const T*>(p.weight), phase, rows, columns, static_cast<int>(q.kernel_h),
           static_cast<int>(q.kernel_w), arranged, count);
    PhaseInputs<T> inputs = {};
    inputs.data = static_cast<const T*>(p.input);
    inputs.out_h = p.out_h, inputs.out_w = p.out_w;
    inputs.first_h = rows.first, inputs.first_w = columns.first;
    inputs.stride_h = static_cast<int>(q.stride_h), inputs.stride_w = static_cast<int>(q.stride_w);
    const Plan plan = plan_of(stream, phase, p.dtype, /*wide=*/false);
    const bool packed = packs(phase, p.dtype, p.input, arranged);
    ConvGeometry g = phase;
    if (count == 0) g.kernel_h = g.kernel_w = 1;  // no stage will be filled, and places in K be divided by it
    run_gemm(op, stream, g, plan, inputs, arranged, epilogue, partial,
             [&](const Conv<PhaseInputs<T>>& job) { start_narrow(op, stream, plan, packed, job); });
  });
}

}  // namespace

size_t conv_transpose2d_workspace_bytes(const Stream& stream, const ConvTransposeProblem& p) {
  const Space space(stream, p);
  Workspace workspace;
  workspace.take<char>(static_cast<int64_t>(space.weight_bytes));
  workspace.take<char>(static_cast<int64_t>(space.partial_bytes));
  return workspace.bytes();
}

void conv_transpose2d(const char* op, const Stream& stream, const ConvTransposeProblem& p, void* workspace) {
  with_float(p.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, workspace); });
}

}  // namespace pyvision::cuda
