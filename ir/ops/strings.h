// Attributes of ops over text.
#pragma once

#include "ir/core/attrs.h"

namespace weft {

// string_split(x) -> parts, counts. No delimiter: at runs of blanks. maxsplit negative: any number of cuts.
struct StringSplitAttrs : AttrsOf<StringSplitAttrs> {
  std::string delimiter;
  int64_t maxsplit = -1;
  void fields(FieldVisitor& v) {
    v.field("delimiter", delimiter);
    v.field("maxsplit", maxsplit);
  }
};
// string_normalizer(x[C] or [1,C]): drops stop words, then maps case: LOWER, UPPER or NONE. The locale has no effect.
struct StringNormalizerAttrs : AttrsOf<StringNormalizerAttrs> {
  std::string case_change_action = "NONE", locale;
  bool is_case_sensitive = false;
  std::vector<std::string> stopwords;
  void fields(FieldVisitor& v) {
    v.field("case_change_action", case_change_action);
    v.field("is_case_sensitive", is_case_sensitive);
    v.field("locale", locale);
    v.field("stopwords", stopwords);
  }
};
struct RegexFullMatchAttrs : AttrsOf<RegexFullMatchAttrs> {
  std::string pattern;
  void fields(FieldVisitor& v) { v.field("pattern", pattern); }
};
// tf_idf_vectorizer(x[C] or [N,C]): counts of the n-grams of a pool; mode TF, IDF or TFIDF.
struct TfIdfAttrs : AttrsOf<TfIdfAttrs> {
  int64_t max_gram_length = 0, min_gram_length = 0, max_skip_count = 0;
  std::string mode;
  std::vector<int64_t> ngram_counts, ngram_indexes, pool_int64s;
  std::vector<std::string> pool_strings;
  std::vector<double> weights;
  void fields(FieldVisitor& v) {
    v.field("max_gram_length", max_gram_length);
    v.field("max_skip_count", max_skip_count);
    v.field("min_gram_length", min_gram_length);
    v.field("mode", mode);
    v.field("ngram_counts", ngram_counts);
    v.field("ngram_indexes", ngram_indexes);
    v.field("pool_int64s", pool_int64s);
    v.field("pool_strings", pool_strings);
    v.field("weights", weights);
  }
};

}  // namespace weft
