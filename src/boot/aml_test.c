/* SPDX-License-Identifier: Apache-2.0 */
/* Byte for byte: the encodings of ACPI 6.4 §20.2, worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>

#include <cmocka.h>

#include "boot/aml_resource.h"

/* What was written since the last time is exactly this. */
#define EXPECT(a, ...)                                                                                                 \
	do {                                                                                                           \
		const uint8_t expected_[] = { __VA_ARGS__ };                                                           \
                                                                                                                       \
		assert_int_equal(aml_finish(a), 0);                                                                    \
		assert_int_equal((a)->buf.len, sizeof expected_);                                                      \
		assert_memory_equal((a)->buf.data, expected_, sizeof expected_);                                       \
		(a)->buf.len = 0;                                                                                      \
	} while (0)

static void test_integers(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_int(&a, 0);
	EXPECT(&a, 0x00);
	aml_int(&a, 1);
	EXPECT(&a, 0x01);
	aml_int(&a, 2);
	EXPECT(&a, 0x0a, 0x02);
	aml_int(&a, 0xff);
	EXPECT(&a, 0x0a, 0xff);
	aml_int(&a, 0x100);
	EXPECT(&a, 0x0b, 0x00, 0x01);
	aml_int(&a, 0xffff);
	EXPECT(&a, 0x0b, 0xff, 0xff);
	aml_int(&a, 0x10000);
	EXPECT(&a, 0x0c, 0x00, 0x00, 0x01, 0x00);
	aml_int(&a, 0xffffffff);
	EXPECT(&a, 0x0c, 0xff, 0xff, 0xff, 0xff);
	aml_int(&a, 0x100000000);
	EXPECT(&a, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0);
}

static void test_constants(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_str(&a, "Ab");
	EXPECT(&a, 0x0d, 'A', 'b', 0);
	aml_str(&a, "");
	EXPECT(&a, 0x0d, 0);
	aml_eisa(&a, "PNP0A08"); /* §19.3.4: iasl says 0x080AD041 */
	EXPECT(&a, 0x0c, 0x41, 0xd0, 0x0a, 0x08);
	aml_buffer(&a, "xyz", 3);
	EXPECT(&a, 0x11, 0x06, 0x0a, 0x03, 'x', 'y', 'z');
	aml_uuid(&a, "33DB4D5B-1ff7-401C-9657-7441C03DD766");
	EXPECT(&a, 0x11, 0x13, 0x0a, 0x10, 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0,
	       0x3d, 0xd7, 0x66);
}

static void test_paths(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_path(&a, "");
	EXPECT(&a, 0x00);
	aml_path(&a, "\\");
	EXPECT(&a, '\\', 0x00);
	aml_path(&a, "A");
	EXPECT(&a, 'A', '_', '_', '_');
	aml_path(&a, "^^_SB");
	EXPECT(&a, '^', '^', '_', 'S', 'B', '_');
	aml_path(&a, "\\_SB.PCI0");
	EXPECT(&a, '\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0');
	aml_path(&a, "_SB.AB.CDEF");
	EXPECT(&a, 0x2f, 3, '_', 'S', 'B', '_', 'A', 'B', '_', '_', 'C', 'D', 'E', 'F');
}

static void test_containers(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_scope(&a, "\\_SB");
	aml_device(&a, "DEV0");
	aml_name_int(&a, "_UID", 7);
	aml_end(&a);
	aml_end(&a);
	EXPECT(&a, 0x10, 0x14, '\\', '_', 'S', 'B', '_', 0x5b, 0x82, 0x0c, 'D', 'E', 'V', '0', 0x08, '_', 'U', 'I', 'D',
	       0x0a, 0x07);
	aml_method(&a, "_STA", 2, true);
	aml_op(&a, AML_RETURN);
	aml_arg(&a, 1);
	aml_end(&a);
	EXPECT(&a, 0x14, 0x08, '_', 'S', 'T', 'A', 0x0a, 0xa4, 0x69);
	aml_method(&a, "M", 0, false);
	aml_end(&a);
	EXPECT(&a, 0x14, 0x06, 'M', '_', '_', '_', 0x00);
	aml_package(&a, 2);
	aml_int(&a, 1);
	aml_str(&a, "x");
	aml_end(&a);
	EXPECT(&a, 0x12, 0x06, 2, 0x01, 0x0d, 'x', 0);
	aml_mutex(&a, "LOCK");
	EXPECT(&a, 0x5b, 0x01, 'L', 'O', 'C', 'K', 0);
}

static void test_statements(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_if(&a);
	aml_op(&a, AML_AND);
	aml_local(&a, 1);
	aml_int(&a, 2);
	aml_none(&a);
	aml_op(&a, AML_NOTIFY);
	aml_path(&a, "D");
	aml_int(&a, 0x80);
	aml_end(&a);
	aml_else(&a);
	aml_op(&a, AML_INCREMENT);
	aml_local(&a, 7);
	aml_end(&a);
	EXPECT(&a, 0xa0, 0x0d, 0x7b, 0x61, 0x0a, 0x02, 0x00, 0x86, 'D', '_', '_', '_', 0x0a, 0x80, 0xa1, 0x03, 0x75,
	       0x67);
	aml_while(&a);
	aml_op(&a, AML_LNOT);
	aml_op(&a, AML_LLESS);
	aml_local(&a, 0);
	aml_int(&a, 1);
	aml_end(&a);
	EXPECT(&a, 0xa2, 0x05, 0x92, 0x95, 0x60, 0x01);
	aml_op(&a, AML_ACQUIRE);
	aml_path(&a, "LOCK");
	aml_timeout(&a, 0x1234);
	aml_op(&a, AML_RELEASE);
	aml_path(&a, "LOCK");
	EXPECT(&a, 0x5b, 0x23, 'L', 'O', 'C', 'K', 0x34, 0x12, 0x5b, 0x27, 'L', 'O', 'C', 'K');
}

static void test_fields(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_region(&a, "REG", AML_SYSTEM_IO, 0x600, 4);
	EXPECT(&a, 0x5b, 0x80, 'R', 'E', 'G', '_', 1, 0x0b, 0x00, 0x06, 0x0a, 0x04);
	aml_field(&a, "REG", AML_DWORD_ACC);
	aml_field_skip(&a, 0); /* says nothing */
	aml_field_bits(&a, "A", 8);
	aml_field_skip(&a, 63);
	aml_field_skip(&a, 64);
	aml_field_bits(&a, "B", 0x1000);
	aml_end(&a);
	/* A width does not count itself: 63 is one byte, 64 two, 0x1000 three. */
	EXPECT(&a, 0x5b, 0x81, 0x17, 'R', 'E', 'G', '_', 3, 'A', '_', '_', '_', 8, 0, 63, 0, 0x40, 0x04, 'B', '_', '_',
	       '_', 0x80, 0x00, 0x01);
}

/* PkgLength counts itself, so a container changes class where content and length together pass the limit. */
static void test_package_length(void **state)
{
	static const struct {
		size_t content, bytes;
	} cases[] = {
		{ 0, 1 }, { 62, 1 }, { 63, 2 }, { 0xffd, 2 }, { 0xffe, 3 }, { 0xffffc, 3 }, { 0xffffd, 4 },
	};
	static char zero[0x10000];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t total = cases[i].content + cases[i].bytes, left = cases[i].content, decoded;
		_cleanup_aml_ struct aml a = { 0 };
		const uint8_t *p;

		aml_if(&a);
		for (size_t n; left; left -= n) {
			n = left < sizeof zero ? left : sizeof zero;
			aml_bytes(&a, zero, n);
		}
		aml_end(&a);
		assert_int_equal(aml_finish(&a), 0);
		assert_int_equal(a.buf.len, 1 + total);
		p = (const uint8_t *)a.buf.data + 1;
		assert_int_equal(p[0] >> 6, cases[i].bytes - 1);
		decoded = cases[i].bytes == 1 ? p[0] : p[0] & 0xf;
		for (size_t k = 1; k < cases[i].bytes; k++)
			decoded |= (size_t)p[k] << (8 * k - 4);
		assert_int_equal(decoded, total);
	}
}

static void test_too_long(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_field(&a, "REG", AML_BYTE_ACC);
	aml_field_skip(&a, 0x10000000);
	aml_end(&a);
	assert_int_equal(aml_finish(&a), -ENOMEM);
}

static void test_nesting(void **state)
{
	_cleanup_aml_ struct aml open = { 0 }, closed = { 0 }, deep = { 0 };

	aml_if(&open);
	assert_int_equal(aml_finish(&open), -EINVAL);
	aml_end(&closed);
	assert_int_not_equal(aml_finish(&closed), 0);
	for (int i = 0; i < AML_DEPTH + 1; i++)
		aml_if(&deep);
	for (int i = 0; i < AML_DEPTH + 1; i++)
		aml_end(&deep);
	assert_int_not_equal(aml_finish(&deep), 0);
}

static void test_resources(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_resources(&a);
	aml_end(&a);
	EXPECT(&a, 0x11, 0x05, 0x0a, 0x02, 0x79, 0x00);
	aml_resources(&a);
	aml_io(&a, 0x3f8, 8);
	aml_interrupt(&a, 0x123);
	aml_memory(&a, 0xc0001000, 0x1000);
	aml_end(&a);
	EXPECT(&a, 0x11, 0x22, 0x0a, 0x1f,                     /* 31 bytes */
	       0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8,          /* IO (Decode16 …) */
	       0x89, 6, 0, 0x03, 1, 0x23, 0x01, 0, 0,          /* Interrupt (ResourceConsumer, Edge, ActiveHigh) */
	       0x86, 9, 0, 1, 0, 0x10, 0, 0xc0, 0, 0x10, 0, 0, /* Memory32Fixed (ReadWrite …) */
	       0x79, 0);
}

static void test_windows(void **state)
{
	_cleanup_aml_ struct aml a = { 0 };

	aml_bus_window(&a, 0, 255);
	EXPECT(&a, 0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 1);
	aml_memory_window32(&a, 0xc1000000, 0xe8000000);
	EXPECT(&a, 0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0xc1, 0xff, 0xff, 0xff, 0xe7, 0, 0, 0, 0, 0, 0, 0,
	       0x27);
	aml_memory_window64(&a, 0x100000000, 0x300000000);
	EXPECT(&a, 0x8a, 43, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 2,
	       0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0);
	/* Memory above 4 GiB: a fixed range of the device's own (consumer). */
	aml_memory(&a, 0x100000000, 0x1000);
	EXPECT(&a, 0x8a, 43, 0, 0, 0x0d, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0x0f, 0, 0, 1, 0, 0,
	       0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers),       cmocka_unit_test(test_constants),
		cmocka_unit_test(test_paths),          cmocka_unit_test(test_containers),
		cmocka_unit_test(test_statements),     cmocka_unit_test(test_fields),
		cmocka_unit_test(test_package_length), cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_nesting),        cmocka_unit_test(test_resources),
		cmocka_unit_test(test_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
