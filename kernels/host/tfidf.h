// N-gram counts of token rows (ONNX TfIdfVectorizer).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace weft {

// A pool of n-grams as ONNX gives it: all 1-grams, then all 2-grams, ...; counts[n - 1] is where the n-grams start, the
// i-th n-gram of the pool (counted in n-grams) adds to result element indexes[i].
template <class Token>
struct NgramPool {
  std::vector<Token> tokens;
  std::vector<int64_t> counts, indexes;
  int64_t min_length = 1, max_length = 1, max_skip = 0;
};

// n-grams of one length as result elements by their tokens.
template <class Token>
using NgramTable = std::map<std::vector<Token>, std::vector<int64_t>>;

// Tables by length, index 0 for length 1. An empty list when the pool is inconsistent: starts out of order, a part that is
// no whole number of n-grams, fewer indexes than n-grams.
template <class Token>
std::vector<NgramTable<Token>> ngram_tables(const NgramPool<Token>& pool) {
  std::vector<NgramTable<Token>> out(pool.counts.size());
  const int64_t total = static_cast<int64_t>(pool.tokens.size());
  size_t number = 0;
  for (size_t k = 0; k < pool.counts.size(); ++k) {
    const int64_t length = static_cast<int64_t>(k) + 1, from = pool.counts[k], to = k + 1 < pool.counts.size() ? pool.counts[k + 1] : total;
    if (from < 0 || to < from || to > total || (to - from) % length != 0) return {};
    for (int64_t at = from; at < to; at += length, ++number) {
      if (number >= pool.indexes.size()) return {};
      out[k][std::vector<Token>(pool.tokens.begin() + at, pool.tokens.begin() + at + length)].push_back(pool.indexes[number]);
    }
  }
  return out;
}

// Adds one to counts[e] for each n-gram found in the row with result element e. The tokens of an n-gram stand the same
// distance apart, 1 to max_skip + 1; single tokens count once, whatever the distance.
template <class Token>
void count_ngrams(const NgramPool<Token>& pool, const std::vector<NgramTable<Token>>& tables, const Token* row, int64_t n, double* counts) {
  for (int64_t length = pool.min_length; length <= pool.max_length && length <= static_cast<int64_t>(tables.size()); ++length) {
    const NgramTable<Token>& table = tables[length - 1];
    if (table.empty()) continue;
    for (int64_t step = 1; step <= (length == 1 ? 1 : pool.max_skip + 1) && (length - 1) * step < n; ++step) {
      for (int64_t at = 0; at + (length - 1) * step < n; ++at) {
        std::vector<Token> gram;
        for (int64_t k = 0; k < length; ++k) gram.push_back(row[at + k * step]);
        auto it = table.find(gram);
        if (it == table.end()) continue;
        for (int64_t e : it->second) counts[e] += 1;
      }
    }
  }
}

}  // namespace weft
