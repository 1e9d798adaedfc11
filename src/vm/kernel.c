/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a VM starts from, handed to the architecture's loader. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "boot/boot.h"
#include "vm/machine.h"

static int open_file(const char *path, const char *what, int *ret, struct err *e)
{
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, errno, "cannot open the %s %s", what, path) : 0;
}

int machine_load_kernel(struct vmm *vm, boot_loader *load, const struct boot_config *place, struct boot_entry *ret,
			struct err *e)
{
	_cleanup_close_ int kernel = -1, initrd = -1;
	struct boot_ram ram[RAM_MAX];
	struct boot_config c = *place;
	int r;

	if (!vm->config.kernel)
		return err_set(e, ERR_CONFIG, EINVAL, "a virtual machine needs a kernel to start");
	c.kernel_path = vm->config.kernel;
	c.initrd_path = vm->config.initrd;
	c.cmdline = vm->config.cmdline;
	c.ram = ram;
	c.n_ram = machine_boot_ram(vm, ram);
	r = open_file(c.kernel_path, "kernel", &kernel, e);
	if (r == 0 && c.initrd_path)
		r = open_file(c.initrd_path, "initrd", &initrd, e);
	if (r < 0)
		return r;
	c.kernel_fd = kernel;
	c.initrd_fd = initrd;
	return load(vm->mem, &c, ret, e);
}

size_t machine_boot_ram(const struct vmm *vm, struct boot_ram *ret)
{
	size_t n = 0;

	for (unsigned i = 0; i < vm->memory.n; i++)
		if (!vm->memory.ram[i].block)
			ret[n++] = (struct boot_ram){ vm->memory.ram[i].gpa, vm->memory.ram[i].size };
	return n;
}
