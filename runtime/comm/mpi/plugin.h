// What libweft-mpi.so offers: MPI in eleven C functions, none of which blocks but `open`, `copy` and `group`. weft never
// includes MPI's header: the plugin is compiled on the machine whose MPI it shall use, and opened when ranks meet at mpi://.
//
// A communicator has one operation under way at a time; `test` says whether it is done. Calls may come from any thread, one
// at a time. Functions return 0 or an error code of MPI's, whose text `error_text` gives. Buffers stay the caller's.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_MPI_VERSION 2

struct weft_mpi_place {
  int rank, size, local_rank, local_size;
};

struct weft_mpi {
  int version; // WEFT_MPI_VERSION
  const char *library; // e.g. "Open MPI v4.1.4"

  // Starts MPI unless the program has; it is finished when the process exits.
  int (*open)(struct weft_mpi_place *place, void **world);
  // A communicator of its own with the same ranks. Collective.
  int (*copy)(void *comm, void **out);
  // Of some ranks of the world, each of which calls it with the same list and tag.
  int (*group)(void *world, const int *ranks, int n, int tag, void **out);
  void (*close)(void *comm);

  // A message of each rank to each, so that `test` tells whose has come: part r of `in`, which begins r * in_stride bytes behind it
  // (0: the same for all), goes to rank r; that of rank r comes to out[r][bytes].
  int (*all)(void *comm, const void *in, int in_stride, void *out, int bytes);
  int (*broadcast)(void *comm, void *data, int bytes, int root);
  // A message to `to` and one from `from`; -1: none.
  int (*exchange)(void *comm, const void *in, int in_bytes, int to, void *out, int out_bytes, int from, int tag);
  // done: 0 or 1; come (after all, else null): 1 for each rank whose part is there and that took its own.
  int (*test)(void *comm, int *done, unsigned char *come);

  // A last word to the ranks of the world that have a flag (null: to none), and one from another rank: *from is -1 while there is
  // none. After it MPI is not finished in good order, since operations are still under way.
  int (*tell)(void *world, const char *text, int bytes, const unsigned char *to);
  int (*hear)(void *world, char *text, int capacity, int *bytes, int *from);

  void (*error_text)(int code, char *text, int capacity);
};

// The one symbol of the library.
const struct weft_mpi *weft_mpi_plugin(void);

#ifdef __cplusplus
}
#endif
