// SPDX-License-Identifier: Apache-2.0
// What warp-wide operations compute once all their lanes have come.
#include "cuda_emulator/warp.h"

#include <cstdio>

#include "cuda_emulator/ptx.h"
#include "grid.h"

namespace cuda_emulator {
namespace {

constexpr uint32_t kWholeWarp = 0xffffffffu;

template <class Payload>
Payload& of(void* const* payloads, int lane) {
  return *static_cast<Payload*>(payloads[lane]);
}

double half_of(uint32_t pair, int index, MmaKind kind) {
  const uint16_t bits = static_cast<uint16_t>(pair >> (16 * index));
  return kind == MmaKind::kF16 ? __half2float({bits}) : __bfloat162float({bits});
}

double tf32(uint32_t bits) {
  bits &= ~uint32_t{0x1fff};  // the hardware does not read the lowest 13 bits
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

const char* complete_shuffle(void* const* payloads, uint32_t arrived) {
  static char message[96];
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(arrived >> lane & 1)) continue;
    Shuffle& own = of<Shuffle>(payloads, lane);
    if (own.source >= kWarp || !(arrived >> own.source & 1)) {
      std::snprintf(message, sizeof message, "lane %d reads lane %u, which takes no part", lane, own.source);
      return message;
    }
    own.result = of<Shuffle>(payloads, static_cast<int>(own.source)).value;
  }
  return nullptr;
}

const char* complete_vote(void* const* payloads, uint32_t arrived) {
  uint32_t ballot = 0;
  for (int lane = 0; lane < kWarp; ++lane)
    if (arrived >> lane & 1) ballot |= uint32_t{of<Vote>(payloads, lane).predicate} << lane;
  for (int lane = 0; lane < kWarp; ++lane)
    if (arrived >> lane & 1) of<Vote>(payloads, lane).ballot = ballot;
  return nullptr;
}

const char* complete_load_matrix(void* const* payloads, uint32_t arrived) {
  if (arrived != kWholeWarp) return "expected all 32 lanes";
  Grid& grid = *Grid::running();
  const int matrices = of<LoadMatrix>(payloads, 0).matrices;
  const bool transposed = of<LoadMatrix>(payloads, 0).transposed;
  uint16_t elements[4][8][8];
  for (int i = 0; i < matrices; ++i) {
    for (int r = 0; r < 8; ++r) {
      const LoadMatrix& lane = of<LoadMatrix>(payloads, 8 * i + r);
      if (reinterpret_cast<uintptr_t>(lane.row) % 16 != 0) return "rows must lie at multiples of 16 bytes";
      check_kernel_access(grid, reinterpret_cast<uintptr_t>(lane.row), 16, false, false, nullptr, &lane.at);
      std::memcpy(elements[i][r], lane.row, 16);
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int i = 0; i < matrices; ++i) {
      const int major = lane / 4, minor = lane % 4 * 2;
      const uint32_t low = transposed ? elements[i][minor][major] : elements[i][major][minor];
      const uint32_t high = transposed ? elements[i][minor + 1][major] : elements[i][major][minor + 1];
      of<LoadMatrix>(payloads, lane).result[i] = low | high << 16;
    }
  }
  return nullptr;
}

const char* complete_mma(void* const* payloads, uint32_t arrived) {
  if (arrived != kWholeWarp) return "expected all 32 lanes";
  const MmaKind kind = of<Mma>(payloads, 0).kind;
  const int depth = kind == MmaKind::kTf32 ? 8 : 16;
  double a[16][16], b[16][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const Mma& own = of<Mma>(payloads, lane);
    const int group = lane / 4, within = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = group + 8 * (i & 1);
      if (kind == MmaKind::kTf32) {
        a[row][within + 4 * (i >> 1)] = tf32(own.a[i]);
      } else {
        for (int j = 0; j < 2; ++j) a[row][2 * within + j + 8 * (i >> 1)] = half_of(own.a[i], j, kind);
      }
    }
    for (int i = 0; i < 2; ++i) {
      if (kind == MmaKind::kTf32) {
        b[within + 4 * i][group] = tf32(own.b[i]);
      } else {
        for (int j = 0; j < 2; ++j) b[2 * within + j + 8 * i][group] = half_of(own.b[i], j, kind);
      }
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const Mma& own = of<Mma>(payloads, lane);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i >> 1), column = 2 * (lane % 4) + (i & 1);
      double sum = own.d[i];
      for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][column];
      own.d[i] = static_cast<float>(sum);
    }
  }
  return nullptr;
}

}  // namespace cuda_emulator
