// SPDX-License-Identifier: Apache-2.0
// Images sampled where a plane transform or a map says, on the device: csrc/ops/warp/warp.h. Positions are
// computed in double. Bilinear u8 is computed in integers for any number of channels.
#pragma once

#include "common/device.h"
#include "core/tensor.h"
#include "ops/warp/params.h"

namespace pyvision::cuda {

constexpr int kBorderValues = 32;

// What constant borders hold: one value for all channels, or one each.
struct BorderValues {
  float value[kBorderValues];
  int count;
};

struct WarpProblem {
  WarpParams params;
  BorderValues border;
  DType dtype = DType::kU8;     // kU8, kF32
  const void* input = nullptr;  // (n, h, w, channels)
  int64_t n = 0, channels = 0;
  int h = 0, w = 0;
  int out_h = 0, out_w = 0;
  void* output = nullptr;  // (n, out_h, out_w, channels)
};

// transform: 9 numbers on the host, from output to input
void warp_projective(const char* op, const Stream& stream, const WarpProblem& problem,
                     const double* transform);
// A transform on the device, where it stays: one that has no inverse leads outside of the image everywhere.
struct DeviceTransform {
  const void* matrix = nullptr;  // (rows, 3)
  DType dtype = DType::kF64;     // or kF32
  int64_t rows = 3;              // or 2
  bool inverted = false;         // already from output to input
};
constexpr int64_t kTransformBytes = 9 * sizeof(double);
// workspace: of kTransformBytes
void warp_projective_by(const char* op, const Stream& stream, const WarpProblem& problem,
                        const DeviceTransform& transform, void* workspace);
// map_x, map_y: (out_h, out_w), `step` elements between neighbours and out_w * step between rows
void warp_map(const char* op, const Stream& stream, const WarpProblem& problem, const float* map_x,
              const float* map_y, int64_t step);

}  // namespace pyvision::cuda
