// SPDX-License-Identifier: Apache-2.0
#include "roi/own_channels.h"

#include "core/arena.h"
#include "roi/bin_sum.h"
#include "roi/copy.h"

namespace pyvision {
namespace {

// The taps of a group's regions on a map of `width` columns, as kernels for planes take them: one list for
// every row of bins, one for every column of them.
template <class T>
class OwnBins {
 public:
  OwnBins(const RoiGrid& grid, const Regions<T>& regions, const RegionGroup& group, int64_t width,
          int64_t lanes)
      : grid_(grid),
        y_(static_cast<size_t>(grid.h)),
        x_(static_cast<size_t>(grid.w)),
        few_y_(y_.size()),
        few_x_(x_.size()) {
    are_few_ = true;
    for (int64_t k = group.begin; k < group.end; ++k)
      are_few_ = are_few_ && most(regions[k].taps.y, grid.h) <= 4 && most(regions[k].taps.x, grid.w) <= 4;
    parallel_for(grid.h + grid.w, 1, [&](int64_t begin, int64_t end) {
      for (int64_t bin = begin; bin < end; ++bin) {
        const bool is_row = bin < grid.h;
        const int64_t i = is_row ? bin : bin - grid.h;
        for (int64_t k = group.begin; k < group.end; ++k) {
          const RoiAxis<T>& taps = is_row ? regions[k].taps.y : regions[k].taps.x;
          if (are_few_)
            add_few(taps, i, is_row ? width : 1, &(is_row ? few_y_ : few_x_)[static_cast<size_t>(i)]);
          else if (is_row)
            add_rows(taps, i);
          else
            add_spans(taps, i, width, lanes);
        }
      }
    });
  }

  // At most four taps an axis, of all regions: these are to be used then, and the lists are empty. Where
  // there are none, the first weight is 0, as no tap's is.
  bool are_few() const { return are_few_; }
  const FourTaps<T>* few_y(int64_t bin) const { return few_y_[static_cast<size_t>(bin / grid_.w)].data(); }
  const FourTaps<T>* few_x(int64_t bin) const { return few_x_[static_cast<size_t>(bin % grid_.w)].data(); }

  RoiAxis<T> y(int64_t bin) const { return y_[static_cast<size_t>(bin / grid_.w)].from(0); }
  RoiSpans<T> x(int64_t bin) const {
    const Spans& x = x_[static_cast<size_t>(bin % grid_.w)];
    return {x.first.data(), x.column.data(), x.weight.data()};
  }

 private:
  struct Spans {
    std::vector<int64_t> first{0};
    std::vector<int32_t> column;
    std::vector<T> weight;
  };

  static int64_t most(const RoiAxis<T>& taps, int64_t bins) {
    int64_t most = 0;
    for (int64_t bin = 0; bin < bins; ++bin) most = std::max(most, taps.first[bin + 1] - taps.first[bin]);
    return most;
  }
  static void add_few(const RoiAxis<T>& taps, int64_t bin, int64_t stride, std::vector<FourTaps<T>>* few) {
    const int64_t first = taps.first[bin], count = taps.first[bin + 1] - first;
    few->push_back(count > 0 ? FourTaps<T>(taps.index + first, taps.weight + first, count, stride)
                             : FourTaps<T>{});
  }
  void add_rows(const RoiAxis<T>& y, int64_t bin) {
    AxisBuilder<T>& rows = y_[static_cast<size_t>(bin)];
    for (int64_t i = y.first[bin]; i < y.first[bin + 1]; ++i) rows.append(y.index[i], y.weight[i]);
    rows.end_bin();
  }
  void add_spans(const RoiAxis<T>& x, int64_t bin, int64_t width, int64_t lanes) {
    Spans& spans = x_[static_cast<size_t>(bin)];
    int64_t end = 0;  // of the last span
    for (int64_t i = x.first[bin]; i < x.first[bin + 1]; ++i) {
      if (x.index[i] >= end) {
        spans.column.push_back(static_cast<int32_t>(std::clamp<int64_t>(width - lanes, 0, x.index[i])));
        spans.weight.resize(spans.weight.size() + static_cast<size_t>(lanes));
        end = spans.column.back() + lanes;
      }
      *(spans.weight.end() - (end - x.index[i])) += x.weight[i];
    }
    spans.first.push_back(static_cast<int64_t>(spans.column.size()));
  }

  const RoiGrid& grid_;
  std::vector<AxisBuilder<T>> y_;
  std::vector<Spans> x_;
  bool are_few_;
  std::vector<std::vector<FourTaps<T>>> few_y_, few_x_;
};

// Planar maps with a channel for every bin: bin after bin, and of each the planes of all outputs. A plane
// stays in the cache for all regions, which read it here and there: the next is fetched in order meanwhile.
template <class T>
void gather_own_planes(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                       const OwnChannelKernels<T>& kernels, bool fetch, T* out) {
  constexpr int64_t kLine = 64 / sizeof(T), kStep = 4;  // regions between prefetches
  const RoiLevel<const T>& level = maps.levels[0];
  const int64_t all = maps.channels, bins = grid.bins(), outputs = all / bins, plane_size = level.h * level.w;
  const auto channel = [&](int64_t i) { return i % outputs * bins + i / outputs; };
  // (channels, regions): a region's results, written where they belong, would be a cache line each
  const AlignedBuffer buffer(static_cast<size_t>(all * regions.size()) * sizeof(T));
  T* const sums = buffer.as<T>();
  for (const RegionGroup& group : regions.groups()) {
    const T* const image = level.data + regions[group.begin].image * all * plane_size;
    const int64_t count = group.end - group.begin,
                  lines = fetch ? plane_size * kStep / (kLine * count) + 1 : 0;
    const OwnBins<T> taps(grid, regions, group, level.w, kernels.lanes);
    parallel_for(all, outputs, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t bin = i / outputs;
        const RoiAxis<T> y = taps.y(bin);
        const RoiSpans<T> x = taps.x(bin);
        const FourTaps<T>*few_y = taps.few_y(bin), *few_x = taps.few_x(bin);
        const T *const plane = image + channel(i) * plane_size, *next = image + channel(i + 1) * plane_size;
        const T* const next_end = i + 1 < all ? next + plane_size : next;
        for (int64_t k = 0; k < count; k += kStep) {
          for (int64_t line = 0; line < lines && next < next_end; ++line, next += kLine)
            __builtin_prefetch(next, 0, 2);
          const int64_t last = std::min(k + kStep, count);
          T* const to = sums + channel(i) * regions.size() + group.begin;
          if (taps.are_few())
            for (int64_t j = k; j < last; ++j)
              to[j] = few_y[j].weight[0] == 0 || few_x[j].weight[0] == 0 ? T(0)
                                                                         : sum_few(few_y[j], few_x[j], plane);
          else
            kernels.sum_plane(y, x, k, last, plane, level.w, to);
        }
      }
    });
  }
  constexpr int64_t kRows = 16;  // a cache line of every channel's sums
  parallel_for(regions.size(), kRows, [&](int64_t begin, int64_t end) {
    const Scratch<T> rows(kRows * all);
    transpose<T>(sums + begin, regions.size(), rows.get(), all, all, end - begin);
    for (int64_t k = begin; k < end; ++k)
      copy_rows<T>(rows.get() + (k - begin) * all, all, out + regions[k].box * all, all, 1, all);
  });
}

// What regions have within one tile: their taps in each of its rows, and bits for the columns they touch.
template <class T>
struct TileRows {
  std::vector<std::vector<TileTap<T>>> taps;
  uint32_t columns;
};

// The taps of regions of one image, cut where tiles of the map end. What the tiles add to a region's bins
// makes a table, with a row for every cut of its rows of bins and a column for every cut of its columns of
// bins.
template <class T>
class TiledBins {
 public:
  static constexpr int32_t kHeight = 64, kWidth = kTileWidth;

  // Takes the first regions of a group, one at least, until their tables have `most` entries together. step:
  // from one pixel to the next in a plane
  TiledBins(const RoiGrid& grid, const Regions<T>& regions, const RegionGroup& group, int64_t height,
            int64_t width, int64_t step, int64_t most)
      : grid_(grid),
        regions_(&regions[group.begin]),
        rows_((height + kHeight - 1) / kHeight),
        columns_((width + kWidth - 1) / kWidth) {
    std::vector<Cut> y, x;
    tables_.push_back({});
    for (int64_t k = 0; k < group.end - group.begin && (k == 0 || table_size() < most); ++k) {
      cut(regions_[k].taps.y, grid.h, kHeight, k, &y);
      cut(regions_[k].taps.x, grid.w, kWidth, k, &x);
      Table next = {0, static_cast<int64_t>(y.size()), static_cast<int64_t>(x.size())};
      next.at = tables_.back().at + (next.row - tables_.back().row) * (next.column - tables_.back().column);
      tables_.push_back(next);
    }
    y_bin_.reserve(y.size()), x_bin_.reserve(x.size()), spans_.reserve(x.size());
    for (const Cut& cut : y) y_bin_.push_back(cut.bin);
    for (const Cut& cut : x) x_bin_.push_back(cut.bin);
    y_.resize(y.size());
    std::vector<Cut> sorted(x.size());
    y_end_ = counting_sort(y, rows_, [](const Cut& cut) { return cut.tile; }, y_.data());
    x_end_ = counting_sort(x, columns_, [](const Cut& cut) { return cut.tile; }, sorted.data());
    for (const Cut& cut : sorted) spans_.push_back(span_of(cut, step));
  }

  int64_t size() const { return static_cast<int64_t>(tables_.size()) - 1; }  // regions
  int64_t tiles() const { return rows_ * columns_; }
  int64_t row(int64_t tile) const { return tile / columns_ * kHeight; }  // its first
  int64_t column(int64_t tile) const { return tile % columns_ * kWidth; }
  int64_t table_size() const { return tables_.back().at; }  // of all regions together

  // Sets rows to those of the tile.
  void rows_of(int64_t tile, TileRows<T>* rows) const {
    rows->taps.resize(kHeight), rows->columns = 0;
    for (std::vector<TileTap<T>>& taps : rows->taps) taps.clear();
    const int64_t row = tile / columns_, column = tile % columns_;
    // Both lists are by region.
    const TileSpan<T>*begin = spans_.data() + begin_of(column, x_end_), *end = begin;  // of one region
    const TileSpan<T>* const last = spans_.data() + end_of(column, x_end_);
    for (int64_t i = begin_of(row, y_end_); i < end_of(row, y_end_); ++i) {
      const Cut& y = y_[static_cast<size_t>(i)];
      const int64_t region = y.region;
      while (begin < last && begin->region < region) ++begin;
      for (end = std::max(begin, end); end < last && end->region == region; ++end)
        rows->columns |= end->touched;
      if (begin == end) continue;
      const RoiAxis<T>& taps = regions_[region].taps.y;
      const Table* const table = &tables_[static_cast<size_t>(region)];
      const int64_t entry =
          table->at + (y.at - table->row) * (table[1].column - table->column) - table->column;
      for (int64_t k = y.begin; k < y.end; ++k)
        rows->taps[static_cast<size_t>(taps.index[k] - row * kHeight)].push_back(
            {begin, end, y.bin * grid_.w, entry, taps.weight[k], k == y.begin});
    }
  }

  // Region k from all regions' tables, of `outputs` channels. out: (bins, outputs)
  void add_up(int64_t k, const T* sums, int64_t outputs, T* out) const {
    const Table* const table = &tables_[static_cast<size_t>(k)];
    std::fill_n(out, grid_.bins() * outputs, T(0));
    sums += table->at * outputs;
    for (int64_t i = table->row; i < table[1].row; ++i) {
      for (int64_t j = table->column; j < table[1].column; ++j, sums += outputs) {
        const int64_t bin = y_bin_[static_cast<size_t>(i)] * grid_.w + x_bin_[static_cast<size_t>(j)];
        for (int64_t o = 0; o < outputs; ++o) out[bin * outputs + o] += sums[o];
      }
    }
  }
  // The transpose: a table's entries get what their bins have. grad: (bins, outputs)
  void spread(int64_t k, const T* grad, int64_t outputs, T* sums) const {
    const Table* const table = &tables_[static_cast<size_t>(k)];
    sums += table->at * outputs;
    for (int64_t i = table->row; i < table[1].row; ++i) {
      for (int64_t j = table->column; j < table[1].column; ++j, sums += outputs) {
        const int64_t bin = y_bin_[static_cast<size_t>(i)] * grid_.w + x_bin_[static_cast<size_t>(j)];
        std::copy_n(grad + bin * outputs, outputs, sums);
      }
    }
  }

 private:
  // A bin's taps [begin, end) along one axis, all in one tile; `at`: its place by region, then by bin.
  struct Cut {
    int32_t tile, region, bin, at;
    int64_t begin, end;
  };
  struct Table {
    int64_t at, row, column;  // its first sum, row and column
  };

  static void cut(const RoiAxis<T>& taps, int64_t bins, int32_t side, int64_t region,
                  std::vector<Cut>* cuts) {
    for (int64_t bin = 0; bin < bins; ++bin) {
      for (int64_t i = taps.first[bin], end = i; i < taps.first[bin + 1]; i = end) {
        const int32_t tile = taps.index[i] / side;
        while (end < taps.first[bin + 1] && taps.index[end] / side == tile) ++end;
        cuts->push_back({tile, static_cast<int32_t>(region), static_cast<int32_t>(bin),
                         static_cast<int32_t>(cuts->size()), i, end});
      }
    }
  }
  TileSpan<T> span_of(const Cut& cut, int64_t step) const {
    const RoiAxis<T>& taps = regions_[cut.region].taps.x;
    T weights[kWidth] = {};
    TileSpan<T> span = {{}, {}, cut.region, cut.bin, cut.at, 0, 0};
    for (int64_t i = cut.begin; i < cut.end; ++i) {
      const int32_t column = taps.index[i] % kWidth;
      weights[column] += taps.weight[i];
      span.touched = static_cast<uint8_t>(span.touched | 1 << column);
    }
    const auto append = [&](int32_t column, T weight) {
      span.weight[span.count] = weight;
      span.at[span.count++] = static_cast<uint16_t>(column * step);
    };
    for (int32_t column = 0; column < kWidth; ++column)
      if (span.touched >> column & 1) append(column, weights[column]);
    while (span.count % 4 != 0) append(kWidth, 0);
    return span;
  }
  static int64_t end_of(int64_t key, const std::vector<int64_t>& ends) {
    return ends[static_cast<size_t>(key)];
  }
  static int64_t begin_of(int64_t key, const std::vector<int64_t>& ends) {
    return key > 0 ? end_of(key - 1, ends) : 0;
  }

  const RoiGrid& grid_;
  const Region<T>* const regions_;
  const int64_t rows_, columns_;  // of tiles
  std::vector<Table> tables_;     // and where the last ends
  std::vector<int64_t> y_bin_, x_bin_;
  std::vector<Cut> y_;              // by tile, then by region
  std::vector<TileSpan<T>> spans_;  // likewise
  std::vector<int64_t> y_end_, x_end_;
};

// Fetches channels [channel, channel + channels) of a tile of maps of neighbouring channels in order, some of
// them at a time; of rows beyond the map, none.
template <class T>
class Ahead {
 public:
  Ahead(const RoiMaps<const T>& maps, int64_t image, int64_t row, int64_t column, int64_t height,
        int64_t width, int64_t channel, int64_t channels)
      : stride_w_(maps.channels),
        stride_h_(maps.levels[0].w * stride_w_),
        columns_(std::min(width, maps.levels[0].w - column)),
        run_(channels),
        rows_(std::min(height, maps.levels[0].h - row)),
        row_(maps.levels[0].data + (image * maps.levels[0].h + row) * stride_h_ + column * stride_w_ +
             channel) {
    if (run_ == stride_w_) run_ *= columns_, columns_ = 1;  // nothing lies between its pixels
  }

  void fetch(int64_t values) {
    constexpr int64_t kLine = 64 / sizeof(T);
    while (values > 0 && rows_ > 0) {
      const T* const run = row_ + column_ * stride_w_;
      for (; values > 0 && at_ < run_; values -= kLine, at_ += kLine) __builtin_prefetch(run + at_, 0, 2);
      if (at_ >= run_) at_ = 0, ++column_;
      if (column_ == columns_) column_ = 0, row_ += stride_h_, --rows_;
    }
  }

 private:
  const int64_t stride_w_, stride_h_;
  int64_t columns_, run_, rows_, column_ = 0, at_ = 0;
  const T* row_;
};

// Maps of neighbouring channels: tile after tile, row after row, of which the outputs of every bin become
// neighbours. What a bin reads of the row, or adds to it, are vectors of all its outputs then, in L1.
// Map: const T, or T where they are set
template <class T, class Map>
class OwnTiles {
 public:
  OwnTiles(const RoiMaps<Map>& maps, const RoiGrid& grid, const Regions<T>& regions,
           const OwnChannelKernels<T>& kernels)
      : maps_(maps),
        level_(maps.levels[0]),
        bins_(grid.bins()),
        outputs_(maps.channels / bins_),
        step_((std::min(outputs_, kOutputs) + 3) / 4 * 4),
        plane_((((kTileWidth + 1) * step_ + kLine - 1) / kLine | 1) * kLine),
        grid_(grid),
        regions_(regions),
        kernels_(kernels) {}

  // out: (K, bins, outputs)
  void gather(T* out) const {
    for (const RegionGroup& group : regions_.groups()) {
      for_each_batch(group, [&](const TiledBins<T>& tiled, int64_t first, T* sums) {
        for_each_row(tiled, regions_[first].image, [&](const Row& row, const SplitRow& shape, T* planes) {
          if (row.taps.empty()) return;
          const auto count = static_cast<int64_t>(row.taps.size());
          Ahead<T> ahead = next_of(row, shape);
          for_each_pixel(row, shape, row.columns, [&](const T* pixel, int64_t at) {
            ahead.fetch(shape.outputs * bins_ / 2);
            kernels_.split_pixel(shape, pixel, planes + at);
          });
          const int64_t rest = kTileWidth * shape.outputs * bins_ / 2, share = rest * kTaps / count;
          for (int64_t k = 0; k < count; k += kTaps) {
            ahead.fetch(share);
            kernels_.sum_row(shape, row.taps.data() + k, std::min(kTaps, count - k), planes, sums + row.first,
                             outputs_);
          }
        });
        parallel_for(tiled.size(), 32, [&](int64_t begin, int64_t end) {
          for (int64_t k = begin; k < end; ++k)
            tiled.add_up(k, sums, outputs_, out + regions_[first + k].box * maps_.channels);
        });
      });
    }
  }

  // grad: as out
  void scatter(const T* grad) const {
    std::vector<bool> is_set(static_cast<size_t>(maps_.n));
    for (const RegionGroup& group : regions_.groups()) {
      for_each_batch(group, [&](const TiledBins<T>& tiled, int64_t first, T* sums) {
        const int64_t image = regions_[first].image;
        parallel_for(tiled.size(), 32, [&](int64_t begin, int64_t end) {
          for (int64_t k = begin; k < end; ++k)
            tiled.spread(k, grad + regions_[first + k].box * maps_.channels, outputs_, sums);
        });
        const bool add_to_it = is_set[static_cast<size_t>(image)];
        for_each_row(tiled, image, [&](const Row& row, const SplitRow& shape, T* planes) {
          const bool has_taps = !row.taps.empty();
          if (!has_taps && add_to_it) return;
          if (add_to_it)
            for_each_pixel(row, shape, row.columns, [&](const T* pixel, int64_t at) {
              kernels_.split_pixel(shape, pixel, planes + at);
            });
          else
            std::fill_n(planes, has_taps ? bins_ * plane_ : 0, T(0));
          kernels_.add_row(shape, row.taps.data(), static_cast<int64_t>(row.taps.size()), sums + row.first,
                           outputs_, planes);
          for_each_pixel(row, shape, add_to_it ? row.columns : ~0u, [&](T* pixel, int64_t at) {
            if (has_taps)
              transpose<T>(planes + at, plane_, pixel, bins_, bins_, shape.outputs);
            else
              std::fill_n(pixel, shape.outputs * bins_, T(0));
          });
        });
        is_set[static_cast<size_t>(image)] = true;
      });
    }
    const int64_t row = level_.w * maps_.channels;
    for (int64_t n = 0; n < maps_.n; ++n)
      if (!is_set[static_cast<size_t>(n)])
        parallel_for(level_.h, 1, [&](int64_t begin, int64_t end) {
          std::fill_n(level_.data + (n * level_.h + begin) * row, (end - begin) * row, T(0));
        });
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(T);
  static constexpr int64_t kOutputs = 16;                   // at a time: the planes of a row stay in L1
  static constexpr int64_t kSums = (16 << 20) / sizeof(T);  // that wait
  static constexpr int64_t kTaps = 2;                       // between prefetches

  // Some outputs of a tile's row.
  struct Row {
    int64_t image, row, column;  // of the map
    int64_t first;               // output
    uint32_t columns;            // bits for those that any tap of the tile touches
    const std::vector<TileTap<T>>& taps;
  };

  // Calls body(tiled, first, sums) for as many regions at a time, from `first` on, as have room for their
  // tables' entries in sums: (entries, outputs).
  template <class Body>
  void for_each_batch(RegionGroup group, Body body) const {
    while (group.begin < group.end) {
      const TiledBins<T> tiled(grid_, regions_, group, level_.h, level_.w, step_, kSums / outputs_);
      const Scratch<T> sums(tiled.table_size() * outputs_);
      body(tiled, group.begin, sums.get());
      group.begin += tiled.size();
    }
  }

  // Calls body(row, shape, planes) for all rows of all tiles, with room for the planes.
  template <class Body>
  void for_each_row(const TiledBins<T>& tiled, int64_t image, Body body) const {
    parallel_for(tiled.tiles(), 2, [&](int64_t begin, int64_t end) {
      TileRows<T> rows;
      const Scratch<T> planes(bins_ * plane_);
      std::fill_n(planes.get(), bins_ * plane_, T(0));
      for (int64_t tile = begin; tile < end; ++tile) {
        tiled.rows_of(tile, &rows);
        const int64_t height = std::min<int64_t>(TiledBins<T>::kHeight, level_.h - tiled.row(tile));
        for (int64_t i = 0; i < height; ++i)
          for (int64_t o = 0; o < outputs_; o += kOutputs)
            body(Row{image, tiled.row(tile) + i, tiled.column(tile), o, rows.columns,
                     rows.taps[static_cast<size_t>(i)]},
                 SplitRow{bins_, std::min(kOutputs, outputs_ - o), step_, plane_}, planes.get());
      }
    });
  }

  // Calls body(pixel, at) for the row's pixels in the given columns, with what the map has for its outputs,
  // and with its place in a plane.
  template <class Body>
  void for_each_pixel(const Row& row, const SplitRow& shape, uint32_t columns, Body body) const {
    const int64_t first = (row.image * level_.h + row.row) * level_.w + row.column;
    for (int64_t j = 0; j < std::min(kTileWidth, level_.w - row.column); ++j)
      if (columns >> j & 1)
        body(level_.data + (first + j) * maps_.channels + row.first * bins_, j * shape.step);
  }

  // Fetches what follows in the tile.
  Ahead<T> next_of(const Row& row, const SplitRow& shape) const {
    const int64_t o = row.first + shape.outputs, first = o < outputs_ ? o : 0;
    return {maps_,      row.image,     first > 0 ? row.row : row.row + 1,           row.column, 1,
            kTileWidth, first * bins_, std::min(kOutputs, outputs_ - first) * bins_};
  }

  const RoiMaps<Map>& maps_;
  const RoiLevel<Map>& level_;
  const int64_t bins_, outputs_, step_, plane_;  // of the latter planes: from pixel to pixel, and to the next
  const RoiGrid& grid_;
  const Regions<T>& regions_;
  const OwnChannelKernels<T>& kernels_;
};

// Maps of neighbouring channels, of which a bin reads one line each: tile after tile of the map, as bins end
// there, so that a line is still in L2 for the next bin that reads it. The next tile is fetched meanwhile.
template <class T>
void gather_own_pixels(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions, T* out) {
  constexpr int64_t kTileBytes = 256 << 10, kTileHeight = 24;
  constexpr int64_t kStep = 4;  // outputs between prefetches
  const RoiLevel<const T>& level = maps.levels[0];
  const int64_t bins = grid.bins(), outputs = maps.channels / bins;
  const int64_t stride_w = maps.channels, stride_h = level.w * stride_w;
  const int64_t column_bytes = kTileHeight * stride_w * static_cast<int64_t>(sizeof(T));
  const int64_t tile_width = std::max<int64_t>(1, kTileBytes / column_bytes);
  const int64_t tiles_h = (level.h + kTileHeight - 1) / kTileHeight;
  const int64_t tiles_w = (level.w + tile_width - 1) / tile_width, tiles = maps.n * tiles_h * tiles_w;
  struct Bin {
    int32_t region, bin;
    int64_t tile;
  };
  std::vector<Bin> unsorted(static_cast<size_t>(regions.size() * bins)), sorted(unsorted.size());
  parallel_for(regions.size(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const Region<T>& region = regions[k];
      for (int64_t bin = 0; bin < bins; ++bin) {
        const int64_t row = region.taps.y.last(grid.y_bin(bin / grid.w, bin % grid.w)),
                      column = region.taps.x.last(grid.x_bin(bin / grid.w, bin % grid.w));
        unsorted[static_cast<size_t>(k * bins + bin)] = {
            static_cast<int32_t>(k), static_cast<int32_t>(bin),
            (region.image * tiles_h + row / kTileHeight) * tiles_w + column / tile_width};
      }
    }
  });
  const std::vector<int64_t> ends =
      counting_sort(unsorted, tiles, [](const Bin& bin) { return bin.tile; }, sorted.data());
  parallel_for(tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first = tile > 0 ? ends[static_cast<size_t>(tile - 1)] : 0;
      const int64_t last = ends[static_cast<size_t>(tile)], next = tile + 1;
      if (first == last) continue;
      const bool follows = next < tiles && ends[static_cast<size_t>(next)] > last;
      Ahead<T> ahead(maps, next / tiles_w / tiles_h,
                     follows ? next / tiles_w % tiles_h * kTileHeight : level.h, next % tiles_w * tile_width,
                     kTileHeight, tile_width, 0, stride_w);
      const int64_t calls = (last - first) * ((outputs + kStep - 1) / kStep);
      const int64_t share = kTileHeight * tile_width * stride_w / calls + 1;
      for (int64_t i = first; i < last; ++i) {
        const Bin& bin = sorted[static_cast<size_t>(i)];
        const Region<T>& region = regions[bin.region];
        const BinSum<T> sum(grid, region, bin.bin, stride_h, stride_w);
        const T* const map = level.data + region.image * level.h * stride_h + bin.bin;
        T* const to = out + (region.box * bins + bin.bin) * outputs;
        for (int64_t o = 0; o < outputs; o += kStep) {
          ahead.fetch(share);
          sum(map + o * bins, bins, std::min(kStep, outputs - o), to + o);
        }
      }
    }
  });
}

constexpr double kDense = 0.35;  // reads of a channel's pixel from which on splitting whole pixels pays

// One output makes no vector of neighbouring channels: planes serve it better. Results are (K, bins) of
// either.
template <class Map>
bool has_one_output(const RoiMaps<Map>& maps, const RoiGrid& grid) {
  return maps.channels == grid.bins();
}

// Adds a bin's share of its gradient to the pixels that it reads.
template <class T>
void add_bin(const RoiTaps<T>& taps, int64_t y_bin, int64_t x_bin, T grad, int64_t width, T* plane) {
  for (int64_t i = taps.y.first[y_bin]; i < taps.y.first[y_bin + 1]; ++i) {
    T* const row = plane + taps.y.index[i] * width;
    const T share = taps.y.weight[i] * grad;
    for (int64_t j = taps.x.first[x_bin]; j < taps.x.first[x_bin + 1]; ++j)
      row[taps.x.index[j]] += taps.x.weight[j] * share;
  }
}

}  // namespace

template <class T>
void gather_own_channels(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                         const OwnChannelKernels<T>& kernels, T* out) {
  // of a channel's pixel
  const double reads = regions.reads_per_pixel(maps, grid) / static_cast<double>(grid.bins());
  if (maps.planar)
    gather_own_planes(maps, grid, regions, kernels, reads * 64 / sizeof(T) > 1, out);
  else if (reads > kDense && has_one_output(maps, grid)) {
    const RoiLevel<const T>& level = maps.levels[0];
    const int64_t plane = level.h * level.w;
    const AlignedBuffer planes(static_cast<size_t>(maps.n * maps.channels * plane) * sizeof(T));
    transpose_all(level.data, planes.as<T>(), maps.n, plane, maps.channels);
    const RoiLevel<const T> planar = {planes.as<T>(), level.h, level.w, level.scale};
    gather_own_planes<T>({&planar, 1, maps.n, maps.channels, true}, grid, regions, kernels, false, out);
  } else if (reads > kDense)
    OwnTiles<T, const T>(maps, grid, regions, kernels).gather(out);
  else
    gather_own_pixels(maps, grid, regions, out);
}

template <class T>
void scatter_own_channels(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                          const OwnChannelKernels<T>& kernels, const T* grad) {
  if (maps.channels == 0) return;
  const RoiLevel<T>& level = maps.levels[0];
  const int64_t bins = grid.bins(), plane = level.h * level.w;
  if (!maps.planar && has_one_output(maps, grid)) {
    const AlignedBuffer planes(static_cast<size_t>(maps.n * maps.channels * plane) * sizeof(T));
    const RoiLevel<T> planar = {planes.as<T>(), level.h, level.w, level.scale};
    scatter_own_channels<T>({&planar, 1, maps.n, maps.channels, true}, grid, regions, kernels, grad);
    return transpose_all(planes.as<T>(), level.data, maps.n, maps.channels, plane);
  }
  if (!maps.planar) return OwnTiles<T, T>(maps, grid, regions, kernels).scatter(grad);
  parallel_for(maps.channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const int64_t bin = c % bins, ph = bin / grid.w, pw = bin % grid.w;
      for (int64_t n = 0; n < maps.n; ++n)
        std::fill_n(level.data + (n * maps.channels + c) * plane, plane, T(0));
      for (int64_t i = 0; i < regions.size(); ++i) {
        const Region<T>& region = regions[i];
        add_bin(region.taps, grid.y_bin(ph, pw), grid.x_bin(ph, pw), grad[region.box * maps.channels + c],
                level.w, level.data + (region.image * maps.channels + c) * plane);
      }
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                 \
  template void gather_own_channels(const RoiMaps<const T>&, const RoiGrid&, const Regions<T>&, \
                                    const OwnChannelKernels<T>&, T*);                           \
  template void scatter_own_channels(const RoiMaps<T>&, const RoiGrid&, const Regions<T>&,      \
                                     const OwnChannelKernels<T>&, const T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
