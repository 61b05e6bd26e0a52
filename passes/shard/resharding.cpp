#include "passes/shard/resharding.h"

#include <algorithm>

#include "ir/ops/collective.h"
#include "ir/ops/move.h"

namespace weft {

bool Forms::are_decided(const std::vector<Dim>& dims) const {
  for (const Dim& d : dims)
    for (const std::string& s : d.symbols())
      if (!of_inputs_.count(s)) return false;
  return true;
}

Value* Forms::with_dims(Value* v, const Shape& dims) {
  if (v->type.shape == dims || !are_decided(dims)) return v;
  ReshapeAttrs a;
  a.allowzero = true;
  DimsAttrs to;
  to.values = dims;
  return b_.op(OpKind::reshape, {v, b_.op(OpKind::dims, {}, to)}, a);
}

static bool is_prefix(const std::vector<std::string>& a, const std::vector<std::string>& of) {
  return a.size() <= of.size() && std::equal(a.begin(), a.end(), of.begin());
}
// `to` cuts what `from` leaves, and no more is needed.
static bool cuts_into(const Sharding& from, const Sharding& to) {
  for (size_t d = 0; d < from.dims.size(); ++d)
    if (!is_prefix(from.dims[d], to.dims[d])) return false;
  return from.partial == to.partial;
}
static bool uses(const Sharding& s, const std::string& axis) {
  for (auto& d : s.dims)
    if (std::find(d.begin(), d.end(), axis) != d.end()) return true;
  return std::find(s.partial.begin(), s.partial.end(), axis) != s.partial.end();
}
// The axis that `then` cuts next where `now` has cut so far; null: none.
static const std::string* next_cut(const std::vector<std::string>& now, const std::vector<std::string>& then) {
  return is_prefix(now, then) && now.size() < then.size() ? &then[now.size()] : nullptr;
}

Result<Value*> Forms::as(const Value* v, const Sharding& want) {
  std::vector<Formed>& have = forms_.at(v);
  for (const Formed& f : have)
    if (f.form == want || !v->type.is_ranked()) return f.value;
  // From where cutting is enough, which is free; else from the first one.
  Formed at = have.front();
  for (const Formed& f : have)
    if (cuts_into(f.form, want)) at = f;
  while (at.form != want) {
    TRY(step(at, want, v->type.shape));
    have.push_back(at);
  }
  return at.value;
}

Status Forms::step(Formed& at, const Sharding& want, const Shape& dims) {
  if (cut(at, want)) return {};  // first: what follows is smaller then
  if (!at.form.partial.empty()) return reduce(at, want);
  for (size_t d = 0; d < dims.size(); ++d)
    if (!at.form.dims[d].empty() && !is_prefix(at.form.dims[d], want.dims[d])) return widen(at, d, want, dims), Status{};
  return invalid("a value of form " + at.form.to_string() + " is wanted as " + want.to_string());
}

bool Forms::cut(Formed& at, const Sharding& want) {
  for (size_t d = 0; d < want.dims.size(); ++d) {
    const std::string* axis = next_cut(at.form.dims[d], want.dims[d]);
    if (!axis || uses(at.form, *axis)) continue;
    at.value = part(at.value, static_cast<int>(d), *axis);
    at.form.dims[d].push_back(*axis);
    return true;
  }
  return false;
}

// One axis along whose part a rank keeps its own, else all sums that are pending.
Status Forms::reduce(Formed& at, const Sharding& want) {
  if (!want.partial.empty()) return invalid("a value that waits for a sum cannot be wanted as another one: " + want.to_string());
  for (size_t k = 0; k < at.form.partial.size(); ++k)
    for (size_t d = 0; d < at.form.dims.size(); ++d) {
      const std::string* axis = next_cut(at.form.dims[d], want.dims[d]);
      if (!axis || *axis != at.form.partial[k]) continue;
      ReduceScatterAttrs a;
      a.mesh = mesh_.name;
      a.axes = {*axis};
      a.dim = static_cast<int64_t>(d);
      a.reduction = at.form.reduction;
      at.value = b_.op(OpKind::reduce_scatter, {up_to_parts(at.value, static_cast<int>(d), *axis)}, a);
      at.form.dims[d].push_back(*axis);
      at.form.partial.erase(at.form.partial.begin() + static_cast<std::ptrdiff_t>(k));
      if (at.form.partial.empty()) at.form.reduction = "sum";
      return {};
    }
  AllReduceAttrs a;
  a.mesh = mesh_.name;
  a.axes = at.form.partial;
  a.reduction = at.form.reduction;
  at.value = b_.op(OpKind::all_reduce, {at.value}, a);
  at.form.partial.clear();
  at.form.reduction = "sum";
  return {};
}

// Takes back the last cut along dim d: the other ranks' parts come together, or the axis cuts another dim instead.
void Forms::widen(Formed& at, size_t d, const Sharding& want, const Shape& dims) {
  const std::string axis = at.form.dims[d].back();
  at.form.dims[d].pop_back();
  for (size_t e = 0; e < dims.size(); ++e) {
    const std::string* next = next_cut(at.form.dims[e], want.dims[e]);
    if (e == d || !next || *next != axis) continue;
    AllToAllAttrs a;
    a.mesh = mesh_.name;
    a.axes = {axis};
    a.split_dim = static_cast<int64_t>(e);
    a.concat_dim = static_cast<int64_t>(d);
    at.value = b_.op(OpKind::all_to_all, {up_to_parts(at.value, static_cast<int>(e), axis)}, a);
    at.form.dims[e].push_back(axis);
    at.value = down_to(at.value, d, local_shape(dims, at.form, mesh_, batch_));
    return;
  }
  AllGatherAttrs a;
  a.mesh = mesh_.name;
  a.axes = {axis};
  a.dim = static_cast<int64_t>(d);
  at.value = down_to(b_.op(OpKind::all_gather, {at.value}, a), d, local_shape(dims, at.form, mesh_, batch_));
}

Value* Forms::slice(Value* v, int d, const Dim& from, const Dim& to) {
  DimsAttrs start, end;
  start.values = {from};
  end.values = {to};
  Shape dims = v->type.shape;
  dims[static_cast<size_t>(d)] = to - from;
  Value* cut = b_.op(OpKind::slice, {v, b_.op(OpKind::dims, {}, start), b_.op(OpKind::dims, {}, end), b_.ints({d})});
  cut->name = v->name;
  return with_dims(cut, dims);
}
Value* Forms::pad(Value* v, int d, const Dim& to, const char* mode, Value* fill) {
  PadAttrs a;
  a.mode = mode;
  DimsAttrs widths;
  Shape dims = v->type.shape;
  widths.values = {0, to - dims[static_cast<size_t>(d)]};
  dims[static_cast<size_t>(d)] = to;
  return with_dims(b_.op(OpKind::pad, {v, b_.op(OpKind::dims, {}, widths), fill, b_.ints({d})}, a), dims);
}
Value* Forms::up_to_parts(Value* v, int d, const std::string& axis) {
  const Dim& n = v->type.shape[static_cast<size_t>(d)];
  const int64_t ranks = mesh_.axis_size(axis);
  return is_multiple(n, ranks) ? v : pad(v, d, part_of(n, ranks, batch_) * Dim(ranks), "edge");
}
Value* Forms::down_to(Value* v, size_t d, const Shape& dims) {
  return with_dims(v->type.shape[d] == dims[d] ? v : slice(v, static_cast<int>(d), 0, dims[d]), dims);
}
Value* Forms::part(Value* v, int d, const std::string& axis) {
  const Dim n = part_of(v->type.shape[static_cast<size_t>(d)], mesh_.axis_size(axis), batch_), at = mesh_.position({axis});
  return slice(up_to_parts(v, d, axis), d, at * n, (at + Dim(1)) * n);
}
Value* Forms::cut_behind(Value* v, int d, const Dim& n, double fill) {
  const Dim all = v->type.shape[static_cast<size_t>(d)];
  return pad(slice(v, d, 0, n), d, all, "constant", b_.scalar(v->type.dtype, fill));
}

}  // namespace weft
