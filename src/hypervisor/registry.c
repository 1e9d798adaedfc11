/* SPDX-License-Identifier: Apache-2.0 */
/* Which drivers there are, and whether this host's KVM can serve them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "hypervisor/builtin.h"
#include "hypervisor/clh.h"
#include "hypervisor/console.h"
#include "hypervisor/driver.h"
#include "hypervisor/fc.h"
#include "hypervisor/qemu.h"
#include "hypervisor/stratovirt.h"

/* In order of preference. */
static const struct hypervisor_driver *const drivers[] = { &builtin_driver, &clh_driver,        &firecracker_driver,
							   &qemu_driver,    &stratovirt_driver, NULL };

const struct hypervisor_driver *const *hypervisor_list(void)
{
	return drivers;
}

const struct hypervisor_driver *hypervisor_find(const char *name)
{
	for (size_t i = 0; drivers[i]; i++) {
		if (str_eq(drivers[i]->name, name))
			return drivers[i];
		for (size_t k = 0; drivers[i]->aliases && drivers[i]->aliases[k]; k++)
			if (str_eq(drivers[i]->aliases[k], name))
				return drivers[i];
	}
	return NULL;
}

const struct hypervisor_driver *hypervisor_default(void)
{
	bool kvm = hypervisor_kvm_usable(NULL, 0);
	size_t i = 0;

	while (drivers[i + 1] && drivers[i]->needs_kvm && !kvm)
		i++;
	return drivers[i];
}

/*
 * /dev/kvm alone is not enough on x86: a paging-based KVM (pvm) opens too, but interprets kernel code and stops at the
 * first instruction it does not know. Ordinary guests need the CPU's own virtualisation.
 */
static bool cpu_virtualises(void)
{
#ifdef __x86_64__
	_cleanup_free_ char *info = NULL;
	char *flags, *end, *save = NULL;

	if (file_read("/proc/cpuinfo", 1 << 22, &info, NULL) < 0)
		return false;
	flags = strstr(info, "\nflags");
	if (!flags)
		return false;
	end = strchr(flags + 1, '\n');
	if (end)
		*end = 0;
	for (char *f = strtok_r(flags, " \t:", &save); f; f = strtok_r(NULL, " \t:", &save))
		if (str_eq(f, "vmx") || str_eq(f, "svm"))
			return true;
	return false;
#else
	return true;
#endif
}

bool hypervisor_kvm_usable(char *why, size_t size)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (size)
		why[0] = 0;
	if (fd < 0) {
		if (errno == ENOENT)
			snprintf(why, size,
				 "there is no /dev/kvm: load kvm_intel or kvm_amd, or enable virtualisation");
		else if (errno == EACCES || errno == EPERM)
			snprintf(why, size, "/dev/kvm may not be opened by this user: join the group kvm");
		else
			snprintf(why, size, "/dev/kvm cannot be opened: %s", strerror(errno));
		return false;
	}
	if (!cpu_virtualises()) {
		snprintf(why, size,
			 "/dev/kvm is there, but the CPU offers no vmx or svm: this KVM cannot run ordinary guests");
		return false;
	}
	return true;
}

void vm_device_free(struct vm_device *device)
{
	if (!device)
		return;
	free(device->id);
	switch (device->kind) {
	case VM_DEVICE_BLOCK:
		free(device->u.block.path);
		free(device->u.block.serial);
		break;
	case VM_DEVICE_NET:
		free(device->u.net.mode);
		free(device->u.net.tap);
		for (size_t i = 0; i < device->u.net.n_tap_fds; i++)
			fd_close(&device->u.net.tap_fds[i]);
		free(device->u.net.tap_fds);
		free(device->u.net.socket);
		strv_fini(&device->u.net.publish);
		break;
	case VM_DEVICE_FS:
	case VM_DEVICE_9P:
		free(device->u.fs.tag);
		free(device->u.fs.socket);
		free(device->u.fs.path);
		break;
	case VM_DEVICE_VFIO:
		free(device->u.vfio.path);
		break;
	}
	free(device);
}

int vm_explain_exit(struct vm *vm, struct err *e)
{
	char lines[512];
	int r = vm->driver->explain_exit(vm, e);

	console_drain(vm->console);
	console_last_lines(vm->console, 4, lines, sizeof lines);
	if (lines[0])
		err_append(e, "; last console lines: %s", lines);
	return r;
}
