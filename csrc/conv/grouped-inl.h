// SPDX-License-Identifier: Apache-2.0
// Grouped convolution with few channels a group, over NHWC: the depthwise kernel with a loop over the inputs
// of a group around it. A vector of outputs holds as many whole groups as fit, and each lane picks the i-th
// input of its own group; a tile GEMM per group would mostly multiply padding.
//
//   4 channels a group:  outputs   a0 a1 a2 a3 b0 b1 b2 b3 …      i = 1:  a1 a1 a1 a1 b1 b1 b1 b1 …
//
// Groups of which less than two fit a vector take vectors of their own, and each input is broadcast.
#pragma once

#include "conv/depthwise-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Lanes of several groups. Outputs: WholeLanes or ClippedLanes
template <class Lanes>
struct SeveralGroups {
  Lanes outputs, inputs;
  I32 first;  // lane of the first input of each output lane's group
  int64_t group_in;

  F32 input(const float* p, int64_t column, int64_t i) const {
    return permute(inputs.input(p, column), first + I32::set(static_cast<int32_t>(i)));
  }
  F32 parameters(const float* p) const { return outputs.parameters(p); }
  F32 load(const float* p, int pixel) const { return outputs.load(p, pixel); }
  void store(F32 x, float* p, int pixel) const { outputs.store(x, p, pixel); }
};

// All lanes belong to one group.
template <class Lanes>
struct OneGroup {
  Lanes outputs;
  int64_t group_in;

  F32 input(const float* p, int64_t column, int64_t i) const {
    const float* from = outputs.address(p + i, column);
#if defined(__x86_64__)
    asm("" : "+r"(from));  // or the compiler makes a branch of the choice between value and zero
#endif
    return F32::set(*from);
  }
  F32 parameters(const float* p) const { return outputs.parameters(p); }
  F32 load(const float* p, int pixel) const { return outputs.load(p, pixel); }
  void store(F32 x, float* p, int pixel) const { outputs.store(x, p, pixel); }
};

// By output lane, where several groups share a vector: the lane of the first input of its group.
inline I32 first_input_lanes(const GroupVectors& vectors) {
  // The half keeps quotients away from whole numbers: rounding cannot reach the next one.
  const F32 group = floor((F32::iota() + F32::set(0.5f)) / F32::set(static_cast<float>(vectors.group_out)));
  return to_i32(group * F32::set(static_cast<float>(vectors.group_in)));
}

// Output vectors [begin, end).
template <int K, int S>
void grouped_block(const DepthwiseConv& base, const DepthwiseBlock& block, int64_t begin, int64_t end) {
  const auto& job = static_cast<const GroupedConv&>(base);
  const GroupVectors& vectors = job.vectors;
  const int64_t taps = job.kernel_h * vectors.group_in * job.kernel_w * F32::kLanes;
  const bool several = vectors.groups_per_vector > 1, whole = is_whole(job, block);
  const I32 first_lane = first_input_lanes(vectors);
  for (int64_t v = begin; v < end; ++v) {
    const int64_t c = vectors.first_out(v), c_in = vectors.first_in(v);
    const float* packed = job.packed + v * taps;
    const auto lanes = static_cast<int>(vectors.out_lanes(v));
    const auto lanes_in = static_cast<int>(lanes / vectors.group_out * vectors.group_in);  // of whole groups
    const ClippedLanes out{lanes, block.pixels, block.column_begin, block.column_end};
    if (several) {
      if (whole && lanes == F32::kLanes && lanes_in == F32::kLanes) {
        depthwise_vector<K, S>(job, block, SeveralGroups<WholeLanes>{{}, {}, first_lane, vectors.group_in}, c,
                               c_in, packed);
        continue;
      }
      ClippedLanes in = out;
      in.lanes = lanes_in;
      depthwise_vector<K, S>(job, block, SeveralGroups<ClippedLanes>{out, in, first_lane, vectors.group_in},
                             c, c_in, packed);
    } else if (whole && lanes == F32::kLanes) {
      depthwise_vector<K, S>(job, block, OneGroup<WholeLanes>{{}, vectors.group_in}, c, c_in, packed);
    } else {
      depthwise_vector<K, S>(job, block, OneGroup<ClippedLanes>{out, vectors.group_in}, c, c_in, packed);
    }
  }
  finish_block(job, block, vectors.first_out(begin), vectors.first_out(end - 1) + vectors.out_lanes(end - 1));
}

// Row blocks [block_begin, block_end) of the n * row_blocks of all images, vectors [begin, end).
inline void grouped_conv(const GroupedConv& job, int64_t block_begin, int64_t block_end, int64_t begin,
                         int64_t end) {
  const auto is = [&](int64_t k, int64_t s) { return job.kernel_w == k && job.column_stride == s; };
  const DepthwiseKernel kernel = is(3, 1)   ? grouped_block<3, 1>
                                 : is(3, 2) ? grouped_block<3, 2>
                                            : grouped_block<0, 0>;
  const int64_t taps = job.kernel_h * job.vectors.group_in * job.kernel_w * F32::kLanes;
  const int64_t chunk = kChunkFloats < taps ? 1 : kChunkFloats / taps;
  run_row_blocks(job, kernel, chunk, block_begin, block_end, begin, end);
}

}  // namespace pyvision::PYVISION_ISA_NS
