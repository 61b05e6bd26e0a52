#include "codegen/lower/spec_builder.h"

#include <algorithm>
#include <limits>

#include "ir/base/check.h"
#include "ir/base/text.h"
#include "ir/core/op_def.h"

namespace weft {

std::vector<Dim> dense_strides(const Shape& dims) {
  std::vector<Dim> s(dims.size(), Dim(1));
  for (int k = static_cast<int>(dims.size()) - 2; k >= 0; --k) s[k] = s[k + 1] * dims[k + 1];
  return s;
}

SpecBuilder::SpecBuilder(std::string title, std::function<Placement(const Value*)> place) : place_(std::move(place)) {
  spec_.title = std::move(title);
}

Error SpecBuilder::refuse(const Op& op, const std::string& why) const {
  Error e = unsupported(why);
  e.at_node(op.describe());
  return e;
}

std::string SpecBuilder::key_of(const Op& op, const char* what, const Index& idx) {
  return std::to_string(reinterpret_cast<uintptr_t>(&op)) + what + "[" + shape_text(idx) + "]";
}

int SpecBuilder::pointer(const Value* v) {
  auto it = std::find(pointers_.begin(), pointers_.end(), v);
  if (it == pointers_.end()) {
    pointers_.push_back(v);
    return static_cast<int>(pointers_.size()) - 1;
  }
  return static_cast<int>(it - pointers_.begin());
}

int SpecBuilder::add_input_slot(StageInput in, DType t) {
  for (size_t k = 0; k < cx_->inputs.size(); ++k)
    if (cx_->inputs[k] == in) return cx_->body.input(static_cast<int>(k), t);
  cx_->inputs.push_back(std::move(in));
  return cx_->body.input(static_cast<int>(cx_->inputs.size()) - 1, t);
}

int SpecBuilder::index_value(const Dim& d) {
  if (d.is_const()) return cx_->body.constant_int(DType::i64, d.value());
  for (const std::string& s : d.symbols())
    if (s[0] == '$') return indirect_value(d);
  StageInput in;
  in.kind = StageInput::Kind::index;
  in.dim = d;
  return add_input_slot(std::move(in), DType::i64);
}

// An expression over `$k` as instructions. Quotients are of non-negative numbers, as in index maps.
int SpecBuilder::indirect_value(const Dim& d) {
  ScalarProgram& p = cx_->body;
  int sum = -1;
  auto plus = [&](int x) { sum = sum < 0 ? x : p.add(Prim::add, sum, x); };
  for (const DimTerm& t : d.expr()->terms) {
    int product = -1;
    for (const DimAtom& a : t.atoms) {
      int x;
      if (a.fn == DimFn::symbol) {
        x = a.name[0] == '$' ? p.cast(std::stoi(a.name.substr(1)), DType::i64) : index_value(Dim::symbol(a.name));
      } else {
        int l = index_value(a.args[0]), r = index_value(a.args[1]);
        x = p.add(a.fn == DimFn::floordiv ? Prim::div : a.fn == DimFn::mod ? Prim::mod : a.fn == DimFn::min ? Prim::min : Prim::max, l, r);
      }
      product = product < 0 ? x : p.add(Prim::mul, product, x);
    }
    plus(t.coef == 1 ? product : p.add(Prim::mul, product, p.constant_int(DType::i64, t.coef)));
  }
  if (d.expr()->constant) plus(p.constant_int(DType::i64, d.expr()->constant));
  return sum;
}

// A scalar or vector constant whose elements are all equal is a literal. Weights (rank >= 2) are always loaded: that
// one happens to be a splat says nothing about the model.
static bool literal(const Value* v, ScalarInst* out) {
  const Constant* c = constant_of(v);
  if (!c || c->source == Constant::Source::strings || is_complex(c->dtype) || is_subbyte(c->dtype)) return false;
  if (c->numel() != 1 && !(c->source == Constant::Source::splat && c->dims.size() < 2)) return false;
  const std::byte* p = c->source == Constant::Source::splat ? c->bytes->data() : c->data();
  if (!p) return false;
  out->type = c->dtype;
  if (is_float(c->dtype)) {
    load_row_f64(c->dtype, p, &out->f, 1);
  } else if (is_unsigned_int(c->dtype)) {
    uint64_t u;
    load_row_u64(c->dtype, p, &u, 1);
    out->i = static_cast<int64_t>(u);
  } else {
    load_row_i64(c->dtype, p, &out->i, 1);
  }
  return true;
}

int SpecBuilder::load(const Value* v, const Index& idx) {
  ScalarInst lit;
  if (literal(v, &lit)) return is_float(lit.type) ? cx_->body.constant(lit.type, lit.f) : cx_->body.constant_int(lit.type, lit.i);
  Placement p = place_(v);
  CHECK(idx.size() == p.dims.size());
  SpecOperand o;
  o.name = v->name;
  o.ptr = pointer(v);
  o.dtype = p.dtype;
  o.index = idx;
  o.strides = p.strides;
  o.guards = guards_;
  o.fill = guards_.empty() ? 0 : guard_fill_;
  int k = -1;
  for (size_t j = 0; j < spec_.operands.size(); ++j)
    if (spec_.operands[j] == o) k = static_cast<int>(j);
  if (k < 0) {
    k = static_cast<int>(spec_.operands.size());
    spec_.operands.push_back(std::move(o));
  }
  StageInput in;
  in.operand = k;
  return add_input_slot(std::move(in), p.dtype);
}

static std::string guards_text(const std::vector<SpecGuard>& g, double fill) {
  std::string s;
  for (const SpecGuard& x : g) s += "|" + x.lo.to_string() + "<=" + x.expr.to_string() + "<" + x.hi.to_string();
  return g.empty() ? s : s + "?" + number_text(fill);
}

Result<int> SpecBuilder::emit(const Value* v, const Index& idx) {
  std::string key = std::to_string(reinterpret_cast<uintptr_t>(v)) + "[" + shape_text(idx) + "]" + guards_text(guards_, guard_fill_);
  if (auto it = cx_->memo.find(key); it != cx_->memo.end()) return it->second;
  int id;
  if (external_.count(v) || !v->def || constant_of(v)) {
    id = load(v, idx);
  } else {
    const Op& op = *v->def;
    Rule rule = rule_of(op.kind);
    if (!rule) return refuse(op, std::string("no kernel rule for ") + op_name(op.kind));
    auto r = rule(*this, op, v->index, idx);
    if (!r.ok()) return r;
    id = r.value();
    // A narrow float result keeps its own type so that consumers see what the graph says.
    if (program().type(id) != v->type.dtype) id = program().cast(id, v->type.dtype);
  }
  cx_->memo[key] = id;
  return id;
}

Result<int> SpecBuilder::guarded(std::vector<SpecGuard> guards, double fill, DType t, const std::function<Result<int>()>& inner) {
  // A guard that always holds is none.
  std::vector<SpecGuard> kept;
  for (SpecGuard& g : guards) {
    SymbolTable ranges;
    for (const SpecAxis& a : spec_.axes) {
      SymbolInfo info;
      info.hi = a.extent.is_const() ? a.extent.value() - 1 : INT64_MAX;
      ranges[a.name] = info;
    }
    if (known_ge(g.expr, g.lo, ranges) && known_ge(g.hi - Dim(1), g.expr, ranges)) continue;
    kept.push_back(std::move(g));
  }
  if (kept.empty()) return inner();
  bool outer = !guards_.empty();
  std::vector<SpecGuard> saved = guards_;
  double saved_fill = guard_fill_;
  guards_.insert(guards_.end(), kept.begin(), kept.end());
  // The select below decides; a single load of this very guard takes the fill itself.
  guard_fill_ = fill;
  size_t before = cx_->body.insts.size();
  auto r = inner();
  guards_ = std::move(saved);
  guard_fill_ = saved_fill;
  if (!r.ok()) return r;
  int v = program().cast(r.value(), t);
  bool plain_load = !outer && v == r.value() && cx_->body.insts[v].prim == Prim::input &&
                    cx_->inputs[cx_->body.insts[v].index].kind == StageInput::Kind::load &&
                    static_cast<size_t>(v) >= before;
  if (plain_load) return v;
  S ok{&program(), -1};
  for (const SpecGuard& g : kept) {
    S x = at(index_value(g.expr));
    S c = at(program().add(Prim::bit_and, le(at(index_value(g.lo)), x).id, lt(x, at(index_value(g.hi))).id));
    ok = ok.id < 0 ? c : at(program().add(Prim::bit_and, ok.id, c.id));
  }
  int f = is_float(t) ? program().constant(t, fill) : program().constant_int(t, static_cast<int64_t>(fill));
  return program().add(Prim::select, ok.id, v, f);
}

static SpecBuilder::Reduction fold(DType t, Prim p, double init) {
  SpecBuilder::Reduction r;
  int a = r.combine.input(0, t), b = r.combine.input(1, t);
  r.combine.outputs = {r.combine.add(p, a, b)};
  r.init = {init};
  return r;
}
SpecBuilder::Reduction SpecBuilder::sum(DType t) { return fold(t, Prim::add, 0); }
SpecBuilder::Reduction SpecBuilder::product(DType t) { return fold(t, Prim::mul, 1); }
SpecBuilder::Reduction SpecBuilder::maximum(DType t) {
  return fold(
      t, t == DType::b1 ? Prim::bit_or : Prim::max, t == DType::b1 ? 0 : -std::numeric_limits<double>::infinity());
}
SpecBuilder::Reduction SpecBuilder::minimum(DType t) {
  return fold(
      t, t == DType::b1 ? Prim::bit_and : Prim::min, t == DType::b1 ? 1 : std::numeric_limits<double>::infinity());
}

Result<Index> SpecBuilder::row_index(const Shape& extents) {
  Index idx;
  Shape have;
  for (const SpecAxis& a : spec_.axes)
    if (a.row) {
      idx.push_back(Dim::symbol(a.name));
      have.push_back(a.extent);
    }
  if (!idx.empty()) {
    if (have == extents) return idx;
    return unsupported("two reductions over different extents in one kernel");
  }
  for (size_t k = 0; k < extents.size(); ++k) {
    SpecAxis a;
    a.name = "r" + std::to_string(k);
    a.extent = extents[k];
    a.row = true;
    idx.push_back(Dim::symbol(a.name));
    spec_.axes.push_back(std::move(a));
  }
  return idx;
}

Result<int> SpecBuilder::stage(SpecStage::Kind kind, const Reduction& r, const std::function<Result<std::vector<int>>()>& body) {
  auto saved = std::move(cx_);
  auto saved_guards = std::move(guards_);
  guards_.clear();
  cx_ = std::make_unique<StageContext>();
  auto out = body();
  std::unique_ptr<StageContext> mine = std::move(cx_);
  cx_ = std::move(saved);
  guards_ = std::move(saved_guards);
  if (!out.ok()) return std::move(out.error());
  SpecStage st;
  st.kind = kind;
  st.inputs = std::move(mine->inputs);
  st.body = std::move(mine->body);
  st.body.outputs = out.value();
  st.combine = r.combine;
  st.init = r.init;
  CHECK(kind == SpecStage::Kind::attend || st.init.size() == st.body.outputs.size());
  spec_.stages.push_back(std::move(st));
  return static_cast<int>(spec_.stages.size()) - 1;
}

std::vector<int> SpecBuilder::results_of(int stage) {
  const SpecStage& st = spec_.stages[static_cast<size_t>(stage)];
  std::vector<int> ids;
  for (size_t k = 0; k < st.results(); ++k) {
    StageInput in;
    in.kind = StageInput::Kind::acc;
    in.stage = stage;
    in.output = static_cast<int>(k);
    ids.push_back(add_input_slot(std::move(in), st.result_type(k)));
  }
  return ids;
}

Result<std::vector<int>> SpecBuilder::reduce(const std::string& key, const Shape& extents, const Reduction& r,
    const std::function<Result<std::vector<int>>(const Index&)>& body) {
  auto it = stages_by_key_.find(key);
  if (it == stages_by_key_.end()) {
    TRY_ASSIGN(Index row, row_index(extents));
    TRY_ASSIGN(int made, stage(SpecStage::Kind::reduce, r, [&] { return body(row); }));
    it = stages_by_key_.emplace(key, made).first;
  }
  return results_of(it->second);
}

Result<int> SpecBuilder::inner_sum(const Dim& extent, DType t, const std::function<Result<int>(const Dim&)>& body) {
  SpecAxis a;
  a.name = "q" + std::to_string(spec_.axes.size());
  a.extent = extent;
  a.inner = true;
  Dim at = Dim::symbol(a.name);
  spec_.axes.push_back(std::move(a));
  TRY_ASSIGN(int made, stage(SpecStage::Kind::inner, sum(t), [&]() -> Result<std::vector<int>> {
    TRY_ASSIGN(int x, body(at));
    return std::vector<int>{x};
  }));
  return results_of(made)[0];
}

Result<int> SpecBuilder::attend(const std::string& key, const Dim& extent, const std::function<Result<std::vector<int>>(const Dim&)>& body) {
  auto it = stages_by_key_.find(key);
  if (it == stages_by_key_.end()) {
    // Beside another stage the scores would have to be made again for it.
    if (!spec_.stages.empty()) return unsupported("attention beside other reductions in one kernel");
    TRY_ASSIGN(Index row, row_index({extent}));
    TRY_ASSIGN(int made, stage(SpecStage::Kind::attend, {}, [&] { return body(row[0]); }));
    it = stages_by_key_.emplace(key, made).first;
  }
  return results_of(it->second)[0];
}

Result<std::vector<int>> SpecBuilder::reduce_along(const std::string& key, const Shape& dims,
    const std::vector<int>& axes, const Index& idx, const Reduction& r,
    const std::function<Result<std::vector<int>>(const Index&)>& body) {
  // Plain, full-extent output axes turn into row axes: then all stages and the final map walk the same row.
  std::vector<int> found;
  for (int a : axes) {
    int k = idx[a].is_symbol() ? spec_.axis(idx[a].symbol_name()) : -1;
    if (k >= 0 && spec_.axes[k].extent == dims[a]) found.push_back(k);
  }
  bool any_row = std::any_of(spec_.axes.begin(), spec_.axes.end(), [](const SpecAxis& a) { return a.row; });
  if (found.size() == axes.size()) {
    size_t rows = 0;
    for (const SpecAxis& a : spec_.axes) rows += a.row;
    bool same = any_row && rows == found.size() && std::all_of(found.begin(), found.end(), [&](int k) { return spec_.axes[k].row; });
    if (any_row && !same) return unsupported("two reductions over different axes in one kernel");
    for (int k : found) spec_.axes[k].row = true;
    Shape extents;
    for (const SpecAxis& a : spec_.axes)
      if (a.row) extents.push_back(a.extent);
    return reduce(key, extents, r, [&](const Index&) { return body(idx); });
  }
  Shape extents;
  for (int a : axes) extents.push_back(dims[a]);
  return reduce(key, extents, r, [&](const Index& row) {
    Index at = idx;
    for (size_t k = 0; k < axes.size(); ++k) at[axes[k]] = row[k];
    return body(at);
  });
}

Dim SpecBuilder::simplify(const Dim& d) const { return simplify_index(d, spec_.axes); }

Status SpecBuilder::add_output(const Value* v) {
  CHECK(v->type.is_ranked());
  const Shape& dims = v->type.shape;
  if (domain_.empty() && spec_.axes.empty()) {
    domain_ = dims;
    for (size_t k = 0; k < dims.size(); ++k) {
      SpecAxis a;
      a.name = "i" + std::to_string(k);
      a.extent = dims[k];
      spec_.axes.push_back(std::move(a));
    }
  }
  if (dims.size() != domain_.size()) return unsupported("outputs of different rank in one kernel");
  Index idx;
  bool row = false;
  cx_ = std::make_unique<StageContext>();
  for (size_t k = 0; k < dims.size(); ++k) {
    if (dims[k] == domain_[k]) idx.push_back(Dim::symbol("i" + std::to_string(k)));
    else if (dims[k].is(1)) idx.push_back(Dim(0));
    else return unsupported("outputs of different shape in one kernel");
  }
  TRY_ASSIGN(int id, emit(v, idx));
  Placement p = place_(v);
  SpecOperand o;
  o.name = v->name;
  o.ptr = pointer(v);
  o.dtype = p.dtype;
  o.write = true;
  o.index = idx;
  o.strides = p.strides;
  int operand = static_cast<int>(spec_.operands.size());
  spec_.operands.push_back(std::move(o));
  bool has_rows = false;
  for (const SpecAxis& a : spec_.axes)
    if (a.row) {
      has_rows = true;
      for (const Dim& d : idx) row = row || d.contains(a.name);
    }
  SpecStage st;
  st.kind = has_rows && !row ? SpecStage::Kind::map_row : SpecStage::Kind::map;
  st.inputs = std::move(cx_->inputs);
  st.body = std::move(cx_->body);
  st.body.outputs = {id};
  st.stores = {operand};
  cx_ = nullptr;
  // Outputs of one kind that read the same are computed together.
  if (!spec_.stages.empty() && spec_.stages.back().kind == st.kind && st.kind != SpecStage::Kind::reduce) {
    SpecStage& last = spec_.stages.back();
    std::vector<int> inputs;
    for (size_t k = 0; k < st.inputs.size(); ++k) {
      DType t = DType::i64;
      for (const ScalarInst& x : st.body.insts)
        if (x.prim == Prim::input && x.index == static_cast<int>(k)) t = x.type;
      auto it = std::find(last.inputs.begin(), last.inputs.end(), st.inputs[k]);
      int slot = static_cast<int>(it - last.inputs.begin());
      if (it == last.inputs.end()) last.inputs.push_back(st.inputs[k]);
      inputs.push_back(last.body.input(slot, t));
    }
    bool indirect = false;
    for (const StageInput& in : st.inputs)
      indirect = indirect || (in.kind == StageInput::Kind::load && is_indirect(spec_.operands[in.operand].linear()));
    if (!indirect) {
      last.body.outputs.push_back(last.body.splice(st.body, inputs)[0]);
      last.stores.push_back(operand);
      return {};
    }
  }
  spec_.stages.push_back(std::move(st));
  return {};
}

Result<KernelSpec> SpecBuilder::finish() {
  spec_.num_ptrs = static_cast<int>(pointers_.size());
  // Symbols become params n0, n1, ... in order of first use, so that equal kernels of different models are equal.
  std::map<std::string, std::string> names;
  auto rename = [&](Dim& d) {
    d = d.substitute([&](const std::string& s) -> std::optional<Dim> {
      if (s[0] == '$' || spec_.axis(s) >= 0) return std::nullopt;
      auto [it, fresh] = names.emplace(s, "n" + std::to_string(names.size()));
      if (fresh) symbols_.push_back(s);
      return Dim::symbol(it->second);
    });
  };
  for (SpecAxis& a : spec_.axes) rename(a.extent);
  for (SpecOperand& o : spec_.operands) {
    for (Dim& d : o.index) rename(d);
    for (Dim& d : o.strides) rename(d);
    rename(o.offset);
    for (SpecGuard& g : o.guards) {
      rename(g.expr);
      rename(g.lo);
      rename(g.hi);
    }
  }
  for (SpecStage& st : spec_.stages)
    for (StageInput& in : st.inputs) rename(in.dim);
  for (size_t k = 0; k < symbols_.size(); ++k) spec_.params.push_back("n" + std::to_string(k));
  return std::move(spec_);
}

}  // namespace weft
