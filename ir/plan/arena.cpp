// Offsets for buffers with lifetimes: two that live at once must not overlap, and the arena should be little larger than
// the most bytes that live at once. The problem is NP-hard; greedy placement in a few orders is within a few per cent
// on real programs, and where it is not, requests that reach the top are placed earlier, for a bounded number of steps.
// Deterministic: effort is counted in steps, not in time.
#include <algorithm>
#include <numeric>

#include "ir/base/check.h"
#include "ir/plan/plan.h"

namespace weft {

namespace {

// Effort, in steps of about a nanosecond: after kGreedySteps (and more per request) no further order is tried.
constexpr int64_t kGreedySteps = 6'000'000, kGreedyStepsEach = 1000, kSearchSteps = 4'000'000;
constexpr int64_t kSparse = 64;  // conflicts per request up to which lists of them are kept

// Where in the gaps a request goes: the lowest or the tightest that fits, or (`ends`) the lowest or the highest below
// the bound, whichever is away from the request placed before: a chain of producers and consumers then alternates.
enum class Fit : uint8_t { lowest, tightest, ends };

struct Placed {
  int64_t begin, end;
  int first, last;
};

class Packer {
 public:
  explicit Packer(const std::vector<ArenaRequest>& requests) : requests_(requests), offsets_(requests.size(), -1) {
    for (size_t i = 0; i < requests.size(); ++i) {
      CHECK(requests[i].bytes >= 0 && requests[i].alignment > 0 && (requests[i].alignment & (requests[i].alignment - 1)) == 0 &&
            requests[i].first <= requests[i].last);
      if (requests[i].bytes > 0) ids_.push_back(static_cast<int>(i));
    }
    sweep();
  }

  int64_t max_live() const { return max_live_; }
  int64_t bound() const { return bound_; }
  const std::vector<int>& ids() const { return ids_; }
  const std::vector<int64_t>& offsets() const { return offsets_; }
  int64_t steps() const { return steps_; }
  void count(int64_t steps) { steps_ += steps; }

  // Places all in the given order; stops early, without a result (INT64_MAX), once it needs `limit` bytes or more.
  int64_t place(const std::vector<int>& order, Fit fit, int64_t limit) {
    std::fill(offsets_.begin(), offsets_.end(), -1);
    placed_.clear();
    int64_t top = 0, before = 0;
    for (int id : order) {
      before = offsets_[id] = find_gap(id, fit, before < bound_ / 2);
      top = std::max(top, before + requests_[id].bytes);
      if (top >= limit) return INT64_MAX;
      if (conflicts_.empty()) insert(placed(id));
    }
    return top;
  }

  // Bytes of all that lives at some time of the request's life.
  std::vector<int64_t> breadths() const {
    auto prefix = [&](auto key) {
      std::vector<std::pair<int, int64_t>> v;
      for (int id : ids_) v.emplace_back(key(requests_[id]), requests_[id].bytes);
      std::sort(v.begin(), v.end());
      for (size_t i = 1; i < v.size(); ++i) v[i].second += v[i - 1].second;
      return v;
    };
    auto sum_below = [](const std::vector<std::pair<int, int64_t>>& v, int key) {
      auto it = std::lower_bound(v.begin(), v.end(), std::pair(key, INT64_MIN));
      return it == v.begin() ? 0 : std::prev(it)->second;
    };
    auto firsts = prefix([](auto& r) { return r.first; }), lasts = prefix([](auto& r) { return r.last; });
    std::vector<int64_t> out(requests_.size(), 0);
    for (int id : ids_) out[id] = sum_below(firsts, requests_[id].last + 1) - sum_below(lasts, requests_[id].first);
    return out;
  }

 private:
  int64_t rounded(int id) const {
    const ArenaRequest& r = requests_[id];
    return (r.bytes + r.alignment - 1) / r.alignment * r.alignment;
  }
  // The most bytes that live at once, and the pairs that do unless there are many.
  void sweep() {
    std::vector<int> by_first = ids_, live;
    std::sort(by_first.begin(), by_first.end(), [&](int a, int b) { return requests_[a].first < requests_[b].first; });
    for (bool count : {true, false}) {
      int64_t bytes = 0, aligned = 0, pairs = 0;
      live.clear();
      for (int id : by_first) {
        std::erase_if(live, [&](int other) {
          bool dead = requests_[other].last < requests_[id].first;
          if (dead) bytes -= requests_[other].bytes, aligned -= rounded(other);
          return dead;
        });
        pairs += static_cast<int64_t>(live.size());
        if (!count)
          for (int other : live) conflicts_[other].push_back(id), conflicts_[id].push_back(other);
        live.push_back(id);
        bytes += requests_[id].bytes;
        aligned += rounded(id);
        max_live_ = std::max(max_live_, bytes);
        bound_ = std::max(bound_, aligned);
      }
      steps_ += pairs;
      if (pairs > kSparse * static_cast<int64_t>(ids_.size())) return;
      if (count) conflicts_.resize(requests_.size());
    }
  }

  void insert(Placed p) {
    placed_.insert(std::upper_bound(placed_.begin(), placed_.end(), p, [](auto& a, auto& b) { return a.begin < b.begin; }), p);
  }
  // Calls f for what is placed and lives at the same time, by offset, until f returns true.
  template <class F>
  void for_each_near(int id, F&& f) {
    if (conflicts_.empty()) {
      const int first = requests_[id].first, last = requests_[id].last;
      size_t k = 0;
      while (k < placed_.size() && !(placed_[k].first <= last && first <= placed_[k].last && f(placed_[k]))) ++k;
      steps_ += static_cast<int64_t>(2 * k + placed_.size() / 8);
      return;
    }
    near_.clear();
    for (int other : conflicts_[id])
      if (offsets_[other] >= 0) near_.push_back(placed(other));
    std::sort(near_.begin(), near_.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
    steps_ += static_cast<int64_t>(conflicts_[id].size() + near_.size() * 10 + 30);
    for (const Placed& p : near_)
      if (f(p)) return;
  }
  Placed placed(int id) const { return {offsets_[id], offsets_[id] + requests_[id].bytes, requests_[id].first, requests_[id].last}; }

  int64_t find_gap(int id, Fit fit, bool high) {
    const int64_t bytes = requests_[id].bytes, align = requests_[id].alignment;
    int64_t from = 0, best = -1, best_waste = INT64_MAX;
    auto gap = [&](int64_t to) {
      if (to - from < bytes) return false;
      if (fit == Fit::lowest || (fit == Fit::ends && !high)) {
        best = from;
        return true;
      }
      int64_t waste = fit == Fit::tightest ? to - from - bytes : -from;
      if (waste < best_waste) {
        best_waste = waste;
        best = fit == Fit::ends ? (to - bytes) / align * align : from;
        if (best < from) best = from;
      }
      return false;
    };
    bool done = false;
    for_each_near(id, [&](const Placed& p) {
      if (p.begin > from && gap(p.begin)) return done = true;
      if (p.end > from) from = (p.end + align - 1) & -align;
      return false;
    });
    if (done || (fit == Fit::ends && gap(bound_))) return best;
    return best >= 0 ? best : from;
  }

  const std::vector<ArenaRequest>& requests_;
  std::vector<std::vector<int>> conflicts_;  // empty: too many
  std::vector<int64_t> offsets_;
  std::vector<int> ids_;
  std::vector<Placed> placed_, near_;
  int64_t max_live_ = 0, bound_ = 0, steps_ = 0;  // bound_: max_live_ with every size rounded up to its alignment
};

class Search {
 public:
  explicit Search(const std::vector<ArenaRequest>& requests) : requests_(requests), packer_(requests), best_offsets_(requests.size(), 0) {}

  ArenaLayout run() {
    greedy();
    std::stable_sort(starts_.begin(), starts_.end(), [](auto& a, auto& b) { return a.bytes < b.bytes; });
    if (starts_.size() > 2) starts_.resize(2);
    int64_t from = packer_.steps();
    for (size_t k = 0; k < starts_.size() && !good_enough(); ++k)
      improve(starts_[k], from + kSearchSteps * static_cast<int64_t>(k + 1) / static_cast<int64_t>(starts_.size()));
    return {best_offsets_, packer_.ids().empty() ? 0 : best_bytes_, packer_.max_live()};
  }

 private:
  struct Start {
    std::vector<int> order;
    Fit fit;
    int64_t bytes;
  };

  bool good_enough() const { return packer_.ids().empty() || best_bytes_ <= packer_.bound() + packer_.bound() * 3 / 100; }

  int64_t attempt(const std::vector<int>& order, Fit fit) {
    int64_t top = packer_.place(order, fit, INT64_MAX);
    if (top < best_bytes_) {
      best_bytes_ = top;
      best_offsets_ = packer_.offsets();
      for (int64_t& o : best_offsets_) o = std::max<int64_t>(o, 0);
    }
    return top;
  }

  template <class Key>
  void greedy_by(Key key, std::initializer_list<Fit> fits) {
    std::vector<int> order = packer_.ids();
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) > key(b); });
    for (Fit fit : fits) {
      if (best_bytes_ <= packer_.bound() + packer_.bound() / 200) return;
      if (best_bytes_ != INT64_MAX && packer_.steps() > kGreedySteps + kGreedyStepsEach * static_cast<int64_t>(order.size())) return;
      int64_t bytes = attempt(order, fit);
      starts_.push_back({order, fit, bytes});
    }
  }
  void greedy() {
    if (packer_.ids().empty()) return;
    auto length = [&](int i) { return int64_t{requests_[i].last} - requests_[i].first + 1; };
    greedy_by([&](int i) { return std::pair(requests_[i].bytes, length(i)); }, {Fit::lowest});
    greedy_by([&](int i) { return std::pair(-int64_t{requests_[i].first}, requests_[i].bytes); }, {Fit::ends});
    greedy_by([&](int i) { return std::pair(length(i), requests_[i].bytes); }, {Fit::lowest, Fit::tightest});
    std::vector<int64_t> breadth = packer_.breadths();
    greedy_by([&](int i) { return std::pair(breadth[i], requests_[i].bytes); }, {Fit::lowest});
  }

  // Squeaky wheels: what lies above the bound moves to earlier places in the order, while steps last.
  void improve(Start s, int64_t steps) {
    uint64_t random = 0x9e3779b97f4a7c15;
    auto next = [&] { return random = random * 6364136223846793005u + 1442695040888963407u, random >> 33; };
    const int64_t bound = packer_.bound() + packer_.bound() / 100;
    std::vector<int> order = s.order;
    std::vector<std::pair<uint64_t, int>> keys(order.size());
    int64_t bytes = attempt(order, s.fit);
    for (int failures = 0; packer_.steps() < steps && !good_enough();) {
      packer_.count(20 * static_cast<int64_t>(order.size()));
      for (size_t k = 0; k < order.size(); ++k) {
        int id = order[k];
        bool high = packer_.offsets()[id] + requests_[id].bytes > bound;
        keys[k] = {high && k ? next() % k * 2 : 2 * k + 1, id};
      }
      std::stable_sort(keys.begin(), keys.end(), [](auto& x, auto& y) { return x.first < y.first; });
      for (size_t k = 0; k < order.size(); ++k) order[k] = keys[k].second;
      int64_t now = attempt(order, s.fit);
      failures = now < bytes ? 0 : failures + 1;
      bytes = std::min(bytes, now);
      if (now == bytes) s.order = order;
      if (failures == 8) {
        failures = 0;
        order = s.order;
        packer_.place(order, s.fit, INT64_MAX);
      }
    }
  }

  const std::vector<ArenaRequest>& requests_;
  Packer packer_;
  std::vector<int64_t> best_offsets_;
  int64_t best_bytes_ = INT64_MAX;
  std::vector<Start> starts_;
};

}  // namespace

ArenaLayout plan_arena(const std::vector<ArenaRequest>& requests) { return Search(requests).run(); }
int64_t max_live_bytes(const std::vector<ArenaRequest>& requests) { return Packer(requests).max_live(); }

}  // namespace weft
