#include "ir/expand/emit.h"

#include "ir/ops/contract.h"
#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"

namespace weft {

Op* Emit::create(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs, int results, std::vector<std::unique_ptr<Graph>> graphs) {
  if (error_) return nullptr;
  auto r = b.create(kind, std::move(operands), std::move(attrs), results, std::move(graphs));
  if (!r.ok()) {
    fail(std::move(r.error()));
    return nullptr;
  }
  return *r;
}
Value* Emit::op(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs) {
  Op* o = create(kind, std::move(operands), std::move(attrs));
  return o ? o->result() : nullptr;
}

Value* Emit::cast(Value* v, DType t) {
  if (!v || v->type.dtype == t) return v;
  CastAttrs a;
  a.to = t;
  return op(OpKind::cast, {v}, a);
}
Value* Emit::transpose(Value* v, std::vector<int64_t> perm) {
  TransposeAttrs a;
  a.perm = std::move(perm);
  return op(OpKind::transpose, {v}, a);
}
Value* Emit::dims(const std::vector<DimPart>& parts) {
  std::vector<Value*> out;
  for (const DimPart& p : parts) {
    if (!p.of) {
      out.push_back(ints({p.factor}));
      continue;
    }
    Value* d = op(OpKind::gather, {op(OpKind::shape, {p.of}), ints({p.axis})}, GatherAttrs());
    out.push_back(p.factor == 1 ? d : mul(d, ints({p.factor})));
  }
  return concat(std::move(out), 0);
}
Value* Emit::dim(Value* v, int axis) { return squeeze(dims({DimPart(v, axis)}), {0}); }
Value* Emit::reshape(Value* v, const std::vector<DimPart>& parts) { return op(OpKind::reshape, {v, parts.empty() ? ints({}) : dims(parts)}); }
Value* Emit::unsqueeze(Value* v, const std::vector<int64_t>& axes) { return op(OpKind::unsqueeze, {v, ints(axes)}); }
Value* Emit::squeeze(Value* v, const std::vector<int64_t>& axes) { return op(OpKind::squeeze, {v, ints(axes)}); }
Value* Emit::concat(std::vector<Value*> parts, int64_t axis) {
  if (parts.size() == 1) return parts[0];
  ConcatAttrs a;
  a.axis = axis;
  return op(OpKind::concat, std::move(parts), a);
}
Value* Emit::slice(Value* v, int64_t axis, int64_t start, int64_t end) { return op(OpKind::slice, {v, ints({start}), ints({end}), ints({axis})}); }
Value* Emit::slice_from(Value* v, int64_t axis, Value* start) { return op(OpKind::slice, {v, start, ints({INT64_MAX}), ints({axis})}); }
Value* Emit::contract(const std::string& spec, Value* x, Value* y, DType out, double alpha, Value* bias) {
  if (error_ || !x || !y) return nullptr;
  if (x->type.dtype != y->type.dtype) {
    x = cast(x, out);
    y = cast(y, out);
  }
  ContractAttrs a;
  a.spec = spec;
  a.alpha = alpha;
  a.has_out_type = out != x->type.dtype;
  a.out_type = out;
  std::vector<Value*> operands{x, y};
  if (bias) operands.push_back(bias);
  return op(OpKind::contract, std::move(operands), a);
}
Value* Emit::iota(Value* count) { return op(OpKind::range, {scalar(DType::i64, 0), cast(count, DType::i64), scalar(DType::i64, 1)}); }
Value* Emit::constant(DType t, std::vector<int64_t> dims, const std::vector<double>& v) {
  if (error_) return nullptr;
  auto tensor = store_all(t, std::move(dims), v);
  if (!tensor.ok()) {
    fail(std::move(tensor.error()));
    return nullptr;
  }
  std::vector<std::byte> bytes(tensor->data.get(), tensor->data.get() + tensor->bytes());
  return b.constant(b.module().constants.add_bytes("", t, tensor->dims, std::move(bytes)));
}

}  // namespace weft
