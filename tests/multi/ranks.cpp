#include "tests/multi/ranks.h"

#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "ir/base/text.h"

namespace weft::multi_test {

namespace {

int64_t count(const std::vector<int64_t>& dims) {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}
std::vector<int64_t> strides(const std::vector<int64_t>& dims) {
  std::vector<int64_t> s(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) s[i - 1] = s[i] * dims[i];
  return s;
}

// One element of out from the same element of all ranks, in the simplest way.
void reduce_one(const Case& c, const std::vector<const uint8_t*>& in, uint8_t* out) {
  const char k = dtype_class(c.dtype);
  const double n = static_cast<double>(in.size());
  if (k == 'f') {
    const bool wide = c.dtype == DType::f64;
    double acc = 0;
    for (size_t s = 0; s < in.size(); ++s) {
      double x;
      load_row_f64(c.dtype, in[s], &x, 1);
      if (s == 0) acc = x;
      else if (c.reduction == CommReduction::max) acc = std::isnan(acc) || std::isnan(x) ? NAN : std::max(acc, x);
      else if (c.reduction == CommReduction::min) acc = std::isnan(acc) || std::isnan(x) ? NAN : std::min(acc, x);
      else acc = c.reduction == CommReduction::prod ? acc * x : acc + x;
      if (!wide) acc = static_cast<float>(acc);
    }
    if (c.reduction == CommReduction::mean) acc = wide ? acc / n : static_cast<float>(acc) / static_cast<float>(n);
    store_row_f64(c.dtype, &acc, out, 1);
  } else if (k == 'c') {
    double acc[2];
    for (size_t s = 0; s < in.size(); ++s) {
      double x[2];
      load_row_f64(c.dtype, in[s], x, 1);
      if (s == 0) std::memcpy(acc, x, sizeof x);
      else if (c.reduction != CommReduction::prod) acc[0] += x[0], acc[1] += x[1];
      else {
        const double re = acc[0] * x[0] - acc[1] * x[1];
        acc[1] = acc[0] * x[1] + acc[1] * x[0], acc[0] = re;
      }
    }
    if (c.reduction == CommReduction::mean) acc[0] /= n, acc[1] /= n;
    store_row_f64(c.dtype, acc, out, 1);
  } else {  // small values: int64 holds every sum
    int64_t acc = 0;
    for (size_t s = 0; s < in.size(); ++s) {
      int64_t x;
      if (k == 'u') {
        uint64_t u;
        load_row_u64(c.dtype, in[s], &u, 1);
        x = static_cast<int64_t>(u);
      } else {
        load_row_i64(c.dtype, in[s], &x, 1);
      }
      if (s == 0) acc = x;
      else if (c.reduction == CommReduction::max) acc = std::max(acc, x);
      else if (c.reduction == CommReduction::min) acc = std::min(acc, x);
      else acc = c.reduction == CommReduction::prod ? acc * x : acc + x;
    }
    if (c.reduction == CommReduction::mean) acc /= static_cast<int64_t>(in.size());
    if (k == 'u') {
      const uint64_t u = static_cast<uint64_t>(acc);
      store_row_u64(c.dtype, &u, out, 1);
    } else {
      store_row_i64(c.dtype, &acc, out, 1);
    }
  }
}

// Visits the indices of `dims` in row-major order.
using Index = std::array<int64_t, 4>;
template <class F>
void each_index(const std::vector<int64_t>& dims, F&& f) {
  Index i{};
  for (int64_t n = count(dims); n-- > 0;) {
    f(i);
    for (size_t d = dims.size(); d-- > 0;) {
      if (++i[d] < dims[d]) break;
      i[d] = 0;
    }
  }
}

}  // namespace

std::string Case::to_string() const {
  std::string s = std::string(collective_name(kind)) + " " + reduction_name(reduction) + " " + dtype_name(dtype) + "[";
  for (int64_t d : dims) s += std::to_string(d) + ",";
  return s + "] dim " + std::to_string(dim) + " join " + std::to_string(join) + " root " + std::to_string(root);
}

Bytes operand(const Case& c, int rank, int seed) {
  const int64_t n = count(c.dims), parts = is_complex(c.dtype) ? 2 : 1;
  std::mt19937 random(static_cast<unsigned>(seed * 1000 + rank));
  std::vector<double> values(static_cast<size_t>(n * parts));
  const bool real = is_float(c.dtype) || parts == 2;
  for (double& v : values) {
    const int r = static_cast<int>(random() % 64);
    v = real ? (r - 32) / 8.0 * (r % 3 ? 1 : 1.0625) : dtype_class(c.dtype) == 'i' ? r % 7 - 3 : r % 5;
    if (real && r == 63 && seed % 2) v = NAN;
  }
  Bytes out(static_cast<size_t>(n * byte_size(c.dtype)));
  if (real) {
    store_row_f64(c.dtype, values.data(), out.data(), n);
  } else if (dtype_class(c.dtype) == 'u') {
    std::vector<uint64_t> u(values.begin(), values.end());
    store_row_u64(c.dtype, u.data(), out.data(), n);
  } else {
    std::vector<int64_t> i(values.begin(), values.end());
    store_row_i64(c.dtype, i.data(), out.data(), n);
  }
  return out;
}

Bytes expected(const Case& c, int rank, int n, int seed) {
  using K = CollectiveKind;
  std::vector<Bytes> in;
  for (int r = 0; r < n; ++r) in.push_back(operand(c, r, seed));
  const size_t w = static_cast<size_t>(byte_size(c.dtype));
  if (c.kind == K::broadcast) return in[static_cast<size_t>(c.root)];
  if (c.kind == K::permute) {
    for (size_t i = 0; i < c.pairs.size(); i += 2)
      if (c.pairs[i + 1] == rank) return in[static_cast<size_t>(c.pairs[i])];
    return Bytes(in[0].size());
  }
  const size_t dim = static_cast<size_t>(c.dim), join = static_cast<size_t>(c.kind == K::all_to_all ? c.join : c.dim);
  std::vector<int64_t> dims = c.dims;
  if (c.kind == K::reduce_scatter || c.kind == K::all_to_all) dims[dim] /= n;
  const int64_t part = dims[dim], joined = dims[join];
  if (c.kind == K::all_gather || c.kind == K::all_to_all) dims[join] *= n;
  const std::vector<int64_t> from = strides(c.dims), to = strides(dims);
  Bytes out(static_cast<size_t>(count(dims)) * w);
  std::vector<const uint8_t*> all(in.size());
  each_index(dims, [&](Index i) {
    int64_t at = 0, source = 0, place = 0;
    for (size_t d = 0; d < dims.size(); ++d) place += i[d] * to[d];
    if (c.kind == K::all_gather || c.kind == K::all_to_all) source = i[join] / joined, i[join] %= joined;
    if (c.kind == K::reduce_scatter || c.kind == K::all_to_all) i[dim] += rank * part;
    for (size_t d = 0; d < dims.size(); ++d) at += i[d] * from[d];
    uint8_t* result = &out[static_cast<size_t>(place) * w];
    if (c.kind == K::all_gather || c.kind == K::all_to_all) return void(std::memcpy(result, &in[static_cast<size_t>(source)][static_cast<size_t>(at) * w], w));
    for (size_t r = 0; r < in.size(); ++r) all[r] = &in[r][static_cast<size_t>(at) * w];
    reduce_one(c, all, result);
  });
  return out;
}

Status check_case(Communicator& comm, const Case& c, int seed, bool in_place) {
  const int n = comm.size();
  Collective x;
  x.kind = c.kind, x.dtype = c.dtype, x.reduction = c.reduction, x.root = c.root, x.pairs = c.pairs, x.label = c.to_string();
  TRY(x.set_extents(c.dims, c.dim, c.join, n));
  Bytes in = operand(c, comm.rank(), seed);
  const Bytes want = expected(c, comm.rank(), n, seed);
  Bytes out(want.size(), 0xa5);
  in_place &= in.size() == out.size();
  TRY(comm.run(x, in.data(), in_place ? in.data() : out.data()));
  const Bytes& got = in_place ? in : out;
  // NaNs of one type may differ in their bits.
  for (size_t i = 0, w = static_cast<size_t>(byte_size(c.dtype)); i < want.size(); i += w) {
    if (std::memcmp(&got[i], &want[i], w) == 0) continue;
    double a[2], b[2];
    if (is_float(c.dtype) || is_complex(c.dtype)) {
      load_row_f64(c.dtype, &got[i], a, 1), load_row_f64(c.dtype, &want[i], b, 1);
      if (std::isnan(a[0]) && std::isnan(b[0])) continue;
      if (is_complex(c.dtype) && std::isnan(a[1]) && std::isnan(b[1])) continue;
    }
    return error(Code::kCheckFailed, "rank " + std::to_string(comm.rank()) + " of " + std::to_string(n) + ": " + c.to_string() +
                                         (in_place ? " in place" : "") + ": element " + std::to_string(i / w) + " differs");
  }
  return {};
}

namespace {

Status check_moves(Communicator& comm, DType t, int& seed) {
  using K = CollectiveKind;
  const int64_t n = comm.size();
  for (bool in_place : {false, true}) {
    for (int64_t dim = 0; dim < 3; ++dim) {
      Case gather{.kind = K::all_gather, .dtype = t, .dims = {2, 3, 5}, .dim = dim};
      TRY(check_case(comm, gather, ++seed, in_place));
      for (int64_t join = 0; join < 3; ++join) {
        Case all{.kind = K::all_to_all, .dtype = t, .dims = {2, 3, 5}, .dim = dim, .join = join};
        all.dims[static_cast<size_t>(dim)] *= n;
        TRY(check_case(comm, all, ++seed, in_place));
      }
    }
    for (int64_t root = 0; root < n; ++root) TRY(check_case(comm, {.kind = K::broadcast, .dtype = t, .dims = {7, 3}, .root = root}, ++seed, in_place));
    Case ring{.kind = K::permute, .dtype = t, .dims = {11}};
    for (int64_t r = 0; r < n; ++r) ring.pairs.insert(ring.pairs.end(), {r, (r + 1) % n});
    TRY(check_case(comm, ring, ++seed, in_place));
    ring.pairs = {n - 1, 0};
    TRY(check_case(comm, ring, ++seed, in_place));
    ring.pairs.clear();
    TRY(check_case(comm, ring, ++seed, in_place));
  }
  return {};
}

Status check_reductions(Communicator& comm, DType t, int& seed) {
  for (CommReduction r : {CommReduction::sum, CommReduction::mean, CommReduction::max, CommReduction::min, CommReduction::prod}) {
    if (is_complex(t) && (r == CommReduction::max || r == CommReduction::min)) continue;
    for (bool in_place : {false, true}) TRY(check_case(comm, {.dtype = t, .reduction = r, .dims = {13, 7}}, ++seed, in_place));
    for (int64_t dim = 0; dim < 3; ++dim) {
      Case c{.kind = CollectiveKind::reduce_scatter, .dtype = t, .reduction = r, .dims = {2, 3, 4}, .dim = dim};
      c.dims[static_cast<size_t>(dim)] *= comm.size();
      TRY(check_case(comm, c, ++seed, false));
    }
  }
  return {};
}

// More than an area, so that rows are cut everywhere.
Status check_large(Communicator& comm, int& seed) {
  using K = CollectiveKind;
  const int64_t n = comm.size(), big = 70'001;
  for (bool in_place : {false, true}) {
    TRY(check_case(comm, {.dims = {4 * big}}, ++seed, in_place));
    TRY(check_case(comm, {.dtype = DType::f16, .reduction = CommReduction::mean, .dims = {big}}, ++seed, in_place));
    TRY(check_case(comm, {.kind = K::all_to_all, .dims = {2, n, big}, .dim = 1, .join = 2}, ++seed, in_place));
  }
  TRY(check_case(comm, {.kind = K::all_to_all, .dims = {big, n * 2}, .dim = 1, .join = 0}, ++seed, true));
  TRY(check_case(comm, {.kind = K::broadcast, .dtype = DType::c128, .dims = {big}, .root = n - 1}, ++seed, true));
  TRY(check_case(comm, {.kind = K::all_gather, .dtype = DType::f64, .dims = {2, big}, .dim = 1}, ++seed, false));
  return check_case(comm, {.kind = K::reduce_scatter, .dims = {2, n * big}, .dim = 1}, ++seed, false);
}

Status check_mail(Communicator& comm, int64_t elements) {
  const int n = comm.size(), me = comm.rank();
  if (n == 1) return {};
  Collective c{.kind = CollectiveKind::send, .dtype = DType::i32, .inner = elements, .root = (me + 1) % n, .tag = elements, .label = "out"};
  std::vector<int32_t> out(static_cast<size_t>(elements), me), in(out);
  // The first one sends before it receives, the others after.
  if (me == 0) TRY(comm.run(c, out.data(), nullptr));
  Collective r = c;
  r.kind = CollectiveKind::recv, r.root = (me + n - 1) % n, r.label = "in";
  TRY(comm.run(r, nullptr, in.data()));
  if (me != 0) TRY(comm.run(c, out.data(), nullptr));
  for (int32_t x : in)
    if (x != (me + n - 1) % n) return error(Code::kCheckFailed, "rank " + std::to_string(me) + " received " + std::to_string(x));
  return {};
}

Status check_groups(Communicator& comm, int& seed) {
  // Even and odd ranks apart, in falling order; at the end all of them once more.
  std::vector<int> mine;
  for (int r = comm.size(); r-- > 0;)
    if (r % 2 == comm.rank() % 2) mine.push_back(r);
  for (int again = 0; again < 2; ++again) {
    TRY_ASSIGN(std::unique_ptr<Communicator> group, comm.split(mine));
    if (group->size() != static_cast<int>(mine.size()) || mine[static_cast<size_t>(group->rank())] != comm.rank())
      return error(Code::kCheckFailed, "a group has another place for rank " + std::to_string(comm.rank()));
    TRY(check_case(*group, {.kind = CollectiveKind::all_gather, .dims = {4, 4}, .dim = 1}, ++seed, false));
    TRY(check_case(*group, {.dtype = DType::bf16, .dims = {100}}, ++seed, true));
  }
  return check_case(comm, {.dims = {100}}, ++seed, true);
}

}  // namespace

Status check_all(Communicator& comm) {
  int seed = 0;
  for (DType t : {DType::f32, DType::f16, DType::u8, DType::b1, DType::c128}) TRY(check_moves(comm, t, seed));
  for (DType t : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz, DType::i64,
                  DType::i32, DType::i16, DType::i8, DType::u64, DType::u32, DType::u16, DType::u8, DType::b1, DType::c64, DType::c128})
    TRY(check_reductions(comm, t, seed));
  TRY(check_large(comm, seed));
  for (int64_t elements : {0, 1, 100'000}) TRY(check_mail(comm, elements));
  return check_groups(comm, seed);
}

Status reduce_some(Communicator& c, const std::string& label, int64_t elements) {
  std::vector<float> x(static_cast<size_t>(elements), 1);
  return c.run({.inner = elements, .label = label}, x.data(), x.data());
}

std::string text(const Status& s) { return s.ok() ? "ok" : s.error().to_string(); }

std::vector<Status> on_threads(std::vector<std::unique_ptr<Communicator>>& ranks, const std::function<Status(Communicator&)>& f) {
  std::vector<Status> out(ranks.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < ranks.size(); ++r) threads.emplace_back([&, r] { out[r] = f(*ranks[r]); });
  for (std::thread& t : threads) t.join();
  return out;
}

}  // namespace weft::multi_test
