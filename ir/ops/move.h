// Movement ops: attributes, and the helpers that their infer and eval share. Elements are copied, never computed (but for
// scatter's reductions and col2im's sums), so everything here is blind to the dtype: it moves cells of an element's size,
// or strings.
#pragma once

#include "ir/ops/common.h"
#include "kernels/host/scatter.h"  // wrap_index, ScatterMode

namespace weft {

// --- attributes; names and defaults are ONNX's --------------------------------------------------------------------

// reshape(data, shape): 0 copies the operand's dim unless allowzero, one -1 takes the rest.
struct ReshapeAttrs : AttrsOf<ReshapeAttrs> {
  bool allowzero = false;
  void fields(FieldVisitor& v) { v.field("allowzero", allowzero); }
};
// transpose(data): result dim i is operand dim perm[i]; empty: all dims reversed.
struct TransposeAttrs : AttrsOf<TransposeAttrs> {
  std::vector<int64_t> perm;
  void fields(FieldVisitor& v) { v.field("perm", perm); }
};
// flatten(data): two dims, split before `axis`.
struct FlattenAttrs : AttrsOf<FlattenAttrs> {
  int64_t axis = 1;
  void fields(FieldVisitor& v) { v.field("axis", axis); }
};
// split(data, split?): without `split` as many equal parts as there are results (num_outputs, when given, is that number),
// the last one smaller where they do not fit.
struct SplitAttrs : AttrsOf<SplitAttrs> {
  int64_t axis = 0, num_outputs = 0;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("num_outputs", num_outputs);
  }
};
struct ConcatAttrs : AttrsOf<ConcatAttrs> {
  int64_t axis = 0;
  void fields(FieldVisitor& v) { v.field("axis", axis); }
};
// pad(data, pads, constant_value?, axes?): mode constant, reflect, edge or wrap; negative pads crop.
struct PadAttrs : AttrsOf<PadAttrs> {
  std::string mode = "constant";
  void fields(FieldVisitor& v) { v.field("mode", mode); }
};
// gather(data, indices) and gather_elements(data, indices)
struct GatherAttrs : AttrsOf<GatherAttrs> {
  int64_t axis = 0;
  void fields(FieldVisitor& v) { v.field("axis", axis); }
};
struct GatherNdAttrs : AttrsOf<GatherNdAttrs> {
  int64_t batch_dims = 0;
  void fields(FieldVisitor& v) { v.field("batch_dims", batch_dims); }
};
// scatter_elements(data, indices, updates): reduction none, add, mul, min or max.
struct ScatterAttrs : AttrsOf<ScatterAttrs> {
  int64_t axis = 0;
  std::string reduction = "none";
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("reduction", reduction);
  }
};
struct ScatterNdAttrs : AttrsOf<ScatterNdAttrs> {
  std::string reduction = "none";
  void fields(FieldVisitor& v) { v.field("reduction", reduction); }
};
// tensor_scatter(past_cache, update, write_indices?): mode linear or circular.
struct TensorScatterAttrs : AttrsOf<TensorScatterAttrs> {
  int64_t axis = -2;
  std::string mode = "linear";
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("mode", mode);
  }
};
// depth_to_space: mode DCR (depth, column, row) or CRD.
struct DepthToSpaceAttrs : AttrsOf<DepthToSpaceAttrs> {
  int64_t blocksize = 0;
  std::string mode = "DCR";
  void fields(FieldVisitor& v) {
    v.field("blocksize", blocksize);
    v.field("mode", mode);
  }
};
struct SpaceToDepthAttrs : AttrsOf<SpaceToDepthAttrs> {
  int64_t blocksize = 0;
  void fields(FieldVisitor& v) { v.field("blocksize", blocksize); }
};
struct ReverseSequenceAttrs : AttrsOf<ReverseSequenceAttrs> {
  int64_t batch_axis = 1, time_axis = 0;
  void fields(FieldVisitor& v) {
    v.field("batch_axis", batch_axis);
    v.field("time_axis", time_axis);
  }
};
// trilu(data, k?)
struct TriluAttrs : AttrsOf<TriluAttrs> {
  bool upper = true;
  void fields(FieldVisitor& v) { v.field("upper", upper); }
};
// one_hot(indices, depth, values[off, on])
struct OneHotAttrs : AttrsOf<OneHotAttrs> {
  int64_t axis = -1;
  void fields(FieldVisitor& v) { v.field("axis", axis); }
};
struct EyeLikeAttrs : AttrsOf<EyeLikeAttrs> {
  bool has_dtype = false;
  DType dtype = DType::f32;
  int64_t k = 0;
  void fields(FieldVisitor& v) {
    v.field("has_dtype", has_dtype);
    v.field("dtype", dtype);
    v.field("k", k);
  }
};
// constant_of_shape(shape): value is a constant of one element; none: f32 zero.
struct ConstantOfShapeAttrs : AttrsOf<ConstantOfShapeAttrs> {
  ConstantRef value;
  void fields(FieldVisitor& v) { v.field("value", value); }
};
// range(start, limit, delta): stash_type is the precision in which f16 and bf16 are computed; our evaluator's is higher.
struct RangeAttrs : AttrsOf<RangeAttrs> {
  DType stash_type = DType::f32;
  void fields(FieldVisitor& v) { v.field("stash_type", stash_type); }
};
// compress(data, condition): without has_axis of the flattened data.
struct CompressAttrs : AttrsOf<CompressAttrs> {
  bool has_axis = false;
  int64_t axis = 0;
  void fields(FieldVisitor& v) {
    v.field("has_axis", has_axis);
    v.field("axis", axis);
  }
};
// col2im(columns[N, C * prod(block), L], image_shape, block_shape): empty lists are ones (pads: zeros).
struct Col2ImAttrs : AttrsOf<Col2ImAttrs> {
  std::vector<int64_t> dilations, pads, strides;
  void fields(FieldVisitor& v) {
    v.field("dilations", dilations);
    v.field("pads", pads);
    v.field("strides", strides);
  }
};

// --- what an op does, for passes and code generation ---------------------------------------------------------------

// Dims of reshape's result, which hold the operand's elements.
Result<Shape> reshaped(const Shape& from, const std::vector<Dim>& to, bool allowzero, Facts& facts);
Result<std::vector<int>> transpose_perm(const Op& op);
// One dim of a slice: elements start, start + step, ... (`length` of them; start is not clamped where length is 0).
struct SliceRange {
  Dim start = 0, length = 0;
  int64_t step = 1;
};
// For every dim of the operand. Error kUnsupported when starts, ends, axes or steps are not known exactly.
Result<std::vector<SliceRange>> slice_ranges(const Op& op, const SymbolTable& symbols);
// For every dim of the operand: elements added before and after (negative: removed). Error as above.
struct PadWidth {
  Dim before = 0, after = 0;
};
Result<std::vector<PadWidth>> pad_widths(const Op& op);

// --- infer ----------------------------------------------------------------------------------------------------------

// Whether operand i is a tensor of unknown rank; then all results are, too, with its dtype.
bool unranked_operand(Op& op, int i);
// Error unless operand i, where present, is an integer tensor of rank 0 or 1.
Status need_int_vector(const Op& op, int i);
// Axes counted from the front, in the order given; an axis given twice is an error.
Result<std::vector<int>> axes_in_order(const std::vector<int64_t>& axes, int rank);
// The length of a rank-1 operand, where it is constant.
std::optional<int64_t> vector_length(const Value* v);
// A dim that only the data decide. Inferring again keeps the symbol that the result had there, so that types do not drift.
Dim data_dim(const Op& op, int result, int dim, InferContext& cx);
// A result whose rank is known and nothing else.
void set_unknown_dims(Op& op, int result, DType t, int rank, InferContext& cx);
// Propagates `known` through an op that copies elements, by running its eval on element numbers: operands in `data` (all,
// when empty) are copied from, the others must be constant. Results without exact contents stay unknown.
void know_moved(Op& op, const std::vector<int>& data = {});
// a / b where b divides a; else floordiv(a, b). Tries harder than Dim: sums in b, too.
Dim divide(const Dim& a, const Dim& b);

// --- eval -----------------------------------------------------------------------------------------------------------

// Elements of a tensor in some order: the first one, and element strides (any sign, 0 repeats) per dim.
struct Window {
  int64_t offset = 0;
  std::vector<int64_t> strides;
};
// All of dst's and src's windows have the rank of dims; dst and src have the same dtype.
void copy_window(Tensor& dst, const Window& to, const Tensor& src, const Window& from, const std::vector<int64_t>& dims);
// A new tensor of these dims out of a window of src.
Result<Tensor> read_window(const Tensor& src, const Window& from, std::vector<int64_t> dims);
// n elements that lie in a row.
void copy_run(Tensor& dst, int64_t to, const Tensor& src, int64_t from, int64_t n);
// dst's element to[i] becomes src's element from[i], in order; an empty list counts 0, 1, 2, ...
void copy_listed(Tensor& dst, const std::vector<int64_t>& to, const Tensor& src, const std::vector<int64_t>& from);
// dst's elements [to, to + n) become src's element `from`.
void fill_run(Tensor& dst, int64_t to, int64_t n, const Tensor& src, int64_t from);
// A new tensor with the same elements, to be written to.
Result<Tensor> deep_copy(const Tensor& src);
// The same elements under other dims.
Tensor with_dims(const Tensor& t, std::vector<int64_t> dims);
// At least one part; error when their other dims or dtypes differ.
Result<Tensor> concatenated(const std::vector<Tensor>& parts, int axis);
// The row-major coordinates of an element number.
std::vector<int64_t> index_of(int64_t element, const std::vector<int64_t>& dims);
// The one element of operand i, an integer. Error when it has another number of elements.
Result<int64_t> int_scalar(const EvalCall& call, int i);

// bytes = result written, as much read, and the operands from `first_read` on in full.
Cost moved_bytes(const Op& op, int first_read);

}  // namespace weft
