/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

const char *os_error(int code, char text[OS_ERROR_MAX])
{
	snprintf(text, OS_ERROR_MAX, "%s (os error %d)", strerror(code), code);
	return text;
}

int probe_file(const char *path, int flags)
{
	/* A FIFO or a device must not make us wait. */
	_cleanup_close_ int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : 0;
}

int probe_tap(const char *name, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	char text[OS_ERROR_MAX];

	if (strlen(name) >= sizeof ifr.ifr_name)
		return err_set(e, ERR_CONFIG, EINVAL, "Invalid interface name");
	strcpy(ifr.ifr_name, name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "Couldn't open /dev/net/tun: %s", os_error(errno, text));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_set(e, ERR_SYSTEM, errno,
			       "Error while creating ifreq structure: %s. Invalid TUN/TAP Backend provided by %s. "
			       "Check our documentation on setting up the network devices.",
			       os_error(errno, text), name);
	return 0;
}
