/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF kernels. With a PVH note (Xen docs/misc/pvh.pandoc, XEN_ELFNOTE_PHYS32_ENTRY) the kernel starts in 32-bit mode
 * without paging. Without, it is taken for a Linux vmlinux, whose entry point is that of the 64-bit boot protocol.
 */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "boot/layout_x86.h"
#include "boot/x86.h"

#define PHDRS_MAX           64
#define NOTES_MAX           65536 /* bytes of one note segment */
#define XEN_PHYS32_ENTRY    18
#define LINUX_CMDLINE_MAX   2047 /* COMMAND_LINE_SIZE; a longer one would be cut without a word */
#define LINUX_INITRD_MAX    0x7fffffff
#define LINUX_ALIGNMENT     0x1000000
#define LINUX_BOOT_PROTOCOL 0x20c

bool elf_probe(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

/* The file's integers are little-endian, and so are the machines that run this. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte order");

static int read_phdrs(const struct boot_file *f, Elf64_Ehdr *h, Elf64_Phdr *ph, struct err *e)
{
	int r = boot_file_read(f, 0, h, sizeof *h, e);

	if (r < 0)
		return r;
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
		return err_set(e, ERR_CONFIG, EINVAL, "an ELF file, but not for x86_64");
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return err_set(e, ERR_CONFIG, EINVAL, "an ELF file that cannot be executed");
	if (h->e_phentsize != sizeof *ph || !h->e_phnum || h->e_phnum > PHDRS_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "an ELF file with %u program headers of %u bytes", h->e_phnum,
			       h->e_phentsize);
	return boot_file_read(f, h->e_phoff, ph, h->e_phnum * sizeof *ph, e);
}

/* The entry in a PVH note among len bytes of notes; false: none. */
static bool find_entry(const uint8_t *notes, size_t len, uint64_t align, uint32_t *ret)
{
	const size_t pad = align == 8 ? 8 : 4;
	size_t at = 0;

	while (len - at >= sizeof(Elf64_Nhdr)) {
		size_t name, desc, next;
		Elf64_Nhdr n;

		memcpy(&n, notes + at, sizeof n);
		name = at + sizeof n;
		desc = boot_align_up(name + n.n_namesz, pad);
		next = boot_align_up(desc + n.n_descsz, pad);
		if (desc + n.n_descsz > len)
			return false;
		/* 4 bytes, or 8 by Linux's 64-bit kernels; the entry is below 4 GiB in both. */
		if (n.n_type == XEN_PHYS32_ENTRY && n.n_namesz == 4 && !memcmp(notes + name, "Xen", 4) &&
		    n.n_descsz >= sizeof *ret) {
			memcpy(ret, notes + desc, sizeof *ret);
			return true;
		}
		if (next > len)
			return false;
		at = next;
	}
	return false;
}

static int read_notes(const struct boot_file *f, const Elf64_Phdr *p, bool *found, uint32_t *entry, struct err *e)
{
	_cleanup_free_ uint8_t *notes = NULL;
	int r;

	if (p->p_filesz > NOTES_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "its ELF notes are larger than %u bytes", NOTES_MAX);
	notes = malloc(p->p_filesz + 1);
	if (!notes)
		return err_sys(e, ENOMEM, "read ELF notes");
	r = boot_file_read(f, p->p_offset, notes, p->p_filesz, e);
	if (r == 0)
		*found = find_entry(notes, p->p_filesz, p->p_align, entry);
	return r;
}

/* *room: bytes that may still be read, so that overlapping segments cannot make us read the file many times. */
static int load_segment(struct guestmem *mem, const struct boot_config *c, const struct boot_file *f,
			const Elf64_Phdr *p, uint64_t *room, struct x86_kernel *k, struct err *e)
{
	uint64_t end;
	int r;

	if (!p->p_memsz)
		return 0;
	if (p->p_filesz > p->p_memsz)
		return err_set(e, ERR_CONFIG, EINVAL, "an ELF segment that is larger in the file than in memory");
	if (p->p_filesz > *room)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "its ELF segments overlap in the file, or the file ends too early");
	if (__builtin_add_overflow(p->p_paddr, p->p_memsz, &end))
		end = UINT64_MAX;
	r = x86_check_kernel_range(c, p->p_paddr, end, e);
	/* The rest, up to p_memsz, is zero: guest memory is new. A segment over another one writes its own zeroes. */
	if (r == 0)
		r = boot_file_load(f, p->p_offset, mem, p->p_paddr, p->p_filesz,
				   p->p_paddr >= k->end || end <= k->start, e);
	if (r < 0)
		return r;
	*room -= p->p_filesz;
	if (p->p_paddr < k->start)
		k->start = p->p_paddr;
	if (end > k->end)
		k->end = end;
	return 0;
}

/* A setup header as vmlinux does not have it. */
static void make_setup_header(uint8_t *setup)
{
	const uint16_t boot_flag = 0xaa55, version = LINUX_BOOT_PROTOCOL;
	const uint32_t alignment = LINUX_ALIGNMENT;

	memcpy(setup + 0x1fe - X86_SETUP_HEADER, &boot_flag, 2);
	memcpy(setup + 0x202 - X86_SETUP_HEADER, "HdrS", 4);
	memcpy(setup + 0x206 - X86_SETUP_HEADER, &version, 2);
	memcpy(setup + 0x230 - X86_SETUP_HEADER, &alignment, 4);
}

int elf_load(struct guestmem *mem, const struct boot_config *c, const struct boot_file *f, struct x86_kernel *ret,
	     struct err *e)
{
	Elf64_Phdr ph[PHDRS_MAX];
	uint64_t room = f->size;
	bool pvh = false;
	uint32_t entry = 0;
	Elf64_Ehdr h;
	int r = read_phdrs(f, &h, ph, e);

	ret->start = UINT64_MAX;
	for (unsigned i = 0; r == 0 && i < h.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD)
			r = load_segment(mem, c, f, &ph[i], &room, ret, e);
		else if (ph[i].p_type == PT_NOTE && !pvh)
			r = read_notes(f, &ph[i], &pvh, &entry, e);
	}
	if (r < 0)
		return r;
	ret->pc = pvh ? entry : h.e_entry;
	if (ret->pc < ret->start || ret->pc >= ret->end)
		return err_set(e, ERR_CONFIG, EINVAL, "its entry point 0x%" PRIx64 " is outside of what it loads",
			       ret->pc);
	/* The segments lie in RAM one by one; between them the kernel keeps nothing, but one piece is simpler to avoid.
	 */
	r = x86_check_kernel_range(c, ret->start, ret->end, e);
	if (r < 0)
		return r;
	ret->protocol = pvh ? BOOT_PVH : BOOT_LINUX64;
	ret->cmdline_max = LINUX_CMDLINE_MAX;
	ret->initrd_max = LINUX_INITRD_MAX;
	make_setup_header(ret->setup);
	return 0;
}
