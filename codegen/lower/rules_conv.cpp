// Convolutions: a sum of products over the input channels of the group and the window.
#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/conv.h"

namespace weft {

// The sum at idx, scaled, with its bias.
static Result<int> finish_conv(SpecBuilder& r, const Op& op, S s, const Index& idx) {
  for (int i : {3, 4}) {
    const Value* scale = op.operand(i);
    if (!scale) continue;
    TRY_ASSIGN(int f, r.emit(scale, scale->type.rank() == 0 ? Index{} : Index{scale->type.shape[0].is(1) ? Dim(0) : idx[1]}));
    s = s.cast(wide_float(scale->type.dtype)) * r.at(f).cast(wide_float(scale->type.dtype));
  }
  if (const Value* bias = op.operand(2)) {
    TRY_ASSIGN(int b, r.emit(bias, {idx[1]}));
    s = s + r.at(b).cast(s.type());
  }
  return s.cast(op.result()->type.dtype).id;
}

// What is multiplied for one term: where it lies in the input (zero outside of the guards) and in the weights.
struct Term {
  Index at, weight;
  std::vector<SpecGuard> inside;
};

// The sum over the channels of a group and the window's axes.
static Result<int> sum_of_products(SpecBuilder& r, const Op& op, const Index& idx, const Dim& channels, const std::vector<WindowAxis>& axes, bool tf32,
                                   const std::function<Term(const Index&)>& term) {
  const Value *x = op.operands[0], *w = op.operands[1];
  DType acc = accumulator_type(x->type.dtype);
  Shape extents{channels};
  for (const WindowAxis& a : axes) extents.push_back(a.kernel);
  auto body = [&](const Index& row) -> Result<std::vector<int>> {
    Term t = term(row);
    ScalarProgram& p = r.program();
    TRY_ASSIGN(int value, r.guarded(t.inside, 0, x->type.dtype, [&] { return r.emit(x, t.at); }));
    TRY_ASSIGN(int factor, r.emit(w, t.weight));
    return std::vector<int>{p.add(Prim::mul, factor_value(p, value, acc, tf32), factor_value(p, factor, acc, tf32))};
  };
  TRY_ASSIGN(std::vector<int> sum, r.reduce(SpecBuilder::key_of(op, "conv", idx), extents, SpecBuilder::sum(acc), body));
  return finish_conv(r, op, r.at(sum[0]), idx);
}

Result<int> rule_conv(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* w = op.operands[1];
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(op));
  Dim channels = w->type.shape[1];
  Dim group = r.simplify(floordiv(idx[1], floordiv(w->type.shape[0], Dim(op.attr<ConvAttrs>().group))));
  return sum_of_products(r, op, idx, channels, axes, op.attr<ConvAttrs>().tf32, [&](const Index& row) {
    Term t{{idx[0], group * channels + row[0]}, {idx[1], row[0]}, {}};
    for (size_t k = 0; k < axes.size(); ++k) {
      const WindowAxis& a = axes[k];
      Dim p = idx[k + 2] * Dim(a.stride) + row[k + 1] * Dim(a.dilation) - a.pad_begin;
      if (!a.pad_begin.is(0) || !a.pad_end.is(0)) t.inside.push_back({p, Dim(0), a.in});
      t.at.push_back(p);
      t.weight.push_back(row[k + 1]);
    }
    return t;
  });
}

// conv_transpose: of the input positions i that reach result o by kernel element k, o = i * stride - pad + k * dilation.
Result<int> rule_conv_transpose(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value *x = op.operands[0], *w = op.operands[1];
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(op));
  Dim group_out = w->type.shape[1], group_in = floordiv(x->type.shape[1], Dim(op.attr<ConvTransposeAttrs>().group));
  Dim group = r.simplify(floordiv(idx[1], group_out));
  return sum_of_products(r, op, idx, group_in, axes, false, [&](const Index& row) {
    Term t{{idx[0], group * group_in + row[0]}, {group * group_in + row[0], r.simplify(mod(idx[1], group_out))}, {}};
    for (size_t k = 0; k < axes.size(); ++k) {
      const WindowAxis& a = axes[k];
      Dim from = idx[k + 2] + a.pad_begin - row[k + 1] * Dim(a.dilation), i = floordiv(from, Dim(a.stride));
      if (a.stride > 1) t.inside.push_back({mod(from, Dim(a.stride)), Dim(0), Dim(1)});
      t.inside.push_back({i, Dim(0), a.in});
      t.at.push_back(i);
      t.weight.push_back(row[k + 1]);
    }
    return t;
  });
}

}  // namespace weft
