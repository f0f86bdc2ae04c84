// SPDX-License-Identifier: Apache-2.0
// One small thread pool for the whole library.
//
// Work is split over outputs, never inside a reduction, and a chunk's result must not depend on which thread
// runs it: then results are bitwise the same for any number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace pyvision {

// A reference to a callable that outlives the call: std::function without the allocation.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, FunctionRef>>>
  FunctionRef(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Calls body(begin, end) over disjoint ranges that cover [0, n), each at most `grain` long, on up to
// num_threads() threads, the caller being one of them. Returns when all are done; rethrows the first
// exception. A nested call runs on the calling thread alone. Throws Interrupted when Ctrl-C arrives
// meanwhile: looked for between ranges, so that one of them should take a few milliseconds at most, or look
// itself.
void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t begin, int64_t end)> body);

int num_threads();
void set_num_threads(int count);
// Why num_threads() has its default: the affinity mask, the cgroup quota or PYVISION_NUM_THREADS.
const char* num_threads_reason();

struct Interrupted {};
// `check` returns true when the program was asked to stop. It is called on the thread that called
// parallel_for, or that is in none, 20 times a second at most.
void set_interrupt_check(bool (*check)());
// For work that takes long within one range of a parallel_for or outside of any: throws Interrupted when
// Ctrl-C has arrived. Some 30 ns.
void stop_if_interrupted();

// The same for every so many steps of a loop or comparisons of a sort, which are too short to look in each.
class InterruptPoll {
 public:
  void operator()() {
    if (++steps_ % 4096 == 0) stop_if_interrupted();
  }

 private:
  uint32_t steps_ = 0;
};

}  // namespace pyvision
