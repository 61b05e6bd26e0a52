// How the contraction template packs its factors, and the arithmetic of one step.
#include <llvm/IR/IntrinsicsX86.h>

#include "codegen/cpu/llvm/contraction.h"

namespace weft {

ContractionFactors::ContractionFactors(Emitter& em, ContractionShape shape)
    : e(em), s(em.spec), h(std::move(shape)), areas(contraction_scratch(s, h)), acc(s.stages[0].body.type(s.stages[0].body.outputs[0])) {
  panel_type = s.operands[h.v].tile && !h.unpacks(s) ? s.operands[h.v].dtype : acc;
  type = e.compute_type(acc);
  bytes = byte_size(acc);
  lanes = static_cast<int>(e.target.vector_bytes / bytes);
  nv = static_cast<int>(s.config.nr / lanes);
  vtype = e.vec(type, lanes);
}

Val ContractionFactors::elements(int operand, const SymbolEnv& where, const std::string& vs, int n, std::vector<SpecGuard> guards) {
  SpecOperand o = s.operands[operand];
  o.guards = std::move(guards);
  if (halves()) o.dtype = DType::u16;
  return e.load(o, where, vs, n);
}

Val ContractionFactors::factor(bool v_side, const SymbolEnv& where, const std::string& vs, int n, const SpecGuard* line_guard) {
  int own = v_side ? h.v : h.s;
  auto read = [&](int operand) {
    return elements(operand, where, vs, n, operand == own && line_guard ? std::vector{*line_guard} : std::vector<SpecGuard>());
  };
  if (v_side ? h.v_plain : h.s_plain) {
    DType t = s.operands[own].dtype;
    Val v = read(own);
    return t == acc || (is_float(t) && acc == DType::f32) ? v : e.cast(v, t, acc, true);
  }
  std::vector<Val> values(s.stages[0].body.insts.size());
  compute(v_side ? h.v_arg : h.s_arg, values, n, read);
  return values[v_side ? h.v_arg : h.s_arg];
}
// A value of the sum's body and what it is made of; of the other factor nothing is loaded.
void ContractionFactors::compute(int inst, std::vector<Val>& values, int n, const std::function<Val(int)>& read) {
  const ScalarProgram& body = s.stages[0].body;
  const ScalarInst& x = body.insts[inst];
  if (values[inst]) return;
  if (x.prim == Prim::input) {
    values[inst] = read(s.stages[0].inputs[x.index].operand);
  } else if (x.prim == Prim::constant) {
    values[inst] = e.constant(x.type, x);
  } else {
    for (int arg : x.args)
      if (arg >= 0) compute(arg, values, n, read);
    values[inst] = e.prim(body, x, values, n);
  }
}

void ContractionFactors::k_loops(const SymbolEnv& where, const StepFn& f) {
  auto step = [&](Val k, bool tail) {
    SymbolEnv in = where;
    in[name(h.k_axes[0])] = k;
    inner_k_loops(1, in, e.b.CreateSub(k, k0), tail, f);
  };
  const Dim& n = s.axes[h.k_axes[0]].extent;
  const bool rounded = mod(n, Dim(h.dot)) != Dim(0);
  Val full = rounded ? e.dim(floordiv(n, Dim(h.dot)), {}) : nullptr, end = rounded ? minimum(k1, full) : k1;
  e.loop(k0, end, e.i64(1), name(h.k_axes[0]).c_str(), [&](Val k) { step(k, false); });
  if (rounded) e.branch(e.b.CreateICmpSLT(end, k1), [&] { step(full, true); });
}
void ContractionFactors::inner_k_loops(size_t i, SymbolEnv where, Val flat, bool tail, const StepFn& f) {
  if (i == h.k_axes.size()) return f(where, flat, tail);
  Val n = extent(h.k_axes[i]);
  e.loop(e.i64(0), n, e.i64(1), name(h.k_axes[i]).c_str(), [&](Val k) {
    SymbolEnv in = where;
    in[name(h.k_axes[i])] = k;
    inner_k_loops(i + 1, in, add(mul(flat, n), k), tail, f);
  });
}

Val ContractionFactors::tile_number(int operand, int64_t tile, Val i) {
  std::vector<int> batch = h.batch_of(s, operand);
  const SpecAxis& line_axis = s.axes[operand == h.s ? h.m_axes[0] : h.v_axes[0]];
  Val index = nullptr;
  for (int a : batch) index = index ? add(mul(index, extent(a)), env[name(a)]) : env[name(a)];
  Val number = e.b.CreateUDiv(i, e.i64(tile));
  return index ? add(mul(index, e.dim(ceildiv(line_axis.extent, Dim(tile)), {})), number) : number;
}
Val ContractionFactors::prepared_tile(int operand, int64_t tile, Val i) {
  Val k = add(mul(tile_number(operand, tile, i), e.dim(h.extent_k(s), {})), mul(k0, e.dim(h.inner_k(s), {})));
  if (operand == h.v && h.weights) k = e.b.CreateUDiv(k, e.i64(h.weights->per_word()));
  return e.b.CreateGEP(e.element_type(s.operands[operand].dtype), e.ptrs[s.operands[operand].ptr], mul(k, tile * h.dot));
}

void ContractionFactors::pack_panel(Val q0) {
  Val left = e.b.CreateSub(line, q0);
  Val full = e.b.CreateICmpSGE(left, e.i64(s.config.nr));
  auto body = [&](bool masked) {
    SymbolEnv where = env;
    where[name(h.v_axes[0])] = o0;
    std::vector<Val> q(static_cast<size_t>(nv));
    for (int j = 0; j < nv; ++j) q[j] = e.b.CreateAdd(e.splat(add(q0, static_cast<int64_t>(j) * lanes), lanes), e.lane_ids(lanes));
    k_loops(where, [&](SymbolEnv& in, Val k, bool tail) {
      Val row = e.b.CreateGEP(e.b.getInt8Ty(), panel, mul(k, s.config.nr * vector_bytes() / lanes));
      for (int j = 0; j < nv; ++j) {
        // The mask as a guard on q: a masked load touches nothing beyond the line.
        SpecGuard within{Dim::symbol("q.line"), Dim(0), Dim::symbol("q.end")};
        in["q.line"] = q[j];
        in["q.end"] = line;
        place_q(in, q[j]);
        const SpecGuard* guard = masked ? &within : nullptr;
        Val v = h.dot > 1 ? dot_vector(in, tail, guard) : e.splat(factor(true, in, name(h.v_axes.back()), lanes, guard), lanes);
        e.b.CreateAlignedStore(v, e.b.CreateGEP(e.b.getInt8Ty(), row, e.i64(j * vector_bytes())), llvm::Align(static_cast<uint64_t>(vector_bytes())));
      }
    });
  };
  auto* whole = llvm::BasicBlock::Create(e.cx, "pack.full", e.fn);
  auto* part = llvm::BasicBlock::Create(e.cx, "pack.part", e.fn);
  auto* done = llvm::BasicBlock::Create(e.cx, "pack.done", e.fn);
  e.b.CreateCondBr(full, whole, part);
  e.b.SetInsertPoint(whole);
  body(false);
  e.b.CreateBr(done);
  e.b.SetInsertPoint(part);
  body(true);
  e.b.CreateBr(done);
  e.b.SetInsertPoint(done);
}

// Sets the V axes at line positions q (vector).
void ContractionFactors::place_q(SymbolEnv& in, Val q) {
  if (h.v_axes.size() == 1) {
    in[name(h.v_axes[0])] = e.b.CreateAdd(q, e.splat(o0, lanes));
  } else if (h.by_address) {
    in[name(h.v_axes[0])] = o0;
    in[name(h.v_axes[1])] = q;
  } else {
    Val p = e.splat(e.dim(h.pitch, {}), lanes);
    in[name(h.v_axes[0])] = e.b.CreateAdd(e.splat(o0, lanes), e.b.CreateUDiv(q, p));
    in[name(h.v_axes[1])] = e.b.CreateURem(q, p);
  }
}

void ContractionFactors::place_m(SymbolEnv& in, Val m) {
  for (size_t k = h.m_axes.size(); k-- > 0;) {
    if (k == 0) {
      in[name(h.m_axes[0])] = m;
    } else {
      Val n = extent(h.m_axes[k]);
      in[name(h.m_axes[k])] = e.b.CreateURem(m, n);
      m = e.b.CreateUDiv(m, n);
    }
  }
}

void ContractionFactors::pack_s() {
  int64_t mr = s.config.mr;
  e.loop(m0, m1, e.i64(1), "sm", [&](Val m) {
    Val r = e.b.CreateSub(m, m0);
    Val tile = mul(e.b.CreateUDiv(r, e.i64(mr)), mul(k_count, mr));
    Val base = add(tile, e.b.CreateURem(r, e.i64(mr)));
    SymbolEnv where = env;
    place_m(where, m);
    k_loops(where, [&](SymbolEnv& in, Val k, bool tail) {
      Val word = h.dot > 1 ? dot_word(in, tail) : factor(false, in, "", 1);
      e.b.CreateAlignedStore(word, at(s_block, add(base, mul(k, mr))), align());
    });
  });
}

// --- several steps of K in one instruction ------------------------------------------------------------------------------

// `dot` steps of K at the lanes of the line, a lane's side by side.
Val ContractionFactors::dot_vector(SymbolEnv& in, bool tail, const SpecGuard* line_guard) {
  const std::string& k_name = name(h.k_axes[0]);
  Val group = in[k_name];
  std::vector<Val> steps;
  for (int64_t t = 0; t < h.dot; ++t) {
    in[k_name] = add(mul(group, h.dot), t);
    std::vector<SpecGuard> guards;
    if (line_guard) guards.push_back(*line_guard);
    if (tail) guards.push_back(within_k());
    steps.push_back(e.splat(elements(h.v, in, name(h.v_axes.back()), lanes, std::move(guards)), lanes));
  }
  in[k_name] = group;
  return interleave(steps);
}
Val ContractionFactors::interleave(const std::vector<Val>& steps) {
  auto joined = [&](Val a, Val b) {
    std::vector<int> all;
    for (unsigned k = 0; k < 2 * llvm::cast<llvm::FixedVectorType>(a->getType())->getNumElements(); ++k) all.push_back(static_cast<int>(k));
    return e.b.CreateShuffleVector(a, b, all);
  };
  std::vector<int> order;
  if (h.dot == 2) {
    for (int k = 0; k < lanes; ++k) order.insert(order.end(), {k, k + lanes});
    return e.b.CreateShuffleVector(steps[0], steps[1], order);
  }
  // First words of four lanes, one of each step, then bytes within 16: what shuffles of vectors can do.
  Val words = e.b.CreateBitCast(joined(joined(steps[0], steps[1]), joined(steps[2], steps[3])), e.vec(e.b.getInt32Ty(), lanes));
  for (int k = 0; k < lanes; ++k) order.push_back(k % 4 * (lanes / 4) + k / 4);
  words = e.b.CreateShuffleVector(words, order);
  order.clear();
  for (int k = 0; k < 4 * lanes; ++k) order.push_back(k / 16 * 16 + k % 4 * 4 + k % 16 / 4);
  return e.b.CreateShuffleVector(e.b.CreateBitCast(words, e.vec(e.b.getInt8Ty(), 4 * lanes)), order);
}

// `dot` steps of K of one row.
Val ContractionFactors::dot_word(SymbolEnv& in, bool tail) {
  const int n = static_cast<int>(h.dot);
  SymbolEnv where = in;
  const std::string& k_name = name(h.k_axes[0]);
  where[k_name] = e.b.CreateAdd(e.splat(mul(in[k_name], h.dot), n), e.lane_ids(n));
  Val v = elements(h.s, where, k_name, n, tail ? std::vector{within_k()} : std::vector<SpecGuard>());
  if (h.dot == 2 && !halves()) v = e.cast(v, s.operands[h.s].dtype, DType::i16, true);
  if (h.flip) v = e.b.CreateXor(v, llvm::ConstantInt::get(v->getType(), 0x80));
  return e.b.CreateBitCast(v, type);
}

int64_t ContractionFactors::vector_bytes() const {
  return h.dot > 1 ? lanes * h.dot * byte_size(s.operands[h.v].dtype) : lanes * byte_size(panel_type);
}

// --- quantised weights --------------------------------------------------------------------------------------------------

Val ContractionFactors::beside(int operand, Val q0, Val k, int j) {
  const SpecOperand& o = s.operands[operand];
  const int64_t steps = *steps_of(s, operand, h.k_axes);
  Val at_k = e.b.CreateUDiv(add(mul(k0, e.dim(h.inner_k(s), {})), k), e.i64(steps));
  Val row = add(mul(tile_number(operand, s.config.nr, add(o0, q0)), e.dim(floordiv(h.extent_k(s), Dim(steps)), {})), at_k);
  llvm::Type* element = e.element_type(o.dtype);
  Val from = e.b.CreateGEP(element, e.ptrs[o.ptr], add(mul(row, s.config.nr), static_cast<int64_t>(j) * lanes));
  const llvm::Align whole(static_cast<uint64_t>(lanes * byte_size(o.dtype)));
  Val v = e.load_convert(o.dtype, e.b.CreateAlignedLoad(e.vec(element, lanes), from, whole));
  return is_int(o.dtype) ? e.cast(v, o.dtype, DType::f32, true) : v;
}

Val ContractionFactors::scale(Val q0, Val k, int j) {
  return h.weights->scale < 0 ? Val(llvm::ConstantFP::get(vtype, h.weights->fixed_scale)) : beside(h.weights->scale, q0, k, j);
}

void ContractionFactors::unpack_panel(Val words, Val q0) {
  const int64_t steps = h.weights->per_word(), nr = s.config.nr;
  e.loop(e.i64(0), k_count, e.i64(h.weights->chunk), "group", [&](Val begin) {
    std::vector<Val> zeros, scales;
    for (int j = 0; j < nv; ++j) {
      zeros.push_back(zero_point(q0, begin, j));
      scales.push_back(scale(q0, begin, j));
    }
    e.loop(begin, minimum(add(begin, h.weights->chunk), k_count), e.i64(steps), "word", [&](Val k) {
      for (int j = 0; j < nv; ++j) {
        const int64_t column = static_cast<int64_t>(j) * lanes;
        Val from = at(words, add(mul(e.b.CreateUDiv(k, e.i64(steps)), nr), column));
        Val word = e.b.CreateAlignedLoad(e.vec(e.b.getInt32Ty(), lanes), from, llvm::Align(static_cast<uint64_t>(vector_bytes())));
        for (int64_t t = 0; t < steps; ++t) {
          Val v = e.b.CreateFMul(weight(word, t, zeros[j]), scales[j]);
          e.b.CreateAlignedStore(v, at(panel, add(mul(add(k, t), nr), column)), llvm::Align(static_cast<uint64_t>(vector_bytes())));
        }
      }
    });
  });
}

Val ContractionFactors::weight(Val words, int64_t t, Val zero) {
  const QuantisedWeights& w = *h.weights;
  auto less = [&](Val v) { return zero ? e.b.CreateFSub(v, zero) : v; };
  auto number = [&](int64_t v) { return llvm::ConstantInt::get(words->getType(), static_cast<uint64_t>(v)); };
  if (w.bits == 4 && lanes == 16) {  // a table of all values; what it is asked with may have further bits
    std::vector<float> table;
    for (int v = 0; v < 16; ++v) table.push_back(static_cast<float>((w.is_signed && v >= 8 ? v - 16 : v) - w.fixed_zero));
    Val at = t ? e.b.CreateLShr(words, number(4 * t)) : words;
    return less(e.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_permvar_sf_512, {}, {llvm::ConstantDataVector::get(e.cx, table), at}));
  }
  Val v = words;
  if (w.is_signed) v = e.b.CreateAShr(e.b.CreateShl(words, number(32 - w.bits * (t + 1))), number(32 - w.bits));
  else v = e.b.CreateAnd(e.b.CreateLShr(words, number(w.bits * t)), number((1 << w.bits) - 1));
  v = e.b.CreateSIToFP(v, e.vec(e.b.getFloatTy(), lanes));
  return less(w.fixed_zero == 0 ? v : e.b.CreateFSub(v, llvm::ConstantFP::get(v->getType(), w.fixed_zero)));
}

Val ContractionFactors::panel_vector(Val k, int j) {
  if (in_words()) k = e.b.CreateUDiv(k, e.i64(steps_at_once()));
  Val from = e.b.CreateGEP(e.b.getInt8Ty(), panel, add(mul(k, s.config.nr / lanes * vector_bytes()), j * vector_bytes()));
  const llvm::Align whole(static_cast<uint64_t>(vector_bytes()));
  if (in_words()) return e.b.CreateAlignedLoad(e.vec(e.b.getInt32Ty(), lanes), from, whole);
  if (h.dot == 4 || halves()) return e.b.CreateAlignedLoad(vtype, from, whole);
  if (h.dot == 2) return e.cast(e.b.CreateAlignedLoad(e.vec(e.b.getInt8Ty(), 2 * lanes), from, whole), s.operands[h.v].dtype, DType::i16, true);
  return e.load_convert(panel_type, e.b.CreateAlignedLoad(e.vec(e.element_type(panel_type), lanes), from, whole));
}

Val ContractionFactors::multiply_add(Val a, Val b, Val c) {
  namespace x86 = llvm::Intrinsic;
  if (halves()) {
    llvm::Type* pairs = e.vec(llvm::Type::getBFloatTy(e.cx), 2 * lanes);
    return e.b.CreateIntrinsic(x86::x86_avx512bf16_dpbf16ps_512, {}, {c, e.b.CreateBitCast(a, pairs), e.b.CreateBitCast(b, pairs)});
  }
  if (type->isFloatingPointTy()) {
    if (e.target.fma) return e.b.CreateIntrinsic(llvm::Intrinsic::fma, {vtype}, {a, b, c});
    return e.b.CreateFAdd(c, e.b.CreateFMul(a, b));
  }
  if (h.dot == 4) {
    if (is_unsigned_int(s.operands[h.v].dtype)) std::swap(a, b);  // the first one is unsigned
    return e.b.CreateIntrinsic(lanes == 16 ? x86::x86_avx512_vpdpbusd_512 : x86::x86_avx512_vpdpbusd_256, {}, {c, a, b});
  }
  if (h.dot == 2) {
    const auto pairs = lanes == 16 ? x86::x86_avx512_pmaddw_d_512 : lanes == 8 ? x86::x86_avx2_pmadd_wd : x86::x86_sse2_pmadd_wd;
    return e.b.CreateAdd(c, e.b.CreateIntrinsic(pairs, {}, {e.b.CreateBitCast(a, b->getType()), b}));
  }
  return e.b.CreateAdd(c, e.b.CreateMul(a, b));
}

Val ContractionFactors::start(int j) {
  if (h.flip) return e.b.CreateLoad(vtype, corrections_[static_cast<size_t>(j)]);
  return llvm::Constant::getNullValue(vtype);
}
void ContractionFactors::sum_panel() {
  if (!h.flip) return;
  if (corrections_.empty())
    for (int j = 0; j < nv; ++j) corrections_.push_back(e.alloca_at_entry(vtype, "panel.sum"));
  for (Val sum : corrections_) e.b.CreateStore(llvm::Constant::getNullValue(vtype), sum);
  Val ones = llvm::ConstantInt::get(vtype, 0x01010101);
  e.loop(e.i64(0), k_count, e.i64(1), "ks", [&](Val k) {
    for (int j = 0; j < nv; ++j) {
      Val& sum = corrections_[static_cast<size_t>(j)];
      e.b.CreateStore(multiply_add(ones, panel_vector(k, j), e.b.CreateLoad(vtype, sum)), sum);
    }
  });
  // What was signed in S is 128 more now, what was unsigned 128 less.
  const int64_t by = is_unsigned_int(s.operands[h.v].dtype) ? 128 : -128;
  for (Val sum : corrections_)
    e.b.CreateStore(e.b.CreateMul(e.b.CreateLoad(vtype, sum), llvm::ConstantInt::get(vtype, static_cast<uint64_t>(by), true)), sum);
}

}  // namespace weft
