/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is a header of 16 readable bytes, data, and one status byte at the end of the writable part; where the
 * descriptors are cut is the driver's choice (§5.2.6, §2.7.4). Everything is checked against the medium's size here, so
 * that what is submitted can only fail for reasons of the host.
 */
#include "block/state.h"
#include "virtio/iov.h"

static void answer(struct block_plan *p, enum block_status status)
{
	*p = (struct block_plan){ .status = (uint8_t)status };
}

/* A range of the medium; false: not inside. */
static bool in_range(const struct block_device *dev, uint64_t sector, uint64_t len)
{
	uint64_t offset;

	return !__builtin_mul_overflow(sector, BLOCK_SECTOR, &offset) && offset <= dev->file.size &&
	       len <= dev->file.size - offset;
}

static void plan_move(struct block_device *dev, uint64_t sector, uint32_t len, bool write, struct block_plan *p)
{
	if ((write && dev->file.readonly) || len % BLOCK_SECTOR || !in_range(dev, sector, len)) {
		answer(p, BLOCK_S_IOERR);
		return;
	}
	*p = (struct block_plan){
		.submit = len,
		.answer_len = write ? 0 : len,
		.bytes = len,
		.kind = write ? BLOCK_WRITE : BLOCK_READ,
		.offset = sector * BLOCK_SECTOR,
		.len = len,
	};
}

static void plan_id(struct block_device *dev, struct virtq_chain *c, struct block_plan *p)
{
	uint32_t room = c->write_len - 1, len = room < BLOCK_ID_SIZE ? room : BLOCK_ID_SIZE;
	char id[BLOCK_ID_SIZE] = { 0 };

	memcpy(id, dev->serial, strlen(dev->serial));
	iov_write(virtq_chain_write(c), c->n_write, 0, id, len);
	answer(p, BLOCK_S_OK);
	p->answer_len = len;
}

static void plan_trim(struct block_device *dev, struct virtq_chain *c, bool zero, struct block_plan *p)
{
	uint32_t max = zero ? BLOCK_ZEROES_MAX : BLOCK_DISCARD_MAX, sectors, flags;
	struct block_segment seg;

	if (!(dev->base.acked & (zero ? BLOCK_F_WRITE_ZEROES : BLOCK_F_DISCARD))) {
		answer(p, BLOCK_S_UNSUPP);
		return;
	}
	if (dev->file.readonly || c->read_len != sizeof(struct block_hdr) + sizeof seg) {
		answer(p, BLOCK_S_IOERR);
		return;
	}
	iov_read(virtq_chain_read(c), c->n_read, sizeof(struct block_hdr), &seg, sizeof seg);
	sectors = le32_get(seg.num_sectors);
	flags = le32_get(seg.flags);
	if (flags & ~(zero ? BLOCK_SEGMENT_UNMAP : 0u)) {
		answer(p, BLOCK_S_UNSUPP); /* §5.2.6.2 */
		return;
	}
	if (sectors > max || !in_range(dev, le64_get(seg.sector), (uint64_t)sectors * BLOCK_SECTOR)) {
		answer(p, BLOCK_S_IOERR);
		return;
	}
	*p = (struct block_plan){
		.submit = sectors,
		.kind = zero ? BLOCK_ZERO : BLOCK_DISCARD,
		.unmap = flags & BLOCK_SEGMENT_UNMAP,
		.offset = le64_get(seg.sector) * BLOCK_SECTOR,
		.len = (uint64_t)sectors * BLOCK_SECTOR,
	};
}

void block_plan(struct block_device *dev, struct virtq_chain *c, struct block_plan *ret)
{
	struct block_hdr hdr;

	iov_read(virtq_chain_read(c), c->n_read, 0, &hdr, sizeof hdr);
	switch (le32_get(hdr.type)) {
	case BLOCK_T_IN:
		plan_move(dev, le64_get(hdr.sector), c->write_len - 1, false, ret);
		break;
	case BLOCK_T_OUT:
		plan_move(dev, le64_get(hdr.sector), c->read_len - (uint32_t)sizeof hdr, true, ret);
		break;
	case BLOCK_T_FLUSH:
		answer(ret, BLOCK_S_OK);
		ret->submit = dev->base.features & BLOCK_F_FLUSH;
		ret->kind = BLOCK_SYNC;
		break;
	case BLOCK_T_GET_ID:
		plan_id(dev, c, ret);
		break;
	case BLOCK_T_DISCARD:
	case BLOCK_T_WRITE_ZEROES:
		plan_trim(dev, c, le32_get(hdr.type) == BLOCK_T_WRITE_ZEROES, ret);
		break;
	default:
		answer(ret, BLOCK_S_UNSUPP);
	}
}
