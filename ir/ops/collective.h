// Collectives: attributes. Every rank of the SPMD graph runs the same op; a group is the ranks that differ only in the
// coordinates along `axes` of the mesh, numbered row-major with the first axis outermost. Dims are one rank's.
#pragma once

#include "ir/core/op_def.h"
#include "ir/eval/host_value.h"

namespace weft {

// all_reduce(x): reduction sum, mean, max, min or prod over the group.
struct AllReduceAttrs : AttrsOf<AllReduceAttrs> {
  std::string mesh;
  std::vector<std::string> axes;
  std::string reduction = "sum";
  void fields(FieldVisitor& v) {
    v.field("mesh", mesh);
    v.field("axes", axes);
    v.field("reduction", reduction);
  }
};
// all_gather(x): the ranks' tensors joined along dim.
struct AllGatherAttrs : AttrsOf<AllGatherAttrs> {
  std::string mesh;
  std::vector<std::string> axes;
  int64_t dim = 0;
  void fields(FieldVisitor& v) {
    v.field("mesh", mesh);
    v.field("axes", axes);
    v.field("dim", dim);
  }
};
// reduce_scatter(x): all_reduce, of which each rank keeps its part along dim.
struct ReduceScatterAttrs : AttrsOf<ReduceScatterAttrs> {
  std::string mesh;
  std::vector<std::string> axes;
  int64_t dim = 0;
  std::string reduction = "sum";
  void fields(FieldVisitor& v) {
    v.field("mesh", mesh);
    v.field("axes", axes);
    v.field("dim", dim);
    v.field("reduction", reduction);
  }
};
// all_to_all(x): part i along split_dim goes to rank i; what arrives is joined along concat_dim.
struct AllToAllAttrs : AttrsOf<AllToAllAttrs> {
  std::string mesh;
  std::vector<std::string> axes;
  int64_t split_dim = 0, concat_dim = 0;
  void fields(FieldVisitor& v) {
    v.field("mesh", mesh);
    v.field("axes", axes);
    v.field("split_dim", split_dim);
    v.field("concat_dim", concat_dim);
  }
};
// broadcast(x): the root's tensor.
struct BroadcastAttrs : AttrsOf<BroadcastAttrs> {
  std::string mesh;
  std::vector<std::string> axes;
  int64_t root = 0;
  void fields(FieldVisitor& v) {
    v.field("mesh", mesh);
    v.field("axes", axes);
    v.field("root", root);
  }
};
// collective_permute(x): pairs is source, target, source, target, ...; a rank that is no target gets zeros.
struct CollectivePermuteAttrs : AttrsOf<CollectivePermuteAttrs> {
  std::string mesh;
  std::vector<std::string> axes;
  std::vector<int64_t> pairs;
  void fields(FieldVisitor& v) {
    v.field("mesh", mesh);
    v.field("axes", axes);
    v.field("pairs", pairs);
  }
};
// send(x) has no result; recv() -> y of `type`. Between pipeline stages, matched by stage (the other graph's name) and tag.
struct SendAttrs : AttrsOf<SendAttrs> {
  std::string stage;
  int64_t tag = 0;
  void fields(FieldVisitor& v) {
    v.field("stage", stage);
    v.field("tag", tag);
  }
};
struct RecvAttrs : AttrsOf<RecvAttrs> {
  std::string stage;
  int64_t tag = 0;
  Type type;
  void fields(FieldVisitor& v) {
    v.field("stage", stage);
    v.field("tag", tag);
    v.field("type", type);
  }
};

// The mesh and axes of a collective op; Error for any other kind.
struct CollectiveCall {
  std::string mesh;
  std::vector<std::string> axes;
};
Result<CollectiveCall> collective_call(const Op& op);
// What member `index` of a group gets whose members gave these tensors, in their order. Sums are made in that order, in f64
// for floats, and rounded once.
Result<Tensor> collective_result(const Op& op, const std::vector<Tensor>& given, int64_t index);

// The number of a stage by its graph's name: a module of a pipeline has a graph for each stage, in their order, and its mesh the
// axis kStageAxis of that size (is_pipeline). And the graph that a rank runs.
bool is_pipeline(const Module& m);
Result<int> stage_number(const Module& m, const std::string& graph);
const Graph& stage_graph(const Module& m, int64_t rank);

// Ranks in a group. Error when the mesh or an axis does not exist, or an axis is given twice.
Result<int64_t> group_size(const Module& m, const std::string& mesh, const std::vector<std::string>& axes);

}  // namespace weft
