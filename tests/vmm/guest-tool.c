/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test guest does that a shell cannot: put into the initramfs by make-initramfs.
 *
 *   guest-tool verify DEVICE MIB   write each block of so much of the disk in random order, then read all in another
 *                                  one; a block holds its own number. Two threads, blocks of 4 and of 64 KiB.
 *   guest-tool flush DEVICE        for ever: write a record to the next of SLOTS blocks, flush, say "guest: flushed N"
 *                                  (each 16th), so that record N and all before it must survive whatever comes
 *   guest-tool use MIB             touch so much memory, look whether it is still what it was, and end
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS     128
#define SLOT_SIZE 4096

struct half {
	int fd;
	uint64_t begin, blocks; /* in bytes; of size */
	size_t size;
	uint64_t bad;
	pthread_t thread;
};

static void fill(uint64_t *block, size_t size, uint64_t number)
{
	for (size_t i = 0; i < size / 8; i++)
		block[i] = number * 0x9e3779b97f4a7c15ULL + i;
}

/* Each number below n once, as step and n have no common divisor: n is a power of two. */
static uint64_t shuffled(uint64_t i, uint64_t n, uint64_t step)
{
	return i * (step | 1) % n;
}

static void *verify_half(void *arg)
{
	struct half *h = arg;
	uint64_t *block = aligned_alloc(4096, h->size), *want = malloc(h->size);

	for (uint64_t i = 0; i < h->blocks; i++) {
		uint64_t at = h->begin + shuffled(i, h->blocks, 0x5851f42d) * h->size;

		fill(block, h->size, at);
		h->bad += pwrite(h->fd, block, h->size, (off_t)at) != (ssize_t)h->size;
		if (i % 64 == 0)
			h->bad += fdatasync(h->fd) != 0;
	}
	for (uint64_t i = 0; i < h->blocks; i++) {
		uint64_t at = h->begin + shuffled(i, h->blocks, 0x2545f491) * h->size;

		fill(want, h->size, at);
		memset(block, 0, h->size);
		h->bad += pread(h->fd, block, h->size, (off_t)at) != (ssize_t)h->size ||
			  memcmp(block, want, h->size) != 0;
	}
	return NULL;
}

static int verify(const char *device, uint64_t size)
{
	int fd = open(device, O_RDWR | O_DIRECT);
	struct half h[2] = { { .fd = fd, .size = 4096, .begin = 0 }, { .fd = fd, .size = 65536, .begin = size / 2 } };

	for (int i = 0; i < 2; i++) {
		h[i].blocks = size / 2 / h[i].size;
		pthread_create(&h[i].thread, NULL, verify_half, &h[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(h[i].thread, NULL);
	printf("guest: verified %llu blocks, %llu bad\n", (unsigned long long)(h[0].blocks + h[1].blocks),
	       (unsigned long long)(h[0].bad + h[1].bad));
	return h[0].bad + h[1].bad != 0;
}

static int flush(const char *device)
{
	int fd = open(device, O_RDWR | O_DIRECT);
	uint64_t *block = aligned_alloc(4096, SLOT_SIZE);

	for (uint64_t n = 1;; n++) {
		for (size_t i = 0; i < SLOT_SIZE / 8; i++)
			block[i] = n;
		if (pwrite(fd, block, SLOT_SIZE, (off_t)(n % SLOTS * SLOT_SIZE)) != SLOT_SIZE || fdatasync(fd) < 0) {
			perror("guest: flush");
			return 1;
		}
		if (n % 16 == 0)
			printf("guest: flushed %llu\n", (unsigned long long)n);
	}
}

static int use(size_t size)
{
	uint64_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), bad = 0;

	if (p == MAP_FAILED) {
		perror("guest: use");
		return 1;
	}
	for (size_t i = 0; i < size / 8; i += 512)
		p[i] = i;
	for (size_t i = 0; i < size / 8; i += 512)
		bad += p[i] != i;
	printf("guest: used %zu MiB, %llu bad\n", size >> 20, (unsigned long long)bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "verify"))
		return verify(argv[2], strtoull(argv[3], NULL, 10) << 20);
	if (argc == 3 && !strcmp(argv[1], "flush"))
		return flush(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "use"))
		return use(strtoull(argv[2], NULL, 10) << 20);
	fprintf(stderr, "usage: guest-tool verify DEVICE MIB | flush DEVICE | use MIB\n");
	return 2;
}
