// SPDX-License-Identifier: Apache-2.0
// What the headers that kernels see need from the emulator's runtime. The runtime is compiled without
// instrumentation, so nothing here is seen as a kernel's memory access.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

struct Dim3 {
  unsigned x, y, z;
  constexpr Dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr size_t count() const { return size_t{x} * y * z; }
};

struct Coordinates {
  Dim3 thread_idx, block_idx, block_dim, grid_dim;
  unsigned lane;  // [0, 32)
};

// Of the calling thread of a kernel; lies on its own stack.
const Coordinates& coordinates();

// Where in the kernel's source a call stands: the default argument is evaluated there.
struct Location {
  const char* file;
  int line;
  static constexpr Location here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

// Runs `invoke(arguments)` once for every thread of every block; each thread has its own copy of the
// arguments. Throws std::runtime_error with the place and kind of the first fault.
void run_grid(const Dim3& grid, const Dim3& block, size_t shared_bytes, void (*invoke)(void*),
              const void* arguments, size_t arguments_bytes);

// Blocks and threads run in rising order, or in falling: a result that differs depends on the schedule.
void set_falling_order(bool falling);

// Dynamic shared memory of the block.
void* dynamic_shared();

struct BarrierResult {
  int count, total;
};
// All threads of the block; how many of them passed true, of how many.
BarrierResult barrier(bool predicate, Location location);

// All threads of the warp named in mask meet here; the last to come calls complete(payloads, arrived), which
// returns null or what is wrong. payloads: (32,), null where a lane is not there.
using Complete = const char* (*)(void* const* payloads, uint32_t arrived);
void warp_collective(const char* name, uint32_t mask, void* payload, Complete complete, Location location,
                     bool orders_memory = false);

// Declares an access that instrumentation does not see.
void check_access(const void* address, size_t bytes, bool write, Location location);

// cp.async: bytes lands at `shared` only when wait() leaves fewer groups than its own in flight.
// The first `source_bytes` of `bytes` come from `global`, the others are zero.
void async_copy(void* shared, const void* global, size_t bytes, size_t source_bytes, Location location);
void async_commit();
void async_wait(int groups_in_flight);

// Between construction and destruction the address may be accessed without being seen, and no other thread
// runs.
class AtomicAccess {
 public:
  AtomicAccess(const void* address, size_t bytes, Location location);
  ~AtomicAccess();
};

// Ends the kernel with a report.
[[noreturn]] void fail(const char* what, Location location);

// Device memory: exact bounds, red zones around it, reads before the first write are reported.
void* device_malloc(size_t bytes);
void device_free(void* pointer);
// Written by the host: initialised from now on.
void mark_written(const void* pointer, size_t bytes);

}  // namespace cuda_emulator
