// SPDX-License-Identifier: Apache-2.0
// One block of device memory cut into arrays. The same code that takes them counts their bytes, with no
// block.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyvision::cuda {

class Workspace {
 public:
  explicit Workspace(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    constexpr size_t kAlign = 256;  // a coalesced access of a warp never crosses into a neighbour
    T* const array = reinterpret_cast<T*>(memory_ == nullptr ? nullptr : memory_ + bytes_);
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + kAlign - 1) / kAlign * kAlign;
    return array;
  }
  size_t bytes() const { return bytes_; }

 private:
  char* memory_;
  size_t bytes_ = 0;
};

}  // namespace pyvision::cuda
