// SPDX-License-Identifier: Apache-2.0
// Builds the taps of all boxes of a call, in parallel, and puts the regions in an order in which neighbours
// read the same pixels.
#pragma once

#include <algorithm>
#include <vector>

#include "core/counting_sort.h"
#include "core/parallel.h"
#include "roi/roi.h"

namespace pyvision {

// Lists of taps, bin after bin.
template <class T>
class AxisBuilder {
 public:
  // Adds to the tap of that index if it is one of the last two: samples come in order, two taps each.
  void add(int64_t index, T weight) {
    if (weight == 0) return;  // 0 times an infinite pixel would be NaN
    for (size_t i = index_.size(), recent = 0; i-- > bin_begin() && recent < 2; ++recent) {
      if (index_[i] == index) {
        weight_[i] += weight;
        return;
      }
    }
    append(index, weight);
  }
  void append(int64_t index, T weight) {
    index_.push_back(static_cast<int32_t>(index));
    weight_.push_back(weight);
  }
  void reserve(int64_t bins, int64_t taps) {
    first_.reserve(static_cast<size_t>(bins + 1));
    index_.reserve(static_cast<size_t>(taps));
    weight_.reserve(static_cast<size_t>(taps));
  }
  void end_bin() { first_.push_back(static_cast<int64_t>(index_.size())); }

  int64_t bins() const { return static_cast<int64_t>(first_.size()) - 1; }
  // From the given bin on; valid once nothing is added any more.
  RoiAxis<T> from(int64_t bin) const { return {first_.data() + bin, index_.data(), weight_.data()}; }

 private:
  size_t bin_begin() const { return static_cast<size_t>(first_.back()); }

  std::vector<int64_t> first_{0};
  std::vector<int32_t> index_;
  std::vector<T> weight_;
};

template <class T>
struct Region {
  int64_t box, level, image;
  int64_t row_begin, row_end, column_begin;  // that its taps touch
  RoiTaps<T> taps;
};

// Regions, or rows of bins, of one image of one level.
struct RegionGroup {
  int64_t begin, end;
};

struct BinRow {
  int32_t row_begin, row_end, ph;  // rows of the map that it reads
  int64_t region;
};

template <class T>
class Regions {
 public:
  // place(k, &y, &x) adds the bins of box k: grid.y_bins() and grid.x_bins() of them.
  template <class Place>
  Regions(const RoiBoxes<T>& boxes, const RoiGrid& grid, Place place)
      : chunks_(static_cast<size_t>((boxes.count + kChunk - 1) / kChunk)),
        regions_(static_cast<size_t>(boxes.count)) {
    parallel_for(static_cast<int64_t>(chunks_.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Chunk& chunk = chunks_[static_cast<size_t>(i)];
        const int64_t last = std::min(boxes.count, (i + 1) * kChunk), count = last - i * kChunk;
        chunk.y.reserve(count * grid.y_bins(), count * grid.y_bins() * kTaps);
        chunk.x.reserve(count * grid.x_bins(), count * grid.x_bins() * kTaps);
        for (int64_t k = i * kChunk; k < last; ++k) place(k, &chunk.y, &chunk.x);
        for (int64_t k = i * kChunk; k < last; ++k) {
          Region<T>& region = regions_[static_cast<size_t>(k)];
          region = {k, boxes.level(k), boxes.image(k), 0, 0, 0, {}};
          region.taps = {chunk.y.from((k - i * kChunk) * grid.y_bins()),
                         chunk.x.from((k - i * kChunk) * grid.x_bins())};
          set_extent(grid, &region);
        }
      }
    });
    std::sort(regions_.begin(), regions_.end(), [](const Region<T>& a, const Region<T>& b) {
      if (a.level != b.level) return a.level < b.level;
      if (a.image != b.image) return a.image < b.image;
      if (a.row_begin != b.row_begin) return a.row_begin < b.row_begin;
      if (a.column_begin != b.column_begin) return a.column_begin < b.column_begin;
      return a.box < b.box;
    });
    for (int64_t i = 0; i < size(); ++i) {
      const Region<T>& region = (*this)[i];
      if (i == 0 || region.level != (*this)[i - 1].level || region.image != (*this)[i - 1].image)
        groups_.push_back({i, i});
      groups_.back().end = i + 1;
    }
  }

  // The rows of bins of regions [begin, end), in an order in which neighbours read the same rows.
  void sort_rows(const RoiGrid& grid, int64_t begin, int64_t end, BinRow* rows) const {
    std::vector<BinRow> unsorted;
    unsorted.reserve(static_cast<size_t>((end - begin) * grid.h));
    int64_t keys = 0;
    for (int64_t i = begin; i < end; ++i) {
      const RoiAxis<T>& y = (*this)[i].taps.y;
      for (int64_t ph = 0; ph < grid.h; ++ph) {
        BinRow row = {INT32_MAX, 0, static_cast<int32_t>(ph), i};
        for (int64_t bin = grid.y_bin(ph, 0); bin <= grid.y_bin(ph, grid.w - 1); ++bin) {
          const int64_t first = y.first[bin], last = y.first[bin + 1];
          if (first == last) continue;
          row.row_begin = std::min(row.row_begin, y.index[first]);
          row.row_end = std::max(row.row_end, y.index[last - 1] + 1);
        }
        if (row.row_end == 0) row.row_begin = 0;
        keys = std::max<int64_t>(keys, row.row_begin + 1);
        unsorted.push_back(row);
      }
    }
    counting_sort(unsorted, keys, [](const BinRow& row) { return row.row_begin; }, rows);
  }

  // Rows of the map that a group's taps touch; row_end may lie before row_begin where there are none.
  int64_t row_begin(const RegionGroup& group) const {
    int64_t row = INT64_MAX;
    for (int64_t i = group.begin; i < group.end; ++i) row = std::min(row, (*this)[i].row_begin);
    return row;
  }
  int64_t row_end(const RegionGroup& group) const {
    int64_t row = 0;
    for (int64_t i = group.begin; i < group.end; ++i) row = std::max(row, (*this)[i].row_end);
    return row;
  }

  // How many pixels the bins of all regions read.
  double reads(const RoiGrid& grid) const {
    double reads = 0;
    for (const Region<T>& region : regions_) {
      const RoiAxis<T>&y = region.taps.y, &x = region.taps.x;
      const auto y_taps = static_cast<double>(y.first[grid.y_bins()] - y.first[0]);
      const auto x_taps = static_cast<double>(x.first[grid.x_bins()] - x.first[0]);
      reads += y_taps * x_taps / static_cast<double>(grid.shared ? 1 : grid.bins());
    }
    return reads;
  }
  // How often they read a pixel of the images that have any, on average.
  double reads_per_pixel(const RoiMaps<const T>& maps, const RoiGrid& grid) const {
    double pixels = 0;
    for (const RegionGroup& group : groups_) {
      const RoiLevel<const T>& level = maps.levels[(*this)[group.begin].level];
      pixels += static_cast<double>(level.h * level.w);
    }
    return reads(grid) / std::max(pixels, 1.0);
  }

  int64_t size() const { return static_cast<int64_t>(regions_.size()); }
  const Region<T>& operator[](int64_t i) const { return regions_[static_cast<size_t>(i)]; }
  const std::vector<RegionGroup>& groups() const { return groups_; }

 private:
  static constexpr int64_t kChunk = 32;  // boxes that one task builds: some 20 us
  static constexpr int64_t kTaps = 4;    // that most bins have at most
  struct Chunk {
    AxisBuilder<T> y, x;
  };

  static void set_extent(const RoiGrid& grid, Region<T>* region) {
    const RoiAxis<T>&y = region->taps.y, &x = region->taps.x;
    const int64_t begin = y.first[0], end = y.first[grid.y_bins()];
    if (begin == end) return;
    const auto rows = std::minmax_element(y.index + begin, y.index + end);
    region->row_begin = *rows.first;  // of a box beside the map as well: its rows of bins name them too
    region->row_end = *rows.second + 1;
    if (x.first[0] == x.first[grid.x_bins()]) return;
    region->column_begin = *std::min_element(x.index + x.first[0], x.index + x.first[grid.x_bins()]);
  }

  std::vector<Chunk> chunks_;
  std::vector<Region<T>> regions_;
  std::vector<RegionGroup> groups_;
};

}  // namespace pyvision
