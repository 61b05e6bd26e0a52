// Short ways to build ops for expansions. Errors stick: after the first one every call returns null and does nothing, and
// `status` hands it on, so that an expansion reads like its formula. All new ops carry the expanded op's provenance.
#pragma once

#include "ir/ops/common.h"

namespace weft {

// One entry of a shape: a number, or `factor` times a dim of a value.
struct DimPart {
  int64_t factor = 1;
  Value* of = nullptr;
  int axis = 0;
  DimPart(int64_t number) : factor(number) {}
  DimPart(Value* of, int axis, int64_t factor = 1) : factor(factor), of(of), axis(axis) {}
};

class Emit {
 public:
  Emit(Graph* g, Op* before) : b(g, before) {
    if (before) b.provenance = before->provenance;
  }
  Builder b;
  std::vector<Op*> made;

  Status status() const { return error_ ? Status(*error_) : Status(); }
  void fail(Error e) {
    if (!error_) error_ = std::move(e);
  }

  Op* create(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr, int results = 1,
             std::vector<std::unique_ptr<Graph>> graphs = {});
  Value* op(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr);
  template <class A>
  Value* op(OpKind kind, std::vector<Value*> operands, A attrs) {
    return op(kind, std::move(operands), std::unique_ptr<Attrs>(std::make_unique<A>(std::move(attrs))));
  }
  Value* add(Value* x, Value* y) { return op(OpKind::add, {x, y}); }
  Value* sub(Value* x, Value* y) { return op(OpKind::sub, {x, y}); }
  Value* mul(Value* x, Value* y) { return op(OpKind::mul, {x, y}); }
  Value* div(Value* x, Value* y) { return op(OpKind::div, {x, y}); }
  Value* where(Value* c, Value* x, Value* y) { return op(OpKind::where, {c, x, y}); }
  Value* scalar(DType t, double v) { return error_ ? nullptr : b.scalar(t, v); }
  Value* like(Value* v, double x) { return v ? scalar(v->type.dtype, x) : nullptr; }  // a scalar of v's type
  Value* ints(const std::vector<int64_t>& v) { return error_ ? nullptr : b.ints(v); }

  Value* cast(Value* v, DType t);                                       // v itself when it has the type
  Value* transpose(Value* v, std::vector<int64_t> perm);
  Value* dims(const std::vector<DimPart>& parts);                       // i64[n]
  Value* dim(Value* v, int axis);                                       // i64[]
  Value* reshape(Value* v, const std::vector<DimPart>& parts);          // at most one -1
  Value* unsqueeze(Value* v, const std::vector<int64_t>& axes);
  Value* squeeze(Value* v, const std::vector<int64_t>& axes);
  Value* concat(std::vector<Value*> parts, int64_t axis);               // one part: itself
  Value* slice(Value* v, int64_t axis, int64_t start, int64_t end);     // end INT64_MAX: to the end
  Value* slice_from(Value* v, int64_t axis, Value* start);              // start: i64[1]
  Value* contract(const std::string& spec, Value* x, Value* y, DType out, double alpha = 1, Value* bias = nullptr);
  Value* iota(Value* count);                                            // i64[count] of a scalar: 0, 1, 2, ...
  Value* constant(DType t, std::vector<int64_t> dims, const std::vector<double>& v);

 private:
  std::optional<Error> error_;
};

}  // namespace weft
