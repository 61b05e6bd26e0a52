// channels-last: on GPUs with tensor cores for their type, convolutions read and write tensors whose channels lie beside each
// other, as their products of matrices want them, and so do the kernels between them. Their weights are laid out alike in the
// prepare graph. What the model itself reads and writes stays row-major.
#include <algorithm>
#include <set>

#include "ir/base/check.h"
#include "ir/ops/conv.h"
#include "ir/ops/structure.h"
#include "passes/layout/tensor_cores.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

// Elements of an access.
int64_t together(const Op& conv) { return 16 / byte_size(conv.operands[0]->type.dtype); }

// [N, C, …] in the order N, …, C.
std::vector<int> channels_last_order(int rank) {
  std::vector<int> order{0};
  for (int k = 2; k < rank; ++k) order.push_back(k);
  order.push_back(1);
  return order;
}

class ChannelsLast {
 public:
  ChannelsLast(Graph& g, const Target& target) : g_(g), m_(*g.module), target_(target) {}

  bool run() {
    bool changed = false;
    walk(g_, [&](Op* op) {
      const Op* conv = conv_of(*op);
      if (!conv || !suits(*conv)) return;
      changed = true;
      convolutions_.insert(op);
      const int w = outer_operand(*op, *conv, 1);
      if (w >= 0) lay_out_weights(*op, w);
      want_operands(*op, w);
    });
    if (!changed) return false;
    // What makes an operand of a convolution out of tensors of its rank wants these alike.
    for (auto op = g_.ops.rbegin(); op != g_.ops.rend(); ++op) {
      const auto& made = (*op)->results;
      const bool wanted = std::any_of(made.begin(), made.end(), [&](const auto& r) { return wanted_.count(r.get()) != 0; });
      if (wanted && is_written_by_kernel(**op) && !conv_of(**op)) want_operands(**op, -1);
    }
    walk(g_, [&](Op* op) {
      if (!is_written_by_kernel(*op)) return;
      for (auto& r : op->results) lay_out_result(*op, r.get());
    });
    return true;
  }

 private:
  void want_operands(const Op& op, int weights) {
    for (int k = 0; k < op.num_operands(); ++k) {
      const Value* v = op.operands[k];
      if (k != weights && v && v->type.is_ranked() && v->type.rank() == op.result()->type.rank()) wanted_.insert(v);
    }
  }
  static const Op* conv_of(const Op& op) {
    if (op.kind == OpKind::conv) return &op;
    if (op.kind != OpKind::fused) return nullptr;
    for (const auto& inner : op.graphs[0]->ops)
      if (inner->kind == OpKind::conv) return inner.get();
    return nullptr;
  }
  bool suits(const Op& conv) const { return runs_on_tensor_cores(conv, target_) && conv.operands[1]->type.shape[1].value() % together(conv) == 0; }
  // The operand of `op` that operand k of the convolution inside is; -1: it is computed inside.
  static int outer_operand(const Op& op, const Op& conv, int k) {
    if (&op == &conv) return k;
    const Value* v = conv.operands[k];
    return v->is_input() ? v->index : -1;
  }

  // A copy, which the prepare graph makes.
  void lay_out_weights(Op& op, int operand) {
    Value* w = op.operands[operand];
    const Shape& dims = w->type.shape;
    const bool fixed = w->def && (w->def->kind == OpKind::prepared || w->def->kind == OpKind::constant);
    if (!fixed || !std::any_of(dims.begin() + 2, dims.end(), [](const Dim& d) { return !d.is(1); })) return;
    Value*& laid_out = weights_[w];
    if (!laid_out) {
      Graph& prepare = *m_.ensure_prepare();
      Builder p(&prepare);
      p.provenance = op.provenance;
      Value* from = nullptr;
      if (w->def->kind == OpKind::prepared) from = const_cast<Value*>(prepared_output(m_, w->def->attr<PreparedAttrs>().name));
      else if (auto made = p.create(OpKind::constant, {}, w->def->attrs->clone(), 1); made.ok()) from = (*made)->result();
      CHECK(from);
      PreparedAttrs a;
      a.name = fresh_prepared(w->name);
      ReorderAttrs order;
      order.layout = Layout::strided(channels_last_order(w->type.rank())).to_string();
      prepare.outputs.push_back(p.op(OpKind::reorder, {from}, order));
      prepare.output_names.push_back(a.name);
      Builder b(&g_, w->def);
      b.provenance = op.provenance;
      laid_out = b.op(OpKind::prepared, {}, a);
    }
    op.set_operand(operand, laid_out);
  }
  std::string fresh_prepared(const std::string& weights) const {
    const std::string base = (weights.empty() ? "weights" : weights) + ".channels_last";
    std::string name = base;
    for (int k = 1; prepared_output(m_, name); ++k) name = base + "." + std::to_string(k);
    return name;
  }

  static bool is_written_by_kernel(const Op& op) {
    switch (op.kind) {
      case OpKind::fused: case OpKind::conv: case OpKind::max_pool: case OpKind::average_pool: case OpKind::pad:
      case OpKind::quantize_linear: case OpKind::dequantize_linear: return true;
      default: return op_def(op).scalar != nullptr;
    }
  }
  void lay_out_result(const Op& op, Value* r) {
    if (r->is_output() || !r->type.is_ranked() || r->type.rank() < 3 || r->type.dtype == DType::b1) return;
    const Shape& dims = r->type.shape;
    if (std::all_of(dims.begin() + 2, dims.end(), [](const Dim& d) { return d.is(1); })) return;
    bool follows = false;
    for (const Value* v : op.operands) follows = follows || (v && done_.count(v) && v->type.rank() == r->type.rank());
    if (!follows && !convolutions_.count(&op) && !wanted_.count(r)) return;
    r->type.layout = Layout::strided(channels_last_order(r->type.rank()));
    done_.insert(r);
  }

  Graph& g_;
  Module& m_;
  const Target& target_;
  std::set<const Op*> convolutions_;
  std::set<const Value*> wanted_, done_;    // read by a convolution; laid out
  std::map<const Value*, Value*> weights_;  // as they were, and laid out
};

// Zeros behind the channels of both factors, up to a whole access.
bool pad_channels(Op& op, const Target& target) {
  if (op.kind != OpKind::conv || !runs_on_tensor_cores(op, target) || !depends_on_constants(op.operands[1])) return false;
  const Type& w = op.operands[1]->type;
  const int64_t channels = w.shape[1].value(), missing = (together(op) - channels % together(op)) % together(op);
  if (missing == 0 || !op.operands[0]->type.is_ranked()) return false;
  Builder b = build_before(op);
  std::vector<int64_t> pads(2 * static_cast<size_t>(w.rank()), 0);
  pads[static_cast<size_t>(w.rank()) + 1] = missing;
  std::vector<Value*> operands = op.operands;
  for (size_t k : {0, 1}) operands[k] = b.op(OpKind::pad, {operands[k], b.ints(pads), b.scalar(operands[k]->type.dtype, 0)});
  Value* y = try_build(b, op.kind, std::move(operands), op.attrs->clone());
  return y && replace_op(op, y);
}

}  // namespace

Result<bool> pass_pad_channels(Module& m, PassContext& cx) {
  if (cx.target.backend != Backend::cuda) return false;
  return rewrite_ops(m, [&](Op& op) { return pad_channels(op, cx.target); });
}

Result<bool> pass_channels_last(Module& m, PassContext& cx) {
  if (cx.target.backend != Backend::cuda) return false;
  bool changed = false;
  for (auto& g : m.graphs) changed = ChannelsLast(*g, cx.target).run() || changed;
  return changed;
}

}  // namespace weft
