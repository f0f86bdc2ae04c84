// SPDX-License-Identifier: Apache-2.0
#include "core/kept_memory.h"

#include <atomic>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pyvision {
namespace {

// No lock, which a fork might copy while it is held. Never freed: results may outlive static destructors.
constexpr unsigned kKept = 4;
std::atomic<AlignedBuffer*> g_kept[kKept];
std::atomic<unsigned> g_oldest{0};

// Tells the system what it may do with the whole pages of a block.
void advise([[maybe_unused]] const AlignedBuffer& block, [[maybe_unused]] bool in_use) {
#if defined(__linux__)
  constexpr size_t kPage = 4096;
  char* const begin = block.as<char>();
  const size_t skip = (kPage - reinterpret_cast<uintptr_t>(begin) % kPage) % kPage;
  const size_t length = (block.bytes() - skip) / kPage * kPage;
  madvise(begin + skip, length, in_use ? MADV_HUGEPAGE : MADV_FREE);  // refused, it costs time alone
#endif
}

}  // namespace

std::unique_ptr<AlignedBuffer> take_memory(size_t bytes) {
  for (auto& kept : g_kept) {
    std::unique_ptr<AlignedBuffer> block(kept.exchange(nullptr));
    if (block == nullptr) continue;
    if (block->bytes() >= bytes && block->bytes() / 2 <= bytes) return block;
    AlignedBuffer* none = nullptr;
    if (kept.compare_exchange_strong(none, block.get())) block.release();
  }
  auto block = std::make_unique<AlignedBuffer>(bytes);
  advise(*block, true);
  return block;
}

void keep_memory(std::unique_ptr<AlignedBuffer> block) {
  advise(*block, false);
  delete g_kept[g_oldest.fetch_add(1) % kKept].exchange(block.release());
}

}  // namespace pyvision
