// contract: a sum of products over the letters that the result lacks.
#include <algorithm>

#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/contract.h"

namespace weft {

DType accumulator_type(DType t) {
  if (t == DType::f64) return t;
  if (is_float(t)) return DType::f32;
  return is_int(t) && byte_size(t) == 1 ? DType::i32 : t;
}

int factor_value(ScalarProgram& p, int v, DType acc, bool tf32) { return tf32 ? p.add(Prim::round_tf32, v) : p.cast(v, acc); }

Result<int> rule_contract(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const ContractAttrs& at = op.attr<ContractAttrs>();
  size_t comma = at.spec.find(','), arrow = at.spec.find("->");
  if (comma == std::string::npos || arrow == std::string::npos) return r.refuse(op, "contract spec " + at.spec);
  std::string a = at.spec.substr(0, comma), b = at.spec.substr(comma + 1, arrow - comma - 1), c = at.spec.substr(arrow + 2);
  for (int i = 3; i < op.num_operands(); ++i)
    if (op.operands[i]) return r.refuse(op, "contract with scale operands");
  const Value *va = op.operands[0], *vb = op.operands[1];
  std::string ks;
  Shape extents;
  for (char l : a + b) {
    if (c.find(l) != std::string::npos || ks.find(l) != std::string::npos) continue;
    ks += l;
    Dim e = a.find(l) != std::string::npos ? va->type.shape[a.find(l)] : vb->type.shape[b.find(l)];
    if (e.is(1) && b.find(l) != std::string::npos) e = vb->type.shape[b.find(l)];
    extents.push_back(e);
  }
  DType acc = accumulator_type(va->type.dtype);
  auto at_letters = [&](const std::string& letters, const Value* v, const Index& row) {
    Index out;
    for (size_t k = 0; k < letters.size(); ++k) {
      if (v->type.shape[k].is(1)) {
        out.push_back(Dim(0));
        continue;
      }
      size_t p = c.find(letters[k]);
      if (p == std::string::npos) out.push_back(row[ks.find(letters[k])]);
      else out.push_back(broadcast_index({v->type.shape[k]}, {op.result()->type.shape[p]}, {idx[p]})[0]);
    }
    return out;
  };
  auto body = [&](const Index& row) -> Result<std::vector<int>> {
    TRY_ASSIGN(int x, r.emit(va, at_letters(a, va, row)));
    TRY_ASSIGN(int y, r.emit(vb, at_letters(b, vb, row)));
    ScalarProgram& p = r.program();
    return std::vector<int>{p.add(Prim::mul, factor_value(p, x, acc, at.tf32), factor_value(p, y, acc, at.tf32))};
  };
  int sum;
  if (ks.empty()) {
    TRY_ASSIGN(std::vector<int> v, body({}));
    sum = v[0];
  } else {
    TRY_ASSIGN(std::vector<int> v, r.reduce(SpecBuilder::key_of(op, "contract", idx), extents, SpecBuilder::sum(acc), body));
    sum = v[0];
  }
  S s = r.at(sum);
  if (at.alpha != 1.0) s = s * at.alpha;
  if (op.operand(2)) {
    const Value* bias = op.operands[2];
    TRY_ASSIGN(int x, r.emit(bias, broadcast_index(bias->type.shape, op.result()->type.shape, idx)));
    s = s + r.at(x).cast(s.type());
  }
  return s.cast(op.result()->type.dtype).id;
}

}  // namespace weft
