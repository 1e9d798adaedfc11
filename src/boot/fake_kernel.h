/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: small kernel files, right in every field that the loaders look at, for the tests to spoil. */
#pragma once

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAKE_KERNEL_MAX 0x4000

struct fake_kernel {
	uint8_t data[FAKE_KERNEL_MAX];
	size_t len;
};

static inline void fake_put(struct fake_kernel *k, size_t at, uint64_t v, size_t n)
{
	memcpy(k->data + at, &v, n);
}

/* A recognisable payload: each byte tells its place. */
static inline void fake_fill(struct fake_kernel *k, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		k->data[at + i] = (uint8_t)(i * 7 + (i >> 8));
}

/* 2 setup sectors behind the first, then FAKE_BZIMAGE_LEN bytes for 16 MiB; needs FAKE_BZIMAGE_INIT bytes there. */
#define FAKE_BZIMAGE_SETUP 0x600
#define FAKE_BZIMAGE_LEN   0x1000
#define FAKE_BZIMAGE_BASE  0x1000000
#define FAKE_BZIMAGE_INIT  0x200000

static inline void fake_bzimage(struct fake_kernel *k)
{
	memset(k, 0, sizeof *k);
	k->len = FAKE_BZIMAGE_SETUP + FAKE_BZIMAGE_LEN;
	fake_put(k, 0x1f1, 2, 1);
	fake_put(k, 0x1f4, FAKE_BZIMAGE_LEN / 16, 4);
	fake_put(k, 0x1fe, 0xaa55, 2);
	fake_put(k, 0x200, 0x6aeb, 2); /* jump: the header ends at 0x26c */
	memcpy(k->data + 0x202, "HdrS", 4);
	fake_put(k, 0x206, 0x20f, 2);
	fake_put(k, 0x211, 0x01, 1);
	fake_put(k, 0x22c, 0x7fffffff, 4);
	fake_put(k, 0x230, 0x200000, 4);
	fake_put(k, 0x234, 1, 1);
	fake_put(k, 0x236, 0x0001, 2);
	fake_put(k, 0x238, 2047, 4);
	fake_put(k, 0x258, FAKE_BZIMAGE_BASE, 8);
	fake_put(k, 0x260, FAKE_BZIMAGE_INIT, 4);
	fake_fill(k, FAKE_BZIMAGE_SETUP, FAKE_BZIMAGE_LEN);
}

/*
 * Two segments and, when pvh, a note of 32 bits behind one of another owner. Program headers: FAKE_ELF_PHDR + 56 * n:
 * text, data with bss, notes.
 */
#define FAKE_ELF_PHDR  64
#define FAKE_ELF_NOTES 0x200
#define FAKE_ELF_TEXT  0x1000
#define FAKE_ELF_DATA  0x2000
#define FAKE_ELF_LEN   0x800
#define FAKE_ELF_BASE  0x1000000
#define FAKE_ELF_BSS   0x3000 /* where it ends, from the base */
#define FAKE_ELF_ENTRY (FAKE_ELF_BASE + 0x10)
#define FAKE_ELF_PVH   (FAKE_ELF_BASE + 0x20)

static inline size_t fake_note(struct fake_kernel *k, size_t at, const char *owner, uint32_t type, const void *desc,
			       uint32_t len)
{
	const Elf64_Nhdr n = { (uint32_t)strlen(owner) + 1, len, type };

	memcpy(k->data + at, &n, sizeof n);
	at += sizeof n;
	memcpy(k->data + at, owner, n.n_namesz);
	at += (n.n_namesz + 3U) & ~3U;
	memcpy(k->data + at, desc, len);
	return at + ((len + 3) & ~3U);
}

static inline void fake_elf(struct fake_kernel *k, int pvh)
{
	const uint32_t entry = FAKE_ELF_PVH;
	Elf64_Ehdr h = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = FAKE_ELF_ENTRY,
		.e_phoff = FAKE_ELF_PHDR,
		.e_ehsize = sizeof h,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	Elf64_Phdr ph[3] = {
		{ .p_type = PT_LOAD,
		  .p_offset = FAKE_ELF_TEXT,
		  .p_vaddr = 0xffffffff81000000,
		  .p_paddr = FAKE_ELF_BASE,
		  .p_filesz = FAKE_ELF_LEN,
		  .p_memsz = FAKE_ELF_LEN },
		{ .p_type = PT_LOAD,
		  .p_offset = FAKE_ELF_DATA,
		  .p_vaddr = 0xffffffff81001000,
		  .p_paddr = FAKE_ELF_BASE + 0x1000,
		  .p_filesz = FAKE_ELF_LEN,
		  .p_memsz = FAKE_ELF_BSS - 0x1000 },
		{ .p_type = PT_NOTE, .p_offset = FAKE_ELF_NOTES, .p_align = 4 },
	};
	size_t end = FAKE_ELF_NOTES;

	memset(k, 0, sizeof *k);
	end = fake_note(k, end, "GNU", 3, "id", 2);
	if (pvh)
		end = fake_note(k, end, "Xen", 18, &entry, sizeof entry);
	ph[2].p_filesz = ph[2].p_memsz = end - FAKE_ELF_NOTES;
	memcpy(k->data, &h, sizeof h);
	memcpy(k->data + FAKE_ELF_PHDR, ph, sizeof ph);
	fake_fill(k, FAKE_ELF_TEXT, FAKE_ELF_LEN);
	fake_fill(k, FAKE_ELF_DATA, FAKE_ELF_LEN);
	k->len = FAKE_ELF_DATA + FAKE_ELF_LEN;
}

/* arm64 Image for anywhere in memory, FAKE_IMAGE_LEN bytes in the file and FAKE_IMAGE_SIZE in memory. */
#define FAKE_IMAGE_LEN  0x1000
#define FAKE_IMAGE_SIZE 0x200000

static inline void fake_image(struct fake_kernel *k)
{
	memset(k, 0, sizeof *k);
	k->len = FAKE_IMAGE_LEN;
	fake_fill(k, 64, FAKE_IMAGE_LEN - 64);
	fake_put(k, 0, 0x14000010, 4); /* b .+64 */
	fake_put(k, 16, FAKE_IMAGE_SIZE, 8);
	fake_put(k, 24, 0x0a, 8); /* little-endian, 4 KiB pages, anywhere */
	memcpy(k->data + 56, "ARM\x64", 4);
}

/* The file of it; the caller closes. -1 on failure. */
static inline int fake_file(const void *data, size_t len)
{
	int fd = memfd_create("fake-kernel", MFD_CLOEXEC);

	if (fd >= 0 && len && pwrite(fd, data, len, 0) != (ssize_t)len) {
		close(fd);
		return -1;
	}
	return fd;
}
