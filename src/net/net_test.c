/* SPDX-License-Identifier: Apache-2.0 */
/* The network card: VirtIO 1.2 §5.1, with a socket as its wire, and once with a real tap device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "net/fake_card.h"
#include "virtio/fake_counters.h"

#define ALL(f) ((f)->dev->features)

/* ---- the guest ---- */

static void offer(struct fake_card *f, unsigned pair, uint16_t i, uint32_t len)
{
	fake_desc(&f->q[2 * pair], i, CARD_RX_DATA + i * 4096ULL, len, FAKE_WRITE, 0);
	fake_submit(&f->q[2 * pair], i);
}

/* Put a frame of len bytes of `fill` into the transmit queue of a pair; its header is all zeroes. */
static void transmit(struct fake_card *f, unsigned pair, uint16_t i, uint8_t fill, uint32_t len)
{
	gpa_t at = CARD_TX_DATA + i * 4096ULL;

	memset(f->ram + at, 0, NET_HEADER_LEN);
	memset(f->ram + at + NET_HEADER_LEN, fill, len);
	/* The seam lies inside the header. */
	fake_desc(&f->q[2 * pair + 1], 2 * i, at, 5, FAKE_NEXT, 2 * i + 1);
	fake_desc(&f->q[2 * pair + 1], 2 * i + 1, at + 5, NET_HEADER_LEN - 5 + len, 0, 0);
	fake_submit(&f->q[2 * pair + 1], 2 * i);
}

static void spin(struct fake_card *f)
{
	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
}

/* ---- the wire ---- */

static void wire_send(int fd, uint8_t fill, uint32_t len)
{
	uint8_t frame[8192];
	uint32_t prefix = htonl(len);

	memcpy(frame, &prefix, 4);
	memset(frame + 4, fill, len);
	assert_int_equal(send(fd, frame, 4 + len, 0), 4 + len);
}

/* Length of the next frame, whose bytes must all be `fill`; 0: there is none. */
static uint32_t wire_receive(int fd, uint8_t fill)
{
	static uint8_t frame[70000];
	uint32_t prefix;

	if (recv(fd, &prefix, 4, 0) != 4)
		return 0;
	prefix = ntohl(prefix);
	assert_int_equal(recv(fd, frame, prefix, MSG_WAITALL), prefix);
	for (uint32_t i = 0; i < prefix; i++)
		assert_int_equal(frame[i], fill);
	return prefix;
}

/* ---- tests ---- */

static void test_transmit(void **state)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;
	uint32_t id, len;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	transmit(&f, 0, 0, 0xaa, 60);
	transmit(&f, 0, 1, 0xbb, 1514);
	virtio_device_kick(f.dev, 1);
	assert_int_equal(wire_receive(f.wire[0], 0xaa), 60);
	assert_int_equal(wire_receive(f.wire[0], 0xbb), 1514);
	assert_true(fake_used(&f.q[1], &id, &len));
	assert_int_equal(id, 0);
	assert_true(fake_used(&f.q[1], &id, &len));
	assert_int_equal(id, 2);
	assert_true(f.signals[1] > 0);
	/* Nothing but a header, and not even that, are lost without harm. */
	fake_desc(&f.q[1], 0, CARD_TX_DATA, NET_HEADER_LEN, 0, 0);
	fake_submit(&f.q[1], 0);
	fake_desc(&f.q[1], 1, CARD_TX_DATA, 3, 0, 0);
	fake_submit(&f.q[1], 1);
	virtio_device_kick(f.dev, 1);
	assert_int_equal(wire_receive(f.wire[0], 0), 0);
	assert_true(fake_used(&f.q[1], &id, &len) && fake_used(&f.q[1], &id, &len));
	assert_false(f.dev->broken);
	card_fini(&f);
}

static uint16_t num_buffers(const struct fake_card *f, uint32_t id)
{
	const uint8_t *header = f->ram + CARD_RX_DATA + id * 4096ULL;

	return (uint16_t)(header[10] | header[11] << 8);
}

static void test_receive_into_merged_buffers(void **state)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;
	uint32_t id, len;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	offer(&f, 0, 0, 100);
	offer(&f, 0, 1, 100);
	wire_send(f.wire[0], 0x11, 250);
	spin(&f);
	/* Two buffers are too few for 262 bytes: nothing is used until there is a third. */
	assert_false(fake_used(&f.q[0], &id, &len));
	offer(&f, 0, 2, 100);
	virtio_device_kick(f.dev, 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(fake_used(&f.q[0], &id, &len));
		assert_int_equal(id, i);
		assert_int_equal(len, i == 2 ? 62 : 100);
	}
	assert_int_equal(num_buffers(&f, 0), 3);
	assert_int_equal(f.ram[CARD_RX_DATA + NET_HEADER_LEN], 0x11);
	assert_int_equal(f.ram[CARD_RX_DATA + 2 * 4096 + 61], 0x11);
	assert_true(f.signals[0] > 0);
	/* Without a kick: buffers that are there already. */
	offer(&f, 0, 3, 2000);
	virtio_device_kick(f.dev, 0);
	wire_send(f.wire[0], 0x22, 60);
	spin(&f);
	assert_true(fake_used(&f.q[0], &id, &len));
	assert_int_equal(len, 72);
	assert_int_equal(num_buffers(&f, 3), 1);
	card_fini(&f);
}

static void test_receive_without_merging(void **state)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;
	uint32_t id, len;

	card_new(&f, &c);
	card_start(&f, ALL(&f) & ~NET_F_MRG_RXBUF);
	offer(&f, 0, 0, 1526);
	wire_send(f.wire[0], 0x33, 1515);
	wire_send(f.wire[0], 0x44, 1514);
	spin(&f);
	/* The first does not fit and is lost. */
	assert_true(fake_used(&f.q[0], &id, &len));
	assert_int_equal(len, 1526);
	assert_int_equal(f.ram[CARD_RX_DATA + NET_HEADER_LEN], 0x44);
	assert_false(fake_used(&f.q[0], &id, &len));
	card_fini(&f);
}

/* Until the socket takes no more, and then all of it; each frame carries its number. How many were sent. */
static unsigned fill_and_empty_the_wire(struct fake_card *f)
{
	unsigned sent = 0, got = 0;
	uint32_t id, len;

	for (bool room = true; room; sent++) {
		transmit(f, 0, 0, (uint8_t)sent, 3000);
		virtio_device_kick(f->dev, 1);
		room = fake_used(&f->q[1], &id, &len);
		assert_true(sent < 10000);
	}
	while (got < sent) {
		if (wire_receive(f->wire[0], (uint8_t)got) == 3000)
			got++;
		else
			spin(f);
	}
	assert_true(fake_used(&f->q[1], &id, &len));
	assert_int_equal(wire_receive(f->wire[0], 0), 0);
	return sent;
}

static void test_the_wire_is_full(void **state)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	fill_and_empty_the_wire(&f);
	card_fini(&f);
}

/* The wire takes only a part of the last frame that there is: the rest follows without another kick. */
static void test_the_last_frame_does_not_wait_for_another(void **state)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;
	unsigned sent;
	uint32_t id, len;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	/* How many are needed to fill it; the last one was not taken. */
	sent = fill_and_empty_the_wire(&f);
	for (unsigned i = 1; i < sent; i++) {
		transmit(&f, 0, 0, (uint8_t)i, 3000);
		virtio_device_kick(f.dev, 1);
		assert_true(fake_used(&f.q[1], &id, &len));
	}
	for (unsigned i = 1; i < sent; i++) {
		assert_int_equal(wire_receive(f.wire[0], (uint8_t)i), 3000);
		spin(&f);
	}
	card_fini(&f);
}

static void test_the_wire_is_cut(void **state)
{
	struct net_config c = { .n_pairs = 1, .has_mac = true, .mac = { 2, 0, 0, 0, 0, 7 }, .mtu = 1400 };
	struct fake_card f;
	uint8_t config[12];
	uint32_t id, len;

	card_new(&f, &c);
	f.dev->ops->config_read(f.dev, 0, config, sizeof config);
	assert_memory_equal(config, "\2\0\0\0\0\7\1\0\1\0\x78\5", 12);
	assert_true(ALL(&f) & NET_F_MTU && ALL(&f) & NET_F_MAC);
	card_start(&f, ALL(&f));
	close(f.wire[0]);
	f.wire[0] = -1;
	spin(&f);
	assert_int_equal(f.config_signals, 1);
	f.dev->ops->config_read(f.dev, 6, config, 2);
	assert_memory_equal(config, "\0\0", 2);
	/* The guest goes on without harm. */
	transmit(&f, 0, 0, 1, 60);
	virtio_device_kick(f.dev, 1);
	assert_true(fake_used(&f.q[1], &id, &len));
	assert_false(f.dev->broken);
	card_fini(&f);
}

static void test_garbage_on_the_wire(void **state)
{
	static const uint32_t lengths[] = { 0, 0xffffffff, 65535 + 18 + 1 };

	for (size_t i = 0; i < 3; i++) {
		struct net_config c = { .n_pairs = 1 };
		uint32_t prefix = htonl(lengths[i]);
		struct fake_card f;

		card_new(&f, &c);
		card_start(&f, ALL(&f));
		assert_int_equal(send(f.wire[0], &prefix, 4, 0), 4);
		spin(&f);
		assert_int_equal(f.config_signals, 1);
		card_fini(&f);
	}
}

static void test_rate_limit_of_what_is_sent(void **state)
{
	struct net_config c = { .n_pairs = 1, .tx.ops = { .size = 1, .refill_ms = 3600000 } };
	static const struct rate_config none;
	struct fake_card f;
	uint32_t id, len;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	transmit(&f, 0, 0, 1, 60);
	transmit(&f, 0, 1, 2, 60);
	virtio_device_kick(f.dev, 1);
	assert_int_equal(wire_receive(f.wire[0], 1), 60);
	assert_int_equal(wire_receive(f.wire[0], 2), 0);
	assert_true(fake_used(&f.q[1], &id, &len));
	assert_false(fake_used(&f.q[1], &id, &len));
	assert_int_equal(counted(f.dev, "tx_packets_count"), 1);
	assert_int_equal(counted(f.dev, "tx_rate_limiter_throttled"), 1);
	net_set_rates(f.dev, NULL, &none);
	spin(&f);
	assert_int_equal(wire_receive(f.wire[0], 2), 60);
	assert_int_equal(counted(f.dev, "tx_bytes_count"), 2 * 60);
	assert_int_equal(counted(f.dev, "tx_rate_limiter_event_count"), 1);
	card_fini(&f);
}

static void test_rate_limit_of_what_comes(void **state)
{
	struct net_config c = { .n_pairs = 1, .rx.bytes = { .size = 80, .refill_ms = 3600000 } };
	static const struct rate_config none;
	struct fake_card f;
	uint32_t id, len;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	for (uint16_t i = 0; i < 4; i++)
		offer(&f, 0, i, 2000);
	wire_send(f.wire[0], 1, 60);
	wire_send(f.wire[0], 2, 60);
	spin(&f);
	assert_true(fake_used(&f.q[0], &id, &len));
	assert_false(fake_used(&f.q[0], &id, &len));
	assert_int_equal(counted(f.dev, "rx_packets_count"), 1);
	assert_true(counted(f.dev, "rx_rate_limiter_throttled") >= 1);
	net_set_rates(f.dev, &none, NULL);
	spin(&f);
	assert_int_equal(counted(f.dev, "rx_packets_count"), 2);
	assert_int_equal(counted(f.dev, "rx_bytes_count"), 2 * 60);
	assert_true(fake_used(&f.q[0], &id, &len));
	assert_int_equal(f.ram[CARD_RX_DATA + 4096 + NET_HEADER_LEN], 2);
	card_fini(&f);
}

/* class, command, pairs → the answer. */
static uint8_t control(struct fake_card *f, unsigned queue, uint8_t class, uint8_t command, uint16_t pairs)
{
	uint8_t request[4] = { class, command, (uint8_t)pairs, (uint8_t)(pairs >> 8) };
	uint32_t id, len;

	memcpy(f->ram + CARD_TX_DATA, request, 4);
	f->ram[CARD_TX_DATA + 4] = 0xff;
	fake_desc(&f->q[queue], 0, CARD_TX_DATA, 2, FAKE_NEXT, 1);
	fake_desc(&f->q[queue], 1, CARD_TX_DATA + 2, 2, FAKE_NEXT, 2);
	fake_desc(&f->q[queue], 2, CARD_TX_DATA + 4, 1, FAKE_WRITE, 0);
	fake_submit(&f->q[queue], 0);
	virtio_device_kick(f->dev, queue);
	assert_true(fake_used(&f->q[queue], &id, &len));
	assert_int_equal(len, 1);
	return f->ram[CARD_TX_DATA + 4];
}

static void test_two_pairs(void **state)
{
	struct net_config c = { .n_pairs = 2 };
	struct fake_card f;
	uint8_t config[2];
	uint32_t id, len;

	card_new(&f, &c);
	assert_int_equal(f.dev->n_queues, 5);
	f.dev->ops->config_read(f.dev, 8, config, 2);
	assert_int_equal(config[0], 2);
	card_start(&f, ALL(&f));
	/* One pair is in use until the driver says otherwise. */
	offer(&f, 1, 0, 2000);
	virtio_device_kick(f.dev, 2);
	wire_send(f.wire[1], 5, 60);
	spin(&f);
	assert_false(fake_used(&f.q[2], &id, &len));
	/* What comes for the other one is not lost. */
	offer(&f, 0, 1, 2000);
	virtio_device_kick(f.dev, 0);
	assert_true(fake_used(&f.q[0], &id, &len));
	assert_int_equal(f.ram[CARD_RX_DATA + 4096 + NET_HEADER_LEN], 5);
	wire_send(f.wire[1], 7, 60);
	assert_int_equal(control(&f, 4, 4, 0, 0), 1);
	assert_int_equal(control(&f, 4, 4, 0, 3), 1);
	assert_int_equal(control(&f, 4, 4, 1, 2), 1);
	assert_int_equal(control(&f, 4, 0, 0, 2), 1);
	assert_int_equal(control(&f, 4, 4, 0, 2), 0);
	spin(&f);
	assert_true(fake_used(&f.q[2], &id, &len));
	transmit(&f, 1, 0, 6, 60);
	virtio_device_kick(f.dev, 3);
	assert_int_equal(wire_receive(f.wire[1], 6), 60);
	/* A driver without MQ finds the control queue in the second pair's place, and no command works. */
	virtio_device_reset(f.dev);
	card_start(&f, ALL(&f) & ~NET_F_MQ);
	offer(&f, 0, 0, 2000);
	virtio_device_kick(f.dev, 0);
	wire_send(f.wire[1], 8, 60);
	spin(&f);
	assert_true(fake_used(&f.q[0], &id, &len));
	assert_int_equal(control(&f, 2, 4, 0, 2), 1);
	card_fini(&f);
}

static void test_pause(void **state)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;
	uint32_t id, len;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	offer(&f, 0, 0, 2000);
	virtio_device_kick(f.dev, 0);
	virtio_device_quiesce(f.dev);
	for (unsigned i = 0; i < 2; i++)
		virtq_stop(&f.dev->queues[i]);
	wire_send(f.wire[0], 9, 60);
	spin(&f);
	assert_false(fake_used(&f.q[0], &id, &len));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(virtio_device_start_queue(f.dev, i), 0);
		virtio_device_kick(f.dev, i);
	}
	assert_true(fake_used(&f.q[0], &id, &len));
	card_fini(&f);
}

static void test_a_driver_that_breaks_the_rules(void **state)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;

	card_new(&f, &c);
	card_start(&f, ALL(&f));
	/* A receive buffer that cannot be written, then one without room for the header. */
	fake_desc(&f.q[0], 0, CARD_RX_DATA, 2000, 0, 0);
	fake_submit(&f.q[0], 0);
	wire_send(f.wire[0], 1, 60);
	spin(&f);
	assert_int_equal(f.needs_reset, 1);
	assert_true(f.dev->broken);
	/* A broken device sleeps although frames come. */
	wire_send(f.wire[0], 1, 60);
	assert_int_equal(loop_run_once(f.loop, 0), 0);
	virtio_device_reset(f.dev);
	card_start(&f, ALL(&f));
	offer(&f, 0, 0, 11);
	virtio_device_kick(f.dev, 0);
	spin(&f);
	assert_int_equal(f.needs_reset, 2);
	card_fini(&f);
}

static void test_mac_addresses(void **state)
{
	static const char *const bad[] = { "",
					   "02:00:00:00:00",
					   "02:00:00:00:00:0g",
					   "02-00-00-00-00-01",
					   "02:00:00:00:00:01:",
					   "03:00:00:00:00:01",
					   "+2:00:00:00:00:01" };
	uint8_t mac[6];

	assert_int_equal(net_parse_mac("02:aB:00:00:10:01", mac), 0);
	assert_memory_equal(mac, "\x02\xab\0\0\x10\1", 6);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(net_parse_mac(bad[i], mac), -EINVAL);
}

/* In a network namespace of its own: exit status 0, 77 where that may not be made, else which step failed. */
static int tap_child(void)
{
	struct ifreq ifr = { .ifr_name = "tapt", .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct net_backend *b[1];
	uint8_t frame[NET_FRAME_MAX] = { 0 };
	struct iovec iov = { frame, NET_HEADER_LEN + 60 };
	int tun, s, r = 0;

	if (unshare(CLONE_NEWNET) < 0 || (tun = open("/dev/net/tun", O_RDWR)) < 0)
		return 77;
	if (net_tap_open("tapt", 1, b, NULL) != -ENODEV)
		return 1;
	if (ioctl(tun, TUNSETIFF, &ifr) < 0 || ioctl(tun, TUNSETPERSIST, 1) < 0)
		return 77;
	close(tun);
	s = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	if (s < 0 || net_tap_open("tapt", 1, b, NULL) < 0)
		return 2;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
		return 3;
	b[0]->ops->set_features(b[0], b[0]->features);
	/* Broadcast, of a type that nobody else uses. */
	memset(frame + NET_HEADER_LEN, 0xff, 6);
	frame[NET_HEADER_LEN + 6] = 2;
	frame[NET_HEADER_LEN + 12] = 0x88;
	frame[NET_HEADER_LEN + 13] = 0xb5;
	if (b[0]->ops->send(b[0], &iov, 1, iov.iov_len) < 0)
		return 4;
	do
		r = (int)recv(s, frame, 2000, 0);
	while (r > 0 && (frame[12] != 0x88 || frame[13] != 0xb5));
	if (r != 60)
		return 5;
	/* What the kernel itself says when a link comes up (IPv6) arrives here with a header in front. */
	for (ssize_t n = -EAGAIN, tries = 0; n < NET_HEADER_LEN + 14; tries++) {
		n = b[0]->ops->receive(b[0], frame);
		if (n == -EAGAIN && tries == 500)
			return 6;
		usleep(10000);
	}
	net_backend_free(b[0]);
	return 0;
}

static void test_a_real_tap(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(tap_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transmit),
		cmocka_unit_test(test_receive_into_merged_buffers),
		cmocka_unit_test(test_receive_without_merging),
		cmocka_unit_test(test_the_wire_is_full),
		cmocka_unit_test(test_the_last_frame_does_not_wait_for_another),
		cmocka_unit_test(test_the_wire_is_cut),
		cmocka_unit_test(test_garbage_on_the_wire),
		cmocka_unit_test(test_rate_limit_of_what_is_sent),
		cmocka_unit_test(test_rate_limit_of_what_comes),
		cmocka_unit_test(test_two_pairs),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_a_driver_that_breaks_the_rules),
		cmocka_unit_test(test_mac_addresses),
		cmocka_unit_test(test_a_real_tap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
