// Names, constants and primitives as C++.
#include <charconv>
#include <cmath>

#include "codegen/cuda/emit.h"
#include "ir/base/check.h"

namespace weft {

std::string CudaEmitter::name_of(const std::string& symbol) {
  // Ours are a letter, a number and perhaps letters: i0, r1, n2, i1o. Others, which a hand-written spec may hold, and those
  // that are names of types are told apart.
  static const std::set<std::string> kTaken = {"i8", "i16", "i32", "i64", "i2", "i4"};
  bool plain = symbol.size() >= 2 && std::string("irnvk").find(symbol[0]) != std::string::npos && symbol[1] >= '0' && symbol[1] <= '9';
  std::string out;
  for (char c : symbol) {
    bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    out += word ? std::string(1, c) : "_" + std::to_string(static_cast<unsigned char>(c)) + "_";
  }
  return plain && !kTaken.count(symbol) ? out : "s_" + out;
}

std::string CudaEmitter::memory_type(DType t) {
  switch (t) {
    case DType::b1: return "b1";
    case DType::i4: case DType::i2: case DType::u4: case DType::u2: return "weft::" + std::string(dtype_name(t));
    default: return dtype_name(t);
  }
}
std::string CudaEmitter::value_type(DType t) {
  if (t == DType::f64) return "f64";
  if (is_float(t)) return "f32";
  switch (t) {
    case DType::b1: return "bool";
    case DType::i4: case DType::i2: return "i8";
    case DType::u4: case DType::u2: return "u8";
    default: return dtype_name(t);
  }
}

static std::string float_text(double v, bool single) {
  if (std::isnan(v)) return single ? "as_f32(0x7fc00000u)" : "__longlong_as_double(0x7ff8000000000000ll)";
  if (std::isinf(v)) {
    std::string s = single ? "as_f32(0x7f800000u)" : "__longlong_as_double(0x7ff0000000000000ll)";
    return v < 0 ? "-" + s : s;
  }
  char buffer[64];
  auto end = single ? std::to_chars(buffer, buffer + sizeof buffer, static_cast<float>(v)).ptr : std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
  std::string s(buffer, end);
  if (s.find_first_of(".e") == std::string::npos) s += ".0";
  return single ? s + "f" : s;
}

std::string CudaEmitter::constant(DType t, double f, int64_t i) {
  if (is_float(t)) return float_text(round_to(t, f), t != DType::f64);
  if (t == DType::b1) return i ? "true" : "false";
  if (t == DType::i64) return i == INT64_MIN ? "(-9223372036854775807ll - 1)" : std::to_string(i) + "ll";
  if (t == DType::u64) return std::to_string(static_cast<uint64_t>(i)) + "ull";
  if (t == DType::c64) return "c64{" + std::to_string(static_cast<uint64_t>(i)) + "ull}";
  if (t == DType::c128) return "c128{" + std::to_string(static_cast<uint64_t>(i)) + "ull, 0}";
  return value_type(t) + "(" + std::to_string(i) + ")";
}

std::string CudaEmitter::pointer_type(int ptr) const {
  DType t = DType::u8;
  bool written = false;
  for (auto o = spec.operands.rbegin(); o != spec.operands.rend(); ++o)
    if (o->ptr == ptr) {
      t = o->dtype;
      written = written || o->write;
    }
  return (written ? "" : "const ") + memory_type(t) + "*";
}

std::vector<bool> CudaEmitter::needed(const ScalarProgram& p, const SpecStage* st) const {
  std::vector<bool> want(p.insts.size(), false);
  auto see = [&](const Dim& d) {
    for (const std::string& s : d.symbols())
      if (s[0] == '$') want[static_cast<size_t>(std::stoi(s.substr(1)))] = true;
  };
  for (int o : p.outputs) want[static_cast<size_t>(o)] = true;
  for (size_t k = p.insts.size(); k-- > 0;) {
    if (!want[k]) continue;
    for (int a : p.insts[k].args)
      if (a >= 0) want[static_cast<size_t>(a)] = true;
    if (!st || p.insts[k].prim != Prim::input) continue;
    const StageInput& in = st->inputs[static_cast<size_t>(p.insts[k].index)];
    if (in.kind != StageInput::Kind::load) continue;
    const SpecOperand& o = spec.operands[static_cast<size_t>(in.operand)];
    see(o.linear());
    for (const SpecGuard& g : o.guards)
      for (const Dim* d : {&g.expr, &g.lo, &g.hi}) see(*d);
  }
  return want;
}

// One instruction over its operands' texts.
// A cast between floats that fast.cuh does.
static bool is_fast_cast(const ScalarProgram& p, const ScalarInst& x, bool fast) {
  const DType from = x.prim == Prim::cast ? p.type(x.args[0]) : DType::f64;
  return fast && (x.type == DType::f16 || x.type == DType::bf16) && is_float(from) && from != DType::f64;
}

// Whether all that is made of instruction k is rounded to an integer, bounded before.
static bool is_rounded(const ScalarProgram& p, int k) {
  bool any = false;
  if (std::find(p.outputs.begin(), p.outputs.end(), k) != p.outputs.end()) return false;
  for (size_t u = 0; u < p.insts.size(); ++u) {
    const ScalarInst& x = p.insts[u];
    if (std::find(std::begin(x.args), std::end(x.args), k) == std::end(x.args)) continue;
    any = true;
    const bool bound = x.prim == Prim::min || x.prim == Prim::max;
    if (x.prim != Prim::round && !(bound && is_rounded(p, static_cast<int>(u)))) return false;
  }
  return any;
}
// A quotient by a number, by its reciprocal, where neither is near the ends of the range.
static std::string quotient(const ScalarProgram& p, const ScalarInst& x, const std::string& a, const std::string& b) {
  const ScalarInst& divisor = p.insts[static_cast<size_t>(x.args[1])];
  const auto self = static_cast<int>(&x - p.insts.data());
  if (x.type != DType::f32 || divisor.prim != Prim::constant || !is_rounded(p, self)) return {};
  const double d = std::abs(static_cast<double>(static_cast<float>(divisor.f)));
  if (!(d > 1e-30 && d < 1e30)) return {};
  const float r = static_cast<float>(1 / static_cast<double>(static_cast<float>(divisor.f)));
  return "quotient(" + a + ", " + b + ", " + CudaEmitter::constant(DType::f32, static_cast<double>(r), 0) + ")";
}

static std::string primitive(const ScalarProgram& p, const ScalarInst& x, bool fast) {
  const DType t = p.type(x.args[0]);
  const bool fl = is_float(t), boolean = t == DType::b1;
  auto arg = [&](int k) { return "t" + std::to_string(x.args[k]); };
  const std::string a = arg(0), b = x.args[1] >= 0 ? arg(1) : "", c = x.args[2] >= 0 ? arg(2) : "";
  auto infix = [&](const char* op) { return a + " " + op + " " + b; };
  auto call = [&](const std::string& name) { return name + "(" + a + (b.empty() ? "" : ", " + b) + (c.empty() ? "" : ", " + c) + ")"; };
  std::string r;
  switch (x.prim) {
    case Prim::add: r = fl ? infix("+") : call("add"); break;
    case Prim::sub: r = fl ? infix("-") : call("sub"); break;
    case Prim::mul: r = fl ? infix("*") : call("mul"); break;
    case Prim::div:
      if (std::string by_reciprocal = quotient(p, x, a, b); !by_reciprocal.empty()) return by_reciprocal;
      r = fl && !(fast && t != DType::f64) ? infix("/") : call(fl ? "div_fast" : "div");
      break;
    case Prim::exp: case Prim::tanh: case Prim::sigmoid: r = call(prim_name(x.prim) + std::string(fast && t != DType::f64 ? "_fast" : "")); break;
    case Prim::neg: r = fl ? "-" + a : call("neg"); break;
    case Prim::floor: case Prim::ceil: case Prim::round: case Prim::trunc: r = fl ? call(prim_name(x.prim)) : a; break;
    case Prim::bit_and: r = infix("&"); break;
    case Prim::bit_or: r = infix("|"); break;
    case Prim::bit_xor: r = infix("^"); break;
    case Prim::bit_not: r = boolean ? "!" + a : "~" + a; break;
    case Prim::eq: return infix("==");
    case Prim::ne: return infix("!=");
    case Prim::lt: return infix("<");
    case Prim::le: return infix("<=");
    case Prim::is_nan: case Prim::is_inf: return fl ? call(prim_name(x.prim)) : "false";
    case Prim::select: return a + " ? " + b + " : " + c;
    case Prim::cast: {
      if (is_fast_cast(p, x, fast)) return "value(narrow_fast<" + CudaEmitter::memory_type(x.type) + ">(" + a + "))";
      const ScalarInst& from = p.insts[static_cast<size_t>(x.args[0])];
      if (from.prim == Prim::round && from.type == DType::f32 && (x.type == DType::i8 || x.type == DType::u8))
        return "round_to<" + CudaEmitter::memory_type(x.type) + ">(t" + std::to_string(from.args[0]) + ")";
      const bool saturate = x.i && is_float(x.type) && byte_size(x.type) == 1;
      return "cast<" + CudaEmitter::memory_type(x.type) + (saturate ? ", true>(" : ">(") + a + ")";
    }
    case Prim::bitcast: return "bitcast<" + CudaEmitter::memory_type(x.type) + ", " + CudaEmitter::memory_type(t) + ">(" + a + ")";
    default: r = call(prim_name(x.prim)); break;
  }
  // The language computes in int what is narrower; sub-byte results keep their low bits.
  if (is_subbyte(x.type) && !is_float(x.type)) return "low_bits<" + CudaEmitter::memory_type(x.type) + ">(" + r + ")";
  if (!fl && (x.prim == Prim::bit_and || x.prim == Prim::bit_or || x.prim == Prim::bit_xor || x.prim == Prim::bit_not))
    return CudaEmitter::value_type(x.type) + "(" + r + ")";
  return r;
}

std::string CudaEmitter::narrowed(const ScalarProgram& p, int id, DType to) const {
  const ScalarInst& x = p.insts[static_cast<size_t>(id)];
  const std::string memory = memory_type(to), v = "t" + std::to_string(is_fast_cast(p, x, fast) && x.type == to ? x.args[0] : id);
  if (memory == value_type(to)) return v;
  return (fast && is_float(x.type) && x.type != DType::f64 ? "narrow_fast<" : "narrow<") + memory + ">(" + v + ")";
}

void CudaEmitter::instructions(const ScalarProgram& p, const std::vector<bool>& want, const InputText& input) {
  for (size_t k = 0; k < p.insts.size(); ++k) {
    if (!want[k]) continue;
    const ScalarInst& x = p.insts[k];
    std::string v = x.prim == Prim::input ? input(static_cast<int>(k)) : x.prim == Prim::constant ? constant(x.type, x.f, x.i) : primitive(p, x, fast);
    line("const " + value_type(x.type) + " t" + std::to_string(k) + " = " + v + ";");
  }
}

}  // namespace weft
