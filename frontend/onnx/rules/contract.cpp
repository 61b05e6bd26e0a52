// Matrix products become `contract`.
#include "ir/ops/contract.h"

#include <algorithm>

#include "frontend/onnx/rules/rules.h"

namespace weft {

namespace {

// The letters of one operand: batch dims, then `row` and `column`; a single dim is `sum`.
std::string term(int rank, const std::string& batch, std::string row, std::string column, const std::string& sum, bool trans, bool trans_batch) {
  if (rank == 1) return sum;
  if (trans) std::swap(row, column);
  std::string own = batch.substr(batch.size() - (rank - 2));
  return trans_batch ? row + own + column : own + row + column;
}

}  // namespace

Value* matmul(Node& n, Value* a, Value* b, const Matmul& m) {
  static const std::string letters = "abcdefghijlopqrstuvwxyzABCDEFGHIJLOPQRSTUVWXYZ";
  int ra = n.rank(a), rb = n.rank(b);
  if (n.failed()) return nullptr;
  size_t batch_dims = std::max({ra, rb, 2}) - 2;
  if (ra < 1 || rb < 1) n.fail(invalid("a matrix product of a scalar"));
  else if (batch_dims > letters.size()) n.fail(unsupported("a matrix product of tensors of rank " + std::to_string(batch_dims + 2)));
  if (n.failed()) return nullptr;
  std::string batch = letters.substr(0, batch_dims);
  ContractAttrs attrs;
  attrs.alpha = m.alpha;
  attrs.spec = term(ra, batch, "m", "k", "k", m.trans_a, m.trans_batch_a) + "," + term(rb, batch, "k", "n", "k", m.trans_b, m.trans_batch_b) +
               "->" + batch + (ra == 1 ? "" : "m") + (rb == 1 ? "" : "n");
  std::vector<Value*> operands{a, b};
  if (m.bias) operands.push_back(m.bias);
  return n.op(OpKind::contract, operands, attrs);
}

Values rule_matmul(Node& n) { return n.done({matmul(n, n.need(0), n.need(1))}); }

static Value* gemm(Node& n) {
  if (n.version < 7) n.ignore("broadcast");
  Value *a = n.need(0), *b = n.need(1), *c = n.in(2);
  Matmul m;
  m.trans_a = n.int_attr("transA", 0) != 0;
  m.trans_b = n.int_attr("transB", 0) != 0;
  m.alpha = n.float_attr("alpha", 1);
  double beta = n.float_attr("beta", 1);
  if (n.rank(a) != 2 || n.rank(b) != 2) n.fail(invalid("Gemm takes matrices"));
  if (c && beta != 0) m.bias = beta == 1 ? c : n.mul(c, n.scalar(n.dtype(c), beta));
  return matmul(n, a, b, m);
}

Values rule_gemm(Node& n) { return n.done({gemm(n)}); }

Values rule_fused_gemm(Node& n) { return n.done({activated(n, gemm(n))}); }

Values rule_fused_matmul(Node& n) {
  Matmul m;
  m.trans_a = n.int_attr("transA", 0) != 0;
  m.trans_b = n.int_attr("transB", 0) != 0;
  m.trans_batch_a = n.int_attr("transBatchA", 0) != 0;
  m.trans_batch_b = n.int_attr("transBatchB", 0) != 0;
  m.alpha = n.float_attr("alpha", 1);
  return n.done({matmul(n, n.need(0), n.need(1), m)});
}

}  // namespace weft
