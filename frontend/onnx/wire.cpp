#include "frontend/onnx/wire.h"

#include <cstring>

namespace weft {

namespace {

enum class Msg : uint8_t { model, training, graph, function, node, attribute, tensor, sparse, other };

// The message types that can hold nodes or tensors; everything else is copied as it is.
Msg child_of(Msg m, uint32_t field) {
  switch (m) {
    case Msg::model: return field == 7 ? Msg::graph : field == 20 ? Msg::training : field == 25 ? Msg::function : Msg::other;
    case Msg::training: return field <= 2 ? Msg::graph : Msg::other;
    case Msg::graph: return field == 1 ? Msg::node : field == 5 ? Msg::tensor : field == 15 ? Msg::sparse : Msg::other;
    case Msg::function: return field == 7 ? Msg::node : field == 11 ? Msg::attribute : Msg::other;
    case Msg::node: return field == 5 ? Msg::attribute : Msg::other;
    case Msg::attribute:
      if (field == 5 || field == 10) return Msg::tensor;
      if (field == 6 || field == 11) return Msg::graph;
      return field == 22 || field == 23 ? Msg::sparse : Msg::other;
    case Msg::sparse: return field <= 2 ? Msg::tensor : Msg::other;
    default: return Msg::other;
  }
}
// Message fields that may occur once: protobuf would merge them, and the cut would then not know whose payload it is.
bool is_singular(Msg m, uint32_t field) {
  switch (m) {
    case Msg::model: return field == 7;
    case Msg::training: return field <= 2;
    case Msg::attribute: return field == 5 || field == 6 || field == 22;
    case Msg::sparse: return field <= 2;
    case Msg::tensor: return field == 9;
    default: return false;
  }
}

void put_varint(std::string& out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<char>(v | 0x80));
  out.push_back(static_cast<char>(v));
}
void put_bytes(std::string& out, uint32_t field, std::string_view body) {
  put_varint(out, uint64_t{field} << 3 | 2);
  put_varint(out, body.size());
  out.append(body);
}

struct Field {
  uint32_t number = 0;
  int wire = 0;
  size_t begin = 0;              // of the tag
  size_t body = 0, end = 0;      // of the payload
};

class Scanner {
 public:
  Scanner(std::span<const std::byte> bytes, const ImportLimits& limits, bool rewrite) : bytes_(bytes), limits_(limits), rewrite_(rewrite) {}

  // Scans [pos, end) as message m; appends what protobuf shall see to `out`.
  Status message(Msg m, size_t pos, size_t end, int depth, std::string& out) {
    uint32_t seen = 0;
    int64_t dims = 0;
    while (pos < end) {
      TRY_ASSIGN(Field f, field(pos, end));
      pos = f.end;
      if (is_singular(m, f.number)) {
        uint32_t bit = uint32_t{1} << f.number % 32;
        if (seen & bit) return at(invalid("field " + std::to_string(f.number) + " occurs twice in one message"), f.begin);
        seen |= bit;
      }
      if (m == Msg::tensor) {
        TRY(tensor_field(f, dims, out));
      } else {
        TRY(plain_field(m, f, depth, out));
      }
    }
    return {};
  }
  // Whether a message's outermost fields, as far as they can be read, include this one.
  bool has_field(uint32_t number) const {
    for (size_t pos = 0; pos < bytes_.size();) {
      Result<Field> f = field(pos, bytes_.size());
      if (!f.ok()) return false;
      if (f->number == number) return true;
      pos = f->end;
    }
    return false;
  }
  int64_t nodes = 0, messages = 0, cuts = 0;
  bool forged = false;  // a kCutField stood in the input

 private:
  Error at(Error e, size_t offset) const {
    e.offset = static_cast<long long>(offset);
    return e;
  }
  Error truncated(size_t offset) const { return at(invalid("the file is not an ONNX model, or it is cut off"), offset); }

  Result<uint64_t> varint(size_t& pos, size_t end) const {
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (pos >= end) return truncated(pos);
      uint8_t b = static_cast<uint8_t>(bytes_[pos++]);
      v |= shift < 64 ? uint64_t{b & 0x7fu} << shift : 0;
      if (!(b & 0x80)) return v;
    }
    return truncated(pos);
  }
  Result<Field> field(size_t pos, size_t end) const {
    Field f;
    f.begin = pos;
    TRY_ASSIGN(uint64_t tag, varint(pos, end));
    f.number = static_cast<uint32_t>(tag >> 3);
    f.wire = static_cast<int>(tag & 7);
    if (tag >> 32 || f.number == 0) return truncated(f.begin);
    f.body = pos;
    size_t size = 0;
    if (f.wire == 0) {
      TRY(varint(pos, end));
      size = pos - f.body;
    } else if (f.wire == 1 || f.wire == 5) {
      size = f.wire == 1 ? 8 : 4;
    } else if (f.wire == 2) {
      TRY_ASSIGN(uint64_t n, varint(pos, end));
      f.body = pos;
      if (n > end - pos) return truncated(f.begin);
      size = static_cast<size_t>(n);
    } else {
      return truncated(f.begin);  // groups do not occur in ONNX
    }
    if (size > end - f.body) return truncated(f.begin);
    f.end = f.body + size;
    return f;
  }
  std::string_view text(size_t begin, size_t end) const { return {reinterpret_cast<const char*>(bytes_.data()) + begin, end - begin}; }
  Status keep(const Field& f, std::string& out) {
    if (!rewrite_) return {};
    if (static_cast<int64_t>(out.size() + (f.end - f.begin)) > limits_.max_structure_bytes)
      return at(resources("the model without its large tensors exceeds " + std::to_string(limits_.max_structure_bytes) + " bytes"), f.begin);
    out.append(text(f.begin, f.end));
    return {};
  }
  Status count_message(const Field& f) {
    if (++messages > limits_.max_messages)
      return at(resources("the model holds more than " + std::to_string(limits_.max_messages) + " nodes, tensors and names"), f.begin);
    return {};
  }

  Status plain_field(Msg m, const Field& f, int depth, std::string& out) {
    if (f.wire == 2) TRY(count_message(f));
    Msg child = f.wire == 2 ? child_of(m, f.number) : Msg::other;
    if (child == Msg::other) return keep(f, out);
    if (child == Msg::node && ++nodes > limits_.max_nodes)
      return at(resources("the model holds more than " + std::to_string(limits_.max_nodes) + " nodes"), f.begin);
    if (child == Msg::graph && ++depth > limits_.max_graph_depth)
      return at(resources("graphs are nested deeper than " + std::to_string(limits_.max_graph_depth)), f.begin);
    std::string body;
    TRY(message(child, f.body, f.end, depth, body));
    if (rewrite_) put_bytes(out, f.number, body);
    return {};
  }
  Status count_dims(const Field& f, int64_t& dims) {
    if (f.wire == 0) {
      ++dims;
    } else {
      for (size_t i = f.body; i < f.end; ++i) dims += !(static_cast<uint8_t>(bytes_[i]) & 0x80);
    }
    if (dims > limits_.max_rank) return at(resources("a tensor has more than " + std::to_string(limits_.max_rank) + " dims"), f.begin);
    return {};
  }
  Status tensor_field(const Field& f, int64_t& dims, std::string& out) {
    if (f.number == kCutField) {
      forged = true;
      return {};
    }
    if (f.number == 1) TRY(count_dims(f, dims));
    if (f.wire == 2) TRY(count_message(f));
    bool payload = f.wire == 2 && (f.number == 9 || f.number == 4 || f.number == 10);
    if (!payload || static_cast<int64_t>(f.end - f.body) < kCutBytes) return keep(f, out);
    ++cuts;
    CutPayload cut{f.body, f.end - f.body, static_cast<uint8_t>(f.number)};
    if (rewrite_) put_bytes(out, kCutField, cut.encode());
    return {};
  }

  std::span<const std::byte> bytes_;
  const ImportLimits& limits_;
  bool rewrite_;
};

}  // namespace

std::string CutPayload::encode() const {
  std::string s(17, '\0');
  std::memcpy(s.data(), &offset, 8);
  std::memcpy(s.data() + 8, &size, 8);
  s[16] = static_cast<char>(field);
  return s;
}
bool CutPayload::decode(std::string_view text, CutPayload* out) {
  if (text.size() != 17) return false;
  std::memcpy(&out->offset, text.data(), 8);
  std::memcpy(&out->size, text.data() + 8, 8);
  out->field = static_cast<uint8_t>(text[16]);
  return true;
}

Result<WireScan> scan_model(std::span<const std::byte> bytes, const ImportLimits& limits) {
  if (static_cast<int64_t>(bytes.size()) > limits.max_file_bytes)
    return resources("the file has " + std::to_string(bytes.size()) + " bytes, the limit is " + std::to_string(limits.max_file_bytes));
  WireScan scan;
  Scanner look(bytes, limits, false);
  TRY(look.message(Msg::model, 0, bytes.size(), 0, scan.structure));
  scan.nodes = look.nodes;
  scan.messages = look.messages;
  scan.cut = look.cuts > 0 || look.forged;
  if (scan.cut) {
    Scanner write(bytes, limits, true);
    TRY(write.message(Msg::model, 0, bytes.size(), 0, scan.structure));
  } else if (static_cast<int64_t>(bytes.size()) > limits.max_structure_bytes) {
    return resources("the model without its large tensors exceeds " + std::to_string(limits.max_structure_bytes) + " bytes");
  }
  return scan;
}

bool has_configurations(std::span<const std::byte> bytes) {
  constexpr uint32_t kConfiguration = 26;
  const ImportLimits limits;
  return Scanner(bytes, limits, false).has_field(kConfiguration);
}

}  // namespace weft
