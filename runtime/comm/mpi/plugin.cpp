// libweft-mpi.so: the functions of plugin.h over the MPI that CMake found.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include "runtime/comm/mpi/plugin.h"

#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kAllTag = 1, kLastWordTag = 2, kFirstTag = 16;  // tags of `exchange` follow

bool in_good_order = true;

struct Comm {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0, size = 0;
  std::vector<MPI_Request> requests;  // of the operation under way
  bool of_all = false;                // requests[r] receives from rank r
  std::string last_word;              // while it is sent
};
Comm& of(void* p) { return *static_cast<Comm*>(p); }

#define MPI_TRY(call)                                  \
  do {                                                 \
    const int code_ = (call);                          \
    if (code_ != MPI_SUCCESS) return code_;            \
  } while (0)

int wrap(MPI_Comm comm, void** out) {
  Comm* c = new Comm;
  c->comm = comm;
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm, &c->rank);
  MPI_Comm_size(comm, &c->size);
  *out = c;
  return 0;
}

void finish() {
  int finished = 0;
  MPI_Finalized(&finished);
  if (!finished && in_good_order) MPI_Finalize();
}

int open(weft_mpi_place* place, void** world) {
  int running = 0, finished = 0, level = MPI_THREAD_SINGLE;
  MPI_Initialized(&running);
  MPI_Finalized(&finished);
  if (finished) return MPI_ERR_OTHER;
  if (running) {
    MPI_Query_thread(&level);
  } else {
    MPI_TRY(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level));
    std::atexit(finish);
  }
  if (level < MPI_THREAD_SERIALIZED) return MPI_ERR_UNSUPPORTED_OPERATION;
  MPI_Comm mine, local;
  MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &mine));
  MPI_TRY(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local));
  MPI_Comm_rank(mine, &place->rank);
  MPI_Comm_size(mine, &place->size);
  MPI_Comm_rank(local, &place->local_rank);
  MPI_Comm_size(local, &place->local_size);
  MPI_Comm_free(&local);
  return wrap(mine, world);
}

int copy(void* comm, void** out) {
  MPI_Comm c;
  MPI_TRY(MPI_Comm_dup(of(comm).comm, &c));
  return wrap(c, out);
}

int group(void* world, const int* ranks, int n, int tag, void** out) {
  MPI_Group all, some;
  MPI_TRY(MPI_Comm_group(of(world).comm, &all));
  int code = MPI_Group_incl(all, n, ranks, &some);
  MPI_Comm c = MPI_COMM_NULL;
  if (code == MPI_SUCCESS) {
    code = MPI_Comm_create_group(of(world).comm, some, tag, &c);
    MPI_Group_free(&some);
  }
  MPI_Group_free(&all);
  return code == MPI_SUCCESS ? wrap(c, out) : code;
}

void close(void* comm) {
  int finished = 0;
  MPI_Finalized(&finished);
  // With operations under way it would wait for ranks that may be gone.
  if (!finished && in_good_order) MPI_Comm_free(&of(comm).comm);
  delete static_cast<Comm*>(comm);
}

MPI_Request* begin(Comm& c) {
  c.of_all = false;
  c.requests.assign(1, MPI_REQUEST_NULL);
  return c.requests.data();
}
int broadcast(void* comm, void* data, int bytes, int root) {
  Comm& c = of(comm);
  return MPI_Ibcast(data, bytes, MPI_BYTE, root, c.comm, begin(c));
}
int exchange(void* comm, const void* in, int in_bytes, int to, void* out, int out_bytes, int from, int tag) {
  Comm& c = of(comm);
  c.of_all = false;
  c.requests.assign(2, MPI_REQUEST_NULL);
  if (from >= 0) MPI_TRY(MPI_Irecv(out, out_bytes, MPI_BYTE, from, kFirstTag + tag, c.comm, &c.requests[0]));
  if (to >= 0) MPI_TRY(MPI_Isend(in, in_bytes, MPI_BYTE, to, kFirstTag + tag, c.comm, &c.requests[1]));
  return 0;
}
int all(void* comm, const void* in, int in_stride, void* out, int bytes) {
  Comm& c = of(comm);
  const size_t n = static_cast<size_t>(c.size);
  auto mine = [&](int r) { return static_cast<const char*>(in) + static_cast<size_t>(r) * static_cast<size_t>(in_stride); };
  c.of_all = true;
  c.requests.assign(2 * n, MPI_REQUEST_NULL);
  for (int r = 0; r < c.size; ++r) {
    char* part = static_cast<char*>(out) + static_cast<size_t>(r) * static_cast<size_t>(bytes);
    if (r == c.rank) std::memcpy(part, mine(r), static_cast<size_t>(bytes));
    else MPI_TRY(MPI_Irecv(part, bytes, MPI_BYTE, r, kAllTag, c.comm, &c.requests[static_cast<size_t>(r)]));
  }
  for (int r = 0; r < c.size; ++r)
    if (r != c.rank) MPI_TRY(MPI_Isend(mine(r), bytes, MPI_BYTE, r, kAllTag, c.comm, &c.requests[n + static_cast<size_t>(r)]));
  return 0;
}

int test(void* comm, int* done, unsigned char* come) {
  Comm& c = of(comm);
  *done = 1;
  for (size_t i = 0; i < c.requests.size(); ++i) {
    int one = 0;
    MPI_TRY(MPI_Test(&c.requests[i], &one, MPI_STATUS_IGNORE));
    if (!one) *done = 0;
    if (!c.of_all || !come) continue;
    const size_t n = static_cast<size_t>(c.size);
    if (i < n) come[i] = one != 0;
    else if (!one) come[i - n] = 0;
  }
  return 0;
}

int tell(void* world, const char* text, int bytes, const unsigned char* to) {
  Comm& c = of(world);
  in_good_order = false;
  c.last_word.assign(text, static_cast<size_t>(bytes));
  for (int r = 0; r < c.size; ++r) {
    MPI_Request request;  // never waited for: short messages go out at once, and the process is about to end
    if (r == c.rank || !to || !to[r]) continue;
    MPI_TRY(MPI_Isend(c.last_word.data(), bytes, MPI_BYTE, r, kLastWordTag, c.comm, &request));
    MPI_TRY(MPI_Request_free(&request));
  }
  return 0;
}

int hear(void* world, char* text, int capacity, int* bytes, int* from) {
  Comm& c = of(world);
  int there = 0;
  MPI_Status status;
  *from = -1;
  MPI_TRY(MPI_Iprobe(MPI_ANY_SOURCE, kLastWordTag, c.comm, &there, &status));
  if (!there) return 0;
  MPI_Get_count(&status, MPI_BYTE, bytes);
  if (*bytes > capacity) return MPI_ERR_TRUNCATE;
  MPI_TRY(MPI_Recv(text, capacity, MPI_BYTE, status.MPI_SOURCE, kLastWordTag, c.comm, MPI_STATUS_IGNORE));
  in_good_order = false;
  *from = status.MPI_SOURCE;
  return 0;
}

void error_text(int code, char* text, int capacity) {
  char full[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, full, &length) != MPI_SUCCESS) std::snprintf(full, sizeof full, "error %d", code);
  std::snprintf(text, static_cast<size_t>(capacity), "%s", full);
}

const char* library() {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  if (char* end = std::strpbrk(text, ",\n")) *end = 0;
  return text;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const weft_mpi* weft_mpi_plugin() {
  static const weft_mpi api = {WEFT_MPI_VERSION, library(), open, copy, group, close, all, broadcast, exchange, test, tell, hear, error_text};
  return &api;
}
