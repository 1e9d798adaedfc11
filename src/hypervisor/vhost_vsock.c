/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/vhost_vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/fd.h"

int vhost_vsock_claim(struct vm *vm, int *ret_fd, uint32_t *ret_cid, struct err *e)
{
	_cleanup_close_ int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open /dev/vhost-vsock");
	for (unsigned i = 0; i < 50; i++) {
		uint32_t x;
		uint64_t cid;

		if (getrandom(&x, sizeof x, 0) != sizeof x)
			return err_sys(e, errno, "cannot choose a vsock CID");
		cid = 3 + x % (UINT32_MAX - 4u);
		if (ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) == 0) {
			*ret_cid = (uint32_t)cid;
			*ret_fd = take_fd(&fd);
			snprintf(vm->agent_address, sizeof vm->agent_address, "vsock:%u", *ret_cid);
			return 0;
		}
		if (errno != EADDRINUSE)
			return err_sys(e, errno, "cannot claim a vsock CID");
	}
	return err_set(e, ERR_SYSTEM, EADDRINUSE, "no free vsock CID was found");
}
