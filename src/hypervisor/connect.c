/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to vsock ports of a guest.
 *
 * "hvsock:PATH" is the hybrid protocol that Firecracker introduced: connect to the Unix socket, send "CONNECT PORT\n",
 * and the answer "OK LOCALPORT\n" means that the guest accepted. A close instead of an answer means that nobody listens
 * yet. The answer is read byte by byte, because what follows it belongs to the connection. "vsock:CID" is AF_VSOCK.
 *
 * Early attempts fail for as long as the guest boots, so they are repeated.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h> /* wants struct sockaddr */
#include <unistd.h>

#include "base/fd.h"
#include "hypervisor/console.h"
#include "hypervisor/driver.h"

/*
 * Between attempts: the start of a container is late by half of it in the mean. One attempt costs the host some 50 µs
 * and, once its driver is up, an emulated guest as much.
 */
#define RETRY_MS 5

bool vm_wait_exit(const struct vm *vm, int timeout_ms)
{
	struct pollfd p = { .fd = vm->exit_fd, .events = POLLIN };

	return vm->exit_fd >= 0 && poll(&p, 1, timeout_ms) > 0;
}

/* Wait for fd, or for the end of the VM. 0, -ETIMEDOUT, -EOWNERDEAD (the VM ended), -ECANCELED (the owner is asked to).
 */
static int wait_for(struct vm *vm, int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd p[3] = { { .fd = fd, .events = events },
				       { .fd = vm ? vm->exit_fd : -1, .events = POLLIN },
				       { .fd = vm ? vm->interrupt_fd : -1, .events = POLLIN } };
		uint64_t now = clock_ms(), left = deadline_ms > now ? deadline_ms - now : 0;
		int r;

		/* The loop is not running now; a console that nobody empties loses its newest lines. */
		if (vm)
			console_drain(vm->console);
		r = poll(p, 3, left > 50 ? 50 : (int)left);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			return -EOWNERDEAD;
		if (p[2].revents)
			return -ECANCELED;
		if (p[0].revents)
			return 0;
		if (clock_ms() >= deadline_ms)
			return -ETIMEDOUT;
	}
}

/* poll(2) ignores negative descriptors: this is a sleep that the end of the VM cuts short. */
static int pause_ms(struct vm *vm, uint64_t ms, uint64_t deadline_ms)
{
	uint64_t until = clock_ms() + ms;
	int r = wait_for(vm, -1, 0, until < deadline_ms ? until : deadline_ms);

	return r == -ETIMEDOUT && clock_ms() < deadline_ms ? 0 : r;
}

static int read_answer(struct vm *vm, int fd, uint64_t deadline_ms)
{
	char line[32];
	size_t n = 0;

	for (;;) {
		ssize_t k = recv(fd, line + n, 1, MSG_DONTWAIT);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN) {
			int r = wait_for(vm, fd, POLLIN, deadline_ms);

			if (r < 0)
				return r;
			continue;
		}
		if (k < 0)
			return errno == ECONNRESET ? -ECONNREFUSED : -errno;
		if (k == 0)
			return n ? -EPROTO : -ECONNREFUSED;
		if (line[n] == '\n')
			break;
		if (++n == sizeof line)
			return -EPROTO;
	}
	return n >= 4 && !memcmp(line, "OK ", 3) ? 0 : -EPROTO;
}

static int try_hybrid(struct vm *vm, const char *path, uint32_t port, uint64_t deadline_ms, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char request[32];
	int n, r;

	strcpy(a.sun_path, path); /* the caller checked the length */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return -errno;
	n = snprintf(request, sizeof request, "CONNECT %u\n", port);
	/* A fresh socket's buffer always holds the few bytes. */
	if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		return errno == EPIPE || errno == ECONNRESET ? -ECONNREFUSED : -errno;
	r = read_answer(vm, fd, deadline_ms);
	if (r < 0)
		return r;
	fd_set_nonblock(fd, false);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int try_vsock(struct vm *vm, uint32_t cid, uint32_t port, uint64_t deadline_ms, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
	int r;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		r = wait_for(vm, fd, POLLOUT, deadline_ms);
		if (r < 0)
			return r;
		r = fd_connect_result(fd);
		/* AF_VSOCK itself gives up after 2 s without an answer, which a booting guest may well take. */
		if (r < 0)
			return r == -ETIMEDOUT ? -EAGAIN : r;
	}
	fd_set_nonblock(fd, false);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* What a guest that is still booting looks like. */
static bool is_early(int r)
{
	return r == -ECONNREFUSED || r == -ENOENT || r == -EAGAIN || r == -ECONNRESET || r == -ENODEV ||
	       r == -EHOSTUNREACH;
}

static int connect_until(struct vm *vm, const char *address, uint32_t port, uint64_t deadline_ms, int *ret_fd,
			 struct err *e)
{
	const char *path = str_after(address, "hvsock:"), *cid_text = str_after(address, "vsock:");
	uint64_t cid = 0;
	int r, last = -ETIMEDOUT;

	if (path && strlen(path) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG, "%s: the path of a Unix socket has at most 107 bytes",
			       path);
	if (!path && (!cid_text || str_to_u64(cid_text, 10, &cid) < 0 || cid < 3 || cid > UINT32_MAX))
		return err_set(e, ERR_CONFIG, EINVAL, "\"%s\" is not the address of a guest", address);
	for (;;) {
		/* A guest that answers at once must not hide that all is to end. */
		r = vm ? wait_for(vm, -1, 0, 0) : 0;
		if (r == 0 || r == -ETIMEDOUT)
			r = path ? try_hybrid(vm, path, port, deadline_ms, ret_fd)
				 : try_vsock(vm, (uint32_t)cid, port, deadline_ms, ret_fd);
		if (r == 0)
			return 0;
		if (is_early(r)) {
			last = r;
			r = pause_ms(vm, RETRY_MS, deadline_ms);
		}
		if (r == -EOWNERDEAD)
			return vm_explain_exit(vm, e);
		if (r == -ECANCELED)
			return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while the guest was starting");
		if (r == -ETIMEDOUT)
			return err_set(e, ERR_GUEST, ETIMEDOUT, "nothing in the guest answers on vsock port %u (%s)",
				       port,
				       last == -ETIMEDOUT || last == -EAGAIN ? "no reply in time" : strerror(-last));
		if (r < 0)
			return err_sys(e, -r, "cannot connect to vsock port %u of the guest at %s", port, address);
	}
}

int vm_connect(struct vm *vm, uint32_t port, uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	char lines[512];
	int r = connect_until(vm, vm->agent_address, port, deadline_ms, ret_fd, e);

	if (r == -ETIMEDOUT && vm->console) {
		console_last_lines(vm->console, 4, lines, sizeof lines);
		if (lines[0])
			err_append(e, "; last console lines: %s", lines);
	}
	return r;
}

int vm_connect_address(const char *address, uint32_t port, uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	return connect_until(NULL, address, port, deadline_ms, ret_fd, e);
}
