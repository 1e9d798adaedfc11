/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's side of tests/vsock/run: PID 1 behind the initramfs script, static. Each port is a small service, named
 * by what it does with a connection. The pattern of byte i is (i * 7 + (i >> 8)) & 0xff, so that a lost, doubled or
 * moved block shows.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

enum {
	PORT_ECHO = 5000,    /* echo until the client stops sending, then end */
	PORT_SINK = 5001,    /* read all, then answer "COUNT MISMATCHES\n": needs half close */
	PORT_SOURCE = 5002,  /* read "COUNT\n", send that many bytes of the pattern */
	PORT_CLOSE = 5003,   /* close at once */
	PORT_HOLD = 5004,    /* accept and never read: the client fills the credit and blocks */
	PORT_DIAL = 5005,    /* read "PORT\n", connect to the host there, send 1 MiB, answer with the echo's verdict */
	PORT_SHUT_RD = 5006, /* shutdown(RCV), send "bye", close: the client's writes fail, its reads do not */
};

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

static void echo(int fd)
{
	static const size_t size = 65536;
	char *buf = malloc(size);
	ssize_t n;

	while ((n = read(fd, buf, size)) > 0)
		for (ssize_t at = 0, w; at < n; at += w)
			if ((w = write(fd, buf + at, (size_t)(n - at))) <= 0)
				goto out;
out:
	free(buf);
}

static void sink(int fd)
{
	static const size_t size = 65536;
	uint8_t *buf = malloc(size);
	uint64_t total = 0, bad = 0;
	ssize_t n;

	while ((n = read(fd, buf, size)) > 0)
		for (ssize_t i = 0; i < n; i++)
			bad += buf[i] != pattern(total++);
	dprintf(fd, "%llu %llu\n", (unsigned long long)total, (unsigned long long)bad);
	free(buf);
}

static uint64_t number(int fd)
{
	char line[32];
	size_t n = 0;

	while (n < sizeof line - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = 0;
	return strtoull(line, NULL, 10);
}

static int send_pattern(int fd, uint64_t count)
{
	static const size_t size = 65536;
	uint8_t *buf = malloc(size);
	uint64_t at = 0;

	while (at < count) {
		size_t n = count - at < size ? (size_t)(count - at) : size;
		ssize_t w;

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(at + i);
		w = write(fd, buf, n);
		if (w <= 0)
			break;
		at += (uint64_t)w;
	}
	free(buf);
	return at == count ? 0 : -1;
}

static void dial(int fd)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST };
	int s = socket(AF_VSOCK, SOCK_STREAM, 0);
	char line[64];
	ssize_t n;

	sa.svm_port = (unsigned)number(fd);
	if (connect(s, (struct sockaddr *)&sa, sizeof sa) < 0) {
		dprintf(fd, "connect: %s\n", strerror(errno));
	} else {
		send_pattern(s, 1 << 20);
		shutdown(s, SHUT_WR);
		n = read(s, line, sizeof line);
		if (n > 0 && write(fd, line, (size_t)n) < 0)
			perror("write");
	}
	close(s);
}

static void *serve(void *arg)
{
	int fd = (int)((intptr_t)arg & 0xffff), port = (int)((intptr_t)arg >> 16);

	if (port == PORT_ECHO)
		echo(fd);
	else if (port == PORT_SINK)
		sink(fd);
	else if (port == PORT_SOURCE)
		send_pattern(fd, number(fd));
	else if (port == PORT_DIAL)
		dial(fd);
	else if (port == PORT_HOLD)
		for (;;)
			pause();
	else if (port == PORT_SHUT_RD) {
		shutdown(fd, SHUT_RD);
		dprintf(fd, "bye");
	}
	close(fd);
	return NULL;
}

static int listen_at(int port)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = (unsigned)port };
	int l = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (bind(l, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(l, 1024) < 0) {
		perror("vsock listen");
		exit(1);
	}
	return l;
}

static _Noreturn void *listener(void *arg)
{
	int l = (int)((intptr_t)arg & 0xffff);

	for (;;) {
		pthread_t t;
		int fd = accept(l, NULL, NULL);

		if (fd < 0)
			continue;
		pthread_create(&t, NULL, serve, (void *)(((intptr_t)arg & ~(intptr_t)0xffff) | fd));
		pthread_detach(t);
	}
}

int main(void)
{
	pthread_t t;

	/* PORT_ECHO last: it is what the host waits for. */
	for (int port = PORT_SHUT_RD; port >= PORT_ECHO; port--)
		pthread_create(&t, NULL, listener, (void *)((intptr_t)port << 16 | listen_at(port)));
	for (;;)
		pause();
}
