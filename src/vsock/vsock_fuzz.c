/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest and moody host clients, interleaved: the input is a program of 8-byte steps. The device lives on
 * over all inputs (its listener is expensive); every input begins with a reset.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/unix_socket.h"
#include "vsock/fake_guest.h"
#include "vsock/state.h"

#define CLIENTS 4

static struct loop *loop;
static struct virtio_device *dev;
static struct fake_guest guest;
static char path[64];
static int listener = -1, client[CLIENTS];
static uint32_t last_src, last_dst; /* ports of the packet that came last */
static bool spoiled;                /* a ring is no longer what the driver made: packets may be anywhere */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cleanup(void)
{
	char dir[64], listen_path[80];

	snprintf(listen_path, sizeof listen_path, "%s_7", path);
	unlink(listen_path);
	unlink(path);
	snprintf(dir, sizeof dir, "%s", path);
	*strrchr(dir, '/') = 0;
	rmdir(dir);
}

static void start(void)
{
	char dir[] = "/tmp/vsock_fuzz_XXXXXX", listen_path[80];

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/v", dir);
	snprintf(listen_path, sizeof listen_path, "%s_7", path);
	log_set_level(LOG_LEVEL_ERROR);
	if (loop_new(&loop, NULL) < 0 || vsock_device_new(loop, path, GUEST_CID, &dev, NULL) < 0 ||
	    unix_listen(listen_path, 0600, &listener, NULL) < 0)
		abort();
	atexit(cleanup);
	guest_new(&guest, dev);
	for (int i = 0; i < CLIENTS; i++)
		client[i] = -1;
}

static void host_step(const uint8_t *op)
{
	static const char *const lines[] = { "CONNECT 1\n", "connect 7\nabc", "CONN", "ECT 5\n" };
	static char block[70000];
	int *fd = &client[op[1] % CLIENTS];

	switch (op[2] % 8) {
	case 0:
		fd_close(fd);
		if (unix_connect(path, fd) == 0)
			send(*fd, lines[op[3] % 4], strlen(lines[op[3] % 4]), MSG_NOSIGNAL);
		break;
	case 1:
		fd_close(fd);
		*fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case 2:
		if (*fd >= 0)
			send(*fd, block, op[3] * 270U + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 3:
	case 4:
		if (*fd >= 0 && recv(*fd, block, op[3] * 270U + 1, MSG_DONTWAIT) < 0)
			break;
		break;
	case 5:
		if (*fd >= 0)
			shutdown(*fd, op[3] % 3);
		break;
	default:
		fd_close(fd);
	}
}

static void guest_packet(const uint8_t *op)
{
	static uint8_t payload[65536];
	struct vsock_hdr h = {
		.src_cid = le64_of(op[1] == 255 ? 9 : GUEST_CID),
		.dst_cid = le64_of(op[1] == 254 ? 9 : VSOCK_CID_HOST),
		/* Mostly the connection that spoke last. */
		.src_port = le32_of(op[1] & 1 ? last_dst : op[2] & 7U),
		.dst_port = le32_of(op[1] & 1 ? last_src : 7),
		.type = le16_of(op[1] == 253 ? 2 : 1),
		.op = le16_of(op[3] % 9),
		.flags = le32_of(op[4] & 3),
		.buf_alloc = le32_of(op[5] * 1000U),
		.fwd_cnt = le32_of(op[6] * 500U),
	};
	uint32_t len = op[3] % 9 == VSOCK_OP_RW ? op[7] * 255U : 0;

	h.len = le32_of(op[1] == 252 ? len + 1 : len);
	guest_send(&guest, &h, payload, len);
}

static void guest_step(const uint8_t *op)
{
	struct vsock_hdr h;
	uint8_t *data;
	uint16_t i, v = (uint16_t)(op[4] | op[5] << 8);

	switch (op[0] % 4) {
	case 0:
	case 1:
		guest_packet(op);
		break;
	case 2:
		while (guest_recv(&guest, &h, &data, &i)) {
			last_src = le32_get(h.src_port);
			last_dst = le32_get(h.dst_port);
			if (!spoiled && le32_get(h.len) > GUEST_RX_SIZE - VSOCK_HDR_LEN)
				abort();
			if (op[1] & 1)
				guest_offer(&guest, i);
		}
		virtio_device_kick(dev, 0);
		break;
	case 3:
		if (op[1] < 16) {
			spoiled = true;
			memcpy(guest.ram + 0x1000 + (size_t)(op[1] % 3) * 0x1000 + op[2] * 4U, &v, 2);
		} else if (op[1] < 32)
			vsock_device_transport_reset(dev);
		else if (op[1] < 40)
			virtio_device_reset(dev);
		else if (op[1] < 48 && !dev->active)
			guest_start(&guest, op[2] % GUEST_QUEUE);
		virtio_device_kick(dev, op[3] % 4);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd;

	if (!loop)
		start();
	virtio_device_reset(dev);
	spoiled = false;
	guest_start(&guest, GUEST_QUEUE);
	for (size_t i = 0; i + 8 <= size && i < 8 * 256; i += 8) {
		if (data[i] & 0x80)
			host_step(data + i);
		else
			guest_step(data + i);
		loop_run_once(loop, 0);
	}
	for (int i = 0; i < CLIENTS; i++)
		fd_close(&client[i]);
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
	virtio_device_reset(dev);
	for (int i = 0; i < 100 && vsock_device_connections(dev); i++)
		loop_run_once(loop, 0);
	/* No guest and no client: nothing may be left. */
	if (vsock_device_connections(dev))
		abort();
	return 0;
}
