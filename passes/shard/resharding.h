// The forms in which a rank has a value of the whole model (whole, cut along dims, waiting for sums), and the collectives and
// slices that make one of another.
#pragma once

#include <set>

#include "passes/shard/forms.h"

namespace weft {

class Forms {
 public:
  Forms(const Mesh& mesh, Builder& b) : mesh_(mesh), b_(b) {}

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

 private:
  struct Formed {
    Sharding form;
    Value* value;
  };
  Status step(Formed& at, const Sharding& want, const Shape& dims);
  bool cut(Formed& at, const Sharding& want);
  Status reduce(Formed& at, const Sharding& want);
  void widen(Formed& at, size_t d, const Sharding& want, const Shape& dims);
  Value* slice(Value* v, int d, const std::string& axis);

  const Mesh& mesh_;
  Builder& b_;
  std::set<std::string> of_inputs_;
  std::map<const Value*, std::vector<Formed>> forms_;
};

}  // namespace weft
