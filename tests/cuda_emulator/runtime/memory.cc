// SPDX-License-Identifier: Apache-2.0
// Every load and store of instrumented code comes here: g++ -fsanitize=thread calls __tsan_read4(address) and
// its siblings, which this file defines in place of the sanitizer's own library.
#include <dlfcn.h>
#include <link.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <stdexcept>

#include "grid.h"

namespace cuda_emulator {
namespace {

using Byte = Shadow::Byte;

struct Range {
  uintptr_t begin = 0;
  size_t bytes = 0;
  bool contains(uintptr_t address, size_t count) const {
    return address >= begin && address - begin <= bytes && bytes - (address - begin) >= count;
  }
  bool touches(uintptr_t address) const { return address - begin < bytes; }
};

struct Region {
  Range range;
  Shadow shadow;
};

std::map<uintptr_t, Region>& allocations() {  // by first address
  static std::map<uintptr_t, Region> all;
  return all;
}
Region dynamic_memory, static_memory;  // shared memory; static: this module's thread-local variables

// This module: its constants may be read; its thread-local variables are the __shared__ ones.
struct Module {
  uintptr_t base = 0;
  Range image, locals;
};

thread_local volatile char present = 0;  // writing it makes the loader allot this module's variables

const Module& module() {
  static thread_local const Module found = [] {
    present = 1;
    Module m;
    Dl_info info;
    if (dladdr(reinterpret_cast<const void*>(&renew_shared), &info) == 0) return m;
    m.base = reinterpret_cast<uintptr_t>(info.dli_fbase);
    dl_iterate_phdr(
        [](dl_phdr_info* object, size_t, void* result) {
          Module& wanted = *static_cast<Module*>(result);
          const ElfW(Phdr)* first = object->dlpi_phdr;
          bool ours = false;
          for (int i = 0; i < object->dlpi_phnum; ++i)
            ours |= first[i].p_type == PT_LOAD && object->dlpi_addr + first[i].p_vaddr == wanted.base;
          if (!ours) return 0;
          for (int i = 0; i < object->dlpi_phnum; ++i) {
            const uintptr_t begin = object->dlpi_addr + first[i].p_vaddr;
            if (first[i].p_type == PT_LOAD) {
              if (wanted.image.begin == 0) wanted.image.begin = begin;
              wanted.image.bytes = begin + first[i].p_memsz - wanted.image.begin;
            }
            if (first[i].p_type == PT_TLS)
              wanted.locals = {reinterpret_cast<uintptr_t>(object->dlpi_tls_data), first[i].p_memsz};
          }
          return 1;
        },
        &m);
    return m;
  }();
  return found;
}

std::string hex(uintptr_t value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "0x%zx", static_cast<size_t>(value));
  return buffer;
}

std::string place(const Region& region, const char* name, uintptr_t address) {
  return std::string(name) + " + " + std::to_string(static_cast<int64_t>(address - region.range.begin)) +
         " of " + std::to_string(region.range.bytes) + " bytes";
}

Region* allocation_at(uintptr_t address) {
  auto& all = allocations();
  auto after = all.upper_bound(address);
  if (after == all.begin()) return nullptr;
  Region& region = std::prev(after)->second;
  return region.range.touches(address) ? &region : nullptr;
}

// How far the address is from the allocation next to it, for the report.
std::string beside(uintptr_t address) {
  auto& all = allocations();
  auto after = all.upper_bound(address);
  std::string note;
  if (after != all.begin()) {
    const Range& r = std::prev(after)->second.range;
    note += ", " + std::to_string(address - r.begin - r.bytes) + " bytes behind an array of " +
            std::to_string(r.bytes);
  }
  if (after != all.end())
    note += ", " + std::to_string(after->second.range.begin - address) + " bytes before an array of " +
            std::to_string(after->second.range.bytes);
  return note;
}

}  // namespace

struct Access {
  Grid& grid;
  uintptr_t address;
  size_t bytes;
  bool write, atomic;
  const void* instruction;
  const Location* location;

  [[noreturn]] void fault(const std::string& what) const {
    std::string report = what + (write ? ": write of " : ": read of ") + std::to_string(bytes) + " bytes";
    if (instruction != nullptr) report += " at " + source_of(instruction);
    grid.fail(report, location ? *location : Location{});
  }

  void shared_or_global(Region& region, const char* name) const {
    if (!region.range.contains(address, bytes)) fault("out of bounds of " + place(region, name, address));
    const size_t offset = address - region.range.begin;
    for (size_t i = 0; i < bytes; ++i) {
      const Byte state = region.shadow.byte(offset + i);
      if (state == Byte::kInFlight)
        fault("cp.async has not landed in " + place(region, name, address) + ": no wait before the access");
      if (!write && state == Byte::kEmpty)
        fault("nothing was written to " + place(region, name, address + i));
    }
    if (write || atomic) region.shadow.fill(offset, bytes, Byte::kWritten);
    race(region, offset, name);
  }

  void race(Region& region, size_t offset, const char* name) const {
    Now now = grid.now(atomic);
    if (&region == &dynamic_memory || &region == &static_memory)
      now.launch = now.block;  // each block has its own
    region.shadow.touch(offset, bytes, region.range.begin % Word::kBytes, now, write || atomic,
                        [&](const Cell::Result& other) {
                          std::string who =
                              other.conflict == Cell::Conflict::kWithWriter ? "written" : "read";
                          if (other.other_block) {
                            who += " by another block";
                          } else {
                            who += other.thread < 0 ? " by other threads"
                                                    : " by thread number " + std::to_string(other.thread);
                            who += " of the block with no barrier between";
                          }
                          fault("race on " + place(region, name, address) + ", " + who);
                        });
  }
};

void check_kernel_access(Grid& grid, uintptr_t address, size_t bytes, bool write, bool atomic,
                         const void* instruction, const Location* location) {
  const Access access{grid, address, bytes, write, atomic, instruction, location};
  const Range own{reinterpret_cast<uintptr_t>(grid.thread()->stack), Stacks::kBytes};
  if (own.contains(address, bytes)) return;
  if (dynamic_memory.range.touches(address)) return access.shared_or_global(dynamic_memory, "shared memory");
  if (static_memory.range.touches(address))
    return access.shared_or_global(static_memory, "static shared memory");
  if (Region* region = allocation_at(address)) return access.shared_or_global(*region, "global memory");
  const Range around = {dynamic_memory.range.begin - kSharedRedZone,
                        dynamic_memory.range.bytes + 2 * kSharedRedZone};
  if (around.touches(address))
    access.fault("out of bounds of " + place(dynamic_memory, "shared memory", address));
  if (module().image.contains(address, bytes)) {
    if (write) access.fault("write to a global variable");
    return;
  }
  access.fault("out of bounds of global memory, address " + hex(address) + beside(address));
}

void land(Grid& grid, const AsyncCopy& copy) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(copy.shared);
  Region& region = dynamic_memory.range.touches(address) ? dynamic_memory : static_memory;
  std::memcpy(copy.shared, copy.global, copy.source_bytes);
  std::memset(static_cast<char*>(copy.shared) + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
  const size_t offset = address - region.range.begin;
  region.shadow.fill(offset, copy.bytes, Byte::kWritten);
  Access{grid, address, copy.bytes, true, false, nullptr, nullptr}.race(region, offset, "shared memory");
}

void renew_shared(char* dynamic, size_t bytes) {
  dynamic_memory.range = {reinterpret_cast<uintptr_t>(dynamic), bytes};
  dynamic_memory.shadow.resize(bytes);
  static_memory.range = module().locals;
  static_memory.shadow.resize(module().locals.bytes);
}

namespace {

// What addr2line prints of an address in this module, with these options.
std::vector<std::string> lines_of(const char* options, const std::string& offsets) {
  Dl_info info;
  std::vector<std::string> lines;
  if (dladdr(reinterpret_cast<const void*>(&renew_shared), &info) == 0) return lines;
  const std::string command = std::string("addr2line ") + options + " -e '" + info.dli_fname + "' " + offsets;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    for (char line[4096]; std::fgets(line, sizeof line, pipe) != nullptr;)
      lines.emplace_back(line, std::strcspn(line, "\n"));
    pclose(pipe);
  }
  return lines;
}

}  // namespace

std::string source_of(const void* instruction) {
  const uintptr_t offset = reinterpret_cast<uintptr_t>(instruction) - module().base - 1;
  std::string answer;
  for (const std::string& line : lines_of("-i", hex(offset)))
    answer += (answer.empty() ? "" : ", called at ") + line.substr(0, line.find(' '));
  return answer;
}

std::set<std::string> functions_at(const std::set<const void*>& addresses) {
  std::string offsets;
  for (const void* address : addresses)
    offsets += hex(reinterpret_cast<uintptr_t>(address) - module().base) + " ";
  const std::vector<std::string> lines = lines_of("-fC", offsets);
  std::set<std::string> names;
  for (size_t i = 0; i + 1 < lines.size(); i += 2)
    names.insert(lines[i + 1].substr(0, lines[i + 1].rfind(':')) + ": " + lines[i]);
  return names;
}

void check_access(const void* address, size_t bytes, bool write, Location location) {
  check_kernel_access(*Grid::running(), reinterpret_cast<uintptr_t>(address), bytes, write, false, nullptr,
                      &location);
}

void async_copy(void* shared, const void* global, size_t bytes, size_t source_bytes, Location location) {
  Grid& grid = *Grid::running();
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 || reinterpret_cast<uintptr_t>(global) % bytes != 0)
    grid.fail("cp.async: misaligned address", location);
  if (source_bytes > 0) check_access(global, source_bytes, false, location);
  const uintptr_t address = reinterpret_cast<uintptr_t>(shared);
  check_access(shared, bytes, true, location);
  Region& region = dynamic_memory.range.touches(address) ? dynamic_memory : static_memory;
  if (!region.range.contains(address, bytes)) grid.fail("cp.async: its target is no shared memory", location);
  region.shadow.fill(address - region.range.begin, bytes, Byte::kInFlight);
  grid.thread()->copies->back().push_back({shared, global, bytes, source_bytes});
}

AtomicAccess::AtomicAccess(const void* address, size_t bytes, Location location) {
  Grid& grid = *Grid::running();
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) grid.fail("atomic: misaligned address", location);
  check_kernel_access(grid, reinterpret_cast<uintptr_t>(address), bytes, false, true, nullptr, &location);
  grid.in_atomic = true;
}
AtomicAccess::~AtomicAccess() { Grid::running()->in_atomic = false; }

void* device_malloc(size_t bytes) {
  constexpr size_t kAlign = 256, kRedZone = 512;  // cudaMalloc's alignment
  const size_t body = (bytes + kAlign - 1) / kAlign * kAlign;
  char* const block = static_cast<char*>(std::aligned_alloc(kAlign, body + 2 * kRedZone));
  if (block == nullptr) throw std::bad_alloc();
  std::memset(block, 0xCD, body + 2 * kRedZone);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(block + kRedZone);
  Region& region = allocations()[begin];
  region.range = {begin, bytes};
  region.shadow.resize(bytes);
  return block + kRedZone;
}

void device_free(void* pointer) {
  if (pointer == nullptr || allocations().erase(reinterpret_cast<uintptr_t>(pointer)) == 0) return;
  std::free(static_cast<char*>(pointer) - 512);
}

void mark_written(const void* pointer, size_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (bytes == 0) return;
  Region* const region = allocation_at(address);
  if (region == nullptr || !region->range.contains(address, bytes))
    throw std::runtime_error("[cuda_emulator] expected device memory");
  region->shadow.fill(address - region->range.begin, bytes, Byte::kWritten);
}

namespace {

void hook(const void* address, size_t bytes, bool write, const void* instruction, bool aligned = true) {
  Grid* const grid = Grid::running();
  if (grid == nullptr || grid->thread() == nullptr || grid->in_atomic) return;
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  if (aligned && at % bytes != 0)
    grid->fail("misaligned address of " + std::to_string(bytes) + " bytes at " + source_of(instruction), {});
  check_kernel_access(*grid, at, bytes, write, false, instruction, nullptr);
}

}  // namespace
}  // namespace cuda_emulator

using cuda_emulator::hook;

extern "C" {
#define HOOKS(n)                                                                                    \
  void __tsan_read##n(void* p) { hook(p, n, false, __builtin_return_address(0)); }                  \
  void __tsan_write##n(void* p) { hook(p, n, true, __builtin_return_address(0)); }                  \
  void __tsan_unaligned_read##n(void* p) { hook(p, n, false, __builtin_return_address(0), false); } \
  void __tsan_unaligned_write##n(void* p) { hook(p, n, true, __builtin_return_address(0), false); } \
  void __tsan_volatile_read##n(void* p) { hook(p, n, false, __builtin_return_address(0)); }         \
  void __tsan_volatile_write##n(void* p) { hook(p, n, true, __builtin_return_address(0)); }
HOOKS(1);
HOOKS(2);
HOOKS(4);
HOOKS(8);
HOOKS(16);
#undef HOOKS
void __tsan_read_range(void* p, size_t n) { hook(p, n, false, __builtin_return_address(0), false); }
void __tsan_write_range(void* p, size_t n) { hook(p, n, true, __builtin_return_address(0), false); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}

// -fsanitize=bounds: an index beyond an array whose extent the compiler knows, such as a static shared one.
struct BoundsData {
  const char* file;
  uint32_t line, column;
};
void __ubsan_handle_out_of_bounds(BoundsData* data, size_t index) {
  cuda_emulator::Grid* const grid = cuda_emulator::Grid::running();
  if (grid == nullptr || grid->thread() == nullptr) return;
  grid->fail("out of bounds of an array: index " + std::to_string(static_cast<int64_t>(index)),
             {data->file, static_cast<int>(data->line)});
}
}
