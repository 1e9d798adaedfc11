/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The medium of a disk: a raw file or a block device, opened once for all queues.
 *
 * With O_DIRECT there are two descriptors: what is not aligned as direct I/O demands goes through the page cache
 * instead of a bounce buffer of our own; the kernel keeps the two coherent.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BLOCK_SECTOR  512
#define BLOCK_ID_SIZE 20 /* VirtIO 1.2 §5.2.6, GET_ID: not terminated when all are used */

struct block_file {
	int fd;        /* through the page cache */
	int direct_fd; /* O_DIRECT; -1: none */
	bool readonly, device;
	uint32_t logical;  /* sector size that partition tables count in: 512 but for native 4K devices */
	uint32_t physical; /* smallest unit that the medium writes without reading; direct I/O is aligned to it */
	uint64_t size;     /* bytes, whole sectors */
	char id[BLOCK_ID_SIZE + 1];
};

/* What is opened is the caller's, to be closed with block_file_close(); on failure *ret stays as it was. */
int block_file_open(struct block_file *ret, const char *path, bool readonly, bool direct, struct err *e);
/* The same for a descriptor, which is taken over on success. */
int block_file_take(struct block_file *ret, int fd, bool readonly, bool direct, struct err *e);
void block_file_close(struct block_file *f);
