/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "oci/spec.h"

#define HEAD "{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"rootfs\"}"

static Grpc__Spec *golden(const char *name, struct strv *warnings)
{
	_cleanup_free_ char *path = str_printf("%s/tests/oci/%s.json", getenv("SOURCE_ROOT"), name), *text = NULL;
	Grpc__Spec *spec = NULL;
	struct err e = { 0 };
	size_t len;

	assert_int_equal(file_read(path, 1 << 20, &text, &len), 0);
	if (oci_spec_parse(text, len, "config.json", &spec, warnings, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	return spec;
}

/* Writing and reading again gives the same message, byte for byte, for every client's file. */
static void test_round_trip(void **state)
{
	static const char *const names[] = {
		"docker", "podman", "containerd-cri", "containerd", "umoci", "everything"
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		_cleanup_spec_ Grpc__Spec *spec = golden(names[i], NULL), *again = NULL;
		_cleanup_free_ char *json = oci_spec_to_json(spec);
		_cleanup_free_ uint8_t *one = NULL, *two = NULL;
		size_t n = grpc__spec__get_packed_size(spec);
		struct err e = { 0 };

		assert_non_null(json);
		assert_int_equal(oci_spec_parse(json, strlen(json), "again", &again, NULL, &e), 0);
		assert_int_equal(grpc__spec__get_packed_size(again), n);
		one = malloc(n);
		two = malloc(n);
		grpc__spec__pack(spec, one);
		grpc__spec__pack(again, two);
		assert_memory_equal(one, two, n);
	}
}

/* A capability that nobody knows, and a user without a group: as other runtimes take them. */
static void test_leniency(void **state)
{
	static const char text[] = HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"user\":{\"uid\":7},"
					"\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"OF_NO_KIND\"]}}}";
	_cleanup_spec_ Grpc__Spec *s = NULL;
	struct err e = { 0 };

	if (oci_spec_parse(text, strlen(text), "c", &s, NULL, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(s->process->user->uid, 7);
	assert_int_equal(s->process->user->gid, 0);
	assert_int_equal(s->process->capabilities->n_bounding, 2);
}

static void test_everything(void **state)
{
	_cleanup_strv_ struct strv w = { 0 };
	_cleanup_spec_ Grpc__Spec *s = golden("everything", &w);
	const Grpc__Linux *l = s->linux;

	assert_string_equal(s->version, "1.2.0");
	assert_string_equal(s->hostname, "box");
	assert_true(s->process->terminal);
	assert_int_equal(s->process->consolesize->height, 24);
	assert_int_equal(s->process->user->uid, 1000);
	assert_int_equal(s->process->user->n_additionalgids, 2);
	assert_int_equal(s->process->user->additionalgids[1], 27);
	assert_int_equal(s->process->user->umask, 077 | OCI_UMASK_GIVEN);
	assert_string_equal(s->process->args[1], "-c");
	assert_int_equal(s->process->oomscoreadj, -500);
	assert_string_equal(s->process->capabilities->ambient[0], "CAP_NET_BIND_SERVICE");
	assert_true(s->process->rlimits[0]->hard == UINT64_MAX);
	assert_int_equal(s->process->rlimits[0]->soft, 1024);
	assert_true(s->root->readonly);
	assert_string_equal(s->mounts[0]->options[1], "strictatime");
	assert_string_equal(s->hooks->createruntime[0]->args[1], "x");
	assert_int_equal(s->hooks->createruntime[0]->timeout, 5);
	assert_int_equal(s->n_annotations, 2);
	assert_string_equal(s->annotations[0]->key, "a.b/c");
	assert_string_equal(s->annotations[0]->value, "d");
	assert_string_equal(l->sysctl[0]->key, "net.ipv4.ip_forward");
	assert_int_equal(l->uidmappings[0]->hostid, 100000);
	assert_true(l->resources->devices[0]->major == -1 && l->resources->devices[0]->minor == -1);
	assert_int_equal(l->resources->devices[1]->minor, 229);
	assert_int_equal(l->resources->memory->limit, 536870912);
	assert_int_equal(l->resources->memory->swap, -1);
	assert_int_equal(l->resources->cpu->quota, 150000);
	assert_string_equal(l->resources->cpu->cpus, "0-1");
	assert_int_equal(l->resources->blockio->throttlereadbpsdevice[0]->rate, 600);
	assert_int_equal(l->resources->hugepagelimits[0]->limit, 209715200);
	assert_int_equal(l->resources->network->priorities[0]->priority, 500);
	assert_string_equal(l->namespaces[1]->path, "/run/netns/x");
	assert_int_equal(l->devices[0]->filemode, 0666);
	assert_int_equal(l->seccomp->defaulterrnoret, 38);
	assert_int_equal(l->seccomp->syscalls[0]->errnoret, 1); /* not given: EPERM */
	assert_int_equal(l->seccomp->syscalls[1]->errnoret, 0); /* given as 0 */
	assert_int_equal(l->seccomp->syscalls[1]->args[0]->valuetwo, 2);
	assert_string_equal(l->rootfspropagation, "rslave");
	assert_string_equal(l->maskedpaths[0], "/proc/kcore");
	assert_string_equal(l->intelrdt->l3cacheschema, "L3:0=f");

	assert_true(strv_contains(&w, "config.json: domainname has no effect"));
	assert_true(strv_contains(&w, "config.json: linux.personality has no effect"));
	assert_true(strv_contains(&w, "config.json: linux.timeOffsets has no effect"));
	assert_true(strv_contains(&w, "config.json: mounts[0].uidMappings has no effect"));
	assert_true(strv_contains(&w, "config.json: process.scheduler has no effect"));
	assert_int_equal(w.len, 5);
}

static void test_clients_give_no_warning(void **state)
{
	_cleanup_strv_ struct strv w = { 0 };
	_cleanup_spec_ Grpc__Spec *docker = golden("docker", &w), *podman = golden("podman", &w),
				  *cri = golden("containerd-cri", &w), *ctr = golden("containerd", &w);

	assert_int_equal(w.len, 0);
	assert_string_equal(docker->hooks->prestart[0]->args[0], "libnetwork-setkey");
	assert_string_equal(podman->linux->cgroupspath, "/libpod_parent/libpod-7f");
	assert_int_equal(podman->linux->resources->memory->limit, 64 << 20);
	assert_int_equal(podman->linux->resources->cpu->quota, 150000);
	assert_int_equal(podman->linux->seccomp->defaulterrnoret, 38);
	assert_string_equal(podman->linux->devices[0]->path, "/dev/xx");
	assert_int_equal(ctr->linux->n_maskedpaths, 10);
	assert_int_equal(cri->process->oomscoreadj, 1000);
}

/* Each kind of mistake names its place. */
static void test_errors(void **state)
{
	static const struct {
		const char *json, *text;
	} rows[] = {
		{ "", "c: empty; expected a JSON object" },
		{ " \n", "c: empty; expected a JSON object" },
		{ "[]", "c: expected an object" },
		{ "17 ", "c: expected a JSON object" },
		{ "{\"a\":", "c:1:6: the JSON text ends too early" },
		{ "{\n \"a\" 1}", "c:2:6: not JSON: object property name separator ':' expected" },
		{ "{} x", "c:1:4: text behind the JSON object" },
		{ "{\"ociVersion\":\"\xff\"}", "c:1:16: not JSON: invalid utf-8 string" },
		{ "{}", "c: ociVersion: is missing" },
		{ "{\"ociVersion\":1}", "c: ociVersion: expected a string" },
		{ "{\"ociVersion\":\"2.0\"}", "c: ociVersion: \"2.0\": expected a version from 1.0 to 1.2" },
		{ "{\"ociVersion\":\"1.0.2-dev\"}", "c: root: is missing" },
		{ "{\"ociVersion\":\"1.0\",\"root\":{\"path\":\"\"}}", "c: root.path: may not be empty" },
		{ HEAD ",\"process\":[]}", "c: process: expected an object" },
		{ HEAD ",\"process\":{\"cwd\":\"x\"}}", "c: process.cwd: \"x\" is not an absolute path" },
		{ HEAD ",\"process\":{\"args\":[\"a\"]}}", "c: process.cwd: is missing" },
		{ HEAD ",\"process\":{\"cwd\":\"/\"}}",
		  "c: process.args: is missing or empty: it needs the command to run" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"\"]}}",
		  "c: process.args[0]: exec: \"\": executable file not found in $PATH" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\",\"b\",3]}}",
		  "c: process.args[2]: expected a string" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\\u0000b\"]}}",
		  "c: process.args[0]: the string holds a NUL byte" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"user\":{\"uid\":-1,\"gid\":0}}}",
		  "c: process.user.uid: -1 is less than 0" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"user\":{\"uid\":4294967296,\"gid\":0}}}",
		  "c: process.user.uid: 4294967296 is more than 4294967295" },
		{ HEAD ",\"process\":{\"terminal\":1,\"cwd\":\"/\"}}", "c: process.terminal: expected true or false" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"oomScoreAdj\":1.5}}",
		  "c: process.oomScoreAdj: expected an integer" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"oomScoreAdj\":2000}}",
		  "c: process.oomScoreAdj: expected -1000 to 1000" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"capabilities\":{\"bounding\":[\"\"]}}}",
		  "c: process.capabilities.bounding[0]: may not be empty" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_X\",\"hard\":1,"
		       "\"soft\":1}]}}",
		  "c: process.rlimits[0].type: \"RLIMIT_X\": expected a limit of setrlimit(2) such as RLIMIT_NOFILE" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"hard\":1,"
		       "\"soft\":2}]}}",
		  "c: process.rlimits[0]: the soft limit 2 is above the hard limit 1" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"hard\":1,"
		       "\"soft\":1},{\"type\":\"RLIMIT_AS\",\"hard\":1,\"soft\":1}]}}",
		  "c: process.rlimits[1]: a second RLIMIT_AS" },
		{ HEAD ",\"mounts\":{}}", "c: mounts: expected a list" },
		{ HEAD ",\"mounts\":[{}]}", "c: mounts[0].destination: is missing" },
		{ HEAD ",\"annotations\":{\"a\":1}}", "c: annotations.a: expected a string" },
		{ HEAD ",\"hooks\":{\"poststop\":[{\"path\":\"x\"}]}}",
		  "c: hooks.poststop[0].path: \"x\" is not an absolute path" },
		{ HEAD ",\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"timeout\":0}]}}",
		  "c: hooks.poststop[0].timeout: expected more than 0 seconds" },
		{ HEAD ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}",
		  "c: linux.namespaces[1]: a second namespace of the type pid" },
		{ HEAD ",\"linux\":{\"namespaces\":[{\"type\":\"nets\"}]}}",
		  "c: linux.namespaces[0].type: \"nets\": expected pid, network, mount, ipc, uts, user, cgroup or "
		  "time" },
		{ HEAD ",\"linux\":{\"sysctl\":{\"../x\":\"1\"}}}",
		  "c: linux.sysctl.../x: the name: expected a name under /proc/sys such as net.ipv4.ip_forward" },
		{ HEAD ",\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"action\":"
		       "\"SCMP_ACT_LOG\"}]}}}",
		  "c: linux.seccomp.syscalls[0].names: is missing or empty" },
		{ HEAD ",\"linux\":{\"resources\":{\"devices\":[{\"allow\":true,\"access\":\"rx\"}]}}}",
		  "c: linux.resources.devices[0].access: \"rx\": expected letters of rwm" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		Grpc__Spec *spec = NULL;
		struct err e = { 0 };

		assert_true(oci_spec_parse(rows[i].json, strlen(rows[i].json), "c", &spec, NULL, &e) < 0);
		assert_null(spec);
		assert_string_equal(e.text, rows[i].text);
		/* The message may be dropped. */
		assert_true(oci_spec_parse(rows[i].json, strlen(rows[i].json), "c", &spec, NULL, NULL) < 0);
	}
}

static void test_depth_and_size(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };
	Grpc__Spec *spec;
	struct err e = { 0 };

	for (int i = 0; i < 40; i++)
		buf_puts(&b, "{\"a\":");
	assert_int_equal(oci_spec_parse(b.data, b.len, "c", &spec, NULL, &e), -EINVAL);
	assert_non_null(strstr(e.text, "nesting too deep"));
	buf_fini(&b);
	buf_reserve(&b, 5 << 20);
	memset(b.data, ' ', 5 << 20);
	assert_int_equal(oci_spec_parse(b.data, 5 << 20, "c", &spec, NULL, &e), -EFBIG);
}

static void test_parts(void **state)
{
	static const char process[] =
		"{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"id\"],\"env\":[\"A=b\"],\"cwd\":\"/\"}";
	static const char update[] = "{\"memory\":{\"limit\":100000000,\"swap\":0},\"cpu\":{\"shares\":512},"
				     "\"blockIO\":{\"weight\":0}}";
	_cleanup_(oci_process_free_p) Grpc__Process *p = NULL;
	_cleanup_(oci_resources_free_p) Grpc__LinuxResources *r = NULL;
	_cleanup_free_ char *json = NULL;
	struct err e = { 0 };

	assert_int_equal(oci_spec_parse_process(process, strlen(process), "p", &p, NULL, &e), 0);
	assert_string_equal(p->args[0], "id");
	assert_string_equal(p->env[0], "A=b");
	assert_int_equal(oci_resources_parse(update, strlen(update), "-", &r, NULL, &e), 0);
	assert_int_equal(r->memory->limit, 100000000);
	assert_int_equal(r->cpu->shares, 512);
	json = oci_resources_to_json(r);
	assert_non_null(strstr(json, "\"limit\": 100000000"));
}

static void test_load(void **state)
{
	char dir[] = "/tmp/spec_test.XXXXXX";
	_cleanup_free_ char *file = NULL;
	Grpc__Spec *spec = NULL;
	struct err e = { 0 };

	assert_non_null(mkdtemp(dir));
	assert_int_equal(oci_spec_load(dir, &spec, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "config.json: No such file or directory"));
	file = str_printf("%s/config.json", dir);
	assert_int_equal(file_replace(file, HEAD "}", strlen(HEAD "}"), 0600), 0);
	assert_int_equal(oci_spec_load(dir, &spec, NULL, &e), 0);
	assert_string_equal(spec->root->path, "rootfs");
	oci_spec_free(spec);
	assert_int_equal(dir_remove(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_everything),
		cmocka_unit_test(test_leniency),   cmocka_unit_test(test_clients_give_no_warning),
		cmocka_unit_test(test_errors),     cmocka_unit_test(test_depth_and_size),
		cmocka_unit_test(test_parts),      cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
