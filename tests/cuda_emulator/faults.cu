// SPDX-License-Identifier: Apache-2.0
// Kernels that do what they should, and kernels that do one thing wrong: each fault that the emulator
// detects.
#include <cstdio>

#include "common/launch.cuh"
#include "common/ptx.cuh"

namespace {

using namespace pyvision::cuda;  // NOLINT: a file of tests

constexpr unsigned kAll = 0xffffffffu;

__global__ void reverse_block(const float* x, float* y) {  // x: (64,), y: (64,)
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void race_without_barrier(const float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[threadIdx.x % 32];
}

__global__ void race_without_second_barrier(const float* x, float* y) {
  __shared__ float tile[64];
  for (int i = 0; i < 2; ++i) {
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[63 - threadIdx.x];
  }
}

__global__ void race_on_one_word(const float* x, float* y) {
  __shared__ float sum;
  sum = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = sum;
}

// Halves of one word belong to different threads: no race.
__global__ void neighbours_in_a_word(const float* x, float* y) {
  __shared__ uint16_t tile[64];
  tile[threadIdx.x] = static_cast<uint16_t>(x[threadIdx.x]);
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

// A half of a word is read by another warp: the half beside it hides nothing.
__global__ void race_read_of_half_a_word(const float* x, float* y) {
  __shared__ uint16_t tile[64];
  tile[threadIdx.x] = static_cast<uint16_t>(x[threadIdx.x]);
  y[threadIdx.x] = threadIdx.x == 40 ? tile[4] : 0;
}

__global__ void race_write_of_half_a_word(const float* x, float* y) {
  __shared__ uint16_t tile[64];
  tile[threadIdx.x] = static_cast<uint16_t>(x[threadIdx.x]);
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
  if (threadIdx.x == 40) tile[4] = 7;
}

__global__ void race_on_a_byte(const float* x, float* y) {
  __shared__ uint8_t tile[64];
  tile[threadIdx.x] = static_cast<uint8_t>(x[threadIdx.x]);
  y[threadIdx.x] = threadIdx.x == 41 ? tile[5] : 0;
}

// Four threads write a word's bytes; it is read whole.
__global__ void race_on_a_word_of_bytes(const float* x, float* y) {
  __shared__ __align__(4) uint8_t tile[64];
  tile[threadIdx.x] = static_cast<uint8_t>(x[threadIdx.x]);
  const uint32_t* const words = reinterpret_cast<const uint32_t*>(tile);
  y[threadIdx.x] = threadIdx.x < 32 ? 0 : static_cast<float>(words[threadIdx.x - 32]);
}

__global__ void warp_order(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  tile[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  y[threadIdx.x] = tile[threadIdx.x ^ 1];
}

// Lanes in halves and in quarters: what a lane has heard of others it hands on.
__global__ void warp_order_in_parts(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  const unsigned lane = threadIdx.x % 32, half = lane / 16;
  tile[threadIdx.x] = x[threadIdx.x];
  __syncwarp(0xffffu << 16 * half);
  y[threadIdx.x] = tile[threadIdx.x ^ 15];
  const unsigned ends = 0x8001u << 8;  // of both halves: lanes 8 and 23
  if (ends >> lane & 1) __syncwarp(ends);
  if (lane == 8 || lane == 23) y[threadIdx.x] += tile[threadIdx.x ^ 16] - tile[threadIdx.x ^ 16];
}

__global__ void lanes_without_order(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  tile[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x % 32 < 16) {
    __syncwarp(0xffffu);
  } else {
    __syncwarp(0xffff0000u);
  }
  y[threadIdx.x] = threadIdx.x % 32 < 16 ? 0 : tile[threadIdx.x ^ 31];
}

__global__ void warp_without_order(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[threadIdx.x / 2];
}

__global__ void race_of_blocks(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

__global__ void dynamic_out_of_bounds(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  tile[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x + 1];
}

__global__ void static_out_of_bounds(const float* x, float* y) {
  __shared__ float tile[63];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[0];
}

__global__ void global_read_out_of_bounds(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x + 1]; }
__global__ void global_write_out_of_bounds(const float* x, float* y) {
  y[static_cast<int>(threadIdx.x) - 1] = x[threadIdx.x];
}
__global__ void global_never_written(const float*, float* y) { y[threadIdx.x] += 1; }

__global__ void shared_never_written(const float*, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x != 7) tile[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

__global__ void misaligned(const float* x, float* y) {
  const float4 four = *reinterpret_cast<const float4*>(x + 1);
  y[threadIdx.x] = four.x + four.w;
}

// The first half of what is read lies within.
__global__ void read_across_the_end(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x < 62) tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  const float4 four = reinterpret_cast<const float4*>(tile)[threadIdx.x / 4];
  y[threadIdx.x] = four.x;
}

__global__ void misaligned_copy(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  cp_async16(tile, x + 1, 16);
  y[threadIdx.x] = 0;
}

__global__ void misaligned_atomic(const float*, float* y) {
  atomicAdd(reinterpret_cast<float*>(reinterpret_cast<char*>(y) + 2), 1.0f);
}

__global__ void misaligned_matrix(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  uint32_t fragment[4];
  ldmatrix_x4(fragment, tile + 1);
  y[threadIdx.x] = static_cast<float>(fragment[0]);
}

__global__ void copy_to_global_memory(const float* x, float* y) {
  if (threadIdx.x == 0) cp_async16(y, x, 16);
}

__global__ void copy_out_of_bounds(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x < 16) cp_async16(tile + 4 * threadIdx.x, x + 4 * (threadIdx.x + 1), 16);
  y[threadIdx.x] = 0;
}

__global__ void atomic_out_of_bounds(const float*, float* y) { atomicAdd(y + 64, 1.0f); }

// It races with what is no atomic.
__global__ void race_with_an_atomic(const float* x, float* y) {
  __shared__ float sum;
  if (threadIdx.x == 0) sum = x[0];
  atomicAdd(&sum, 1.0f);
  __syncthreads();
  y[threadIdx.x] = sum;
}

__global__ void stack_of_another_thread(const float* x, float* y) {
  __shared__ const float* mine;
  const float local[2] = {x[threadIdx.x], x[0]};
  if (threadIdx.x == 0) mine = local;
  __syncthreads();
  y[threadIdx.x] = mine[threadIdx.x % 2];
}

__global__ void lanes_at_different_places(const float* x, float* y) {
  if (threadIdx.x % 2) {
    y[threadIdx.x] = __shfl_xor_sync(kAll, x[threadIdx.x], 1);
  } else {
    y[threadIdx.x] = __shfl_xor_sync(kAll, x[threadIdx.x], 1);
  }
}

__global__ void barrier_in_a_branch(const float* x, float* y) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void barrier_after_return(const float* x, float* y) {
  if (threadIdx.x == 3) return;
  __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void barrier_inside_a_warp(const float* x, float* y) {
  if (threadIdx.x % 2) {
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
  } else {
    y[threadIdx.x] = __shfl_sync(kAll, x[threadIdx.x], 0);
  }
}

__global__ void shuffle_from_absent_lane(const float* x, float* y) {
  if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_down_sync(0xffffu, x[threadIdx.x], 1);
}

__global__ void shuffle_by_unnamed_lane(const float* x, float* y) {
  y[threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 1);
}

__global__ void sums(const float* x, float* y) {
  float sum = x[threadIdx.x];
  for (int delta = 16; delta > 0; delta /= 2) sum += __shfl_xor_sync(kAll, sum, delta);
  const unsigned odd = __ballot_sync(kAll, threadIdx.x % 2);
  const int large = __syncthreads_count(x[threadIdx.x] >= 32);
  __shared__ float total;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  atomicAdd(&total, threadIdx.x % 32 ? 0 : sum);
  __syncthreads();
  y[threadIdx.x] = total + (odd == 0xaaaaaaaau ? 0.25f : 0) + static_cast<float>(large) / 64;
}

__global__ void copy_with_wait(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x < 16) cp_async16(tile + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x == 15 ? 8 : 16);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void copy_without_wait(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x < 16) cp_async16(tile + 4 * threadIdx.x, x + 4 * threadIdx.x, 16);
  cp_async_commit();
  cp_async_wait<1>();
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void copy_without_barrier(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x < 16) cp_async16(tile + 4 * threadIdx.x, x + 4 * threadIdx.x, 16);
  cp_async_commit();
  cp_async_wait<0>();
  y[threadIdx.x] = tile[threadIdx.x];
}

// What others read before it is the copy's to begin.
__global__ void copy_over_what_is_read(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
  if (threadIdx.x == 63) cp_async16(tile, x, 16);
  cp_async_commit();
  __syncthreads();
  cp_async_wait<0>();
}

// It lands at the wait, behind the barrier.
__global__ void copy_that_lands_late(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x == 0) cp_async16(tile, x, 16);
  cp_async_commit();
  __syncthreads();
  cp_async_wait<0>();
  y[threadIdx.x] = threadIdx.x == 63 ? tile[0] : 0;
}

__global__ void copy_beyond_shared_memory(const float* x, float* y) {
  float* const tile = dynamic_shared<float>();
  if (threadIdx.x < 16) cp_async16(tile + 4 * (threadIdx.x + 1), x + 4 * threadIdx.x, 16);
  y[threadIdx.x] = 0;
}

struct Case {
  const char* name;
  void (*kernel)(const float*, float*);
  unsigned blocks;
  size_t shared_bytes;
};
constexpr size_t kTile = 64 * sizeof(float);
#define CASE(name, blocks, shared_bytes) {#name, name, blocks, shared_bytes}
const Case kCases[] = {
    CASE(reverse_block, 1, 0),
    CASE(race_without_barrier, 1, 0),
    CASE(race_without_second_barrier, 1, 0),
    CASE(race_on_one_word, 1, 0),
    CASE(neighbours_in_a_word, 1, 0),
    CASE(race_read_of_half_a_word, 1, 0),
    CASE(race_write_of_half_a_word, 1, 0),
    CASE(race_on_a_byte, 1, 0),
    CASE(race_on_a_word_of_bytes, 1, 0),
    CASE(warp_order, 1, kTile),
    CASE(warp_order_in_parts, 1, kTile),
    CASE(lanes_without_order, 1, kTile),
    CASE(warp_without_order, 1, kTile),
    CASE(race_of_blocks, 2, 0),
    CASE(dynamic_out_of_bounds, 1, kTile),
    CASE(static_out_of_bounds, 1, 0),
    CASE(global_read_out_of_bounds, 1, 0),
    CASE(global_write_out_of_bounds, 1, 0),
    CASE(global_never_written, 1, 0),
    CASE(shared_never_written, 1, kTile),
    CASE(misaligned, 1, 0),
    CASE(read_across_the_end, 1, kTile - 8),
    CASE(misaligned_copy, 1, kTile),
    CASE(misaligned_atomic, 1, 0),
    CASE(misaligned_matrix, 1, 2 * kTile),
    CASE(copy_to_global_memory, 1, 0),
    CASE(copy_out_of_bounds, 1, kTile),
    CASE(atomic_out_of_bounds, 1, 0),
    CASE(race_with_an_atomic, 1, 0),
    CASE(stack_of_another_thread, 1, 0),
    CASE(lanes_at_different_places, 1, 0),
    CASE(barrier_in_a_branch, 1, 0),
    CASE(barrier_after_return, 1, 0),
    CASE(barrier_inside_a_warp, 1, 0),
    CASE(shuffle_from_absent_lane, 1, 0),
    CASE(shuffle_by_unnamed_lane, 1, 0),
    CASE(sums, 1, 0),
    CASE(copy_with_wait, 1, kTile),
    CASE(copy_without_wait, 1, kTile),
    CASE(copy_without_barrier, 1, kTile),
    CASE(copy_over_what_is_read, 1, kTile),
    CASE(copy_that_lands_late, 1, kTile),
    CASE(copy_beyond_shared_memory, 1, kTile),
};
#undef CASE

// One warp multiplies: a: (16, k), b: (8, k), both as 32 bytes a row, d: (16, 8) in and out.
template <class T>
__global__ void mma_tile(const uint32_t* a, const uint32_t* b, float* d) {
  __shared__ __align__(16) uint32_t tile[24 * 8];
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 8; i += 32) tile[i] = a[i];
  for (int i = lane; i < 8 * 8; i += 32) tile[16 * 8 + i] = b[i];
  __syncwarp();
  uint32_t fragment_a[4], fragment_b[4];
  ldmatrix_x4(fragment_a, tile + lane % 16 * 8 + lane / 16 * 4);
  ldmatrix_x4(fragment_b, tile + (16 + lane % 8) * 8 + lane / 8 % 2 * 4);
  const int row = lane / 4, column = lane % 4 * 2;
  float sum[4] = {d[row * 8 + column], d[row * 8 + column + 1], d[(row + 8) * 8 + column],
                  d[(row + 8) * 8 + column + 1]};
  mma<T>(sum, fragment_a, {fragment_b[0], fragment_b[1]});
  d[row * 8 + column] = sum[0];
  d[row * 8 + column + 1] = sum[1];
  d[(row + 8) * 8 + column] = sum[2];
  d[(row + 8) * 8 + column + 1] = sum[3];
}

template <class Run>
const char* report_of(Run run) {
  static char message[1024];
  try {
    run();
    return "";
  } catch (const std::exception& error) {
    std::snprintf(message, sizeof message, "%s", error.what());
    return message;
  }
}

// The host's array on the device.
class OnDevice {
 public:
  OnDevice(void* host, size_t bytes, bool written)
      : host_(host), bytes_(bytes), memory_(cuda_emulator::device_malloc(bytes)) {
    if (!written) return;
    std::memcpy(memory_, host, bytes);
    cuda_emulator::mark_written(memory_, bytes);
  }
  ~OnDevice() {
    std::memcpy(host_, memory_, bytes_);
    cuda_emulator::device_free(memory_);
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(memory_);
  }

 private:
  void* host_;
  size_t bytes_;
  void* memory_;
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int case_count() { return sizeof kCases / sizeof kCases[0]; }
EXPORT const char* case_name(int index) { return kCases[index].name; }
// x, y: (64,). Returns the report, empty without one.
EXPORT const char* run_case(int index, float* x, float* y, int falling) {
  return report_of([&] {
    const OnDevice in(x, 256, true), out(y, 256, false);
    cuda_emulator::set_falling_order(falling != 0);
    const Case& c = kCases[index];
    launch("case", Stream{}, {c.blocks, 64, c.shared_bytes}, c.kernel, in.as<float>(), out.as<float>());
  });
}
// kind: 0 f16, 1 bf16, 2 tf32
EXPORT const char* run_mma(int kind, uint32_t* a, uint32_t* b, float* d) {
  return report_of([&] {
    const OnDevice on_a(a, 512, true), on_b(b, 256, true), on_d(d, 512, true);
    const auto kernel = kind == 0 ? mma_tile<__half> : kind == 1 ? mma_tile<__nv_bfloat16> : mma_tile<Tf32>;
    launch("mma", Stream{}, {1, 32}, kernel, on_a.as<uint32_t>(), on_b.as<uint32_t>(), on_d.as<float>());
  });
}
EXPORT float half_to_float(uint16_t bits) {
  const auto half = cuda_emulator::bit_cast<__half>(bits);
  return __half2float(half);
}
EXPORT uint16_t float_to_half(float x) { return cuda_emulator::bit_cast<uint16_t>(__float2half_rn(x)); }
EXPORT uint16_t float_to_bfloat16(float x) {
  return cuda_emulator::bit_cast<uint16_t>(__float2bfloat16_rn(x));
}
