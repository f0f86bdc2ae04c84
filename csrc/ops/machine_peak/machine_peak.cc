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

constexpr double kBlockSeconds = 1e-3;  // far above the clock's resolution, far below a scheduler slice

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The highest units per second over blocks of run(repetitions), measured for `seconds`.
template <class Run>
double best_rate(double seconds, double units_per_repetition, Run run) {
  int64_t repetitions = 1;
  double best = 0.0;
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
    const auto block = Clock::now();
    run(repetitions);
    const double elapsed = seconds_since(block);
    if (elapsed < kBlockSeconds)
      repetitions *= 2;
    else
      best = std::max(best, units_per_repetition * static_cast<double>(repetitions) / elapsed);
  }
  return best;
}

void check_measurement(const char* op, double seconds, int threads) {
  check(std::isfinite(seconds) && seconds >= 0.01 && seconds <= 60.0, op,
        "expected seconds in [0.01, 60], got ", seconds);
  check(threads >= 1 && threads <= num_threads(), op, "expected threads in [1, ", num_threads(), "], got ",
        threads);
}

}  // namespace

double measure_fma_peak(double seconds, int threads) {
  check_measurement("measure_fma_peak", seconds, threads);
  const MachinePeakKernels& kernels = machine_peak_kernels();
  std::vector<double> rates(threads);
  parallel_for(threads, 1, [&](int64_t begin, int64_t) {
    const Scratch<float> values(kMaxChainValues);
    std::fill_n(values.get(), kMaxChainValues, 1.0f);
    rates[begin] = best_rate(seconds, static_cast<double>(kernels.flops_per_repetition),
                             [&](int64_t n) { kernels.fma_chains(n, values); });
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

double measure_copy_bandwidth(int64_t bytes, double seconds, int threads) {
  const char* op = "measure_copy_bandwidth";
  check_measurement(op, seconds, threads);
  check(bytes >= 4096 && bytes <= (int64_t{1} << 40), op, "expected bytes in [4096, 2^40], got ", bytes);
  const size_t share = static_cast<size_t>(bytes / threads);
  std::vector<double> rates(threads);
  parallel_for(threads, 1, [&](int64_t begin, int64_t) {
    const AlignedBuffer source(share), target(share);
    std::memset(source.as<char>(), 1, share);  // touched by the thread that will copy it
    std::memset(target.as<char>(), 2, share);
    rates[begin] = best_rate(seconds, 2.0 * static_cast<double>(share), [&](int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        std::memcpy(target.as<char>(), source.as<char>(), share);
        asm volatile("" : : "r"(target.as<char>()) : "memory");  // the copy is observed
      }
    });
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

}  // namespace pyvision
