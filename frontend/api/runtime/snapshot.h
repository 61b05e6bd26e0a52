// Snapshots of a context's states: a file for each rank, to which a save appends what runs have added since the one before it. States
// that grow add rows; others are written whole. After a reset or a restore, and for another file, everything is written anew, into a file
// beside it that takes its place once all ranks have come so far.
//
//   file    "WEFTSNAP", u32 version, u32 rank, hash of the plan
//   record  "SNAPSHOT", u64 number, u64 bytes of what follows, that, its hash
// A record that a crash cut short is not there. All ranks go back to the last number that each of them has.
#pragma once

#include <functional>
#include <span>

#include "frontend/api/runtime/executable_state.h"

namespace weft::api {

// A rank that runs here: its contexts, one for each part of a batch.
struct SnapshotRank {
  int rank = 0;
  const Plan* plan = nullptr;
  std::span<weft::Context> contexts;
};

class Snapshots {
 public:
  // group: of processes; null: all ranks are here. Errors: kResources for files that cannot be written.
  Status save(const std::string& path, std::span<const SnapshotRank> ranks, const std::shared_ptr<const Group::State>& group);
  // ranks_of: those that run here, with as many contexts each as they had when they were saved.
  // Errors: kUsage where there is no snapshot that all ranks have, or one of another model or mesh; kInvalidModel for a damaged one.
  Status restore(const std::string& path, const std::function<std::vector<SnapshotRank>(size_t parts)>& ranks_of,
                 const std::shared_ptr<const Group::State>& group);
  // States were reset: what is on file is not what they grow from.
  void forget() { path_.clear(); }

 private:
  std::string path_;                               // of the last snapshot; empty: none
  uint64_t number_ = 0;
  std::vector<std::vector<int64_t>> lengths_;      // by rank here, and by part and state: rows on file
};

}  // namespace weft::api
