/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues. Transmit: every chain holds one packet, which goes to its connection at once. Receive: while there are
 * buffers, waiting resets first, then one packet of each ready connection in turn; host data is read straight into
 * the guest's buffer. Both directions do a bounded amount per turn and come back by a timer of 0 ms.
 *
 * Backpressure: no receive buffer, or no credit: the host socket is not read. Too many resets waiting: the transmit
 * queue is not read. A guest that breaks the protocol loses the device (virtio_device_break) and all connections.
 */
#include <errno.h>

#include "base/log.h"
#include "virtio/iov.h"
#include "vsock/state.h"

static const char *const counter_names[VSOCK_COUNTERS + 1] = {
	[VSOCK_COUNT_RX_KICKS] = "rx_queue_event_count",
	[VSOCK_COUNT_TX_KICKS] = "tx_queue_event_count",
	[VSOCK_COUNT_RX_PACKETS] = "rx_packets_count",
	[VSOCK_COUNT_RX_BYTES] = "rx_bytes_count",
	[VSOCK_COUNT_TX_PACKETS] = "tx_packets_count",
	[VSOCK_COUNT_TX_BYTES] = "tx_bytes_count",
	[VSOCK_COUNT_ADDED] = "conns_added",
	[VSOCK_COUNT_RESET] = "conns_killed",
	[VSOCK_COUNT_REMOVED] = "conns_removed",
};

static struct vsock_device *vsock(struct virtio_device *base)
{
	return container_of(base, struct vsock_device, base);
}

static void broke(struct vsock_device *dev, const char *why)
{
	virtio_device_break(&dev->base, why);
	/* Connections are dropped later: a handler further up may be using one. */
	loop_timer_set(dev->again, 0);
}

void vsock_send_rst(struct vsock_device *dev, uint32_t local_port, uint32_t peer_port, uint16_t type)
{
	if (!dev->base.active)
		return;
	if (!dev->rst)
		dev->rst = malloc(VSOCK_RST_MAX * sizeof *dev->rst);
	if (!dev->rst || dev->rst_len == VSOCK_RST_MAX)
		return; /* the guest's connection ends by its own time-out */
	dev->rst[(dev->rst_head + dev->rst_len++) % VSOCK_RST_MAX] = (struct vsock_rst){ local_port, peer_port, type };
}

static void next_rst(struct vsock_device *dev, struct vsock_hdr *hdr)
{
	const struct vsock_rst *rst = &dev->rst[dev->rst_head];

	hdr->src_port = le32_of(rst->local_port);
	hdr->dst_port = le32_of(rst->peer_port);
	hdr->type = le16_of(rst->type);
	hdr->op = le16_of(VSOCK_OP_RST);
	dev->rst_head = (dev->rst_head + 1) % VSOCK_RST_MAX;
	if (!--dev->rst_len) {
		free(take_ptr(dev->rst));
		dev->rst_head = 0;
	}
}

/* The next packet for the guest into dev->chain. Bytes written; 0 when nobody had one after all. */
static uint32_t next_packet(struct vsock_device *dev)
{
	struct vsock_hdr hdr = { .src_cid = le64_of(VSOCK_CID_HOST), .dst_cid = le64_of(dev->guest_cid) };
	struct virtq_chain *chain = &dev->chain;

	if (dev->rst_len) {
		next_rst(dev, &hdr);
	} else {
		struct vsock_conn *c = list_first(&dev->ready, struct vsock_conn, ready);
		bool filled;

		list_remove(&c->ready);
		filled = vsock_conn_fill(c, chain, &hdr);
		vsock_conn_schedule(c);
		if (!filled)
			return 0;
	}
	iov_write(virtq_chain_write(chain), chain->n_write, 0, &hdr, sizeof hdr);
	return VSOCK_HDR_LEN + le32_get(hdr.len);
}

void vsock_rx_pump(struct vsock_device *dev)
{
	struct virtq *q = &dev->queues[VSOCK_QUEUE_RX];
	int budget = VSOCK_BUDGET;

	if (!dev->base.active || dev->base.broken)
		return;
	while ((dev->rst_len || !list_empty(&dev->ready)) && budget--) {
		uint32_t len;
		int r = virtq_pop(q, &dev->chain);

		if (r == 0 && virtq_want_kick(q))
			continue;
		if (r <= 0)
			break;
		if (dev->chain.write_len <= VSOCK_HDR_LEN) {
			virtq_break(q, "a vsock receive buffer without room for a packet");
			break;
		}
		len = next_packet(dev);
		if (!len) {
			virtq_unpop(q);
			continue;
		}
		dev->counters[VSOCK_COUNT_RX_PACKETS]++;
		dev->counters[VSOCK_COUNT_RX_BYTES] += len - VSOCK_HDR_LEN;
		virtq_push(q, dev->chain.head, len);
	}
	virtio_device_signal(&dev->base, VSOCK_QUEUE_RX);
	if (q->broken)
		broke(dev, q->why);
	else if (budget < 0 || (dev->tx_stalled && dev->rst_len < VSOCK_RST_HIGH))
		loop_timer_set(dev->again, 0);
}

/* One packet from the guest. False: the queue is broken. */
static bool handle_packet(struct vsock_device *dev)
{
	struct virtq_chain *chain = &dev->chain;
	uint32_t local, peer, len;
	struct vsock_conn *c;
	struct vsock_hdr hdr;
	bool bad;

	if (iov_read(virtq_chain_read(chain), chain->n_read, 0, &hdr, sizeof hdr) < sizeof hdr) {
		virtq_break(&dev->queues[VSOCK_QUEUE_TX], "a vsock packet shorter than its header");
		return false;
	}
	/* §5.10.6.4: what is not from this guest to this host has nobody to be answered. */
	if (le64_get(hdr.src_cid) != dev->guest_cid || le64_get(hdr.dst_cid) != VSOCK_CID_HOST)
		return true;
	local = le32_get(hdr.dst_port);
	peer = le32_get(hdr.src_port);
	len = le32_get(hdr.len);
	bad = len > chain->read_len - VSOCK_HDR_LEN || len > VSOCK_PACKET_MAX;
	dev->counters[VSOCK_COUNT_TX_PACKETS]++;
	c = le16_get(hdr.type) == VSOCK_TYPE_STREAM ? vsock_conn_find(dev, local, peer) : NULL;
	if (c && bad)
		vsock_conn_reset(c);
	else if (c)
		vsock_conn_packet(c, &hdr, virtq_chain_read(chain), chain->n_read);
	else if (le16_get(hdr.op) == VSOCK_OP_REQUEST && le16_get(hdr.type) == VSOCK_TYPE_STREAM && !bad)
		vsock_host_connect(dev, &hdr);
	else if (le16_get(hdr.op) != VSOCK_OP_RST)
		vsock_send_rst(dev, local, peer, le16_get(hdr.type));
	return true;
}

static void tx_pump(struct vsock_device *dev)
{
	struct virtq *q = &dev->queues[VSOCK_QUEUE_TX];
	int budget = VSOCK_BUDGET;

	if (!dev->base.active || dev->base.broken)
		return;
	dev->tx_stalled = false;
	virtq_want_no_kick(q);
	for (;;) {
		int r;

		if (dev->rst_len >= VSOCK_RST_HIGH) {
			dev->tx_stalled = true;
			break;
		}
		if (!budget--) {
			loop_timer_set(dev->again, 0);
			break;
		}
		r = virtq_pop(q, &dev->chain);
		if (r == 0 && virtq_want_kick(q))
			continue;
		if (r <= 0 || !handle_packet(dev))
			break;
		virtq_push(q, dev->chain.head, 0);
	}
	virtio_device_signal(&dev->base, VSOCK_QUEUE_TX);
	if (q->broken)
		broke(dev, q->why);
}

static void drop_all(struct vsock_device *dev)
{
	struct vsock_conn *c;

	for (unsigned i = 0; i < VSOCK_BUCKETS; i++)
		while ((c = list_first(&dev->buckets[i], struct vsock_conn, node)))
			vsock_conn_free(c);
	/* A handshake has nothing to do with the guest yet; data on its way to the host is still wanted there. */
	free(take_ptr(dev->rst));
	dev->rst_head = dev->rst_len = 0;
	dev->tx_stalled = false;
}

static void on_again(struct loop_source *s, void *userdata)
{
	struct vsock_device *dev = userdata;

	if (dev->base.broken) {
		drop_all(dev);
		return;
	}
	tx_pump(dev);
	vsock_rx_pump(dev);
}

static int activate(struct virtio_device *base)
{
	/* Kicks of receive buffers are asked for when one is missed. */
	virtq_want_no_kick(&base->queues[VSOCK_QUEUE_RX]);
	return 0;
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	struct vsock_device *dev = vsock(base);

	if (queue != VSOCK_QUEUE_EVENT)
		dev->counters[queue == VSOCK_QUEUE_TX ? VSOCK_COUNT_TX_KICKS : VSOCK_COUNT_RX_KICKS]++;
	if (queue == VSOCK_QUEUE_TX)
		tx_pump(dev);
	if (queue != VSOCK_QUEUE_EVENT)
		vsock_rx_pump(dev);
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	le64 cid = le64_of(vsock(base)->guest_cid);

	virtio_config_copy(&cid, sizeof cid, offset, data, len);
}

static void reset(struct virtio_device *base)
{
	drop_all(vsock(base));
}

static void device_free(struct virtio_device *base)
{
	struct vsock_device *dev = vsock(base);
	struct vsock_conn *c;

	vsock_listen_stop(dev);
	drop_all(dev);
	while ((c = list_first(&dev->loose, struct vsock_conn, node)))
		vsock_conn_free(c);
	loop_source_free(dev->again);
	free(dev->path);
	free(dev);
}

static const struct virtio_device_ops ops = {
	.activate = activate,
	.queue_kick = queue_kick,
	.config_read = config_read,
	.reset = reset,
	.free = device_free,
};

int vsock_device_new(struct loop *loop, const char *uds_path, uint64_t guest_cid, struct virtio_device **ret,
		     struct err *e)
{
	static const uint16_t queue_max[VSOCK_QUEUES] = { VSOCK_QUEUE_SIZE, VSOCK_QUEUE_SIZE, VSOCK_QUEUE_SIZE };
	struct vsock_device *dev;
	int r;

	if (guest_cid < 3 || guest_cid > UINT32_MAX - 1)
		return err_set(e, ERR_CONFIG, EINVAL, "guest CID %llu cannot be used: it must be 3 to 4294967294",
			       (unsigned long long)guest_cid);
	dev = calloc(1, sizeof *dev);
	if (!dev)
		return err_sys(e, ENOMEM, "cannot make the vsock device");
	dev->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_VSOCK,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
		.n_queues = VSOCK_QUEUES,
		.queue_max = queue_max,
		.queues = dev->queues,
		.counter_names = counter_names,
		.counters = dev->counters,
	};
	dev->loop = loop;
	dev->guest_cid = guest_cid;
	dev->listen_fd = dev->dir_fd = -1;
	dev->next_port = VSOCK_LOCAL_PORT_MIN;
	list_init(&dev->loose);
	list_init(&dev->ready);
	for (unsigned i = 0; i < VSOCK_BUCKETS; i++)
		list_init(&dev->buckets[i]);
	dev->path = strdup(uds_path);
	if (!dev->path || loop_add_timer(loop, UINT64_MAX, on_again, dev, &dev->again) < 0)
		r = err_sys(e, ENOMEM, "cannot make the vsock device");
	else
		r = vsock_listen_start(dev, e);
	if (r < 0) {
		device_free(&dev->base);
		return r;
	}
	*ret = &dev->base;
	return 0;
}

int vsock_device_transport_reset(struct virtio_device *base)
{
	struct vsock_device *dev = vsock(base);
	struct virtq *q = &dev->queues[VSOCK_QUEUE_EVENT];
	le32 id = le32_of(VSOCK_EVENT_TRANSPORT_RESET);
	int r;

	drop_all(dev);
	if (!base->active || base->broken)
		return -EAGAIN;
	r = virtq_pop(q, &dev->chain);
	if (r == 0)
		return -EAGAIN;
	if (r == 1 && dev->chain.write_len < sizeof id)
		virtq_break(q, "a vsock event buffer that is too small");
	if (q->broken) {
		broke(dev, q->why);
		return -EPROTO;
	}
	iov_write(virtq_chain_write(&dev->chain), dev->chain.n_write, 0, &id, sizeof id);
	virtq_push(q, dev->chain.head, sizeof id);
	virtio_device_signal(base, VSOCK_QUEUE_EVENT);
	return 0;
}

unsigned vsock_device_connections(const struct virtio_device *base)
{
	return container_of(base, const struct vsock_device, base)->n_conns;
}
