// model.weft: a compiled model in one file, for one or several targets. Nothing in it is trusted: every field is checked
// before it is used, and all that a program runs is hashed. The hashes find damage, not malice: a .weft holds native code.
//
// Layout, little endian: a header of 64 bytes, a table of 64 bytes a section, the sections in the table's order. Each section
// begins at the next multiple of 64 bytes, weights at the next page; what lies between is zero. The same content gives the
// same bytes.
//   header   "WEFT\r\n\x1a\n", u32 version, u32 sections, u64 bytes of the file, hash of header and table, 16 zeros
//   section  u32 kind, u32 target, u32 number, u32 place, u64 offset, u64 bytes, hash, 16 zeros
// Weights may lie in a file beside this one instead (its name with ".weights" behind it; place 1, offsets are that file's), or
// nowhere (place 2): such a file has to be refitted before it runs.
// Behind the end there may be a signature, of all that comes before and of the weights beside (signature.h).
// A hash is XXH3's of 128 bits: of the section's bytes; of weights, of the hashes of their chunks of 4 MiB, which the section
// `chunks` lists. Equal weights, code and modules of several targets are stored once.
#pragma once

#include <map>
#include <optional>

#include "ir/base/mapped_file.h"
#include "runtime/artefact/signature.h"
#include "runtime/executable.h"

namespace weft {

class ThreadPool;

constexpr uint32_t kArtefactVersion = 3;

enum class WeightsPlace : uint32_t { embed, external, strip };

struct ArtefactKernel {
  std::string code, spec;  // object or cubin; the KernelSpec's text, for people
  int64_t shared_bytes = 0;
};

// What one target runs.
struct ArtefactTarget {
  std::string target, generator;         // "cuda:sm_90a"; identity of what made the kernels
  std::string compiler;                  // for people: "NVRTC 13.0"
  int32_t least_driver = 0;              // of CUDA, as 13000 for 13.0; 0: none is needed
  std::string module;                    // text of the module that was lowered, weights by reference; for people and tools
  std::string plan;                      // its text
  std::vector<ArtefactKernel> kernels;   // by PlanKernel::object
  std::vector<ConstantBytes> constants;  // parallel to the plan's
};

struct ArtefactContent {
  std::string producer;                         // "weft 0.1.0"
  std::map<std::string, std::string> metadata;  // the model's
  std::vector<ArtefactTarget> targets;
  WeightsPlace weights = WeightsPlace::embed;
  std::string sign_key;  // file of a private key (signature.h); empty: no signature
};
// Where the weights are that lie beside an artefact.
std::string weights_file(const std::string& path);

// Writes beside the file, then renames: there is a whole file or none, and the weights' file before it. Returns the bytes of
// both. Error kResources.
Result<int64_t> write_artefact(const std::string& path, const ArtefactContent& content);

enum class ArtefactSection : uint32_t { info = 1, target, plan, code, spec, weights, chunks, module };
const char* artefact_section_name(ArtefactSection kind);

// Immutable, thread safe. Maps the file; weights that are not used are not read.
class Artefact : public std::enable_shared_from_this<Artefact> {
 public:
  struct Section {
    ArtefactSection kind = ArtefactSection::info;
    uint32_t target = 0, number = 0;  // target: of a target or a plan; number: among its kind
    WeightsPlace place = WeightsPlace::embed;
    uint64_t offset = 0, bytes = 0;
    Hash hash;
    uint64_t first_chunk = 0;  // of weights: number of its first hash in `chunks`
  };
  // Errors: kUsage for a file that is no artefact or of another version, kInvalidModel for a damaged one, kResources.
  static Result<std::shared_ptr<const Artefact>> open(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const std::string& producer() const { return producer_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<std::string>& targets() const { return targets_; }
  const std::vector<Section>& sections() const { return sections_; }

  // What the target runs, all of it checked but its constants: they lie in the file, or in the one beside it, and each has a check
  // for who reads it. Error kUsage for stripped weights, unless `weights` is false: then there are none.
  Result<ArtefactTarget> target(size_t number, bool weights = true) const;
  // Where the constants of a target's plan are stored.
  Result<std::vector<Section>> weights_of(size_t number) const;
  // All hashes, by the pool's threads (null: by this one).
  Status check(ThreadPool* pool = nullptr) const;
  // Nothing: it is not signed. Else who signed it; that it is right is for `check_signature`.
  std::optional<PublicKey> signer() const;
  // Whether it is signed, by this key if one is given, and unchanged since. Error kUsage where it is not signed, kInvalidModel for a wrong
  // signature or another's, kUnsupported without libsodium.
  Status check_signature(const std::optional<PublicKey>& key) const;

 private:
  const MappedFile& file_of(const Section& s) const { return s.place == WeightsPlace::external ? *beside_ : *file_; }
  std::span<const std::byte> bytes_of(const Section& s) const { return {file_of(s).data() + s.offset, static_cast<size_t>(s.bytes)}; }
  const Section* find(ArtefactSection kind, uint32_t target, uint32_t number) const;
  Result<std::span<const std::byte>> checked(ArtefactSection kind, uint32_t target, uint32_t number) const;
  Result<std::string> text(ArtefactSection kind, uint32_t target, uint32_t number) const;
  struct StoredTarget;
  Result<StoredTarget> read_target(size_t number) const;
  friend class WeightsCheck;
  // One hash for each chunk of the weights.
  Result<std::span<const std::byte>> chunk_hashes(const Section& s) const;
  Status check_chunk(const Section& s, uint64_t chunk, std::span<const std::byte> hashes) const;
  Error damaged(const Section& s, uint64_t at, const std::string& what) const;
  std::span<const std::byte> trailer() const { return std::span(file_->data(), file_->size()).subspan(end_); }
  Status read_table();
  Status open_beside(uint64_t bytes);
  Status read_info();

  std::shared_ptr<const MappedFile> file_, beside_;
  size_t end_ = 0;  // of the file without a signature
  std::string producer_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> targets_;
  std::vector<Section> sections_;
};

// Whether the file begins like one.
bool is_artefact(const std::string& path);

}  // namespace weft
