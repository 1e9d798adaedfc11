/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest of tests/bench/vmm does with its disk and its networks. Prints one line of figures.
 *
 *   guest-traffic disk DEVICE   "guest: disk R W SR SW": operations per second at random, 4 KiB each, read and written;
 *                               MiB/s read and written in order, 1 MiB each. Past the guest's page cache, one at a
 * time. guest-traffic net ADDRESS   "guest: net O I T": MiB/s to the host, from it; round trip of one byte in
 * microseconds. guest-traffic vsock         "guest: vsock O I T": the same.
 *
 * The host's end (traffic.py) listens on PORT, and the first byte of a connection says what it is for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <time.h>
#include <unistd.h>

#define PORT        5000
#define RANDOM_OPS  500
#define RANDOM_SIZE 4096
#define BULK        (1 << 20)
#define STREAM      (16ULL << 20)
#define ROUND_TRIPS 200

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- disk ---- */

struct disk {
	int fd;
	uint64_t size;
	char *buffer;
};

/* Seconds that ops transfers of size bytes took, in order or all over the disk. */
static double transfer(const struct disk *d, bool write, bool in_order, size_t size, uint64_t ops)
{
	uint64_t blocks = d->size / size, state = 88172645463325252ULL;
	double begin = seconds();

	for (uint64_t i = 0; i < ops; i++) {
		uint64_t block = in_order ? i % blocks : state % blocks;
		ssize_t n = write ? pwrite(d->fd, d->buffer, size, (off_t)(block * size))
				  : pread(d->fd, d->buffer, size, (off_t)(block * size));

		if (n != (ssize_t)size)
			err(1, "block %llu", (unsigned long long)block);
		state ^= state << 13; /* xorshift64 */
		state ^= state >> 7;
		state ^= state << 17;
	}
	if (write && fdatasync(d->fd) < 0)
		err(1, "flush");
	return seconds() - begin;
}

static void measure_disk(const char *path)
{
	struct disk d = { .fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC), .buffer = aligned_alloc(4096, BULK) };
	double sequential_write, sequential_read, random_read, random_write;

	off_t size = lseek(d.fd, 0, SEEK_END);

	if (size < BULK || !d.buffer)
		err(1, "%s", path);
	d.size = (uint64_t)size;
	memset(d.buffer, 0x5a, BULK);
	sequential_write = transfer(&d, true, true, BULK, d.size / BULK);
	sequential_read = transfer(&d, false, true, BULK, d.size / BULK);
	random_read = transfer(&d, false, false, RANDOM_SIZE, RANDOM_OPS);
	random_write = transfer(&d, true, false, RANDOM_SIZE, RANDOM_OPS);
	printf("guest: disk %.0f %.0f %.0f %.0f\n", RANDOM_OPS / random_read, RANDOM_OPS / random_write,
	       (double)(d.size >> 20) / sequential_read, (double)(d.size >> 20) / sequential_write);
}

/* ---- streams ---- */

struct peer {
	const char *address; /* NULL: the host by vsock */
};

/* A connection for one purpose. */
static int connection(const struct peer *p, char purpose)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr_vm vm = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = PORT };
	int fd = socket(p->address ? AF_INET : AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	int r;

	if (fd < 0)
		err(1, "socket");
	if (p->address) {
		inet_pton(AF_INET, p->address, &in.sin_addr);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		r = connect(fd, (struct sockaddr *)&in, sizeof in);
	} else {
		r = connect(fd, (struct sockaddr *)&vm, sizeof vm);
	}
	if (r < 0 || write(fd, &purpose, 1) != 1)
		err(1, "connect");
	return fd;
}

static double stream_out(const struct peer *p, char *buffer)
{
	int fd = connection(p, 'o');
	double begin = seconds();

	for (uint64_t sent = 0; sent < STREAM;) {
		ssize_t n = write(fd, buffer, STREAM - sent < BULK ? STREAM - sent : BULK);

		if (n <= 0)
			err(1, "send");
		sent += (uint64_t)n;
	}
	if (read(fd, buffer, 1) != 1)
		err(1, "the host's answer");
	close(fd);
	return seconds() - begin;
}

static double stream_in(const struct peer *p, char *buffer)
{
	int fd = connection(p, 'i');
	double begin = seconds();
	uint64_t got = 0;
	ssize_t n;

	while ((n = read(fd, buffer, BULK)) > 0)
		got += (uint64_t)n;
	if (n < 0 || got != STREAM)
		errx(1, "%llu bytes of %llu came", (unsigned long long)got, (unsigned long long)STREAM);
	close(fd);
	return seconds() - begin;
}

static double round_trips(const struct peer *p)
{
	int fd = connection(p, 'r');
	double begin = seconds();
	char byte = 0;

	for (int i = 0; i < ROUND_TRIPS; i++)
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			err(1, "round trip");
	close(fd);
	return seconds() - begin;
}

static void measure_streams(const char *name, const struct peer *p)
{
	char *buffer = calloc(1, BULK);
	double out, in, trips;

	if (!buffer)
		err(1, "memory");
	out = stream_out(p, buffer);
	in = stream_in(p, buffer);
	trips = round_trips(p);
	printf("guest: %s %.0f %.0f %.0f\n", name, (double)(STREAM >> 20) / out, (double)(STREAM >> 20) / in,
	       trips / ROUND_TRIPS * 1e6);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "disk") == 0)
		measure_disk(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "net") == 0)
		measure_streams("net", &(struct peer){ .address = argv[2] });
	else if (argc == 2 && strcmp(argv[1], "vsock") == 0)
		measure_streams("vsock", &(struct peer){ 0 });
	else
		errx(2, "usage: guest-traffic disk DEVICE | net ADDRESS | vsock");
	return 0;
}
