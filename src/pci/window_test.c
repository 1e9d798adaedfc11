/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>

#include <cmocka.h>

#include "pci/window.h"

static void test_first_fit(void **state)
{
	struct pci_window w;
	uint64_t a, b, c, d;

	pci_window_init(&w, 0x10100, 0x10000);
	assert_int_equal(pci_window_take(&w, 0x100, &a), 0);
	assert_int_equal(a, 0x10100);
	assert_int_equal(pci_window_take(&w, 0x1000, &b), 0);
	assert_int_equal(b, 0x11000); /* naturally aligned */
	assert_int_equal(pci_window_take(&w, 0x200, &c), 0);
	assert_int_equal(c, 0x10200); /* in the gap */
	assert_int_equal(pci_window_take(&w, 0x8000, &d), 0);
	assert_int_equal(d, 0x18000);
	assert_int_equal(pci_window_take(&w, 0x8000, &d), -ENOSPC);
	pci_window_give(&w, b);
	pci_window_give(&w, 0x12345);
	assert_int_equal(pci_window_take(&w, 0x1000, &d), 0);
	assert_int_equal(d, b);
}

static void test_edges(void **state)
{
	struct pci_window w;
	uint64_t at;

	pci_window_init(&w, 0, 0);
	assert_int_equal(pci_window_take(&w, 16, &at), -ENOSPC);
	assert_false(pci_window_holds(&w, 0, 0));
	/* Up to the very end of the address space. */
	pci_window_init(&w, UINT64_MAX - 0xfff, 0x1000);
	assert_int_equal(pci_window_take(&w, 0x1000, &at), 0);
	assert_int_equal(at, UINT64_MAX - 0xfff);
	assert_int_equal(pci_window_take(&w, 16, &at), -ENOSPC);
	pci_window_give(&w, at);
	assert_int_equal(pci_window_take(&w, 0x2000, &at), -ENOSPC);
	assert_true(pci_window_holds(&w, UINT64_MAX - 15, 16));
	assert_false(pci_window_holds(&w, UINT64_MAX - 15, 32));
	assert_false(pci_window_holds(&w, 0, 16));
	pci_window_init(&w, 0x1000, 0x1000000);
	for (unsigned i = 0; i < PCI_WINDOW_PLACES; i++)
		assert_int_equal(pci_window_take(&w, 16, &at), 0);
	assert_int_equal(pci_window_take(&w, 16, &at), -ENOSPC);
	assert_int_equal(pci_window_take_at(&w, 0x800000, 16), -ENOSPC);
}

static void test_take_at(void **state)
{
	struct pci_window w;
	uint64_t at;

	pci_window_init(&w, 0x10000, 0x10000);
	assert_int_equal(pci_window_take_at(&w, 0x14000, 0x1000), 0);
	assert_int_equal(pci_window_take_at(&w, 0x14000, 0x1000), -EEXIST);
	assert_int_equal(pci_window_take_at(&w, 0x13000, 0x2000), -EEXIST);
	assert_int_equal(pci_window_take_at(&w, 0x14800, 0x100), -EEXIST);
	assert_int_equal(pci_window_take_at(&w, 0x20000, 0x1000), -ENOSPC);
	assert_int_equal(pci_window_take_at(&w, 0x15000, 0x1000), 0);
	assert_int_equal(pci_window_take_at(&w, 0x10000, 0x4000), 0);
	assert_int_equal(pci_window_take(&w, 0x1000, &at), 0);
	assert_int_equal(at, 0x16000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_fit),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_take_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
