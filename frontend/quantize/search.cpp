#include "frontend/quantize/search.h"

#include <algorithm>

namespace weft::quantize {

namespace {

struct Step {
  size_t layer = 0;
  int option = 0;    // that it leads to
  double saved = 0, error = 0;
  double slope() const { return saved / std::max(error, 1e-300); }
};

// The steps of one layer: from float on, always to the option with the best slope; slopes fall.
std::vector<Step> steps_of(size_t layer, const std::vector<Option>& options) {
  std::vector<Step> out;
  for (int at = 0;;) {
    Step best;
    for (int k = 0; k < static_cast<int>(options.size()); ++k) {
      const Step s{layer, k, options[at].cost - options[k].cost, std::max(options[k].error - options[at].error, 0.0)};
      if (s.saved > 0 && (best.saved == 0 || s.slope() > best.slope() || (s.slope() == best.slope() && s.saved > best.saved))) best = s;
    }
    if (best.saved == 0) return out;
    out.push_back(best);
    at = best.option;
  }
}

}  // namespace

std::vector<Assignment> chain_of(const std::vector<std::vector<Option>>& layers) {
  std::vector<Step> steps;
  for (size_t i = 0; i < layers.size(); ++i)
    for (const Step& s : steps_of(i, layers[i])) steps.push_back(s);
  // Stable: steps of a layer, whose slopes fall, stay in their order.
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.slope() > b.slope(); });
  std::vector<Assignment> chain{Assignment(layers.size(), 0)};
  for (const Step& s : steps) {
    chain.push_back(chain.back());
    chain.back()[s.layer] = s.option;
  }
  return chain;
}

Result<size_t> last_that_holds(size_t count, const std::function<Result<bool>(size_t)>& holds) {
  constexpr size_t kGrid = 16;
  const size_t step = std::max<size_t>(1, (count + kGrid - 1) / kGrid);
  size_t refused = count;  // the least number known to be refused
  for (size_t back = 0;; back += step) {
    const size_t at = count - 1 > back ? count - 1 - back : 0;
    bool good = at == 0;
    if (!good) {
      TRY_ASSIGN(good, holds(at));
    }
    if (!good) {
      refused = at;
      continue;
    }
    for (size_t k = refused; k-- > at + 1;) {
      TRY_ASSIGN(const bool fine, holds(k));
      if (fine) return k;
    }
    return at;
  }
}

}  // namespace weft::quantize
