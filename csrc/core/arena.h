// SPDX-License-Identifier: Apache-2.0
// Memory for kernels: aligned buffers, and a per-thread scratch arena that is reused from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace pyvision {

constexpr size_t kAlignment = 64;  // a cache line, and an AVX-512 register

inline size_t align_up(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

// Owns `bytes` bytes at a 64-byte boundary. Throws std::bad_alloc, which Python sees as MemoryError.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : bytes_(align_up(bytes)) {
    if (bytes_ == 0) return;
    if (posix_memalign(&data_, kAlignment, bytes_) != 0) throw std::bad_alloc();
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    AlignedBuffer(std::move(other)).swap(*this);  // frees the old block now, not when `other` dies
    return *this;
  }
  ~AlignedBuffer() { std::free(data_); }

  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(AlignedBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// The scratch memory of one thread: a stack of blocks that are kept from call to call, so steady state
// allocates nothing.
class ScratchStack {
 public:
  void* push(size_t bytes) {
    if (depth_ == kDepth) throw std::bad_alloc();
    AlignedBuffer& block = blocks_[depth_];
    if (block.bytes() < bytes) {
      block = AlignedBuffer();  // free first: the old block and the new one need not coexist
      block = AlignedBuffer(bytes);
    }
    ++depth_;
    return block.as<void>();
  }
  void pop() { --depth_; }

  static ScratchStack& of_this_thread() {
    thread_local ScratchStack stack;
    return stack;
  }

 private:
  static constexpr int kDepth = 16;
  AlignedBuffer blocks_[kDepth];
  int depth_ = 0;
};

// Scratch<float> tile(n): n floats, 64-byte aligned, uninitialised, valid until `tile` goes out of scope.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : data_(static_cast<T*>(ScratchStack::of_this_thread().push(static_cast<size_t>(count) * sizeof(T)))) {}
  ~Scratch() { ScratchStack::of_this_thread().pop(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* get() const { return data_; }
  operator T*() const { return data_; }

 private:
  T* data_;
};

}  // namespace pyvision
