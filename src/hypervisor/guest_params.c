/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/guest_params.h"

#include <errno.h>

static int add_list(struct strv *p, const char *const *list, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = strv_add(p, list[i]);
	return r;
}

/*
 * Debian's cloud kernel to its init, q35 under TCG, best of 3 on the same machine: 2.1 s without these, 1.8 s with
 * tsc=reliable no_timer_check cryptomgr.notests, 1.7 s with noreplace-smp. reboot=t: a triple fault, which ends a VMM
 * at once on every machine.
 */
int guest_params_x86(struct strv *p)
{
	static const char *const x86[] = { "tsc=reliable", "no_timer_check", "noreplace-smp", "reboot=t" };

	return add_list(p, x86, sizeof x86 / sizeof *x86);
}

/* A kernel that has the driver built in would begin with an interface "dummy0", and containers see it. */
int guest_params_any(struct strv *p)
{
	static const char *const all[] = { "cryptomgr.notests", "dummy.numdummies=0", "rcupdate.rcu_expedited=1",
					   "panic=-1" };

	return add_list(p, all, sizeof all / sizeof *all);
}

int guest_params_manner(const struct config_hypervisor *hv, struct strv *p)
{
	int r = strv_add(p, hv->disable_guest_selinux ? "selinux=0" : "selinux=1");

	return r == 0 ? strv_add(p, hv->enable_debug ? "debug" : "quiet") : r;
}

int guest_params_join(const struct strv *p, size_t reserve, struct buf *ret, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < p->len && r == 0; i++)
		r = buf_printf(ret, "%s%s", i ? " " : "", p->v[i]);
	if (r < 0)
		return err_sys(e, -r, "kernel command line");
	/* COMMAND_LINE_SIZE of Linux is 2048 on x86 and arm64; what is behind it is lost without a word. */
	if (ret->len + reserve >= 2048)
		return err_set(e, ERR_CONFIG, E2BIG,
			       "the kernel command line has %zu bytes and the kernel takes 2047: shorten kernel_params",
			       ret->len + reserve);
	return 0;
}
