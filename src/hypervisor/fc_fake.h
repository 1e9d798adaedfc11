/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A double of Firecracker for tests: the test program itself, started by the driver. It answers every request as a
 * Firecracker would that likes it, and misbehaves at the one that the environment names:
 *
 *   CAISSON_FAKE_FIRECRACKER=BEHAVIOUR:N    N: number of the request, from 1; 0: before it listens
 *
 * It knows nothing of requests and their fields: that is what the golden transcripts and the real ones are for.
 */
#pragma once

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/http.h"

#define FAKE_VARIABLE "CAISSON_FAKE_FIRECRACKER"

static void fake_say(int fd, const char *text)
{
	(void)!write(fd, text, strlen(text));
}

static void fake_answer(int fd, const char *status, const char *body)
{
	char text[256];

	snprintf(text, sizeof text, "HTTP/1.1 %s \r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
	fake_say(fd, text);
}

static void fake_misbehave(const char *behaviour, int fd)
{
	char zeros[4096] = { 0 };

	if (str_eq(behaviour, "hang"))
		for (;;)
			pause();
	if (str_eq(behaviour, "die")) {
		fprintf(stderr, "the double dies\n");
		_exit(7);
	}
	if (str_eq(behaviour, "seccomp"))
		_exit(148);
	if (str_eq(behaviour, "end"))
		_exit(0);
	if (str_eq(behaviour, "garbage"))
		fake_say(fd, "%%%%\r\n\r\n");
	if (str_eq(behaviour, "refuse"))
		fake_answer(fd, "400", "{\"fault_message\":\"not willing\"}");
	if (str_eq(behaviour, "cut"))
		fake_say(fd, "HTTP/1.1 200 \r\nContent-Length: 99\r\n\r\n{");
	if (str_eq(behaviour, "old"))
		fake_answer(fd, "200", "{\"firecracker_version\":\"1.11.0\"}");
	if (str_eq(behaviour, "gibibyte")) {
		fake_say(fd, "HTTP/1.1 200 \r\nContent-Length: 1073741824\r\n\r\n");
		while (write(fd, zeros, sizeof zeros) > 0) {
		}
	}
}

/* One connection; the number of the next request. */
static void fake_serve(int fd, const char *behaviour, unsigned at, unsigned *n)
{
	const struct http_message *m;
	bool old = str_eq(behaviour, "1.15"); /* well-behaved */
	struct http_parser p;
	char data[4096];
	ssize_t k;

	http_parser_init(&p, HTTP_REQUEST, HTTP_LINE_MAX, 1 << 20);
	while ((k = read(fd, data, sizeof data)) > 0) {
		(void)http_parser_feed(&p, data, (size_t)k);
		while (http_parser_next(&p, &m, NULL) == 1) {
			if (++*n == at && !old) {
				fake_misbehave(behaviour, fd);
				goto closed;
			}
			if (str_eq(m->target, "/version"))
				fake_answer(fd, "200",
					    old ? "{\"firecracker_version\":\"1.15.2\"}"
						: "{\"firecracker_version\":\"1.16.0\"}");
			else
				fake_say(fd, "HTTP/1.1 204 \r\nConnection: keep-alive\r\n\r\n");
			if (strstr(m->body, "InstanceStart"))
				fake_say(STDOUT_FILENO, "hello from the double's guest\n");
		}
	}
closed:
	http_parser_fini(&p);
}

static int fake_main(int argc, char **argv)
{
	char behaviour[32] = "";
	unsigned at = 0, n = 0;
	int listener;

	sscanf(getenv(FAKE_VARIABLE), "%31[^:]:%u", behaviour, &at);
	signal(SIGPIPE, SIG_IGN);
	if (at == 0)
		fake_misbehave(behaviour, -1);
	for (int i = 1; i + 1 < argc; i++)
		if (str_eq(argv[i], "--api-sock") && unix_listen(argv[i + 1], 0600, &listener, NULL) == 0) {
			fd_set_nonblock(listener, false);
			for (;;) {
				int fd = accept(listener, NULL, NULL);

				fake_serve(fd, behaviour, at, &n);
				close(fd);
			}
		}
	return 2;
}
