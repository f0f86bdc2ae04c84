// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace pyvision {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough to bridge the gap between two layers of a network, short enough not to burn a core between
// frames.
constexpr auto kSpin = std::chrono::microseconds(100);
constexpr auto kInterruptPeriod = std::chrono::milliseconds(50);

struct Job;
thread_local bool t_inside_parallel = false;
thread_local const Job* t_job = nullptr;  // a worker's, of which it runs a chunk
std::atomic<bool (*)()> g_interrupt_check{nullptr};

// When this thread looked for Ctrl-C, and when its last parallel_for ended: an op may be one long call or
// many short ones.
thread_local Clock::time_point t_looked, t_ended;

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

constexpr int kMostShares = 64;

// One parallel_for in flight. Lives on the caller's stack; `users` keeps it alive until the last worker left.
//
// Each thread begins with a share of its own, the same part of [0, n) in every call: what it wrote in one
// layer of a network it finds in its own cache in the next. A thread that is done takes chunks of the
// others'.
struct Job {
  Job(FunctionRef<void(int64_t, int64_t)> body, int64_t n, int64_t grain, int64_t chunks, int threads)
      : body(body),
        grain(grain),
        share_count(static_cast<int>(std::min<int64_t>({chunks, threads, kMostShares}))) {
    for (int s = 0; s < share_count; ++s) {
      shares[s].next.store(chunks * s / share_count * grain, std::memory_order_relaxed);
      shares[s].end = std::min(chunks * (s + 1) / share_count * grain, n);
    }
  }

  struct alignas(64) Share {  // a cache line each: threads count in their own
    std::atomic<int64_t> next;
    int64_t end;
  };
  // A thread's way through the shares, beginning with its own.
  struct Turn {
    int share, visited = 0;
  };

  const FunctionRef<void(int64_t, int64_t)> body;
  const int64_t grain;
  const int share_count;
  Share shares[kMostShares];
  std::atomic<int> users{0};
  std::atomic<bool> cancelled{false};
  std::exception_ptr error;
  std::mutex error_mutex;

  bool exhausted() const {
    return std::all_of(shares, shares + share_count, [](const Share& share) {
      return share.next.load(std::memory_order_relaxed) >= share.end;
    });
  }

  Turn turn(int thread) const { return {thread % share_count}; }

  bool run_one_chunk(Turn* turn) {
    Share* share = &shares[turn->share];
    int64_t begin = share->next.fetch_add(grain, std::memory_order_relaxed);
    while (begin >= share->end) {
      if (++turn->visited == share_count) return false;
      turn->share = (turn->share + 1) % share_count;
      share = &shares[turn->share];
      begin = share->next.fetch_add(grain, std::memory_order_relaxed);
    }
    if (cancelled.load(std::memory_order_relaxed)) return true;
    try {
      body(begin, std::min(begin + grain, share->end));
    } catch (...) {
      std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
      cancelled.store(true, std::memory_order_relaxed);
    }
    return true;
  }
};

// Whether Ctrl-C has arrived, if it is time to look. Not for workers.
bool interrupted_by(Clock::time_point now) {
  if (now - t_looked < kInterruptPeriod) return false;
  t_looked = now;
  auto* const check = g_interrupt_check.load(std::memory_order_relaxed);
  return check != nullptr && check();
}

class Pool {
 public:
  explicit Pool(int workers) {
    threads_.reserve(workers);
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this, i] { work(i + 1); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      version_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  void submit(Job* job, int64_t chunks) {
    bool anyone_parked;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(job);
      version_.fetch_add(1, std::memory_order_release);
      anyone_parked = parked_ > 0;
    }
    if (!anyone_parked) return;
    if (chunks <= 2)
      wake_.notify_one();
    else
      wake_.notify_all();
  }

  // After this no worker can find the job; those already in it are counted in job->users.
  void withdraw(Job* job) {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.erase(std::find(jobs_.begin(), jobs_.end(), job));
  }

 private:
  Job* claim() {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Job* job : jobs_) {
      if (job->exhausted()) continue;
      job->users.fetch_add(1, std::memory_order_relaxed);
      return job;
    }
    return nullptr;
  }

  // index: among the threads of a job, whose caller is 0.
  void work(int index) {
    t_inside_parallel = true;
    uint64_t seen = 0;
    for (;;) {
      seen = version_.load(std::memory_order_acquire);
      if (Job* job = claim()) {
        t_job = job;
        for (Job::Turn turn = job->turn(index); job->run_one_chunk(&turn);) {
        }
        job->users.fetch_sub(1, std::memory_order_release);
        continue;
      }
      if (stop_.load()) return;
      if (spin_for_change(seen)) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      ++parked_;
      wake_.wait(lock, [&] { return version_.load(std::memory_order_relaxed) != seen || stop_.load(); });
      --parked_;
    }
  }

  bool spin_for_change(uint64_t seen) const {
    const auto deadline = Clock::now() + kSpin;
    do {
      for (int i = 0; i < 64; ++i) {
        if (version_.load(std::memory_order_acquire) != seen) return true;
        cpu_relax();
      }
    } while (Clock::now() < deadline);
    return false;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job*> jobs_;            // guarded by mutex_
  int parked_ = 0;                    // guarded by mutex_
  std::atomic<uint64_t> version_{0};  // bumped under mutex_, read by spinning workers
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

struct Config {
  int threads;
  const char* reason;
};

double cgroup_cpu_quota() {
  double quota = 0, period = 0;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  if (v2 >> quota >> period && period > 0) return quota / period;  // "max 100000" fails to parse: no limit
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
      v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return INFINITY;
}

Config default_config() {
  if (const char* text = std::getenv("PYVISION_NUM_THREADS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    const long count = std::strtol(text, &end, 10);
    if (*end != '\0' || count < 1 || count > 4096)
      throw std::invalid_argument("[PYVISION_NUM_THREADS] expected an integer in [1, 4096], got '" +
                                  std::string(text) + "'");
    return {static_cast<int>(count), "PYVISION_NUM_THREADS"};
  }
  int affinity = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) affinity = CPU_COUNT(&set);
#endif
  const double quota = std::ceil(cgroup_cpu_quota());
  if (quota < affinity) return {std::max(1, static_cast<int>(quota)), "cgroup CPU quota"};
  return {affinity, "CPU affinity mask"};
}

// The pool is replaced whole when the thread count changes; a caller holds the shared lock's count while it
// uses it.
struct State {
  std::mutex mutex;
  std::condition_variable idle;
  Pool* pool = nullptr;   // guarded by mutex
  int callers = 0;        // guarded by mutex: parallel_for calls that use `pool`
  bool resizing = false;  // guarded by mutex
  Config config{0, ""};   // guarded by mutex; threads == 0 until first asked
};

State* g_state = new State;  // never destroyed: worker threads may outlive static destructors

// The child of a fork has none of the parent's threads and possibly locked mutexes: start afresh, keep the
// count.
void reset_after_fork() {
  const Config config = g_state->config;
  g_state = new State;
  g_state->config = config;
  t_inside_parallel = false;
  t_job = nullptr;
}

const bool g_fork_handler = [] {
  pthread_atfork(nullptr, nullptr, reset_after_fork);
  return true;
}();

const Config& config_locked(State* state) {
  if (state->config.threads == 0) state->config = default_config();
  return state->config;
}

Pool* acquire_pool(State* state) {
  std::unique_lock<std::mutex> lock(state->mutex);
  state->idle.wait(lock, [&] { return !state->resizing; });
  const int threads = config_locked(state).threads;
  if (threads == 1) return nullptr;
  if (state->pool == nullptr) state->pool = new Pool(threads - 1);
  ++state->callers;
  return state->pool;
}

void release_pool(State* state) {
  std::lock_guard<std::mutex> lock(state->mutex);
  if (--state->callers == 0) state->idle.notify_all();
}

// Runs the caller's share of the job, looking for Ctrl-C now and then.
bool run_as_caller(Job* job) {
  bool interrupted = false;
  auto now = Clock::now();
  if (now - t_ended > kInterruptPeriod) t_looked = now;  // an op begins: short ones need not look
  t_inside_parallel = true;
  for (Job::Turn turn = job->turn(0); job->run_one_chunk(&turn);) {
    now = Clock::now();
    if (!interrupted_by(now)) continue;
    interrupted = true;
    job->cancelled.store(true, std::memory_order_relaxed);
  }
  t_inside_parallel = false;
  t_ended = now;
  return interrupted;
}

}  // namespace

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (t_inside_parallel) {
    body(0, n);
    return;
  }
  const int64_t chunks = (n + grain - 1) / grain;
  State* state = g_state;
  Pool* pool = chunks > 1 ? acquire_pool(state) : nullptr;
  Job job(body, n, grain, chunks, pool == nullptr ? 1 : pool->threads());
  if (pool != nullptr) pool->submit(&job, chunks);
  const bool interrupted = run_as_caller(&job);
  if (pool != nullptr) {
    pool->withdraw(&job);
    for (int spins = 0; job.users.load(std::memory_order_acquire) != 0; ++spins) {
      cpu_relax();
      if (spins > 10000) std::this_thread::yield();  // more threads than cores: let the worker finish
    }
    release_pool(state);
  }
  if (job.error) std::rethrow_exception(job.error);
  if (interrupted) throw Interrupted{};
}

int num_threads() {
  std::lock_guard<std::mutex> lock(g_state->mutex);
  return config_locked(g_state).threads;
}

const char* num_threads_reason() {
  std::lock_guard<std::mutex> lock(g_state->mutex);
  return config_locked(g_state).reason;
}

void set_num_threads(int count) {
  if (count < 1 || count > 4096)
    throw std::invalid_argument("[set_num_threads] expected a count in [1, 4096], got " +
                                std::to_string(count));
  State* state = g_state;
  std::unique_lock<std::mutex> lock(state->mutex);
  state->idle.wait(lock, [&] { return !state->resizing; });
  if (config_locked(state).threads == count) return;
  state->resizing = true;
  state->idle.wait(lock, [&] { return state->callers == 0; });
  Pool* old = state->pool;
  state->pool = nullptr;
  state->config = {count, "set_num_threads"};
  lock.unlock();
  delete old;
  lock.lock();
  state->resizing = false;
  state->idle.notify_all();
}

void stop_if_interrupted() {
  // A worker does not look: the caller of its job does.
  const bool stop =
      t_job != nullptr ? t_job->cancelled.load(std::memory_order_relaxed) : interrupted_by(Clock::now());
  if (stop) throw Interrupted{};
}

void set_interrupt_check(bool (*check)()) { g_interrupt_check.store(check, std::memory_order_relaxed); }

}  // namespace pyvision
