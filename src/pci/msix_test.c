/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "guestmem/le.h"
#include "hw/fake_platform.h"
#include "pci/msix.h"
#include "state/state.h"

#define VECTORS 70
#define ENABLE  0x8000
#define MASKALL 0x4000

struct fixture {
	struct fake_platform platform;
	struct pci_function f;
	struct msix m;
};

static void new_msix(struct fixture *x)
{
	static const struct pci_identity id = { .vendor = 1 };

	pci_config_init(&x->f.config, &id);
	x->f.slot = 3;
	pci_config_set16(&x->f.config, PCI_COMMAND, PCI_COMMAND_MASTER);
	assert_int_equal(msix_init(&x->m, &x->platform.platform, &x->f, VECTORS, 2, 0x4000, 0x5000), 0);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof *x);

	log_set_level(LOG_LEVEL_ERROR);
	fake_platform_init(&x->platform);
	new_msix(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	msix_fini(&x->m);
	assert_int_equal(fake_platform_msis(&x->platform), 0);
	free(x);
	return 0;
}

static void control(struct fixture *x, uint16_t value)
{
	le16 v = le16_of(value);

	pci_config_write(&x->f.config, x->m.capability + 2, &v, sizeof v);
	msix_config_written(&x->m);
}

static uint32_t word(struct fixture *x, unsigned vector, unsigned i)
{
	uint32_t v;

	msix_table_read(&x->m, 16 * vector + 4 * i, &v, 4);
	return le32toh(v);
}

static void set_word(struct fixture *x, unsigned vector, unsigned i, uint32_t value)
{
	value = htole32(value);
	msix_table_write(&x->m, 16 * vector + 4 * i, &value, 4);
}

static void set_vector(struct fixture *x, unsigned vector, uint64_t address, uint32_t data)
{
	set_word(x, vector, 0, (uint32_t)address);
	set_word(x, vector, 1, (uint32_t)(address >> 32));
	set_word(x, vector, 2, data);
	set_word(x, vector, 3, 0);
}

static unsigned messages(struct fixture *x, uint64_t address, uint32_t data)
{
	struct fake_msi *m = fake_find_msi(&x->platform, address, data);

	return m ? fake_interrupts(m->fd) : 0;
}

static bool pending(struct fixture *x, unsigned vector)
{
	uint64_t v;

	msix_pba_read(&x->m, vector / 64 * 8, &v, 8);
	return le64toh(v) >> vector % 64 & 1;
}

static void master(struct fixture *x, bool on)
{
	pci_config_set16(&x->f.config, PCI_COMMAND, on ? PCI_COMMAND_MASTER : 0);
	msix_config_written(&x->m);
}

static void test_capability(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(pci_config_get32(&x->f.config, x->m.capability) >> 16, VECTORS - 1);
	assert_int_equal(pci_config_get32(&x->f.config, x->m.capability + 4), 0x4002);
	assert_int_equal(pci_config_get32(&x->f.config, x->m.capability + 8), 0x5002);
	control(x, 0xffff);
	assert_int_equal(pci_config_get16(&x->f.config, x->m.capability + 2), ENABLE | MASKALL | (VECTORS - 1));
	assert_int_equal(word(x, 0, 3), 1);
	assert_int_equal(word(x, VECTORS - 1, 3), 1);
}

static void test_delivery(void **state)
{
	struct fixture *x = *state;

	set_vector(x, 1, 0xfee00000, 0x41);
	msix_notify(&x->m, 1); /* off: lost */
	assert_int_equal(fake_platform_msis(&x->platform), 0);
	control(x, ENABLE);
	assert_int_equal(fake_platform_msis(&x->platform), 1);
	assert_int_equal(fake_find_msi(&x->platform, 0xfee00000, 0x41)->requester, 3 << 3);
	assert_int_equal(messages(x, 0xfee00000, 0x41), 0);
	msix_notify(&x->m, 1);
	msix_notify(&x->m, VECTORS);
	msix_notify(&x->m, 0xffff);
	assert_int_equal(messages(x, 0xfee00000, 0x41), 1);
	control(x, 0);
	assert_int_equal(fake_platform_msis(&x->platform), 0);
}

static void test_vector_mask(void **state)
{
	struct fixture *x = *state;

	control(x, ENABLE);
	set_vector(x, 69, 0xfee00000, 0x41);
	set_word(x, 69, 3, 1);
	msix_notify(&x->m, 69);
	msix_notify(&x->m, 69);
	assert_int_equal(messages(x, 0xfee00000, 0x41), 0);
	assert_true(pending(x, 69));
	assert_false(pending(x, 68));
	/* The message changes under the mask: one update, and it is the new one that comes. */
	set_word(x, 69, 2, 0x42);
	assert_int_equal(x->platform.updates, 0);
	set_word(x, 69, 3, 0);
	assert_int_equal(x->platform.updates, 1);
	assert_int_equal(messages(x, 0xfee00000, 0x42), 1);
	assert_false(pending(x, 69));
	set_word(x, 69, 3, 1);
	set_word(x, 69, 3, 0);
	assert_int_equal(x->platform.updates, 1);
	assert_int_equal(messages(x, 0xfee00000, 0x42), 0);
}

static void test_function_mask(void **state)
{
	struct fixture *x = *state;

	control(x, ENABLE | MASKALL);
	set_vector(x, 0, 0x1fee00000, 7);
	msix_notify(&x->m, 0);
	assert_int_equal(fake_platform_msis(&x->platform), 0);
	assert_true(pending(x, 0));
	control(x, ENABLE);
	assert_int_equal(messages(x, 0x1fee00000, 7), 1);
	control(x, ENABLE | MASKALL);
	msix_notify(&x->m, 0);
	assert_int_equal(messages(x, 0x1fee00000, 7), 0);
	control(x, 0); /* pending is forgotten with the rest */
	control(x, ENABLE);
	assert_int_equal(messages(x, 0x1fee00000, 7), 0);
}

static void test_widths(void **state)
{
	struct fixture *x = *state;
	uint8_t ones[8], got[8];

	memset(ones, 0xff, sizeof ones);
	for (uint32_t len = 1; len <= 8; len *= 2) {
		for (uint64_t at = 0; at < 16 * (VECTORS + 1); at++) {
			bool good = (len == 4 || len == 8) && at % len == 0 && at < 16 * VECTORS;

			memset(got, 0x77, sizeof got);
			msix_table_write(&x->m, at, ones, len);
			msix_table_read(&x->m, at, got, len);
			for (uint32_t i = 0; i < len; i++) {
				bool control_word = (at + i) % 16 >= 12, mask_bit = (at + i) % 16 == 12;

				assert_int_equal(got[i], !good ? 0 : !control_word ? 0xff : mask_bit);
			}
		}
		msix_reset(&x->m);
		assert_int_equal(word(x, 5, 0), 0);
		assert_int_equal(word(x, 5, 3), 1);
		memset(got, 0x77, sizeof got);
		msix_pba_read(&x->m, 0x100, got, len);
		assert_int_equal(got[0], 0);
	}
}

static void test_no_room_in_machine(void **state)
{
	struct fixture *x = *state;

	/* The machine has no more routes: the vector stays pending, and is delivered when there is one again. */
	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++)
		x->platform.msis[i].fd = 1000;
	control(x, ENABLE);
	set_vector(x, 0, 0xfee00000, 1);
	msix_notify(&x->m, 0);
	assert_true(pending(x, 0));
	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++)
		x->platform.msis[i].fd = -1;
	set_word(x, 0, 3, 0);
	assert_int_equal(messages(x, 0xfee00000, 1), 1);
}

static void test_move(void **state)
{
	struct fixture *x = *state;
	struct state *s;

	assert_int_equal(state_new(&s), 0);
	control(x, ENABLE);
	set_vector(x, 0, 0xfee00000, 1);
	set_vector(x, 1, 0xfee00000, 2);
	set_word(x, 1, 3, 1);
	msix_notify(&x->m, 1);
	msix_save(&x->m, s);
	pci_config_save(&x->f.config, s);
	msix_fini(&x->m);
	new_msix(x);
	assert_int_equal(pci_config_load(&x->f.config, s, NULL), 0);
	assert_int_equal(msix_load(&x->m, s, NULL), 0);
	state_free(s);
	msix_notify(&x->m, 0);
	assert_int_equal(messages(x, 0xfee00000, 1), 1);
	assert_true(pending(x, 1));
	set_word(x, 1, 3, 0);
	assert_int_equal(messages(x, 0xfee00000, 2), 1);
	assert_int_equal(state_new(&s), 0);
	assert_true(msix_load(&x->m, s, NULL) < 0);
	state_free(s);
}

static void test_init_refuses(void **state)
{
	struct fixture *x = *state;
	struct msix m = { 0 };

	assert_true(msix_init(&m, &x->platform.platform, &x->f, 0, 0, 0, 0) < 0);
	assert_true(msix_init(&m, &x->platform.platform, &x->f, MSIX_VECTORS_MAX + 1, 0, 0, 0) < 0);
	assert_true(msix_init(&m, &x->platform.platform, &x->f, 1, 0, 4, 0) < 0);
	msix_fini(&m);
	x->f.config.cap_end = 250;
	assert_true(msix_init(&m, &x->platform.platform, &x->f, 1, 0, 0, 0) < 0);
	msix_fini(&m);
}

/* A message is a write to memory. */
static void test_bus_master(void **state)
{
	struct fixture *x = *state;

	set_vector(x, 1, 0xfee00000, 0x41);
	control(x, ENABLE);
	master(x, false);
	msix_notify(&x->m, 1);
	assert_int_equal(messages(x, 0xfee00000, 0x41), 0);
	assert_true(pending(x, 1));
	control(x, ENABLE | MASKALL);
	master(x, true);
	assert_int_equal(messages(x, 0xfee00000, 0x41), 0);
	control(x, ENABLE);
	assert_int_equal(messages(x, 0xfee00000, 0x41), 1);
	assert_false(pending(x, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_capability, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delivery, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bus_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vector_mask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_function_mask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_widths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room_in_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_init_refuses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
