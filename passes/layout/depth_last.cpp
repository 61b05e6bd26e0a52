// depth-last: tensor cores read elements of 8 bits along the depth of a product alone. Weights of such a product are laid out
// accordingly once, in the prepare graph; what is computed in a run stays as it is.
#include "ir/ops/contract.h"
#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static bool turn_weights(Op& op, const Target& target) {
  if (op.kind != OpKind::contract || op.operand(3) || op.operand(4)) return false;
  const DType t = op.operands[0]->type.dtype;
  if (bit_width(t) != 8 || !target.gpu.multiplies(t, op.operands[1]->type.dtype)) return false;
  auto spec = parse_contract(op.attr<ContractAttrs>().spec);
  if (!spec.ok()) return false;
  Builder b = build_before(op);
  std::vector<Value*> operands = op.operands;
  bool turned = false;
  for (int i : {0, 1}) {
    std::string& letters = i == 0 ? spec->a : spec->b;
    if (letters.empty() || spec->sum.find(letters.back()) != std::string::npos || !depends_on_constants(operands[static_cast<size_t>(i)])) continue;
    TransposeAttrs order;
    std::string turned_letters;
    for (const bool summed : {false, true})
      for (size_t d = 0; d < letters.size(); ++d)
        if ((spec->sum.find(letters[d]) != std::string::npos) == summed) {
          order.perm.push_back(static_cast<int64_t>(d));
          turned_letters += letters[d];
        }
    operands[static_cast<size_t>(i)] = b.op(OpKind::transpose, {operands[static_cast<size_t>(i)]}, order);
    letters = turned_letters;
    turned = true;
  }
  if (!turned) return false;
  ContractAttrs a = op.attr<ContractAttrs>();
  a.spec = spec->a + "," + spec->b + "->" + spec->out;
  Value* y = try_build(b, OpKind::contract, std::move(operands), attrs_of(a));
  return y && replace_op(op, y);
}

Result<bool> pass_depth_last(Module& m, PassContext& cx) {
  if (cx.target.backend != Backend::cuda) return false;
  return rewrite_ops(m, [&](Op& op) { return turn_weights(op, cx.target); });
}

}  // namespace weft
