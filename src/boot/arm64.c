/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_load_arm64(): the Image format of Linux (Documentation/arch/arm64/booting.rst), which has a header of 64 bytes
 * and is loaded as it is. The device tree is written later, by boot/fdt: here its place is only kept free.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/load.h"
#include "guestmem/le.h"

#define MIB         UINT64_C(0x100000)
#define GIB         UINT64_C(0x40000000)
#define BASE_ALIGN  (2 * MIB)
#define CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE; a longer one would be cut without a word */
/* Kernel and initrd within a window of this size that begins at a multiple of 1 GiB. */
#define INITRD_WINDOW (32 * GIB)

struct image_header {
	le32 code0, code1;
	le64 text_offset, image_size, flags, reserved[3];
	uint8_t magic[4];
	le32 pe_offset;
};

_Static_assert(sizeof(struct image_header) == 64, "booting.rst");

enum { FLAG_BIG_ENDIAN = 0x01 };

/* Why a file is no kernel for this machine, for those that people do hand over. */
static int refuse(const uint8_t *head, struct err *e)
{
	if (!memcmp(head, "MZ", 2) && !memcmp(head + 4, "zimg", 4))
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"it is a compressed EFI image (vmlinuz.efi), which only firmware can start; use the Image of "
			"the kernel build");
	if (head[0] == 0x1f && head[1] == 0x8b)
		return err_set(e, ERR_CONFIG, EINVAL, "it is compressed by gzip (Image.gz); unpack it with gunzip");
	if (!memcmp(head,
		    "\x7f"
		    "ELF",
		    4))
		return err_set(e, ERR_CONFIG, EINVAL, "an ELF file; arm64 kernels are started by their Image");
	return err_set(e, ERR_CONFIG, EINVAL, "not an arm64 Image");
}

static int check_header(const struct image_header *h, struct err *e)
{
	if (memcmp(h->magic, "ARM\x64", sizeof h->magic))
		return refuse((const uint8_t *)h, e);
	/* Before Linux 3.17 the header had neither; how much memory the kernel needs could only be guessed. */
	if (!le64_get(h->image_size))
		return err_set(e, ERR_CONFIG, EINVAL, "it does not say its size: older than Linux 3.17");
	if (le64_get(h->flags) & FLAG_BIG_ENDIAN)
		return err_set(e, ERR_CONFIG, EINVAL, "it is a big-endian kernel");
	if (le64_get(h->text_offset) >= BASE_ALIGN)
		return err_set(e, ERR_CONFIG, EINVAL, "its offset 0x%" PRIx64 " is beyond 2 MiB",
			       le64_get(h->text_offset));
	return 0;
}

/*
 * Kernels since 4.6 run from anywhere, older ones lose the memory below them: as low as possible suits both. The first
 * place at a multiple of 2 MiB that the device tree leaves free.
 */
static int place(const struct boot_config *c, const struct image_header *h, uint64_t size, gpa_t *ret, struct err *e)
{
	uint64_t base = c->n_ram ? boot_align_up(c->ram[0].base, BASE_ALIGN) : 0,
		 start = base + le64_get(h->text_offset);
	uint64_t end;

	if (__builtin_add_overflow(start, size, &end))
		end = UINT64_MAX;
	if (start < c->fdt + c->fdt_size && c->fdt < end) {
		base = boot_align_up(c->fdt + c->fdt_size, BASE_ALIGN);
		start = base + le64_get(h->text_offset);
	}
	if (!boot_ram_find(c, start, size))
		return err_set(e, ERR_CONFIG, EFBIG,
			       "it needs %" PRIu64 " MiB of memory from 0x%" PRIx64
			       ", which is not all there; give the guest more memory",
			       size / MIB + 1, start);
	*ret = start;
	return 0;
}

static int load_kernel(struct guestmem *mem, const struct boot_config *c, gpa_t *start, gpa_t *end, struct err *e)
{
	struct image_header h = { 0 };
	struct boot_file f;
	uint64_t size;
	int r = boot_file_init(&f, c->kernel_fd, e);

	f.constant = c->kernel_constant;
	if (r == 0)
		r = boot_file_read(&f, 0, &h, f.size < sizeof h ? f.size : sizeof h, e);
	if (r == 0)
		r = check_header(&h, e);
	if (r < 0)
		return r;
	/* image_size counts what the kernel clears for itself behind the file's end. */
	size = le64_get(h.image_size) > f.size ? le64_get(h.image_size) : f.size;
	r = place(c, &h, size, start, e);
	if (r == 0)
		r = boot_file_load(&f, 0, mem, *start, f.size, true, e);
	*end = *start + size;
	return r;
}

int boot_load_arm64(struct guestmem *mem, const struct boot_config *c, struct boot_entry *ret, struct err *e)
{
	struct boot_entry entry = { .protocol = BOOT_ARM64, .arg = c->fdt };
	gpa_t start = 0, end = 0, high;
	const struct boot_ram *ram;
	int r = load_kernel(mem, c, &start, &end, e);

	if (r < 0) {
		err_wrap(e, "kernel %s", c->kernel_path);
		return r;
	}
	r = boot_check_cmdline(c, CMDLINE_MAX, e);
	if (r < 0)
		return r;
	ram = boot_ram_find(c, start, end - start);
	high = ram->base + ram->size;
	if (high - (start & ~(GIB - 1)) > INITRD_WINDOW)
		high = (start & ~(GIB - 1)) + INITRD_WINDOW;
	/* A device tree above the kernel ends the free memory. */
	if (c->fdt >= end && c->fdt < high)
		high = c->fdt;
	r = boot_load_initrd(mem, c, end, high, &entry, e);
	if (r < 0)
		return r;
	entry.pc = start;
	entry.kernel = start;
	entry.kernel_size = end - start;
	*ret = entry;
	return 0;
}
