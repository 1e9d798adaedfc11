/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels by PVH and by Linux's 64-bit entry, and every sentence with which one is refused. */
#include "boot/x86_fixture.h"

static void put_phdr(struct fixture *f, unsigned n, size_t field, uint64_t value)
{
	fake_put(&f->kernel, FAKE_ELF_PHDR + 56 * n + field, value, 8);
}

static void test_elf_pvh(void **state)
{
	struct fixture *f = *state;
	const uint8_t *info = f->low + X86_PVH_INFO, *map = f->low + X86_ZERO_PAGE;

	fake_elf(&f->kernel, true);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.protocol, BOOT_PVH);
	assert_int_equal(f->entry.pc, FAKE_ELF_PVH);
	assert_int_equal(f->entry.arg, X86_PVH_INFO);
	assert_memory_equal(f->low + FAKE_ELF_BASE, f->kernel.data + FAKE_ELF_TEXT, FAKE_ELF_LEN);
	assert_memory_equal(f->low + FAKE_ELF_BASE + 0x1000, f->kernel.data + FAKE_ELF_DATA, FAKE_ELF_LEN);

	assert_int_equal(get(info, 4), 0x336ec578);
	assert_int_equal(get(info + 4, 4), 1);
	assert_int_equal(get(info + 12, 4), 0); /* modules */
	assert_int_equal(get(info + 24, 8), X86_CMDLINE);
	assert_int_equal(get(info + 32, 8), RSDP);
	assert_int_equal(get(info + 40, 8), X86_ZERO_PAGE);
	assert_int_equal(get(info + 48, 4), MAP_LEN);
	for (size_t i = 0; i < MAP_LEN; i++) {
		assert_int_equal(get(map + 24 * i, 8), expected_map[i].addr);
		assert_int_equal(get(map + 24 * i + 8, 8), expected_map[i].size);
		assert_int_equal(get(map + 24 * i + 16, 4), expected_map[i].type);
	}
}

/* Linux's own note has 64 bits, and the other notes come in between. */
static void test_elf_notes(void **state)
{
	const uint64_t entry = FAKE_ELF_PVH + 4;
	struct fixture *f = *state;
	size_t end;

	fake_elf(&f->kernel, false);
	end = fake_note(&f->kernel, FAKE_ELF_NOTES, "Linux", 18, "\x01\x02\x03\x04", 4);
	end = fake_note(&f->kernel, end, "Xen", 17, "\x01\x02\x03\x04", 4);
	end = fake_note(&f->kernel, end, "Xen", 18, "", 1); /* too short */
	end = fake_note(&f->kernel, end, "Xen", 18, &entry, 8);
	put_phdr(f, 2, offsetof(Elf64_Phdr, p_filesz), end - FAKE_ELF_NOTES);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.protocol, BOOT_PVH);
	assert_int_equal(f->entry.pc, entry);
	/* Cut anywhere in the note that counts, it is not found. */
	for (size_t cut = 1; cut <= 24; cut++) {
		put_phdr(f, 2, offsetof(Elf64_Phdr, p_filesz), end - FAKE_ELF_NOTES - cut);
		assert_loaded_ok(f);
		assert_int_equal(f->entry.protocol, BOOT_LINUX64);
	}
}

static void test_elf_linux(void **state)
{
	struct fixture *f = *state;
	const uint8_t *zp = f->low + X86_ZERO_PAGE;

	fake_elf(&f->kernel, false);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.protocol, BOOT_LINUX64);
	assert_int_equal(f->entry.pc, FAKE_ELF_ENTRY);
	assert_int_equal(f->entry.arg, X86_ZERO_PAGE);
	assert_int_equal(get(zp + 0x1fe, 2), 0xaa55);
	assert_memory_equal(zp + 0x202, "HdrS", 4);
	assert_int_equal(get(zp + 0x206, 2), 0x20c);
	assert_int_equal(zp[0x210], 0xff);
	assert_int_equal(get(zp + 0x228, 4), X86_CMDLINE);
}

static void test_elf_refused(void **state)
{
	struct fixture *f = *state;
	static const struct {
		size_t at, len;
		uint64_t value;
		const char *text;
	} cases[] = {
#define EHDR(field, value, text) { offsetof(Elf64_Ehdr, field), sizeof(((Elf64_Ehdr *)0)->field), value, text }
#define PHDR(n, field, value, text)                                                                                    \
	{                                                                                                              \
		FAKE_ELF_PHDR + 56 * (n) + offsetof(Elf64_Phdr, field), 8, value, text                                 \
	}
		{ EI_CLASS, 1, ELFCLASS32, "not for x86_64" },
		{ EI_DATA, 1, ELFDATA2MSB, "not for x86_64" },
		EHDR(e_machine, EM_AARCH64, "not for x86_64"),
		EHDR(e_type, ET_REL, "cannot be executed"),
		EHDR(e_phnum, 0, "0 program headers"),
		EHDR(e_phnum, 65, "65 program headers"),
		EHDR(e_phentsize, 32, "headers of 32 bytes"),
		EHDR(e_phoff, UINT64_MAX, "ends too early"),
		EHDR(e_phoff, FAKE_ELF_DATA + FAKE_ELF_LEN - 56, "ends too early"),
		PHDR(0, p_filesz, FAKE_ELF_LEN + 1, "larger in the file than in memory"),
		PHDR(0, p_offset, FAKE_ELF_DATA + 1, "ends too early"),
		PHDR(0, p_offset, UINT64_MAX, "ends too early"),
		PHDR(0, p_paddr, X86_HIGH_RAM - 1, "give the guest more memory"),
		PHDR(0, p_paddr, LOW_RAM - FAKE_ELF_LEN + 1, "give the guest more memory"),
		PHDR(0, p_paddr, X86_RAM_HIGH, "give the guest more memory"),
		PHDR(0, p_paddr, UINT64_MAX - 1, "give the guest more memory"),
		PHDR(1, p_memsz, UINT64_MAX, "give the guest more memory"),
		PHDR(2, p_filesz, 65537, "notes are larger"),
		PHDR(2, p_offset, UINT64_MAX - 8, "ends too early"),
		{ FAKE_ELF_NOTES + 20 + 12 + 4, 4, FAKE_ELF_BASE - 1, "entry point 0xffffff is outside" },
		{ FAKE_ELF_NOTES + 20 + 12 + 4, 4, FAKE_ELF_BASE + FAKE_ELF_BSS, "is outside" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fake_elf(&f->kernel, true);
		fake_put(&f->kernel, cases[i].at, cases[i].value, cases[i].len);
		assert_refused(f, cases[i].text);
	}
	/* Nothing to load. */
	fake_elf(&f->kernel, true);
	put_phdr(f, 0, offsetof(Elf64_Phdr, p_memsz), 0);
	put_phdr(f, 1, offsetof(Elf64_Phdr, p_type), PT_NULL);
	assert_refused(f, "is outside");
}

/* A file cannot make us read more than itself. */
static void test_elf_overlap(void **state)
{
	struct fixture *f = *state;

	fake_elf(&f->kernel, true);
	for (unsigned i = 0; i < 2; i++) {
		put_phdr(f, i, offsetof(Elf64_Phdr, p_offset), 0);
		put_phdr(f, i, offsetof(Elf64_Phdr, p_filesz), f->kernel.len);
		put_phdr(f, i, offsetof(Elf64_Phdr, p_memsz), f->kernel.len);
	}
	assert_refused(f, "overlap in the file");
}

/*
 * Four pages of data, of which the second and third are a hole, over each other in memory: at page 0 and, one page
 * further in the file, at page 1. The later segment counts, its hole too.
 */
static void test_elf_segments_overlap_in_memory(void **state)
{
	struct fixture *f = *state;

	for (int constant = 0; constant < 2; constant++) {
		int fd;

		memset(f->low + FAKE_ELF_BASE, 0, 6 * 4096);
		fake_elf(&f->kernel, true);
		for (unsigned i = 0; i < 2; i++) {
			put_phdr(f, i, offsetof(Elf64_Phdr, p_offset), 0x10000 + i * 0x4000);
			put_phdr(f, i, offsetof(Elf64_Phdr, p_paddr), FAKE_ELF_BASE + i * 0x1000);
			put_phdr(f, i, offsetof(Elf64_Phdr, p_filesz), 0x4000);
			put_phdr(f, i, offsetof(Elf64_Phdr, p_memsz), 0x4000);
		}
		fd = fake_file(f->kernel.data, f->kernel.len);
		assert_int_equal(ftruncate(fd, 0x18000), 0);
		for (unsigned i = 0; i < 2; i++) {
			uint8_t page[4096];

			memset(page, 0x11 * (int)(i + 1), sizeof page);
			assert_int_equal(pwrite(fd, page, sizeof page, 0x10000 + i * 0x4000), 4096);
			assert_int_equal(pwrite(fd, page, sizeof page, 0x13000 + i * 0x4000), 4096);
		}
		f->c.kernel_constant = constant;
		if (x86_load_file(f, fd) < 0)
			fail_msg("%s", f->e.text);
		for (unsigned page = 0; page < 6; page++) {
			static const uint8_t want[] = { 0x11, 0x22, 0, 0, 0x22, 0 };

			assert_int_equal(f->low[FAKE_ELF_BASE + page * 4096], want[page]);
			assert_int_equal(f->low[FAKE_ELF_BASE + page * 4096 + 4095], want[page]);
		}
	}
}

/* Mapped, memory is the same, and so is what is refused. */
static void test_elf_constant(void **state)
{
	struct fixture *f = *state;

	f->c.kernel_constant = true;
	test_elf_pvh(state);
	test_elf_linux(state);
	test_elf_refused(state);
	test_elf_overlap(state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, x86_setup, x86_teardown)
	const struct CMUnitTest tests[] = {
		T(test_elf_pvh),      T(test_elf_notes),   T(test_elf_linux),
		T(test_elf_refused),  T(test_elf_overlap), T(test_elf_segments_overlap_in_memory),
		T(test_elf_constant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
