// SPDX-License-Identifier: Apache-2.0
// Runs blocks one after another; within a block every thread until it waits for others.
#include "grid.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace cuda_emulator {
namespace {

Stacks& stacks() {
  static Stacks all;
  return all;
}
bool falling_order = false;
std::set<const void*> kernels_run;
uint32_t serial = 0;  // of launches, blocks and epochs: never repeats, so shadows need no clearing

std::string text(const Dim3& d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}
std::string text(const Location& location) {
  return location.file ? std::string(location.file) + ":" + std::to_string(location.line)
                       : "an unknown place";
}
Dim3 unravel(size_t index, const Dim3& extent) {
  return {static_cast<unsigned>(index % extent.x), static_cast<unsigned>(index / extent.x % extent.y),
          static_cast<unsigned>(index / extent.x / extent.y)};
}
bool same(const Location& a, const Location& b) { return a.line == b.line && !std::strcmp(a.file, b.file); }

}  // namespace

Grid* Grid::running_ = nullptr;

Grid::Grid(const Dim3& grid, const Dim3& block, size_t shared_bytes, void (*invoke)(void*),
           const void* arguments, size_t arguments_bytes)
    : grid_(grid),
      block_(block),
      shared_bytes_(shared_bytes),
      invoke_(invoke),
      arguments_(arguments),
      arguments_bytes_(arguments_bytes) {
  constexpr size_t kAlign = 1024;  // as swizzled tiles want it
  const size_t body = (shared_bytes + kAlign - 1) / kAlign * kAlign;
  memory_ = static_cast<char*>(std::aligned_alloc(kAlign, body + 2 * kSharedRedZone));
  if (memory_ == nullptr) throw std::bad_alloc();
  shared_ = memory_ + kSharedRedZone;
  running_ = this;
}

Grid::~Grid() {
  running_ = nullptr;
  std::free(memory_);
}

void Grid::run(bool falling) {
  launch_ = ++serial;
  const size_t blocks = grid_.count();
  for (size_t i = 0; i < blocks; ++i) run_block(unravel(falling ? blocks - 1 - i : i, grid_), falling);
}

void Grid::entry() {
  running_->invoke_(running_->thread_->arguments);
  running_->leave();
}

void Grid::run_block(const Dim3& index, bool falling) {
  const int count = static_cast<int>(block_.count());
  block_serial_ = ++serial;
  epoch_ = ++serial;
  renew_shared(shared_, shared_bytes_);
  threads_.assign(count, nullptr);
  warps_.assign((count + kWarp - 1) / kWarp, Warp{});
  copies.assign(count, {});
  alive_ = count;
  for (int i = 0; i < count; ++i) {
    char* const stack = stacks().of(i);
    char* const top = stack + Stacks::kBytes - (sizeof(Thread) + arguments_bytes_ + 127) / 64 * 64;
    Thread* const thread = new (top) Thread;
    threads_[i] = thread;
    thread->at = {unravel(i, block_), index, block_, grid_, static_cast<unsigned>(i % kWarp)};
    thread->index = i;
    thread->warp = i / kWarp;
    thread->stack = stack;
    thread->arguments = top + (sizeof(Thread) + 15) / 16 * 16;
    thread->copies = &copies[i];
    copies[i].emplace_back();
    std::memcpy(thread->arguments, arguments_, arguments_bytes_);
    warps_[thread->warp].alive |= 1u << (i % kWarp);
    warps_[thread->warp].epochs[i % kWarp] = serial;
    thread->context.start(&Grid::entry, stack, static_cast<size_t>(top - stack));
  }
  while (alive_ > 0) {
    bool moved = false;
    for (int w = 0; w < static_cast<int>(warps_.size()); ++w) {
      const int warp = falling ? static_cast<int>(warps_.size()) - 1 - w : w;
      const int first = warp * kWarp, last = std::min(count, first + kWarp);
      for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < last - first; ++i) {
          Thread* const thread = threads_[falling ? last - 1 - i : first + i];
          if (thread->state != State::kReady) continue;
          thread_ = thread;
          Context::switch_to(&scheduler_, &thread->context);
          thread_ = nullptr;
          if (!failure_.empty()) throw std::runtime_error(failure_);
          again = moved = true;
        }
      }
    }
    if (alive_ == 0) break;
    if (std::all_of(threads_.begin(), threads_.end(),
                    [](Thread* t) { return t->state == State::kDone || t->state == State::kAtBarrier; })) {
      release_barrier();
    } else if (!moved) {
      failure_ = "deadlock: " + whereabouts();
    }
    if (!failure_.empty()) throw std::runtime_error(failure_);
  }
}

void Grid::leave() {
  thread_->state = State::kDone;
  --alive_;
  Warp& warp = warps_[thread_->warp];
  warp.alive &= ~(1u << thread_->at.lane);
  for (size_t i = warp.open.size(); i-- > 0;) try_complete(warp, i);
  Context::switch_to(&thread_->context, &scheduler_);
  std::abort();  // a thread that has returned is not resumed
}

BarrierResult Grid::barrier(bool predicate, const Location& location) {
  thread_->state = State::kAtBarrier;
  thread_->predicate = predicate;
  thread_->location = location;
  thread_->waits_for = "__syncthreads";
  Context::switch_to(&thread_->context, &scheduler_);
  return barrier_;
}

void Grid::release_barrier() {
  Thread* first = nullptr;
  barrier_ = {0, 0};
  for (Thread* thread : threads_) {
    if (thread->state == State::kDone) {
      report("divergent barrier: this thread has returned, others wait; " + whereabouts(), {}, thread);
      return;
    }
    if (first == nullptr) first = thread;
    if (!same(first->location, thread->location)) {
      report("divergent barrier: thread " + text(first->at.thread_idx) + " waits at " +
                 text(first->location) + ", this one at another",
             thread->location, thread);
      return;
    }
    barrier_.count += thread->predicate;
    ++barrier_.total;
  }
  for (Thread* thread : threads_) thread->state = State::kReady;
  epoch_ = ++serial;
}

void Grid::collective(const Rendezvous& call, void* payload) {
  const uint32_t lane = 1u << thread_->at.lane;
  if (!(call.mask & lane))
    fail(std::string(call.name) + " by a lane that its mask does not name", call.location);
  Warp& warp = warps_[thread_->warp];
  size_t index = 0;
  for (; index < warp.open.size(); ++index)
    if (warp.open[index].mask & call.mask) break;
  if (index == warp.open.size()) warp.open.push_back(call);
  Rendezvous& meeting = warp.open[index];
  if (meeting.mask != call.mask || meeting.complete != call.complete ||
      !same(meeting.location, call.location))
    fail(std::string(call.name) + ": other lanes of its mask are at " + meeting.name + " of " +
             text(meeting.location),
         call.location);
  meeting.arrived |= lane;
  meeting.payloads[thread_->at.lane] = payload;
  thread_->state = State::kInCollective;
  thread_->waits_for = call.name;
  thread_->location = call.location;
  try_complete(warp, index);
  if (!failure_.empty() || thread_->state != State::kReady)
    Context::switch_to(&thread_->context, &scheduler_);
}

void Grid::try_complete(Warp& warp, size_t index) {
  Rendezvous meeting = warp.open[index];
  if (meeting.arrived != (meeting.mask & warp.alive)) return;
  warp.open.erase(warp.open.begin() + static_cast<std::ptrdiff_t>(index));
  if (meeting.arrived == 0) return;
  const char* const error =
      meeting.complete ? meeting.complete(meeting.payloads.data(), meeting.arrived) : nullptr;
  if (error != nullptr) report(std::string(meeting.name) + ": " + error, meeting.location, thread_);
  const int first = static_cast<int>(&warp - warps_.data()) * kWarp;
  for (int lane = 0; lane < kWarp; ++lane)
    if (meeting.arrived >> lane & 1) threads_[first + lane]->state = State::kReady;
  if (meeting.orders_memory) order_lanes(warp, meeting.arrived);
}

// After a __syncwarp each of these lanes has seen what any of them had, and all that they did.
void Grid::order_lanes(Warp& warp, uint32_t lanes) {
  ++serial;
  std::array<uint32_t, kWarp> joined = {};
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(lanes >> lane & 1)) continue;
    warp.epochs[lane] = serial;
    for (int other = 0; other < kWarp; ++other)
      joined[other] = std::max(joined[other], lanes >> other & 1 ? serial : warp.seen[lane][other]);
  }
  for (int lane = 0; lane < kWarp; ++lane)
    if (lanes >> lane & 1) warp.seen[lane] = joined;
}

void Grid::commit_copies() { thread_->copies->emplace_back(); }

void Grid::wait_copies(size_t groups) {
  auto& queue = *thread_->copies;
  while (queue.size() - 1 > groups) {
    for (const AsyncCopy& copy : queue.front()) land(*this, copy);
    queue.pop_front();
  }
}

Now Grid::now(bool atomic) const {
  const Warp& warp = warps_[thread_->warp];
  const unsigned lane = thread_->at.lane;
  return {{launch_, block_serial_, epoch_, warp.epochs[lane], static_cast<int16_t>(thread_->index),
           static_cast<int16_t>(thread_->warp), 1u << lane, atomic},
          warp.seen[lane].data()};
}

void Grid::fail(const std::string& what, const Location& location) {
  report(what, location, thread_);
  Context::switch_to(&thread_->context, &scheduler_);  // for good: its stack is given up as it is
  std::abort();
}

void Grid::report(const std::string& what, const Location& location, const Thread* thread) {
  if (!failure_.empty()) return;
  failure_ = "block " + text(thread->at.block_idx) + ", thread " + text(thread->at.thread_idx) + ": " + what;
  if (location.file) failure_ += "\n  at " + text(location);
}

std::string Grid::whereabouts() const {
  std::string list;
  int named = 0;
  for (const Thread* thread : threads_) {
    if (thread->state == State::kDone) continue;
    if (++named > 4) break;
    list += (named > 1 ? "; " : "") + ("thread " + text(thread->at.thread_idx)) + " waits in " +
            thread->waits_for + " at " + text(thread->location);
  }
  return list;
}

// ---- the interface of runtime.h ----

const Coordinates& coordinates() { return Grid::running()->thread()->at; }
void* dynamic_shared() { return Grid::running()->shared(); }
void set_falling_order(bool falling) { falling_order = falling; }

void run_grid(const Dim3& grid, const Dim3& block, size_t shared_bytes, void (*invoke)(void*),
              const void* arguments, size_t arguments_bytes) {
  if (Grid::running() != nullptr) throw std::runtime_error("[cuda_emulator] expected one launch at a time");
  if (block.count() < 1 || block.count() > Stacks::kMaxThreads || block.z > 64)
    throw std::runtime_error("[cuda_emulator] expected blocks of 1 to 1024 threads, got " + text(block));
  if (grid.count() == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
    throw std::runtime_error("[cuda_emulator] expected a grid within (2^31 - 1, 65535, 65535), got " +
                             text(grid));
  kernels_run.insert(*static_cast<const void* const*>(arguments));  // Call's first member
  Grid running(grid, block, shared_bytes, invoke, arguments, arguments_bytes);
  try {
    running.run(falling_order);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(std::string("[cuda_emulator] ") + error.what());
  }
}

BarrierResult barrier(bool predicate, Location location) {
  return Grid::running()->barrier(predicate, location);
}

void warp_collective(const char* name, uint32_t mask, void* payload, Complete complete, Location location,
                     bool orders_memory) {
  Grid::running()->collective({name, mask, 0, location, complete, orders_memory, {}}, payload);
}

void async_commit() { Grid::running()->commit_copies(); }
void async_wait(int groups_in_flight) { Grid::running()->wait_copies(static_cast<size_t>(groups_in_flight)); }
void fail(const char* what, Location location) { Grid::running()->fail(what, location); }

}  // namespace cuda_emulator

// All kernels that were started since the module was loaded: "file: name", one a line.
extern "C" __attribute__((visibility("default"))) const char* emulator_kernels_run() {
  static std::string text;
  text.clear();
  for (const std::string& name : cuda_emulator::functions_at(cuda_emulator::kernels_run)) text += name + "\n";
  return text.c_str();
}
