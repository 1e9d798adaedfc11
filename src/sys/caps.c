/* SPDX-License-Identifier: Apache-2.0 */
/* See caps.h. */
#include "sys/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"

/* linux/capability.h, in the order of the numbers. */
static const char *const names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};
#define N_NAMES ((int)(sizeof(names) / sizeof(names[0])))

_Static_assert(sizeof(names) / sizeof(names[0]) == 41, "CAP_CHECKPOINT_RESTORE is 40");

int cap_by_name(const char *name)
{
	for (int i = 0; i < N_NAMES; i++)
		if (!strcasecmp(name, names[i]) || !strcasecmp(name, names[i] + 4))
			return i;
	return -EINVAL;
}

const char *cap_name(int cap)
{
	return cap >= 0 && cap < N_NAMES ? names[cap] : NULL;
}

int cap_last(void)
{
	int cap = CAP_LAST_CAP;

	/* EINVAL above the last one: numbered without gaps. The headers may be older or newer than the kernel. */
	while (cap > 0 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0)
		cap--;
	while (cap < 63 && prctl(PR_CAPBSET_READ, cap + 1, 0, 0, 0) >= 0)
		cap++;
	return cap;
}

static uint64_t known(void)
{
	int last = cap_last();

	return last >= 63 ? UINT64_MAX : CAP_BIT(last + 1) - 1;
}

int caps_limit_bounding(uint64_t bounding, struct err *e)
{
	int last = cap_last();

	for (int i = 0; i <= last; i++)
		if (!(bounding & CAP_BIT(i)) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return err_sys(e, errno, "drop %s from the bounding set",
				       cap_name(i) ? cap_name(i) : "capability");
	return 0;
}

int caps_keep(bool keep, struct err *e)
{
	return prctl(PR_SET_KEEPCAPS, keep, 0, 0, 0) < 0 ? err_sys(e, errno, "keep capabilities over setuid") : 0;
}

int caps_apply(const struct caps *caps, struct err *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	uint64_t mask = known();
	uint64_t permitted = caps->permitted & mask, inheritable = caps->inheritable & mask;
	/* capset(2): effective ⊆ permitted; what the spec asks beyond that cannot be had. */
	uint64_t effective = caps->effective & permitted;
	int last = cap_last();

	for (int i = 0; i < 2; i++) {
		data[i].permitted = (uint32_t)(permitted >> (32 * i));
		data[i].effective = (uint32_t)(effective >> (32 * i));
		data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(e, errno, "set capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return err_sys(e, errno, "clear ambient capabilities");
	for (int i = 0; i <= last; i++)
		/* capabilities(7): only what is permitted and inheritable can be ambient; runc skips the rest too. */
		if ((caps->ambient & permitted & inheritable & CAP_BIT(i)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
			return err_sys(e, errno, "raise ambient %s", cap_name(i) ? cap_name(i) : "capability");
	return 0;
}
