#include "runtime/comm/flight.h"

#include <cstring>

#include "ir/base/hash.h"
#include "ir/base/text.h"

namespace weft {

FlightRecord flight_record(const Collective& c, uint64_t sequence, int64_t bytes) {
  FlightRecord r;
  r.sequence = sequence;
  r.bytes = bytes;
  r.kind = static_cast<uint8_t>(c.kind);
  r.dtype = static_cast<uint8_t>(c.dtype);
  const bool point_to_point = c.kind == CollectiveKind::send || c.kind == CollectiveKind::recv;
  if (c.kind == CollectiveKind::all_reduce || c.kind == CollectiveKind::reduce_scatter) r.reduction = static_cast<uint8_t>(c.reduction);
  std::string label = c.label;
  if (point_to_point) {
    r.detail_hash = static_cast<uint64_t>(c.tag);
    label.insert(0, (c.kind == CollectiveKind::send ? "to rank " : "from rank ") + std::to_string(c.root) + (label.empty() ? "" : ": "));
  } else {
    const int64_t extents[] = {c.outer, c.middle, c.inner, c.split_first, c.root, static_cast<int64_t>(c.turn)};
    r.detail_hash = hash_bytes(extents, sizeof extents).lo;
    if (!c.pairs.empty()) r.detail_hash = hash_bytes(c.pairs.data(), c.pairs.size() * sizeof(int64_t), r.detail_hash).lo;
    r.label_hash = hash_text(c.label).lo;
  }
  std::memcpy(r.label, label.data(), std::min(label.size(), sizeof r.label - 1));
  return r;
}

bool FlightRecord::same_as(const FlightRecord& o) const {
  // A send meets a recv, so it is what they have in common that counts.
  auto meeting = [](uint8_t k) { return k == static_cast<uint8_t>(CollectiveKind::recv) ? static_cast<uint8_t>(CollectiveKind::send) : k; };
  return sequence == o.sequence && label_hash == o.label_hash && detail_hash == o.detail_hash && bytes == o.bytes &&
         meeting(kind) == meeting(o.kind) && dtype == o.dtype && reduction == o.reduction;
}

std::string FlightRecord::to_string() const {
  // A record of another process may be torn: nothing in it is an index before it is checked.
  const bool known = kind <= static_cast<uint8_t>(CollectiveKind::recv) && dtype <= static_cast<uint8_t>(DType::str) &&
                     reduction <= static_cast<uint8_t>(CommReduction::prod);
  if (!known) return "#" + std::to_string(sequence) + " (unreadable)";
  const CollectiveKind k = static_cast<CollectiveKind>(kind);
  std::string s = "#" + std::to_string(sequence) + " " + collective_name(k);
  if (k == CollectiveKind::all_reduce || k == CollectiveKind::reduce_scatter) s += std::string(" ") + reduction_name(static_cast<CommReduction>(reduction));
  s += std::string(" ") + dtype_name(static_cast<DType>(dtype)) + " " + std::to_string(bytes) + " bytes";
  const std::string name(label, strnlen(label, sizeof label));
  return name.empty() ? s : s + " " + quote(name);
}

std::string flight_text(std::span<const FlightRecord> records) {
  std::string s;
  for (const FlightRecord& r : records)
    if (r.sequence) s += "    " + r.to_string() + (r.done ? "\n" : " (not done)\n");
  return s.empty() ? "    (none)\n" : s;
}

static std::string newest(std::span<const FlightRecord> records) { return records.empty() ? "nothing" : records.back().to_string(); }

Error out_of_step(int rank, std::span<const FlightRecord> mine, int other, std::span<const FlightRecord> theirs) {
  const std::string a = "rank " + std::to_string(rank), b = "rank " + std::to_string(other);
  Error e = error(Code::kCheckFailed, "the ranks are out of step: " + a + " runs " + newest(mine) + ", " + b + " runs " + newest(theirs) +
                                          "\n  last collectives of " + a + ":\n" + flight_text(mine) + "  last collectives of " + b + ":\n" +
                                          flight_text(theirs));
  e.message.pop_back();
  return e.with_hint("all ranks must run the same model with the same inputs' shapes and options");
}

}  // namespace weft
