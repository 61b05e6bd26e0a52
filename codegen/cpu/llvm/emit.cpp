// Emitter: types, loops, Dims, memory accesses and scalar programs as LLVM IR.
#include "codegen/cpu/llvm/emit.h"

#include <llvm/IR/Intrinsics.h>

#include "ir/base/check.h"

namespace weft {

Emitter::Emitter(const KernelSpec& s, const Target& t, const std::string& symbol)
    : spec(s), target(t), module(std::make_unique<llvm::Module>("kernel", cx)), b(cx) {
  auto* ptr = b.getPtrTy();
  auto* type = llvm::FunctionType::get(b.getVoidTy(), {ptr, ptr, b.getInt64Ty(), b.getInt64Ty(), ptr}, false);
  fn = llvm::Function::Create(type, llvm::Function::ExternalLinkage, symbol, *module);
  fn->addFnAttr("target-cpu", target.llvm_cpu);
  fn->addFnAttr("target-features", target.llvm_features);
  fn->addFnAttr("prefer-vector-width", std::to_string(target.vector_bytes * 8));
  fn->addFnAttr(llvm::Attribute::NoUnwind);
  arg_ptrs = fn->getArg(0);
  arg_dims = fn->getArg(1);
  arg_begin = fn->getArg(2);
  arg_end = fn->getArg(3);
  arg_scratch = fn->getArg(4);
  b.SetInsertPoint(llvm::BasicBlock::Create(cx, "entry", fn));
  for (int k = 0; k < spec.num_ptrs; ++k)
    ptrs.push_back(b.CreateLoad(ptr, b.CreateConstInBoundsGEP1_64(ptr, arg_ptrs, static_cast<uint64_t>(k)), "p" + std::to_string(k)));
  for (const SpecAxis& a : spec.axes) ranges[a.name] = {0, a.extent.is_const() ? a.extent.value() - 1 : INT64_MAX, 0};
  for (size_t k = 0; k < spec.params.size(); ++k)
    params[spec.params[k]] = b.CreateLoad(b.getInt64Ty(), b.CreateConstInBoundsGEP1_64(b.getInt64Ty(), arg_dims, k), spec.params[k]);
  read_only.assign(static_cast<size_t>(spec.num_ptrs), has_reduction(spec));
  for (const SpecOperand& o : spec.operands)
    if (o.write) read_only[o.ptr] = false;
  for (auto [read, written] : in_place_pairs(spec)) read_only[static_cast<size_t>(read)] = false;
}

llvm::Type* Emitter::element_type(DType t) {
  switch (t) {
    case DType::f32: return b.getFloatTy();
    case DType::f64: return b.getDoubleTy();
    default: return b.getIntNTy(static_cast<unsigned>(byte_size(t) * 8));
  }
}
llvm::Type* Emitter::compute_type(DType t) {
  if (t == DType::f64) return b.getDoubleTy();
  if (is_float(t)) return b.getFloatTy();
  if (t == DType::b1) return b.getInt1Ty();
  return b.getIntNTy(static_cast<unsigned>(byte_size(t) * 8));
}
llvm::Type* Emitter::vec(llvm::Type* t, int lanes) { return lanes == 1 ? t : llvm::FixedVectorType::get(t, static_cast<unsigned>(lanes)); }
int Emitter::natural_lanes(DType t) const {
  int bytes = t == DType::f64 || t == DType::i64 || t == DType::u64 ? 8 : is_float(t) ? 4 : byte_size(t);
  return target.vector_bytes / bytes;
}
Val Emitter::constant(DType t, const ScalarInst& c) {
  llvm::Type* type = compute_type(t);
  if (type->isFloatingPointTy()) return llvm::ConstantFP::get(type, round_to(t, c.f));
  return llvm::ConstantInt::get(type, static_cast<uint64_t>(c.i), is_signed_int(t));
}
Val Emitter::lane_ids(int lanes) {
  std::vector<uint64_t> ids;
  for (int k = 0; k < lanes; ++k) ids.push_back(static_cast<uint64_t>(k));
  return llvm::ConstantDataVector::get(cx, ids);
}
Val Emitter::alloca_at_entry(llvm::Type* t, const char* name) {
  llvm::IRBuilder<> at(&fn->getEntryBlock(), fn->getEntryBlock().begin());
  return at.CreateAlloca(t, nullptr, name);
}

void Emitter::loop(Val lo, Val hi, Val step, const char* name, const std::function<void(Val)>& body) {
  auto* head = llvm::BasicBlock::Create(cx, std::string(name) + ".head", fn);
  auto* in = llvm::BasicBlock::Create(cx, std::string(name) + ".body", fn);
  auto* exit = llvm::BasicBlock::Create(cx, std::string(name) + ".exit", fn);
  auto* from = b.GetInsertBlock();
  b.CreateBr(head);
  b.SetInsertPoint(head);
  auto* i = b.CreatePHI(b.getInt64Ty(), 2, name);
  i->addIncoming(lo, from);
  b.CreateCondBr(b.CreateICmpSLT(i, hi), in, exit);
  b.SetInsertPoint(in);
  body(i);
  Val next = b.CreateNSWAdd(i, step);
  i->addIncoming(next, b.GetInsertBlock());
  b.CreateBr(head);
  b.SetInsertPoint(exit);
}

void Emitter::branch(Val cond, const std::function<void()>& then) {
  auto* yes = llvm::BasicBlock::Create(cx, "then", fn);
  auto* join = llvm::BasicBlock::Create(cx, "join", fn);
  b.CreateCondBr(cond, yes, join);
  b.SetInsertPoint(yes);
  then();
  b.CreateBr(join);
  b.SetInsertPoint(join);
}

int lanes_of(Val v) {
  auto* t = llvm::dyn_cast<llvm::FixedVectorType>(v->getType());
  return t ? static_cast<int>(t->getNumElements()) : 1;
}
// Gives both the same number of lanes.
static void match(Emitter& e, Val& x, Val& y) {
  int n = std::max(lanes_of(x), lanes_of(y));
  x = e.splat(x, n);
  y = e.splat(y, n);
}

// Rounds to minus infinity, for divisors above 0.
static Val floor_division(Emitter& e, DimFn fn, Val x, Val y) {
  Val r = e.b.CreateSRem(x, y), zero = llvm::Constant::getNullValue(x->getType());
  Val below = e.b.CreateICmpSLT(r, zero);
  if (fn == DimFn::mod) return e.b.CreateSelect(below, e.b.CreateAdd(r, y), r);
  return e.b.CreateSub(e.b.CreateSDiv(x, y), e.b.CreateZExt(below, x->getType()));
}

Val Emitter::dim(const Dim& d, const SymbolEnv& env) {
  if (d.is_const()) return i64(d.value());
  CHECK(!d.is_overflow());
  Val sum = d.expr()->constant ? i64(d.expr()->constant) : nullptr;
  for (const DimTerm& t : d.expr()->terms) {
    Val p = nullptr;
    for (const DimAtom& a : t.atoms) {
      Val v;
      if (a.fn == DimFn::symbol) {
        auto it = env.find(a.name);
        if (it == env.end()) {
          it = params.find(a.name);
          CHECK(it != params.end());
        }
        v = it->second;
      } else {
        Val x = dim(a.args[0], env), y = dim(a.args[1], env);
        match(*this, x, y);
        if (a.fn == DimFn::min || a.fn == DimFn::max) {
          v = b.CreateSelect(a.fn == DimFn::min ? b.CreateICmpSLT(x, y) : b.CreateICmpSGT(x, y), x, y);
        } else {
          bool natural = range_of(a.args[0], ranges).lo >= 0;
          v = natural ? (a.fn == DimFn::floordiv ? b.CreateUDiv(x, y) : b.CreateURem(x, y)) : floor_division(*this, a.fn, x, y);
        }
      }
      if (p) match(*this, p, v);
      p = p ? b.CreateMul(p, v, "", true, true) : v;
    }
    if (t.coef != 1) p = b.CreateMul(p, splat(i64(t.coef), lanes_of(p)), "", false, true);
    if (sum) match(*this, sum, p);
    sum = sum ? b.CreateAdd(sum, p, "", false, true) : p;
  }
  return sum;
}

Val Emitter::load_convert(DType t, Val m) {
  if (t == DType::b1) return b.CreateICmpNE(m, llvm::Constant::getNullValue(m->getType()));
  if (is_float(t) && t != DType::f32 && t != DType::f64) return narrow_to_float(t, m);
  return m;
}
Val Emitter::store_convert(DType t, Val v, bool saturate) {
  int n = lanes_of(v);
  if (t == DType::b1) return b.CreateZExt(v, vec(b.getInt8Ty(), n));
  if (is_float(t) && t != DType::f32 && t != DType::f64) return float_to_narrow(t, v, saturate);
  return v;
}

// The address of an operand as it runs over the vector symbol: scalar base and a constant or symbolic lane stride, or
// one index per lane.
namespace {
struct Address {
  Val base;        // element index at lane 0 (scalar), or null
  Val stride;      // scalar i64 element stride per lane, or null
  Val indices;     // per lane, when not affine
  int64_t known = -1;  // constant stride
};
Address address(Emitter& e, const SpecOperand& o, const SymbolEnv& env, const std::string& vs, int lanes) {
  Dim lin = o.linear();
  Address a{};
  bool lane_indirect = false;
  for (const std::string& s : lin.symbols()) {
    auto it = env.find(s);
    if (s != vs && it != env.end() && e.is_vec(it->second)) lane_indirect = true;
  }
  Dim rest;
  auto coef = vs.empty() || lanes == 1 ? std::optional<Dim>(Dim(0)) : lin.coefficient(vs, &rest);
  if (vs.empty() || lanes == 1) rest = lin;
  if (!lane_indirect && coef) {
    if (!vs.empty() && lanes > 1) {
      SymbolEnv at = env;
      // Lane 0 of the vector symbol.
      Val v = env.find(vs)->second;
      at[vs] = e.is_vec(v) ? e.b.CreateExtractElement(v, uint64_t{0}) : v;
      a.base = e.dim(lin, at);
    } else {
      a.base = e.dim(lin, env);
    }
    a.stride = e.dim(*coef, env);
    if (coef->is_const()) a.known = coef->value();
    return a;
  }
  a.indices = e.dim(lin, env);
  return a;
}
Val guard_mask(Emitter& e, const SpecOperand& o, const SymbolEnv& env) {
  Val mask = nullptr;
  for (const SpecGuard& g : o.guards) {
    if (!e.settled_axis.empty() && g.expr.contains(e.settled_axis)) continue;
    Val x = e.dim(g.expr, env), lo = e.dim(g.lo, env), hi = e.dim(g.hi, env);
    match(e, x, lo);
    match(e, x, hi);
    // lo <= x < hi as one unsigned comparison.
    Val c = e.b.CreateICmpULT(e.b.CreateSub(x, lo), e.b.CreateSub(hi, lo));
    if (mask) match(e, mask, c);
    mask = mask ? e.b.CreateAnd(mask, c) : c;
  }
  return mask;
}
}  // namespace

Val Emitter::load(const SpecOperand& o, const SymbolEnv& env, const std::string& vs, int lanes) {
  llvm::Type* et = element_type(o.dtype);
  auto aligned_load = [&](llvm::Type* t, Val p, llvm::Align a) {
    llvm::LoadInst* l = b.CreateAlignedLoad(t, p, a);
    if (read_only[o.ptr]) l->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(cx, {}));
    return l;
  };
  llvm::Align align(static_cast<uint64_t>(byte_size(o.dtype)));
  Val base = ptrs[o.ptr];
  Val mask = guard_mask(*this, o, env);
  Address a = address(*this, o, env, vs, lanes);
  llvm::Constant* fill = nullptr;
  if (mask) {
    ScalarInst c;
    c.f = o.fill;
    c.i = static_cast<int64_t>(o.fill);
    if (is_float(o.dtype) && o.dtype != DType::f32 && o.dtype != DType::f64) {
      uint32_t bits = 0;
      store_row_f64(o.dtype, &o.fill, &bits, 1);
      fill = llvm::ConstantInt::get(et, bits);
    } else {
      fill = et->isFloatingPointTy() ? llvm::ConstantFP::get(et, o.fill) : llvm::ConstantInt::get(et, static_cast<uint64_t>(c.i), true);
    }
  }
  if (lanes == 1 || (a.base && a.known == 0 && !(mask && is_vec(mask)))) {
    Val p = b.CreateGEP(et, base, a.base ? a.base : a.indices);
    if (!mask) return load_convert(o.dtype, aligned_load(et, p, align));
    // A load that may lie outside its buffer must not happen.
    Val slot = alloca_at_entry(et, "guarded");
    b.CreateStore(fill, slot);
    branch(mask, [&] { b.CreateStore(b.CreateAlignedLoad(et, p, align), slot); });
    return load_convert(o.dtype, b.CreateLoad(et, slot));
  }
  auto* vt = vec(et, lanes);
  if (mask) mask = splat(mask, lanes);
  Val fills = fill ? llvm::ConstantVector::getSplat(llvm::ElementCount::getFixed(static_cast<unsigned>(lanes)), fill) : nullptr;
  if (a.base && a.known == 1) {
    Val p = b.CreateGEP(et, base, a.base);
    if (mask) return load_convert(o.dtype, b.CreateMaskedLoad(vt, p, align, mask, fills));
    return load_convert(o.dtype, aligned_load(vt, p, align));
  }
  if (a.base && a.known == 2 && !mask) {
    // Two vectors that end at the last element wanted, and every other lane of them.
    Val p = b.CreateGEP(et, base, a.base);
    Val lo = aligned_load(vt, p, align), hi = aligned_load(vt, b.CreateGEP(et, p, i64(lanes - 1)), align);
    std::vector<int> even;
    for (int k = 0; k < lanes; ++k) even.push_back(2 * k < lanes ? 2 * k : 2 * k + 1);
    return load_convert(o.dtype, b.CreateShuffleVector(lo, hi, even));
  }
  Val idx = a.indices;
  if (!idx) idx = b.CreateAdd(splat(a.base, lanes), b.CreateMul(lane_ids(lanes), splat(a.stride, lanes)));
  idx = splat(idx, lanes);
  if (!mask && (target.vector_bytes < 32 || byte_size(o.dtype) < 4)) {
    // No gather instruction: element by element.
    Val v = llvm::PoisonValue::get(vt);
    for (int k = 0; k < lanes; ++k) {
      Val p = b.CreateGEP(et, base, b.CreateExtractElement(idx, static_cast<uint64_t>(k)));
      v = b.CreateInsertElement(v, b.CreateAlignedLoad(et, p, align), static_cast<uint64_t>(k));
    }
    return load_convert(o.dtype, v);
  }
  Val p = b.CreateGEP(et, base, idx);
  return load_convert(o.dtype, b.CreateMaskedGather(vt, p, align, mask, fills));
}

void Emitter::store(const SpecOperand& o, Val v, const SymbolEnv& env, const std::string& vs, int lanes) {
  llvm::Type* et = element_type(o.dtype);
  llvm::Align align(static_cast<uint64_t>(byte_size(o.dtype)));
  Address a = address(*this, o, env, vs, lanes);
  v = store_convert(o.dtype, splat(v, lanes), false);  // what a cast left alone stays
  if (lanes == 1) {
    b.CreateAlignedStore(v, b.CreateGEP(et, ptrs[o.ptr], a.base ? a.base : a.indices), align);
  } else if (a.base && a.known == 1) {
    b.CreateAlignedStore(v, b.CreateGEP(et, ptrs[o.ptr], a.base), align);
  } else {
    Val idx = a.indices ? splat(a.indices, lanes) : b.CreateAdd(splat(a.base, lanes), b.CreateMul(lane_ids(lanes), splat(a.stride, lanes)));
    for (int k = 0; k < lanes; ++k)
      b.CreateAlignedStore(b.CreateExtractElement(v, static_cast<uint64_t>(k)),
          b.CreateGEP(et, ptrs[o.ptr], b.CreateExtractElement(idx, static_cast<uint64_t>(k))), align);
  }
}

std::vector<Val> Emitter::program(const ScalarProgram& p, int lanes, const InputFn& input) {
  std::vector<Val> v;
  for (const ScalarInst& x : p.insts) {
    if (x.prim == Prim::input) v.push_back(input(x.index, v));
    else if (x.prim == Prim::constant) v.push_back(constant(x.type, x));
    else v.push_back(prim(p, x, v, lanes));
  }
  std::vector<Val> out;
  for (int o : p.outputs) out.push_back(v[o]);
  return out;
}

std::vector<Val> Emitter::stage_body(const SpecStage& st, const SymbolEnv& env, const std::string& vs, int lanes,
    const std::function<Val(int, int)>& acc) {
  return program(st.body, lanes, [&](int k, const std::vector<Val>& so_far) -> Val {
    const StageInput& in = st.inputs[k];
    if (in.kind == StageInput::Kind::acc) return acc(in.stage, in.output);
    if (in.kind == StageInput::Kind::index) return dim(in.dim, env);
    const SpecOperand& o = spec.operands[in.operand];
    SymbolEnv at = env;
    std::vector<std::string> names = o.linear().symbols();
    for (const SpecGuard& g : o.guards)
      for (std::string& name : g.expr.symbols()) names.push_back(std::move(name));
    for (const std::string& name : names) {
      if (name[0] != '$' || at.count(name)) continue;
      int id = std::stoi(name.substr(1));
      Val v = so_far[id];
      llvm::Type* ty = vec(b.getInt64Ty(), lanes_of(v));
      DType t = st.body.type(id);
      at[name] = is_unsigned_int(t) || t == DType::b1 ? b.CreateZExtOrTrunc(v, ty) : b.CreateSExtOrTrunc(v, ty);
    }
    return load(o, at, vs, lanes);
  });
}

Val Emitter::prim(const ScalarProgram& p, const ScalarInst& x, const std::vector<Val>& vals, int lanes) {
  Val a = vals[x.args[0]], c = x.args[1] >= 0 ? vals[x.args[1]] : nullptr, d = x.args[2] >= 0 ? vals[x.args[2]] : nullptr;
  int n = std::max({lanes_of(a), c ? lanes_of(c) : 1, d ? lanes_of(d) : 1});
  a = splat(a, n);
  if (c) c = splat(c, n);
  if (d) d = splat(d, n);
  DType t = p.type(x.args[0]);
  bool fl = is_float(t), uns = is_unsigned_int(t) || t == DType::b1;
  llvm::Type* ty = a->getType();
  auto intrinsic = [&](llvm::Intrinsic::ID id) { return b.CreateUnaryIntrinsic(id, a); };
  auto shift = [&](bool left) {
    Val width = llvm::ConstantInt::get(ty, ty->getScalarSizeInBits());
    Val r = left ? b.CreateShl(a, c) : uns ? b.CreateLShr(a, c) : b.CreateAShr(a, c);
    return b.CreateSelect(b.CreateICmpULT(c, width), r, llvm::Constant::getNullValue(ty));
  };
  // x/0 is 0 and MIN/-1 wraps: division by 1 replaces both before it happens.
  auto int_div = [&](bool rem) {
    Val zero = llvm::Constant::getNullValue(ty), one = llvm::ConstantInt::get(ty, 1);
    Val by_zero = b.CreateICmpEQ(c, zero);
    Val safe = b.CreateSelect(by_zero, one, c);
    Val r;
    if (uns) {
      r = rem ? b.CreateURem(a, safe) : b.CreateUDiv(a, safe);
    } else {
      Val minus = llvm::Constant::getAllOnesValue(ty), by_minus = b.CreateICmpEQ(c, minus);
      Val div = b.CreateSelect(by_minus, one, safe);
      r = rem ? b.CreateSRem(a, div) : b.CreateSelect(by_minus, b.CreateNeg(a), b.CreateSDiv(a, div));
    }
    return b.CreateSelect(by_zero, zero, r);
  };
  auto min_max = [&](bool is_min) -> Val {
    if (!fl)
      return b.CreateSelect(is_min ? (uns ? b.CreateICmpULT(a, c) : b.CreateICmpSLT(a, c))
                                   : (uns ? b.CreateICmpUGT(a, c) : b.CreateICmpSGT(a, c)),
          a, c);
    // select(a < c, a, c) yields c when either is NaN: with a constant in a's place that propagates a NaN in c.
    if (llvm::isa<llvm::Constant>(c)) std::swap(a, c);
    Val m = b.CreateSelect(is_min ? b.CreateFCmpOLT(a, c) : b.CreateFCmpOGT(a, c), a, c);
    return llvm::isa<llvm::Constant>(a) ? m : b.CreateSelect(b.CreateFCmpUNO(a, a), a, m);
  };
  switch (x.prim) {
    case Prim::add: return fl ? b.CreateFAdd(a, c) : b.CreateAdd(a, c);
    case Prim::sub: return fl ? b.CreateFSub(a, c) : b.CreateSub(a, c);
    case Prim::mul: return fl ? b.CreateFMul(a, c) : b.CreateMul(a, c);
    case Prim::div: return fl ? b.CreateFDiv(a, c) : int_div(false);
    case Prim::rem: return fl ? fmod(a, c) : int_div(true);
    case Prim::mod: {
      Val r = fl ? fmod(a, c) : int_div(true), zero = llvm::Constant::getNullValue(ty);
      if (uns) return r;
      Val some = fl ? b.CreateFCmpONE(r, zero) : b.CreateICmpNE(r, zero);
      Val differ = fl ? b.CreateXor(b.CreateFCmpOLT(r, zero), b.CreateFCmpOLT(c, zero)) : b.CreateICmpSLT(b.CreateXor(r, c), zero);
      return b.CreateSelect(b.CreateAnd(some, differ), fl ? b.CreateFAdd(r, c) : b.CreateAdd(r, c), r);
    }
    case Prim::min: return min_max(true);
    case Prim::max: return min_max(false);
    case Prim::pow: return fl ? pow(a, c) : int_pow(a, c, uns);
    case Prim::fma:
      if (!fl) return b.CreateAdd(b.CreateMul(a, c), d);
      return target.fma ? b.CreateIntrinsic(llvm::Intrinsic::fma, {ty}, {a, c, d}) : b.CreateFAdd(b.CreateFMul(a, c), d);
    case Prim::neg: return fl ? b.CreateFNeg(a) : b.CreateNeg(a);
    case Prim::abs:
      if (fl) return intrinsic(llvm::Intrinsic::fabs);
      return uns ? a : b.CreateSelect(b.CreateICmpSLT(a, llvm::Constant::getNullValue(ty)), b.CreateNeg(a), a);
    case Prim::sign: {
      Val zero = llvm::Constant::getNullValue(ty);
      if (!fl) {
        Val one = llvm::ConstantInt::get(ty, 1), pos = b.CreateSelect(uns ? b.CreateICmpNE(a, zero) : b.CreateICmpSGT(a, zero), one, zero);
        return uns ? pos : b.CreateSelect(b.CreateICmpSLT(a, zero), llvm::Constant::getAllOnesValue(ty), pos);
      }
      Val one = llvm::ConstantFP::get(ty, 1.0), minus = llvm::ConstantFP::get(ty, -1.0);
      return b.CreateSelect(b.CreateFCmpOGT(a, zero), one, b.CreateSelect(b.CreateFCmpOLT(a, zero), minus, a));
    }
    case Prim::floor: return fl ? intrinsic(llvm::Intrinsic::floor) : a;
    case Prim::ceil: return fl ? intrinsic(llvm::Intrinsic::ceil) : a;
    case Prim::round: return fl ? intrinsic(llvm::Intrinsic::roundeven) : a;
    case Prim::trunc: return fl ? intrinsic(llvm::Intrinsic::trunc) : a;
    case Prim::round_tf32: {
      llvm::Type* words = vec(b.getInt32Ty(), n);
      Val up = b.CreateAdd(b.CreateBitCast(a, words), llvm::ConstantInt::get(words, 0x1000));
      Val rounded = b.CreateBitCast(b.CreateAnd(up, llvm::ConstantInt::get(words, ~uint32_t{0x1fff})), ty);
      return b.CreateSelect(b.CreateFCmpUNO(a, a), a, rounded);
    }
    case Prim::sqrt: return intrinsic(llvm::Intrinsic::sqrt);
    case Prim::exp: case Prim::expm1: case Prim::log: case Prim::log1p: case Prim::sin: case Prim::cos: case Prim::atan:
    case Prim::tanh: case Prim::erf: case Prim::sigmoid: return math(x.prim, a);
    case Prim::bit_and: return b.CreateAnd(a, c);
    case Prim::bit_or: return b.CreateOr(a, c);
    case Prim::bit_xor: return b.CreateXor(a, c);
    case Prim::bit_not: return b.CreateNot(a);
    case Prim::shl: return shift(true);
    case Prim::shr: return shift(false);
    case Prim::eq: return fl ? b.CreateFCmpOEQ(a, c) : b.CreateICmpEQ(a, c);
    case Prim::ne: return fl ? b.CreateFCmpUNE(a, c) : b.CreateICmpNE(a, c);
    case Prim::lt: return fl ? b.CreateFCmpOLT(a, c) : uns ? b.CreateICmpULT(a, c) : b.CreateICmpSLT(a, c);
    case Prim::le: return fl ? b.CreateFCmpOLE(a, c) : uns ? b.CreateICmpULE(a, c) : b.CreateICmpSLE(a, c);
    case Prim::is_nan: return fl ? b.CreateFCmpUNO(a, a) : llvm::Constant::getNullValue(vec(b.getInt1Ty(), n));
    case Prim::is_inf:
      return fl ? b.CreateFCmpOEQ(intrinsic(llvm::Intrinsic::fabs), llvm::ConstantFP::getInfinity(ty))
                : llvm::Constant::getNullValue(vec(b.getInt1Ty(), n));
    case Prim::select: return b.CreateSelect(a, c, d);
    case Prim::cast: return cast(a, t, x.type, x.i != 0, is_clamped(p, x.args[0], x.type));
    case Prim::bitcast: {
      Val bits = store_convert(t, a);
      Val r = b.CreateBitCast(bits, vec(element_type(x.type), n));
      return load_convert(x.type, r);
    }
    case Prim::input: case Prim::constant: break;
  }
  UNREACHABLE();
}

}  // namespace weft
