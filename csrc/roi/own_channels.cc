// SPDX-License-Identifier: Apache-2.0
#include "roi/own_channels.h"

#include <utility>

#include "core/arena.h"
#include "ops/roi_align/roi_align.h"
#include "roi/bin_sum.h"
#include "roi/copy.h"
#include "roi/pool.h"

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

// Some columns of a map's row, fetched a few lines at a time.
template <class T>
class Ahead {
 public:
  Ahead() = default;
  Ahead(const T* first, int64_t columns, int64_t stride, int64_t values)
      : at_(first), columns_(columns), stride_(stride), values_(values) {
    if (values_ == stride_) values_ *= std::exchange(columns_, 1);  // nothing lies between its pixels
  }

  int64_t lines() const { return columns_ * (values_ / kLine + 1); }
  void fetch(int64_t lines) {
    for (; lines > 0 && columns_ > 0; --lines) {
      __builtin_prefetch(at_ + i_, 0, 2);
      i_ += kLine;
      if (i_ >= values_) i_ = 0, at_ += stride_, --columns_;
    }
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(T);
  const T* at_ = nullptr;
  int64_t columns_ = 0, stride_ = 0, values_ = 0, i_ = 0;
};

// Maps of neighbouring channels, row after row from left to right: what a bin reads is still in L1 for the
// next bin that does. Bands of rows are tasks, and a row of bins that lies in several has a sum of each.
// Map, Sum: const T, T; or T, const T where maps are set
template <class T, class Map, class Sum>
class OwnRows {
 public:
  OwnRows(const RoiMaps<Map>& maps, const RoiGrid& grid, const Regions<T>& regions,
          const OwnChannelKernels<T>& kernels)
      : maps_(maps),
        level_(maps.levels[0]),
        grid_(grid),
        regions_(regions),
        kernels_(kernels),
        outputs_(maps.channels / grid.bins()),
        values_(grid.w * outputs_),
        width_(std::max<int64_t>(1, kWindow / (std::min(outputs_, kOutputs) * grid.bins()))),
        windows_((level_.w + width_ - 1) / width_),
        steps_((outputs_ + kOutputs - 1) / kOutputs * windows_) {
    while (band_of(level_.h - 1) >= kBands) ++log2_band_;
    first_.reserve(static_cast<size_t>(regions.size() + 1));
    for (int64_t k = 0; k < regions.size(); ++k) {
      const RoiAxis<T>& x = regions[k].taps.x;
      int64_t count = 0;
      for (int64_t bin = 0; bin < grid.w; ++bin) count += (x.first[bin + 1] - x.first[bin] + 3) / 4;
      first_.push_back(first_.back() + count);
    }
    buffer_ = AlignedBuffer(static_cast<size_t>(first_.back()) * sizeof(Columns));
    places_.resize(static_cast<size_t>(first_.back()));
    parallel_for(regions.size(), kRegions, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) place_columns(k);
    });
  }

  // out: (K, bins, outputs)
  void gather(T* out) const {
    // Where the sums begin that a row of bins has of other bands than its first, in rows of bins.
    std::vector<int64_t> spilled{0};
    spilled.reserve(static_cast<size_t>(regions_.size() * grid_.h + 1));
    for (int64_t k = 0; k < regions_.size(); ++k)
      for (int64_t ph = 0; ph < grid_.h; ++ph) spilled.push_back(spilled.back() + more_bands(k, ph));
    const AlignedBuffer buffer(static_cast<size_t>(spilled.back() * values_) * sizeof(T));
    T* const spill = buffer.as<T>();
    const auto sums_of = [&](int64_t k, int64_t ph, int64_t more) {
      const int64_t first = spilled[static_cast<size_t>(k * grid_.h + ph)];
      T* const sums = more == 0 ? sums_at(out, k, ph) : spill + (first + more - 1) * values_;
      std::fill_n(sums, values_, T(0));
      return sums;
    };
    for_each_row(sums_of, [&](int64_t y, int64_t r, const T* row, const PairTaps* taps, bool) {
      if (taps == nullptr) return;
      for (int64_t step = 0; step < steps_; ++step) {
        const OwnRow shape = outputs_of(step);
        const Tap* const begin = taps->begin(step % windows_, r);
        const int64_t count = taps->count(step % windows_, r);
        Ahead<T> ahead = after(step, y, r, row, *taps);
        const int64_t some = kLines * count / std::max<int64_t>(1, ahead.lines()) + 1;
        for (int64_t i = 0; i < count; i += some) {
          ahead.fetch(kLines);
          for (int64_t j = i + some; j < std::min(i + 2 * some, count); ++j) {
            __builtin_prefetch(begin[j].x);
            __builtin_prefetch(begin[j].sums, 1);
          }
          kernels_.sum_taps(shape, begin + i, std::min(some, count - i), r, row + shape.first * shape.bins);
        }
        ahead.fetch(ahead.lines());
      }
    });
    parallel_for(regions_.size(), kRegions, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        for (int64_t ph = 0; ph < grid_.h; ++ph) {
          T* const sums = sums_at(out, k, ph);
          if (regions_[k].taps.y.is_empty(ph)) std::fill_n(sums, values_, T(0));
          const auto row = static_cast<size_t>(k * grid_.h + ph);
          for (int64_t i = spilled[row]; i < spilled[row + 1]; ++i)
            for (int64_t j = 0; j < values_; ++j) sums[j] += spill[i * values_ + j];
        }
      }
    });
  }

  // grad: as out
  void scatter(const T* grad) const {
    std::vector<bool> is_set(static_cast<size_t>(maps_.n));
    for (const RegionGroup& group : regions_.groups())
      is_set[static_cast<size_t>(regions_[group.begin].image)] = true;
    const int64_t row_size = level_.w * maps_.channels;
    for (int64_t n = 0; n < maps_.n; ++n)
      if (!is_set[static_cast<size_t>(n)])
        parallel_for(level_.h, 1, [&](int64_t begin, int64_t end) {
          std::fill_n(level_.data + (n * level_.h + begin) * row_size, (end - begin) * row_size, T(0));
        });
    const auto grads_of = [&](int64_t k, int64_t ph, int64_t) { return sums_at(grad, k, ph); };
    for_each_row(grads_of, [&](int64_t, int64_t r, T* row, const PairTaps* taps, bool is_first) {
      if (is_first) std::fill_n(row, row_size, T(0));
      if (taps == nullptr) return;
      for (int64_t step = 0; step < steps_; ++step) {
        const OwnRow shape = outputs_of(step);
        kernels_.add_taps(shape, taps->begin(step % windows_, r), taps->count(step % windows_, r), r,
                          row + shape.first * shape.bins);
      }
    });
  }

 private:
  using Columns = FourTaps<T, int32_t>;
  using Tap = OwnTap<T, Sum>;
  struct Place {
    int32_t window, bin;  // of its first column; of a row of bins
  };
  enum Rows { kFirst, kBoth, kSecond };  // of a pair
  // One or two y taps of a row of bins, in a pair of rows.
  struct PairTap {
    int64_t pair, region;
    Sum* sums;
    int32_t bin;  // the first of them
    Rows rows;
    T weight[2];
  };
  // Those of a pair of rows beside all x taps: in each window those of the first row alone (kFirst), of both
  // (kBoth), of the second alone (kSecond). So row r's are the two from r on.
  class PairTaps {
   public:
    // each(visit) calls visit(window, rows, tap)
    template <class Each>
    void sort(int64_t windows, Each each) {
      const auto each_key = [&](auto visit) {
        each([&](int64_t window, Rows rows, const Tap& tap) { visit(3 * window + rows, tap); });
      };
      ends_ = counting_sort_each<Tap>(3 * windows, each_key, [&](int64_t count) {
        if (static_cast<int64_t>(taps_.size()) < count) taps_.resize(static_cast<size_t>(count));
        return taps_.data();
      });
    }
    const Tap* begin(int64_t window, int64_t r) const {
      const auto key = static_cast<size_t>(3 * window + r);
      return taps_.data() + (key > 0 ? ends_[key - 1] : 0);
    }
    int64_t count(int64_t window, int64_t r) const {
      return taps_.data() + ends_[static_cast<size_t>(3 * window + r + 1)] - begin(window, r);
    }

   private:
    std::vector<Tap> taps_;
    std::vector<int64_t> ends_;
  };

  static constexpr int64_t kBands = 24;                       // of an image, at most
  static constexpr int64_t kOutputs = 16;                     // at a time
  static constexpr int64_t kWindow = (16 << 10) / sizeof(T);  // half of L1
  static constexpr int64_t kAhead = 2;                        // windows
  static constexpr int64_t kLines = 16;    // at a time: more would hold up what is needed now
  static constexpr int64_t kRegions = 64;  // a task
  static constexpr int64_t kBatch = 8192;  // regions whose taps are sorted together

  template <class Any>
  Any* sums_at(Any* sums, int64_t k, int64_t ph) const {
    return sums + (regions_[k].box * grid_.h + ph) * values_;
  }
  int64_t band_of(int64_t row) const { return row >> log2_band_; }
  // Bands that a row of bins has taps in, or between those, but for the first.
  int64_t more_bands(int64_t k, int64_t ph) const {
    const RoiAxis<T>& y = regions_[k].taps.y;
    return y.is_empty(ph) ? 0 : band_of(y.last(ph)) - band_of(y.index[y.first[ph]]);
  }

  void place_columns(int64_t k) {
    const RoiAxis<T>& x = regions_[k].taps.x;
    int64_t at = first_[static_cast<size_t>(k)];
    for (int64_t bin = 0; bin < grid_.w; ++bin) {
      for (int64_t i = x.first[bin]; i < x.first[bin + 1]; i += 4, ++at) {
        const int64_t count = std::min<int64_t>(4, x.first[bin + 1] - i);
        buffer_.template as<Columns>()[at] = {x.index + i, x.weight + i, count,
                                              static_cast<int32_t>(maps_.channels)};
        places_[static_cast<size_t>(at)] = {x.index[i] / static_cast<int32_t>(width_),
                                            static_cast<int32_t>(bin)};
      }
    }
  }

  // Calls body(y, r, row, taps, is_first) for the rows of images with regions, r being 0 or 1, its place in
  // its pair; more than once where there are many regions, is_first being true but once; taps may be null.
  // Taps have what sums_of(k, ph, more) returns, which is called once in every band of the row of bins,
  // `more` being those before it.
  template <class SumsOf, class Body>
  void for_each_row(SumsOf sums_of, Body body) const {
    const auto images = static_cast<int64_t>(regions_.groups().size()), bands = band_of(level_.h - 1) + 1;
    parallel_for(images * bands, 1, [&](int64_t begin, int64_t end) {
      std::vector<PairTap> unsorted, sorted;
      PairTaps taps;
      for (int64_t task = begin; task < end; ++task) {
        const RegionGroup& group = regions_.groups()[static_cast<size_t>(task / bands)];
        Map* const image = level_.data + regions_[group.begin].image * level_.h * level_.w * maps_.channels;
        const int64_t top = task % bands << log2_band_,
                      bottom = std::min(level_.h, top + (int64_t{1} << log2_band_));
        for (int64_t batch = group.begin; batch < group.end; batch += kBatch) {
          unsorted.clear();
          const int64_t batch_end = std::min(batch + kBatch, group.end);
          for (int64_t k = batch; k < batch_end && regions_[k].row_begin < bottom; ++k)
            add_pairs(k, top, bottom, sums_of, &unsorted);
          sorted.resize(unsorted.size());
          const std::vector<int64_t> ends = counting_sort(
              unsorted, (bottom - top + 1) / 2, [](const PairTap& tap) { return tap.pair; }, sorted.data());
          int64_t first = 0, last = 0;
          for (int64_t y = top; y < bottom; ++y) {
            const int64_t r = (y - top) % 2;
            if (r == 0) {
              first = std::exchange(last, ends[static_cast<size_t>((y - top) / 2)]);
              if (first < last) sort_columns(sorted.data() + first, sorted.data() + last, &taps);
            }
            stop_if_interrupted();
            body(y, r, image + y * level_.w * maps_.channels, first < last ? &taps : nullptr,
                 batch == group.begin);
          }
        }
      }
    });
  }
  // Region k's, in rows [top, bottom). Regions come by their first row: the caller stops at the bottom.
  template <class SumsOf>
  void add_pairs(int64_t k, int64_t top, int64_t bottom, SumsOf sums_of, std::vector<PairTap>* pairs) const {
    if (regions_[k].row_end <= top) return;
    const RoiAxis<T>& y = regions_[k].taps.y;
    for (int64_t ph = 0; ph < grid_.h; ++ph) {
      int64_t i = y.first[ph];
      const int64_t end = y.first[ph + 1];
      if (i == end || y.index[i] >= bottom || y.index[end - 1] < top) continue;
      Sum* const sums = sums_of(k, ph, band_of(top) - band_of(y.index[i]));
      while (i < end && y.index[i] < top) ++i;
      for (; i < end && y.index[i] < bottom; ++i) {
        const int64_t row = y.index[i] - top, second = row % 2;
        PairTap tap = {row / 2, k, sums, static_cast<int32_t>(ph * grid_.w), second ? kSecond : kFirst, {}};
        tap.weight[second] = y.weight[i];
        if (!second && i + 1 < end && y.index[i + 1] == y.index[i] + 1)  // not beyond the band: it is even
          tap.rows = kBoth, tap.weight[1] = y.weight[++i];
        pairs->push_back(tap);
      }
    }
  }
  void sort_columns(const PairTap* begin, const PairTap* end, PairTaps* taps) const {
    taps->sort(windows_, [&](auto visit) {
      for (const PairTap* tap = begin; tap < end; ++tap) {
        const auto region = static_cast<size_t>(tap->region);
        for (int64_t i = first_[region]; i < first_[region + 1]; ++i) {
          const Place& place = places_[static_cast<size_t>(i)];
          visit(place.window, tap->rows,
                Tap{columns() + i,
                    tap->sums + place.bin * outputs_,
                    tap->bin + place.bin,
                    {tap->weight[0], tap->weight[1]}});
        }
      }
    });
  }

  // A row is read in steps: all windows for some outputs, that a window may stay in L1, then for the next.
  OwnRow outputs_of(int64_t step) const {
    const int64_t first = step / windows_ * kOutputs;
    return {grid_.bins(), first, std::min(kOutputs, outputs_ - first)};
  }
  // What to fetch during a step, if there is much to read in it. It may lie in the next row, which is taken
  // to have taps where this has them.
  Ahead<T> after(int64_t step, int64_t y, int64_t r, const T* row, const PairTaps& taps) const {
    constexpr int64_t kLine = 64 / sizeof(T);
    const int64_t next = (step + kAhead) % steps_, rows = (step + kAhead) / steps_;
    const OwnRow shape = outputs_of(next);
    const int64_t window = next % windows_, columns = std::min(width_, level_.w - window * width_);
    const int64_t values = shape.outputs * shape.bins, reads = 4 * taps.count(window, r) * shape.outputs;
    if (y + rows >= level_.h || reads * kLine < columns * values) return {};
    return {row + (rows * level_.w + window * width_) * maps_.channels + shape.first * shape.bins, columns,
            maps_.channels, values};
  }

  const Columns* columns() const { return buffer_.template as<Columns>(); }

  const RoiMaps<Map>& maps_;
  const RoiLevel<Map>& level_;
  const RoiGrid& grid_;
  const Regions<T>& regions_;
  const OwnChannelKernels<T>& kernels_;
  const int64_t outputs_, values_;         // the latter: of a row of bins
  int log2_band_ = 3;                      // rows; a power of two, as divisions take long
  const int64_t width_, windows_, steps_;  // columns of a window; windows, and steps, of a row
  std::vector<int64_t> first_{0};          // of a region's columns
  AlignedBuffer buffer_;                   // of them
  std::vector<Place> places_;
};

constexpr double kDense = 0.35;  // reads of a channel's pixel from which on planes pay for one output

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
  if (maps.channels == 0) return;
  if (grid.bins() == 1) return gather_regions(maps, grid, regions, gather_kernel<T>(), out);
  // of a channel's pixel, in images with regions
  const double reads = regions.reads_per_pixel(maps, grid) / static_cast<double>(grid.bins());
  if (maps.planar) return gather_own_planes(maps, grid, regions, kernels, reads * 64 / sizeof(T) > 1, out);
  const double share =
      static_cast<double>(regions.groups().size()) / static_cast<double>(maps.n);  // of images
  if (maps.channels > grid.bins() || reads * share < kDense)
    return OwnRows<T, const T, T>(maps, grid, regions, kernels).gather(out);
  // One output: its planes, read by vectors, pay for themselves.
  const RoiLevel<const T>& level = maps.levels[0];
  const int64_t plane = level.h * level.w;
  const AlignedBuffer planes(static_cast<size_t>(maps.n * maps.channels * plane) * sizeof(T));
  transpose_all(level.data, planes.as<T>(), maps.n, plane, maps.channels);
  const RoiLevel<const T> planar = {planes.as<T>(), level.h, level.w, level.scale};
  gather_own_planes<T>({&planar, 1, maps.n, maps.channels, true}, grid, regions, kernels, false, out);
}

template <class T>
void scatter_own_channels(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                          const OwnChannelKernels<T>& kernels, const T* grad) {
  if (maps.channels == 0) return;
  const RoiLevel<T>& level = maps.levels[0];
  const int64_t bins = grid.bins(), plane = level.h * level.w;
  if (bins == 1) return scatter_regions(maps, grid, regions, scatter_kernel<T>(), grad);
  if (!maps.planar) return OwnRows<T, T, const T>(maps, grid, regions, kernels).scatter(grad);
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
