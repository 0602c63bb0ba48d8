/* The C interface between compiled programs and whoever runs them: the JIT and object files both have it, and it is the
 * only thing that the runtime knows of a program. Everything is caller-owned; a program allocates nothing. */
#ifndef NNC_RUNTIME_ABI_H
#define NNC_RUNTIME_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { NNC_ABI_VERSION = 2 };

/* A column of data: row r of the batch is at base + order[r] * row_stride bytes; its elements are dense. */
typedef struct nnc_feed {
  const void* base;
  int64_t row_stride;
  const uint32_t* order;
} nnc_feed;

/* One call of an entry by one thread of a team. Every thread runs the same function with its own `thread`.
 * Memory for params and state is zeros before `init` or `pack` first writes it: padding stays zero.
 * All pointers are 64-byte aligned except feeds, outputs and scalars, which have their elements' alignment. */
typedef struct nnc_call {
  void* params;
  void* state;
  void* grads;
  void* carry;
  void* arena;
  const nnc_feed* feeds;
  void* const* outputs;
  const double* scalars; /* step, epoch, steps_per_epoch, total_steps, rows */
  uint64_t seed, step, row_offset;
  uint32_t thread, threads;
  void (*barrier)(void* team); /* may be null where threads is 1 */
  void* team;
} nnc_call;

enum { NNC_SCALARS = 5 };

typedef void (*nnc_function)(const nnc_call* call);
/* Calls that follow one another as one: call i takes the next `rows` entries of every feed's order, writes each of its
 * outputs behind that of the call before, reads the next NNC_SCALARS scalars, and its `step` is i greater. */
typedef void (*nnc_repeated)(const nnc_call* call, uint64_t times);

enum nnc_dtype { NNC_F32 = 0, NNC_F64 = 1, NNC_I32 = 2, NNC_BOOL = 3 };
enum nnc_layout_kind { NNC_ROW_MAJOR = 0, NNC_PANELS = 1 };

/* A named array: its logical shape, and where element (i, j, ...) lies in its region (ir/program/program.h, Layout). */
typedef struct nnc_slot {
  const char* name;
  uint8_t dtype, rank, layout;
  const int64_t* dims;
  const int64_t* strides; /* row-major: in elements, one an axis */
  int64_t panel;          /* panels: width in elements */
  uint64_t offset, bytes; /* in the region; feeds and outputs: offset is the index */
} nnc_slot;

typedef struct nnc_obligation {
  const char* input;
  int64_t low, high; /* low <= every element < high */
} nnc_obligation;

typedef struct nnc_kernel {
  const char* name;
  uint32_t line;
  uint64_t flops, bytes;
} nnc_kernel;

/* One entry point, compiled for one number of rows. */
typedef struct nnc_entry {
  uint32_t abi_version;
  const char* name;
  uint32_t rows;
  nnc_function call;
  nnc_repeated repeat; /* null but for a program of one small kernel, which one thread runs */
  uint64_t params_bytes, state_bytes, grads_bytes, carry_bytes, arena_bytes;
  const nnc_slot *params, *state, *grads, *carry, *feeds, *outputs;
  uint32_t param_count, state_count, grad_count, carry_count, feed_count, output_count;
  const nnc_obligation* obligations;
  uint32_t obligation_count;
  const nnc_kernel* kernels;
  uint32_t kernel_count;
} nnc_entry;

#ifdef __cplusplus
}
#endif

#endif
