/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_load_x86(): kernel, initrd, and the structures that the kernel finds at its start, in this order, so that each
 * knows where the one before it ended up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "boot/layout_x86.h"
#include "boot/x86.h"

int x86_check_kernel_range(const struct boot_config *c, gpa_t start, gpa_t end, struct err *e)
{
	if (start >= X86_HIGH_RAM && start < end && end <= X86_4GIB && boot_ram_find(c, start, end - start))
		return 0;
	return err_set(e, ERR_CONFIG, EFBIG,
		       "it needs memory from 0x%" PRIx64 " to 0x%" PRIx64
		       ", which is not all there; give the guest more memory",
		       start, end);
}

/* Why a file is no kernel for this machine, for those that people do hand over. */
static int refuse(const uint8_t *head, size_t len, struct err *e)
{
	if (len >= 0x3c && !memcmp(head + 0x38, "ARM\x64", 4))
		return err_set(e, ERR_CONFIG, EINVAL, "it is a kernel for arm64");
	if (len >= 2 && head[0] == 0x1f && head[1] == 0x8b)
		return err_set(e, ERR_CONFIG, EINVAL, "it is compressed by gzip; unpack it");
	return err_set(e, ERR_CONFIG, EINVAL, "neither a bzImage nor an ELF kernel");
}

static int load_kernel(struct guestmem *mem, const struct boot_config *c, struct x86_kernel *k, struct err *e)
{
	uint8_t head[0x206];
	struct boot_file f;
	size_t len;
	int r = boot_file_init(&f, c->kernel_fd, e);

	if (r < 0)
		return r;
	f.constant = c->kernel_constant;
	len = f.size < sizeof head ? f.size : sizeof head;
	r = boot_file_read(&f, 0, head, len, e);
	if (r < 0)
		return r;
	if (bzimage_probe(head, len))
		return bzimage_load(mem, c, &f, k, e);
	if (elf_probe(head, len))
		return elf_load(mem, c, &f, k, e);
	return refuse(head, len, e);
}

int boot_load_x86(struct guestmem *mem, const struct boot_config *c, struct boot_entry *ret, struct err *e)
{
	struct boot_entry entry = { 0 };
	struct x86_kernel k = { 0 };
	const struct boot_ram *ram;
	uint64_t high;
	int r = load_kernel(mem, c, &k, e);

	if (r < 0) {
		err_wrap(e, "kernel %s", c->kernel_path);
		return r;
	}
	r = boot_check_cmdline(c, k.cmdline_max < X86_CMDLINE_MAX ? k.cmdline_max : X86_CMDLINE_MAX - 1, e);
	if (r < 0)
		return r;
	/* Above the kernel in the same piece of RAM: what is there is certainly free, and the kernel maps it early. */
	ram = boot_ram_find(c, k.start, k.end - k.start);
	high = ram->base + ram->size;
	if (high > (uint64_t)k.initrd_max + 1)
		high = (uint64_t)k.initrd_max + 1;
	r = boot_load_initrd(mem, c, k.end, high, &entry, e);
	if (r < 0)
		return r;
	entry.protocol = k.protocol;
	entry.pc = k.pc;
	entry.kernel = k.start;
	entry.kernel_size = k.end - k.start;
	r = x86_write_start(mem, c, &k, &entry, e);
	if (r == 0)
		*ret = entry;
	return r;
}
