/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the only way to touch it.
 *
 * Every access names a guest-physical address and a length and is checked against the regions; nothing but iovecs
 * leaves here. The guest writes to the same memory while we read, so each call fetches a byte exactly once and hands
 * out a private copy: check the copy, never read twice.
 *
 * Regions are added and removed by the thread that owns the devices, while no iovec from here is in use. Accesses may
 * come from several threads as long as the regions stay as they are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/cleanup.h"

typedef uint64_t gpa_t;

#define GUESTMEM_REGIONS_MAX 64

struct guestmem;

/* 0 or -ENOMEM. */
int guestmem_new(struct guestmem **ret);
/* Unmaps what guestmem_add_fd() mapped. NULL does nothing. */
void guestmem_free(struct guestmem *mem);
DEFINE_CLEANUP(struct guestmem *, guestmem_free)

/*
 * Map size bytes at offset of a memfd or file, shared, as guest memory at gpa. The descriptor is not kept.
 * -EINVAL: empty, beyond 2^64, beyond the file's end, or misaligned (gpa and offset must agree modulo 8);
 * -EEXIST: overlaps another region; -ENOSPC: too many regions; or what mmap(2) says.
 */
int guestmem_add_fd(struct guestmem *mem, gpa_t gpa, uint64_t size, int fd, uint64_t offset);
/* The same for memory that the caller owns and keeps until the region is gone. */
int guestmem_add_buffer(struct guestmem *mem, gpa_t gpa, uint64_t size, void *host);
/*
 * The same, when the memory is a shared mapping of a memory file at offset. The descriptor is borrowed as long as the
 * region is there: guestmem_fill() is quicker by it. fd -1: as guestmem_add_buffer().
 */
int guestmem_add_shared(struct guestmem *mem, gpa_t gpa, uint64_t size, void *host, int fd, uint64_t offset);
/*
 * Memory that comes and goes by blocks (a power of two of bytes, of which size is a multiple): nothing of it is there
 * at first. What is not there is no memory to anybody, though the caller's mapping stays.
 */
int guestmem_add_sparse(struct guestmem *mem, gpa_t gpa, uint64_t size, void *host, uint64_t block);
/*
 * Is [gpa, gpa+len), whole blocks of one such region, there? While others access memory, who find the one or the other;
 * an iovec from before stays usable. 0 or -EINVAL.
 */
int guestmem_set_present(struct guestmem *mem, gpa_t gpa, uint64_t len, bool present);
/* Remove the region that has exactly this address and size. 0 or -ENOENT. */
int guestmem_remove(struct guestmem *mem, gpa_t gpa, uint64_t size);
void guestmem_clear(struct guestmem *mem);

/* Is all of [gpa, gpa+len) memory? */
bool guestmem_valid(struct guestmem *mem, gpa_t gpa, uint64_t len);

/*
 * Copy between guest memory and private memory; may span regions. 0 or -EFAULT (then nothing was copied, unless part of
 * it went away meanwhile: guestmem_set_present()).
 */
int guestmem_read(struct guestmem *mem, gpa_t gpa, void *dst, size_t len);
int guestmem_write(struct guestmem *mem, gpa_t gpa, const void *src, size_t len);

/*
 * One naturally aligned little-endian integer, atomically and sequentially consistent: a load orders what is read
 * after it, a store publishes what was written before it, and a store followed by a load is not reordered (ring
 * indices need all three). 0, -EINVAL (misaligned) or -EFAULT.
 */
int guestmem_load_le16(struct guestmem *mem, gpa_t gpa, uint16_t *ret);
int guestmem_load_le32(struct guestmem *mem, gpa_t gpa, uint32_t *ret);
int guestmem_load_le64(struct guestmem *mem, gpa_t gpa, uint64_t *ret);
int guestmem_store_le16(struct guestmem *mem, gpa_t gpa, uint16_t value);
int guestmem_store_le32(struct guestmem *mem, gpa_t gpa, uint32_t value);
int guestmem_store_le64(struct guestmem *mem, gpa_t gpa, uint64_t value);

/*
 * The host view of [gpa, gpa+len): one iovec per region that it touches. Returns how many of the max were used (0 for
 * len 0), -EFAULT, or -ENOBUFS when max is too small.
 */
ssize_t guestmem_iov(struct guestmem *mem, gpa_t gpa, uint64_t len, struct iovec *iov, size_t max);

/*
 * Dirty log: fn is called for every range written by guestmem_write(), guestmem_store_*() and guestmem_mark_dirty(),
 * from the writing thread. Who writes through an iovec marks the range. fn NULL: off.
 */
typedef void (*guestmem_dirty_fn)(void *userdata, gpa_t gpa, uint64_t len);
void guestmem_set_dirty_log(struct guestmem *mem, guestmem_dirty_fn fn, void *userdata);
void guestmem_mark_dirty(struct guestmem *mem, gpa_t gpa, uint64_t len);

/*
 * Give the host pages that lie wholly inside [gpa, gpa+len) back to the host. Touched again they are zero or, where
 * memory is a private mapping of a file (a restored snapshot), as in that file. Counts as a write in the dirty log.
 * 0, -EFAULT (then nothing was done), or what madvise(2) says (locked or huge pages).
 */
int guestmem_discard(struct guestmem *mem, gpa_t gpa, uint64_t len);
/* The same for iovecs of guestmem_iov(); the dirty log is the caller's business. */
int guestmem_discard_iov(struct guestmem *mem, const struct iovec *iov, size_t n);

/*
 * Copy len bytes at offset of a file into guest memory. fresh: there is nothing but zeroes yet, so that holes in the
 * file are skipped; these pages cost neither time nor memory then. Moves the descriptor's position. 0, -EFAULT (then
 * nothing was done), -ENODATA when the file ends before, or what reading says.
 */
int guestmem_fill(struct guestmem *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset, bool fresh);
/*
 * The same for a file that nobody changes or cuts off as long as the memory is in use: its whole pages are not copied
 * but become private mappings, whose pages all who map the file share until they write to them. Only for memory that is
 * a private mapping itself, of ordinary pages. What cannot be mapped for its alignment is copied (fresh: as above).
 * After an error of mmap(2) the memory may have a hole: do not use it any more.
 */
int guestmem_map(struct guestmem *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset, bool fresh);
