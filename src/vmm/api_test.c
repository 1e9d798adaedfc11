/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transcripts of the API, tests/vmm/api/NAME.txt: what is asked, what is answered, and what the library is then asked
 * to do (fake_vmm.h).
 *
 *     PUT /vsock {"guest_cid": 3}          a request
 *     400 {"fault_message":"…"}            its answer; "204 deprecated" has the header of that name
 *       new vm vcpus 1 …                   indented: the library's calls since the last request, all of them
 *     !pci  !fail FUNCTION  !fresh         devices on PCI; the next call of FUNCTION fails; another process
 *     !note [TEXT]                         snapshots from now on have this note, or none
 *
 * $DIR is a folder with the files vmlinux, initrd, disk, disk2. A tap device is there if its name does not begin with
 * "no".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "vmm/fake_vmm.h"
#include "vmm/router.h"

int __wrap_probe_tap(const char *name, struct err *e);

int __wrap_probe_tap(const char *name, struct err *e)
{
	return strncmp(name, "no", 2) ? 0 : err_set(e, ERR_SYSTEM, ENODEV, "%s is no tap device", name);
}

static char dir[64];

static char *replace(const char *text, const char *from, const char *to)
{
	struct buf out = { 0 };

	for (const char *p; (p = strstr(text, from)); text = p + strlen(from))
		if (buf_append(&out, text, (size_t)(p - text)) < 0 || buf_puts(&out, to) < 0)
			abort();
	if (buf_puts(&out, text) < 0)
		abort();
	return buf_take(&out);
}

struct transcript {
	const char *name;
	int line;
	struct instance i;
	char *calls, *next_call; /* of the last request */
	char *answer;
};

/* The line that the file has and what came instead. */
static void differs(struct transcript *t, const char *expected, const char *got)
{
	print_error("%s.txt:%d\n  expected: %s\n  got:      %s\n", t->name, t->line, expected, got);
	fail();
}

/* Nothing may be left over before the next request. */
static void finish_request(struct transcript *t)
{
	if (t->answer)
		differs(t, "(an answer)", t->answer);
	if (t->next_call && *t->next_call)
		differs(t, "(no more calls)", t->next_call);
	free(take_ptr(t->calls));
	t->next_call = NULL;
}

static void fresh(struct transcript *t)
{
	finish_request(t);
	instance_fini(&t->i);
	instance_init(&t->i, "vm");
	t->i.logger.level = LOGGER_OFF;
	free(fake_vmm_calls());
}

static void directive(struct transcript *t, const char *line)
{
	const char *function = str_after(line, "!fail "), *note = str_after(line, "!note");

	if (function)
		fake_vmm_fail(function, EIO);
	else if (note)
		fake_vmm_set_note(*note ? note + 1 : NULL);
	else if (str_eq(line, "!pci"))
		t->i.pci = true;
	else if (str_eq(line, "!fresh"))
		fresh(t);
	else
		differs(t, "(a directive)", line);
}

static void ask(struct transcript *t, const char *line)
{
	_cleanup_free_ char *text = replace(line, "$DIR", dir), *calls = NULL;
	char *rest = text, *method = strsep(&rest, " "), *target = strsep(&rest, " ");
	const struct request rq = {
		.method = method, .target = target, .body = rest ? rest : "", .body_len = rest ? strlen(rest) : 0
	};
	struct answer a;
	char *got;

	finish_request(t);
	free(fake_vmm_calls());
	answer_init(&a);
	router_handle(&t->i, &rq, &a);
	got = str_printf("%u%s%s%s", a.status, a.deprecated ? " deprecated" : "", a.body.len ? " " : "",
			 a.body.len ? a.body.data : "");
	t->answer = replace(got, dir, "$DIR");
	free(got);
	calls = fake_vmm_calls();
	t->calls = t->next_call = replace(calls, dir, "$DIR");
	answer_fini(&a);
}

static void expect_answer(struct transcript *t, const char *line)
{
	if (!str_eq(t->answer, line))
		differs(t, line, t->answer ? t->answer : "(nothing was asked)");
	free(take_ptr(t->answer));
}

static void expect_call(struct transcript *t, const char *line)
{
	const char *call = t->next_call ? strsep(&t->next_call, "\n") : NULL;

	if (!str_eq(call, line))
		differs(t, line, call && *call ? call : "(no call)");
}

static void play(const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/tests/vmm/api/%s.txt", getenv("SOURCE_ROOT"), name), *text = NULL;
	struct transcript t = { .name = name };
	char *rest;

	assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
	instance_init(&t.i, "vm");
	t.i.logger.level = LOGGER_OFF;
	rest = text;
	for (char *line; (line = strsep(&rest, "\n"));) {
		t.line++;
		if (!*line || *line == '#')
			continue;
		if (*line == '!')
			directive(&t, line);
		else if (!strncmp(line, "  ", 2))
			expect_call(&t, line + 2);
		else if (*line >= '0' && *line <= '9')
			expect_answer(&t, line);
		else
			ask(&t, line);
	}
	finish_request(&t);
	instance_fini(&t.i);
}

static void make_file(const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);
	_cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
}

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/caisson-vmm-XXXXXX");
	assert_non_null(mkdtemp(dir));
	make_file("vmlinux");
	make_file("initrd");
	make_file("disk");
	make_file("disk2");
	return 0;
}

static int remove_dir(void **state)
{
	return dir_remove(dir);
}

#define TRANSCRIPT(name)                                                                                               \
	static void test_##name(void **state)                                                                          \
	{                                                                                                              \
		play(#name);                                                                                           \
	}
#define TRANSCRIPTS(X)                                                                                                 \
	X(routes) X(machine) X(boot) X(drives) X(network) X(pmem) X(singles) X(balloon) X(memory) X(snapshot) X(output)

TRANSCRIPTS(TRANSCRIPT)

/* Every transcript is played. */
static void test_all_are_played(void **state)
{
	static const char *const names[] = {
#define X(name) #name ".txt",
		TRANSCRIPTS(X)
#undef X
	};
	_cleanup_free_ char *path = str_printf("%s/tests/vmm/api", getenv("SOURCE_ROOT"));
	_cleanup_closedir_ DIR *d = opendir(path);
	size_t n = 0;

	assert_non_null(d);
	for (struct dirent *entry; (entry = readdir(d));)
		n += str_endswith(entry->d_name, ".txt");
	assert_int_equal(n, sizeof names / sizeof names[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define X(name) cmocka_unit_test_setup_teardown(test_##name, make_dir, remove_dir),
		TRANSCRIPTS(X)
#undef X
			cmocka_unit_test(test_all_are_played),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
