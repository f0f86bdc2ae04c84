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
      : grid_(grid), y_(static_cast<size_t>(grid.h)), x_(static_cast<size_t>(grid.w)) {
    parallel_for(grid.h + grid.w, 1, [&](int64_t begin, int64_t end) {
      for (int64_t bin = begin; bin < end; ++bin) {
        for (int64_t k = group.begin; k < group.end; ++k) {
          if (bin < grid.h)
            add_rows(regions[k].taps.y, bin);
          else
            add_spans(regions[k].taps.x, bin - grid.h, width, lanes);
        }
      }
    });
  }

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
};

// Planar maps with a channel for every bin: bin after bin, and of each the planes of all outputs. A plane
// stays in the cache for all regions, which read it here and there: the next is fetched in order meanwhile.
template <class T>
void gather_own_planes(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                       const OwnChannelKernels<T>& kernels, bool fetch, T* out) {
  constexpr int64_t kLine = 64 / sizeof(T), kStep = 16;  // regions between prefetches
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
        const RoiAxis<T> y = taps.y(i / outputs);
        const RoiSpans<T> x = taps.x(i / outputs);
        const T *const plane = image + channel(i) * plane_size, *next = image + channel(i + 1) * plane_size;
        const T* const next_end = i + 1 < all ? next + plane_size : next;
        for (int64_t k = 0; k < count; k += kStep) {
          for (int64_t line = 0; line < lines && next < next_end; ++line, next += kLine)
            __builtin_prefetch(next, 0, 2);
          kernels.sum_plane(y, x, k, std::min(k + kStep, count), plane, level.w,
                            sums + channel(i) * regions.size() + group.begin);
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

// The taps of regions of one image, cut where tiles of the map end. What the tiles add to a region's bins
// makes a table, with a row for every cut of its rows of bins and a column for every cut of its columns of
// bins.
template <class T>
class TiledBins {
 public:
  static constexpr int64_t kHeight = 16, kWidth = kTileWidth;

  // Takes the first regions of a group, one at least, until their tables have `most` entries together.
  TiledBins(const RoiGrid& grid, const Regions<T>& regions, const RegionGroup& group, int64_t height,
            int64_t width, int64_t most)
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
    x_weight_.resize(x.size() * kWidth);
    for (const Cut& cut : x) {
      const RoiAxis<T>& taps = regions_[cut.region].taps.x;
      for (int64_t i = cut.begin; i < cut.end; ++i)
        x_weight_[static_cast<size_t>(cut.at * kWidth + taps.index[i] % kWidth)] += taps.weight[i];
    }
    y_bin_.reserve(y.size()), x_bin_.reserve(x.size());
    for (const Cut& cut : y) y_bin_.push_back(cut.bin);
    for (const Cut& cut : x) x_bin_.push_back(cut.bin);
    y_.resize(y.size()), x_.resize(x.size());
    y_end_ = counting_sort(y, rows_, [](const Cut& cut) { return cut.tile; }, y_.data());
    x_end_ = counting_sort(
        x, size() * columns_, [&](const Cut& cut) { return cut.region * columns_ + cut.tile; }, x_.data());
  }

  int64_t size() const { return static_cast<int64_t>(tables_.size()) - 1; }  // regions
  int64_t tiles() const { return rows_ * columns_; }
  int64_t row(int64_t tile) const { return tile / columns_ * kHeight; }  // its first
  int64_t column(int64_t tile) const { return tile % columns_ * kWidth; }
  int64_t table_size() const { return tables_.back().at; }  // of all regions together

  // Sets parts[bin] to the parts of all regions' bins within the tile.
  void parts_of(int64_t tile, std::vector<std::vector<TilePart<T>>>* parts) const {
    for (std::vector<TilePart<T>>& of_bin : *parts) of_bin.clear();
    const int64_t row = tile / columns_, column = tile % columns_;
    for (int64_t i = begin_of(row, y_end_); i < end_of(row, y_end_); ++i) {
      const Cut& y = y_[static_cast<size_t>(i)];
      const Table* const table = &tables_[static_cast<size_t>(y.region)];
      const int64_t at = table->at + (y.at - table->row) * (table[1].column - table->column) - table->column;
      const RoiAxis<T>& taps = regions_[y.region].taps.y;
      const int64_t key = y.region * columns_ + column;
      for (int64_t j = begin_of(key, x_end_); j < end_of(key, x_end_); ++j) {
        const Cut& x = x_[static_cast<size_t>(j)];
        (*parts)[static_cast<size_t>(y.bin * grid_.w + x.bin)].push_back(
            {taps.index + y.begin, taps.weight + y.begin, x_weight_.data() + x.at * kWidth, y.end - y.begin,
             at + x.at});
      }
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
  // A bin's taps [begin, end) along one axis, all in one tile; `at`: its place in the order of regions and
  // bins.
  struct Cut {
    int64_t tile, region, bin, at, begin, end;
  };
  struct Table {
    int64_t at, row, column;  // its first sum, row and column
  };

  static void cut(const RoiAxis<T>& taps, int64_t bins, int64_t side, int64_t region,
                  std::vector<Cut>* cuts) {
    for (int64_t bin = 0; bin < bins; ++bin) {
      for (int64_t i = taps.first[bin], end = i; i < taps.first[bin + 1]; i = end) {
        const int64_t tile = taps.index[i] / side;
        while (end < taps.first[bin + 1] && taps.index[end] / side == tile) ++end;
        cuts->push_back({tile, region, bin, static_cast<int64_t>(cuts->size()), i, end});
      }
    }
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
  std::vector<T> x_weight_;
  std::vector<int64_t> y_bin_, x_bin_;
  std::vector<Cut> y_, x_;  // by tile, and the latter by region first
  std::vector<int64_t> y_end_, x_end_;
};

// Fetches a tile of maps of neighbouring channels in order, some of it at a time; of rows beyond the map,
// none.
template <class T>
class Ahead {
 public:
  Ahead(const RoiMaps<const T>& maps, int64_t image, int64_t row, int64_t column, int64_t height,
        int64_t width)
      : stride_h_(maps.levels[0].w * maps.channels),
        width_(std::min(width, maps.levels[0].w - column) * maps.channels),
        rows_(std::min(height, maps.levels[0].h - row)),
        row_(maps.levels[0].data + (image * maps.levels[0].h + row) * stride_h_ + column * maps.channels) {}

  void fetch(int64_t values) {
    constexpr int64_t kLine = 64 / sizeof(T);
    for (; values > 0 && rows_ > 0; values -= kLine) {
      __builtin_prefetch(row_ + at_, 0, 2);
      at_ += kLine;
      if (at_ >= width_) at_ = 0, row_ += stride_h_, --rows_;
    }
  }

 private:
  const int64_t stride_h_, width_;
  int64_t rows_, at_ = 0;
  const T* row_;
};

// Maps of neighbouring channels: tile after tile, of which a cache line of every pixel at a time becomes
// planes that stay in L1 for all bins that read them, or add to them. Map: const T, or T where they are set
template <class T, class Map>
class OwnTiles {
 public:
  OwnTiles(const RoiMaps<Map>& maps, const RoiGrid& grid, const Regions<T>& regions,
           const OwnChannelKernels<T>& kernels)
      : maps_(maps),
        level_(maps.levels[0]),
        bins_(grid.bins()),
        outputs_(maps.channels / bins_),
        grid_(grid),
        regions_(regions),
        kernels_(kernels) {}

  // out: (K, bins, outputs)
  void gather(T* out) const {
    for (const RegionGroup& group : regions_.groups()) {
      for_each_batch(group, [&](const TiledBins<T>& tiled, int64_t first, T* sums) {
        for_each_tile(tiled, [&](int64_t tile, const Parts& parts, std::vector<T>* own) {
          if (own->empty()) return;
          sum(tiled, regions_[first].image, tile, parts, own->data());
          exchange(parts, own, [&](int64_t at, T* value) { sums[at] = *value; });
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
        for_each_tile(tiled, [&](int64_t tile, const Parts& parts, std::vector<T>* own) {
          exchange(parts, own, [&](int64_t at, T* value) { *value = sums[at]; });
          add(tiled, image, tile, parts, *own, add_to_it);
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
  static constexpr int64_t kHeight = TiledBins<T>::kHeight, kWidth = TiledBins<T>::kWidth;
  static constexpr int64_t kLine = 64 / sizeof(T);
  static constexpr int64_t kPlane = kHeight * kWidth + kLine;  // rows of two planes do not share a set of L1
  static constexpr int64_t kSums = (16 << 20) / sizeof(T);     // that wait

  using Parts = std::vector<std::vector<TilePart<T>>>;  // by bin

  // Calls body(tiled, first, sums) for as many regions at a time, from `first` on, as have room for their
  // tables' entries in sums: (entries, outputs).
  template <class Body>
  void for_each_batch(RegionGroup group, Body body) const {
    while (group.begin < group.end) {
      const TiledBins<T> tiled(grid_, regions_, group, level_.h, level_.w, kSums / outputs_);
      const Scratch<T> sums(tiled.table_size() * outputs_);
      body(tiled, group.begin, sums.get());
      group.begin += tiled.size();
    }
  }

  // Calls body(tile, parts, own), with room in own for a value for every part of every output: (outputs,
  // parts of all bins).
  template <class Body>
  void for_each_tile(const TiledBins<T>& tiled, Body body) const {
    parallel_for(tiled.tiles(), 8, [&](int64_t begin, int64_t end) {
      Parts parts(static_cast<size_t>(bins_));
      std::vector<T> own;
      for (int64_t tile = begin; tile < end; ++tile) {
        tiled.parts_of(tile, &parts);
        size_t count = 0;
        for (const auto& of_bin : parts) count += of_bin.size();
        own.resize(count * static_cast<size_t>(outputs_));
        body(tile, parts, &own);
      }
    });
  }

  // Calls move(at, value) for the place of every one of `own` in the tables.
  template <class Move>
  void exchange(const Parts& parts, std::vector<T>* own, Move move) const {
    const int64_t count = static_cast<int64_t>(own->size()) / outputs_;
    T* value = own->data();
    for (const auto& of_bin : parts) {
      for (const TilePart<T>& part : of_bin) {
        for (int64_t o = 0; o < outputs_; ++o) move(part.at * outputs_ + o, value + o * count);
        ++value;
      }
    }
  }

  // Where a tile lies in the map.
  struct Extent {
    int64_t row, rows, columns;
    Map* pixels;  // the first one's channels
  };
  Extent extent_of(const TiledBins<T>& tiled, int64_t image, int64_t tile) const {
    const int64_t row = tiled.row(tile), column = tiled.column(tile);
    return {row, std::min(kHeight, level_.h - row), std::min(kWidth, level_.w - column),
            level_.data + ((image * level_.h + row) * level_.w + column) * maps_.channels};
  }
  // Channels [c, c + channels) of a tile as planes.
  void read_planes(const Extent& tile, int64_t c, int64_t channels, T* planes) const {
    const int64_t all = maps_.channels;
    for (int64_t i = 0; i < tile.rows; ++i)
      transpose<T>(tile.pixels + i * level_.w * all + c, all, planes + i * kWidth, kPlane, tile.columns,
                   channels);
  }

  // Calls body(of_bin, plane) for the channels [c, c + channels), whose planes begin where the map's would.
  template <class Body>
  void for_each_plane(const Extent& tile, const Parts& parts, int64_t c, int64_t channels, T* planes,
                      Body body) const {
    for (int64_t k = 0; k < channels; ++k)
      body(parts[static_cast<size_t>((c + k) % bins_)], planes + k * kPlane - tile.row * kWidth);
  }

  // own: what the tile adds to the parts. The next tile is fetched in order meanwhile.
  void sum(const TiledBins<T>& tiled, int64_t image, int64_t tile, const Parts& parts, T* own) const {
    const Extent extent = extent_of(tiled, image, tile);
    Ahead<T> ahead(maps_, image, tiled.row(tile + 1), tiled.column(tile + 1), kHeight, kWidth);
    const Scratch<T> planes(kLine * kPlane);
    for (int64_t c = 0; c < maps_.channels; c += kLine) {
      const int64_t channels = std::min(kLine, maps_.channels - c);
      read_planes(extent, c, channels, planes);
      for_each_plane(extent, parts, c, channels, planes, [&](const auto& of_bin, const T* plane) {
        kernels_.sum_tile(of_bin.data(), static_cast<int64_t>(of_bin.size()), plane, own);
        own += of_bin.size();
        ahead.fetch(kHeight * kWidth);
      });
    }
  }

  // own: what the parts add to the tile, or to zeros
  void add(const TiledBins<T>& tiled, int64_t image, int64_t tile, const Parts& parts,
           const std::vector<T>& own, bool add_to_it) const {
    const Extent extent = extent_of(tiled, image, tile);
    const int64_t all = maps_.channels;
    if (own.empty()) {
      for (int64_t i = 0; i < extent.rows && !add_to_it; ++i)
        std::fill_n(extent.pixels + i * level_.w * all, extent.columns * all, T(0));
      return;
    }
    const Scratch<T> planes(kLine * kPlane);
    const T* grads = own.data();
    for (int64_t c = 0; c < all; c += kLine) {
      const int64_t channels = std::min(kLine, all - c);
      if (add_to_it)
        read_planes(extent, c, channels, planes);
      else
        std::fill_n(planes.get(), channels * kPlane, T(0));
      for_each_plane(extent, parts, c, channels, planes, [&](const auto& of_bin, T* plane) {
        kernels_.add_tile(of_bin.data(), static_cast<int64_t>(of_bin.size()), grads, plane);
        grads += of_bin.size();
      });
      for (int64_t i = 0; i < extent.rows; ++i)
        transpose<T>(planes.get() + i * kWidth, kPlane, extent.pixels + i * level_.w * all + c, all, channels,
                     extent.columns);
    }
  }

  const RoiMaps<Map>& maps_;
  const RoiLevel<Map>& level_;
  const int64_t bins_, outputs_;
  const RoiGrid& grid_;
  const Regions<T>& regions_;
  const OwnChannelKernels<T>& kernels_;
};

// Maps of neighbouring channels, of which a bin reads one line each: tile after tile of the map, as bins end
// there, so that a line is still in L2 for the next bin that reads it. The next tile is fetched meanwhile.
template <class T>
void gather_own_pixels(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions, T* out) {
  constexpr int64_t kTileBytes = 256 << 10, kTileHeight = 24;
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
                     kTileHeight, tile_width);
      const int64_t share = kTileHeight * tile_width * stride_w / (last - first) + 1;
      for (int64_t i = first; i < last; ++i) {
        ahead.fetch(share);
        const Bin& bin = sorted[static_cast<size_t>(i)];
        const Region<T>& region = regions[bin.region];
        const BinSum<T> sum(grid, region, bin.bin, stride_h, stride_w);
        sum(level.data + region.image * level.h * stride_h + bin.bin, bins, outputs,
            out + (region.box * bins + bin.bin) * outputs);
      }
    }
  });
}

constexpr double kDense = 0.4;  // reads of a channel's pixel from which on planes of tiles pay

// Its transpose.
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
  else if (reads > kDense)
    OwnTiles<T, const T>(maps, grid, regions, kernels).gather(out);
  else
    gather_own_pixels(maps, grid, regions, out);
}

template <class T>
void scatter_own_channels(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                          const OwnChannelKernels<T>& kernels, const T* grad) {
  if (maps.channels == 0) return;
  if (!maps.planar) return OwnTiles<T, T>(maps, grid, regions, kernels).scatter(grad);
  const RoiLevel<T>& level = maps.levels[0];
  const int64_t bins = grid.bins(), plane = level.h * level.w;
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
