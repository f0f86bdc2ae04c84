// SPDX-License-Identifier: Apache-2.0
#include "roi/pool.h"

#include "core/arena.h"
#include "roi/bin_sum.h"
#include "roi/copy.h"

namespace pyvision {
namespace {

// Regions whose rows of bins are sorted together, and whose outputs of `size` bytes each wait for the others.
int64_t batch_of(int64_t size) {
  return std::clamp<int64_t>((4 << 20) / std::max<int64_t>(size, 1), 1, 1024);
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

constexpr double kSeldom = 0.5;  // copying a pixel's channels costs about as much as two scalar reads of them
constexpr double kOften = 30;    // from here on copies that stay in the cache pay for channels-last maps too

template <class T>
void gather_interleaved(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                        GatherRow<T> run, T* out, int32_t* argmax) {
  const int64_t channels = maps.channels, all_rows = std::max<int64_t>(1, regions.size() * grid.h);
  const double reads =
      std::max(16.0 * static_cast<double>(grid.w), regions.reads(grid) / static_cast<double>(all_rows));
  const double cost =
      static_cast<double>(grid.w * 64) + static_cast<double>(channels) * reads;  // operations a row of bins
  const auto grain = std::max<int64_t>(1, static_cast<int64_t>(0x1p19 / cost));
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
  if (maps.channels > 1 && (maps.planar || (taps_alone && regions.reads_per_pixel(maps, grid) > kOften)))
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
      for (int64_t bin = 0; bin < bins; ++bin) sums.emplace_back(grid, region, bin, level.w);
      const int64_t first = task % parts * kChannels;
      for (int64_t c = first; c < std::min(first + kChannels, maps.channels); ++c) {
        const T* const plane = level.data + (region.image * maps.channels + c) * level.h * level.w;
        T* const to = out + (region.box * maps.channels + c) * bins;
        for (int64_t bin = 0; bin < bins; ++bin) to[bin] = sums[static_cast<size_t>(bin)](plane);
      }
    }
  });
}

}  // namespace

template <class T>
void gather_regions(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                    GatherBins<T> kernel, T* out) {
  if (maps.planar && regions.reads_per_pixel(maps, grid) < kSeldom)
    return gather_planes(maps, grid, regions, out);
  gather_regions<T>(
      maps, grid, regions,
      [&](const Region<T>& region, int64_t ph, const T* map, int64_t stride_h, int64_t stride_w,
          int64_t channels, T* to,
          int32_t*) { kernel(grid, region.taps, ph, map, stride_h, stride_w, channels, to); },
      true, out, nullptr);
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
  template void bin_dots(GatherBins<T>, const RoiGrid&, const RoiTaps<T>&, const T*, int64_t, int64_t,    \
                         int64_t, const T*, T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
