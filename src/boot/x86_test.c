/* SPDX-License-Identifier: Apache-2.0 */
/* Every way that a bzImage is loaded on x86_64 and what the kernel finds, and every sentence with which one is refused.
 */
#include <fcntl.h>

#include "base/strv.h"
#include "boot/x86_fixture.h"

/* --- bzImage --- */

static void test_bzimage(void **state)
{
	struct fixture *f = *state;

	fake_bzimage(&f->kernel);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.protocol, BOOT_LINUX64);
	assert_int_equal(f->entry.pc, FAKE_BZIMAGE_BASE + 0x200);
	assert_int_equal(f->entry.arg, X86_ZERO_PAGE);
	assert_int_equal(f->entry.initrd_size, 0);
	assert_memory_equal(f->low + FAKE_BZIMAGE_BASE, f->kernel.data + FAKE_BZIMAGE_SETUP, FAKE_BZIMAGE_LEN);
	assert_int_equal(get(f->low + FAKE_BZIMAGE_BASE + FAKE_BZIMAGE_LEN, 8), 0);
	assert_string_equal((char *)f->low + X86_CMDLINE, "console=ttyS0 quiet");
	/* Kernel, GDT, page tables, zero page, command line: what was read by preadv(2) too. */
	assert_int_equal(f->dirty, FAKE_BZIMAGE_LEN + X86_BOOT_GDT_SIZE + 7 * 4096 + 20);
}

static void test_zero_page(void **state)
{
	struct fixture *f = *state;
	const uint8_t *zp = f->low + X86_ZERO_PAGE;

	fake_bzimage(&f->kernel);
	fake_put(&f->kernel, 0x268, 0x12345678, 4); /* a field that came after ours: copied all the same */
	fake_put(&f->kernel, 0x26c, 0xff, 1);       /* behind the header's end: not */
	fake_put(&f->kernel, 0x1e8, 0xff, 1);
	assert_loaded_ok(f);
	assert_int_equal(get(zp + 0x070, 8), RSDP);
	assert_memory_equal(zp + 0x1f1, f->kernel.data + 0x1f1, 0x210 - 0x1f1);
	assert_int_equal(zp[0x210], 0xff);
	assert_int_equal(zp[0x211], 0x01);
	assert_int_equal(get(zp + 0x218, 8), 0); /* no initrd */
	assert_int_equal(get(zp + 0x228, 4), X86_CMDLINE);
	assert_int_equal(get(zp + 0x0c8, 4), 0);
	assert_int_equal(get(zp + 0x260, 4), FAKE_BZIMAGE_INIT);
	assert_int_equal(get(zp + 0x268, 4), 0x12345678);
	assert_int_equal(zp[0x26c], 0);
}

static void test_e820(void **state)
{
	struct fixture *f = *state;
	const uint8_t *zp = f->low + X86_ZERO_PAGE;

	fake_bzimage(&f->kernel);
	assert_loaded_ok(f);
	assert_int_equal(zp[0x1e8], MAP_LEN);
	for (size_t i = 0; i < MAP_LEN; i++) {
		assert_int_equal(get(zp + 0x2d0 + 20 * i, 8), expected_map[i].addr);
		assert_int_equal(get(zp + 0x2d0 + 20 * i + 8, 8), expected_map[i].size);
		assert_int_equal(get(zp + 0x2d0 + 20 * i + 16, 4), expected_map[i].type);
	}
}

/* Walk the tables as a CPU does: every address of the first 4 GiB maps to itself, writable, by a 2 MiB page. */
static void test_page_tables(void **state)
{
	struct fixture *f = *state;

	fake_bzimage(&f->kernel);
	assert_loaded_ok(f);
	for (uint64_t va = 0; va < X86_RAM_HIGH; va += 2 * MIB) {
		uint64_t pml4e = get(f->low + X86_PML4 + (va >> 39) * 8, 8), pdpte, pde;

		assert_int_equal(pml4e & 0xfff, 3);
		pdpte = get(f->low + (pml4e & ~0xfffULL) + (va >> 30 & 511) * 8, 8);
		assert_int_equal(pdpte & 0xfff, 3);
		pde = get(f->low + (pdpte & ~0xfffULL) + (va >> 21 & 511) * 8, 8);
		assert_int_equal(pde, va | 0x83);
	}
	assert_int_equal(get(f->low + X86_PML4 + 8, 8), 0);
	assert_int_equal(get(f->low + X86_PDPT + 4 * 8, 8), 0);
}

static void test_gdt(void **state)
{
	struct fixture *f = *state;

	fake_bzimage(&f->kernel);
	assert_loaded_ok(f);
	assert_int_equal(get(f->low + X86_GDT, 8), 0);
	assert_int_equal(get(f->low + X86_GDT + X86_BOOT_CS, 8), 0x00af9b000000ffff);
	assert_int_equal(get(f->low + X86_GDT + X86_BOOT_DS, 8), 0x00cf93000000ffff);
	assert_int_equal(get(f->low + X86_GDT + X86_BOOT_TSS, 8), 0x00008b000000ffff);
	fake_elf(&f->kernel, true);
	assert_loaded_ok(f);
	assert_int_equal(get(f->low + X86_GDT + X86_BOOT_CS, 8), 0x00cf9b000000ffff);
}

static void test_bzimage_placement(void **state)
{
	struct fixture *f = *state;

	/* Moved up to its alignment. */
	fake_bzimage(&f->kernel);
	fake_put(&f->kernel, 0x258, FAKE_BZIMAGE_BASE + 1, 8);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.pc, FAKE_BZIMAGE_BASE + 0x200000 + 0x200);
	/* Cannot be moved: as it wishes. */
	fake_put(&f->kernel, 0x234, 0, 1);
	fake_put(&f->kernel, 0x258, FAKE_BZIMAGE_BASE + 0x1000, 8);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.pc, FAKE_BZIMAGE_BASE + 0x1000 + 0x200);
	/* setup_sects 0 means 4. */
	fake_bzimage(&f->kernel);
	fake_put(&f->kernel, 0x1f1, 0, 1);
	fake_put(&f->kernel, 0x1f4, 0x400 / 16, 4);
	assert_loaded_ok(f);
	assert_memory_equal(f->low + FAKE_BZIMAGE_BASE, f->kernel.data + 5 * 512, 0x400);
	/* A file that ends within the last paragraph, and one with a signature behind. */
	fake_bzimage(&f->kernel);
	f->kernel.len -= 15;
	assert_loaded_ok(f);
	f->kernel.len += 15 + 100;
	assert_loaded_ok(f);
}

static void test_bzimage_refused(void **state)
{
	struct fixture *f = *state;
	static const struct {
		size_t at, len;
		uint64_t value;
		const char *text;
	} cases[] = {
		{ 0x206, 2, 0x20b, "boot protocol 2.11 is too old, 2.12 is needed" },
		{ 0x201, 1, 0x61, "setup header is too short" },
		{ 0x236, 2, 0xfffe, "no 64-bit entry" },
		{ 0x230, 4, 0, "alignment 0x0 is not a power of two" },
		{ 0x230, 4, 0x300000, "alignment 0x300000 is not" },
		{ 0x1f4, 4, 0, "its size is 0 bytes" },
		{ 0x1f4, 4, 32, "its size is 512 bytes" },
		{ 0x1f4, 4, FAKE_BZIMAGE_LEN / 16 + 1, "ends too early" },
		{ 0x1f4, 4, 0xffffffff, "give the guest more memory" },
		{ 0x1f1, 1, 0xff, "ends too early" },
		{ 0x258, 8, 0, "from 0x0 to 0x200000" },
		{ 0x258, 8, X86_HIGH_RAM - 0x200000, "give the guest more memory" },
		{ 0x258, 8, LOW_RAM, "from 0x1800000 to 0x1a00000" },
		{ 0x258, 8, X86_RAM_HIGH, "give the guest more memory" }, /* RAM, but not mapped by the page tables */
		{ 0x258, 8, UINT64_MAX, "give the guest more memory" },
		{ 0x258, 8, UINT64_MAX - 0x1fffff, "give the guest more memory" },
		{ 0x260, 4, LOW_RAM - FAKE_BZIMAGE_BASE + 1, "to 0x1800001" },
		{ 0x260, 4, UINT32_MAX, "give the guest more memory" },
		{ 0x202, 1, 'h', "neither a bzImage nor an ELF kernel" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fake_bzimage(&f->kernel);
		fake_put(&f->kernel, cases[i].at, cases[i].value, cases[i].len);
		assert_refused(f, cases[i].text);
	}
	/* Exactly to the end of RAM it fits. */
	fake_bzimage(&f->kernel);
	fake_put(&f->kernel, 0x260, LOW_RAM - FAKE_BZIMAGE_BASE, 4);
	assert_loaded_ok(f);
}

static void test_bzimage_cut(void **state)
{
	struct fixture *f = *state;

	for (size_t len = 1; len < FAKE_BZIMAGE_SETUP + FAKE_BZIMAGE_LEN - 15; len += len < 0x300 ? 1 : 97) {
		fake_bzimage(&f->kernel);
		f->kernel.len = len;
		assert_refused(f, len < 0x206 ? "neither" : "ends too early");
	}
}

/* --- what is no kernel --- */

static void test_not_a_kernel(void **state)
{
	struct fixture *f = *state;
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	fake_image(&f->kernel);
	assert_refused(f, "kernel for arm64");
	memcpy(f->kernel.data, "\x1f\x8b", 2);
	memset(f->kernel.data + 56, 0, 4);
	assert_refused(f, "compressed by gzip");
	f->kernel.len = 1;
	assert_refused(f, "neither");
	f->kernel.len = 0;
	assert_refused(f, "the file is empty");
	assert_int_equal(x86_load_file(f, dir), -EINVAL);
	assert_non_null(strstr(f->e.text, "not a regular file"));
}

/* --- command line and initrd --- */

static void test_cmdline(void **state)
{
	struct fixture *f = *state;
	char line[X86_CMDLINE_MAX + 1];

	memset(line, 'x', sizeof line);
	line[X86_CMDLINE_MAX] = 0;
	f->c.cmdline = line;
	fake_bzimage(&f->kernel);
	assert_refused(f, "has 4096 bytes, and kernel /k takes at most 2047");
	fake_put(&f->kernel, 0x238, UINT32_MAX, 4); /* what we have room for counts too */
	assert_refused(f, "takes at most 4095");
	line[4095] = 0;
	assert_loaded_ok(f);
	assert_string_equal((char *)f->low + X86_CMDLINE, line);
	fake_elf(&f->kernel, true);
	assert_refused(f, "takes at most 2047");
	line[2047] = 0;
	assert_loaded_ok(f);
	f->c.cmdline = "";
	assert_loaded_ok(f);
	assert_int_equal(f->low[X86_CMDLINE], 0);
}

static void give_initrd(struct fixture *f, uint64_t size)
{
	if (f->c.initrd_fd >= 0)
		close(f->c.initrd_fd);
	f->c.initrd_fd = fake_file("initrd!", 7);
	assert_true(f->c.initrd_fd >= 0);
	assert_int_equal(ftruncate(f->c.initrd_fd, (off_t)size), 0);
}

static void test_initrd(void **state)
{
	struct fixture *f = *state;
	const uint8_t *zp = f->low + X86_ZERO_PAGE, *info = f->low + X86_PVH_INFO;

	fake_bzimage(&f->kernel);
	give_initrd(f, 5000);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.initrd, LOW_RAM - 8192);
	assert_int_equal(f->entry.initrd_size, 5000);
	assert_memory_equal(f->low + LOW_RAM - 8192, "initrd!", 8);
	assert_int_equal(get(zp + 0x218, 4), LOW_RAM - 8192);
	assert_int_equal(get(zp + 0x21c, 4), 5000);
	assert_int_equal(get(zp + 0x0c0, 8), 0);

	/* Not above what the kernel can reach; the limit is the last byte's address. */
	fake_put(&f->kernel, 0x22c, 20 * MIB - 1, 4);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.initrd, 20 * MIB - 8192);

	fake_elf(&f->kernel, true);
	assert_loaded_ok(f);
	assert_int_equal(get(info + 12, 4), 1);
	assert_int_equal(get(info + 16, 8), X86_PVH_INFO + 64);
	assert_int_equal(get(info + 64, 8), LOW_RAM - 8192);
	assert_int_equal(get(info + 72, 8), 5000);
	assert_int_equal(get(info + 80, 8), 0);
	close(f->c.initrd_fd);
}

static void test_initrd_room(void **state)
{
	const uint64_t room = LOW_RAM - FAKE_BZIMAGE_BASE - FAKE_BZIMAGE_INIT;
	struct fixture *f = *state;

	fake_bzimage(&f->kernel);
	give_initrd(f, room);
	assert_loaded_ok(f);
	assert_int_equal(f->entry.initrd, FAKE_BZIMAGE_BASE + FAKE_BZIMAGE_INIT);
	give_initrd(f, room + 1);
	assert_true(x86_load(f) < 0);
	assert_non_null(strstr(f->e.text, "initrd /i: its 6144 KiB do not fit into the 6144 KiB"));
	assert_int_equal(f->e.domain, ERR_CONFIG);
	/* The bytes fit, the page does not. */
	fake_put(&f->kernel, 0x260, FAKE_BZIMAGE_INIT + 1, 4);
	give_initrd(f, room - 1);
	assert_true(x86_load(f) < 0);
	assert_non_null(strstr(f->e.text, "initrd /i: no room beside the kernel"));
	/* The limit is below the kernel. */
	fake_put(&f->kernel, 0x22c, 0xffff, 4);
	assert_true(x86_load(f) < 0);
	assert_non_null(strstr(f->e.text, "into the 0 KiB"));
	give_initrd(f, 0);
	assert_true(x86_load(f) < 0);
	assert_non_null(strstr(f->e.text, "initrd /i: the file is empty"));
	close(f->c.initrd_fd);
}

static void test_ram_refused(void **state)
{
	struct boot_ram many[40];
	struct fixture *f = *state;

	/* Low RAM that ends within the structures that we write. */
	fake_bzimage(&f->kernel);
	guestmem_remove(f->mem, 0, FAKE_BZIMAGE_BASE + 0x800);
	assert_int_equal(x86_load(f), -EFAULT);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x8000, FAKE_BZIMAGE_BASE + 0x800 - 0x8000, f->low + 0x8000), 0);
	assert_int_equal(x86_load(f), -EFAULT);
	assert_non_null(strstr(f->e.text, "guest memory at 0x500"));
	for (size_t i = 0; i < 40; i++)
		many[i] = (struct boot_ram){ i * 32 * MIB, LOW_RAM };
	f->c.ram = many;
	f->c.n_ram = 40;
	assert_int_equal(x86_load(f), -E2BIG);
	f->c.n_ram = 0;
	assert_refused(f, "give the guest more memory");
}

/* --- the kernels of the guest cache --- */

static void load_real(const char *name, enum boot_protocol protocol)
{
	const uint64_t size = 256 * MIB;
	_cleanup_free_ char *path = str_printf("%s/.cache/guest/x86_64/%s", getenv("SOURCE_ROOT"), name);
	_cleanup_(guestmem_free_p) struct guestmem *mem = NULL;
	struct boot_config c = { .kernel_path = path, .initrd_fd = -1, .cmdline = "", .n_ram = 1 };
	struct boot_ram ram = { 0, size };
	struct boot_entry entry;
	struct err e = { 0 };
	uint8_t code;
	void *host;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		print_message("%s is not there: make guest\n", path);
		skip();
	}
	host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(host != MAP_FAILED);
	assert_int_equal(guestmem_new(&mem), 0);
	assert_int_equal(guestmem_add_buffer(mem, 0, size, host), 0);
	c.kernel_fd = fd;
	c.ram = &ram;
	if (boot_load_x86(mem, &c, &entry, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(entry.protocol, protocol);
	assert_int_equal(guestmem_read(mem, entry.pc, &code, 1), 0);
	assert_int_equal(code, 0xfc); /* cld: the first instruction at both of Linux's entries */
	munmap(host, size);
}

static void test_real_bzimage(void **state)
{
	load_real("vmlinuz", BOOT_LINUX64);
}

static void test_real_elf(void **state)
{
	load_real("vmlinux", BOOT_PVH);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, x86_setup, x86_teardown)
	const struct CMUnitTest tests[] = {
		T(test_bzimage),
		T(test_zero_page),
		T(test_e820),
		T(test_page_tables),
		T(test_gdt),
		T(test_bzimage_placement),
		T(test_bzimage_refused),
		T(test_bzimage_cut),
		T(test_not_a_kernel),
		T(test_cmdline),
		T(test_initrd),
		T(test_initrd_room),
		T(test_ram_refused),
		cmocka_unit_test(test_real_bzimage),
		cmocka_unit_test(test_real_elf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
