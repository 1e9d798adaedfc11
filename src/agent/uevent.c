// SPDX-License-Identifier: Apache-2.0
#include "agent/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/strv.h"

#define UEVENT_MAX 4096 /* the kernel's buffer is 2 KiB (UEVENT_BUFFER_SIZE) plus the header */

struct uevent_monitor {
	int fd;
	struct loop_source *source;
	uevent_fn fn;
	void *userdata;
};

int uevent_parse(const char *datagram, size_t n, struct uevent *ret)
{
	struct uevent ev = { "", "", "", "", "" };
	const char *end = datagram + n;

	if (n == 0 || end[-1] != '\0' || !strchr(datagram, '@'))
		return -EBADMSG;
	for (const char *p = datagram + strlen(datagram) + 1; p < end; p += strlen(p) + 1) {
		const char *v;

		if ((v = str_after(p, "ACTION=")))
			ev.action = v;
		else if ((v = str_after(p, "DEVPATH=")))
			ev.devpath = v;
		else if ((v = str_after(p, "SUBSYSTEM=")))
			ev.subsystem = v;
		else if ((v = str_after(p, "DEVNAME=")))
			ev.devname = v;
		else if ((v = str_after(p, "MODALIAS=")))
			ev.modalias = v;
	}
	if (!*ev.action || *ev.devpath != '/')
		return -EBADMSG;
	*ret = ev;
	return 0;
}

static void on_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct uevent_monitor *m = userdata;
	char datagram[UEVENT_MAX];
	struct uevent ev;

	(void)s;
	(void)revents;
	/* A bounded number per round: a storm of events must not starve the requests. */
	for (int i = 0; i < 64; i++) {
		struct sockaddr_nl from = { 0 };
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(fd, datagram, sizeof datagram, MSG_DONTWAIT, (struct sockaddr *)&from, &len);

		if (n < 0) {
			if (errno == ENOBUFS) /* some were lost: tell that something happened */
				m->fn(&(struct uevent){ "change", "/", "", "", "" }, m->userdata);
			else if (errno != EAGAIN && errno != EINTR)
				log_warn("cannot read device events: %s", strerror(errno));
			return;
		}
		/* Only the kernel (port 0) may speak here. */
		if (from.nl_pid == 0 && uevent_parse(datagram, (size_t)n, &ev) == 0)
			m->fn(&ev, m->userdata);
	}
}

int uevent_monitor_new(struct loop *loop, uevent_fn fn, void *userdata, struct uevent_monitor **ret, struct err *e)
{
	struct sockaddr_nl group = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	struct uevent_monitor *m;
	int size = 1 << 20, r;

	if (fd < 0 || bind(fd, (struct sockaddr *)&group, sizeof group) < 0)
		return err_sys(e, errno, "cannot listen to device events");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	m = calloc(1, sizeof *m);
	if (!m)
		return err_sys(e, ENOMEM, "cannot listen to device events");
	m->fn = fn;
	m->userdata = userdata;
	r = loop_add_io(loop, fd, EPOLLIN, on_readable, m, &m->source);
	if (r < 0) {
		free(m);
		return err_sys(e, -r, "cannot listen to device events");
	}
	m->fd = take_fd(&fd);
	*ret = m;
	return 0;
}

void uevent_monitor_free(struct uevent_monitor *m)
{
	if (!m)
		return;
	loop_source_free(m->source);
	fd_close(&m->fd);
	free(m);
}
