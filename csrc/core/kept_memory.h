// SPDX-License-Identifier: Apache-2.0
// Memory of large results, kept for later ones. The C library hands blocks of more than 32 MB back to the
// system as soon as they are freed, and the system clears every page of the next one: that takes longer than
// to write it.
#pragma once

#include <memory>

#include "core/arena.h"

namespace pyvision {

constexpr size_t kLargeResult = 32 << 20;

// At least `bytes` bytes, uninitialised. Throws std::bad_alloc.
std::unique_ptr<AlignedBuffer> take_memory(size_t bytes);
// Keeps a block instead of freeing it, beside the few that came last. What is kept the system may take back
// when memory runs short.
void keep_memory(std::unique_ptr<AlignedBuffer> block);

}  // namespace pyvision
