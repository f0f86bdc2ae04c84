// SPDX-License-Identifier: Apache-2.0
// What is known of each byte of memory: who touched it since the last barrier, and whether it holds anything.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace cuda_emulator {

constexpr int kWarp = 32;

// A moment in the life of one thread. Two accesses are ordered when a barrier of their block lies between
// them, or, within a warp, a __syncwarp of both.
struct Moment {
  uint32_t launch, block, epoch, warp_epoch;  // serial numbers that never repeat
  int16_t thread, warp;
  uint32_t lanes;  // of the warp: one, or all for which a moment stands
  bool atomic;
};

// The present one; seen: (kWarp,), what a lane of the thread's warp did before it had this epoch is over.
struct Now : Moment {
  const uint32_t* seen;
};

// What lies between two accesses is the same for all of its bytes.
class Cell {
 public:
  enum class Conflict : uint8_t { kNone, kWithWriter, kWithReader };
  struct Result {
    Conflict conflict = Conflict::kNone;
    int thread = -1;  // the other one, -1: several
    bool other_block = false;
  };

  Result touch(const Now& now, bool write) {
    Result result;
    if (writer_.launch == now.launch && !ordered(writer_, now))
      result = {Conflict::kWithWriter, writer_.thread, writer_.block != now.block};
    if (write && reader_.launch == now.launch && !ordered(reader_, now))
      result = {Conflict::kWithReader, reader_.thread, reader_.block != now.block};
    if (!write) {
      remember_reader(now);
    } else if (!hides(writer_, now)) {
      writer_ = now;
    }
    return result;
  }

  // Whether what is remembered can race with nothing in this launch.
  bool over(uint32_t launch) const { return writer_.launch != launch && reader_.launch != launch; }

 private:
  static constexpr int16_t kSeveral = -1;

  static bool ordered(const Moment& before, const Now& now) {
    if (before.atomic && now.atomic) return true;
    if (before.block != now.block) return false;
    if (before.epoch != now.epoch || (before.thread == now.thread && now.thread != kSeveral)) return true;
    if (before.warp != now.warp) return false;
    for (int lane = 0; lane < kWarp; ++lane)
      if ((before.lanes >> lane & 1) && now.seen[lane] <= before.warp_epoch) return false;
    return true;
  }

  // Whether a thread's plain write races with all that an atomic one of the same thread after it races with.
  static bool hides(const Moment& before, const Moment& now) {
    return now.atomic && !before.atomic && before.launch == now.launch && before.block == now.block &&
           before.thread == now.thread && before.epoch == now.epoch && before.warp_epoch == now.warp_epoch;
  }

  // One moment stands for all readers since the last barrier: the latest, or "several".
  void remember_reader(const Now& now) {
    const bool together = reader_.launch == now.launch && !ordered(reader_, now);
    if (!together) {
      reader_ = now;
      return;
    }
    if (reader_.block != now.block) reader_.block = 0;  // of no block: ordered with none
    if (reader_.warp != now.warp) reader_.warp = kSeveral;
    reader_.thread = kSeveral;
    reader_.lanes |= now.lanes;
    if (reader_.warp_epoch < now.warp_epoch) reader_.warp_epoch = now.warp_epoch;
  }

  Moment writer_ = {}, reader_ = {};
};

// Four bytes with one cell as long as a launch touches them together, else with one each.
class Word {
 public:
  static constexpr unsigned kBytes = 4;

  // The bytes [first, first + count) of it.
  Cell::Result touch(const Now& now, bool write, unsigned first, unsigned count) {
    if (parts_ && whole_.over(now.launch)) parts_.reset();
    if (!parts_ && count < kBytes) {
      parts_ = std::make_unique<std::array<Cell, kBytes>>();
      parts_->fill(whole_);
    }
    const Cell::Result of_all = whole_.touch(now, write);  // when it was touched last, where there are parts
    if (!parts_) return of_all;
    Cell::Result result;
    for (unsigned i = first; i < first + count; ++i) {
      const Cell::Result of_one = (*parts_)[i].touch(now, write);
      if (of_one.conflict != Cell::Conflict::kNone) result = of_one;
    }
    return result;
  }

 private:
  Cell whole_;
  std::unique_ptr<std::array<Cell, kBytes>> parts_;
};

// Words and the initialised bytes of one range of memory.
class Shadow {
 public:
  explicit Shadow(size_t bytes = 0) { resize(bytes); }
  void resize(size_t bytes) {
    words_.resize((bytes + 2 * Word::kBytes - 1) / Word::kBytes);  // the range may begin amid a word
    bytes_.assign(bytes, Byte::kEmpty);
  }
  size_t bytes() const { return bytes_.size(); }

  enum class Byte : uint8_t { kEmpty, kWritten, kInFlight };
  Byte& byte(size_t offset) { return bytes_[offset]; }
  void fill(size_t offset, size_t count, Byte state) {
    for (size_t i = 0; i < count; ++i) bytes_[offset + i] = state;
  }

  // Calls visit(result) for each word of [offset, offset + count) that conflicts; skew: of the range's start
  // from a word.
  template <class Visit>
  void touch(size_t offset, size_t count, size_t skew, const Now& now, bool write, Visit visit) {
    for (size_t at = offset + skew, end = at + count; at < end;) {
      const size_t word = at / Word::kBytes, next = (word + 1) * Word::kBytes, stop = next < end ? next : end;
      const Cell::Result result = words_[word].touch(now, write, static_cast<unsigned>(at % Word::kBytes),
                                                     static_cast<unsigned>(stop - at));
      if (result.conflict != Cell::Conflict::kNone) visit(result);
      at = stop;
    }
  }

 private:
  std::vector<Word> words_;
  std::vector<Byte> bytes_;
};

}  // namespace cuda_emulator
