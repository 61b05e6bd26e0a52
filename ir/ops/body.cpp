// Types across the border of a body: what goes in, what comes round, what gets out.
#include <algorithm>

#include "ir/ops/control.h"
#include "ir/ops/move.h"
#include "ir/ops/sequence.h"

namespace weft {

static bool same_but_layout(Type a, const Type& b) {
  a.layout = b.layout;
  return a == b;
}
static bool same_contents(const std::vector<Dim>* a, const std::vector<Dim>* b) { return a == b || (a && b && *a == *b); }

void BodyInputs::set(int i, const Type& type, std::shared_ptr<const std::vector<Dim>> known) {
  Value& v = *body_.inputs[i];
  // A changed layout alone does not infer again: that would forget the layouts which passes chose inside.
  changed_ = changed_ || !same_but_layout(v.type, type) || !same_contents(v.known.get(), known.get());
  v.type = type;
  v.known = std::move(known);
}
Status BodyInputs::infer(bool forget) {
  if (!changed_) return {};
  changed_ = false;
  if (forget)
    walk_nested(body_, [](Op* op) {
      for (auto& r : op->results) r->type = Type();
    });
  return infer_graph(body_);
}

template <class F>
static void each_dim(const Type& t, F&& f) {
  for (const Dim& d : t.shape) f(d);
  if (t.elem) each_dim(*t.elem, f);
}
std::set<std::string> shared_symbols(const Op& op) {
  std::set<std::string> out;
  auto add = [&](const Dim& d) {
    for (std::string& s : d.symbols()) out.insert(std::move(s));
  };
  for (const Value* v : op.operands) {
    if (!v) continue;
    each_dim(v->type, add);
    if (v->known)
      for (const Dim& d : *v->known) add(d);
  }
  return out;
}
Dim outer_dim(const Op& op, int result, int dim, std::set<std::string>& shared, InferContext& cx) {
  Dim d = data_dim(op, result, dim, cx);
  if (d.is_symbol()) shared.insert(d.symbol_name());
  return d;
}
static bool is_shared(const Dim& d, const std::set<std::string>& shared) {
  for (const std::string& s : d.symbols())
    if (!shared.count(s)) return false;
  return true;
}
static Dim other_varying(int) { return varying_dim(); }

static Result<Type> join_tensors(const Type& a, const Type& b, const OtherDim& other) {
  if (a.dtype != b.dtype) return invalid("types " + a.to_string() + " and " + b.to_string() + " have no common type");
  if (!a.ranked || !b.ranked || a.rank() != b.rank()) return Type::unranked(a.dtype);
  Type t = a;
  if (!(a.layout == b.layout)) t.layout = Layout();
  for (int d = 0; d < t.rank(); ++d)
    if (!(a.shape[d] == b.shape[d])) t.shape[d] = other(d);
  return t;
}
Result<Type> join_types(const Type& a, const Type& b, const OtherDim& other) {
  using K = Type::Kind;
  if (a.kind == K::tensor && b.kind == K::tensor) return join_tensors(a, b, other);
  // A value may stand where an optional is wanted.
  if (a.kind == K::optional || b.kind == K::optional) {
    TRY_ASSIGN(Type e, join_types(a.kind == K::optional ? *a.elem : a, b.kind == K::optional ? *b.elem : b, other));
    return Type::optional(std::move(e));
  }
  bool map = a.kind == K::map && b.kind == K::map && a.key == b.key;
  if (!map && !(a.kind == K::sequence && b.kind == K::sequence))
    return invalid("types " + a.to_string() + " and " + b.to_string() + " have no common type");
  if (is_empty_element(*a.elem) && b.elem->is_tensor() && a.elem->dtype == b.elem->dtype) return b;
  if (is_empty_element(*b.elem) && a.elem->is_tensor() && a.elem->dtype == b.elem->dtype) return a;
  TRY_ASSIGN(Type e, join_types(*a.elem, *b.elem, other_varying));
  return map ? Type::map(a.key, std::move(e)) : Type::sequence(std::move(e));
}

Type escape_type(const Type& t, const std::set<std::string>& shared, const OtherDim& other) {
  Type out = t;
  bool element = t.kind == Type::Kind::sequence || t.kind == Type::Kind::map;
  if (t.elem) out.elem = std::make_shared<const Type>(escape_type(*t.elem, shared, element ? OtherDim(other_varying) : other));
  if (is_empty_element(t)) return out;
  for (int d = 0; d < t.rank(); ++d)
    if (!is_varying(t.shape[d]) && !is_shared(t.shape[d], shared)) out.shape[d] = other(d);
  return out;
}

// --- values that go round -------------------------------------------------------------------------------------------

static bool is_private(const Dim& d, const std::set<std::string>& shared) {
  return d.is_symbol() && !is_varying(d) && !shared.count(d.symbol_name());
}

// How many dims of the body's inputs are exactly this symbol.
static int input_occurrences(const Graph& body, const Dim& symbol) {
  int n = 0;
  for (const auto& v : body.inputs) each_dim(v->type, [&](const Dim& d) { n += d == symbol; });
  return n;
}

Type iteration_type(const BodyInputs& inputs, int input, Type t, const std::function<bool(const Dim&)>& varies, const std::set<std::string>& shared,
                    InferContext& cx) {
  const Type& old = inputs.type(input);
  if (!t.is_ranked()) return t;
  for (int d = 0; d < t.rank(); ++d) {
    if (!varies(t.shape[d])) continue;
    bool keep = old.is_ranked() && old.rank() == t.rank() && is_private(old.shape[d], shared) && input_occurrences(inputs.body(), old.shape[d]) == 1;
    t.shape[d] = keep ? old.shape[d] : cx.fresh();
  }
  return t;
}

// The type with which a carried value starts: what it was inferred to be last time, where that still covers the operand.
static Type first_type(const BodyInputs& inputs, int input, const Type& given, const std::set<std::string>& shared) {
  const Type& old = inputs.type(input);
  if (!given.is_tensor() || !old.is_tensor() || old.dtype != given.dtype) return given;
  if (!old.ranked || !given.ranked) return Type::unranked(given.dtype);
  if (old.rank() != given.rank()) return given;
  Type t = given;
  for (int d = 0; d < t.rank(); ++d)
    if (is_private(old.shape[d], shared) && input_occurrences(inputs.body(), old.shape[d]) == 1) t.shape[d] = old.shape[d];
  return t;
}

static Result<Type> widened(const Type& in, const Type& out, const std::set<std::string>& shared, InferContext& cx) {
  const Type* value = &in;
  while (value->kind == Type::Kind::optional) value = value->elem.get();
  OtherDim other = [&](int d) { return value->is_ranked() && is_private(value->shape[d], shared) ? value->shape[d] : cx.fresh(); };
  TRY_ASSIGN(Type t, join_types(in, out, other));
  if (t.is_tensor()) t.layout = in.layout;
  return t;
}

Status infer_carried(const Op& op, BodyInputs& inputs, const Carried& c, InferContext& cx) {
  Graph& body = inputs.body();
  std::set<std::string> shared = shared_symbols(op);
  for (int k = 0; k < c.count; ++k) {
    const Value* v = op.operand(c.first_operand + k);
    if (!v) return invalid("carried value " + std::to_string(k) + " is absent");
    if (!body.outputs[c.first_output + k]) return invalid("the body does not return carried value " + std::to_string(k));
    inputs.set(c.first_input + k, first_type(inputs, c.first_input + k, v->type, shared));
  }
  TRY(inputs.infer(true));
  for (bool changed = true; changed;) {
    changed = false;
    for (int k = 0; k < c.count; ++k) {
      Type in = inputs.type(c.first_input + k);
      auto wide = widened(in, body.outputs[c.first_output + k]->type, shared, cx);
      if (!wide.ok()) return wide.error().prefix("carried value " + std::to_string(k) + ": ");
      if (same_but_layout(in, *wide)) continue;
      inputs.set(c.first_input + k, *wide);
      changed = true;
    }
    TRY(inputs.infer(true));
  }
  return {};
}

Status need_body(const Op& op, size_t graphs) {
  if (op.graphs.size() == graphs) return {};
  return invalid(std::string(op_name(op.kind)) + " has " + std::to_string(op.graphs.size()) + " bodies, needs " + std::to_string(graphs));
}

// --- eval -----------------------------------------------------------------------------------------------------------

Result<Tensor> stack_slices(const std::vector<Tensor>& slices, int axis, bool reversed, DType t, const std::vector<int64_t>& empty) {
  std::vector<int64_t> dims = slices.empty() ? empty : slices[0].dims;
  int64_t n = static_cast<int64_t>(slices.size()), inner = 1;
  for (size_t d = axis; d < dims.size(); ++d) inner *= dims[d];
  dims.insert(dims.begin() + axis, n);
  TRY_ASSIGN(Tensor out, Tensor::make(t, dims));
  for (int64_t k = 0; k < n; ++k) {
    const Tensor& s = slices[k];
    if (s.dims != slices[0].dims || s.dtype != t) return invalid("a scan output changes its dims or type between iterations");
    int64_t outer = inner ? s.numel() / inner : 0;
    copy_window(out, {(reversed ? n - 1 - k : k) * inner, {n * inner, 1}}, s, {0, {inner, 1}}, {outer, inner});
  }
  return out;
}
SymbolValues symbol_values(const Op& op, const std::vector<const HostValue*>& in) {
  SymbolValues values;
  for (size_t i = 0; i < in.size(); ++i) {
    const Value* v = op.operand(static_cast<int>(i));
    if (!v || !v->type.is_ranked() || !in[i] || in[i]->kind != HostValue::Kind::tensor) continue;
    const Tensor& t = in[i]->tensor;
    for (int d = 0; d < v->type.rank() && d < t.rank(); ++d)
      if (v->type.shape[d].is_symbol()) values.emplace(v->type.shape[d].symbol_name(), t.dims[d]);
  }
  return values;
}
std::vector<int64_t> dims_under(const Type& t, const SymbolValues& values) {
  std::vector<int64_t> dims;
  for (const Dim& d : t.shape) dims.push_back(std::max<int64_t>(d.eval(values).value_or(0), 0));
  return dims;
}

Cost body_cost(const Graph& body) {
  Cost c;
  for (const auto& op : body.ops) {
    Cost one = op_cost(*op);
    c.flops += one.flops;
    c.bytes += one.bytes;
  }
  return c;
}

}  // namespace weft
