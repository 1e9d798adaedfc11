/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/vm_console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/strv.h"
#include "hypervisor/console.h"

#define CONSOLE_LOG_MAX (1u << 20)

int vm_open_console(struct vm *vm, struct loop *loop, int *ret_write_end, struct err *e)
{
	const struct vm_config *c = vm->config;
	_cleanup_free_ char *log = c->console_log ? str_printf("%s/console.log", c->run_dir) : NULL;
	int p[2], r;

	if (c->console_log && !log)
		return err_sys(e, ENOMEM, "console");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe for the console");
	r = console_new(loop, p[0], log, CONSOLE_LOG_MAX, "guest: ", &vm->console, e);
	if (r < 0) {
		close(p[1]);
		return r;
	}
	fcntl(p[1], F_SETPIPE_SZ, 256 << 10); /* a boot's worth, so that nothing waits while we wait for the VMM */
	*ret_write_end = p[1];
	return 0;
}
