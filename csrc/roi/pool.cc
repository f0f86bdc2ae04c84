// SPDX-License-Identifier: Apache-2.0
#include "roi/pool.h"

#include <cstring>
#include <type_traits>

#include "core/arena.h"
#include "ops/layout/layout.h"
#include "roi/bin_sum.h"

namespace pyvision {
namespace {

// x: (rows, cols) with rows x_stride apart, y: (cols, rows) with rows y_stride apart
template <class T>
void transpose(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t rows, int64_t cols) {
  if constexpr (sizeof(T) == sizeof(float)) {  // it moves bits, whatever they mean
    layout_kernels().transpose(reinterpret_cast<const float*>(x), x_stride, reinterpret_cast<float*>(y),
                               y_stride, rows, cols);
  } else {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

// Regions whose rows of bins are sorted together, and whose outputs of `size` bytes each wait for the others.
int64_t batch_of(int64_t size) {
  return std::clamp<int64_t>((4 << 20) / std::max<int64_t>(size, 1), 1, 1024);
}

// Rows of neighbouring channels: x, y: (rows, cols), rows x_stride and y_stride apart
template <class T>
void copy_rows(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < rows; ++i)
    std::memcpy(y + i * y_stride, x + i * x_stride, static_cast<size_t>(cols) * sizeof(T));
}

// Some channels of a group's image, copied row after row as they are read: what is read soon stays in the
// cache.
template <class T>
class ChannelCopy {
 public:
  ChannelCopy(const RoiMaps<const T>& maps, const Regions<T>& regions, const RegionGroup& group, int64_t c,
              int64_t channels)
      : maps_(maps),
        level_(maps.levels[regions[group.begin].level]),
        image_(level_.data + regions[group.begin].image * maps.channels * level_.h * level_.w),
        c_(c),
        channels_(channels),
        copied_(regions.row_begin(group)),
        scratch_(std::max<int64_t>(0, regions.row_end(group) - copied_) * stride_h()),
        map_(scratch_.get() - copied_ * stride_h()) {}

  int64_t stride_h() const { return level_.w * channels_; }
  // The image's first pixel, (h, w, channels), valid in the rows before `row_end`.
  const T* up_to(int64_t row_end) {
    if (copied_ < row_end) {
      const int64_t at = copied_ * level_.w, pixels = (row_end - copied_) * level_.w, all = maps_.channels;
      const int64_t plane = level_.h * level_.w;
      if (maps_.planar)
        transpose(image_ + c_ * plane + at, plane, map_ + at * channels_, channels_, channels_, pixels);
      else
        copy_rows(image_ + at * all + c_, all, map_ + at * channels_, channels_, pixels, channels_);
      copied_ = row_end;
    }
    return map_;
  }

 private:
  const RoiMaps<const T>& maps_;
  const RoiLevel<const T>& level_;
  const T* const image_;
  const int64_t c_, channels_;
  int64_t copied_;  // rows before it
  const Scratch<T> scratch_;
  T* const map_;
};

// One block of channels after the other, of which a copy of the map stays in the cache.
template <class T>
void gather_blocks(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                   GatherRow<T> run, T* out, int32_t* argmax) {
  const int64_t all = maps.channels, block = std::min<int64_t>(all, 64 / sizeof(T));  // a cache line a pixel
  const int64_t blocks = (all + block - 1) / block, bins = grid.bins();
  const int64_t batch = batch_of(bins * block * static_cast<int64_t>(sizeof(T)));
  const std::vector<RegionGroup>& groups = regions.groups();
  std::vector<BinRow> rows(static_cast<size_t>(regions.size() * grid.h));
  for (const RegionGroup& group : groups)
    for (int64_t i = group.begin; i < group.end; i += batch)
      regions.sort_rows(grid, i, std::min(i + batch, group.end), rows.data() + i * grid.h);
  const auto store = [&](const auto* pooled, int64_t box, int64_t c, int64_t channels, auto* to) {
    if (maps.planar)
      transpose(pooled, channels, to + (box * all + c) * bins, bins, bins, channels);
    else
      copy_rows(pooled, channels, to + box * bins * all + c, all, bins, channels);
  };
  parallel_for(static_cast<int64_t>(groups.size()) * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const RegionGroup& group = groups[static_cast<size_t>(task / blocks)];
      const int64_t c = task % blocks * block, channels = std::min(block, all - c);
      ChannelCopy<T> copy(maps, regions, group, c, channels);
      const int64_t waiting = std::min(batch, group.end - group.begin) * bins * channels;
      Scratch<T> pooled(waiting);
      Scratch<int32_t> pooled_argmax(argmax ? waiting : 0);
      for (int64_t first = group.begin; first < group.end; first += batch) {
        const int64_t last = std::min(first + batch, group.end);
        for (int64_t i = first * grid.h; i < last * grid.h; ++i) {
          const BinRow& row = rows[static_cast<size_t>(i)];
          const int64_t at = ((row.region - first) * bins + row.ph * grid.w) * channels;
          run(regions[row.region], row.ph, copy.up_to(row.row_end), copy.stride_h(), channels, channels,
              pooled.get() + at, argmax ? pooled_argmax.get() + at : nullptr);
        }
        for (int64_t i = first; i < last; ++i) {
          const int64_t from = (i - first) * bins * channels;
          store(pooled.get() + from, regions[i].box, c, channels, out);
          if (argmax) store(pooled_argmax.get() + from, regions[i].box, c, channels, argmax);
        }
      }
    }
  });
}

// How often bins read a pixel of the images that have any, on average.
template <class T>
double reads_per_pixel(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions) {
  double reads = 0, pixels = 0;
  for (const RegionGroup& group : regions.groups()) {
    const RoiLevel<const T>& level = maps.levels[regions[group.begin].level];
    pixels += static_cast<double>(level.h * level.w);
    for (int64_t i = group.begin; i < group.end; ++i) {
      const RoiAxis<T>&y = regions[i].taps.y, &x = regions[i].taps.x;
      const auto y_taps = static_cast<double>(y.first[grid.y_bins()] - y.first[0]);
      const auto x_taps = static_cast<double>(x.first[grid.x_bins()] - x.first[0]);
      reads += y_taps * x_taps / static_cast<double>(grid.shared ? 1 : grid.bins());
    }
  }
  return reads / std::max(pixels, 1.0);
}
constexpr double kSeldom = 0.5;  // copying a pixel's channels costs about as much as two scalar reads of them
constexpr double kOften = 30;    // from here on copies that stay in the cache pay for channels-last maps too

template <class T>
void gather_interleaved(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                        GatherRow<T> run, T* out, int32_t* argmax) {
  const int64_t channels = maps.channels, cost = grid.w * (channels * 16 + 64);  // operations a row of bins
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 19) / std::max<int64_t>(cost, 1));
  const int64_t batch = batch_of(0);
  std::vector<BinRow> rows(static_cast<size_t>(std::min(batch, regions.size()) * grid.h));
  for (int64_t first = 0; first < regions.size(); first += batch) {
    const int64_t last = std::min(first + batch, regions.size());
    regions.sort_rows(grid, first, last, rows.data());
    parallel_for((last - first) * grid.h, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const BinRow& row = rows[static_cast<size_t>(i)];
        const Region<T>& region = regions[row.region];
        const RoiLevel<const T>& level = maps.levels[region.level];
        const int64_t stride_h = level.w * channels;
        const int64_t at = (region.box * grid.bins() + row.ph * grid.w) * channels;
        run(region, row.ph, level.data + region.image * level.h * stride_h, stride_h, channels, channels,
            out + at, argmax ? argmax + at : nullptr);
      }
    });
  }
}

}  // namespace

template <class T>
void gather_regions(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                    GatherRow<T> run, bool taps_alone, T* out, int32_t* argmax) {
  if (maps.channels > 1 && (maps.planar || (taps_alone && reads_per_pixel(maps, grid, regions) > kOften)))
    gather_blocks(maps, grid, regions, run, out, argmax);
  else
    gather_interleaved(maps, grid, regions, run, out, argmax);
}

template <class T>
void scatter_regions(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                     ScatterBins<T> kernel, const T* grad) {
  const int64_t channels = maps.channels, bins = grid.bins();
  const bool planar = maps.planar && channels > 1;
  AlignedBuffer transposed;
  if (planar) {
    transposed = AlignedBuffer(static_cast<size_t>(regions.size() * bins * channels) * sizeof(T));
    parallel_for(regions.size(), 4, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k)
        transpose(grad + k * bins * channels, bins, transposed.as<T>() + k * bins * channels, channels,
                  channels, bins);
    });
    grad = transposed.as<T>();
  }
  // Strips of rows of all images of all levels.
  struct Strips {
    int64_t level, rows, per_image, count;
  };
  std::vector<Strips> strips;
  int64_t tasks = 0;
  for (int64_t l = 0; l < maps.level_count; ++l) {
    const RoiLevel<T>& level = maps.levels[l];
    const int64_t row_bytes = std::max<int64_t>(1, level.w * channels * static_cast<int64_t>(sizeof(T)));
    const int64_t rows = std::clamp<int64_t>((2 << 20) / row_bytes, 1, level.h);  // L3 holds two of them
    strips.push_back({l, rows, (level.h + rows - 1) / rows, 0});
    strips.back().count = strips.back().per_image * maps.n;
    tasks += strips.back().count;
  }
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      int64_t rest = task;
      const Strips* strip = strips.data();
      while (rest >= strip->count) rest -= strip++->count;
      const RoiLevel<T>& level = maps.levels[strip->level];
      const int64_t image = rest / strip->per_image, row = rest % strip->per_image * strip->rows;
      const int64_t row_end = std::min(level.h, row + strip->rows), stride_h = level.w * channels;
      const int64_t first = image * level.h * stride_h, size = (row_end - row) * stride_h;
      Scratch<T> scratch(planar ? size : 0);
      T* const map = planar ? scratch.get() : level.data + first + row * stride_h;
      std::memset(map, 0, static_cast<size_t>(size) * sizeof(T));
      for (const RegionGroup& group : regions.groups()) {
        if (regions[group.begin].level != strip->level || regions[group.begin].image != image) continue;
        for (int64_t i = group.begin; i < group.end && regions[i].row_begin < row_end; ++i) {
          if (regions[i].row_end <= row) continue;
          kernel(grid, regions[i].taps, grad + regions[i].box * bins * channels, channels, row, row_end, map,
                 stride_h, channels);
        }
      }
      if (planar)
        transpose(map, channels, level.data + first + row * level.w, level.h * level.w, size / channels,
                  channels);
    }
  });
}

namespace {

// Planar maps where they lie.
template <class T>
void gather_planes(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions, T* out) {
  constexpr int64_t kChannels = 16;  // of a task, which share what is prepared
  const int64_t bins = grid.bins(), parts = (maps.channels + kChannels - 1) / kChannels;
  parallel_for(regions.size() * parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<BinSum<T>> sums;
    for (int64_t task = begin; task < end; ++task) {
      const Region<T>& region = regions[task / parts];
      const RoiLevel<const T>& level = maps.levels[region.level];
      sums.clear();
      for (int64_t bin = 0; bin < bins; ++bin) sums.emplace_back(grid, region, bin, level.w, 1);
      const int64_t first = task % parts * kChannels;
      for (int64_t c = first; c < std::min(first + kChannels, maps.channels); ++c) {
        const T* const plane = level.data + (region.image * maps.channels + c) * level.h * level.w;
        T* const to = out + (region.box * maps.channels + c) * bins;
        for (int64_t bin = 0; bin < bins; ++bin) to[bin] = sums[static_cast<size_t>(bin)](plane);
      }
    }
  });
}

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
                       const PlaneKernel<T>& kernel, T* out) {
  constexpr int64_t kLine = 64 / sizeof(T), kStep = 16;  // regions between prefetches
  const RoiLevel<const T>& level = maps.levels[0];
  const int64_t all = maps.channels, bins = grid.bins(), outputs = all / bins, plane_size = level.h * level.w;
  const auto channel = [&](int64_t i) { return i % outputs * bins + i / outputs; };
  // Where most lines are read.
  const bool fetch = reads_per_pixel(maps, grid, regions) * kLine > static_cast<double>(bins);
  // (channels, regions): a region's results, written where they belong, would be a cache line each
  const AlignedBuffer buffer(static_cast<size_t>(all * regions.size()) * sizeof(T));
  T* const sums = buffer.as<T>();
  for (const RegionGroup& group : regions.groups()) {
    const T* const image = level.data + regions[group.begin].image * all * plane_size;
    const int64_t count = group.end - group.begin,
                  lines = fetch ? plane_size * kStep / (kLine * count) + 1 : 0;
    const OwnBins<T> taps(grid, regions, group, level.w, kernel.lanes);
    parallel_for(all, outputs, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const RoiAxis<T> y = taps.y(i / outputs);
        const RoiSpans<T> x = taps.x(i / outputs);
        const T *const plane = image + channel(i) * plane_size, *next = image + channel(i + 1) * plane_size;
        const T* const next_end = i + 1 < all ? next + plane_size : next;
        for (int64_t k = 0; k < count; k += kStep) {
          for (int64_t line = 0; line < lines && next < next_end; ++line, next += kLine)
            __builtin_prefetch(next, 0, 2);
          kernel.sum(y, x, k, std::min(k + kStep, count), plane, level.w,
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

// Maps of neighbouring channels, of which a bin reads one line each: tile after tile of the map, as bins end
// there, so that a line is still in L2 for the next bin that reads it. The next tile is fetched meanwhile.
template <class T>
void gather_own_pixels(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions, T* out) {
  constexpr int64_t kTileBytes = 256 << 10, kTileHeight = 24, kLine = 64 / sizeof(T);
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
      const int64_t row = next / tiles_w % tiles_h * kTileHeight, column = next % tiles_w * tile_width;
      const T* ahead = level.data + (next / tiles_w / tiles_h * level.h + row) * stride_h + column * stride_w;
      const int64_t width = std::min(tile_width, level.w - column) * stride_w;  // of the tile's rows
      const bool follows = next < tiles && ends[static_cast<size_t>(next)] > last;
      int64_t rows = follows ? std::min(kTileHeight, level.h - row) : 0, fetched = 0;
      const int64_t share = rows * width / (last - first) + 1;
      for (int64_t i = first; i < last; ++i) {
        for (int64_t k = 0; k < share && rows > 0; k += kLine) {
          __builtin_prefetch(ahead + fetched, 0, 2);
          fetched += kLine;
          if (fetched < width) continue;
          fetched = 0;
          ahead += stride_h;
          --rows;
        }
        const Bin& bin = sorted[static_cast<size_t>(i)];
        const Region<T>& region = regions[bin.region];
        const BinSum<T> sum(grid, region, bin.bin, stride_h, stride_w);
        sum(level.data + region.image * level.h * stride_h + bin.bin, bins, outputs,
            out + (region.box * bins + bin.bin) * outputs);
      }
    }
  });
}

// Its transpose for rows [begin, end).
template <class T>
void add_bin(const RoiTaps<T>& taps, int64_t y_bin, int64_t x_bin, T grad, int64_t begin, int64_t end, T* map,
             int64_t stride_h, int64_t stride_w) {
  for (int64_t i = taps.y.first[y_bin]; i < taps.y.first[y_bin + 1]; ++i) {
    if (taps.y.index[i] < begin || taps.y.index[i] >= end) continue;
    T* const row = map + taps.y.index[i] * stride_h;
    const T share = taps.y.weight[i] * grad;
    for (int64_t j = taps.x.first[x_bin]; j < taps.x.first[x_bin + 1]; ++j)
      row[taps.x.index[j] * stride_w] += taps.x.weight[j] * share;
  }
}

}  // namespace

template <class T>
void gather_regions(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                    GatherBins<T> kernel, T* out) {
  if (maps.planar && reads_per_pixel(maps, grid, regions) < kSeldom)
    return gather_planes(maps, grid, regions, out);
  gather_regions<T>(
      maps, grid, regions,
      [&](const Region<T>& region, int64_t ph, const T* map, int64_t stride_h, int64_t stride_w,
          int64_t channels, T* to,
          int32_t*) { kernel(grid, region.taps, ph, map, stride_h, stride_w, channels, to); },
      true, out, nullptr);
}

template <class T>
void gather_own_channels(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                         const PlaneKernel<T>& kernel, T* out) {
  if (maps.planar)
    gather_own_planes(maps, grid, regions, kernel, out);
  else
    gather_own_pixels(maps, grid, regions, out);
}

template <class T>
void scatter_own_channels(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                          const T* grad) {
  const RoiLevel<T>& level = maps.levels[0];
  const int64_t bins = grid.bins(), channels = maps.channels / bins, plane = level.h * level.w;
  if (maps.planar) {
    parallel_for(maps.channels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const int64_t bin = c % bins, ph = bin / grid.w, pw = bin % grid.w;
        for (int64_t n = 0; n < maps.n; ++n)
          std::memset(level.data + (n * maps.channels + c) * plane, 0,
                      static_cast<size_t>(plane) * sizeof(T));
        for (int64_t i = 0; i < regions.size(); ++i) {
          const Region<T>& region = regions[i];
          add_bin(region.taps, grid.y_bin(ph, pw), grid.x_bin(ph, pw), grad[region.box * maps.channels + c],
                  0, level.h, level.data + (region.image * maps.channels + c) * plane, level.w, 1);
        }
      }
    });
    return;
  }
  const int64_t stride_w = maps.channels, stride_h = level.w * stride_w;
  parallel_for(maps.n * level.h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / level.h, row = task % level.h;
      T* const map = level.data + image * level.h * stride_h;
      std::memset(map + row * stride_h, 0, static_cast<size_t>(stride_h) * sizeof(T));
      for (int64_t i = 0; i < regions.size(); ++i) {
        const Region<T>& region = regions[i];
        if (region.image != image || row < region.row_begin || row >= region.row_end) continue;
        for (int64_t bin = 0; bin < bins; ++bin)
          for (int64_t c = 0; c < channels; ++c)
            add_bin(region.taps, grid.y_bin(bin / grid.w, bin % grid.w),
                    grid.x_bin(bin / grid.w, bin % grid.w), grad[(region.box * bins + bin) * channels + c],
                    row, row + 1, map + c * bins + bin, stride_h, stride_w);
      }
    }
  });
}

template <class T>
void bin_dots(GatherBins<T> kernel, const RoiGrid& grid, const RoiTaps<T>& taps, const T* map,
              int64_t stride_h, int64_t stride_w, int64_t channels, const T* grad, T* dots) {
  Scratch<T> row(grid.w * channels);
  for (int64_t ph = 0; ph < grid.h; ++ph) {
    kernel(grid, taps, ph, map, stride_h, stride_w, channels, row.get());
    for (int64_t pw = 0; pw < grid.w; ++pw, grad += channels) {
      T sum = 0;
      for (int64_t c = 0; c < channels; ++c) sum += grad[c] * row[pw * channels + c];
      *dots++ = sum;
    }
  }
}

#define PYVISION_INSTANTIATE(T)                                                                           \
  template void gather_regions(const RoiMaps<const T>&, const RoiGrid&, const Regions<T>&, GatherRow<T>,  \
                               bool, T*, int32_t*);                                                       \
  template void gather_regions(const RoiMaps<const T>&, const RoiGrid&, const Regions<T>&, GatherBins<T>, \
                               T*);                                                                       \
  template void scatter_regions(const RoiMaps<T>&, const RoiGrid&, const Regions<T>&, ScatterBins<T>,     \
                                const T*);                                                                \
  template void gather_own_channels(const RoiMaps<const T>&, const RoiGrid&, const Regions<T>&,           \
                                    const PlaneKernel<T>&, T*);                                           \
  template void scatter_own_channels(const RoiMaps<T>&, const RoiGrid&, const Regions<T>&, const T*);     \
  template void bin_dots(GatherBins<T>, const RoiGrid&, const RoiTaps<T>&, const T*, int64_t, int64_t,    \
                         int64_t, const T*, T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
