/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the vsock device: device.c moves packets between the queues and the connections, conn.c is the connection's
 * state machine, listen.c is the Unix-socket side. Not for other folders.
 *
 * Work towards the guest: a connection that has something to tell stands in dev->ready and is asked for one packet at
 * a time, round robin, whenever there is a receive buffer. Connections are freed only by the handlers that received
 * the event, never while packets are made (vsock_rx_pump), so a handler may go on with its connection after pumping.
 */
#pragma once

#include "base/list.h"
#include "vsock/packet.h"
#include "vsock/vsock.h"

enum { VSOCK_QUEUE_RX, VSOCK_QUEUE_TX, VSOCK_QUEUE_EVENT, VSOCK_QUEUES };

/* What virtio-mmio in QEMU offers to every device, and Linux then takes, whatever we would prefer. */
#define VSOCK_QUEUE_SIZE 1024

#define VSOCK_BUF_SIZE           (256U * 1024) /* per connection, guest to host: our buf_alloc */
#define VSOCK_BUFFERS_MAX        128           /* connections that may hold one at once: 32 MiB in all */
#define VSOCK_BUCKETS            64
#define VSOCK_RST_HIGH           256  /* resets waiting for receive buffers: take no more packets from the guest */
#define VSOCK_RST_MAX            2048 /* and the most that are kept */
#define VSOCK_BUDGET             256  /* packets per turn and direction */
#define VSOCK_LINE_MAX           32   /* of "CONNECT <port>\n" */
#define VSOCK_LOCAL_PORT_MIN     0x40000000U
#define VSOCK_LOCAL_PORT_MAX     0x7fffffffU
#define VSOCK_HANDSHAKE_MS       10000
#define VSOCK_CONNECT_TIMEOUT_MS 5000
#define VSOCK_ACCEPT_RETRY_MS    100

enum conn_state {
	CONN_HANDSHAKE,   /* host client connected; its CONNECT line is being read */
	CONN_REQUESTED,   /* REQUEST waits to be sent, or for the guest's answer */
	CONN_ESTABLISHED, /* until either side is done in both directions */
	CONN_LINGERING,   /* the guest is done; the rest of its data goes to the host client */
};

/* What a connection owes the guest. */
#define PEND_REQUEST        1U
#define PEND_RESPONSE       2U
#define PEND_CREDIT_REQUEST 4U
#define PEND_CREDIT_UPDATE  8U
#define PEND_SHUTDOWN       16U

struct vsock_device;

struct vsock_conn {
	struct list node, ready; /* in a bucket or in dev->loose; in dev->ready */
	struct vsock_device *dev;
	struct loop_source *io, *timer;
	int fd;          /* -1: the host side is gone */
	uint32_t events; /* that io waits for */
	enum conn_state state;
	uint32_t local_port, peer_port; /* host's and guest's */
	unsigned pending;               /* PEND_* */
	uint32_t shut_told;             /* VSOCK_SHUTDOWN_* told to the guest */
	uint32_t guest_shut;            /* VSOCK_SHUTDOWN_* told by the guest */
	bool request_sent;
	bool readable;   /* the host has data (or its end) for us */
	bool eof;        /* the host sends no more */
	bool hup;        /* the host client is gone: read the rest, expect nothing else */
	bool write_dead; /* the host takes no more */
	bool credit_asked;
	/* Credit (§5.10.6.3); counters run modulo 2^32. */
	uint32_t peer_buf_alloc, peer_fwd_cnt, tx_cnt; /* towards the guest */
	uint32_t rx_cnt, fwd_cnt, fwd_told;            /* from the guest */
	uint8_t *buf;                                  /* ring of VSOCK_BUF_SIZE for what the host did not take yet */
	uint32_t buf_head, buf_len;
	uint8_t line_len;
	char line[VSOCK_LINE_MAX];
};

struct vsock_rst {
	uint32_t local_port, peer_port;
	uint16_t type;
};

/* What is counted; the names are in device.c. rx: towards the guest. */
enum vsock_counter {
	VSOCK_COUNT_RX_KICKS,
	VSOCK_COUNT_TX_KICKS,
	VSOCK_COUNT_RX_PACKETS,
	VSOCK_COUNT_RX_BYTES,
	VSOCK_COUNT_TX_PACKETS,
	VSOCK_COUNT_TX_BYTES,
	VSOCK_COUNT_ADDED,
	VSOCK_COUNT_RESET,
	VSOCK_COUNT_REMOVED,
	VSOCK_COUNTERS,
};

struct vsock_device {
	struct virtio_device base;
	uint64_t counters[VSOCK_COUNTERS];
	struct virtq queues[VSOCK_QUEUES];
	struct loop *loop;
	uint64_t guest_cid;
	char *path;
	int listen_fd;
	int dir_fd; /* folder of path, when the names of the host's listeners are too long for an address; else -1 */
	struct loop_source *listener, *listen_timer, *again;
	struct list buckets[VSOCK_BUCKETS], loose, ready;
	unsigned n_conns, n_buffers;
	uint32_t next_port;
	struct vsock_rst *rst; /* ring of VSOCK_RST_MAX */
	unsigned rst_head, rst_len;
	bool tx_stalled;
	struct virtq_chain chain;
	struct iovec iov[64];
};

/* device.c */
void vsock_rx_pump(struct vsock_device *dev);
void vsock_send_rst(struct vsock_device *dev, uint32_t local_port, uint32_t peer_port, uint16_t type);

/* conn.c */
/* Takes fd over on success. NULL: too many connections, or out of memory. */
struct vsock_conn *vsock_conn_new(struct vsock_device *dev, int fd, enum conn_state state);
void vsock_conn_free(struct vsock_conn *c);
/* Reset towards the guest, and free. */
void vsock_conn_reset(struct vsock_conn *c);
void vsock_conn_set_ports(struct vsock_conn *c, uint32_t local_port, uint32_t peer_port);
struct vsock_conn *vsock_conn_find(struct vsock_device *dev, uint32_t local_port, uint32_t peer_port);
void vsock_conn_set_credit(struct vsock_conn *c, const struct vsock_hdr *hdr);
void vsock_conn_pend(struct vsock_conn *c, unsigned what);
void vsock_conn_update_events(struct vsock_conn *c);
/* A valid packet from the guest for c; its payload: len bytes at offset VSOCK_HDR_LEN of iov. May free c. */
void vsock_conn_packet(struct vsock_conn *c, const struct vsock_hdr *hdr, const struct iovec *iov, size_t n);
/* Make the next packet of c in the chain, all but the addresses in hdr. False: it has none now. */
bool vsock_conn_fill(struct vsock_conn *c, struct virtq_chain *chain, struct vsock_hdr *hdr);
/* Has c something to tell the guest? Then stand in dev->ready. */
void vsock_conn_schedule(struct vsock_conn *c);

/* listen.c */
int vsock_listen_start(struct vsock_device *dev, struct err *e);
void vsock_listen_stop(struct vsock_device *dev);
/* The client's socket is readable, or gone. May free c. */
void vsock_handshake(struct vsock_conn *c);
/* A connection came free: accept again if that was why not. */
void vsock_listen_resume(struct vsock_device *dev);
/* The guest asks for a connection. */
void vsock_host_connect(struct vsock_device *dev, const struct vsock_hdr *hdr);
