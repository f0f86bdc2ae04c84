// SPDX-License-Identifier: Apache-2.0
#include "conv/depthwise-inl.h"
#include "conv/depthwise_planes-inl.h"
#include "conv/direct-inl.h"
#include "conv/grouped-inl.h"
#include "conv/winograd_planes-inl.h"
#include "ops/conv2d/bf16-inl.h"
#include "ops/conv2d/kernels.h"

namespace pyvision::PYVISION_ISA_NS {

MicrokernelOf<Epilogue> pick_f32_microkernel(int rows, bool narrow) {
  return pick_own_microkernel<F32Product, Epilogue>(rows, narrow);
}

DepthwiseKernel pick_depthwise_kernel(const DepthwiseConv& job) {
  const auto is = [&](int64_t k, int64_t s) { return job.kernel_w == k && job.column_stride == s; };
  if (is(3, 1)) return depthwise_block<3, 1>;
  if (is(3, 2)) return depthwise_block<3, 2>;
  if (is(5, 1)) return depthwise_block<5, 1>;
  if (is(5, 2)) return depthwise_block<5, 2>;
  if (is(7, 1)) return depthwise_block<7, 1>;
  if (is(7, 2)) return depthwise_block<7, 2>;
  return depthwise_block<0, 0>;
}

inline int64_t packed_floats(int64_t out_channels, int64_t k) {
  const int64_t whole = out_channels / kPanelWidth, rest = out_channels % kPanelWidth;
  const int64_t last = rest == 0 ? 0 : (panel_is_narrow(rest) ? F32::kLanes : kPanelWidth);
  return (whole * kPanelWidth + last) * k;
}

const Conv2dKernels conv2d = {
    F32::kIsaName,         kRowTile,
    kPanelWidth,           F32::kLanes,
    kTileStride,           packed_floats,
    pack_floats,           run_tiles<CopyProducer>,
    kDepthwiseRows,        depthwise_conv,
    grouped_conv,          depthwise_planes,
    winograd_pack,         winograd_input,
    winograd_multiply,     winograd_output,
    winograd_input_planes, winograd_output_planes,
};

}  // namespace pyvision::PYVISION_ISA_NS
