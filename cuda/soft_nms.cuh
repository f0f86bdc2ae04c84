// SPDX-License-Identifier: Apache-2.0
// soft_nms and matrix_nms on the device: what csrc/ops/soft_nms and csrc/ops/matrix_nms say. Nothing comes
// back to the host; results are padded with -1 and 0 to the number of boxes.
#pragma once

#include "mask_nms.cuh"
#include "nms.cuh"

namespace pyvision::cuda {

enum class SoftNms : uint8_t { kLinear, kGaussian, kHard };

// p: boxes, scores, dtype, n, threshold, max_output. One block takes box after box.
struct SoftNmsProblem {
  NmsProblem p;
  SoftNms method = SoftNms::kGaussian;
  double sigma = 0.5, score_threshold = 0;
};
size_t soft_nms_workspace_bytes(const SoftNmsProblem& problem);
// keep: (n,); kept_scores: (n,) of the boxes' dtype; count: (1,)
void soft_nms(const char* op, const Stream& stream, const SoftNmsProblem& problem, void* workspace,
              int64_t* keep, void* kept_scores, int64_t* count);

// Of boxes, or of masks where there are some. method: not kHard.
size_t matrix_nms_workspace_bytes(const Stream& stream, const SoftNmsProblem& problem, const Masks& masks);
void matrix_nms(const char* op, const Stream& stream, const SoftNmsProblem& problem, const Masks& masks,
                void* workspace, int64_t* keep, void* kept_scores, int64_t* count);

}  // namespace pyvision::cuda
