// Prints a Plan as .wplan text. Grammar, one statement a line, nested regions indented:
//
//   wplan 1 name "mlp" target "cpu:x86-64-v3" arena 4096
//   symbol batch 1 .. 32 opt 8
//   constant w f32[768,128] hash "0123…"
//   kernel @gemm_0 hash "0123…" object 0 flops 2*batch*768*128 nodes ["MatMul_0"]
//   group tp axes ["tp"]
//   buffer #x input 0 bytes 3072*batch
//   buffer #h arena bytes 512*batch live 0 .. 3
//   tensor %x f32[batch,768] #x
//   tensor %xt f32[768,batch] #x offset 64 strides [1,768]
//   input x %x
//   state past %k0 -> %k1 append 2 length past capacity room
//   prepare { … }
//   main {
//     launch @gemm_0(%x, %w, out %h, batch, scalar(0.5)) tasks batch nodes ["MatMul_0"]
//     if %c {
//     } else {
//     }
//   }
//
// Buffers, tensors and kernels are named by what they are called where that name is there once, else by number. Fields
// that have their default are left out; strides too where they are plan_strides.
#include <unordered_map>

#include "ir/base/text.h"
#include "ir/plan/plan.h"
#include "ir/plan/words.h"

namespace weft {

namespace {

std::string quoted_list(const std::vector<std::string>& v) {
  std::string s;
  for (const std::string& x : v) s += (s.empty() ? "" : ", ") + quote(x);
  return "[" + s + "]";
}

// How the members of one table are referred to.
class Names {
 public:
  template <class T>
  Names(char sigil, const std::vector<T>& items) {
    std::unordered_map<std::string_view, int> uses;
    for (const T& t : items) ++uses[t.name];
    for (size_t i = 0; i < items.size(); ++i) {
      bool unique = !items[i].name.empty() && uses[items[i].name] == 1;
      refs_.push_back(sigil + (unique ? name_text(items[i].name) : std::to_string(i)));
      // A declaration by number gives the name apart.
      declared_.push_back(refs_.back() + (unique || items[i].name.empty() ? "" : " named " + quote(items[i].name)));
    }
    sigil_ = sigil;
  }
  std::string ref(int i) const {  // a plan that breaks its rules prints too
    return i >= 0 && i < static_cast<int>(refs_.size()) ? refs_[i] : sigil_ + std::to_string(i);
  }
  const std::string& declared(size_t i) const { return declared_[i]; }

 private:
  std::vector<std::string> refs_, declared_;
  char sigil_;
};

class Printer {
 public:
  explicit Printer(const Plan& p) : p_(p), buffers_('#', p.buffers), tensors_('%', p.tensors), kernels_('@', p.kernels) {}

  std::string print() {
    out_ = "wplan 1";
    if (!p_.name.empty()) out_ += " name " + quote(p_.name);
    if (!p_.target.empty()) out_ += " target " + quote(p_.target);
    if (p_.arena_bytes) out_ += " arena " + std::to_string(p_.arena_bytes);
    field("stage", p_.stage, -1);
    out_ += "\n";
    for (auto& [name, s] : p_.symbols) symbol(name, s);
    for (const PlanConstant& c : p_.constants) constant(c);
    for (size_t i = 0; i < p_.kernels.size(); ++i) kernel(i);
    if (!p_.mesh.axes.empty()) out_ += p_.mesh.to_string() + "\n";
    for (const PlanGroup& g : p_.groups) out_ += "group " + name_text(g.name) + " axes " + quoted_list(g.axes) + "\n";
    for (size_t i = 0; i < p_.buffers.size(); ++i) buffer(i);
    for (size_t i = 0; i < p_.tensors.size(); ++i) tensor(i);
    for (const PlanPort& q : p_.inputs) port("input", q);
    for (const PlanPort& q : p_.outputs) port("output", q);
    for (const PlanPort& q : p_.states) port("state", q);
    if (!p_.prepare.commands.empty()) {
      out_ += "prepare ";
      region(p_.prepare, 0);
      out_ += "\n";
    }
    out_ += "main ";
    region(p_.main, 0);
    out_ += "\n";
    return std::move(out_);
  }

 private:
  void field(const char* name, const Dim& d) {
    if (!d.is(0)) out_ += std::string(" ") + name + " " + d.to_string();
  }
  void field(const char* name, int64_t v, int64_t standard) {
    if (v != standard) out_ += std::string(" ") + name + " " + std::to_string(v);
  }
  void field(const char* name, const std::vector<std::string>& v) {
    if (!v.empty()) out_ += std::string(" ") + name + " " + quoted_list(v);
  }
  void hash(const Hash& h) {
    if (h != Hash{}) out_ += " hash \"" + h.hex() + "\"";
  }

  void symbol(const std::string& name, const SymbolInfo& s) {
    out_ += "symbol " + name_text(name);
    if (s.lo != 0 || s.hi != INT64_MAX) {
      out_ += " " + std::to_string(s.lo) + " ..";
      if (s.hi != INT64_MAX) out_ += " " + std::to_string(s.hi);
    }
    field("opt", s.opt, 0);
    out_ += "\n";
  }
  void constant(const PlanConstant& c) {
    out_ += "constant " + name_text(c.name) + " " + dtype_name(c.dtype) + "[" + shape_text(to_shape(c.dims)) + "]";
    hash(c.hash);
    out_ += "\n";
  }
  void kernel(size_t i) {
    const PlanKernel& k = p_.kernels[i];
    out_ += "kernel " + kernels_.declared(i);
    hash(k.hash);
    field("object", k.object, -1);
    field("threads", k.threads, 0);
    field("flops", k.flops);
    field("bytes", k.bytes);
    field("nodes", k.nodes);
    out_ += "\n";
  }
  void buffer(size_t i) {
    const PlanBuffer& b = p_.buffers[i];
    out_ += "buffer " + buffers_.declared(i) + " " + plan_words::kStorages[static_cast<int>(b.storage)];
    bool source = plan_words::has_source(b.storage) && b.source >= 0;
    if (source) out_ += " " + std::to_string(b.source);
    if (b.prepare) out_ += " prepare";
    if (b.space != Space::host) out_ += std::string(" ") + plan_words::kSpaces[static_cast<int>(b.space)];
    field("bytes", b.bytes);
    field("align", b.alignment, 64);
    field("offset", b.offset, -1);
    if (b.first != -1 || b.last != -1) out_ += " live " + std::to_string(b.first) + " .. " + std::to_string(b.last);
    if (!source) field("source", b.source, -1);
    out_ += "\n";
  }
  void tensor(size_t i) {
    const PlanTensor& t = p_.tensors[i];
    out_ += "tensor " + tensors_.declared(i) + " " + dtype_name(t.dtype) + "[" + shape_text(t.dims) + "]";
    if (t.buffer >= 0) out_ += " " + buffers_.ref(t.buffer);
    field("offset", t.offset);
    if (t.strides != plan_strides(t.dims, t.dtype)) out_ += " strides [" + shape_text(t.strides) + "]";
    out_ += "\n";
  }
  void port(const char* kind, const PlanPort& q) {
    out_ += std::string(kind) + " " + name_text(q.name);
    if (q.tensor >= 0) out_ += " " + tensors_.ref(q.tensor);
    if (q.paired >= 0) out_ += " -> " + tensors_.ref(q.paired);
    field("append", q.axis, -1);
    if (!q.length.empty()) out_ += " length " + name_text(q.length);
    if (!q.capacity.empty()) out_ += " capacity " + name_text(q.capacity);
    if (!q.share.sharding.empty()) out_ += " " + q.share.to_string();
    field("number", q.number, -1);
    out_ += "\n";
  }

  void region(const Region& r, int depth) {
    out_ += "{\n";
    for (const Command& c : r.commands) {
      out_.append(2 * depth + 2, ' ');
      command(c, depth + 1);
      out_ += "\n";
    }
    out_.append(2 * depth, ' ');
    out_ += "}";
  }
  void refs(const std::vector<int>& v, size_t begin, size_t end, const char* before) {
    for (size_t i = begin; i < end && i < v.size(); ++i) out_ += (i == begin ? before : ", ") + tensors_.ref(v[i]);
  }
  void param(const Param& p) {
    std::string access = plan_words::kAccesses[static_cast<int>(p.access)];
    if (!access.empty()) access += " ";
    std::string t = access + (p.tensor >= 0 ? tensors_.ref(p.tensor) : "");
    switch (p.kind) {
      case Param::Kind::tensor: out_ += t; break;
      case Param::Kind::dim: out_ += p.dim.to_string(); break;
      case Param::Kind::scalar: out_ += "scalar(" + number_text(p.scalar) + ")"; break;
      case Param::Kind::tensor_map: out_ += "map(" + t + ")"; break;
      case Param::Kind::peer_table: out_ += "peers(" + t + ")"; break;
      case Param::Kind::workspace: out_ += "workspace(" + t + ")"; break;
    }
  }

  void command(const Command& c, int depth) {
    out_ += plan_words::kCommands[static_cast<int>(c.kind)];
    head(c);
    if (c.kind != CommandKind::loop) field("tasks", c.tasks);
    dims3("grid", c.grid);
    dims3("cluster", c.cluster);
    field("shared", c.shared_bytes);
    field("scratch", c.scratch_bytes);
    if (c.dependent) out_ += " dependent";
    field("stream", c.stream, 0);
    if (c.kind != CommandKind::record && c.kind != CommandKind::wait && c.kind != CommandKind::wait_collective) field("event", c.event, -1);
    field("nodes", c.nodes);
    regions(c, depth);
  }
  void dims3(const char* name, const Dim (&d)[3]) {
    if (d[0].is(0) && d[1].is(0) && d[2].is(0)) return;
    out_ += std::string(" ") + name + " [" + shape_text({d[0], d[1], d[2]}) + "]";
  }
  // What is particular to the kind.
  void head(const Command& c) {
    size_t n = c.tensors.size();
    auto arrow = [&](size_t inputs) {
      refs(c.tensors, 0, inputs, "");
      if (n > inputs) out_ += std::string(inputs ? " " : "") + "-> ";
      refs(c.tensors, inputs, n, "");
    };
    switch (c.kind) {
      case CommandKind::launch:
        out_ += " " + kernels_.ref(c.kernel) + "(";
        for (size_t i = 0; i < c.params.size(); ++i) {
          if (i) out_ += ", ";
          param(c.params[i]);
        }
        out_ += ")";
        break;
      case CommandKind::copy: out_ += " "; arrow(1); break;
      case CommandKind::fill:
        refs(c.tensors, 0, n, " ");
        out_ += " " + number_text(c.scalar);
        break;
      case CommandKind::host_call:
        out_ += " " + name_text(c.name) + "(";
        arrow(c.index < 0 ? 0 : static_cast<size_t>(c.index));
        out_ += ")";
        if (!c.text.empty()) out_ += " " + quote(c.text);
        if (!c.sets.empty()) out_ += " sets [" + join(c.sets, ", ") + "]";
        break;
      case CommandKind::set: out_ += " " + name_text(c.name) + " = " + c.dim.to_string(); break;
      case CommandKind::read:
        out_ += " " + name_text(c.name) + " =";
        refs(c.tensors, 0, n, " ");
        out_ += "[" + std::to_string(c.index) + "]";
        break;
      case CommandKind::expect:
        refs(c.tensors, 0, n, " ");
        out_ += " " + c.dim.to_string() + " " + quote(c.text);
        break;
      case CommandKind::check:
        out_ += " " + c.dim.to_string();
        if (!c.text.empty()) out_ += " " + quote(c.text);
        break;
      case CommandKind::select: out_ += " [" + c.text + "]"; break;
      case CommandKind::loop:
        out_ += " " + c.tasks.to_string();
        if (!c.name.empty()) out_ += " count " + c.name;
        refs(c.tensors, 0, n, " while ");
        break;
      case CommandKind::collective:
        out_ += " " + name_text(c.name) + "(";
        arrow(static_cast<size_t>(c.index));
        out_ += ")";
        if (!c.group.empty()) out_ += " group " + name_text(c.group);
        if (!c.text.empty()) out_ += " " + quote(c.text);
        break;
      case CommandKind::wait_collective:
      case CommandKind::record:
      case CommandKind::wait: out_ += " " + std::to_string(c.event); break;
      case CommandKind::if_then:
      case CommandKind::alloc:
      case CommandKind::free:
      case CommandKind::swap: refs(c.tensors, 0, n, " "); break;
    }
  }
  void regions(const Command& c, int depth) {
    if (c.kind == CommandKind::select) {
      out_ += " {\n";
      for (size_t i = 0; i < c.regions.size(); ++i) {
        out_.append(2 * depth + 2, ' ');
        out_ += "case [";
        for (size_t k = 0; i < c.ranges.size() && k + 1 < c.ranges[i].size(); k += 2)
          out_ += (k ? ", " : "") + c.ranges[i][k].to_string() + " .. " + c.ranges[i][k + 1].to_string();
        out_ += "] ";
        region(*c.regions[i], depth + 1);
        out_ += "\n";
      }
      out_.append(2 * depth, ' ');
      out_ += "}";
      return;
    }
    for (size_t i = 0; i < c.regions.size(); ++i) {
      out_ += i ? " else " : " ";
      region(*c.regions[i], depth);
    }
  }

  const Plan& p_;
  Names buffers_, tensors_, kernels_;
  std::string out_;
};

}  // namespace

const char* command_name(CommandKind k) { return plan_words::kCommands[static_cast<int>(k)]; }

std::string print_plan(const Plan& p) { return Printer(p).print(); }

std::vector<Dim> plan_strides(const Shape& dims, DType t) {
  std::vector<Dim> s(dims.size());
  Dim next(1);
  for (size_t i = dims.size(); i-- > 0;) {
    s[i] = next;
    Dim extent = dims[i];
    if (i + 1 == dims.size() && is_subbyte(t)) {
      int per = 8 / bit_width(t);
      extent = ceildiv(extent, per) * Dim(per);
    }
    next *= extent;
  }
  return s;
}

Dim plan_bytes(const Shape& dims, DType t) {
  if (!is_subbyte(t)) return numel(dims) * Dim(byte_size(t));
  if (dims.empty()) return 1;
  int per = 8 / bit_width(t);
  Dim rows = numel(Shape(dims.begin(), dims.end() - 1));
  return rows * ceildiv(dims.back(), per);
}

std::pair<int64_t, int64_t> bytes_of(const PlanTensor& t) {
  if (t.offset.is_const() && is_static(t.dims) && is_static(t.strides)) {
    Dim from(0), to(0), bits(bit_width(t.dtype));
    for (size_t i = 0; i < t.dims.size(); ++i) (t.strides[i].value() < 0 ? from : to) += (t.dims[i] - Dim(1)) * t.strides[i];
    Dim first = t.offset + floordiv(from * bits, 8), end = t.offset + ceildiv((to + Dim(1)) * bits, 8);
    if (first.is_const() && end.is_const()) return {first.value(), end.value()};
  }
  return {0, INT64_MAX};
}

}  // namespace weft
