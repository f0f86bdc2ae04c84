// SPDX-License-Identifier: Apache-2.0
// mask_nms on the device: what csrc/ops/mask_nms/mask_nms.h says, decision for decision. Masks are packed
// into bits first.
#pragma once

#include "common/workspace.h"
#include "nms.cuh"

namespace pyvision::cuda {

struct Masks {
  bool given = false;
  const uint8_t* data = nullptr;  // (n, pixels): any value but 0 is set
  int64_t pixels = 0;             // < 2^31

  int64_t words() const { return (pixels + 63) / 64; }
};

// p: scores, dtype, n, classes, threshold, max_output.
size_t mask_nms_workspace_bytes(const Stream& stream, const NmsProblem& p, const Masks& masks);
void mask_nms(const char* op, const Stream& stream, const NmsProblem& p, const Masks& masks, void* workspace,
              int64_t* keep, int64_t* count);

// Masks as bits, and how many of them are set.
struct PackedMasks {
  uint64_t* words;  // (n, masks.words())
  int32_t* areas;   // (n,)

  PackedMasks(const Masks& masks, int64_t n, Workspace* workspace)
      : words(workspace->take<uint64_t>(n * masks.words())), areas(workspace->take<int32_t>(n)) {}
};
void pack_masks(const char* op, const Stream& stream, const Masks& masks, int64_t n,
                const PackedMasks& packed);

}  // namespace pyvision::cuda
