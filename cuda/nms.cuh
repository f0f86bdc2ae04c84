// SPDX-License-Identifier: Apache-2.0
// nms, batched_nms and their kin on the device: what csrc/ops/nms/nms.h says, decision for decision.
//
// Boxes are sorted by group and falling score. Chunk after chunk of them is decided: a matrix of bits says
// which boxes of the chunk each one suppresses, one block sweeps it in order, and all later boxes are
// compared with those kept. Memory is O(n), work O(kept * n); nothing comes back to the host in between.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"

namespace pyvision::cuda {

struct NmsProblem {
  const void* boxes = nullptr;  // (n, 4), or (n, 5) where they are rotated
  bool rotated = false;
  const void* scores = nullptr;      // (n,)
  DType dtype = DType::kF32;         // or kF64
  int64_t n = 0;                     // < 2^31
  const int64_t* classes = nullptr;  // (n,), or null: one class
  const int64_t* images = nullptr;   // (n,), or null: one image
  double threshold = 0;
  int64_t max_output = INT64_MAX;  // per image
};

size_t nms_workspace_bytes(const Stream& stream, const NmsProblem& problem);

// keep: (room,), the kept indices by image and then by falling score, then -1; count: (1,), how many were
// kept, which may exceed room.
void nms(const char* op, const Stream& stream, const NmsProblem& problem, void* workspace, int64_t* keep,
         int64_t room, int64_t* count);

}  // namespace pyvision::cuda
