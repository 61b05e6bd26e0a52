// A graph built op by op with symbolic types, for tests of inference.
#pragma once

#include "ir/base/text.h"
#include "tests/unit/eval_support.h"

namespace weft::eval_test {

inline Type type(const std::string& text) {
  Lexer lx(text);
  auto t = Type::parse(lx);
  EXPECT_TRUE(t.ok()) << text;
  return t.ok() ? *t : Type();
}

struct Net {
  Module module;
  Graph* graph = module.add_graph("main");
  Builder b{graph};

  Value* input(const std::string& text, std::string name = "x") { return graph->add_input(type(text), std::move(name)); }
  Value* ints(const std::vector<int64_t>& v) { return b.ints(v); }
  Value* scalar(int64_t v) { return b.scalar(DType::i64, static_cast<double>(v)); }

  Result<Op*> try_op(OpKind kind, std::vector<Value*> operands, int results = 1) { return b.create(kind, std::move(operands), nullptr, results); }
  template <class A>
  Result<Op*> try_op(OpKind kind, std::vector<Value*> operands, A attrs, int results = 1) {
    return b.create(kind, std::move(operands), std::make_unique<A>(std::move(attrs)), results);
  }
  // The first result; fails the test when there is none.
  Value* op(OpKind kind, std::vector<Value*> operands) { return first(try_op(kind, std::move(operands))); }
  template <class A>
  Value* op(OpKind kind, std::vector<Value*> operands, A attrs) { return first(try_op(kind, std::move(operands), std::move(attrs))); }

  Value* first(Result<Op*> r) {
    EXPECT_TRUE(r.ok()) << r.error().to_string();
    return r.ok() ? (*r)->result() : nullptr;
  }
};

inline std::string text_of(const Value* v) { return v ? v->type.to_string() : "nothing"; }
// `known` as "[a,b]", "?" where it is not.
inline std::string known_text(const Value* v) { return v && v->known ? "[" + shape_text(*v->known) + "]" : "?"; }

}  // namespace weft::eval_test
