#include "frontend/api/runtime/snapshot.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ir/base/mapped_file.h"
#include "ir/base/text.h"
#include "runtime/artefact/format.h"
#include "runtime/comm/descriptor.h"
#include "runtime/executor/strided.h"

namespace weft::api {

namespace {

constexpr std::string_view kFileMark = "WEFTSNAP", kRecordMark = "SNAPSHOT";
constexpr uint32_t kVersion = 1;
using artefact::Reader;
using artefact::Writer;

std::string file_of(const std::string& path, const SnapshotRank& r) { return r.plan->mesh.size() == 1 ? path : path + ".rank" + std::to_string(r.rank); }
std::string beside(const std::string& file) { return file + ".new"; }

std::string head(const SnapshotRank& r) {
  Writer w;
  w.raw(kFileMark), w.number(kVersion), w.number(static_cast<uint32_t>(r.rank)), w.hash(hash_text(print_plan(*r.plan)));
  return std::move(w.bytes());
}

// Behind the end, or a new file. On disk when it returns.
Status write(const std::string& file, const std::string& bytes, bool append) {
  auto failed = [&] { return resources("cannot write " + file + ": " + std::strerror(errno)); };
  Descriptor fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0600));
  if (!fd) return failed();
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed();
    at += static_cast<size_t>(n);
  }
  return ::fsync(fd.get()) == 0 ? Status() : Status(failed());
}

// All ranks have come so far, or none goes on.
Status agreed(const std::shared_ptr<const Group::State>& group, const char* step, const Status& mine) {
  return group ? agree(Group(group), step, mine) : mine;
}

// Rows `from` on along the axis that a state grows along, else all of it.
void write_state(Writer& w, const TensorView& v, int axis, int64_t from) {
  w.number(uint8_t{1});
  for (int64_t d : v.dims) w.number(d);
  w.number(from);
  TensorView rows = v;
  if (axis >= 0) {
    rows.dims[static_cast<size_t>(axis)] -= from;
    rows.data = static_cast<std::byte*>(v.data) + from * v.strides[static_cast<size_t>(axis)] * byte_size(v.dtype);
  }
  std::string bytes(static_cast<size_t>(rows.numel() * byte_size(v.dtype)), '\0');
  const std::vector<int64_t> strides = dense_strides(rows.dims);
  strided_copy({reinterpret_cast<std::byte*>(bytes.data()), v.dtype, v.rank(), rows.dims.data(), strides.data()}, ref_of(rows), nullptr);
  w.text(bytes);
}

struct Record {
  uint64_t number = 0;
  std::span<const std::byte> payload;
};

// The whole records of a file; none where there is no such file or it is another rank's, model's or mesh's.
struct File {
  std::shared_ptr<const MappedFile> map;
  std::vector<Record> records;
  bool foreign = false;
};
File read_file(const std::string& file, const SnapshotRank& rank) {
  File out;
  if (access(file.c_str(), R_OK) != 0) return out;
  auto map = MappedFile::open(file);
  if (!map.ok()) return out;
  out.map = *map;
  const std::span<const std::byte> all(out.map->data(), out.map->size());
  const std::string start = head(rank);
  out.foreign = all.size() < start.size() || std::memcmp(all.data(), start.data(), start.size()) != 0;
  for (size_t at = start.size(); !out.foreign && at < all.size();) {
    Reader r(all.subspan(at));
    for (char c : kRecordMark)
      if (r.number<char>() != c) return out;
    Record record;
    record.number = r.number<uint64_t>();
    const auto bytes = r.number<uint64_t>();
    const size_t body = at + r.at();
    if (!r.ok() || bytes > all.size() - body || all.size() - body - bytes < sizeof(Hash)) return out;
    record.payload = all.subspan(body, bytes);
    Reader tail(all.subspan(body + bytes));
    if (tail.hash() != hash_bytes(record.payload.data(), record.payload.size(), record.number)) return out;
    out.records.push_back(record);
    at = body + bytes + tail.at();
  }
  return out;
}

// A state's value, as records add to it.
struct Value {
  bool there = false;
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes;
};
Status read_state(Reader& r, const PlanTensor& t, int axis, Value& v) {
  if (r.number<uint8_t>() == 0) return v = {}, Status();
  std::vector<int64_t> dims(t.dims.size());
  for (int64_t& d : dims) d = r.number<int64_t>();
  const auto from = r.number<int64_t>();
  const std::string rows = r.text();
  auto damaged = [] { return invalid("the snapshot's record is none of this model's"); };
  int64_t numel = 1;
  for (int64_t d : dims)
    if (d < 0 || __builtin_mul_overflow(numel, d, &numel) || numel > (int64_t{1} << 48)) return damaged();
  const auto a = static_cast<size_t>(std::max(axis, 0));
  if (!r.ok() || from < 0 || (axis < 0 && from) || (axis >= 0 && from > dims[a]) || (from && !v.there)) return damaged();
  std::vector<int64_t> part = dims, before = dims;
  if (axis >= 0) part[a] -= from, before[a] = from;
  if (from && v.dims != before) return damaged();
  int64_t count = 1;
  for (int64_t d : part) count *= d;
  if (static_cast<int64_t>(rows.size()) != count * byte_size(t.dtype)) return damaged();
  std::vector<std::byte> whole(static_cast<size_t>(numel * byte_size(t.dtype)));
  const std::vector<int64_t> to = dense_strides(dims), was = dense_strides(part);
  const int rank = static_cast<int>(dims.size());
  if (from) {
    const std::vector<int64_t> old = dense_strides(v.dims);
    strided_copy({whole.data(), t.dtype, rank, v.dims.data(), to.data()}, {v.bytes.data(), t.dtype, rank, v.dims.data(), old.data()}, nullptr);
  }
  std::byte* place = whole.data() + (axis >= 0 ? from * to[a] * byte_size(t.dtype) : 0);
  std::byte* source = reinterpret_cast<std::byte*>(const_cast<char*>(rows.data()));
  strided_copy({place, t.dtype, rank, part.data(), to.data()}, {source, t.dtype, rank, part.data(), was.data()}, nullptr);
  v = {true, std::move(dims), std::move(whole)};
  return {};
}

}  // namespace

Status Snapshots::save(const std::string& path, std::span<const SnapshotRank> ranks, const std::shared_ptr<const Group::State>& group) {
  size_t known = 0;
  for (const SnapshotRank& r : ranks) known += r.contexts.size() * r.plan->states.size();
  size_t counted = 0;
  for (auto& l : lengths_) counted += l.size();
  const bool grows = path == path_ && counted == known;
  path_.clear();  // behind what a failure leaves half written nothing may stand: then the next one is whole
  const uint64_t number = number_ + 1;
  std::vector<std::vector<int64_t>> lengths;
  Status s;
  for (size_t k = 0; k < ranks.size() && s.ok(); ++k) {
    const SnapshotRank& r = ranks[k];
    Writer w;
    w.number(static_cast<uint32_t>(r.contexts.size())), w.number(static_cast<uint8_t>(grows));
    std::vector<int64_t>& rows = lengths.emplace_back();
    for (weft::Context& c : r.contexts)
      for (size_t i = 0; i < r.plan->states.size() && s.ok(); ++i) {
        const int axis = r.plan->states[i].axis;
        auto v = c.state(static_cast<int>(i));
        if (!v.ok()) {
          if (v.error().code != Code::kUsage) s = std::move(v.error());  // the other ranks are told
          w.number(uint8_t{0});  // before its first run
          rows.push_back(0);
          continue;
        }
        const int64_t from = grows && axis >= 0 ? std::min(lengths_[k][rows.size()], v->dims[static_cast<size_t>(axis)]) : 0;
        write_state(w, *v, axis, from);
        rows.push_back(axis >= 0 ? v->dims[static_cast<size_t>(axis)] : 0);
      }
    Writer record;
    record.raw(kRecordMark), record.number(number), record.number(static_cast<uint64_t>(w.bytes().size())), record.raw(w.bytes());
    record.hash(hash_bytes(w.bytes().data(), w.bytes().size(), number));
    const std::string file = file_of(path, r);
    if (s.ok()) s = grows ? write(file, record.bytes(), true) : write(beside(file), head(r) + record.bytes(), false);
  }
  TRY(agreed(group, "a snapshot", s));
  for (const SnapshotRank& r : ranks) {
    const std::string file = file_of(path, r);
    if (!grows && ::rename(beside(file).c_str(), file.c_str()) != 0) s = resources("cannot replace " + file + ": " + std::strerror(errno));
  }
  TRY(s);
  path_ = path;
  number_ = number;
  lengths_ = std::move(lengths);
  return {};
}

Status Snapshots::restore(const std::string& path, const std::function<std::vector<SnapshotRank>(size_t parts)>& ranks_of,
                          const std::shared_ptr<const Group::State>& group) {
  std::vector<std::pair<File, File>> files;
  uint64_t last = UINT64_MAX;
  size_t parts = 0;
  Status s;
  for (const SnapshotRank& r : ranks_of(1)) {
    const std::string name = file_of(path, r);
    files.emplace_back(read_file(name, r), read_file(beside(name), r));
    uint64_t mine = 0;
    for (const File* f : {&files.back().first, &files.back().second}) {
      if (f->foreign)
        s = usage(name + " is no snapshot of this model, compiled like this").with_hint("restore with the options that it was saved with");
      if (f->records.empty()) continue;
      mine = std::max(mine, f->records.back().number);
      if (parts == 0) parts = Reader(f->records[0].payload).number<uint32_t>();
    }
    if (s.ok() && (mine == 0 || parts < 1 || parts > kMaxStages)) s = usage("there is no snapshot " + name);
    last = std::min(last, mine);
  }
  TRY(agreed(group, "a snapshot's files", s));
  if (group) {
    TRY_ASSIGN(const std::vector<std::string> all, Group(group).exchange(std::to_string(last)));
    for (const std::string& text : all) last = std::min<uint64_t>(last, std::strtoull(text.c_str(), nullptr, 10));
  }
  auto restore_rank = [&](const SnapshotRank& r, const std::pair<File, File>& both) -> Status {
    auto has = [&](const File& f) { return std::any_of(f.records.begin(), f.records.end(), [&](const Record& x) { return x.number == last; }); };
    const File& f = has(both.first) ? both.first : both.second;
    if (!has(f)) return usage("rank " + std::to_string(r.rank) + " has no snapshot " + std::to_string(last) + ", which others have last");
    std::vector<Value> values(r.contexts.size() * r.plan->states.size());
    for (const Record& record : f.records) {
      if (record.number > last) break;
      Reader reader(record.payload);
      const auto parts = reader.number<uint32_t>();
      (void)reader.number<uint8_t>();
      if (parts != r.contexts.size()) return invalid("the snapshot has " + std::to_string(parts) + " parts of a batch");
      for (size_t i = 0; i < values.size(); ++i) {
        const PlanPort& port = r.plan->states[i % r.plan->states.size()];
        TRY(read_state(reader, r.plan->tensors[static_cast<size_t>(port.tensor)], port.axis, values[i]));
      }
    }
    for (size_t i = 0; i < values.size(); ++i) {
      const int state = static_cast<int>(i % r.plan->states.size());
      const PlanPort& port = r.plan->states[static_cast<size_t>(state)];
      Value& v = values[i];
      weft::Context& c = r.contexts[i / r.plan->states.size()];
      if (!v.there) {
        TRY(c.reset_state(state));
        continue;
      }
      TensorView view;
      view.dtype = r.plan->tensors[static_cast<size_t>(port.tensor)].dtype;
      view.dims = v.dims;
      view.strides = dense_strides(v.dims);
      view.data = v.bytes.data();
      TRY(c.set_state(state, view));
    }
    return {};
  };
  const std::vector<SnapshotRank> ranks = ranks_of(parts);
  for (size_t k = 0; k < ranks.size() && s.ok(); ++k) s = restore_rank(ranks[k], files[k]);
  TRY(agreed(group, "a snapshot's values", s));
  path_.clear();  // a file may have more than all ranks have, or half a record: the next one is whole
  number_ = last;
  return {};
}

}  // namespace weft::api
