// SPDX-License-Identifier: Apache-2.0
// The microkernel: MR rows of A times one panel of B, accumulated in registers, finished by the epilogue.
#pragma once

#include <type_traits>
#include <utility>

#include "conv/gemm.h"
#include "simd/activation-inl.h"
#include "simd/storage-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// MR x NV accumulators, NV loads of B and one broadcast of A must fit the register file.
#if defined(__AVX512F__)
constexpr int kRowTile = 14, kPanelVectors = 2;  // 28 + 2 + 1 of 32 zmm
#elif defined(__AVX2__)
constexpr int kRowTile = 6, kPanelVectors = 2;  // 12 + 2 + 1 of 16 ymm
#else
constexpr int kRowTile = 4,
              kPanelVectors = 8;  // 4 x 8 floats: eight SSE registers once the compiler vectorises
#endif
constexpr int kPanelWidth = kPanelVectors * F32::kLanes;

constexpr int kFloatsPerLine = 64 / sizeof(float);

// How far a product fetches the panel that it reads: memory answers within so many steps. Not a page, whose
// lines would fall in the sets of those in use.
constexpr int64_t kFloatsAhead = 3072 / sizeof(float);

// What a product fetches for those to come: something at each step of K, `step` floats apart. Of what is
// shared out that is a cache line; there are load slots to spare, though not for many streams.
struct PanelAhead {
  const float* from;
  int64_t step;

  static PanelAhead none(const float* b) { return {b, 0}; }
  // For what comes after `passes` products that take as many steps, `width` floats of it for each step of one
  // of them: a share with every pass, so that memory is as busy in the last as in the first.
  static PanelAhead share(const float* next, int64_t width, int64_t passes) {
    const int64_t step = (width + passes - 1) / passes;
    return {next, step < kFloatsPerLine ? step : kFloatsPerLine};
  }
  // What is left of a share after so many steps of all passes.
  PanelAhead after(int64_t steps) const { return {from + steps * step, step}; }
};

constexpr int64_t kKBlock = k_block_limit(kRowTile);
inline int64_t k_block_size(int64_t k, int64_t depth = 1) {
  return pyvision::k_block_size(k, kRowTile, depth);
}

// Distance between rows of an A tile: an odd number of cache lines, so that the rows spread over all L1 sets.
constexpr int64_t kTileStride = ((kKBlock / 16 + 1) | 1) * 16;

// How words of A and B are multiplied. kDepth values of `Value` make a word; dot(a, b, sums) adds to each
// lane the products of the values of its two words.
struct F32Product {
  using Value = float;
  using Sum = F32;
  static constexpr int kDepth = 1;
  static F32 dot(F32 a, F32 b, F32 sum) { return fma(a, b, sum); }
};

// Sums wait between K blocks where the output will be, or apart from it where that is narrower.
template <class E>
constexpr bool kSumsInOutput = std::is_same_v<typename E::Sum, typename E::Out>;

// Whether the sums become rows of an output, which are fetched while they are computed.
template <class E>
constexpr bool kWritesRows = true;

// Where the rows of a tile go, and what happens to the sums on the way. A panel is at `column` of all of it,
// so that nothing else is written between two panels of a tile: what the microkernel begins with, a pointer
// to the bias, would have to wait for the sums that were stored before it.
template <class E>
struct TileOutputOf : E {
  typename E::Out* row[kRowTile];             // (columns,) each
  const typename E::Out* residual[kRowTile];  // likewise; unused unless has_residual
  typename E::Sum* sums;  // (rows, sums_stride), columns from sums_begin on; unused if kSumsInOutput
  int64_t sums_stride, sums_begin;
  int64_t column = 0;  // the panel's first
  int columns;         // valid columns of the panel
  bool has_residual;
  bool first, last;      // of the K blocks: start from zero, apply the epilogue
  bool fetched = false;  // the rows are in the cache
  int next = 0;          // columns from here to those that are written next, which are fetched meanwhile

  typename E::Sum* sums_at(int r) const { return sums + r * sums_stride + column - sums_begin; }
};
using TileOutput = TileOutputOf<Epilogue>;

// The rows of A, in words: in `runs` stretches of run_length that lie run_step apart (one stretch in a
// produced tile; one per kernel row where windows are read in the image itself). Rows are `stride` apart.
struct TileInput {
  const float* rows;
  int64_t stride;
  int64_t runs, run_step, run_length;
};

// b: (a.runs * a.run_length, NV * lanes)
template <class E>
using MicrokernelOf = void (*)(const TileInput& a, const float* b, const PanelAhead& ahead,
                               const TileOutputOf<E>& out);

// Addresses of A's rows at a distance known at run time, in few registers: x86 adds a base and an index times
// 1, 2, 4 or 8, so three multiples of the stride and two bases reach 14 rows. (One pointer per row would need
// 14 registers; with these the GEMM reads a 1x1 convolution's input where it lies.)
struct RowAddress {
  const char *a, *a7;  // rows 0 and 7
  int64_t s1, s3, s5;  // 1, 3 and 5 strides, in bytes

  [[gnu::always_inline]] RowAddress(const float* rows, int64_t stride)
      : a(reinterpret_cast<const char*>(rows)),
        a7(a + 28 * stride),
        s1(4 * stride),
        s3(12 * stride),
        s5(20 * stride) {
#if defined(__x86_64__)
    // Opaque to the compiler, which would otherwise derive a pointer per row from them and spill those.
    asm("" : "+r"(a7), "+r"(s1), "+r"(s3), "+r"(s5));
#endif
  }
  template <int R>
  [[gnu::always_inline]] float row() const {
    constexpr int kIn7 = R % 7;
    const char* base = R < 7 ? a : a7;
    const int64_t offset = kIn7 == 0 ? 0 : kIn7 == 3 ? s3 : kIn7 == 5 ? s5 : kIn7 == 6 ? 2 * s3 : kIn7 * s1;
    return *reinterpret_cast<const float*>(base + offset);
  }
  [[gnu::always_inline]] void next() { a += sizeof(float), a7 += sizeof(float); }
};

// The transposed A of a weight's gradient: its rows are output channels, neighbours in memory, and its K are
// pixels, `stride` apart.
struct ColumnAddress {
  const float* a;
  int64_t stride;

  [[gnu::always_inline]] ColumnAddress(const float* rows, int64_t stride) : a(rows), stride(stride) {}
  template <int R>
  [[gnu::always_inline]] float row() const {
    return a[R];
  }
  [[gnu::always_inline]] void next() { a += stride; }
};

template <class Product, int MR, int NV, class Sum, class Address, int... R>
[[gnu::always_inline]] inline void multiply_rows(Sum (&acc)[MR][NV], const Address& rows, const F32 (&b)[NV],
                                                 std::integer_sequence<int, R...>) {
  const auto one = [&](Sum(&sums)[NV], float a) __attribute__((always_inline)) {
    const F32 av = F32::set(a);
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) sums[v] = Product::dot(av, b[v], sums[v]);
  };
  (one(acc[R], rows.template row<R>()), ...);
}

// The helpers of the microkernel must be inlined: an accumulator whose address is taken lives in memory.
template <int MR, int NV, class Out>
[[gnu::always_inline]] inline void store_tile(const F32 (&acc)[MR][NV], Out* const* rows, int64_t column,
                                              int columns) {
  if (columns == NV * F32::kLanes) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) store_as(acc[r][v], rows[r] + column + v * F32::kLanes);
    }
    return;
  }
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
    const int lanes = columns - v * F32::kLanes;
    if (lanes <= 0) return;
    const int n = lanes < F32::kLanes ? lanes : F32::kLanes;
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) store_as_n(acc[r][v], rows[r] + column + v * F32::kLanes, n);
  }
}

template <int MR, int NV, class Out>
[[gnu::always_inline]] inline void add_rows(F32 (&acc)[MR][NV], const Out* const* rows, int64_t column,
                                            int columns) {
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
    const int lanes = columns - v * F32::kLanes;
    if (lanes >= F32::kLanes) {
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) acc[r][v] = acc[r][v] + load_f32(rows[r] + column + v * F32::kLanes);
    } else if (lanes > 0) {
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r)
        acc[r][v] = acc[r][v] + load_f32_n(rows[r] + column + v * F32::kLanes, lanes);
    }
  }
}

// What earlier K blocks, or the residual, have to add. The residual joins the first block: it may be the
// output's memory, where later blocks find their sums.
template <int MR, int NV, class Sum, class E>
[[gnu::always_inline]] inline void add_start(Sum (&acc)[MR][NV], const TileOutputOf<E>& out) {
  if constexpr (kSumsInOutput<E>) {
    if (!out.first || out.has_residual)
      add_rows(acc, out.first ? out.residual : out.row, out.column, out.columns);
  } else if (!out.first) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = acc[r][v] + Sum::load(out.sums_at(r) + v * Sum::kLanes);
    }
  } else if constexpr (std::is_same_v<Sum, F32>) {
    if (out.has_residual) add_rows(acc, out.residual, out.column, out.columns);
  }
}

template <int MR, int NV, class Sum, class E>
[[gnu::always_inline]] inline void store_sums(const Sum (&acc)[MR][NV], const TileOutputOf<E>& out) {
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[r][v].store(out.sums_at(r) + v * Sum::kLanes);
  }
}

// The epilogue on f32 sums, bias and residual included.
template <int MR, int NV>
[[gnu::always_inline]] inline void activate_tile(F32 (&acc)[MR][NV], const ActivationParams& activation) {
  with_cheap_activation(activation, [&](auto f) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = f(acc[r][v]);
    }
  });
}

// An exponential needs registers of its own. Where the rows are floats a second pass over them follows, while
// they are in L1; elsewhere the tile takes a detour through the stack before it is rounded.
template <int MR, int NV>
[[gnu::noinline]] void activate_on_stack(float (&memory)[MR * NV * F32::kLanes], const ActivationParams& p) {
  activate(p, memory, memory, MR * NV * F32::kLanes);
}
template <int MR, int NV>
[[gnu::always_inline]] inline void finish_before_rounding(F32 (&acc)[MR][NV],
                                                          const ActivationParams& activation) {
  activate_tile(acc, activation);
  if (is_cheap(activation.kind)) return;
  float memory[MR * NV * F32::kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[r][v].store(memory + (r * NV + v) * F32::kLanes);
  }
  activate_on_stack<MR, NV>(memory, activation);
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[r][v] = F32::load(memory + (r * NV + v) * F32::kLanes);
  }
}

template <int MR, int NV, class Out>
[[gnu::always_inline]] inline void finish_tile(F32 (&acc)[MR][NV], const TileOutputOf<EpilogueTo<Out>>& out) {
  if constexpr (std::is_same_v<Out, float>) {
    if (out.last) activate_tile(acc, out.activation);
    store_tile(acc, out.row, out.column, out.columns);
    if (out.last && !is_cheap(out.activation.kind))
      for (int r = 0; r < MR; ++r)
        activate(out.activation, out.row[r] + out.column, out.row[r] + out.column, out.columns);
  } else {
    if (!out.last) return store_sums(acc, out);
    finish_before_rounding(acc, out.activation);
    store_tile(acc, out.row, out.column, out.columns);
  }
}

// A panel's columns of one row, to be read or written.
template <int NV, bool kWrite, class T>
[[gnu::always_inline]] inline void fetch_columns(T* row) {
#pragma GCC unroll 8
  for (int line = 0; line < NV * F32::kLanes; line += kFloatsPerLine) __builtin_prefetch(row + line, kWrite);
}

// kBStep: floats between rows of B, which follow each other in a packed panel.
template <int MR, int NV, class Product = F32Product, class E = Epilogue, class Address = RowAddress,
          int64_t kBStep = NV * F32::kLanes>
void microkernel(const TileInput& a, const float* b, const PanelAhead& ahead, const TileOutputOf<E>& out) {
  using Sum = typename Product::Sum;
  constexpr bool kIsPacked = kBStep == NV * F32::kLanes;
  Sum acc[MR][NV];
  if constexpr (kWritesRows<E>) {
    if (!out.fetched) {
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) fetch_columns<NV, true>(out.row[r] + out.column);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
    const Sum start = out.first ? Sum::load(out.bias + out.column + v * Sum::kLanes) : Sum::zero();
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) acc[r][v] = start;
  }
  add_start(acc, out);
  // Where the next sums go is fetched while these are computed, a row now and then: a map larger than L2 is
  // written at the speed of memory, not at its latency.
  const int64_t segment = kWritesRows<E> ? a.runs * a.run_length / MR + 1 : a.run_length;
  int next_row = 0;
  const float *run_rows = a.rows, *fetched = ahead.from;
  for (int64_t run = 0; run < a.runs; ++run) {
    Address rows(run_rows, a.stride);
    for (int64_t left = a.run_length; left > 0; left -= segment) {
      if constexpr (kWritesRows<E>)
        if (next_row < MR) fetch_columns<NV, true>(out.row[next_row++] + out.column + out.next);
      for (int64_t i = left < segment ? left : segment; i > 0; --i) {
        F32 bv[NV];
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) bv[v] = F32::load(b + v * F32::kLanes);
        multiply_rows<Product>(acc, rows, bv, std::make_integer_sequence<int, MR>{});
        if constexpr (kIsPacked) {
          fetch_columns<NV, false>(b + kFloatsAhead);
          if constexpr (2 * MR >= kRowTile) __builtin_prefetch(fetched);  // few rows have no slot to spare
        } else {
          fetch_columns<NV, false>(fetched);
        }
        rows.next();
        fetched += ahead.step;
        b += kBStep;
      }
    }
    run_rows += a.run_step;
  }
  finish_tile(acc, out);
}

// Kernels for every number of rows, so that rows can be dealt evenly to tiles: 49 rows are 13 + 12 + 12 + 12,
// not 14 + 14 + 14 + 7.
template <int NV, class Product, class E, int... Rows>
inline MicrokernelOf<E> pick_microkernel(int rows, std::integer_sequence<int, Rows...>) {
  static constexpr MicrokernelOf<E> kTable[] = {microkernel<Rows + 1, NV, Product, E>...};
  return kTable[rows - 1];
}
template <class Product, class E>
inline MicrokernelOf<E> pick_own_microkernel(int rows, bool narrow) {
  constexpr auto kRows = std::make_integer_sequence<int, kRowTile>{};
  return narrow ? pick_microkernel<1, Product, E>(rows, kRows)
                : pick_microkernel<kPanelVectors, Product, E>(rows, kRows);
}

// The products of floats that several ops share: compiled once for each ISA, in ops/conv2d.
MicrokernelOf<Epilogue> pick_f32_microkernel(int rows, bool narrow);

template <class Product = F32Product, class E = Epilogue>
inline MicrokernelOf<E> pick_microkernel(int rows, bool narrow) {
  if constexpr (std::is_same_v<Product, F32Product> && std::is_same_v<E, Epilogue>)
    return pick_f32_microkernel(rows, narrow);
  else
    return pick_own_microkernel<Product, E>(rows, narrow);
}

// The last panel holds one vector instead of kPanelVectors when that is enough.
inline bool panel_is_narrow(int64_t columns) { return columns <= F32::kLanes && kPanelVectors > 1; }

// weight: (out_channels, k) with strides, element (o, tap, i) at o * stride_o + tap * stride_tap + i *
// stride_i. packed: (panels, taps * channels, panel_width), taps outer, channels inner. `convert` makes a
// value of B from a weight.
template <class Product, class Weight, class Convert>
inline void pack_panels(const Weight* weight, int64_t out_channels, int64_t taps, int64_t channels,
                        int64_t stride_o, int64_t stride_tap, int64_t stride_i, float* packed,
                        Convert convert) {
  constexpr int64_t kDepth = Product::kDepth;
  using Value = typename Product::Value;
  auto* to = reinterpret_cast<Value*>(packed);
  const int64_t padded = (taps * channels + kDepth - 1) / kDepth * kDepth;
  for (int64_t o0 = 0; o0 < out_channels; o0 += kPanelWidth) {
    const int64_t columns = out_channels - o0 < kPanelWidth ? out_channels - o0 : kPanelWidth;
    const int64_t width = panel_is_narrow(columns) ? F32::kLanes : kPanelWidth;
    for (int64_t k = 0; k < padded; ++k) {
      Value* const row = to + k / kDepth * kDepth * width + k % kDepth;
      const int64_t tap = k / channels, i = k % channels;
      const Weight* const from = weight + o0 * stride_o + tap * stride_tap + i * stride_i;
      if constexpr (std::is_same_v<Product, F32Product>) {
        if (stride_o == 1 && columns == width) {  // an adjoint's weights, channels last
          for (int64_t o = 0; o < width; o += F32::kLanes) F32::load(from + o).store(row + o);
          continue;
        }
      }
      for (int64_t o = 0; o < width; ++o)
        row[o * kDepth] = o < columns && tap < taps ? convert(from[o * stride_o]) : Value{};
    }
    to += padded * width;
  }
}
inline void pack_floats(const float* weight, int64_t out_channels, int64_t taps, int64_t channels,
                        int64_t stride_o, int64_t stride_tap, int64_t stride_i, float* packed) {
  pack_panels<F32Product>(weight, out_channels, taps, channels, stride_o, stride_tap, stride_i, packed,
                          [](float x) { return x; });
}

}  // namespace pyvision::PYVISION_ISA_NS
