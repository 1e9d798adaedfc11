/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/fd.h"

int inherit_taps(struct inherit *in, struct vm_device *d, int **ret_theirs, struct err *e)
{
	size_t n = d->kind == VM_DEVICE_NET ? d->u.net.n_tap_fds : 0, first = in->n;
	int *all;

	*ret_theirs = d->kind == VM_DEVICE_NET ? d->u.net.tap_fds : NULL;
	if (!n)
		return 0;
	all = realloc(in->fds, (in->n + n) * sizeof *all);
	if (!all)
		return err_sys(e, ENOMEM, "network device %s", d->id);
	in->fds = all;
	for (size_t i = 0; i < n; i++) {
		int fd = fcntl(d->u.net.tap_fds[i], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return err_sys(e, errno, "network device %s", d->id);
		in->fds[in->n++] = fd;
	}
	d->u.net.tap_fds = in->fds + first;
	return 0;
}

int *inherit_keep(const struct inherit *in, const int *own, size_t n, size_t *ret_n)
{
	int *keep = calloc(in->n + n, sizeof *keep);
	size_t k = 0;

	for (size_t i = 0; keep && i < n; i++)
		if (own[i] >= 0)
			keep[k++] = own[i];
	for (size_t i = 0; keep && i < in->n; i++)
		keep[k++] = in->fds[i];
	*ret_n = k;
	return keep;
}

void inherit_fini(struct inherit *in)
{
	for (size_t i = 0; i < in->n; i++)
		fd_close(&in->fds[i]);
	free(in->fds);
	*in = (struct inherit){ 0 };
}
