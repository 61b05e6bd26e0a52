// Copies of elements of any size, and the rules of infer that movement ops share.
#include "ir/ops/move.h"

#include <algorithm>

namespace weft {

// --- copies ---------------------------------------------------------------------------------------------------------

namespace {

template <int n>
struct Cell {
  std::byte bytes[n];
};

template <class E>
E* cells(const Tensor& t) { return reinterpret_cast<E*>(t.data.get()); }
template <>
std::string* cells<std::string>(const Tensor& t) { return t.strings->data(); }

// f(E{}) with the cell type of a dtype.
template <class F>
void with_cell(DType t, F&& f) {
  if (t == DType::str) return f(std::string());
  switch (byte_size(t)) {
    case 1: return f(Cell<1>{});
    case 2: return f(Cell<2>{});
    case 4: return f(Cell<4>{});
    case 8: return f(Cell<8>{});
    case 16: return f(Cell<16>{});
    default: UNREACHABLE();
  }
}

struct CopyLoop {
  int64_t n, to, from;
};

// Loops without dims of 1, neighbours merged where one stride continues the other; outermost first.
std::vector<CopyLoop> loops_of(const std::vector<int64_t>& dims, const Window& to, const Window& from) {
  std::vector<CopyLoop> out;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    CopyLoop l{dims[d], to.strides[d], from.strides[d]};
    if (!out.empty() && out.back().to == l.to * l.n && out.back().from == l.from * l.n) l.n *= out.back().n;
    else out.emplace_back();
    out.back() = l;
  }
  if (out.empty()) out.push_back({1, 1, 1});
  return out;
}

template <class E>
void copy_loops(E* dst, const E* src, const std::vector<CopyLoop>& loops, size_t depth) {
  const CopyLoop& l = loops[depth];
  if (depth + 1 < loops.size()) {
    for (int64_t k = 0; k < l.n; ++k) copy_loops(dst + k * l.to, src + k * l.from, loops, depth + 1);
  } else if (l.to == 1 && l.from == 1) {
    std::copy(src, src + l.n, dst);
  } else {
    for (int64_t k = 0; k < l.n; ++k) dst[k * l.to] = src[k * l.from];
  }
}

}  // namespace

void copy_window(Tensor& dst, const Window& to, const Tensor& src, const Window& from, const std::vector<int64_t>& dims) {
  CHECK(dst.dtype == src.dtype && to.strides.size() == dims.size() && from.strides.size() == dims.size());
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return;
  std::vector<CopyLoop> loops = loops_of(dims, to, from);
  with_cell(dst.dtype, [&](auto cell) {
    using E = decltype(cell);
    copy_loops<E>(cells<E>(dst) + to.offset, cells<E>(src) + from.offset, loops, 0);
  });
}
Result<Tensor> read_window(const Tensor& src, const Window& from, std::vector<int64_t> dims) {
  TRY_ASSIGN(Tensor out, Tensor::make(src.dtype, std::move(dims)));
  copy_window(out, {0, dense_strides(out.dims)}, src, from, out.dims);
  return out;
}
void copy_run(Tensor& dst, int64_t to, const Tensor& src, int64_t from, int64_t n) {
  copy_window(dst, {to, {1}}, src, {from, {1}}, {n});
}
void copy_listed(Tensor& dst, const std::vector<int64_t>& to, const Tensor& src, const std::vector<int64_t>& from) {
  CHECK(dst.dtype == src.dtype && (to.empty() || from.empty() || to.size() == from.size()));
  int64_t n = static_cast<int64_t>(std::max(to.size(), from.size()));
  with_cell(dst.dtype, [&](auto cell) {
    using E = decltype(cell);
    E* d = cells<E>(dst);
    const E* s = cells<E>(src);
    for (int64_t k = 0; k < n; ++k) d[to.empty() ? k : to[k]] = s[from.empty() ? k : from[k]];
  });
}
void fill_run(Tensor& dst, int64_t to, int64_t n, const Tensor& src, int64_t from) {
  copy_window(dst, {to, {1}}, src, {from, {0}}, {n});
}
Result<Tensor> deep_copy(const Tensor& src) { return read_window(src, {0, dense_strides(src.dims)}, src.dims); }
Tensor with_dims(const Tensor& t, std::vector<int64_t> dims) {
  Tensor out = t;
  out.dims = std::move(dims);
  CHECK(out.numel() == t.numel());
  return out;
}
std::vector<int64_t> index_of(int64_t element, const std::vector<int64_t>& dims) {
  std::vector<int64_t> index(dims.size());
  for (size_t d = dims.size(); d-- > 0;) {
    index[d] = element % dims[d];
    element /= dims[d];
  }
  return index;
}
Result<int64_t> int_scalar(const EvalCall& call, int i) {
  const Tensor& t = call.tensor(i);
  if (t.numel() != 1) return invalid("operand " + std::to_string(i) + " must be one integer, has " + std::to_string(t.numel()) + " elements");
  return load_all<int64_t>(t)[0];
}

// --- infer ----------------------------------------------------------------------------------------------------------

bool unranked_operand(Op& op, int i) {
  if (!has_operand(op, i) || !type_of(op, i).is_tensor() || type_of(op, i).ranked) return false;
  for (int r = 0; r < op.num_results(); ++r) set_type(op, r, Type::unranked(type_of(op, i).dtype));
  return true;
}
Status need_int_vector(const Op& op, int i) {
  if (!has_operand(op, i)) return {};
  const Type& t = type_of(op, i);
  bool fits = t.is_tensor() && is_int(t.dtype) && (!t.ranked || t.rank() <= 1);
  if (fits) return {};
  Error e = invalid("operand " + std::to_string(i) + " must be a vector of integers, is " + t.to_string());
  e.at_tensor(op.operands[i]->name);
  return e;
}
Result<std::vector<int>> axes_in_order(const std::vector<int64_t>& axes, int rank) {
  std::vector<int> out;
  for (int64_t a : axes) {
    TRY_ASSIGN(int axis, normalize_axis(a, rank));
    if (std::find(out.begin(), out.end(), axis) != out.end()) return invalid("axis " + std::to_string(a) + " is given twice");
    out.push_back(axis);
  }
  return out;
}
std::optional<int64_t> vector_length(const Value* v) {
  if (!v || !v->type.is_ranked() || v->type.rank() != 1 || !v->type.shape[0].is_const()) return std::nullopt;
  return v->type.shape[0].value();
}

// Whether any operand's dims or contents mention the symbol: then it cannot be one that an earlier infer made here.
static bool mentioned_by_operands(const Op& op, const std::string& symbol) {
  for (const Value* v : op.operands) {
    if (!v) continue;
    for (const Dim& d : v->type.shape)
      if (d.contains(symbol)) return true;
    if (!v->known) continue;
    for (const Dim& d : *v->known)
      if (d.contains(symbol)) return true;
  }
  return false;
}
Dim data_dim(const Op& op, int result, int dim, InferContext& cx) {
  if (result >= op.num_results()) return Dim(0);  // nobody reads it
  const Type& old = op.results[result]->type;
  if (old.is_ranked() && dim < old.rank() && old.shape[dim].is_symbol()) {
    std::string name = old.shape[dim].symbol_name();
    if (cx.module.symbols.count(name) && !mentioned_by_operands(op, name)) return old.shape[dim];
  }
  return cx.fresh();
}
void set_unknown_dims(Op& op, int result, DType t, int rank, InferContext& cx) {
  Shape shape;
  for (int d = 0; d < rank; ++d) shape.push_back(data_dim(op, result, d, cx));
  set_type(op, result, Type::tensor(t, std::move(shape)));
}

// Small enough to reason about element by element.
static std::optional<std::vector<int64_t>> small_dims(const Type& t) {
  if (!t.is_ranked() || !is_static(t.shape)) return std::nullopt;
  Dim n = numel(t.shape);
  if (!n.is_const() || n.value() > 1024) return std::nullopt;
  return static_dims(t.shape);
}

void know_moved(Op& op, const std::vector<int>& data) {
  DType t = op.results[0]->type.dtype;
  if (!op.results[0]->type.is_tensor() || !(is_int(t) || t == DType::b1)) return;
  std::vector<Dim> pool{Dim(0)};  // element number 0 stands for the zeros that an op makes up
  std::vector<HostValue> values(op.num_operands());
  std::vector<const HostValue*> in;
  for (int i = 0; i < op.num_operands(); ++i) {
    const Value* v = op.operands[i];
    in.push_back(v ? &values[i] : nullptr);
    if (!v) continue;
    std::optional<std::vector<int64_t>> dims = small_dims(v->type);
    if (!dims) return;
    bool copied = data.empty() || std::find(data.begin(), data.end(), i) != data.end();
    std::vector<int64_t> content;
    if (copied) {
      const std::vector<Dim>* known = known_of(v);
      if (!known) return;
      for (const Dim& d : *known) {
        content.push_back(static_cast<int64_t>(pool.size()));
        pool.push_back(d);
      }
    } else {
      auto ints = const_ints(v);
      if (!ints) return;
      content = std::move(*ints);
    }
    auto tensor = store_all(copied ? DType::i64 : v->type.dtype, *dims, content);
    if (!tensor.ok()) return;
    values[i] = std::move(*tensor);
  }
  for (auto& r : op.results)
    if (!small_dims(r->type)) return;
  auto out = evaluate_op(op, in);
  if (!out.ok()) return;  // running it gives the same error, with the data at hand
  for (int r = 0; r < op.num_results(); ++r) {
    std::vector<Dim> known;
    for (int64_t element : load_all<int64_t>((*out)[r].tensor)) known.push_back(pool[element]);
    set_known(op, r, std::move(known));
  }
}

static Dim atoms_product(const DimTerm& t) {
  Dim out(t.coef);
  for (const DimAtom& a : t.atoms) {
    switch (a.fn) {
      case DimFn::symbol: out *= Dim::symbol(a.name); break;
      case DimFn::floordiv: out *= floordiv(a.args[0], a.args[1]); break;
      case DimFn::mod: out *= mod(a.args[0], a.args[1]); break;
      case DimFn::min: out *= min(a.args[0], a.args[1]); break;
      case DimFn::max: out *= max(a.args[0], a.args[1]); break;
    }
  }
  return out;
}
Dim divide(const Dim& a, const Dim& b) {
  Dim q = floordiv(a, b);
  if (q.is_overflow() || q * b == a) return q;
  if (!a.expr() || !b.expr() || a.is_overflow() || b.is_overflow()) return q;
  // A quotient of one term: it takes some term of a to the first of b.
  Dim first = atoms_product(b.expr()->terms[0]);
  for (const DimTerm& t : a.expr()->terms) {
    Dim guess = floordiv(atoms_product(t), first);
    if (!guess.is_overflow() && guess * b == a) return guess;
  }
  return q;
}

Cost moved_bytes(const Op& op, int first_read) {
  Cost c;
  auto bytes = [](const Value* v) { return v && v->type.is_ranked() ? numel(v->type.shape) * Dim(byte_size(v->type.dtype)) : Dim(0); };
  for (auto& r : op.results) c.bytes += Dim(2) * bytes(r.get());
  for (int i = first_read; i < op.num_operands(); ++i) c.bytes += bytes(op.operands[i]);
  return c;
}

}  // namespace weft
