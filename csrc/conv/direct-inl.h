// SPDX-License-Identifier: Apache-2.0
// Direct convolution: producer -> tile GEMM -> epilogue, over a range of row tiles and a range of panels.
#pragma once

#include "conv/producers-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Where `count` rows of a job go, all of their columns.
template <class E>
struct TileTarget : TileOutputOf<E> {
  int count;

  // memory: for the sums, (kRowTile, columns of panels [panel_begin, panel_end)), unused if kSumsInOutput
  void begin(const TileGemmOf<E>& job, typename E::Sum* memory, int64_t panel_begin, int64_t panel_end) {
    static_cast<E&>(*this) = job.epilogue;
    this->sums = memory;
    this->sums_begin = panel_begin * kPanelWidth;
    this->sums_stride = (panel_end - panel_begin) * kPanelWidth;
    this->has_residual = job.rows.residual.data != nullptr;
  }

  // Rows [r, r + pixels) are neighbours along one output row from `cursor` on.
  void set_rows(const RowMapOf<typename E::Out>& map, int r, int pixels, const PixelCursor& cursor) {
    set_rows(r, pixels, map.output.at(cursor.n, cursor.oh, cursor.ow), map.output.stride_w, this->row);
    if (map.residual.data != nullptr)
      set_rows(r, pixels, map.residual.at(cursor.n, cursor.oh, cursor.ow), map.residual.stride_w,
               this->residual);
  }
  // All `rows` rows, pixels [row, row + rows) of maps whose pixels all lie at one distance.
  void set_uniform(const RowMapOf<typename E::Out>& map, int rows, int64_t row) {
    count = rows;
    set_rows(0, rows, map.output.data + row * map.output.stride_w, map.output.stride_w, this->row);
    if (map.residual.data != nullptr)
      set_rows(0, rows, map.residual.data + row * map.residual.stride_w, map.residual.stride_w,
               this->residual);
  }

  // `pixels` more, `step` apart along one output row.
  void add_rows(const RowMapOf<typename E::Out>& map, int pixels, int64_t n, int64_t oh, int64_t ow,
                int64_t step) {
    set_rows(count, pixels, map.output.at(n, oh, ow), step * map.output.stride_w, this->row);
    if (map.residual.data != nullptr)
      set_rows(count, pixels, map.residual.at(n, oh, ow), step * map.residual.stride_w, this->residual);
    count += pixels;
  }

 private:
  template <class T>
  static void set_rows(int r, int pixels, T* first, int64_t stride, T** rows) {
    for (int i = 0; i < pixels; ++i) rows[r + i] = first + i * stride;
  }
};

// The next `rows` output pixels from the cursor on become a tile, one stretch of an output row at a time.
template <class Producer, class E>
inline void take_tile(const TileGemmOf<E>& job, int rows, PixelCursor* cursor, Producer* producer,
                      TileTarget<E>* target) {
  target->count = rows;
  for_each_stretch(job.rows, rows, cursor, [&](int r, int count, const PixelCursor& first) {
    producer->set_rows(r, count, first);
    target->set_rows(job.rows, r, count, first);
  });
}

// The words of B from value k of a row on.
template <class Product, class E>
inline const float* panel_block(const TileGemmOf<E>& job, int64_t panel, int64_t k) {
  constexpr int64_t kDepth = Product::kDepth;
  const int64_t column = panel * kPanelWidth;
  const int64_t width = panel_is_narrow(job.out_channels - column) ? F32::kLanes : kPanelWidth;
  return job.packed + column * ((job.k + kDepth - 1) / kDepth) + k / kDepth * width;
}

// K values of one tile from k_begin on against panels [panel_begin, panel_end). first: there are no sums yet;
// last: none will follow. ahead(panel, b, width): the PanelAhead of the panel at b
template <class Product, class E, class Ahead>
inline void multiply_tile(const TileGemmOf<E>& job, const TileInput& a, TileTarget<E>* tile, int64_t k_begin,
                          bool first, bool last, int64_t panel_begin, int64_t panel_end, Ahead ahead) {
  if (tile->count == 0) return;
  tile->first = first;
  tile->last = last;
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    tile->column = panel * kPanelWidth;
    const int64_t left = job.out_channels - tile->column;
    tile->columns = static_cast<int>(left < kPanelWidth ? left : kPanelWidth);
    const bool narrow = panel_is_narrow(tile->columns);
    const float* b = panel_block<Product>(job, panel, k_begin);
    tile->fetched = panel > panel_begin;
    tile->next = panel + 1 < panel_end ? kPanelWidth : 0;
    pick_microkernel<Product, E>(tile->count, narrow)(
        a, b, ahead(panel, b, narrow ? F32::kLanes : kPanelWidth), *tile);
  }
}

// A tile of k values a row; an empty one stands for zeros.
template <class Product>
inline TileInput produced_tile(const float* tile, int64_t k, bool empty) {
  return {tile, kTileStride, empty ? 0 : 1, 0, (k + Product::kDepth - 1) / Product::kDepth};
}

// Tiles outermost, each through all of K and all panels: C stays hot. For a B that stays in L2.
// scratch: (row_tile, kTileStride) words, and after them the sums unless they are in the output
template <class Producer>
inline void tiles_outermost(const typename Producer::Job& job, int64_t first_tile, int64_t last_tile,
                            int64_t panel_begin, int64_t panel_end, float* scratch) {
  using Product = typename Producer::Product;
  using E = typename Producer::Job::Epilogue;
  const int64_t block = k_block_size(job.k, Product::kDepth);
  bool uniform = false, rows_follow = false;
  if constexpr (Producer::kMayReadInPlace) {
    uniform = Producer::is_uniform(job);
    rows_follow = Producer::rows_follow(job);
  }
  Producer producer(job);
  TileTarget<E> target;
  target.begin(job, reinterpret_cast<typename E::Sum*>(scratch + kRowTile * kTileStride), panel_begin,
               panel_end);
  int64_t row = tile_begin(job, first_tile);
  typename Producer::Cursor cursor(job.rows, row);
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const int64_t row_end = tile_begin(job, t + 1);
    const int rows = static_cast<int>(row_end - row);
    int64_t k = 0, k_end = job.k;
    // The rows of the next tile, as many floats for a step: the hardware sees so many short streams too late.
    PanelAhead next_rows = {};
    if constexpr (Producer::kMayReadInPlace)
      if (rows_follow)
        next_rows = PanelAhead::share(producer.uniform_rows(row_end).rows, rows, panel_end - panel_begin);
    const auto ahead = [&](int64_t panel, const float* b, int64_t) {
      const int64_t done =
          k * (panel_end - panel_begin) + (panel - panel_begin) * (k_end - k);  // of the tile
      return rows_follow ? next_rows.after(done / Product::kDepth) : PanelAhead::none(b);
    };
    bool in_place = uniform;
    if constexpr (Producer::kMayReadInPlace) {
      TileInput a;
      if (uniform) {
        a = producer.uniform_rows(row);
        target.set_uniform(job.rows, rows, row);
      } else if (rows <= job.rows.out_w - cursor.ow && producer.windows_in_place(cursor, rows, &a)) {
        in_place = true;
        target.count = rows;
        target.set_rows(job.rows, 0, rows, cursor);
        cursor.advance(job.rows, rows);
      }
      if (in_place)
        multiply_tile<Product>(job, a, &target, 0, /*first=*/true, /*last=*/true, panel_begin, panel_end,
                               ahead);
    }
    if (!in_place) {
      take_tile(job, rows, &cursor, &producer, &target);
      bool first = true;
      do {  // once even when k is 0 (a transposed convolution's phase without taps): the epilogue still runs
        k_end = k + block < job.k ? k + block : job.k;
        const bool last = k_end == job.k, empty = producer.sees_nothing(k, k_end, rows);
        if (!empty) producer.fill(k, k_end, rows, scratch);
        if (!empty || last) {
          multiply_tile<Product>(job, produced_tile<Product>(scratch, k_end - k, empty), &target, k, first,
                                 last, panel_begin, panel_end, ahead);
          first = false;
        }
        k += block;
      } while (k < job.k);
    }
    row = row_end;
  }
}

// Groups of tiles through one K block, panels outermost: a panel comes from L3 once and from L1 or L2 for the
// rest of the group, whose tiles wait in L2. For a B that is larger than L2. scratch: (kTileGroup, row_tile,
// kTileStride) words, and after them the sums unless they are in the output
template <class Producer>
inline void panels_outermost(const typename Producer::Job& job, int64_t first_tile, int64_t last_tile,
                             int64_t panel_begin, int64_t panel_end, float* scratch) {
  using Product = typename Producer::Product;
  using E = typename Producer::Job::Epilogue;
  const int64_t block = k_block_size(job.k, Product::kDepth);
  Producer producer(job);
  TileTarget<E> targets[kTileGroup];
  auto* const sums = reinterpret_cast<typename E::Sum*>(scratch + kTileGroup * kRowTile * kTileStride);
  for (int64_t t = 0; t < kTileGroup; ++t)
    targets[t].begin(job, sums + t * kRowTile * (panel_end - panel_begin) * kPanelWidth, panel_begin,
                     panel_end);
  for (int64_t group = first_tile; group < last_tile; group += kTileGroup) {
    const int64_t tiles = group + kTileGroup < last_tile ? kTileGroup : last_tile - group;
    bool empty[kTileGroup], first[kTileGroup];
    for (int64_t t = 0; t < tiles; ++t) first[t] = true;
    for (int64_t k = 0; k < job.k; k += block) {
      const int64_t k_end = k + block < job.k ? k + block : job.k;
      typename Producer::Cursor cursor(job.rows, tile_begin(job, group));
      for (int64_t t = 0; t < tiles; ++t) {
        const int rows = static_cast<int>(tile_begin(job, group + t + 1) - tile_begin(job, group + t));
        take_tile(job, rows, &cursor, &producer, &targets[t]);
        empty[t] = producer.sees_nothing(k, k_end, rows);
        if (!empty[t]) producer.fill(k, k_end, rows, scratch + t * kRowTile * kTileStride);
      }
      for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
        const float* next = panel + 1 < panel_end
                                ? panel_block<Product>(job, panel + 1, k)
                                : panel_block<Product>(job, panel_begin, k_end < job.k ? k_end : 0);
        for (int64_t t = 0; t < tiles; ++t) {
          if (empty[t] && k_end < job.k) continue;
          const TileInput a =
              produced_tile<Product>(scratch + t * kRowTile * kTileStride, k_end - k, empty[t]);
          const auto ahead = [&](int64_t, const float*, int64_t width) {
            return PanelAhead::share(next, width, tiles).after(t * a.runs * a.run_length);
          };
          multiply_tile<Product>(job, a, &targets[t], k, first[t], k_end == job.k, panel, panel + 1, ahead);
        }
      }
      for (int64_t t = 0; t < tiles; ++t) first[t] = first[t] && empty[t];
    }
  }
}

template <class Producer>
inline void run_tiles(const typename Producer::Job& job, int64_t first_tile, int64_t last_tile,
                      int64_t panel_begin, int64_t panel_end, float* scratch) {
  const auto order = job.panels_in_l2 ? tiles_outermost<Producer> : panels_outermost<Producer>;
  order(job, first_tile, last_tile, panel_begin, panel_end, scratch);
}

}  // namespace pyvision::PYVISION_ISA_NS
