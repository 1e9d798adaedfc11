/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/fd.h"
#include "state/tree.h"

static int memory_file(void)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static struct state *reload(int fd)
{
	struct state *s = NULL;
	struct err e = { 0 };

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(state_load(fd, "file", &s, &e), 0);
	return s;
}

static void test_round_trip(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL, *back = NULL;
	_cleanup_close_ int fd = memory_file();
	const struct state *child;
	const char *text;
	uint8_t bytes[3];
	uint64_t n;

	assert_int_equal(state_new(&s), 0);
	state_put_u64(s, "number", 1);
	state_put_u64(s, "number", UINT64_MAX);
	state_put_str(s, "text", "words");
	state_put_bytes(s, "nothing", NULL, 0);
	state_put_bytes(state_child_n(state_child(s, "vcpu"), "regs", 7), "raw", "\0\1\2", 3);
	assert_ptr_equal(state_child(s, "vcpu"), state_child(s, "vcpu"));
	assert_int_equal(state_save(s, fd, "file", NULL), 0);
	back = reload(fd);
	assert_int_equal(state_get_u64(back, "number", &n, NULL), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(state_get_str(back, "text", &text, NULL), 0);
	assert_string_equal(text, "words");
	assert_int_equal(state_get_bytes(back, "nothing", NULL, 0, NULL), 0);
	child = state_get_child_n(state_get_child(back, "vcpu", NULL), "regs", 7, NULL);
	assert_non_null(child);
	assert_int_equal(state_get_bytes(child, "raw", bytes, 3, NULL), 0);
	assert_memory_equal(bytes, "\0\1\2", 3);
}

static void test_messages_name_the_path(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	const struct state *one;
	struct err e = { 0 };
	const char *text;
	uint64_t n = 5;
	uint8_t b[4];

	assert_int_equal(state_new(&s), 0);
	one = state_child_n(state_child(s, "a"), "b", 1);
	assert_int_equal(state_get_u64(one, "c", &n, &e), -ENOENT);
	assert_string_equal(e.text, "a/b-1/c: missing");
	state_put_str(state_child_n(state_child(s, "a"), "b", 1), "c", "xyz");
	assert_int_equal(state_get_u64(one, "c", &n, &e), -EINVAL);
	assert_string_equal(e.text, "a/b-1/c: of another type");
	assert_int_equal(state_get_bytes(one, "c", b, 4, &e), -EINVAL);
	assert_string_equal(e.text, "a/b-1/c: 3 bytes instead of 4");
	state_put_u64(s, "n", 300);
	assert_int_equal(state_get_max(s, "n", 255, &n, &e), -EINVAL);
	assert_string_equal(e.text, "n: 300 is more than 255");
	assert_int_equal(n, 5);
	state_put_bytes(s, "t", "a\0b", 3);
	assert_int_equal(state_get_str(s, "t", &text, &e), -EINVAL);
	assert_null(state_get_child(s, "t", &e));
	assert_null(state_get_child(s, "u", NULL));
}

static void test_first_failure_is_told_at_the_end(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	_cleanup_close_ int fd = memory_file();
	struct state *deep;
	struct err e = { 0 };

	assert_int_equal(state_new(&s), 0);
	state_put_u64(state_child(s, "Not A Name"), "x", 1);
	state_put_str(state_child(state_child(s, "Not A Name"), "y"), "z", "lost");
	assert_int_equal(state_save(s, fd, "file", &e), -EINVAL);
	state_free(take_ptr(s));

	assert_int_equal(state_new(&s), 0);
	deep = s;
	for (int i = 0; i < 40; i++)
		deep = state_child(deep, "deeper");
	state_put_u64(deep, "x", 1);
	assert_int_equal(state_save(s, fd, "file", &e), -ELOOP);
	state_free(take_ptr(s));

	assert_int_equal(state_new(&s), 0);
	state_put_u64(s, "a-name-of-thirty-two-characters-", 1);
	assert_int_equal(state_save(s, fd, "file", &e), -EINVAL);
}

/* Enough for any machine, and few enough to be searched. */
static void test_number_of_values_is_bounded(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	_cleanup_close_ int fd = memory_file();
	struct err e = { 0 };

	assert_int_equal(state_new(&s), 0);
	for (unsigned i = 0; i < STATE_VALUES_MAX / 256; i++) /* each with 255 in it */
		for (unsigned k = 0; k < 255; k++)
			state_child_n(state_child_n(s, "tree", i), "leaf", k);
	assert_int_equal(state_save(s, fd, "file", &e), 0);
	state_put_u64(s, "one-more", 1);
	assert_int_equal(state_save(s, fd, "file", &e), -E2BIG);
}

static void test_every_damage_is_found(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct state *back = NULL;
	_cleanup_close_ int fd = memory_file();
	struct err e;
	off_t len;

	assert_int_equal(state_new(&s), 0);
	state_put_u64(s, "n", 1);
	state_put_str(state_child(s, "tree"), "text", "abc");
	assert_int_equal(state_save(s, fd, "file", NULL), 0);
	len = lseek(fd, 0, SEEK_END);
	for (off_t i = 0; i < len; i++) {
		uint8_t b;

		assert_int_equal(pread(fd, &b, 1, i), 1);
		b ^= 0x10;
		assert_int_equal(pwrite(fd, &b, 1, i), 1);
		lseek(fd, 0, SEEK_SET);
		e.domain = ERR_NONE;
		assert_int_equal(state_load(fd, "file", &back, &e), -EINVAL);
		assert_true(err_is_set(&e));
		b ^= 0x10;
		assert_int_equal(pwrite(fd, &b, 1, i), 1);
	}
	for (off_t i = len - 1; i >= 0; i--) {
		assert_int_equal(ftruncate(fd, i), 0);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(state_load(fd, "file", &back, &e), -EINVAL);
	}
	assert_null(back);
}

static void test_a_newer_version_says_so(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct state *back = NULL;
	_cleanup_close_ int fd = memory_file();
	struct err e = { 0 };

	assert_int_equal(state_new(&s), 0);
	assert_int_equal(state_save(s, fd, "file", NULL), 0);
	assert_int_equal(pwrite(fd, "\2", 1, 8), 1);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(state_load(fd, "snap", &back, &e), -EINVAL);
	assert_non_null(strstr(e.text, "snap is of format version 2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_messages_name_the_path),
		cmocka_unit_test(test_first_failure_is_told_at_the_end),
		cmocka_unit_test(test_number_of_values_is_bounded),
		cmocka_unit_test(test_every_damage_is_found),
		cmocka_unit_test(test_a_newer_version_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
