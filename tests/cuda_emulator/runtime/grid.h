// SPDX-License-Identifier: Apache-2.0
// The state of the grid that runs, shared by the scheduler (grid.cc) and the memory checks (memory.cc).
#pragma once

#include <array>
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "cuda_emulator/runtime.h"
#include "fiber.h"
#include "shadow.h"

namespace cuda_emulator {

constexpr size_t kSharedRedZone = 4096;  // on both sides of dynamic shared memory

struct AsyncCopy {
  void* shared;
  const void* global;
  size_t bytes, source_bytes;
};

enum class State : uint8_t { kReady, kAtBarrier, kInCollective, kDone };

// Lies on the thread's own stack, above its first frame, so that the kernel may read its coordinates.
struct Thread {
  Coordinates at;
  Context context;
  State state = State::kReady;
  int index = 0, warp = 0;
  char* stack = nullptr;
  void* arguments = nullptr;
  Location location = {};  // where it waits
  bool predicate = false;
  const char* waits_for = "";
  std::deque<std::vector<AsyncCopy>>* copies = nullptr;  // committed groups, oldest first; last: the open one
};

struct Rendezvous {
  const char* name;
  uint32_t mask, arrived;
  Location location;
  Complete complete;
  bool orders_memory;
  std::array<void*, kWarp> payloads;
};

struct Warp {
  uint32_t alive = 0;
  std::array<uint32_t, kWarp> epochs = {};                   // of each lane: its last __syncwarp
  std::array<std::array<uint32_t, kWarp>, kWarp> seen = {};  // Now::seen of each lane
  std::vector<Rendezvous> open;
};

class Grid {
 public:
  static Grid* running() { return running_; }

  Grid(const Dim3& grid, const Dim3& block, size_t shared_bytes, void (*invoke)(void*), const void* arguments,
       size_t arguments_bytes);
  ~Grid();
  void run(bool falling);

  Thread* thread() const { return thread_; }
  Now now(bool atomic = false) const;
  [[noreturn]] void fail(const std::string& what, const Location& location);

  BarrierResult barrier(bool predicate, const Location& location);
  void collective(const Rendezvous& call, void* payload);
  void commit_copies();
  void wait_copies(size_t groups);

  void* shared() const { return shared_; }
  bool in_atomic = false;
  std::vector<std::deque<std::vector<AsyncCopy>>> copies;

 private:
  void run_block(const Dim3& index, bool falling);
  static void entry();
  void leave();
  void release_barrier();
  void try_complete(Warp& warp, size_t index);
  static void order_lanes(Warp& warp, uint32_t lanes);
  std::string whereabouts() const;
  void report(const std::string& what, const Location& location, const Thread* thread);

  static Grid* running_;
  Dim3 grid_, block_;
  size_t shared_bytes_;
  void (*invoke_)(void*);
  const void* arguments_;
  size_t arguments_bytes_;

  std::vector<Thread*> threads_;
  std::vector<Warp> warps_;
  Context scheduler_;
  Thread* thread_ = nullptr;
  int alive_ = 0;
  BarrierResult barrier_ = {};
  char *memory_ = nullptr, *shared_ = nullptr;
  std::string failure_;
  uint32_t launch_ = 0, block_serial_ = 0, epoch_ = 0;
};

// Shadows of the block's shared memory, renewed with every block.
void renew_shared(char* dynamic, size_t bytes);
// The functions at these addresses of this module, as "file: name".
std::set<std::string> functions_at(const std::set<const void*>& addresses);
// Where an instruction of this module stands in the source, for people.
std::string source_of(const void* instruction);
// Checks the access of the running thread; throws nothing, ends the thread's grid on a fault.
void check_kernel_access(Grid& grid, uintptr_t address, size_t bytes, bool write, bool atomic,
                         const void* instruction, const Location* location);
void land(Grid& grid, const AsyncCopy& copy);

}  // namespace cuda_emulator
