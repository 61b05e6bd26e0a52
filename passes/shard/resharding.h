// The forms in which a rank has a value of the whole model (whole, cut along dims, waiting for sums), and the collectives and
// slices that make one of another.
#pragma once

#include <set>

#include "passes/shard/forms.h"

namespace weft {

class Forms {
 public:
  Forms(const Mesh& mesh, Dim batch, Builder& b) : mesh_(mesh), batch_(std::move(batch)), b_(b) {}

  bool has(const Value* v) const { return forms_.count(v) != 0; }
  void add(const Value* whole, Sharding form, Value* v) { forms_[whole].push_back({std::move(form), v}); }
  // v in a form, made of one that is there. Every step on the way is there for others, too. Error where it cannot be.
  Result<Value*> as(const Value* v, const Sharding& want);

  // Symbols that the dims of inputs bind.
  void inputs_bind(const std::string& symbol) { of_inputs_.insert(symbol); }
  // Whether they decide these dims.
  bool are_decided(const std::vector<Dim>& dims) const;
  // The same value where inference says its dims in another way. What data decide has names of its own in the new graph.
  Value* with_dims(Value* v, const Shape& dims);
  // v with `fill` in place of what lies behind the first `n` elements along d.
  Value* cut_behind(Value* v, int d, const Dim& n, double fill);

 private:
  struct Formed {
    Sharding form;
    Value* value;
  };
  Status step(Formed& at, const Sharding& want, const Shape& dims);
  bool cut(Formed& at, const Sharding& want);
  Status reduce(Formed& at, const Sharding& want);
  void widen(Formed& at, size_t d, const Sharding& want, const Shape& dims);
  Value* part(Value* v, int d, const std::string& axis);
  Value* slice(Value* v, int d, const Dim& from, const Dim& to);
  Value* pad(Value* v, int d, const Dim& to, const char* mode, Value* fill = nullptr);
  // Along d as many elements as all parts of the axis have together; and only the first n of them.
  Value* up_to_parts(Value* v, int d, const std::string& axis);
  Value* down_to(Value* v, size_t d, const Shape& dims);

  const Mesh& mesh_;
  Dim batch_;
  Builder& b_;
  std::set<std::string> of_inputs_;
  std::map<const Value*, std::vector<Formed>> forms_;
};

}  // namespace weft
