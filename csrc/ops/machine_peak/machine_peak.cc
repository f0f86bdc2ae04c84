// SPDX-License-Identifier: Apache-2.0
#include "ops/machine_peak/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/arena.h"
#include "core/check.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int64_t kMaxRepetitions = int64_t{1} << 26;  // about a second: Ctrl-C waits for no more

void check_threads(const char* op, int threads) {
  check(threads >= 1 && threads <= num_threads(), op, "expected threads in [1, ", num_threads(), "], got ",
        threads);
}

}  // namespace

double run_fma_chains(int64_t repetitions, int threads) {
  const char* op = "run_fma_chains";
  check(repetitions >= 1 && repetitions <= kMaxRepetitions, op, "expected repetitions in [1, ",
        kMaxRepetitions, "], got ", repetitions);
  check_threads(op, threads);
  const MachinePeakKernels& kernels = machine_peak_kernels();
  parallel_for(threads, 1, [&](int64_t, int64_t) {
    const Scratch<float> values(kMaxChainValues);
    std::fill_n(values.get(), kMaxChainValues, 1.0f);
    kernels.fma_chains(repetitions, values);
  });
  return static_cast<double>(kernels.flops_per_repetition) * static_cast<double>(repetitions) * threads;
}

double measure_copy_bandwidth(int64_t bytes, double seconds, int threads) {
  const char* op = "measure_copy_bandwidth";
  check(std::isfinite(seconds) && seconds >= 0.01 && seconds <= 60.0, op,
        "expected seconds in [0.01, 60], got ", seconds);
  check_threads(op, threads);
  check(bytes >= (1 << 20) && bytes <= (int64_t{1} << 40), op, "expected bytes in [2^20, 2^40], got ", bytes);
  const size_t share = static_cast<size_t>(bytes / threads);
  std::vector<double> rates(threads);
  parallel_for(threads, 1, [&](int64_t begin, int64_t) {
    const AlignedBuffer source(share), target(share);
    std::memset(source.as<char>(), 1, share);  // touched by the thread that will copy it
    std::memset(target.as<char>(), 2, share);
    const double moved = 2.0 * static_cast<double>(share);
    for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
      const auto copy = Clock::now();
      std::memcpy(target.as<char>(), source.as<char>(), share);
      asm volatile("" : : "r"(target.as<char>()) : "memory");  // the copy is observed
      rates[begin] = std::max(rates[begin], moved / seconds_since(copy));
    }
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

}  // namespace pyvision
