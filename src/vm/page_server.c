/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of a restored VM that another process fills page by page when it is first touched, by userfaultfd(2). The
 * handshake is Firecracker's: we connect to the server's Unix socket and send one message, an array of the regions as
 * JSON, with the userfaultfd attached; nothing else is ever said. The server answers faults by UFFDIO_COPY, and pages
 * that we gave back (UFFD_EVENT_REMOVE) with zeroes.
 *
 * The server is trusted with the guest's memory. When it goes, whoever touches a page that is missing waits for ever:
 * our copy of the descriptor keeps the kernel from handing out zeroes instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "vm/machine.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xaa, 0x00)
#endif

#define REGION_TEXT 256

/* Faults inside the kernel included: KVM and system calls touch guest memory. */
static int open_uffd(void)
{
	int flags = O_CLOEXEC | O_NONBLOCK, fd = (int)syscall(SYS_userfaultfd, flags);
	_cleanup_close_ int device = -1;

	if (fd >= 0 || errno != EPERM)
		return fd;
	/* Unprivileged, but perhaps given the device (Linux 6.1). */
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0) {
		errno = EPERM;
		return -1;
	}
	return ioctl(device, USERFAULTFD_IOC_NEW, (unsigned long)flags);
}

static int register_memory(const struct memory *m, struct err *e)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE };

	if (ioctl(m->uffd, UFFDIO_API, &api) < 0)
		return err_sys(e, errno, "this kernel's userfaultfd is too old");
	for (unsigned i = 0; i < m->n; i++) {
		struct uffdio_register reg = { .range = { (uintptr_t)m->ram[i].host, m->ram[i].size },
					       .mode = UFFDIO_REGISTER_MODE_MISSING };

		if (ioctl(m->uffd, UFFDIO_REGISTER, &reg) < 0)
			return err_sys(e, errno, "userfaultfd does not take the guest's memory");
	}
	return 0;
}

static size_t describe(const struct memory *m, uint64_t page, char *buf, size_t size)
{
	size_t len = 0;

	for (unsigned i = 0; i < m->n; i++)
		len += (size_t)snprintf(
			buf + len, size - len,
			"%s{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu,\"page_size\":%llu,"
			"\"page_size_kib\":%llu}",
			i ? "," : "[", (unsigned long long)(uintptr_t)m->ram[i].host,
			(unsigned long long)m->ram[i].size, (unsigned long long)memory_file_offset(m, i),
			/* The latter is in bytes too: an error that became the interface. */
			(unsigned long long)page, (unsigned long long)page);
	return len + (size_t)snprintf(buf + len, size - len, "]");
}

static int send_regions(int fd, const char *text, size_t len, int uffd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof uffd);
	memcpy(CMSG_DATA(c), &uffd, sizeof uffd);
	/* This short, into an empty buffer, it goes whole. */
	n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	return n < 0 ? -errno : n == (ssize_t)len ? 0 : -EIO;
}

int page_server_connect(struct vmm *vm, const char *socket, struct err *e)
{
	struct memory *m = &vm->memory;
	char text[RAM_MAX * REGION_TEXT + 2];
	_cleanup_close_ int fd = -1;
	int r;

	m->uffd = open_uffd();
	if (m->uffd < 0) {
		r = err_sys(e, errno, "cannot make a userfaultfd");
		err_append(e, ": it needs CAP_SYS_PTRACE, access to /dev/userfaultfd, or the sysctl "
			      "vm.unprivileged_userfaultfd");
		return r;
	}
	r = register_memory(m, e);
	if (r < 0)
		return r;
	r = unix_connect(socket, &fd);
	if (r == 0)
		r = send_regions(
			fd, text,
			describe(m, vm->config.hugepages ? MEMORY_LARGE_PAGE : memory_page(), text, sizeof text),
			m->uffd);
	return r < 0 ? err_sys(e, -r, "cannot hand guest memory to the page server at %s", socket) : 0;
}
