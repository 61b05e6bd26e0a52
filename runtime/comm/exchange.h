// What a collective moves, in pieces of bounded size. A piece is packed by each rank into an area of its own and then
// delivered from the areas of all ranks into the result. Which bytes go where is decided here and nowhere else.
//
// A rank's operand is [outer, parts, middle, inner] units in some order of strides; in an area it lies as [part][outer]
// [middle][inner], compact. A unit is an element, or a byte of packed sub-byte elements.
#pragma once

#include "runtime/comm/communicator.h"

namespace weft {

struct ExchangePiece {
  int64_t o0 = 0, on = 0, m0 = 0, mn = 0, k0 = 0, kn = 0;  // first and number along outer, middle, inner
  int64_t units() const { return on * mn * kn; }            // of one part
};

struct Exchange {
  CollectiveKind kind;
  DType dtype;
  CommReduction reduction;
  int64_t unit;                        // bytes
  int64_t outer, middle, inner;
  int64_t parts;                       // of the operand
  struct Strides {
    int64_t o, p, m;
  } in, out;
  int source = -1;                     // broadcast, permute: whose data this rank gets, -1: zeros
  bool packs = true;                   // false: nobody wants this rank's operand
  int rank, size;

  int64_t elements(int64_t units) const { return is_subbyte(dtype) ? units * 8 / bit_width(dtype) : units; }
  // all_reduce, reduce_scatter
  bool reduces() const { return kind == CollectiveKind::all_reduce || kind == CollectiveKind::reduce_scatter; }
};

// Of a collective that collective_bytes accepted, but send and recv.
Exchange exchange_of(const Collective& c, int rank, int size);

// The first piece, then the one after; false at the end. A piece of all parts has at most `bytes` bytes (at least one
// unit a part). A collective of nothing has no piece. All ranks cut alike.
bool first_piece(const Exchange& x, int64_t bytes, ExchangePiece& p);
bool next_piece(const Exchange& x, int64_t bytes, ExchangePiece& p);

// Operand → area.
void pack_piece(const Exchange& x, const ExchangePiece& p, const void* in, void* area);
// Areas of all ranks → result. An area begins with the part that is for this rank.
void deliver_piece(const Exchange& x, const ExchangePiece& p, std::span<const void* const> areas, void* out);

}  // namespace weft
