// The `contraction` template: packed panels over one register-tiled micro-kernel (see contraction_shape.h for the roles).
//
// A task owns a block of rows of M and of the V line. For each block of K and each panel of nr elements of the line: V is
// packed as [k][nr] (or was, when the model was loaded); each tile of mr rows runs mr x nr accumulators over the block of K
// and leaves them in the C block. Then the remaining stages (bias, activation, residual, stores) run over the block as
// ordinary vector loops.
#include "codegen/cpu/llvm/contraction.h"

namespace weft {

namespace {

constexpr int64_t kChunk = 64;  // terms that are added up one by one

struct Contraction : ContractionFactors {
  using ContractionFactors::ContractionFactors;

  // Sums of floats are kept short, so that their rounding errors stay small: a block of K is taken in chunks, and the chunks'
  // sums are added. Of equal length where that is known.
  bool in_chunks() const {
    return !s.ordered && type->isFloatingPointTy() && (!areas.block_k.is_const() || areas.block_k.value() > (in_words() ? h.weights->chunk : kChunk));
  }
  int64_t chunk_length() const {
    if (in_words()) return h.weights->chunk;
    if (!areas.block_k.is_const()) return kChunk;
    int64_t k = areas.block_k.value(), n = (k + kChunk - 1) / kChunk;
    return (k + n - 1) / n;
  }
  void chunks(const std::function<void(Val, Val)>& f) {
    if (!in_chunks()) return f(e.i64(0), k_count);
    e.loop(e.i64(0), k_count, e.i64(chunk_length()), "chunk", [&](Val k) { f(k, minimum(add(k, chunk_length()), k_count)); });
  }

  // rows x nr accumulators over the block of K for rows m .. m + rows and the panel; results go to the C block.
  void micro_kernel(Val m, Val q0, int rows) {
    Val s_base;
    int64_t row_step = 1, k_step = s.config.mr;
    if (s.operands[h.s].tile) {
      s_base = prepared_tile(h.s, s.config.mr, m);
    } else if (h.s_direct) {
      SymbolEnv where = env;
      place_m(where, m);
      for (int a : h.k_axes) where[name(a)] = e.i64(0);
      where[name(h.k_axes[0])] = mul(k0, h.dot);
      s_base = e.b.CreateGEP(e.element_type(s.operands[h.s].dtype), e.ptrs[s.operands[h.s].ptr], e.dim(s.operands[h.s].linear(), where));
      row_step = h.s_m_stride.value();
      k_step = h.s_k_stride.value();
    } else {  // the rows that are left of a run-time number may begin inside a tile
      Val row = e.b.CreateSub(m, m0), first = e.b.CreateURem(row, e.i64(s.config.mr));
      s_base = at(s_block, add(mul(e.b.CreateUDiv(row, e.i64(s.config.mr)), mul(k_count, s.config.mr)), first));
    }
    Val c_tile = at(c_block, add(mul(e.b.CreateSub(m, m0), ldc), q0));
    Val kept = in_chunks() ? e.alloca_at_entry(llvm::ArrayType::get(vtype, static_cast<uint64_t>(rows * nv)), "kept") : nullptr;
    chunks([&](Val begin, Val end) {
      std::vector<Val> sums = chunk(s_base, row_step, k_step, rows, q0, begin, end, c_tile);
      if (kept) keep(sums, kept, begin, end, c_tile, rows);
      else leave_rows(sums, c_tile, rows);
    });
  }
  // An ordered sum goes on from what earlier blocks of K came to.
  bool in_order() const { return s.ordered && type->isFloatingPointTy(); }
  bool goes_on() const { return in_order() && s.config.kc; }
  Val earlier(Val c, int64_t j) { return e.b.CreateAlignedLoad(vtype, at(c, e.i64(j * lanes)), align()); }
  // The sums of [begin, end) of the block of K; of quantised weights times their scale, which is one for all these steps.
  std::vector<Val> chunk(Val s_base, int64_t row_step, int64_t k_step, int rows, Val q0, Val begin, Val end, Val c_tile) {
    std::vector<Val> first, zero;
    for (int r = 0; r < rows; ++r)
      for (int j = 0; j < nv; ++j) first.push_back(goes_on() ? earlier(r ? at(c_tile, mul(e.i64(r), ldc)) : c_tile, j) : start(j));
    for (int j = 0; in_words() && j < nv; ++j) zero.push_back(zero_point(q0, begin, j));
    auto* from = e.b.GetInsertBlock();
    auto* body = llvm::BasicBlock::Create(e.cx, "micro", e.fn);
    auto* exit = llvm::BasicBlock::Create(e.cx, "micro.exit", e.fn);
    e.b.CreateCondBr(e.b.CreateICmpSGT(end, begin), body, exit);
    e.b.SetInsertPoint(body);
    auto* k = e.b.CreatePHI(e.b.getInt64Ty(), 2, "k");
    k->addIncoming(begin, from);
    std::vector<llvm::PHINode*> sum;
    for (int r = 0; r < rows * nv; ++r) {
      sum.push_back(e.b.CreatePHI(vtype, 2));
      sum.back()->addIncoming(first[static_cast<size_t>(r)], from);
    }
    std::vector<Val> v(nv), v_step(nv), next(sum.begin(), sum.end());
    for (int j = 0; j < nv; ++j) v[j] = panel_vector(k, j);
    Val sk = at(s_base, mul(k, e.i64(k_step)));
    for (int64_t t = 0; t < steps_at_once(); ++t) {
      for (int j = 0; j < nv; ++j) v_step[j] = in_words() ? weight(v[j], t, zero[j]) : v[j];
      for (int r = 0; r < rows; ++r) {
        Val x = e.b.CreateAlignedLoad(type, at(sk, e.i64(r * row_step + t * k_step)), h.dot > 1 ? llvm::Align(1) : align());
        Val wide = e.splat(x, lanes);
        for (int j = 0; j < nv; ++j) next[r * nv + j] = multiply_add(wide, v_step[j], next[r * nv + j]);
      }
    }
    Val k_next = add(k, steps_at_once());
    k->addIncoming(k_next, body);
    for (int r = 0; r < rows * nv; ++r) sum[r]->addIncoming(next[r], body);
    e.b.CreateCondBr(e.b.CreateICmpSLT(k_next, end), body, exit);
    e.b.SetInsertPoint(exit);
    for (size_t r = 0; r < next.size(); ++r) {
      auto* result = e.b.CreatePHI(vtype, 2);
      result->addIncoming(first[r], from);
      result->addIncoming(next[r], body);
      next[r] = result;
    }
    if (!in_words()) return next;
    for (int j = 0; j < nv; ++j) {
      Val by = scale(q0, begin, j);
      for (int r = 0; r < rows; ++r) next[r * nv + j] = e.b.CreateFMul(next[r * nv + j], by);
    }
    return next;
  }
  // Whether the first chunk of a block of K may be its last one, too.
  bool may_be_single() const {
    const Dim& k = areas.block_k;
    Dim last = s.config.kc ? mod(s.axes[h.k_axes[0]].extent, Dim(s.config.kc)) * h.inner_k(s) : Dim(0);
    return !k.is_const() || !last.is_const() || (!last.is(0) && last.value() <= chunk_length());
  }
  // Adds a chunk's sums to those kept of earlier ones; the last chunk takes them all to the C tile.
  void keep(std::vector<Val>& sums, Val kept, Val begin, Val end, Val c_tile, int rows) {
    auto block = [&](const char* title) { return llvm::BasicBlock::Create(e.cx, title, e.fn); };
    auto *last = block("chunk.last"), *other = block("chunk.other"), *first = block("chunk.first"), *middle = block("chunk.middle");
    auto* done = block("chunk.end");
    auto place = [&](size_t r) { return e.b.CreateGEP(vtype, kept, e.i64(static_cast<int64_t>(r))); };
    auto so_far = [&](size_t r) { return e.b.CreateAlignedLoad(vtype, place(r), align()); };
    Val is_first = e.b.CreateICmpEQ(begin, e.i64(0));
    e.b.CreateCondBr(e.b.CreateICmpEQ(end, k_count), last, other);
    e.b.SetInsertPoint(other);
    e.b.CreateCondBr(is_first, first, middle);
    e.b.SetInsertPoint(first);
    for (size_t r = 0; r < sums.size(); ++r) e.b.CreateAlignedStore(sums[r], place(r), align());
    e.b.CreateBr(done);
    e.b.SetInsertPoint(middle);
    for (size_t r = 0; r < sums.size(); ++r) e.b.CreateAlignedStore(e.b.CreateFAdd(sums[r], so_far(r)), place(r), align());
    e.b.CreateBr(done);
    e.b.SetInsertPoint(last);
    for (size_t r = 0; r < sums.size(); ++r) {
      Val earlier = so_far(r);
      if (may_be_single()) earlier = e.b.CreateSelect(is_first, llvm::Constant::getNullValue(vtype), earlier);
      sums[r] = e.b.CreateFAdd(sums[r], earlier);
    }
    leave_rows(sums, c_tile, rows);
    e.b.CreateBr(done);
    e.b.SetInsertPoint(done);
  }
  void leave_rows(const std::vector<Val>& sums, Val c_tile, int rows) {
    for (int r = 0; r < rows; ++r) {
      for (int j = 0; j < nv; ++j) leave(sums[r * nv + j], at(c_tile, e.i64(static_cast<int64_t>(j) * lanes)));
      if (r + 1 < rows) c_tile = at(c_tile, ldc);
    }
  }
  // A block's sums are added to those of earlier blocks of K, instead of being continued from them: rounding errors then
  // grow with the length of a block and the number of blocks, not with their product.
  void leave(Val sum, Val c) {
    if (s.config.kc && !in_order()) sum = plus(e.b.CreateAlignedLoad(vtype, c, align()), sum);
    e.b.CreateAlignedStore(sum, c, align());
  }
  Val plus(Val a, Val b) { return type->isFloatingPointTy() ? e.b.CreateFAdd(a, b) : e.b.CreateAdd(a, b); }
  // Tiles of mr rows, then what is left: one tile of the exact size where it is known, else ones of 4 and 1.
  void rows_of_panel(Val q0) {
    int64_t mr = s.config.mr;
    Val count = e.b.CreateSub(m1, m0);
    Val full = add(m0, mul(e.b.CreateUDiv(count, e.i64(mr)), e.i64(mr)));
    e.loop(m0, full, e.i64(mr), "m", [&](Val m) { micro_kernel(m, q0, static_cast<int>(mr)); });
    Dim extent = h.extent_m(s);
    if (extent.is_const()) {
      int64_t left = extent.value() % s.config.mc % mr;
      if (left) e.branch(e.b.CreateICmpSLT(full, m1), [&] { micro_kernel(full, q0, static_cast<int>(left)); });
      return;
    }
    Val from = full;
    for (int64_t r : {int64_t{4}, int64_t{1}}) {
      if (r >= mr) continue;
      Val end = r == 1 ? m1 : add(from, e.b.CreateAnd(e.b.CreateSub(m1, from), e.i64(-4)));
      e.loop(from, end, e.i64(r), "mt", [&](Val m) { micro_kernel(m, q0, static_cast<int>(r)); });
      from = end;
    }
  }
  // The stages after the sum, over the block, in vectors along the inner V axis.
  void epilogue() {
    int inner = h.v_axes.back();
    auto rows = [&](const SymbolEnv& where, Val c_row, Val lo, Val hi) {
      Val from = lo;
      for (int n = lanes; n >= 1; n = n > 4 ? 4 : n > 1 ? 1 : 0) {
        Val end = n == 1 ? hi : add(from, e.b.CreateAnd(e.b.CreateSub(hi, from), e.i64(-static_cast<int64_t>(n))));
        e.loop(from, end, e.i64(n), "j", [&](Val j) {
          SymbolEnv in = where;
          in[name(inner)] = n == 1 ? j : e.b.CreateAdd(e.splat(j, n), e.lane_ids(n));
          Val c = e.b.CreateAlignedLoad(e.vec(type, n), at(c_row, h.v_axes.size() == 1 ? e.b.CreateSub(j, o0) : j), align());
          std::string vs = n > 1 ? name(inner) : "";
          for (size_t k = 1; k < s.stages.size(); ++k) {
            std::vector<Val> out = e.stage_body(s.stages[k], in, vs, n, [&](int, int) { return c; });
            for (size_t i = 0; i < out.size(); ++i) e.store(s.operands[s.stages[k].stores[i]], out[i], in, vs, n);
          }
        });
        if (n == 1) break;
        from = end;
      }
    };
    e.loop(m0, m1, e.i64(1), "em", [&](Val m) {
      SymbolEnv where = env;
      place_m(where, m);
      Val row = at(c_block, mul(e.b.CreateSub(m, m0), ldc));
      if (h.v_axes.size() == 1) return rows(where, row, o0, o1);
      Val pitch = e.dim(h.pitch, {});
      e.loop(o0, o1, e.i64(1), "eo", [&](Val o) {
        SymbolEnv in = where;
        in[name(h.v_axes[0])] = o;
        rows(in, at(row, mul(e.b.CreateSub(o, o0), pitch)), e.i64(0), extent(inner));
      });
    });
  }

  // The whole sum into the C block, block by block of K.
  void sums() {
    Val steps = e.dim(h.outer_k(s), {});
    auto block = [&](Val from, Val to) {
      k0 = from;
      k1 = to;
      k_count = mul(e.b.CreateSub(to, from), e.dim(h.inner_k(s), {}));
      if (!h.s_direct && !s.operands[h.s].tile) pack_s();
      e.loop(e.i64(0), line, e.i64(s.config.nr), "q", [&](Val q0) {
        Val prepared = s.operands[h.v].tile ? prepared_tile(h.v, s.config.nr, add(o0, q0)) : nullptr;
        if (!prepared) pack_panel(q0);
        else if (h.unpacks(s)) unpack_panel(prepared, q0);
        else panel = prepared;
        sum_panel();
        rows_of_panel(q0);
      });
    };
    if (!s.config.kc) return block(e.i64(0), steps);
    e.loop(e.i64(0), mul(e.b.CreateSub(m1, m0), ldc), e.i64(lanes), "zero", [&](Val i) {
      e.b.CreateAlignedStore(llvm::Constant::getNullValue(vtype), at(c_block, i), align());
    });
    e.loop(e.i64(0), steps, e.i64(s.config.kc), "kb", [&](Val from) { block(from, minimum(add(from, s.config.kc), steps)); });
  }

  void run() {
    Val base = e.arg_scratch;
    auto area = [&](const Dim& offset) { return e.b.CreateGEP(e.b.getInt8Ty(), base, e.dim(offset, {})); };
    c_block = area(areas.c);
    panel = area(areas.panel);
    s_block = area(areas.s);
    ldc = e.dim(areas.ldc, {});
    const SpecConfig& c = s.config;
    e.loop(e.arg_begin, e.arg_end, e.i64(1), "task", [&](Val t) {
      Val rest = t;
      auto take = [&](Val n) {
        Val i = e.b.CreateURem(rest, n);
        rest = e.b.CreateUDiv(rest, n);
        return i;
      };
      Val outer = extent(h.v_axes[0]), rows = e.dim(h.extent_m(s), {});
      Val mb = take(e.dim(ceildiv(h.extent_m(s), Dim(c.mc)), {}));
      Val nb = take(e.dim(ceildiv(s.axes[h.v_axes[0]].extent, Dim(c.nc)), {}));
      m0 = mul(mb, e.i64(c.mc));
      m1 = minimum(add(m0, c.mc), rows);
      o0 = mul(nb, e.i64(c.nc));
      o1 = minimum(add(o0, c.nc), outer);
      env.clear();
      for (size_t k = h.batch.size(); k-- > 0;) env[name(h.batch[k])] = k == 0 ? rest : take(extent(h.batch[k]));
      Val steps = e.b.CreateSub(o1, o0);
      line = h.v_axes.size() == 1 ? steps : add(mul(add(steps, -1), e.dim(h.pitch, {})), extent(h.v_axes[1]));
      sums();
      epilogue();
    });
    e.b.CreateRetVoid();
  }
};

}  // namespace

Status emit_contraction(Emitter& e) {
  auto shape = contraction_shape(e.spec, e.spec.config.swap, e.spec.config.lines);
  if (!shape || e.spec.config.mr < 1 || e.spec.config.nr < 1 || e.spec.config.mc < 1 || e.spec.config.nc < 1)
    return invalid("config `" + e.spec.config.name + "` does not fit this kernel");
  Contraction(e, *shape).run();
  return {};
}

}  // namespace weft
