// Elements chosen by position or by value: compress, non_zero, trilu, reverse_sequence.
#include "kernels/host/select.h"

#include <algorithm>

#include "ir/ops/move.h"
#include "kernels/host/sort.h"

namespace weft {

// How many elements are set, where all are known.
static std::optional<int64_t> known_count(const Value* v) {
  auto ints = const_ints(v);
  if (!ints) return std::nullopt;
  return static_cast<int64_t>(ints->size()) - std::count(ints->begin(), ints->end(), 0);
}

// --- compress -------------------------------------------------------------------------------------------------------

static Status infer_compress(Op& op, InferContext& cx) {
  const CompressAttrs& a = op.attr<CompressAttrs>();
  const Type &x = type_of(op, 0), &condition = type_of(op, 1);
  if (!condition.is_tensor() || condition.dtype != DType::b1 || (condition.ranked && condition.rank() != 1))
    return invalid("compress takes a vector of bools, got " + condition.to_string());
  if (a.has_axis && unranked_operand(op, 0)) return {};
  if (!x.is_tensor()) return need_tensor(op, 0);
  Shape shape{Dim(0)};
  int axis = 0;
  if (a.has_axis) {
    TRY_ASSIGN(axis, normalize_axis(a.axis, x.rank()));
    shape = x.shape;
  }
  auto kept = known_count(op.operands[1]);
  shape[axis] = kept ? Dim(*kept) : data_dim(op, 0, axis, cx);
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_compress(EvalCall& call) {
  const CompressAttrs& a = call.attr<CompressAttrs>();
  const Tensor &x = call.tensor(0), &condition = call.tensor(1);
  std::optional<int> axis;
  if (a.has_axis) {
    TRY_ASSIGN(axis, normalize_axis(a.axis, x.rank()));
  }
  int64_t n = axis ? x.dims[*axis] : x.numel();
  if (condition.numel() > n) return invalid("compress has " + std::to_string(condition.numel()) + " conditions for " + std::to_string(n) + " slices");
  std::vector<int64_t> kept = host_set_positions(view_of(condition)), dims{static_cast<int64_t>(kept.size())};
  if (axis) {
    dims = x.dims;
    dims[*axis] = static_cast<int64_t>(kept.size());
  }
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, dims));
  host_take(view_of(x), axis, kept, view_of(out));
  return one(std::move(out));
}
OpDef def_compress() {
  return {.onnx = "Compress", .family = Family::move, .traits = kHostOnly | kDataDependent, .min_operands = 2, .max_operands = 2,
          .attrs = make_attrs<CompressAttrs>, .infer = infer_compress, .eval = eval_compress};
}

// --- non_zero -------------------------------------------------------------------------------------------------------

static Status infer_non_zero(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  if (type_of(op, 0).dtype == DType::str) return invalid("non_zero does not take strings");
  auto count = known_count(op.operands[0]);
  set_type(op, 0, Type::tensor(DType::i64, {Dim(type_of(op, 0).rank()), count ? Dim(*count) : data_dim(op, 0, 1, cx)}));
  return {};
}
OpDef def_non_zero() {
  return {.onnx = "NonZero",
      .family = Family::move,
      .traits = kHostOnly | kDataDependent,
      .min_operands = 1,
      .max_operands = 1,
      .infer = infer_non_zero,
      .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
        const Tensor& x = call.tensor(0);
        NonZero found = host_non_zero(view_of(x));
        return one(store_all(DType::i64, {x.rank(), found.count}, found.coordinates));
      }};
}

// --- trilu ----------------------------------------------------------------------------------------------------------

static Status infer_trilu(Op& op, InferContext&) {
  const Type& x = type_of(op, 0);
  if (!x.is_tensor()) return need_tensor(op, 0);
  if (x.ranked && x.rank() < 2) return invalid("trilu takes matrices, got " + x.to_string());
  TRY(need_int_vector(op, 1));
  set_type(op, 0, x);
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_trilu(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  int64_t k = 0;
  if (call.has(1)) {
    TRY_ASSIGN(k, int_scalar(call, 1));
  }
  if (x.rank() < 2) return invalid("trilu takes matrices");
  int64_t rows = x.dims[x.rank() - 2], columns = x.dims[x.rank() - 1], total = columns ? x.numel() / columns : 0;
  k = std::clamp(k, -rows - columns, rows + columns);
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, x.dims));
  bool upper = call.attr<TriluAttrs>().upper;
  for (int64_t r = 0; r < total; ++r) {
    int64_t diagonal = std::clamp<int64_t>(r % rows + k + !upper, 0, columns);
    if (upper) copy_run(out, r * columns + diagonal, x, r * columns + diagonal, columns - diagonal);
    else copy_run(out, r * columns, x, r * columns, diagonal);
  }
  return one(std::move(out));
}
static Result<ShardingRule> shard_trilu(const Op& op) { return shard_alike(op, {}, 1); }
// A rank's diagonal lies where the whole matrix' one crosses its rows and columns.
static Result<std::vector<Value*>> localize_trilu(LocalOp& op) {
  const int rank = type_of(op.whole, 0).rank();
  const Dim &first_row = op.parts[rank - 2].first, &first_column = op.parts[rank - 1].first;
  Value *given = op.operands.size() > 1 ? op.operands[1] : nullptr, *moved = op.dims({first_row - first_column});
  if (!given) op.operands = {op.operands[0], moved};
  else if (const std::vector<Dim>* k = known_of(given)) op.operands[1] = op.dims({(*k)[0] + first_row - first_column});
  else op.operands[1] = op.b.op(OpKind::add, {given, moved});
  return op.build();
}
OpDef def_trilu() {
  return {.onnx = "Trilu", .family = Family::move, .min_operands = 1, .max_operands = 2, .attrs = make_attrs<TriluAttrs>, .infer = infer_trilu,
          .eval = eval_trilu, .shard = shard_trilu, .localize = localize_trilu};
}

// --- reverse_sequence -------------------------------------------------------------------------------------------------

static Status check_reversal(const ReverseSequenceAttrs& a, int rank) {
  bool fits = rank >= 2 && ((a.batch_axis == 0 && a.time_axis == 1) || (a.batch_axis == 1 && a.time_axis == 0));
  if (fits) return {};
  return invalid("reverse_sequence of a tensor of rank " + std::to_string(rank) + " with batch_axis " +
                 std::to_string(a.batch_axis) + " and time_axis " + std::to_string(a.time_axis));
}
static Status infer_reverse_sequence(Op& op, InferContext& cx) {
  const Type& x = type_of(op, 0);
  if (!x.is_tensor()) return need_tensor(op, 0);
  TRY(need_int_vector(op, 1));
  const ReverseSequenceAttrs& a = op.attr<ReverseSequenceAttrs>();
  if (x.ranked) TRY(check_reversal(a, x.rank()));
  const Type& lengths = type_of(op, 1);
  if (x.ranked && lengths.ranked) {
    if (lengths.rank() != 1) return invalid("reverse_sequence takes a vector of lengths, got " + lengths.to_string());
    TRY(cx.equal(lengths.shape[0], x.shape[a.batch_axis], "reverse_sequence's lengths and sequences"));
  }
  set_type(op, 0, x);
  return {};
}
static Result<std::vector<HostValue>> eval_reverse_sequence(EvalCall& call) {
  const ReverseSequenceAttrs& a = call.attr<ReverseSequenceAttrs>();
  const Tensor& x = call.tensor(0);
  TRY(check_reversal(a, x.rank()));
  std::vector<int64_t> lengths = load_all<int64_t>(call.tensor(1)), strides = dense_strides(x.dims);
  int64_t batch = x.dims[a.batch_axis], inner = 1;
  for (int d = 2; d < x.rank(); ++d) inner *= x.dims[d];
  if (static_cast<int64_t>(lengths.size()) != batch)
    return invalid("reverse_sequence has " + std::to_string(lengths.size()) + " lengths for " + std::to_string(batch) +
                   " sequences");
  TRY(host_check_lengths(view_of(call.tensor(1)), x.dims[a.time_axis]));
  TRY_ASSIGN(Tensor out, deep_copy(x));
  for (int64_t b = 0; b < batch; ++b) {
    int64_t step = strides[a.time_axis], at = b * strides[a.batch_axis];
    copy_window(out, {at, {step, 1}}, x, {at + (lengths[b] - 1) * step, {-step, 1}}, {lengths[b], inner});
  }
  return one(std::move(out));
}
static Result<ShardingRule> shard_reverse_sequence(const Op& op) {
  const ReverseSequenceAttrs& a = op.attr<ReverseSequenceAttrs>();
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d) {
    std::vector<ShardingRule::Place> places{{0, d}, {ShardingRule::kResult, d}};
    if (d == a.batch_axis) places.push_back({1, 0});
    if (d != a.time_axis) rule.share(op, places);
  }
  return rule;
}
OpDef def_reverse_sequence() {
  return {.onnx = "ReverseSequence", .family = Family::move, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<ReverseSequenceAttrs>,
          .infer = infer_reverse_sequence, .eval = eval_reverse_sequence, .shard = shard_reverse_sequence};
}

}  // namespace weft
