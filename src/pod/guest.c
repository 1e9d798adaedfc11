/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/guest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strv.h"

/* The tuned kernels first (they need no modules), then the distribution's: the ELF starts without unpacking itself. */
static const struct {
	const char *name;
	bool tuned, elf;
} kernels[] = {
	{ "vmlinux-tuned", true, true }, { "bzImage-tuned", true, false }, { "Image-tuned", true, false },
	{ "vmlinux", false, true },      { "vmlinuz", false, false },
};

static bool find_in(const char *dir, bool no_elf, char **ret_kernel, char **ret_initrd)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
		bool tuned = kernels[i].tuned;

		snprintf(path, sizeof path, "%s/%s", dir, kernels[i].name);
		if ((kernels[i].elf && no_elf) || access(path, R_OK) < 0)
			continue;
		*ret_kernel = strdup(path);
		*ret_initrd = str_printf("%s/%s", dir, tuned ? "initramfs-tuned.img" : "initramfs.img");
		if (*ret_initrd && tuned && access(*ret_initrd, R_OK) < 0) {
			/* Without modules there is nothing that differs: one initramfs serves both kernels. */
			free(*ret_initrd);
			*ret_initrd = str_printf("%s/initramfs.img", dir);
		}
		return true;
	}
	return false;
}

/* The folder that is `up` levels above the running program's file. */
static int above_program(int up, char *ret, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	for (; up >= 0; up--) {
		char *slash = strrchr(ret, '/');

		if (!slash)
			return -ENOENT;
		*slash = '\0';
	}
	return 0;
}

int guest_find(bool no_elf, char **ret_kernel, char **ret_initrd, struct err *e)
{
	const char *named = getenv("CAISSON_GUEST_DIR");
	char base[PATH_MAX], dir[PATH_MAX + 64];
	struct utsname host;

	if (!str_empty(named)) {
		if (find_in(named, no_elf, ret_kernel, ret_initrd))
			goto found;
		return err_set(e, ERR_CONFIG, ENOENT, "CAISSON_GUEST_DIR=%s holds no kernel (vmlinux-tuned or vmlinuz)",
			       named);
	}
	uname(&host);
	/* BUILD/src/cli/caisson → the source tree; PREFIX/bin/caisson → the prefix. */
	if (above_program(3, base, sizeof base) == 0) {
		snprintf(dir, sizeof dir, "%s/.cache/guest/%s", base, host.machine);
		if (find_in(dir, no_elf, ret_kernel, ret_initrd))
			goto found;
	}
	if (above_program(1, base, sizeof base) == 0) {
		snprintf(dir, sizeof dir, "%s/share/caisson/guest/%s", base, host.machine);
		if (find_in(dir, no_elf, ret_kernel, ret_initrd))
			goto found;
	}
	snprintf(dir, sizeof dir, "/usr/share/caisson/guest/%s", host.machine);
	if (find_in(dir, no_elf, ret_kernel, ret_initrd))
		goto found;
	return err_set(e, ERR_CONFIG, ENOENT,
		       "no guest kernel: none is configured and none was built; run \"make guest\" in the source tree, "
		       "or name one with --kernel and --initrd");
found:
	if (!*ret_kernel || !*ret_initrd)
		return err_sys(e, ENOMEM, "cannot name the guest kernel");
	return 0;
}

int guest_find_modules(const char *kernel, char **ret)
{
	const char *slash = strrchr(kernel, '/'), *name = slash ? slash + 1 : kernel;
	_cleanup_free_ char *dir = str_printf("%.*smodules", (int)(name - kernel), kernel);
	struct stat st;

	*ret = NULL;
	if (!dir)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
		if (kernels[i].tuned && str_eq(kernels[i].name, name))
			return 0;
	if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
		*ret = take_ptr(dir);
	return 0;
}
