// The `attention` template (see attention_scratch.h for its blocks). Sums and the softmax are in float.
#include <limits>

#include "codegen/cpu/attention_scratch.h"
#include "codegen/cpu/llvm/emit.h"
#include "ir/base/check.h"

#include <llvm/IR/Intrinsics.h>

namespace weft {

namespace {

struct Attention {
  Emitter& e;
  const KernelSpec& s;
  const AttentionAxes a;
  const AttentionScratch m;
  const SpecConfig& c;
  const SpecStage score;
  llvm::Type* type;
  int lanes;
  SymbolEnv env;                // batch axes
  Val row0, rows;               // the task's first row and their number
  Val key0, keys;               // the block's first key and their number

  Attention(Emitter& em, AttentionAxes axes)
      : e(em), s(em.spec), a(std::move(axes)), m(attention_scratch(s, a)), c(s.config), score(score_of(s.stages[1])) {
    type = e.b.getFloatTy();
    lanes = e.target.vector_bytes / 4;
  }

  const SpecAxis& axis(int n) const { return s.axes[static_cast<size_t>(n)]; }
  Val add(Val x, Val y) { return e.b.CreateNSWAdd(x, y); }
  Val mul(Val x, int64_t y) { return e.b.CreateNSWMul(x, e.i64(y)); }
  Val minimum(Val x, Val y) { return e.b.CreateSelect(e.b.CreateICmpSLT(x, y), x, y); }
  Val area(int64_t offset) { return e.b.CreateConstInBoundsGEP1_64(type, e.arg_scratch, static_cast<uint64_t>(offset)); }
  Val at(Val base, Val index) { return e.b.CreateGEP(type, base, index); }
  Val at(int64_t area_offset, Val index) { return at(area(area_offset), index); }
  Val read(Val p, int n = 1) { return e.b.CreateAlignedLoad(e.vec(type, n), p, llvm::Align(4)); }
  void write(Val v, Val p) { e.b.CreateAlignedStore(v, p, llvm::Align(4)); }
  Val number(double v, int n = 1) { return llvm::ConstantFP::get(e.vec(type, n), v); }
  Val maximum(Val x, Val y) { return e.b.CreateSelect(e.b.CreateFCmpOGT(x, y), x, y); }
  Val multiply_add(Val x, Val y, Val z) {
    if (e.target.fma) return e.b.CreateIntrinsic(llvm::Intrinsic::fma, {z->getType()}, {x, y, z});
    return e.b.CreateFAdd(z, e.b.CreateFMul(x, y));
  }
  // Of a vector's lanes, in halves.
  Val across(Val v, int n, const std::function<Val(Val, Val)>& f) {
    for (; n > 1; n /= 2) {
      std::vector<int> lo, hi;
      for (int k = 0; k < n / 2; ++k) lo.push_back(k), hi.push_back(n / 2 + k);
      v = f(e.b.CreateShuffleVector(v, lo), e.b.CreateShuffleVector(v, hi));
    }
    return v->getType()->isVectorTy() ? e.b.CreateExtractElement(v, uint64_t{0}) : v;
  }
  // f(lanes, i) over [0, hi): full vectors, then of 4, then single elements.
  void vectors(Val hi, const std::function<void(int, Val)>& f) {
    Val from = e.i64(0);
    for (int n = lanes; n >= 1; n = n > 4 ? 4 : n > 1 ? 1 : 0) {
      Val end = n == 1 ? hi : e.b.CreateAnd(hi, e.i64(-static_cast<int64_t>(n)));
      e.loop(from, end, e.i64(n), "v", [&](Val i) { f(n, i); });
      from = end;
    }
  }
  Val lane_positions(Val first, int n) { return n == 1 ? first : e.b.CreateAdd(e.splat(first, n), e.lane_ids(n)); }

  SymbolEnv row_env(Val row) {
    SymbolEnv in = env;
    for (size_t k = a.rows.size(); k-- > 0;) {
      Val n = e.dim(axis(a.rows[k]).extent, {});
      in[axis(a.rows[k]).name] = k == 0 ? row : e.b.CreateURem(row, n);
      if (k > 0) row = e.b.CreateUDiv(row, n);
    }
    return in;
  }

  // c[rows][nv vectors] = (accumulate: itself) + sum over k < count of x[row][k] * y[k][nv vectors].
  void product(Val x, int64_t x_row, Val y, int64_t y_row, Val count, Val result, int64_t result_row, int height, bool accumulate) {
    const int nv = static_cast<int>(c.nr) / lanes;
    auto place = [&](int r, int j) { return at(result, e.i64(r * result_row + static_cast<int64_t>(j) * lanes)); };
    std::vector<Val> start;
    for (int r = 0; r < height; ++r)
      for (int j = 0; j < nv; ++j) start.push_back(accumulate ? read(place(r, j), lanes) : number(0, lanes));
    auto* from = e.b.GetInsertBlock();
    auto* body = llvm::BasicBlock::Create(e.cx, "product", e.fn);
    auto* exit = llvm::BasicBlock::Create(e.cx, "product.exit", e.fn);
    e.b.CreateBr(body);  // count is at least 1
    e.b.SetInsertPoint(body);
    auto* k = e.b.CreatePHI(e.b.getInt64Ty(), 2, "k");
    k->addIncoming(e.i64(0), from);
    std::vector<llvm::PHINode*> sums;
    for (Val v : start) {
      sums.push_back(e.b.CreatePHI(v->getType(), 2));
      sums.back()->addIncoming(v, from);
    }
    std::vector<Val> vectors_of_y, next;
    for (int j = 0; j < nv; ++j) vectors_of_y.push_back(read(at(y, add(mul(k, y_row), e.i64(static_cast<int64_t>(j) * lanes))), lanes));
    for (int r = 0; r < height; ++r) {
      Val wide = e.splat(read(at(x, add(k, e.i64(r * x_row)))), lanes);
      for (int j = 0; j < nv; ++j) next.push_back(multiply_add(wide, vectors_of_y[static_cast<size_t>(j)], sums[next.size()]));
    }
    Val after = add(k, e.i64(1));
    k->addIncoming(after, body);
    for (size_t i = 0; i < sums.size(); ++i) sums[i]->addIncoming(next[i], body);
    e.b.CreateCondBr(e.b.CreateICmpSLT(after, count), body, exit);
    e.b.SetInsertPoint(exit);
    for (int r = 0; r < height; ++r)
      for (int j = 0; j < nv; ++j) write(next[static_cast<size_t>(r * nv + j)], place(r, j));
  }

  // A block's rows of an operand, `size` elements of `along` each.
  void copy_rows(Val count, int operand, int along, int64_t size, const std::function<SymbolEnv(Val)>& where, int64_t to, int64_t pitch) {
    e.loop(e.i64(0), count, e.i64(1), "row", [&](Val r) {
      SymbolEnv in = where(r);
      vectors(e.i64(size), [&](int n, Val i) {
        in[axis(along).name] = lane_positions(i, n);
        Val v = e.load(s.operands[static_cast<size_t>(operand)], in, n > 1 ? axis(along).name : "", n);
        write(e.splat(v, n), at(to, add(mul(r, pitch), i)));
      });
    });
  }
  SymbolEnv key_env(Val key) {
    SymbolEnv in = env;
    in[axis(a.keys).name] = key;
    return in;
  }
  // keys[inner][nc] = K of the block; beyond its keys whatever was there, which nothing reads.
  void transpose_keys() {
    vectors(keys, [&](int n, Val j) {
      SymbolEnv in = key_env(lane_positions(add(key0, j), n));
      e.loop(e.i64(0), e.i64(a.inner_size), e.i64(1), "c", [&](Val i) {
        in[axis(a.inner).name] = i;
        Val v = e.load(s.operands[static_cast<size_t>(a.k)], in, n > 1 ? axis(a.keys).name : "", n);
        write(e.splat(v, n), at(m.keys, add(mul(i, c.nc), j)));
      });
    });
  }
  void scores_of_tiles() {
    transpose_keys();
    e.loop(e.i64(0), rows, e.i64(c.mr), "m", [&](Val r) {
      e.loop(e.i64(0), keys, e.i64(c.nr), "n", [&](Val j) {
        product(at(m.q, mul(r, a.inner_size)), a.inner_size, at(m.keys, j), c.nc, e.i64(a.inner_size),
            at(m.scores, add(mul(r, c.nc), j)), c.nc, static_cast<int>(c.mr), false);
      });
    });
  }
  // Each score a sum along the head: K is read as it lies.
  void scores_of_rows() {
    int n = lanes;
    while (a.inner_size % n) n /= 2;
    e.loop(e.i64(0), keys, e.i64(1), "key", [&](Val j) {
      SymbolEnv in = key_env(add(key0, j));
      e.loop(e.i64(0), rows, e.i64(1), "m", [&](Val r) {
        Val sum = number(0, n);
        for (int64_t i = 0; i < a.inner_size; i += n) {
          in[axis(a.inner).name] = lane_positions(e.i64(i), n);
          Val k = e.splat(e.load(s.operands[static_cast<size_t>(a.k)], in, n > 1 ? axis(a.inner).name : "", n), n);
          sum = multiply_add(read(at(m.q, add(mul(r, a.inner_size), e.i64(i))), n), k, sum);
        }
        write(across(sum, n, [&](Val x, Val y) { return e.b.CreateFAdd(x, y); }), at(m.scores, add(mul(r, c.nc), j)));
      });
    });
  }

  // One row: scores of dots, then their exponentials; scales the row's result when its maximum grows.
  void soften(Val r) {
    SymbolEnv in = row_env(add(row0, r));
    Val line = at(m.scores, mul(r, c.nc));
    Val wide_top = e.alloca_at_entry(e.vec(type, lanes), "top"), top = e.alloca_at_entry(type, "top1");
    Val low = number(-std::numeric_limits<double>::infinity());
    write(e.splat(low, lanes), wide_top);
    write(low, top);
    vectors(keys, [&](int n, Val j) {
      in[axis(a.keys).name] = lane_positions(add(key0, j), n);
      Val dot = read(at(line, j), n);
      Val x = e.splat(e.stage_body(score, in, n > 1 ? axis(a.keys).name : "", n, [&](int, int) { return dot; })[0], n);
      write(x, at(line, j));
      if (n == lanes) write(maximum(x, read(wide_top, n)), wide_top);
      else write(maximum(across(x, n, [&](Val p, Val q) { return maximum(p, q); }), read(top)), top);
    });
    Val before = read(at(m.top, r));
    Val most = maximum(across(read(wide_top, lanes), lanes, [&](Val p, Val q) { return maximum(p, q); }), read(top));
    most = maximum(most, before);
    write(most, at(m.top, r));
    // Of a row without a score yet every exponential is 0.
    Val shift = e.b.CreateSelect(e.b.CreateFCmpOEQ(most, low), number(0), most);
    Val wide_sum = e.alloca_at_entry(e.vec(type, lanes), "sum"), sum = e.alloca_at_entry(type, "sum1");
    write(number(0, lanes), wide_sum);
    write(number(0), sum);
    vectors(keys, [&](int n, Val j) {
      Val x = e.math(Prim::exp, e.b.CreateFSub(read(at(line, j), n), e.splat(shift, n)));
      write(x, at(line, j));
      if (n == lanes) write(e.b.CreateFAdd(x, read(wide_sum, n)), wide_sum);
      else write(e.b.CreateFAdd(across(x, n, [&](Val p, Val q) { return e.b.CreateFAdd(p, q); }), read(sum)), sum);
    });
    Val block = e.b.CreateFAdd(across(read(wide_sum, lanes), lanes, [&](Val p, Val q) { return e.b.CreateFAdd(p, q); }), read(sum));
    Val scale = e.math(Prim::exp, e.b.CreateFSub(before, shift));
    write(multiply_add(read(at(m.sum, r)), scale, block), at(m.sum, r));
    e.branch(e.b.CreateFCmpUNE(scale, number(1)), [&] {
      e.loop(e.i64(0), e.i64(m.columns), e.i64(lanes), "scale", [&](Val i) {
        Val p = at(m.result, add(mul(r, m.columns), i));
        write(e.b.CreateFMul(read(p, lanes), e.splat(scale, lanes)), p);
      });
    });
  }

  void weigh_values() {
    e.loop(e.i64(0), rows, e.i64(c.mr), "m", [&](Val r) {
      e.loop(e.i64(0), e.i64(m.columns), e.i64(c.nr), "n", [&](Val j) {
        product(at(m.scores, mul(r, c.nc)), c.nc, at(m.values, j), m.columns, keys, at(m.result, add(mul(r, m.columns), j)), m.columns,
            static_cast<int>(c.mr), true);
      });
    });
  }

  void results() {
    const std::string& column = axis(a.column).name;
    e.loop(e.i64(0), rows, e.i64(1), "out", [&](Val r) {
      SymbolEnv in = row_env(add(row0, r));
      Val sum = read(at(m.sum, r));
      Val none = e.b.CreateFCmpOEQ(sum, number(0));
      Val inverse = e.b.CreateSelect(none, number(0), e.b.CreateFDiv(number(1), sum));
      vectors(e.i64(a.column_size), [&](int n, Val i) {
        in[column] = lane_positions(i, n);
        Val v = e.b.CreateFMul(read(at(m.result, add(mul(r, m.columns), i)), n), e.splat(inverse, n));
        for (size_t k = 2; k < s.stages.size(); ++k) {
          std::vector<Val> out = e.stage_body(s.stages[k], in, n > 1 ? column : "", n, [&](int, int) { return v; });
          for (size_t o = 0; o < out.size(); ++o) e.store(s.operands[static_cast<size_t>(s.stages[k].stores[o])], out[o], in, n > 1 ? column : "", n);
        }
      });
    });
  }

  // What some row of the task may see.
  std::pair<Val, Val> key_range() {
    Val begin = e.i64(0), end = e.dim(axis(a.keys).extent, {});
    const std::vector<KeyLimit> limits = key_limits(s, a).limits;
    if (limits.empty()) return {begin, end};
    Val first = row0, last = e.b.CreateSub(add(row0, rows), e.i64(1));
    if (a.rows.size() > 1) {
      Val n = e.dim(axis(a.rows.back()).extent, {});
      Val same = e.b.CreateICmpEQ(e.b.CreateUDiv(first, n), e.b.CreateUDiv(last, n));
      first = e.b.CreateSelect(same, e.b.CreateURem(first, n), e.i64(0));
      last = e.b.CreateSelect(same, e.b.CreateURem(last, n), e.b.CreateSub(n, e.i64(1)));
    }
    for (const KeyLimit& l : limits) {
      SymbolEnv in = env;
      if (!a.rows.empty()) in[axis(a.rows.back()).name] = l.upper ? last : first;
      SpecStage part = value_of(s.stages[1], l.value);
      Val v = e.stage_body(part, in, "", 1, [&](int, int) -> Val { return nullptr; })[0];
      Val at = add(e.b.CreateSExtOrTrunc(v, e.b.getInt64Ty()), e.i64(l.shift));
      if (l.upper) end = minimum(end, at);
      else begin = e.b.CreateSelect(e.b.CreateICmpSGT(at, begin), at, begin);
    }
    if (s.ordered) {  // whole blocks, so that a row's sums do not depend on the rows beside it
      begin = mul(e.b.CreateSDiv(begin, e.i64(c.nc)), c.nc);
      end = mul(e.b.CreateSDiv(add(end, e.i64(c.nc - 1)), e.i64(c.nc)), c.nc);
      end = minimum(end, e.dim(axis(a.keys).extent, {}));
    }
    return {begin, end};
  }

  void task() {
    // What pads rows and columns is never read for a result, whatever it is.
    e.loop(e.i64(0), mul(rows, m.columns), e.i64(lanes), "clear", [&](Val i) { write(number(0, lanes), at(m.result, i)); });
    e.loop(e.i64(0), rows, e.i64(1), "begin", [&](Val r) {
      write(number(-std::numeric_limits<double>::infinity()), at(m.top, r));
      write(number(0), at(m.sum, r));
    });
    copy_rows(rows, a.q, a.inner, a.inner_size, [&](Val r) { return row_env(add(row0, r)); }, m.q, a.inner_size);
    auto [begin, end] = key_range();
    e.loop(begin, end, e.i64(c.nc), "block", [&, end = end](Val from) {
      key0 = from;
      keys = minimum(e.b.CreateSub(end, from), e.i64(c.nc));
      if (c.mr == 1) scores_of_rows();
      else scores_of_tiles();
      copy_rows(keys, a.v, a.column, a.column_size, [&](Val j) { return key_env(add(key0, j)); }, m.values, m.columns);
      e.loop(e.i64(0), rows, e.i64(1), "soft", [&](Val r) { soften(r); });
      weigh_values();
    });
    results();
  }

  void run() {
    e.loop(e.arg_begin, e.arg_end, e.i64(1), "task", [&](Val t) {
      Val rest = t, all = e.dim(a.rows_extent(s), {}), blocks = e.dim(ceildiv(a.rows_extent(s), Dim(c.mc)), {});
      auto take = [&](Val n) {
        Val i = e.b.CreateURem(rest, n);
        rest = e.b.CreateUDiv(rest, n);
        return i;
      };
      row0 = mul(take(blocks), c.mc);
      rows = minimum(e.b.CreateSub(all, row0), e.i64(c.mc));
      env.clear();
      for (size_t k = a.batch.size(); k-- > 0;) env[axis(a.batch[k]).name] = k == 0 ? rest : take(e.dim(axis(a.batch[k]).extent, {}));
      task();
    });
    e.b.CreateRetVoid();
  }
};

}  // namespace

Status emit_attention(Emitter& e) {
  auto axes = attention_axes(e.spec);
  const SpecConfig& c = e.spec.config;
  const int64_t lanes = e.target.vector_bytes / 4;
  bool fits = axes && c.mr >= 1 && c.mr <= 16 && c.nr >= lanes && c.nr <= 4 * lanes && c.nr % lanes == 0 && c.nc >= c.nr && c.nc % c.nr == 0 &&
              c.nc <= 1024 && c.mc >= c.mr && c.mc % c.mr == 0 && c.mc <= 1024;
  if (!fits) return invalid("config `" + c.name + "` does not fit this kernel");
  Attention(e, *axes).run();
  return {};
}

}  // namespace weft
