#include "ir/ops/common.h"

#include <algorithm>

namespace weft {

Status need_tensor(const Op& op, int i) {
  const Value* v = op.operand(i);
  if (!v) return invalid("operand " + std::to_string(i) + " is absent");
  if (!v->type.is_tensor()) {
    Error e = invalid("operand " + std::to_string(i) + " must be a tensor, is " + v->type.to_string());
    e.at_tensor(v->name);
    return e;
  }
  if (!v->type.ranked) {
    Error e = unsupported("operand " + std::to_string(i) + " has no known rank");
    e.at_tensor(v->name);
    return e;
  }
  return {};
}

Result<Shape> broadcast_shapes(const std::vector<const Shape*>& shapes, Facts& facts, std::string_view what) {
  size_t rank = 0;
  for (auto* s : shapes) rank = std::max(rank, s->size());
  Shape out(rank, Dim(1));
  for (auto* s : shapes) {
    for (size_t k = 0; k < s->size(); ++k) {
      const Dim& d = (*s)[k];
      Dim& o = out[rank - s->size() + k];
      if (o.is(1) || (d.is_const() && !d.is(1) && !o.is_const())) o = d;
    }
  }
  for (auto* s : shapes)
    for (size_t k = 0; k < s->size(); ++k) TRY(facts.broadcasts((*s)[k], out[rank - s->size() + k], what));
  return out;
}
Result<std::vector<int64_t>> broadcast_dims(const std::vector<const std::vector<int64_t>*>& dims) {
  std::vector<Shape> s;
  for (auto* d : dims) s.push_back(to_shape(*d));
  std::vector<const Shape*> p;
  for (auto& x : s) p.push_back(&x);
  Facts facts;
  TRY_ASSIGN(Shape out, broadcast_shapes(p, facts, "shapes"));
  return static_dims(out);
}
std::vector<int64_t> broadcast_strides(const std::vector<int64_t>& dims, const std::vector<int64_t>& out) {
  std::vector<int64_t> dense = dense_strides(dims), s(out.size(), 0);
  for (size_t k = 0; k < dims.size(); ++k)
    if (dims[k] != 1) s[out.size() - dims.size() + k] = dense[k];
  return s;
}
Result<int> normalize_axis(int64_t axis, int rank) {
  int64_t a = axis < 0 ? axis + rank : axis;
  if (a < 0 || a >= rank)
    return invalid("axis " + std::to_string(axis) + " is outside [-" + std::to_string(rank) + ", " + std::to_string(rank) + ")");
  return static_cast<int>(a);
}
Result<std::vector<int>> normalize_axes(std::vector<int64_t> axes, int rank, bool all_if_empty) {
  std::vector<int> out;
  if (axes.empty() && all_if_empty)
    for (int i = 0; i < rank; ++i) out.push_back(i);
  for (int64_t a : axes) {
    TRY_ASSIGN(int n, normalize_axis(a, rank));
    out.push_back(n);
  }
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) return invalid("an axis is given twice");
  return out;
}
Status infer_same(Op& op, InferContext&) {
  set_type(op, 0, type_of(op, 0));
  return {};
}

// Symbolic value of an integer body, or nullopt where a primitive has none. Comparisons are known where the ranges of the
// symbols decide them: no dim is -1.
static std::optional<Dim> symbolic(const ScalarProgram& p, int id, const std::vector<Dim>& in, const SymbolTable& symbols) {
  const ScalarInst& x = p.insts[id];
  auto arg = [&](int k) { return symbolic(p, x.args[k], in, symbols); };
  if (x.prim == Prim::input) return in[x.index];
  if (x.prim == Prim::constant && is_int(x.type)) return Dim(x.i);
  if (!is_int(x.type) && x.type != DType::b1) return std::nullopt;
  int n = prim_arity(x.prim);
  bool to_bool = x.type == DType::b1;
  if (n == 1 && (x.prim == Prim::cast || (x.prim == Prim::bit_not && to_bool))) {
    auto a = arg(0);
    if (x.prim == Prim::cast && !(is_int(p.type(x.args[0])) && to_bool)) return a;
    if (!a || !a->is_const()) return std::nullopt;
    return Dim((a->value() != 0) == (x.prim == Prim::cast));
  }
  if (n == 1 && x.prim == Prim::neg) {
    auto a = arg(0);
    return a ? std::optional<Dim>(Dim(0) - *a) : std::nullopt;
  }
  if (x.prim == Prim::select) {
    auto c = arg(0), a = arg(1), b = arg(2);
    if (c && c->is_const()) return c->value() ? a : b;
    return a && b && *a == *b ? a : std::nullopt;
  }
  if (n != 2) return std::nullopt;
  auto a = arg(0), b = arg(1);
  if (!a || !b) return std::nullopt;
  switch (x.prim) {
    case Prim::add: return *a + *b;
    case Prim::sub: return *a - *b;
    case Prim::mul: return *a * *b;
    case Prim::min: return min(*a, *b);
    case Prim::max: return max(*a, *b);
    // Dims are non-negative, where truncation is flooring.
    case Prim::div:
      if (a->is_const() && b->is_const() && !b->is(0) && !b->is(-1)) return Dim(a->value() / b->value());
      return b->is(0) ? std::nullopt : std::optional<Dim>(floordiv(*a, *b));
    case Prim::mod: return b->is(0) ? std::nullopt : std::optional<Dim>(mod(*a, *b));
    case Prim::eq:
    case Prim::ne: {
      Interval r = range_of(*a - *b, symbols);
      if (r.lo > 0 || r.hi < 0) return Dim(x.prim == Prim::ne);
      return r.lo == r.hi ? std::optional<Dim>(Dim(x.prim == Prim::eq)) : std::nullopt;
    }
    case Prim::lt:
    case Prim::le: {
      Interval r = range_of(*a - *b, symbols);
      const int64_t most = x.prim == Prim::lt ? -1 : 0;
      if (r.hi <= most) return Dim(1);
      return r.lo > most ? std::optional<Dim>(Dim(0)) : std::nullopt;
    }
    case Prim::bit_and:
    case Prim::bit_or:
      if (!to_bool || !a->is_const() || !b->is_const()) return std::nullopt;
      return x.prim == Prim::bit_and ? min(*a, *b) : max(*a, *b);
    default: return std::nullopt;
  }
}

// Known contents of operand i as a vector; small constants count.
static std::optional<std::vector<Dim>> contents(const Value* v) {
  if (const std::vector<Dim>* k = known_of(v)) return *k;
  return std::nullopt;
}

static void propagate_known(Op& op, const ScalarProgram& body, const Shape& shape, const SymbolTable& symbols) {
  DType t = op.results[0]->type.dtype;
  if (op.num_results() != 1 || !(is_int(t) || t == DType::b1) || !is_static(shape)) return;
  std::vector<int64_t> dims = static_dims(shape);
  int64_t n = numel(shape).value();
  if (n > 1024 || dims.size() > 1) return;
  std::vector<std::vector<Dim>> in;
  for (Value* v : op.operands) {
    auto c = contents(v);
    if (!c || c->empty() || (static_cast<int64_t>(c->size()) != n && c->size() != 1)) return;
    in.push_back(std::move(*c));
  }
  std::vector<Dim> result;
  for (int64_t k = 0; k < n; ++k) {
    std::vector<Dim> row;
    for (auto& v : in) row.push_back(v[v.size() == 1 ? 0 : k]);
    auto d = symbolic(body, body.outputs[0], row, symbols);
    if (!d || d->is_overflow()) return;
    result.push_back(std::move(*d));
  }
  set_known(op, 0, std::move(result));
}

Status infer_pointwise(Op& op, InferContext& cx) {
  // A body is as deep as it has inputs, and is walked recursively.
  constexpr int kMaxPointwiseOperands = 1024;
  if (op.num_operands() > kMaxPointwiseOperands)
    return resources("an elementwise op of " + std::to_string(op.num_operands()) + " operands; the limit is " +
                     std::to_string(kMaxPointwiseOperands));
  std::vector<const Shape*> shapes;
  bool ranked = true;
  for (int i = 0; i < op.num_operands(); ++i) {
    if (!op.operands[i]) continue;
    if (!type_of(op, i).is_tensor()) TRY(need_tensor(op, i));
    ranked = ranked && type_of(op, i).ranked;
    shapes.push_back(&type_of(op, i).shape);
  }
  ScalarProgram body;
  op_def(op).scalar(op, body);
  TRY(body.verify());
  if (op.num_results() > static_cast<int>(body.outputs.size()))
    return invalid(op.describe() + " has " + std::to_string(op.num_results()) + " results");
  if (!ranked) {
    for (int r = 0; r < op.num_results(); ++r) set_type(op, r, Type::unranked(body.type(body.outputs[r])));
    return {};
  }
  TRY_ASSIGN(Shape shape, broadcast_shapes(shapes, cx, op_name(op.kind) + std::string("'s operands")));
  for (int r = 0; r < op.num_results(); ++r) set_type(op, r, Type::tensor(body.type(body.outputs[r]), shape));
  propagate_known(op, body, shape, cx.module.symbols);
  return {};
}

Result<std::vector<HostValue>> eval_pointwise(EvalCall& call) {
  ScalarProgram body;
  op_def(call.op).scalar(call.op, body);
  std::vector<const Tensor*> in;
  std::vector<const std::vector<int64_t>*> shapes;
  for (size_t i = 0; i < call.in.size(); ++i) {
    in.push_back(call.has(static_cast<int>(i)) ? &call.tensor(static_cast<int>(i)) : nullptr);
    if (in.back()) shapes.push_back(&in.back()->dims);
  }
  TRY_ASSIGN(std::vector<int64_t> dims, broadcast_dims(shapes));
  std::vector<DType> types;
  for (int o : body.outputs) types.push_back(body.type(o));
  TRY_ASSIGN(std::vector<Tensor> out, evaluate_scalar(body, in, dims, types));
  return std::vector<HostValue>(out.begin(), out.end());
}

}  // namespace weft
