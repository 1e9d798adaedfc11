/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/resolv_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"

#define FILE_MAX (64u << 10)

/* Keywords stand at the beginning of a line, as for the libraries that read it. */
static bool is_loopback_server(const char *line, size_t len, struct in_addr *ret)
{
	const char *at = str_after(line, "nameserver"), *end = line + len;
	char address[INET_ADDRSTRLEN];
	struct in_addr a;
	size_t n;

	if (!at || at >= end || (*at != ' ' && *at != '\t'))
		return false;
	at += strspn(at, " \t");
	n = at < end ? strcspn(at, " \t\r\n") : 0;
	if (n == 0 || n >= sizeof address)
		return false;
	memcpy(address, at, n);
	address[n] = '\0';
	if (inet_pton(AF_INET, address, &a) != 1 || ntohl(a.s_addr) >> 24 != IN_LOOPBACKNET ||
	    ntohl(a.s_addr) == INADDR_LOOPBACK)
		return false;
	*ret = a;
	return true;
}

bool resolv_conf_loopback(const char *text, struct in_addr *ret)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		if (is_loopback_server(text, n, ret))
			return true;
		text += n;
		text += *text == '\n';
	}
	return false;
}

/* What else there may be is not opened: with a device that can have effects. */
int resolv_conf_read(const char *path, struct in_addr *ret)
{
	_cleanup_close_ int there = open(path, O_PATH | O_CLOEXEC), fd = -1;
	_cleanup_free_ char *text = NULL;
	char name[32];
	struct stat st;
	int r;

	if (there < 0 || fstat(there, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	snprintf(name, sizeof name, "/proc/self/fd/%d", there);
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = fd_read_all(fd, FILE_MAX, &text, NULL);
	return r < 0 ? r : resolv_conf_loopback(text, ret);
}
