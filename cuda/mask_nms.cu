// SPDX-License-Identifier: Apache-2.0
#include "mask_nms.cuh"

#include "mask_shape.cuh"
#include "suppress.cuh"

namespace pyvision::cuda {
namespace {

// A block: one mask.
__global__ void pack_mask(const uint8_t* masks, int64_t pixels, int64_t words_each, uint64_t* words,
                          int32_t* areas) {
  __shared__ int32_t area;
  const int64_t mask = blockIdx.x;
  if (threadIdx.x == 0) area = 0;
  __syncthreads();
  int32_t set = 0;
  for (int64_t word = threadIdx.x; word < words_each; word += kThreads) {
    uint64_t bits = 0;
    const auto count = static_cast<int>(min(int64_t{64}, pixels - 64 * word));
    for (int i = 0; i < count; ++i)
      if (masks[mask * pixels + 64 * word + i] != 0) bits |= uint64_t{1} << i;
    words[mask * words_each + word] = bits;
    set += __popcll(bits);
  }
  atomicAdd(&area, set);
  __syncthreads();
  if (threadIdx.x == 0) areas[mask] = area;
}

template <class Run>
void with_score(DType dtype, Run run) {
  if (dtype == DType::kF64) return run(0.0);
  run(0.0f);
}

}  // namespace

void pack_masks(const char* op, const Stream& stream, const Masks& masks, int64_t n,
                const PackedMasks& packed) {
  launch(op, stream, {blocks_of(n, 1), kThreads}, pack_mask, masks.data, masks.pixels, masks.words(),
         packed.words, packed.areas);
}

size_t mask_nms_workspace_bytes(const Stream& stream, const NmsProblem& p, const Masks& masks) {
  Workspace workspace;
  const PackedMasks packed(masks, p.n, &workspace);
  size_t bytes = workspace.bytes();
  with_score(p.dtype,
             [&](auto zero) { bytes += Buffers<MaskShape<decltype(zero)>>(stream, p, nullptr).bytes; });
  return bytes;
}

void mask_nms(const char* op, const Stream& stream, const NmsProblem& p, const Masks& masks, void* memory,
              int64_t* keep, int64_t* count) {
  Workspace workspace(memory);
  const PackedMasks packed(masks, p.n, &workspace);
  pack_masks(op, stream, masks, p.n, packed);
  void* const rest = memory == nullptr ? nullptr : static_cast<char*>(memory) + workspace.bytes();
  with_score(p.dtype, [&](auto zero) {
    const MaskShape<decltype(zero)> shape = {packed.words, packed.areas, masks.words(), p.threshold};
    suppress(op, stream, p, shape, rest, keep, p.n, count);
  });
}

}  // namespace pyvision::cuda
