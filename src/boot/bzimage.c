/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzImage by its 64-bit entry (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" and "64-bit Boot
 * Protocol"). The real-mode part stays in the file, but for the setup header; the rest is loaded to where the kernel
 * wants to run.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "boot/x86.h"
#include "guestmem/le.h"

#define MAGIC            "HdrS"
#define MAGIC_AT         0x202
#define VERSION_MIN      0x20c /* brought xloadflags */
#define XLF_KERNEL_64    0x0001
#define ENTRY_64         0x200 /* from the load address */
#define SECTOR           512
#define PARAGRAPH        16
#define SETUP_SECTS_ZERO 4 /* what setup_sects 0 means */

/* struct setup_header, offset 0x1f1 of the file. */
struct setup_header {
	uint8_t setup_sects;
	le16 root_flags;
	le32 syssize; /* of the protected-mode part, in paragraphs */
	le16 ram_size, vid_mode, root_dev, boot_flag;
	uint8_t jump, jump_distance; /* the header ends 0x202 + jump_distance */
	uint8_t header[4];
	le16 version;
	le32 realmode_swtch;
	le16 start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	le16 setup_move_size;
	le32 code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	le16 heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	le32 cmd_line_ptr, initrd_addr_max, kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	le16 xloadflags;
	le32 cmdline_size, hardware_subarch;
	le64 hardware_subarch_data;
	le32 payload_offset, payload_length;
	le64 setup_data, pref_address;
	le32 init_size;
} __attribute__((packed));

_Static_assert(sizeof(struct setup_header) == 0x264 - X86_SETUP_HEADER, "setup_header");

bool bzimage_probe(const uint8_t *head, size_t len)
{
	return len >= MAGIC_AT + 4 && !memcmp(head + MAGIC_AT, MAGIC, 4);
}

static size_t header_len(const struct setup_header *h)
{
	return (size_t)MAGIC_AT + h->jump_distance - X86_SETUP_HEADER;
}

static int check_header(const struct setup_header *h, struct err *e)
{
	uint32_t align = le32_get(h->kernel_alignment);

	if (le16_get(h->version) < VERSION_MIN)
		return err_set(e, ERR_CONFIG, EINVAL, "boot protocol %u.%02u is too old, 2.12 is needed",
			       le16_get(h->version) >> 8, le16_get(h->version) & 0xff);
	if (header_len(h) < sizeof *h)
		return err_set(e, ERR_CONFIG, EINVAL, "its setup header is too short");
	if (!(le16_get(h->xloadflags) & XLF_KERNEL_64))
		return err_set(e, ERR_CONFIG, EINVAL, "it has no 64-bit entry: not a kernel for x86_64");
	if (!align || (align & (align - 1)))
		return err_set(e, ERR_CONFIG, EINVAL, "its alignment 0x%x is not a power of two", align);
	return 0;
}

/*
 * Where the kernel runs: the preferred address, aligned if the kernel can be moved (boot.rst, init_size). Loaded there,
 * it does not have to move itself.
 */
static uint64_t runtime_start(const struct setup_header *h)
{
	uint64_t start = le64_get(h->pref_address);

	return h->relocatable_kernel ? boot_align_up(start, le32_get(h->kernel_alignment)) : start;
}

int bzimage_load(struct guestmem *mem, const struct boot_config *c, const struct boot_file *f, struct x86_kernel *ret,
		 struct err *e)
{
	uint64_t setup_len, len, start, end;
	struct setup_header h;
	size_t copy;
	int r = boot_file_read(f, X86_SETUP_HEADER, &h, sizeof h, e);

	if (r == 0)
		r = check_header(&h, e);
	if (r < 0)
		return r;
	copy = header_len(&h) < sizeof ret->setup ? header_len(&h) : sizeof ret->setup;
	r = boot_file_read(f, X86_SETUP_HEADER, ret->setup, copy, e);
	if (r < 0)
		return r;

	setup_len = (uint64_t)((h.setup_sects ? h.setup_sects : SETUP_SECTS_ZERO) + 1) * SECTOR;
	len = (uint64_t)le32_get(h.syssize) * PARAGRAPH;
	if (len <= ENTRY_64)
		return err_set(e, ERR_CONFIG, EINVAL, "it says that its size is %" PRIu64 " bytes", len);
	/* The last paragraph may be a part only. Signatures may follow. */
	if (setup_len < f->size && len > f->size - setup_len && len - (f->size - setup_len) < PARAGRAPH)
		len = f->size - setup_len;
	start = runtime_start(&h);
	if (__builtin_add_overflow(start, len > le32_get(h.init_size) ? len : le32_get(h.init_size), &end))
		end = UINT64_MAX;
	r = x86_check_kernel_range(c, start, end, e);
	if (r == 0)
		r = boot_file_load(f, setup_len, mem, start, len, true, e);
	if (r < 0)
		return r;
	ret->protocol = BOOT_LINUX64;
	ret->pc = start + ENTRY_64;
	ret->start = start;
	ret->end = end;
	ret->cmdline_max = le32_get(h.cmdline_size);
	ret->initrd_max = le32_get(h.initrd_addr_max);
	return 0;
}
