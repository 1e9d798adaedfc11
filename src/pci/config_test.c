/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "guestmem/le.h"
#include "pci/config.h"
#include "state/state.h"

static const struct pci_identity id = { .vendor = 0x1af4,
					.device = 0x1041,
					.subsystem_vendor = 0x1111,
					.subsystem = 0x2222,
					.class = 0x020304,
					.revision = 5 };

static uint32_t rd(const struct pci_config *c, uint32_t offset, uint32_t len)
{
	uint32_t v = 0;

	pci_config_read(c, offset, &v, len);
	return le32toh(v);
}

static void wr(struct pci_config *c, uint32_t offset, uint32_t value, uint32_t len)
{
	value = htole32(value);
	pci_config_write(c, offset, &value, len);
}

static void test_header(void **state)
{
	struct pci_config c;

	pci_config_init(&c, &id);
	assert_int_equal(rd(&c, 0, 4), 0x10411af4);
	assert_int_equal(rd(&c, 8, 4), 0x02030405);
	assert_int_equal(rd(&c, 0x2c, 4), 0x22221111);
	assert_int_equal(rd(&c, 0x0e, 1), 0);
	assert_int_equal(rd(&c, 6, 2), 0);
	assert_false(pci_config_memory_enabled(&c));
	wr(&c, PCI_COMMAND, 0xffff, 2);
	assert_int_equal(rd(&c, PCI_COMMAND, 2), 0x406);
	assert_true(pci_config_memory_enabled(&c));
	wr(&c, PCI_INTERRUPT_LINE, 0xffff, 2);
	assert_int_equal(rd(&c, PCI_INTERRUPT_LINE, 2), 0xff);
}

/* Whatever is written, in whatever width, changes only what may change. */
static void test_write_mask(void **state)
{
	struct pci_config c, before;

	pci_config_init(&c, &id);
	assert_int_equal(pci_config_add_bar(&c, 0, 0x1000, 0), 0);
	before = c;
	for (uint32_t len = 1; len <= 4; len *= 2) {
		for (uint32_t i = 0; i < PCI_CONFIG_SIZE; i += len)
			wr(&c, i, 0xffffffff, len);
		for (uint32_t i = 0; i < PCI_CONFIG_SIZE; i++)
			assert_int_equal(c.data[i], before.data[i] | before.writable[i]);
		for (uint32_t i = 0; i < PCI_CONFIG_SIZE; i += len)
			wr(&c, i, 0, len);
		assert_memory_equal(c.data, before.data, PCI_CONFIG_SIZE);
	}
	wr(&c, 0xfe, 0xffffffff, 4);
	wr(&c, 0x1000, 0xffffffff, 4);
	wr(&c, UINT32_MAX, 0xffffffff, 4);
	assert_memory_equal(&c, &before, sizeof c);
	assert_int_equal(rd(&c, 0xfe, 4), 0);
	assert_int_equal(rd(&c, 0x100, 4), 0);
	assert_int_equal(rd(&c, UINT32_MAX, 4), 0);
}

static void test_bars(void **state)
{
	struct pci_config c;

	pci_config_init(&c, &id);
	assert_int_equal(pci_config_add_bar(&c, 0, 0x8000, 0), 0);
	assert_int_equal(pci_config_add_bar(&c, 2, 1ULL << 33, PCI_BAR_64 | PCI_BAR_PREFETCH), 0);
	assert_int_equal(pci_config_add_bar(&c, 4, 16, PCI_BAR_64), 0);

	/* Sizing, one register at a time. */
	wr(&c, 0x10, 0xffffffff, 4);
	assert_int_equal(rd(&c, 0x10, 4), 0xffff8000);
	wr(&c, 0x18, 0xffffffff, 4);
	assert_int_equal(rd(&c, 0x18, 4), 0xc);
	wr(&c, 0x1c, 0xffffffff, 4);
	assert_int_equal(rd(&c, 0x1c, 4), 0xfffffffe);
	wr(&c, 0x20, 0xffffffff, 4);
	assert_int_equal(rd(&c, 0x20, 4), 0xfffffff4);
	wr(&c, 0x14, 0xffffffff, 4); /* not there */
	assert_int_equal(rd(&c, 0x14, 4), 0);

	pci_config_set_bar(&c, 2, 0x1234ULL << 33);
	assert_int_equal(pci_config_bar(&c, 2), 0x1234ULL << 33);
	assert_int_equal(rd(&c, 0x18, 4), 0xc);
	wr(&c, 0x10, 0xc1238000, 4);
	assert_int_equal(pci_config_bar(&c, 0), 0xc1238000);
	wr(&c, 0x13, 0xd1, 1);
	assert_int_equal(pci_config_bar(&c, 0), 0xd1238000);
}

static void test_bad_bars(void **state)
{
	static const struct {
		unsigned bar;
		uint64_t size;
		unsigned flags;
	} bad[] = {
		{ 6, 16, 0 },         { 0, 8, 0 },           { 0, 0, 0 },           { 0, 24, 0 },
		{ 0, 1ULL << 32, 0 }, { 5, 16, PCI_BAR_64 }, { 1, 16, PCI_BAR_64 }, /* the next is taken */
		{ 2, 16, 0 },         { 3, 16, 0 },                                 /* the upper half of 2 */
	};
	struct pci_config c;

	pci_config_init(&c, &id);
	assert_int_equal(pci_config_add_bar(&c, 2, 0x1000, PCI_BAR_64), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(pci_config_add_bar(&c, bad[i].bar, bad[i].size, bad[i].flags), -EINVAL);
}

static void test_capabilities(void **state)
{
	static const uint8_t body[300];
	struct pci_config c;

	pci_config_init(&c, &id);
	assert_int_equal(pci_config_add_capability(&c, 9, "abc", 3), 0x40);
	assert_int_equal(rd(&c, 6, 2), PCI_STATUS_CAPABILITIES);
	assert_int_equal(rd(&c, 0x34, 1), 0x40);
	assert_int_equal(rd(&c, 0x40, 4), 'b' << 24 | 'a' << 16 | 9);
	assert_int_equal(pci_config_add_capability(&c, 0x11, body, 10), 0x48);
	assert_int_equal(rd(&c, 0x41, 1), 0x48);
	assert_int_equal(rd(&c, 0x49, 1), 0);
	assert_int_equal(pci_config_add_capability(&c, 9, body, 300), -ENOSPC);
	assert_int_equal(pci_config_add_capability(&c, 9, body, 256 - 0x54 - 1), -ENOSPC);
	assert_int_equal(pci_config_add_capability(&c, 9, body, 256 - 0x54 - 2), 0x54);
	assert_int_equal(pci_config_add_capability(&c, 9, body, 0), -ENOSPC);
}

static void test_move(void **state)
{
	struct pci_config a, b;
	struct err e = { 0 };
	struct state *s;

	pci_config_init(&a, &id);
	pci_config_add_bar(&a, 0, 0x1000, 0);
	b = a;
	wr(&a, PCI_COMMAND, 6, 2);
	wr(&a, 0x10, 0xc1000000, 4);
	assert_int_equal(state_new(&s), 0);
	pci_config_save(&a, s);
	assert_int_equal(pci_config_load(&b, s, NULL), 0);
	assert_memory_equal(&a, &b, sizeof a);
	pci_config_set16(&b, PCI_DEVICE_ID, 0x1042);
	assert_int_equal(pci_config_load(&b, s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "1af4:1041"));
	state_free(s);
	assert_int_equal(state_new(&s), 0);
	assert_int_equal(pci_config_load(&a, s, NULL), -ENOENT);
	state_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),   cmocka_unit_test(test_write_mask),   cmocka_unit_test(test_bars),
		cmocka_unit_test(test_bad_bars), cmocka_unit_test(test_capabilities), cmocka_unit_test(test_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
