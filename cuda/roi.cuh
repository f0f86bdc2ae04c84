// SPDX-License-Identifier: Apache-2.0
// What pooling of regions shares on the device: boxes, samples and bins along an axis, the kernel that pulls
// gradients, and what bindings hand over. Formulas: csrc/ops/roi_align/roi_align.h and its siblings.
//
// What the CPU refuses would have to be read back here: bins of a box whose image does not exist are NaN and
// pass no gradient on, samples at positions that are not finite are 0.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"

namespace pyvision::cuda {

// The boxes of a feature pyramid that belong to one of its maps: see multi_scale_roi_align.
struct RoiLevel {
  int level = -1;  // -1: one map takes all boxes
  float finest = 0, coarsest = 0, canonical_scale = 1, canonical_level = 0;
};

struct RoiProblem {
  DType dtype = DType::kF32;                  // of maps and bins: kF32, kF16, kBf16
  int64_t n = 0, h = 0, w = 0, channels = 0;  // of the maps
  const float* boxes = nullptr;               // (count, 5), of rotated ones (count, 6)
  int64_t count = 0;
  int64_t bins_h = 1, bins_w = 1;
  double spatial_scale = 1;
  int64_t sampling_ratio = -1;  // not positive: by the size of the bins
  bool aligned = false;
  RoiLevel level;
};

// boxes: (count, columns), of one image; joined: (all, columns + 1), of all images, where they become rows
// from `begin` on.
void join_boxes(const char* op, const Stream& stream, const float* boxes, int64_t count, int64_t columns,
                int64_t image, int64_t begin, float* joined);

// A map (n, h, w, channels) and bins (count, bins_h, bins_w, channels) in memory: one is read and the other
// written.
enum class RoiKind : uint8_t { kAverage, kMaximum, kOwnChannels };

// places: (count, bins_h, bins_w, channels, 2): y and x of the largest samples, NaN where there is none; may
// be null. Of kMaximum alone. Of kOwnChannels the bins have channels / (bins_h * bins_w).
void roi_align(const char* op, const Stream& stream, const RoiProblem& p, RoiKind kind, const void* map,
               void* bins, float* places);
void roi_align_backward(const char* op, const Stream& stream, const RoiProblem& p, RoiKind kind,
                        const void* bins, const float* places, void* map);

// argmax: (count, bins_h, bins_w, channels), flat over a map's pixels; -1 in empty bins.
void roi_pool(const char* op, const Stream& stream, const RoiProblem& p, const void* map, void* bins,
              int32_t* argmax);
size_t roi_pool_backward_workspace_bytes(const RoiProblem& p);
void roi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* bins,
                       const int32_t* argmax, void* workspace, void* map);
// Bins of channels / (bins_h * bins_w).
void ps_roi_pool(const char* op, const Stream& stream, const RoiProblem& p, const void* map, void* bins);
void ps_roi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* bins,
                          void* map);

// Boxes of (count, 6). Bins of more than 65,536 samples, which the CPU refuses, are NaN as well.
size_t roi_align_rotated_workspace_bytes(const RoiProblem& p);
void roi_align_rotated(const char* op, const Stream& stream, const RoiProblem& p, const void* map,
                       void* workspace, void* bins);
void roi_align_rotated_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* bins,
                                void* workspace, void* map);

// Bins that are moved and weighed one by one, see csrc/ops/deform_roi_pool/deform_roi_pool.h. Of boxes that
// are aligned.
struct BinMoves {
  float gamma = 0;
  const float* offset = nullptr;  // (count, 2, bins_h, bins_w), or null
  const float* mask = nullptr;    // (count, bins_h, bins_w), or null
};
void deform_roi_pool(const char* op, const Stream& stream, const RoiProblem& p, const BinMoves& moves,
                     const void* map, void* bins);
// grad: of the bins; grad_offset, grad_mask: as those of `moves`, null where these are
size_t deform_roi_pool_backward_workspace_bytes(const RoiProblem& p);
void deform_roi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p,
                              const BinMoves& moves, const void* map, const void* grad, void* workspace,
                              void* grad_map, float* grad_offset, float* grad_mask);

void prroi_pool(const char* op, const Stream& stream, const RoiProblem& p, const void* map, void* bins);
// grad_boxes: (count, 5), 0 for the images
void prroi_pool_backward(const char* op, const Stream& stream, const RoiProblem& p, const void* map,
                         const void* grad, void* grad_map, float* grad_boxes);

}  // namespace pyvision::cuda
