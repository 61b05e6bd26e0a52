#include "ir/core/scalar.h"

#include <algorithm>
#include <cstring>

#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

namespace {
struct PrimInfo {
  const char* name;
  int arity;
  char result;
};
constexpr PrimInfo kPrims[] = {
    {"in", 0, 'c'},
    {"const", 0, 'c'},
#define P(name, arity, result) {#name, arity, result},
#include "ir/core/scalar.def"
#undef P
};
}  // namespace

const char* prim_name(Prim p) { return kPrims[static_cast<int>(p)].name; }
int prim_arity(Prim p) { return kPrims[static_cast<int>(p)].arity; }

static int push(ScalarProgram& p, ScalarInst inst) {
  // Equal instructions are one: bodies stay small after splicing.
  for (size_t k = 0; k < p.insts.size(); ++k)
    if (p.insts[k] == inst) return static_cast<int>(k);
  p.insts.push_back(inst);
  return static_cast<int>(p.insts.size()) - 1;
}

int ScalarProgram::input(int index, DType t) {
  ScalarInst x;
  x.type = t;
  x.index = index;
  return push(*this, x);
}
int ScalarProgram::constant(DType t, double v) {
  ScalarInst x;
  x.prim = Prim::constant;
  x.type = t;
  x.f = v;
  return push(*this, x);
}
int ScalarProgram::constant_int(DType t, int64_t v) {
  ScalarInst x;
  x.prim = Prim::constant;
  x.type = t;
  x.i = v;
  return push(*this, x);
}
int ScalarProgram::add(Prim p, int a, int b, int c) {
  const PrimInfo& info = kPrims[static_cast<int>(p)];
  CHECK((info.arity >= 1) == (a >= 0) && (info.arity >= 2) == (b >= 0) && (info.arity >= 3) == (c >= 0));
  ScalarInst x;
  x.prim = p;
  x.args[0] = a;
  x.args[1] = b;
  x.args[2] = c;
  x.type = info.result == 'b' ? DType::b1 : info.result == 't' ? type(b) : type(a);
  return push(*this, x);
}
int ScalarProgram::cast(int a, DType t, bool saturate) {
  if (type(a) == t) return a;
  ScalarInst x;
  x.prim = Prim::cast;
  x.type = t;
  x.args[0] = a;
  x.i = saturate;
  return push(*this, x);
}
int ScalarProgram::bitcast(int a, DType t) {
  if (type(a) == t) return a;
  ScalarInst x;
  x.prim = Prim::bitcast;
  x.type = t;
  x.args[0] = a;
  return push(*this, x);
}
int ScalarProgram::num_inputs() const {
  int n = 0;
  for (const ScalarInst& x : insts)
    if (x.prim == Prim::input) n = std::max(n, x.index + 1);
  return n;
}

// Classes of types that a primitive computes on: of dtype_class, in its letters.
static const char* classes_of(Prim p) {
  switch (p) {
    case Prim::add: case Prim::sub: case Prim::mul: case Prim::div: case Prim::fma: case Prim::neg: case Prim::pow: return "fiuc";
    case Prim::mod: case Prim::rem: case Prim::abs: case Prim::sign:
    case Prim::floor: case Prim::ceil: case Prim::round: case Prim::trunc: return "fiu";
    case Prim::min: case Prim::max: case Prim::lt: case Prim::le: return "fiub";
    case Prim::sqrt: case Prim::exp: case Prim::log: case Prim::sin: case Prim::cos: case Prim::tanh: return "fc";
    case Prim::expm1: case Prim::log1p: case Prim::atan: case Prim::erf: case Prim::sigmoid: case Prim::is_nan: case Prim::is_inf:
    case Prim::round_tf32: return "f";
    case Prim::bit_and: case Prim::bit_or: case Prim::bit_xor: case Prim::bit_not: return "iub";
    case Prim::shl: case Prim::shr: return "iu";
    default: return "fiubcs";
  }
}

Status ScalarProgram::verify() const {
  for (const ScalarInst& x : insts) {
    int n = prim_arity(x.prim), first = x.prim == Prim::select ? 1 : 0;
    if (n == 0) continue;
    auto bad = [&](int a) {
      return invalid(std::string(prim_name(x.prim)) + " does not take " + dtype_name(type(x.args[a])) +
                     (a > first ? std::string(" beside ") + dtype_name(type(x.args[first])) : ""));
    };
    if (first && type(x.args[0]) != DType::b1) return bad(0);
    if (!std::strchr(classes_of(x.prim), dtype_class(type(x.args[first])))) return bad(first);
    if (x.prim == Prim::round_tf32 && type(x.args[0]) != DType::f32) return bad(0);
    for (int a = first + 1; a < n; ++a)
      if (type(x.args[a]) != type(x.args[first])) return bad(a);
    if (x.prim == Prim::bitcast && bit_width(x.type) != bit_width(type(x.args[0])))
      return invalid(std::string("bitcast from ") + dtype_name(type(x.args[0])) + " to " + dtype_name(x.type) + ", which differ in width");
  }
  return {};
}

ScalarProgram ScalarProgram::only(const std::vector<int>& results) const {
  std::vector<bool> needed(insts.size());
  for (int r : results) needed[static_cast<size_t>(r)] = true;
  for (size_t k = insts.size(); k-- > 0;)
    if (needed[k])
      for (int a : insts[k].args)
        if (a >= 0) needed[static_cast<size_t>(a)] = true;
  ScalarProgram out;
  std::vector<int> image(insts.size(), -1);
  for (size_t k = 0; k < insts.size(); ++k) {
    if (!needed[k]) continue;
    image[k] = static_cast<int>(out.insts.size());
    out.insts.push_back(insts[k]);
    for (int& a : out.insts.back().args)
      if (a >= 0) a = image[static_cast<size_t>(a)];
  }
  for (int r : results) out.outputs.push_back(image[static_cast<size_t>(r)]);
  return out;
}

std::vector<int> ScalarProgram::splice(const ScalarProgram& body, const std::vector<int>& inputs) {
  std::vector<int> map(body.insts.size());
  for (size_t k = 0; k < body.insts.size(); ++k) {
    ScalarInst x = body.insts[k];
    if (x.prim == Prim::input) {
      map[k] = inputs[x.index];
      continue;
    }
    for (int& a : x.args)
      if (a >= 0) a = map[a];
    map[k] = push(*this, x);
  }
  std::vector<int> out;
  for (int o : body.outputs) out.push_back(map[o]);
  return out;
}

std::string ScalarProgram::to_string(const std::string& indent) const {
  std::string s;
  for (size_t k = 0; k < insts.size(); ++k) {
    const ScalarInst& x = insts[k];
    s += indent + "t" + std::to_string(k) + ":" + dtype_name(x.type) + " = ";
    if (x.prim == Prim::input) {
      s += "in" + std::to_string(x.index);
    } else if (x.prim == Prim::constant) {
      s += is_float(x.type) ? number_text(x.f) : std::to_string(x.i);
    } else {
      s += std::string(prim_name(x.prim)) + "(";
      for (int a = 0; a < prim_arity(x.prim); ++a) s += (a ? ", t" : "t") + std::to_string(x.args[a]);
      if (x.prim == Prim::cast && x.i) s += ", saturate";
      s += ")";
    }
    s += "\n";
  }
  s += indent + "out";
  for (size_t k = 0; k < outputs.size(); ++k) s += (k ? ", t" : " t") + std::to_string(outputs[k]);
  return s + "\n";
}

static Result<int> parse_ref(Lexer& lx, char prefix, size_t limit) {
  TRY_ASSIGN(std::string t, lx.identifier());
  if (t.size() < 2 || t[0] != prefix || t.find_first_not_of("0123456789", 1) != std::string::npos || t.size() > 9)
    return lx.fail(std::string("expected ") + prefix + "<number>");
  int v = std::stoi(t.substr(1));
  if (static_cast<size_t>(v) >= limit) return lx.fail("`" + t + "` is not defined yet");
  return v;
}

Result<ScalarProgram> ScalarProgram::parse(Lexer& lx) {
  ScalarProgram p;
  while (!lx.accept("out")) {
    TRY_ASSIGN(std::string id, lx.identifier());
    if (id != "t" + std::to_string(p.insts.size())) return lx.fail("expected t" + std::to_string(p.insts.size()) + " before");
    TRY(lx.expect(":"));
    ScalarInst x;
    TRY_ASSIGN(std::string ty, lx.identifier());
    auto t = dtype_from_name(ty);
    if (!t) return lx.fail("unknown type `" + ty + "` before");
    x.type = *t;
    TRY(lx.expect("="));
    if (lx.peek().kind != Token::identifier || lx.at("inf") || lx.at("nan")) {
      x.prim = Prim::constant;
      if (is_float(x.type)) {
        TRY_ASSIGN(x.f, lx.number());
      } else {
        TRY_ASSIGN(x.i, lx.integer());
      }
    } else if (lx.peek().text.substr(0, 2) == "in" && lx.peek().text.size() > 2 && lx.peek().text[2] <= '9') {
      TRY_ASSIGN(std::string in, lx.identifier());
      if (in.find_first_not_of("0123456789", 2) != std::string::npos || in.size() > 8) return lx.fail("bad input name before");
      x.index = std::stoi(in.substr(2));
    } else {
      TRY_ASSIGN(std::string name, lx.identifier());
      int k = -1;
      for (size_t q = 2; q < std::size(kPrims); ++q)
        if (name == kPrims[q].name) k = static_cast<int>(q);
      if (k < 0) return lx.fail("unknown primitive `" + name + "` before");
      x.prim = static_cast<Prim>(k);
      TRY(lx.expect("("));
      for (int a = 0; a < prim_arity(x.prim); ++a) {
        if (a) TRY(lx.expect(","));
        TRY_ASSIGN(x.args[a], parse_ref(lx, 't', p.insts.size()));
      }
      if (lx.accept(",")) {
        TRY(lx.expect("saturate"));
        x.i = 1;
      }
      TRY(lx.expect(")"));
    }
    p.insts.push_back(x);
  }
  if (lx.peek().kind == Token::identifier) {
    do {
      TRY_ASSIGN(int o, parse_ref(lx, 't', p.insts.size()));
      p.outputs.push_back(o);
    } while (lx.accept(","));
  }
  Status typed = p.verify();
  if (!typed.ok()) return lx.fail(typed.error().message + " in the program before");
  return p;
}

}  // namespace weft
