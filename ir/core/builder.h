// Builder: the sole way to create ops. Infers result types at once, so a Module is well typed at every step.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

class Builder {
 public:
  // Inserts before `before`, or at the end of the graph.
  explicit Builder(Graph* graph, Op* before = nullptr) : graph_(graph), before_(before) {}

  // Provenance given to every op created from now on.
  std::vector<std::string> provenance;

  Graph* graph() const { return graph_; }
  Module& module() const { return *graph_->module; }
  void set_insertion(Op* before) { before_ = before; }

  // attrs null: the op's defaults. Error of infer, at the op's first provenance name.
  Result<Op*> create(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr, int num_results = 1,
                     std::vector<std::unique_ptr<Graph>> graphs = {});
  // For passes, where a failing infer is our bug: CHECKs.
  Value* op(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr);
  template <class A>
  Value* op(OpKind kind, std::vector<Value*> operands, A attrs) {
    return op(kind, std::move(operands), std::unique_ptr<Attrs>(std::make_unique<A>(std::move(attrs))));
  }

  Value* constant(int id);
  Value* ints(const std::vector<int64_t>& values);            // i64[n]
  Value* scalar(DType t, double v);                           // t[]
  Value* splat(DType t, std::vector<int64_t> dims, double v);

 private:
  Graph* graph_;
  Op* before_;
};

// Infers one op again (after a pass changed operands or attributes).
Status infer_op(Op& op, Module& m);
// Infers a graph and its nested graphs in order.
Status infer_graph(Graph& g);
// Removes ops whose results are all unused; returns how many.
int remove_dead(Graph& g);

}  // namespace weft
