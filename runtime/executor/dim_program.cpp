#include "runtime/executor/dim_program.h"

#include <algorithm>

#include "ir/base/text.h"

namespace weft {

DimProgram::DimProgram(const SymbolTable& symbols) {
  for (auto& [name, info] : symbols) {
    names_.push_back(name);
    ranges_.push_back(info);
  }
  late_.assign(names_.size(), 0);
}

int DimProgram::slot(std::string_view symbol) const {
  auto it = std::lower_bound(names_.begin(), names_.end(), symbol);
  return it != names_.end() && *it == symbol ? static_cast<int>(it - names_.begin()) : -1;
}

Result<CompiledDim> DimProgram::compile(const Dim& d) {
  CompiledDim c;
  if (d.is_const()) {
    c.constant = d.value();
    return c;
  }
  if (d.is_overflow()) return invalid("a size of the plan overflows");
  auto it = known_.find(d.to_string());
  if (it != known_.end()) return it->second;
  c.begin = static_cast<uint32_t>(code_.size());
  TRY(emit(d, 0, &c));
  if (code_.size() > UINT32_MAX) return resources("the plan's sizes are too complex");
  c.end = static_cast<uint32_t>(code_.size());
  known_.emplace(d.to_string(), c);
  return c;
}

// Leaves the value on the stack, `depth` values below it.
Status DimProgram::emit(const Dim& d, int depth, CompiledDim* of) {
  if (depth + 3 > kStack) return resources("the expression " + d.to_string().substr(0, 100) + "… is nested too deeply");
  if (d.is_const()) {
    code_.push_back({Code::push, d.value()});
    return {};
  }
  const DimExpr& e = *d.expr();
  bool first = true;
  if (e.constant != 0) {
    code_.push_back({Code::push, e.constant});
    first = false;
  }
  for (const DimTerm& t : e.terms) {
    int below = depth + (first ? 0 : 1);
    bool product = t.coef != 1;
    if (product) code_.push_back({Code::push, t.coef});
    for (const DimAtom& a : t.atoms) {
      TRY(emit_atom(a, below + (product ? 1 : 0), of));
      if (product) code_.push_back({Code::mul, 0});
      product = true;
    }
    if (!first) code_.push_back({Code::add, 0});
    first = false;
  }
  return {};
}

Status DimProgram::emit_atom(const DimAtom& a, int depth, CompiledDim* of) {
  if (a.fn == DimFn::symbol) {
    int s = slot(a.name);
    if (s < 0) return invalid("the symbol " + name_text(a.name) + " is not declared");
    of->late = of->late || late_[s] != 0;
    of->during = of->during || late_[s] == 2;
    code_.push_back({Code::load, s});
    return {};
  }
  TRY(emit(a.args[0], depth, of));
  TRY(emit(a.args[1], depth + 1, of));
  Code code = a.fn == DimFn::floordiv ? Code::floordiv : a.fn == DimFn::mod ? Code::mod : a.fn == DimFn::min ? Code::min : Code::max;
  code_.push_back({code, 0});
  return {};
}

bool DimProgram::run(const CompiledDim& d, const int64_t* slots, int64_t* out) const {
  int64_t stack[kStack];
  int top = -1;
  for (uint32_t i = d.begin; i < d.end; ++i) {
    const Instruction& x = code_[i];
    if (x.code == Code::push) {
      stack[++top] = x.operand;
      continue;
    }
    if (x.code == Code::load) {
      if ((stack[++top] = slots[x.operand]) == kNoValue) return false;
      continue;
    }
    int64_t b = stack[top--], &a = stack[top];
    switch (x.code) {
      case Code::add:
        if (__builtin_add_overflow(a, b, &a)) return false;
        break;
      case Code::mul:
        if (__builtin_mul_overflow(a, b, &a)) return false;
        break;
      case Code::floordiv:
      case Code::mod: {
        if (b == 0 || (a == INT64_MIN && b == -1)) return false;
        int64_t q = a / b, r = a % b;
        if (r != 0 && (r < 0) != (b < 0)) --q, r += b;
        a = x.code == Code::floordiv ? q : r;
        break;
      }
      case Code::min: a = std::min(a, b); break;
      default: a = std::max(a, b); break;
    }
  }
  *out = stack[top];
  return true;
}

}  // namespace weft
