// SPDX-License-Identifier: Apache-2.0
// Threads of a block as stackful coroutines on one thread of the operating system.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_emulator {

#if defined(__x86_64__)
// swapcontext() costs two system calls; this, in fiber.cc, is a dozen moves.
extern "C" void cuda_emulator_switch(void** save, void* load);

class Context {
 public:
  void start(void (*entry)(), char* stack, size_t bytes) {
    // At entry the stack pointer must be 8 beyond a multiple of 16, as after a call.
    void** top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t{15});
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    pointer_ = top;
  }
  static void switch_to(Context* from, Context* to) { cuda_emulator_switch(&from->pointer_, to->pointer_); }

 private:
  void* pointer_ = nullptr;
};
#else
class Context {
 public:
  void start(void (*entry)(), char* stack, size_t bytes) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
  }
  static void switch_to(Context* from, Context* to) { swapcontext(&from->context_, &to->context_); }

 private:
  ucontext_t context_;
};
#endif

// Stacks for the threads of a block, kept from launch to launch; the page below each is not mapped.
class Stacks {
 public:
  static constexpr size_t kBytes = size_t{128} << 10, kGuard = 4096;
  static constexpr int kMaxThreads = 1024;

  Stacks() {
    void* memory = mmap(nullptr, kMaxThreads * (kBytes + kGuard), PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<char*>(memory);
  }
  ~Stacks() { munmap(base_, kMaxThreads * (kBytes + kGuard)); }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  char* of(int thread) {
    char* stack = base_ + thread * (kBytes + kGuard) + kGuard;
    if (thread >= mapped_) {
      if (mprotect(stack, kBytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
      mapped_ = thread + 1;
    }
    return stack;
  }
  bool contains(uintptr_t address) const {
    return address - reinterpret_cast<uintptr_t>(base_) < kMaxThreads * (kBytes + kGuard);
  }

 private:
  char* base_ = nullptr;
  int mapped_ = 0;
};

}  // namespace cuda_emulator
