// Where values lie: buffers, views of buffers, constants, and known values stored on demand.
#include <algorithm>

#include "codegen/lower/lowering.h"
#include "ir/ops/structure.h"

namespace weft {

DType carrier_type(DType t) {
  switch (t) {
    case DType::i4: case DType::i2: return DType::i8;
    case DType::u4: case DType::u2: case DType::f4e2m1: return DType::u8;
    default: return t;
  }
}

bool Lowering::late(const Dim& d) const {
  std::vector<std::string> symbols = d.symbols();
  return std::any_of(symbols.begin(), symbols.end(), [&](const std::string& s) { return !early.count(s); });
}

int Lowering::temp(const std::string& name, DType t, const Shape& dims) {
  PlanBuffer b;
  PlanTensor x;
  b.name = x.name = name;
  x.dtype = carrier_type(t);
  x.dims = dims;
  x.strides = plan_strides(dims, x.dtype);
  b.bytes = plan_bytes(dims, x.dtype);
  b.prepare = preparing;
  if (late(b.bytes)) {
    b.storage = Storage::dynamic;
    b.prepare = false;
  }
  bool later = b.storage == Storage::dynamic;
  x.buffer = plan().add_buffer(std::move(b));
  if (later) unallocated.insert(x.buffer);
  return plan().add_tensor(std::move(x));
}
int Lowering::new_tensor(const Value* v, Storage storage) {
  int id = temp(v->name, v->type.dtype, v->type.shape);
  if (const Layout& l = v->type.layout; l.kind == Layout::Kind::strided && !l.is_row_major()) {
    PlanTensor& t = plan().tensors[id];
    Dim stride(1);
    for (size_t k = l.perm.size(); k-- > 0;) {
      t.strides[l.perm[k]] = stride;
      stride *= t.dims[l.perm[k]];
    }
  }
  PlanBuffer& b = plan().buffers[plan().tensors[id].buffer];
  if (storage != Storage::arena) {
    b.storage = storage;
    b.prepare = false;
  }
  tensors[v] = id;
  return id;
}
void Lowering::allocate(int tensor) {
  if (unallocated.erase(plan().tensors[tensor].buffer)) command(CommandKind::alloc).tensors = {tensor};
}
int Lowering::result(const Value* v) {
  auto it = tensors.find(v);
  int id = it == tensors.end() ? new_tensor(v) : it->second;
  allocate(id);
  return id;
}
int Lowering::alias(const Value* v, int source, Shape dims, std::vector<Dim> strides, Dim byte_offset) {
  PlanTensor x;
  const PlanTensor& from = plan().tensors[source];
  x.name = v ? v->name : from.name;
  x.buffer = from.buffer;
  x.offset = from.offset + byte_offset;
  x.dtype = from.dtype;
  x.dims = std::move(dims);
  x.strides = std::move(strides);
  int id = plan().add_tensor(std::move(x));
  if (v) tensors[v] = id;
  return id;
}
Placement Lowering::placement(int id) const {
  const PlanTensor& t = out.plan.tensors[id];
  return {t.dtype, t.dims, t.strides};
}
bool Lowering::dense(int id) const {
  const PlanTensor& t = out.plan.tensors[id];
  Dim expect(1);
  for (size_t k = t.dims.size(); k-- > 0;) {
    if (!t.dims[k].is(1) && t.strides[k] != expect) return false;
    expect *= t.dims[k];
  }
  return true;
}

static int constant_tensor(Lowering& l, const Value* v, const Constant& c) {
  int id = v->def->attr<ConstantAttrs>().value.id;
  auto [it, fresh] = l.constant_slots.emplace(id, static_cast<int>(l.plan().constants.size()));
  if (fresh) {
    PlanConstant pc;
    pc.name = c.name;
    pc.dtype = carrier_type(c.dtype);
    pc.dims = c.dims;
    pc.hash = c.hash;
    l.plan().constants.push_back(std::move(pc));
    l.out.constants.push_back(id);
  }
  int t = l.new_tensor(v, Storage::constant);
  l.plan().buffers[l.plan().tensors[t].buffer].source = it->second;
  return t;
}

// Shape arithmetic: the elements are Dims, stored by a kernel that takes them as its params.
static Result<int> store_known(Lowering& l, const Value* v, const std::vector<Dim>& known) {
  for (const Dim& d : known)
    if (!l.is_bound(d)) return unsupported("the number " + d.to_string() + " is needed before anything decides it").at_tensor(v->name);
  int t = l.result(v);
  KernelSpec s;
  s.title = "store dims";
  s.num_ptrs = 1;
  SpecOperand o;
  o.name = v->name;
  o.dtype = v->type.dtype;
  o.write = true;
  o.strides = {Dim(1)};
  SpecStage st;
  for (size_t k = 0; k < known.size(); ++k) {
    s.params.push_back("v" + std::to_string(k));
    o.index = {Dim(static_cast<int64_t>(k))};
    s.operands.push_back(o);
    StageInput in;
    in.kind = StageInput::Kind::index;
    in.dim = Dim::symbol(s.params.back());
    st.inputs.push_back(std::move(in));
    st.body.outputs.push_back(st.body.cast(st.body.input(static_cast<int>(k), DType::i64), v->type.dtype));
    st.stores.push_back(static_cast<int>(k));
  }
  s.stages.push_back(std::move(st));
  TRY(l.launch(std::move(s), {t}, known));
  return t;
}

Result<int> Lowering::tensor(const Value* v) {
  if (auto it = tensors.find(v); it != tensors.end()) return it->second;
  if (const Constant* c = constant_of(v)) {
    if (c->dtype != DType::str) return constant_tensor(*this, v, *c);
    return unsupported("constants of type str on " + target.to_string()).at_tensor(v->name);
  }
  if (v->def && v->def->kind == OpKind::prepared) {
    const Value* made = prepared_output(m, v->def->attr<PreparedAttrs>().name);
    auto it = made ? tensors.find(made) : tensors.end();
    if (it != tensors.end()) return tensors[v] = it->second;
  }
  if (const std::vector<Dim>* known = known_of(v)) return store_known(*this, v, *known);
  return unsupported("a value is needed that nothing computes").at_tensor(v->name);
}

}  // namespace weft
