// Host calls: checked indices, scatter, running sums, ranges, random tensors, packed elements.
#include "kernels/host/call_support.h"
#include "kernels/host/generate.h"
#include "kernels/host/scatter.h"
#include "kernels/host/walk.h"

namespace weft {

// --- indices, scatter -----------------------------------------------------------------------------------------------

Status host_call_check_indices(HostCall& c) {
  TRY(operands(c, 2, 2, 0, 0));
  const TensorView &indices = c.inputs[0], &x = c.inputs[1];
  TRY(expect(is_int(indices.dtype), "wants integer indices"));
  TRY_ASSIGN(int axis, axis_of(c, x.rank(), 0));
  TRY_ASSIGN(int64_t natural, c.integer("natural", 0));
  std::optional<int64_t> ignored;
  if (c.has("ignored")) {
    TRY_ASSIGN(ignored, c.integer("ignored", 0));
  }
  return host_check_indices(indices, x.dims[axis], natural != 0, ignored);
}
Status host_call_check_tuples(HostCall& c) {
  TRY(operands(c, 2, 2, 0, 0));
  TRY(expect(is_int(c.inputs[0].dtype) && c.inputs[0].rank() > 0, "wants integer index tuples"));
  TRY_ASSIGN(int64_t batch, c.integer("batch_dims", 0));
  TRY(expect(batch >= 0 && batch <= c.inputs[1].rank(), "wants fewer batch dims"));
  return host_check_tuples(c.inputs[0], c.inputs[1], batch);
}

Status host_call_check_lengths(HostCall& c) {
  TRY(operands(c, 2, 2, 0, 0));
  TRY(expect(is_int(c.inputs[0].dtype), "wants integer lengths"));
  TRY_ASSIGN(int axis, axis_of(c, c.inputs[1].rank(), 0));
  return host_check_lengths(c.inputs[0], c.inputs[1].dims[axis]);
}

static Result<ScatterMode> reduction_of(const HostCall& c) {
  TRY_ASSIGN(int64_t mode, c.integer("reduction", 0));
  if (mode < 0 || mode > static_cast<int64_t>(ScatterMode::max)) return invalid("a host call has reduction " + std::to_string(mode));
  return static_cast<ScatterMode>(mode);
}
static Status scatter_operands(const HostCall& c) {
  TRY(operands(c, 3, 3, 1, 1));
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  return expect(is_int(c.inputs[1].dtype) && c.inputs[2].dtype == x.dtype && y.dtype == x.dtype && y.dims == x.dims,
      "wants integer indices and data of one type");
}
Status host_call_scatter_elements(HostCall& c) {
  TRY(scatter_operands(c));
  TRY_ASSIGN(int axis, axis_of(c, c.inputs[0].rank(), 0));
  TRY_ASSIGN(ScatterMode mode, reduction_of(c));
  return host_scatter_elements(c.inputs[0], c.inputs[1], c.inputs[2], axis, mode, c.outputs[0]);
}
Status host_call_scatter_nd(HostCall& c) {
  TRY(scatter_operands(c));
  TRY_ASSIGN(ScatterMode mode, reduction_of(c));
  return host_scatter_nd(c.inputs[0], c.inputs[1], c.inputs[2], mode, c.outputs[0]);
}
Status host_call_tensor_scatter(HostCall& c) {
  TRY(operands(c, 2, 3, 1, 1));
  const TensorView &cache = c.inputs[0], &y = c.outputs[0];
  bool fits = c.inputs[1].dtype == cache.dtype && y.dtype == cache.dtype && y.dims == cache.dims && cache.rank() > 0 &&
              (c.inputs.size() < 3 || (is_int(c.inputs[2].dtype) && c.inputs[2].rank() <= 1));
  TRY(expect(fits, "wants data of one type and integer positions"));
  TRY_ASSIGN(int axis, axis_of(c, cache.rank(), -2));
  TRY_ASSIGN(int64_t circular, c.integer("circular", 0));
  return host_tensor_scatter(cache, c.inputs[1], c.inputs.size() > 2 ? &c.inputs[2] : nullptr, axis, circular != 0, y);
}

// --- made from few numbers ------------------------------------------------------------------------------------------

Status host_call_cumulative(HostCall& c) {
  TRY(operands(c, 1, 2, 1, 1));
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  TRY(expect(x.dtype != DType::str && !is_complex(x.dtype) && y.dtype == x.dtype && y.dims == x.dims, "wants numbers of one type"));
  TRY_ASSIGN(int axis, axis_of(c, x.rank(), 0));
  TRY_ASSIGN(int from, operand_number(c, "axis_input", c.inputs.size()));
  if (from >= 0) {
    const TensorView& given = c.inputs[from];
    TRY(expect(is_int(given.dtype) && given.numel() == 1, "wants one integer axis"));
    TRY_ASSIGN(int64_t wrapped, wrap_index(integer_at(given, 0), x.rank()));
    axis = static_cast<int>(wrapped);
  }
  TRY_ASSIGN(int64_t exclusive, c.integer("exclusive", 0));
  TRY_ASSIGN(int64_t reverse, c.integer("reverse", 0));
  TRY_ASSIGN(int64_t product, c.integer("product", 0));
  host_cumulative(x, axis, {exclusive != 0, reverse != 0, product != 0}, y);
  return {};
}

template <class T>
static Status fill_range(HostCall& c) {
  T v[3];
  for (int i = 0; i < 3; ++i) load_cell(c.inputs[i], 0, &v[i]);
  TRY_ASSIGN(int64_t n, range_count(v[0], v[1], v[2]));
  const int64_t dims[] = {n};
  TRY(c.resize(0, dims));
  const TensorView& y = c.outputs[0];
  for (int64_t k = 0; k < n; ++k) {
    T x;
    if constexpr (std::is_same_v<T, double>) x = v[0] + static_cast<double>(k) * v[2];
    else x = static_cast<T>(static_cast<uint64_t>(v[0]) + static_cast<uint64_t>(k) * static_cast<uint64_t>(v[2]));
    store_cell(y, k * y.strides[0], x);
  }
  return {};
}
Status host_call_range(HostCall& c) {
  TRY(operands(c, 3, 3, 1, 1));
  const DType t = c.inputs[0].dtype;
  for (const TensorView& v : c.inputs) TRY(expect(v.numel() == 1 && v.dtype == t, "wants three scalars of one type"));
  TRY(expect(c.outputs[0].dtype == t && (is_float(t) || is_signed_int(t)), "wants signed integers or floats"));
  return is_float(t) ? fill_range<double>(c) : fill_range<int64_t>(c);
}

static Status random_operands(const HostCall& c, size_t inputs, bool float_output) {
  TRY(operands(c, inputs, inputs, 1, 1));
  for (const TensorView& v : c.inputs) TRY(expect(is_float(v.dtype), "wants floats"));
  DType t = c.outputs[0].dtype;
  return expect(float_output ? is_float(t) : t != DType::str && !is_complex(t), "wants numbers");
}
Status host_call_random_normal(HostCall& c) {
  TRY(random_operands(c, 0, true));
  TRY_ASSIGN(double mean, c.real("mean", 0));
  TRY_ASSIGN(double scale, c.real("scale", 1));
  TRY_ASSIGN(double seed, c.real("seed", 0));
  host_random_normal(mean, scale, seed, c.outputs[0]);
  return {};
}
Status host_call_random_uniform(HostCall& c) {
  TRY(random_operands(c, 0, true));
  TRY_ASSIGN(double low, c.real("low", 0));
  TRY_ASSIGN(double high, c.real("high", 1));
  TRY_ASSIGN(double seed, c.real("seed", 0));
  host_random_uniform(low, high, seed, c.outputs[0]);
  return {};
}
Status host_call_bernoulli(HostCall& c) {
  TRY(random_operands(c, 1, false));
  TRY(expect(c.inputs[0].dims == c.outputs[0].dims, "wants equal dims"));
  TRY_ASSIGN(double seed, c.real("seed", 0));
  host_bernoulli(c.inputs[0], seed, c.outputs[0]);
  return {};
}
Status host_call_multinomial(HostCall& c) {
  TRY(random_operands(c, 1, false));
  const TensorView &p = c.inputs[0], &y = c.outputs[0];
  TRY(expect(p.rank() == 2 && y.rank() == 2 && p.dims[0] == y.dims[0] && is_signed_int(y.dtype), "wants [batch, classes] and [batch, samples]"));
  TRY_ASSIGN(double seed, c.real("seed", 0));
  return host_multinomial(p, seed, y);
}
Status host_call_dropout(HostCall& c) {
  TRY(operands(c, 1, 3, 1, 2));
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  bool fits = is_float(x.dtype) && y.dtype == x.dtype && y.dims == x.dims &&
              (c.outputs.size() < 2 || (c.outputs[1].dtype == DType::b1 && c.outputs[1].dims == x.dims));
  TRY(expect(fits, "wants floats and a mask of the same dims"));
  TRY_ASSIGN(int ratio, operand_number(c, "ratio", c.inputs.size()));
  TRY_ASSIGN(int training, operand_number(c, "training", c.inputs.size()));
  TRY_ASSIGN(double seed, c.real("seed", 0));
  double share = 0.5;
  if (ratio >= 0) {
    TRY_ASSIGN(share, scalar(c.inputs[ratio]));
  }
  if (training >= 0) TRY(expect(c.inputs[training].dtype == DType::b1 && c.inputs[training].numel() == 1, "wants a bool"));
  bool trains = training >= 0 && *element(c.inputs[training], 0) != 0;
  return host_dropout(x, share, trains, seed, y, c.outputs.size() > 1 ? &c.outputs[1] : nullptr);
}

// --- packed elements ------------------------------------------------------------------------------------------------

// f(first byte of a packed row, first element of the other view's row) for each row.
template <class F>
static Status packed_rows(const TensorView& packed, const TensorView& bytes, F&& f) {
  TRY(expect(is_subbyte(packed.dtype) && byte_size(bytes.dtype) == 1 && !is_subbyte(bytes.dtype) && bytes.dims == packed.dims && bytes.contiguous(),
             "wants packed elements and dense bytes"));
  const int64_t row = packed.rank() ? packed.dims.back() : 1;
  TensorView rows = packed;
  if (packed.rank()) {
    TRY(expect(row < 2 || packed.strides.back() == 1, "wants packed rows"));
    rows.dims.pop_back();
    rows.strides.pop_back();
  }
  int64_t at = 0;
  for (Walk w(rows); !w.done(); w.next(), at += row)
    f(static_cast<char*>(packed.data) + w.offset() * bit_width(packed.dtype) / 8, static_cast<char*>(bytes.data) + at, row);
  return {};
}
Status host_call_unpack(HostCall& c) {
  TRY(operands(c, 1, 1, 1, 1));
  DType t = c.inputs[0].dtype;
  return packed_rows(c.inputs[0], c.outputs[0], [&](char* packed, char* bytes, int64_t n) { unpack_subbyte(t, packed, bytes, n); });
}
Status host_call_pack(HostCall& c) {
  TRY(operands(c, 1, 1, 1, 1));
  DType t = c.outputs[0].dtype;
  if (c.inputs[0].contiguous())
    return packed_rows(c.outputs[0], c.inputs[0], [&](char* packed, char* bytes, int64_t n) { pack_subbyte(t, bytes, packed, n); });
  TensorView dense = c.inputs[0];
  std::vector<char> bytes(static_cast<size_t>(dense.numel()));
  dense.data = bytes.data();
  dense.strides = dense_strides(dense.dims);
  copy_cells(c.inputs[0], dense);
  return packed_rows(c.outputs[0], dense, [&](char* packed, char* row, int64_t n) { pack_subbyte(t, row, packed, n); });
}

}  // namespace weft
