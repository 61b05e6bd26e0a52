// loop and scan as a `loop` of one region.
//
// Carried values lie in tensors of their own, which the body reads and which take the body's results at its end. Where dims
// change from one iteration to the next, the body's symbols hold this iteration's: results are staged under the next
// iteration's dims, then the symbols are set and the two buffers exchanged. A scan output whose length is known is written
// slice by slice into its place; else its buffer grows by doubling.
#include <algorithm>

#include "codegen/lower/control.h"
#include "ir/ops/common.h"
#include "ir/ops/control.h"

namespace weft {

namespace {

struct CarriedTensor {
  const Value *first, *result;  // operand; null when nobody reads the result
  Value *in, *out;              // of the body
  int tensor = -1;
  bool varies = false;          // its dims do
};
struct ScanOutput {
  const Value* result;
  Value* out;
  int axis = 0;
  bool backward = false;
  int tensor = -1;              // with its final length, or
  std::string capacity;         // the growing one's slices
};

class LoopLowering {
 public:
  LoopLowering(Lowering& lowering, Op& o) : l(lowering), op(o), body(*o.graphs[0]), count(l.m.fresh_symbol("i")) {
    l.bound.insert(count.symbol_name());
  }

  Status carry(int number, int first_operand, int first_input, int first_output);
  Status scan_output(int result, int output, int axis, bool backward);
  // The body and what follows it in each iteration; finish() ends the command.
  Status begin();
  Status finish(const Dim& trips, int condition, Value* next_condition);

  Lowering& l;
  Op& op;
  Graph& body;
  Dim count;

 private:
  Status collect(ScanOutput& s);
  Status grow(ScanOutput& s, const Shape& slice);
  Status next_round();
  Status results();
  int window(int tensor, const Value* v, const Shape& dims, std::vector<Dim> strides, Dim elements) {
    return l.alias(v, tensor, dims, std::move(strides), elements * Dim(byte_size(l.plan().tensors[tensor].dtype)));
  }

  std::vector<CarriedTensor> carried_;
  std::vector<ScanOutput> scans_;
  std::unique_ptr<Region> region_ = std::make_unique<Region>();
  std::vector<Command>* outside_ = nullptr;
};

Status LoopLowering::carry(int number, int first_operand, int first_input, int first_output) {
  for (int k = 0; k < number; ++k) {
    CarriedTensor c;
    c.first = op.operands[first_operand + k];
    c.in = body.inputs[first_input + k].get();
    c.out = body.outputs[first_output + k];
    c.result = l.needed.count(op.result(k)) ? op.result(k) : nullptr;
    if (!c.in->type.is_ranked() || !c.out->type.is_ranked() || c.in->type.dtype == DType::str)
      return unsupported("a loop that carries " + c.in->type.describe() + " on " + l.target.to_string()).at_tensor(c.in->name);
    for (size_t d = 0; d < c.in->type.shape.size(); ++d) {
      const Dim& dim = c.in->type.shape[d];
      if (!dim.is_symbol() || l.is_bound(dim)) continue;
      l.set_symbol(dim.symbol_name(), c.first->type.shape[d]);
      c.varies = true;
    }
    for (const Dim& d : c.in->type.shape) c.varies = c.varies || (d.is_symbol() && l.late(d));
    TRY_ASSIGN(int from, l.tensor(c.first));
    c.tensor = l.temp(c.in->name, c.in->type.dtype, c.in->type.shape);
    c.varies = c.varies && l.plan().buffers[l.plan().tensors[c.tensor].buffer].storage == Storage::dynamic;
    l.allocate(c.tensor);
    l.copy(from, c.tensor);
    l.tensors[c.in] = c.tensor;
    carried_.push_back(c);
  }
  return {};
}

Status LoopLowering::scan_output(int result, int output, int axis, bool backward) {
  ScanOutput s;
  s.result = op.result(result);
  s.out = body.outputs[output];
  if (!l.needed.count(s.result) && l.is_bound(numel(s.result->type.shape))) return {};
  if (!s.result->type.is_ranked() || s.result->type.dtype == DType::str) return unsupported("a loop that collects " + s.result->type.describe());
  s.axis = axis;
  s.backward = backward;
  bool sized = std::all_of(s.result->type.shape.begin(), s.result->type.shape.end(), [&](const Dim& d) { return l.is_bound(d); });
  if (sized) {
    s.tensor = l.result(s.result);
  } else {
    if (axis != 0 || backward) return unsupported("a scan whose results have dims that only it decides");
    Shape dims = s.result->type.shape;
    for (size_t d = 1; d < dims.size(); ++d)
      if (dims[d].is_symbol() && !l.is_bound(dims[d])) l.set_symbol(dims[d].symbol_name(), 0);
    s.capacity = l.m.fresh_symbol("room").symbol_name();
    l.set_symbol(s.capacity, 0);
    dims[0] = Dim::symbol(s.capacity);
    s.tensor = l.temp(s.result->name, s.result->type.dtype, dims);
    l.allocate(s.tensor);
  }
  scans_.push_back(s);
  return {};
}

Status LoopLowering::begin() {
  outside_ = std::exchange(l.commands, &region_->commands);
  Status s = l.graph(body);
  for (ScanOutput& o : scans_)
    if (s.ok()) s = collect(o);
  if (s.ok()) s = next_round();
  l.commands = outside_;
  return s;
}

// Twice the room; what is there moves over.
Status LoopLowering::grow(ScanOutput& s, const Shape& slice) {
  auto region = std::make_unique<Region>();
  auto* now = std::exchange(l.commands, &region->commands);
  Dim more = l.m.fresh_symbol("room");
  l.set_symbol(more.symbol_name(), max(Dim(2) * Dim::symbol(s.capacity), 16));
  Shape dims = slice;
  dims.insert(dims.begin(), more);
  int larger = l.temp(s.result->name, s.result->type.dtype, dims);
  l.allocate(larger);
  dims[0] = count;
  std::vector<Dim> strides = dense_strides(dims);
  l.copy(window(s.tensor, nullptr, dims, strides, 0), window(larger, nullptr, dims, strides, 0));
  l.set_symbol(s.capacity, more);
  l.command(CommandKind::swap).tensors = {s.tensor, larger};
  l.commands = now;
  Command& c = l.command(CommandKind::select);
  c.text = count.symbol_name();
  c.ranges = {{Dim::symbol(s.capacity), Dim(INT64_MAX)}, {}};
  c.regions.push_back(std::move(region));
  c.regions.push_back(std::make_unique<Region>());
  return {};
}

// This iteration's slice into its place.
Status LoopLowering::collect(ScanOutput& s) {
  TRY_ASSIGN(int from, l.tensor(s.out));
  const Shape& result = s.result->type.shape;
  Shape slice = result;
  slice.erase(slice.begin() + s.axis);
  if (s.capacity.empty()) {
    Placement p = l.placement(s.tensor);
    Dim at = s.backward ? result[s.axis] - Dim(1) - count : count;
    Dim step = p.strides[s.axis];
    p.strides.erase(p.strides.begin() + s.axis);
    l.copy(from, window(s.tensor, nullptr, slice, p.strides, at * step));
    return {};
  }
  for (size_t d = 0; d < slice.size(); ++d) {
    const Dim &now = s.out->type.shape[d], before = slice[d];
    if (now == before || !before.is_symbol() || l.early.count(before.symbol_name())) continue;
    l.check_positive(max(Dim(1) - count, Dim(1) - max(now - before, before - now)), "a scan output changes its dims between iterations");
    l.set_symbol(before.symbol_name(), now);
  }
  TRY(grow(s, slice));
  l.copy(from, window(s.tensor, nullptr, slice, dense_strides(slice), count * numel(slice)));
  return {};
}

Status LoopLowering::next_round() {
  std::set<int> buffers;
  for (const CarriedTensor& c : carried_) buffers.insert(l.plan().tensors[c.tensor].buffer);
  struct Move {
    int from, to;
    bool swap;
  };
  std::vector<Move> moves;
  std::vector<std::pair<std::string, Dim>> sets;
  for (CarriedTensor& c : carried_) {
    TRY_ASSIGN(int from, l.tensor(c.out));
    if (from == c.tensor) continue;
    bool overlaps = buffers.count(l.plan().tensors[from].buffer) != 0;
    if (c.varies || overlaps) {
      // Under the next iteration's dims.
      Shape dims = c.in->type.shape;
      for (size_t d = 0; d < dims.size(); ++d) {
        if (!c.varies || !dims[d].is_symbol() || !l.late(dims[d]) || dims[d] == c.out->type.shape[d]) continue;
        Dim next = l.m.fresh_symbol("n");
        l.set_symbol(next.symbol_name(), c.out->type.shape[d]);
        sets.emplace_back(dims[d].symbol_name(), next);
        dims[d] = next;
      }
      int staged = l.temp(c.in->name, c.in->type.dtype, dims);
      l.allocate(staged);
      l.copy(from, staged);
      from = staged;
    }
    bool exchange = c.varies && l.plan().buffers[l.plan().tensors[from].buffer].storage == Storage::dynamic;
    moves.push_back({from, c.tensor, exchange});
  }
  for (auto& [symbol, value] : sets) l.set_symbol(symbol, value);
  for (const Move& m : moves) {
    if (m.swap) l.command(CommandKind::swap).tensors = {m.from, m.to};
    else l.copy(m.from, m.to);
  }
  return {};
}

Status LoopLowering::results() {
  for (const CarriedTensor& c : carried_) {
    const Value* r = op.result(static_cast<int>(&c - carried_.data()));
    set_result_dims(l, r, c.in->type.shape);
    if (!c.result) continue;
    if (l.tensors.count(r)) l.copy(c.tensor, l.result(r));
    else l.alias(r, c.tensor, r->type.shape, dense_strides(r->type.shape), 0);
  }
  for (const ScanOutput& s : scans_) {
    if (s.capacity.empty()) continue;
    Shape dims = s.result->type.shape;
    dims[0] = count;
    set_result_dims(l, s.result, dims);
    bool placed = l.tensors.count(s.result) != 0;
    int t = l.alias(placed ? nullptr : s.result, s.tensor, s.result->type.shape, dense_strides(s.result->type.shape), 0);
    if (placed) l.copy(t, l.result(s.result));
  }
  return {};
}

Status LoopLowering::finish(const Dim& trips, int condition, Value* next_condition) {
  if (condition >= 0) {
    l.commands = &region_->commands;
    auto next = l.tensor(next_condition);
    if (next.ok() && *next != condition) {
      // One element, whatever its rank.
      const PlanTensor& c = l.plan().tensors[condition];
      l.copy(l.alias(nullptr, *next, c.dims, c.strides, 0), condition);
    }
    l.commands = outside_;
    TRY(next);
  }
  Command& c = l.command(CommandKind::loop);
  c.name = count.symbol_name();
  c.tasks = trips;
  if (condition >= 0) c.tensors = {condition};
  c.regions.push_back(std::move(region_));
  return results();
}

bool always(const Value* v) {
  const std::vector<Dim>* known = known_of(v);
  return known && known->size() == 1 && (*known)[0].is_const() && (*known)[0].value() != 0;
}

}  // namespace

Status lower_loop(Lowering& l, Op& op) {
  LoopLowering loop(l, op);
  int carried = static_cast<int>(op.attr<LoopAttrs>().num_carried);
  Dim trips = Dim::overflow();
  if (op.operand(0)) {
    TRY_ASSIGN(std::vector<Dim> n, l.contents(op.operands[0]));
    trips = max(n[0], 0);
  }
  int condition = -1;
  if ((op.operand(1) && !always(op.operands[1])) || !always(loop.body.outputs[0])) {
    condition = l.temp("condition", DType::b1, {});
    if (op.operand(1)) {
      TRY_ASSIGN(int first, l.tensor(op.operands[1]));
      l.copy(l.alias(nullptr, first, {}, {}, 0), condition);
    } else {
      l.fill(condition, 1);
    }
  }
  loop.body.inputs[0]->known = std::make_shared<const std::vector<Dim>>(1, loop.count);
  TRY(loop.carry(carried, 2, 2, 1));
  TRY(bind_captures(l, op, 2 + carried, loop.body, 2 + carried));
  for (int r = carried; r < op.num_results(); ++r) TRY(loop.scan_output(r, 1 + r, 0, false));
  std::vector<std::string> nodes = l.nodes;
  TRY(loop.begin());
  l.nodes = nodes;
  return loop.finish(trips, condition, loop.body.outputs[0]);
}

Status lower_scan(Lowering& l, Op& op) {
  LoopLowering loop(l, op);
  const ScanAttrs& a = op.attr<ScanAttrs>();
  int carried = static_cast<int>(a.num_carried), scanned = static_cast<int>(a.num_scan_inputs);
  auto setting = [](const std::vector<int64_t>& list, int i) { return i < static_cast<int>(list.size()) ? list[i] : 0; };
  TRY(loop.carry(carried, 0, 0, 0));
  Dim trips;
  for (int i = 0; i < scanned; ++i) {
    TRY_ASSIGN(int from, l.tensor(op.operands[carried + i]));
    Placement p = l.placement(from);
    TRY_ASSIGN(int axis, normalize_axis(setting(a.scan_input_axes, i), static_cast<int>(p.dims.size())));
    Dim n = p.dims[axis], at = setting(a.scan_input_directions, i) == 1 ? n - Dim(1) - loop.count : loop.count;
    if (i == 0) trips = n;
    Dim offset = at * p.strides[axis] * Dim(byte_size(p.dtype));
    p.dims.erase(p.dims.begin() + axis);
    p.strides.erase(p.strides.begin() + axis);
    l.alias(loop.body.inputs[carried + i].get(), from, p.dims, p.strides, offset);
  }
  TRY(bind_captures(l, op, carried + scanned, loop.body, carried + scanned));
  for (int r = carried; r < op.num_results(); ++r) {
    TRY_ASSIGN(int axis, normalize_axis(setting(a.scan_output_axes, r - carried), op.result(r)->type.rank()));
    TRY(loop.scan_output(r, r, axis, setting(a.scan_output_directions, r - carried) == 1));
  }
  std::vector<std::string> nodes = l.nodes;
  TRY(loop.begin());
  l.nodes = nodes;
  return loop.finish(trips, -1, nullptr);
}

}  // namespace weft
