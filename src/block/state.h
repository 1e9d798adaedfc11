/* SPDX-License-Identifier: Apache-2.0 */
/* The device from inside: device.c (queues), request.c (what a request asks for), and their tests. */
#pragma once

#include "block/block.h"
#include "block/engine.h"
#include "block/file.h"
#include "guestmem/le.h"

/* Feature bits (§5.2.3). */
#define BLOCK_F_SEG_MAX      (1ULL << 2)
#define BLOCK_F_RO           (1ULL << 5)
#define BLOCK_F_BLK_SIZE     (1ULL << 6)
#define BLOCK_F_FLUSH        (1ULL << 9)
#define BLOCK_F_TOPOLOGY     (1ULL << 10)
#define BLOCK_F_MQ           (1ULL << 12)
#define BLOCK_F_DISCARD      (1ULL << 13)
#define BLOCK_F_WRITE_ZEROES (1ULL << 14)

/* Request types and status (§5.2.6). */
enum block_type {
	BLOCK_T_IN = 0,
	BLOCK_T_OUT = 1,
	BLOCK_T_FLUSH = 4,
	BLOCK_T_GET_ID = 8,
	BLOCK_T_DISCARD = 11,
	BLOCK_T_WRITE_ZEROES = 13,
};

enum block_status { BLOCK_S_OK, BLOCK_S_IOERR, BLOCK_S_UNSUPP };

struct block_hdr {
	le32 type, reserved;
	le64 sector;
};

/* Of DISCARD and WRITE_ZEROES; one of them per request. */
struct block_segment {
	le64 sector;
	le32 num_sectors, flags;
};
#define BLOCK_SEGMENT_UNMAP 1 /* WRITE_ZEROES */

/* Sectors of one segment. Zeroes may have to be written one by one: less, so that a request does not last long. */
#define BLOCK_DISCARD_MAX (1u << 21)
#define BLOCK_ZEROES_MAX  (1u << 16)

/* §5.2.4 */
struct block_config_space {
	le64 capacity; /* sectors */
	le32 size_max, seg_max;
	uint8_t geometry[4];
	le32 blk_size;
	uint8_t physical_block_exp, alignment_offset;
	le16 min_io_size;
	le32 opt_io_size;
	uint8_t writeback, unused0;
	le16 num_queues;
	le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	le32 max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment;
};

/* What is counted; the names are in device.c. */
enum block_counter {
	BLOCK_COUNT_KICKS,
	BLOCK_COUNT_READS,
	BLOCK_COUNT_READ_BYTES,
	BLOCK_COUNT_WRITES,
	BLOCK_COUNT_WRITTEN_BYTES,
	BLOCK_COUNT_FLUSHES,
	BLOCK_COUNT_FAILED,
	BLOCK_COUNT_INVALID,
	BLOCK_COUNT_RATE_HELD,
	BLOCK_COUNT_RATE_READY,
	BLOCK_COUNT_ENGINE_FULL,
	BLOCK_COUNT_UPDATES,
	BLOCK_COUNT_UPDATES_FAILED,
	BLOCK_COUNTERS,
};

struct block_device {
	struct virtio_device base;
	uint64_t counters[BLOCK_COUNTERS];
	struct loop *loop;
	struct block_file file;
	bool direct, own_serial;
	char serial[BLOCK_ID_SIZE + 1];
	uint64_t told_size; /* the size that the guest has seen, when it comes out of a snapshot; else 0 */
	struct block_engine *engine;
	struct rate rate;
	unsigned inflight;
	uint64_t stalled;   /* bit n: queue n has more, and nobody will kick */
	uint64_t completed; /* bit n: queue n has something to publish */
	struct loop_source *again;
	struct virtq_chain chain;
	uint16_t queue_max[BLOCK_QUEUES_MAX];
	struct virtq queues[BLOCK_QUEUES_MAX];
};

/* What a chain asks for, in checked numbers. */
struct block_plan {
	uint8_t status;      /* the answer when submit is false */
	bool submit;         /* io is to be done first */
	uint32_t answer_len; /* bytes written to the guest in front of the status, when all goes well */
	uint64_t bytes;      /* for the limits of the rate */
	enum block_kind kind;
	bool unmap;
	uint64_t offset, len;
};

/*
 * Read the header of a chain that has room for header and status. Touches no medium; GET_ID is answered at once.
 */
void block_plan(struct block_device *dev, struct virtq_chain *c, struct block_plan *ret);

/* For tests: serve by another engine from now on; the old one is freed. */
void block_set_engine(struct block_device *dev, struct block_engine *engine);
