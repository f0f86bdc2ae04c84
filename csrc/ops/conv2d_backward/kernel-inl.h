// SPDX-License-Identifier: Apache-2.0
#include "conv/depthwise_grad-inl.h"
#include "conv/weight_grad-inl.h"
#include "ops/conv2d_backward/kernels.h"

namespace pyvision::PYVISION_ISA_NS {

inline void column_sums(const float* x, int64_t stride, int64_t rows, int64_t channels, float* sums) {
  with_channel_blocks(channels, [&](auto each) {
    each([&](auto block, int64_t c) {
      F32 total[kBlockVecs];
      for (int v = 0; v < block.kVecs; ++v) total[v] = F32::zero();
      for (int64_t first = 0; first < rows; first += kSumRows) {
        const int64_t last = first + kSumRows < rows ? first + kSumRows : rows;
        F32 sum[kBlockVecs];
        for (int v = 0; v < block.kVecs; ++v) sum[v] = F32::zero();
        for (int64_t r = first; r < last; ++r)
          for (int v = 0; v < block.kVecs; ++v) sum[v] = sum[v] + block.load(x + r * stride + c, v);
        for (int v = 0; v < block.kVecs; ++v) total[v] = total[v] + sum[v];
      }
      for (int v = 0; v < block.kVecs; ++v) block.store(total[v], sums + c, v);
    });
  });
}

const Conv2dBackwardKernels conv2d_backward = {
    F32::kIsaName, weight_grad, depthwise_weight_grad, grouped_weight_grad, column_sums,
};

}  // namespace pyvision::PYVISION_ISA_NS
