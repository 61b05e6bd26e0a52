// Mesh: named axes of devices. Sharding: which mesh axes split each dim of a value, and over which axes it still waits
// for a reduction ("partial"). A Sharding stands on the Value, never in the Type.
#pragma once

#include <string>
#include <vector>

#include "ir/base/dim.h"
#include "ir/base/result.h"

namespace weft {

class Lexer;

// Along this axis each rank runs another stage of a pipeline; along all others they run the same program.
constexpr const char* kStageAxis = "pp";
constexpr int64_t kMaxStages = 1024;

struct Mesh {
  std::string name;
  std::vector<std::pair<std::string, int64_t>> axes;  // outermost first
  bool operator==(const Mesh&) const = default;
  // Error for an axis without ranks or named twice, kResources for more than 65,536 ranks.
  Status check() const;
  int64_t size() const;
  int64_t axis_size(const std::string& axis) const;  // 0: no such axis
  std::string to_string() const;                     // mesh @name = dp:2,tp:4
  std::string axes_text() const;                     // dp=2,tp=4: as users write it; "one rank" without axes
  static Result<Mesh> parse(Lexer& lx);              // what follows the word mesh
  // Ranks are numbered row-major, the first axis outermost.
  SymbolValues coordinates(int64_t rank) const;      // of the symbols below
  // Which stage of a pipeline a rank runs: its coordinate along kStageAxis, 0 without one.
  int stage(int64_t rank) const;
  // The place of a rank in its group, which differs along these axes; the first one is the outermost.
  Dim position(const std::vector<std::string>& axes) const;
  // The ranks of the group of `rank`, in order.
  std::vector<int64_t> group(int64_t rank, const std::vector<std::string>& axes) const;
};
// What users write: "dp=2,tp=4". Error kUsage. Empty: a mesh of one rank.
Result<Mesh> parse_mesh(const std::string& text);
// The symbol of a rank's coordinate along an axis: rank.tp.
inline std::string rank_symbol(const std::string& axis) { return "rank." + axis; }
inline bool is_rank_symbol(std::string_view symbol) { return symbol.substr(0, 5) == "rank."; }

struct Sharding {
  std::string mesh;                           // empty: none
  std::vector<std::vector<std::string>> dims; // per tensor dim, outermost axis first; empty: replicated along it
  std::vector<std::string> partial;           // axes over which it waits for a reduction
  std::string reduction = "sum";              // which one: sum, max, min, prod
  std::vector<std::string> joined;            // axes that shared out its op, though every rank has the result
  bool operator==(const Sharding&) const = default;
  bool empty() const { return mesh.empty(); }
  std::string to_string() const;              // shard(name: [_, tp], partial=[ep:max], joined=[dp]); a sum is not named
  static Result<Sharding> parse(Lexer& lx);
};
// A tensor of which each rank of a mesh has a part. Parts are equal; where they are more than the whole, what lies behind it
// repeats its last element.
struct RankShare {
  Sharding sharding;        // empty: every rank has the whole
  std::vector<Dim> whole;   // its dims
  bool operator==(const RankShare&) const = default;
  std::string to_string() const;  // shard(mesh:[_,tp]) of [2,n]
  static Result<RankShare> parse(Lexer& lx);
  // Error kInvalidModel unless it is of a tensor of this rank, cut by axes of the mesh, each once.
  Status check(const Mesh& mesh, int rank) const;
};
// [_,tp,dp*ep]: per dim the axes that cut it.
Result<std::vector<std::vector<std::string>>> parse_sharded_dims(Lexer& lx);

}  // namespace weft
