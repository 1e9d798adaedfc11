/* SPDX-License-Identifier: Apache-2.0 */
/* See filter.h. */
#include "sys/filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

int filter_load(const void *program, size_t size, unsigned flags, struct err *e)
{
	struct sock_fprog prog = {
		.len = (unsigned short)(size / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)program,
	};

	if (size / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return err_set(e, ERR_CONFIG, E2BIG, "the seccomp filter has more than %d instructions", BPF_MAXINSNS);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog) < 0
		       ? err_sys(e, errno, "load the seccomp filter")
		       : 0;
}
