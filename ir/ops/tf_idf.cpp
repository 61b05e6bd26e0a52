// tf_idf_vectorizer.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/strings.h"
#include "kernels/host/tfidf.h"

namespace weft {

static Result<int64_t> vector_size(const TfIdfAttrs& a) {
  if (a.ngram_indexes.empty()) return invalid("tf_idf_vectorizer has no ngram_indexes");
  for (int64_t i : a.ngram_indexes)
    if (i < 0 || i > 1 << 30) return invalid("tf_idf_vectorizer has the ngram index " + std::to_string(i));
  return *std::max_element(a.ngram_indexes.begin(), a.ngram_indexes.end()) + 1;
}
template <class Token>
static NgramPool<Token> pool_of(const TfIdfAttrs& a, const std::vector<Token>& tokens) {
  return {tokens, a.ngram_counts, a.ngram_indexes, a.min_gram_length, a.max_gram_length, a.max_skip_count};
}

static Status infer_tf_idf(Op& op, InferContext&) {
  const TfIdfAttrs& a = op.attr<TfIdfAttrs>();
  const Type& x = type_of(op, 0);
  if (a.mode != "TF" && a.mode != "IDF" && a.mode != "TFIDF")
    return invalid("tf_idf_vectorizer's mode must be \"TF\", \"IDF\" or \"TFIDF\", is " + quote(a.mode));
  if (!x.is_tensor() || (x.dtype != DType::str && x.dtype != DType::i32 && x.dtype != DType::i64))
    return invalid("tf_idf_vectorizer takes strings, i32 or i64, got " + x.to_string());
  if ((x.dtype == DType::str ? a.pool_strings.empty() : a.pool_int64s.empty()) || (!a.pool_strings.empty() && !a.pool_int64s.empty()))
    return invalid("tf_idf_vectorizer of " + x.to_string() + " needs the pool of that type and no other");
  if (a.min_gram_length < 1 || a.max_gram_length < a.min_gram_length || a.max_skip_count < 0)
    return invalid("tf_idf_vectorizer has bad gram lengths or skips");
  if (!a.weights.empty() && a.weights.size() != a.ngram_indexes.size())
    return invalid("tf_idf_vectorizer has " + std::to_string(a.weights.size()) + " weights for " +
                   std::to_string(a.ngram_indexes.size()) + " n-grams");
  if (x.dtype == DType::str ? ngram_tables(pool_of(a, a.pool_strings)).empty() : ngram_tables(pool_of(a, a.pool_int64s)).empty())
    return invalid("tf_idf_vectorizer's pool, ngram_counts and ngram_indexes do not fit together");
  TRY_ASSIGN(int64_t size, vector_size(a));
  if (!x.ranked) {
    set_type(op, 0, Type::unranked(DType::f32));
    return {};
  }
  if (x.rank() > 2) return invalid("tf_idf_vectorizer takes [c] or [n, c], got " + x.to_string());
  Shape shape{Dim(size)};
  if (x.rank() == 2) shape.insert(shape.begin(), x.shape[0]);
  set_type(op, 0, Type::tensor(DType::f32, std::move(shape)));
  return {};
}

template <class Token>
static void count_rows(const NgramPool<Token>& pool, const Token* tokens, int64_t rows, int64_t n, int64_t size, std::vector<double>& counts) {
  std::vector<NgramTable<Token>> tables = ngram_tables(pool);
  for (int64_t r = 0; r < rows; ++r) count_ngrams(pool, tables, tokens + r * n, n, counts.data() + r * size);
}
static Result<std::vector<HostValue>> eval_tf_idf(EvalCall& call) {
  const TfIdfAttrs& a = call.attr<TfIdfAttrs>();
  const Tensor& x = call.tensor(0);
  if (x.rank() > 2) return invalid("tf_idf_vectorizer takes [c] or [n, c]");
  TRY_ASSIGN(int64_t size, vector_size(a));
  int64_t rows = x.rank() == 2 ? x.dims[0] : 1, n = x.rank() == 0 ? 1 : x.dims.back();
  std::vector<int64_t> dims{size};
  if (x.rank() == 2) dims.insert(dims.begin(), rows);
  TRY_ASSIGN(Tensor out, Tensor::make(DType::f32, dims));
  std::vector<double> v(static_cast<size_t>(out.numel()), 0.0);
  if (x.dtype == DType::str) count_rows(pool_of(a, a.pool_strings), x.strings->data(), rows, n, size, v);
  else count_rows(pool_of(a, a.pool_int64s), load_all<int64_t>(x).data(), rows, n, size, v);
  // weights[i] belongs to the i-th n-gram of the pool.
  std::vector<double> weight(static_cast<size_t>(size), 1.0);
  for (size_t i = 0; i < a.weights.size(); ++i) weight[a.ngram_indexes[i]] = a.weights[i];
  for (size_t k = 0; k < v.size() && a.mode != "TF"; ++k) v[k] = (a.mode == "IDF" ? v[k] > 0 : v[k]) * weight[k % weight.size()];
  store_row(out, 0, v.data(), out.numel());
  return one(std::move(out));
}

OpDef def_tf_idf_vectorizer() {
  return {.onnx = "TfIdfVectorizer", .family = Family::sequence, .traits = kHostOnly, .min_operands = 1, .max_operands = 1,
          .attrs = make_attrs<TfIdfAttrs>, .infer = infer_tf_idf, .eval = eval_tf_idf};
}

}  // namespace weft
