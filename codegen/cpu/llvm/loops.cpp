// The `loops` template: runs any KernelSpec as nested loops with one vector axis.
//
// Parallel axes are walked in order; the first config.task_axes of them (and blocks of the next) come from the task
// index. With the vector axis among the parallel axes every stage runs on vectors of points; with it among the row axes
// each stage vectorises along the row, with several accumulators combined at the end. Remainders run narrower vectors,
// then scalars.
#include "codegen/cpu/llvm/emit.h"
#include <llvm/IR/Intrinsics.h>

#include "ir/base/check.h"

namespace weft {

namespace {

struct Loops {
  Emitter& e;
  const KernelSpec& s;
  std::vector<int> parallel, row;  // axis numbers
  int vec_axis = -1;
  bool vec_is_row = false;
  int width = 1;                   // lanes of a full vector
  // Accumulator results per stage, valid after the stage at the current point.
  std::vector<std::vector<Val>> acc;

  explicit Loops(Emitter& em) : e(em), s(em.spec) {
    for (size_t k = 0; k < s.axes.size(); ++k) (s.axes[k].row ? row : parallel).push_back(static_cast<int>(k));
    vec_axis = s.config.vec_axis.empty() ? -1 : s.axis(s.config.vec_axis);
    vec_is_row = vec_axis >= 0 && s.axes[vec_axis].row;
    if (vec_axis >= 0) width = lanes();
    acc.resize(s.stages.size());
  }

  // A full vector of the widest type that the bodies compute with, but at least four lanes.
  int lanes() const {
    int n = e.target.vector_bytes;
    auto see = [&](DType t) { n = std::min(n, e.natural_lanes(t)); };
    for (const SpecStage& st : s.stages)
      for (const ScalarInst& x : st.body.insts) see(x.type);
    for (const SpecOperand& o : s.operands) see(o.dtype);
    return std::max(n, 4);
  }

  Val extent(int axis) { return e.dim(s.axes[axis].extent, {}); }
  std::string vec_name() const { return vec_axis < 0 ? "" : s.axes[vec_axis].name; }

  // --- bodies -----------------------------------------------------------------------------------------------

  std::vector<Val> body(const SpecStage& st, const SymbolEnv& env, int n) {
    return e.stage_body(st, env, n > 1 ? vec_name() : "", n, [&](int stage, int output) { return acc[stage][output]; });
  }
  void stores(const SpecStage& st, const SymbolEnv& env, int n) {
    std::vector<Val> out = body(st, env, n);
    std::string vs = n > 1 ? vec_name() : "";
    for (size_t k = 0; k < out.size(); ++k) e.store(s.operands[st.stores[k]], out[k], env, vs, n);
  }
  std::vector<Val> combine(const SpecStage& st, const std::vector<Val>& a, const std::vector<Val>& c, int n) {
    return e.program(st.combine, n, [&](int k, const std::vector<Val>&) { return k < static_cast<int>(a.size()) ? a[k] : c[k - a.size()]; });
  }
  DType acc_type(const SpecStage& st, size_t k) const { return st.body.type(st.body.outputs[k]); }
  Val init(const SpecStage& st, size_t k, int n) {
    ScalarInst c;
    c.f = st.init[k];
    // Integer extremes do not fit a double: infinities stand for them.
    DType t = acc_type(st, k);
    if (!is_float(t)) c.i = st.init[k] >= 9.2e18 ? int_max(t) : st.init[k] <= -9.2e18 ? int_min(t) : static_cast<int64_t>(st.init[k]);
    Val v = is_float(t) ? llvm::ConstantFP::get(e.compute_type(t), st.init[k]) : e.constant(t, c);
    return e.splat(v, n);
  }

  // --- loop nests -------------------------------------------------------------------------------------------

  // Runs f over [lo, hi) of an axis: the points at which every guard holds in vectors that need not ask, those before and
  // behind them (the border of a padded image) one by one.
  void vector_loop(int axis, Val lo, Val hi, const std::function<void(SymbolEnv&, int)>& f, SymbolEnv env) {
    auto inner = interior(axis, lo, hi, env);
    if (!inner) return vector_range(axis, lo, hi, f, env);
    const std::string& name = s.axes[axis].name;
    auto border = [&](Val from, Val to) {
      e.loop(from, to, e.i64(1), name.c_str(), [&](Val i) {
        SymbolEnv at = env;
        at[name] = i;
        f(at, 1);
      });
    };
    border(lo, inner->first);
    e.settled_axis = name;
    vector_range(axis, inner->first, inner->second, f, env);
    e.settled_axis.clear();
    border(inner->second, hi);
  }

  // The part of [lo, hi) in which all guards on the axis hold, whatever the row axes are; nullopt: there is no such guard,
  // or one is not affine.
  std::optional<std::pair<Val, Val>> interior(int axis, Val lo, Val hi, const SymbolEnv& env) {
    const std::string& name = s.axes[axis].name;
    Val first = lo, last = hi;
    bool any = false;
    for (const SpecOperand& o : s.operands)
      for (const SpecGuard& g : o.guards) {
        if (!g.expr.contains(name)) continue;
        Dim least, most;
        auto c = g.expr.coefficient(name, &least);
        most = least;
        if (!c || !c->is_const() || c->value() < 1 || !over_rows(&least, false) || !over_rows(&most, true)) return std::nullopt;
        any = true;
        auto divided = [&](Val v, int64_t up) {  // v is not negative
          return c->is(1) ? v : e.b.CreateUDiv(e.b.CreateAdd(v, e.i64(up)), e.i64(c->value()));
        };
        Val zero = e.i64(0), below = e.b.CreateSub(e.dim(g.lo, env), e.dim(least, env)), above = e.b.CreateSub(e.dim(g.hi, env), e.dim(most, env));
        first = larger(first, divided(larger(below, zero), c->value() - 1));
        last = smaller(last, divided(larger(above, zero), c->value() - 1));
      }
    if (!any) return std::nullopt;
    first = smaller(first, hi);
    return std::pair(first, larger(first, last));
  }
  Val larger(Val a, Val b) { return e.b.CreateSelect(e.b.CreateICmpSGT(a, b), a, b); }
  Val smaller(Val a, Val b) { return e.b.CreateSelect(e.b.CreateICmpSLT(a, b), a, b); }
  // Replaces row axes by the ends of their ranges at which d is least (or most); false when d is not affine in them.
  bool over_rows(Dim* d, bool most) const {
    for (int r : row) {
      Dim rest;
      auto c = d->coefficient(s.axes[r].name, &rest);
      if (!c || !c->is_const()) return false;
      *d = (c->value() > 0) == most ? rest + *c * (s.axes[r].extent - Dim(1)) : rest;
    }
    for (const std::string& symbol : d->symbols())
      if (symbol[0] == '$' || (vec_axis >= 0 && symbol == vec_name())) return false;
    return true;
  }

  // Runs f over [lo, hi) of an axis in vectors of n lanes as far as they go, then in narrower ones, then in scalars.
  void vector_range(int axis, Val lo, Val hi, const std::function<void(SymbolEnv&, int)>& f, SymbolEnv env) {
    const std::string& name = s.axes[axis].name;
    Val from = lo;
    for (int n = width; n >= 1; n = n > 16 ? n / 4 : n > 4 ? 4 : n > 1 ? 1 : 0) {
      Val count = e.b.CreateSub(hi, from);
      Val end = n == 1 ? hi : e.b.CreateAdd(from, e.b.CreateAnd(count, e.i64(-static_cast<int64_t>(n))));
      e.loop(from, end, e.i64(n), name.c_str(), [&](Val i) {
        SymbolEnv at = env;
        at[name] = n == 1 ? i : e.b.CreateAdd(e.splat(i, n), e.lane_ids(n));
        f(at, n);
      });
      if (n == 1) break;
      from = end;
    }
  }
  // The windows of pools and of depthwise convolutions: short, and known.
  bool unrolled(const std::vector<int>& axes, size_t from) const {
    constexpr int64_t kMost = 25;
    int64_t n = 1;
    for (size_t k = from; k < axes.size(); ++k) {
      const Dim& d = s.axes[axes[k]].extent;
      if (!d.is_const() || d.value() > kMost || (n *= d.value()) > kMost) return false;
    }
    return true;
  }
  // Full loops over the given axes, then f.
  void nest(const std::vector<int>& axes, size_t k, SymbolEnv env, const std::function<void(SymbolEnv&)>& f) {
    if (k == axes.size()) return f(env);
    if (unrolled(axes, k)) {
      for (int64_t i = 0; i < s.axes[axes[k]].extent.value(); ++i) {
        SymbolEnv at = env;
        at[s.axes[axes[k]].name] = e.i64(i);
        nest(axes, k + 1, at, f);
      }
      return;
    }
    e.loop(e.i64(0), extent(axes[k]), e.i64(1), s.axes[axes[k]].name.c_str(), [&](Val i) {
      SymbolEnv at = env;
      at[s.axes[axes[k]].name] = i;
      nest(axes, k + 1, at, f);
    });
  }

  // --- stages at one point (or vector of points) of the parallel axes ------------------------------------------

  void point(const SymbolEnv& env, int n) {
    for (size_t k = 0; k < s.stages.size(); ++k) {
      const SpecStage& st = s.stages[k];
      switch (st.kind) {
        case SpecStage::Kind::map_row: stores(st, env, n); break;
        case SpecStage::Kind::map:
          if (vec_is_row) row_map(st, env);
          else nest(row, 0, env, [&](SymbolEnv& at) { stores(st, at, n); });
          break;
        case SpecStage::Kind::reduce:
          acc[k] = vec_is_row ? row_reduce(st, env) : point_reduce(st, env, n);
          break;
        case SpecStage::Kind::inner:
        case SpecStage::Kind::attend: CHECK(false);  // of the attention template alone
      }
    }
  }

  std::vector<Val> slots(const SpecStage& st, int n) {
    std::vector<Val> out;
    for (size_t k = 0; k < st.init.size(); ++k) {
      Val slot = e.alloca_at_entry(e.vec(e.compute_type(acc_type(st, k)), n), "acc");
      e.b.CreateStore(init(st, k, n), slot);
      out.push_back(slot);
    }
    return out;
  }
  std::vector<Val> read(const SpecStage& st, const std::vector<Val>& slots, int n) {
    std::vector<Val> out;
    for (size_t k = 0; k < slots.size(); ++k) out.push_back(e.b.CreateLoad(e.vec(e.compute_type(acc_type(st, k)), n), slots[k]));
    return out;
  }
  void accumulate(const SpecStage& st, const std::vector<Val>& slots, const SymbolEnv& env, int n) {
    if (multiplies_and_adds(st)) {
      std::vector<Val> factors = e.stage_body(
          split_product_, env, n > 1 ? vec_name() : "", n, [&](int stage, int output) { return acc[stage][output]; });
      llvm::Type* t = e.vec(e.compute_type(acc_type(st, 0)), n);
      Val sum = e.b.CreateIntrinsic(llvm::Intrinsic::fma, {t}, {e.splat(factors[0], n), e.splat(factors[1], n), e.b.CreateLoad(t, slots[0])});
      e.b.CreateStore(sum, slots[0]);
      return;
    }
    std::vector<Val> v = body(st, env, n);
    for (Val& x : v) x = e.splat(x, n);
    std::vector<Val> next = combine(st, read(st, slots, n), v, n);
    for (size_t k = 0; k < slots.size(); ++k) e.b.CreateStore(e.splat(next[k], n), slots[k]);
  }

  // A float sum of products: one fused operation, as in the contraction template. Leaves the factors in split_product_.
  bool multiplies_and_adds(const SpecStage& st) {
    if (!e.target.fma || st.body.outputs.size() != 1 || !is_float(acc_type(st, 0))) return false;
    const ScalarInst &product = st.body.insts[st.body.outputs[0]], &add = st.combine.insts[st.combine.outputs[0]];
    if (product.prim != Prim::mul || add.prim != Prim::add || st.combine.insts.size() != 3) return false;
    split_product_ = st;
    split_product_.body.outputs = {product.args[0], product.args[1]};
    return true;
  }
  SpecStage split_product_;

  std::vector<Val> point_reduce(const SpecStage& st, const SymbolEnv& env, int n) {
    std::vector<Val> sl = slots(st, n);
    nest(row, 0, env, [&](SymbolEnv& at) { accumulate(st, sl, at, n); });
    return read(st, sl, n);
  }

  std::vector<int> outer_rows() const { return {row.begin(), row.end() - 1}; }  // the vector axis is the last row axis

  void row_map(const SpecStage& st, const SymbolEnv& env) {
    nest(outer_rows(), 0, env, [&](SymbolEnv& at) {
      vector_loop(vec_axis, e.i64(0), extent(vec_axis), [&](SymbolEnv& v, int n) { stores(st, v, n); }, at);
    });
  }

  // `unroll` vectors of accumulators along the row hide the latency of the combine; then one vector, then scalars.
  std::vector<Val> row_reduce(const SpecStage& st, const SymbolEnv& env) {
    int u = static_cast<int>(std::max<int64_t>(1, s.config.unroll));
    std::vector<std::vector<Val>> wide;
    for (int k = 0; k < u; ++k) wide.push_back(slots(st, width));
    std::vector<Val> narrow = slots(st, 1);
    const std::string& name = vec_name();
    auto one_by_one = [&](SymbolEnv& at, Val from, Val hi) {
      e.loop(from, hi, e.i64(1), name.c_str(), [&](Val i) {
        SymbolEnv v = at;
        v[name] = i;
        accumulate(st, narrow, v, 1);
      });
    };
    if (s.ordered) {
      nest(outer_rows(), 0, env, [&](SymbolEnv& at) { one_by_one(at, e.i64(0), extent(vec_axis)); });
      return read(st, narrow, 1);
    }
    nest(outer_rows(), 0, env, [&](SymbolEnv& at) {
      Val hi = extent(vec_axis), from = e.i64(0);
      for (int step = u; step >= 1; step = step > 1 ? 1 : 0) {
        int64_t by = static_cast<int64_t>(step) * width;
        Val blocks = e.b.CreateUDiv(e.b.CreateSub(hi, from), e.i64(by));
        Val end = e.b.CreateAdd(from, e.b.CreateMul(blocks, e.i64(by)));
        e.loop(from, end, e.i64(by), name.c_str(), [&](Val i) {
          for (int k = 0; k < step; ++k) {
            SymbolEnv v = at;
            v[name] = e.b.CreateAdd(e.splat(e.b.CreateAdd(i, e.i64(static_cast<int64_t>(k) * width)), width), e.lane_ids(width));
            accumulate(st, wide[k], v, width);
          }
        });
        from = end;
        if (step == 1) break;
      }
      one_by_one(at, from, hi);
    });
    std::vector<Val> v = read(st, wide[0], width);
    for (int k = 1; k < u; ++k) v = combine(st, v, read(st, wide[k], width), width);
    for (int n = width / 2; n >= 1; n /= 2) v = combine(st, half(v, n, 0), half(v, n, n), n);
    return combine(st, v, read(st, narrow, 1), 1);
  }
  // Lanes [at, at + n) of each value.
  std::vector<Val> half(const std::vector<Val>& v, int n, int at) {
    std::vector<Val> out;
    for (Val x : v) {
      if (n == 1) {
        out.push_back(e.b.CreateExtractElement(x, static_cast<uint64_t>(at)));
        continue;
      }
      std::vector<int> mask;
      for (int k = 0; k < n; ++k) mask.push_back(at + k);
      out.push_back(e.b.CreateShuffleVector(x, mask));
    }
    return out;
  }

  // --- parallel axes ---------------------------------------------------------------------------------------

  void parallel_from(size_t k, SymbolEnv env, Val lo, Val hi) {
    if (k == parallel.size()) return point(env, 1);
    int axis = parallel[k];
    if (!lo) {
      lo = e.i64(0);
      hi = extent(axis);
    }
    if (axis == vec_axis) {
      CHECK(k + 1 == parallel.size());
      vector_loop(axis, lo, hi, [&](SymbolEnv& at, int n) { point(at, n); }, env);
      return;
    }
    e.loop(lo, hi, e.i64(1), s.axes[axis].name.c_str(), [&](Val i) {
      SymbolEnv at = env;
      at[s.axes[axis].name] = i;
      parallel_from(k + 1, at, nullptr, nullptr);
    });
  }

  void run() {
    size_t task_axes = static_cast<size_t>(s.config.task_axes);
    int64_t block = s.config.task_block;
    e.loop(e.arg_begin, e.arg_end, e.i64(1), "task", [&](Val t) {
      SymbolEnv env;
      Val lo = nullptr, hi = nullptr, rest = t;
      if (block > 0) {
        Val n = extent(parallel[task_axes]);
        Val blocks = e.b.CreateUDiv(e.b.CreateAdd(n, e.i64(block - 1)), e.i64(block));
        lo = e.b.CreateMul(e.b.CreateURem(rest, blocks), e.i64(block));
        rest = e.b.CreateUDiv(rest, blocks);
        Val end = e.b.CreateAdd(lo, e.i64(block));
        hi = e.b.CreateSelect(e.b.CreateICmpSLT(end, n), end, n);
      }
      for (size_t k = task_axes; k-- > 0;) {
        const SpecAxis& a = s.axes[parallel[k]];
        if (k == 0) {
          env[a.name] = rest;
        } else {
          Val n = extent(parallel[k]);
          env[a.name] = e.b.CreateURem(rest, n);
          rest = e.b.CreateUDiv(rest, n);
        }
      }
      parallel_from(task_axes, env, lo, hi);
    });
    e.b.CreateRetVoid();
  }
};

}  // namespace

void emit_loops(Emitter& e) { Loops(e).run(); }

}  // namespace weft
