/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inflate: the guest names pages of 4 KiB that it will not touch; they are sorted, runs are merged, and each run goes
 * back to the host. Deflate: it wants to touch them again, which it simply may. Free page reporting: buffers that are
 * free pages, given back likewise; they return when touched.
 *
 * Statistics: the guest keeps one filled buffer in the queue, and fills it anew when it is handed back. It is read as
 * soon as it is there and left in the ring until the interval is over, so that nothing is held across a snapshot.
 *
 * A guest can lie about its pages: it harms itself only, as nothing but its own memory is discarded. Pages outside of
 * its memory break the device.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "state/state.h"
#include "virtio/iov.h"
#include "virtio/serve.h"

/* §5.5.3 */
#define F_STATS          (1ULL << 1)
#define F_DEFLATE_ON_OOM (1ULL << 2)
#define F_REPORTING      (1ULL << 5)

/* §5.5.2. A Linux driver numbers the queues of what was negotiated without gaps. */
enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_STATS, QUEUE_HINT, QUEUE_REPORT, QUEUES };

#define PAGE_SHIFT 12
#define PFNS       1024 /* looked at together */
#define PFNS_MAX   4096 /* of one request; Linux sends 256 */
#define STATS_MAX  64   /* entries looked at */
#define BUDGET     8

struct config_space { /* §5.5.4 */
	le32 num_pages, actual, free_page_hint_cmd_id, poison_val;
};

struct stat_entry {
	le16 tag;
	uint8_t value[8]; /* le64, unaligned */
};

enum {
	COUNT_INFLATED,
	COUNT_DEFLATED,
	COUNT_STATS,
	COUNT_REPORTS,
	COUNT_REPORTED_BYTES,
	COUNT_REPORTS_FAILED,
	COUNTERS
};

static const char *const counter_names[COUNTERS + 1] = {
	[COUNT_INFLATED] = "inflate_count",
	[COUNT_DEFLATED] = "deflate_count",
	[COUNT_STATS] = "stats_updates_count",
	[COUNT_REPORTS] = "free_page_report_count",
	[COUNT_REPORTED_BYTES] = "free_page_report_freed",
	[COUNT_REPORTS_FAILED] = "free_page_report_fails",
};

struct balloon {
	struct virtio_device base;
	uint64_t counters[COUNTERS];
	struct loop_source *again, *stats_timer;
	uint32_t target, actual; /* pages */
	uint32_t interval_s;
	int report_queue; /* -1: not negotiated */
	bool stats_there; /* the guest's buffer is in the ring, and was read */
	struct virtio_balloon_stats stats;
	struct virtq_chain chain;
	struct virtq queues[QUEUES];
};

static struct balloon *balloon(struct virtio_device *base)
{
	return container_of(base, struct balloon, base);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Give n pages back. 0, or -EFAULT: some of them are not memory. */
static int discard_pages(struct guestmem *mem, uint32_t *pfn, unsigned n)
{
	qsort(pfn, n, sizeof *pfn, by_number);
	for (unsigned i = 0, run; i < n; i += run) {
		int r;

		for (run = 1; i + run < n && pfn[i + run] - pfn[i] <= run; run++)
			;
		r = guestmem_discard(mem, (gpa_t)pfn[i] << PAGE_SHIFT,
				     ((uint64_t)pfn[i + run - 1] - pfn[i] + 1) << PAGE_SHIFT);
		if (r == -EFAULT)
			return r;
		if (r < 0)
			log_debug("balloon: pages stay where they are: %s", strerror(-r));
	}
	return 0;
}

static int64_t inflate(struct virtio_device *base, struct virtq_chain *c)
{
	struct virtq *q = &base->queues[QUEUE_INFLATE];
	uint32_t pfn[PFNS];

	if (c->read_len % sizeof *pfn || c->read_len > PFNS_MAX * sizeof *pfn) {
		virtq_break(q, "a balloon request that is no list of pages");
		return -EPROTO;
	}
	for (uint32_t off = 0; off < c->read_len; off += sizeof pfn) {
		size_t n = iov_read(virtq_chain_read(c), c->n_read, off, pfn, sizeof pfn) / sizeof *pfn;

		for (size_t i = 0; i < n; i++)
			pfn[i] = le32toh(pfn[i]);
		if (discard_pages(base->mem, pfn, (unsigned)n) < 0) {
			virtq_break(q, "a balloon page outside of guest memory");
			return -EPROTO;
		}
	}
	balloon(base)->counters[COUNT_INFLATED]++;
	return 0;
}

static int64_t deflate(struct virtio_device *base, struct virtq_chain *c)
{
	balloon(base)->counters[COUNT_DEFLATED]++;
	return 0;
}

static int64_t report(struct virtio_device *base, struct virtq_chain *c)
{
	int r = guestmem_discard_iov(base->mem, virtq_chain_write(c), c->n_write);
	uint64_t *count = balloon(base)->counters;

	count[COUNT_REPORTS]++;
	if (r == 0)
		count[COUNT_REPORTED_BYTES] += c->write_len;
	else
		count[COUNT_REPORTS_FAILED]++;
	if (r < 0)
		log_debug("balloon: free pages stay where they are: %s", strerror(-r));
	return 0;
}

static void take_stats(struct balloon *dev, const struct virtq_chain *c)
{
	struct stat_entry s;

	dev->counters[COUNT_STATS]++;
	dev->stats.valid = 0;
	for (size_t i = 0; i < STATS_MAX; i++) {
		uint16_t tag;
		le64 v;

		if (iov_read(c->iov, c->n_read, i * sizeof s, &s, sizeof s) < sizeof s)
			break;
		tag = le16_get(s.tag);
		if (tag >= VIRTIO_BALLOON_STATS)
			continue;
		memcpy(&v, s.value, sizeof v);
		dev->stats.value[tag] = le64_get(v);
		dev->stats.valid |= 1u << tag;
	}
}

/* The guest's buffer has come, or is still there. */
static void look_at_stats(struct balloon *dev)
{
	struct virtq *q = &dev->queues[QUEUE_STATS];
	int r;

	do
		r = virtq_pop(q, &dev->chain);
	while (r == 0 && virtq_want_kick(q));
	if (r == 1) {
		take_stats(dev, &dev->chain);
		virtq_unpop(q);
		dev->stats_there = true;
	}
	if (q->broken)
		virtio_device_break(&dev->base, q->why);
}

/* Hand the buffer back, for the guest to fill it anew. */
static void ask_for_stats(struct balloon *dev)
{
	struct virtq *q = &dev->queues[QUEUE_STATS];

	if (!dev->base.active || dev->base.broken || !dev->stats_there)
		return;
	dev->stats_there = false;
	if (virtq_pop(q, &dev->chain) == 1)
		virtq_push(q, dev->chain.head, 0);
	virtio_device_signal(&dev->base, QUEUE_STATS);
	/* It may be there again already. */
	if (!dev->base.broken && virtq_want_kick(q))
		look_at_stats(dev);
}

static void on_stats_timer(struct loop_source *s, void *userdata)
{
	struct balloon *dev = userdata;

	ask_for_stats(dev);
	if (dev->interval_s)
		loop_timer_set(dev->stats_timer, dev->interval_s * 1000ULL);
}

static void pump(struct balloon *dev, unsigned queue, virtio_serve_fn fn)
{
	if (virtio_serve(&dev->base, queue, &dev->chain, BUDGET, fn))
		loop_timer_set(dev->again, 0);
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	struct balloon *dev = balloon(base);

	if (queue == QUEUE_INFLATE)
		pump(dev, queue, inflate);
	else if (queue == QUEUE_DEFLATE)
		pump(dev, queue, deflate);
	else if ((int)queue == dev->report_queue)
		pump(dev, queue, report);
	else if (queue == QUEUE_STATS && base->acked & F_STATS)
		look_at_stats(dev);
}

static void on_again(struct loop_source *s, void *userdata)
{
	struct balloon *dev = userdata;

	pump(dev, QUEUE_INFLATE, inflate);
	pump(dev, QUEUE_DEFLATE, deflate);
	if (dev->report_queue >= 0)
		pump(dev, (unsigned)dev->report_queue, report);
}

static int activate(struct virtio_device *base)
{
	struct balloon *dev = balloon(base);

	/* By the specification, or without gaps: a driver of either kind sets up just one of the two. */
	dev->report_queue = -1;
	if (base->acked & F_REPORTING && base->queues[QUEUE_REPORT].ready)
		dev->report_queue = QUEUE_REPORT;
	else if (base->acked & F_REPORTING)
		dev->report_queue = base->acked & F_STATS ? QUEUE_STATS + 1 : QUEUE_STATS;
	return 0;
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	struct config_space c = {
		.num_pages = le32_of(balloon(base)->target),
		.actual = le32_of(balloon(base)->actual),
	};

	virtio_config_copy(&c, sizeof c, offset, data, len);
}

static void config_write(struct virtio_device *base, uint32_t offset, const void *data, uint32_t len)
{
	le32 actual;

	if (offset != offsetof(struct config_space, actual) || len != sizeof actual)
		return;
	memcpy(&actual, data, sizeof actual);
	balloon(base)->actual = le32_get(actual);
}

static void reset(struct virtio_device *base)
{
	struct balloon *dev = balloon(base);

	/* The new driver begins with an empty balloon. */
	dev->actual = 0;
	dev->stats_there = false;
	dev->stats.valid = 0;
	dev->report_queue = -1;
}

static void save(struct virtio_device *base, struct state *s)
{
	struct balloon *dev = balloon(base);

	state_put_u64(s, "target", dev->target);
	state_put_u64(s, "actual", dev->actual);
	state_put_u64(s, "interval", dev->interval_s);
}

static int load(struct virtio_device *base, const struct state *s, struct err *e)
{
	uint64_t target, actual, interval;
	int r;

	if ((r = state_get_max(s, "target", UINT32_MAX, &target, e)) < 0 ||
	    (r = state_get_max(s, "actual", UINT32_MAX, &actual, e)) < 0 ||
	    (r = state_get_max(s, "interval", UINT32_MAX, &interval, e)) < 0)
		return r;
	balloon(base)->target = (uint32_t)target;
	balloon(base)->actual = (uint32_t)actual;
	virtio_balloon_set_interval(base, (uint32_t)interval);
	return 0;
}

static void device_free(struct virtio_device *base)
{
	struct balloon *dev = balloon(base);

	loop_source_free(dev->again);
	loop_source_free(dev->stats_timer);
	free(dev);
}

static const struct virtio_device_ops ops = {
	.activate = activate,
	.queue_kick = queue_kick,
	.config_read = config_read,
	.config_write = config_write,
	.reset = reset,
	.save = save,
	.load = load,
	.free = device_free,
};

int virtio_balloon_new(struct loop *loop, const struct virtio_balloon_config *c, struct virtio_device **ret,
		       struct err *e)
{
	static const uint16_t queue_max[QUEUES] = { 256, 256, 256, 256, 256 };
	struct balloon *dev;

	if (c->bytes >> PAGE_SHIFT > UINT32_MAX)
		return err_set(e, ERR_CONFIG, ERANGE, "a balloon of %llu bytes is too large",
			       (unsigned long long)c->bytes);
	dev = calloc(1, sizeof *dev);
	if (!dev)
		return err_sys(e, ENOMEM, "cannot make the balloon");
	dev->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_BALLOON,
		/* Statistics always, so that they can be turned on later. */
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | F_STATS |
			    (c->deflate_on_oom ? F_DEFLATE_ON_OOM : 0) | (c->free_page_reporting ? F_REPORTING : 0),
		.n_queues = QUEUES,
		.queue_max = queue_max,
		.queues = dev->queues,
		.counter_names = counter_names,
		.counters = dev->counters,
	};
	dev->report_queue = -1;
	dev->target = (uint32_t)(c->bytes >> PAGE_SHIFT);
	if (loop_add_timer(loop, UINT64_MAX, on_again, dev, &dev->again) < 0 ||
	    loop_add_timer(loop, UINT64_MAX, on_stats_timer, dev, &dev->stats_timer) < 0) {
		device_free(&dev->base);
		return err_sys(e, ENOMEM, "cannot make the balloon");
	}
	virtio_balloon_set_interval(&dev->base, c->stats_interval_s);
	*ret = &dev->base;
	return 0;
}

int virtio_balloon_set_target(struct virtio_device *base, uint64_t bytes)
{
	if (bytes >> PAGE_SHIFT > UINT32_MAX)
		return -ERANGE;
	balloon(base)->target = (uint32_t)(bytes >> PAGE_SHIFT);
	if (base->active)
		base->transport->ops->signal_config(base->transport);
	return 0;
}

void virtio_balloon_set_interval(struct virtio_device *base, uint32_t seconds)
{
	struct balloon *dev = balloon(base);

	dev->interval_s = seconds;
	loop_timer_set(dev->stats_timer, seconds ? 0 : UINT64_MAX);
}

void virtio_balloon_get_stats(const struct virtio_device *base, struct virtio_balloon_stats *ret)
{
	const struct balloon *dev = container_of(base, const struct balloon, base);

	*ret = dev->stats;
	ret->target = (uint64_t)dev->target << PAGE_SHIFT;
	ret->actual = (uint64_t)dev->actual << PAGE_SHIFT;
}
