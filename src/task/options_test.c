/* SPDX-License-Identifier: Apache-2.0 */
/* Runtime options, and what a bundle's annotations say of its pod. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"
#include "codec/pb.h"
#include "proto/bootstrap.pb-c.h"
#include "proto/runc_options.pb-c.h"
#include "proto/runtime_options.pb-c.h"
#include "task/any.h"
#include "task/group.h"
#include "task/options.h"

/* Parse it packed under a type's URL. */
static int parse(const ProtobufCMessage *m, const char *url, struct task_options *ret, struct err *e)
{
	_cleanup_any_ Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

	assert_int_equal(any_pack(m, &any), 0);
	any.type_url = (char *)url;
	return task_options_parse(&any, ret, e);
}

static void test_types(void **state)
{
	static const char *const urls[] = { "runtimeoptions.v1.Options", "cri.runtimeoptions.v1.Options",
					    "type.googleapis.com/runtimeoptions.v1.Options" };
	Containerd__Runc__V1__Options runc = CONTAINERD__RUNC__V1__OPTIONS__INIT;
	Runtimeoptions__V1__Options o = RUNTIMEOPTIONS__V1__OPTIONS__INIT;
	struct task_options got;
	struct err e = { 0 };

	o.type_url = (char *)"whatever";
	o.config_path = (char *)"/etc/caisson.toml";
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		assert_int_equal(parse(&o.base, urls[i], &got, NULL), 0);
		assert_string_equal(got.config_path, "/etc/caisson.toml");
		assert_null(got.config_body);
		task_options_fini(&got);
	}
	runc.binary_name = (char *)"/usr/bin/runc";
	assert_int_equal(parse(&runc.base, "containerd.runc.v1.Options", &got, NULL), 0);
	assert_null(got.config_path);
	assert_int_equal(parse(&runc.base, "containerd.runc.v1.Other", &got, &e), -EINVAL);
	assert_string_equal(e.text, "runtime options of type \"containerd.runc.v1.Other\" are not known here; "
				    "runtimeoptions.v1.Options with ConfigPath is");
}

static void test_body(void **state)
{
	Runtimeoptions__V1__Options o = RUNTIMEOPTIONS__V1__OPTIONS__INIT;
	uint8_t body[] = "[hypervisor.qemu]\n";
	struct task_options got;
	struct err e = { 0 };

	o.config_body.data = body;
	o.config_body.len = sizeof body - 1;
	assert_int_equal(parse(&o.base, "runtimeoptions.v1.Options", &got, NULL), 0);
	assert_string_equal(got.config_body, (char *)body);
	task_options_fini(&got);
	body[3] = 0;
	assert_int_equal(parse(&o.base, "runtimeoptions.v1.Options", &got, &e), -EINVAL);
	assert_null(got.config_body);
}

static void test_none(void **state)
{
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	struct task_options got;

	assert_int_equal(task_options_parse(NULL, &got, NULL), 0);
	assert_int_equal(task_options_parse(&any, &got, NULL), 0);
	assert_int_equal(task_options_read("", 0, &got, NULL), 0);
	assert_null(got.config_path);
}

static void test_garbage(void **state)
{
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	struct task_options got;
	struct err e = { 0 };

	assert_int_equal(task_options_read("\xff", 1, &got, &e), -EINVAL);
	assert_string_equal(e.text, "runtime options: the bytes are no google.protobuf.Any");
	any.type_url = (char *)"runtimeoptions.v1.Options";
	any.value.data = (uint8_t *)"\x12\x7f";
	any.value.len = 2;
	assert_int_equal(task_options_parse(&any, &got, &e), -EINVAL);
	assert_string_equal(e.text, "runtime options: the bytes are no runtimeoptions.v1.Options");
}

/* What `start` gets from containerd 2.3. */
static void test_bootstrap(void **state)
{
	Containerd__Runtime__Bootstrap__V1__BootstrapParams params =
		CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_PARAMS__INIT;
	Containerd__Runtime__Bootstrap__V1__Extension other = CONTAINERD__RUNTIME__BOOTSTRAP__V1__EXTENSION__INIT,
						      ours = other, *extensions[] = { &other, &ours };
	Runtimeoptions__V1__Options o = RUNTIMEOPTIONS__V1__OPTIONS__INIT;
	Google__Protobuf__Any unknown = GOOGLE__PROTOBUF__ANY__INIT;
	_cleanup_any_ Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	_cleanup_buf_ struct buf none = { 0 }, some = { 0 };
	struct task_options got;

	params.instance_id = (char *)"c1";
	params.namespace_ = (char *)"default";
	params.log_level = -4;
	params.containerd_version = (char *)"2.3.4";
	params.containerd_grpc_address = (char *)"/run/containerd/containerd.sock";
	assert_int_equal(pb_pack(&params.base, 4096, &none), 0);
	assert_int_equal(task_options_read(none.data, none.len, &got, NULL), 0);
	assert_null(got.config_path);
	o.config_path = (char *)"/etc/caisson.toml";
	assert_int_equal(any_pack(&o.base, &any), 0);
	unknown.type_url = (char *)"containerd.io/nri.v1.PluginConfig";
	other.value = &unknown;
	ours.value = &any;
	params.n_extensions = 2;
	params.extensions = extensions;
	assert_int_equal(pb_pack(&params.base, 4096, &some), 0);
	assert_int_equal(task_options_read(some.data, some.len, &got, NULL), 0);
	assert_string_equal(got.config_path, "/etc/caisson.toml");
	task_options_fini(&got);
}

/* ---- pods ---- */

static int read_group(const char *annotations, struct task_group *ret)
{
	char dir[] = "/tmp/task-group-XXXXXX", path[64], json[1024];
	int r;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/config.json", dir);
	snprintf(json, sizeof json,
		 "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/x\"],\"cwd\":\"/\"},"
		 "\"root\":{\"path\":\"rootfs\"},\"annotations\":{%s}}",
		 annotations);
	assert_int_equal(file_replace(path, json, strlen(json), 0600), 0);
	r = task_group_read(dir, "c1", ret, NULL);
	dir_remove(dir);
	return r;
}

static void test_group(void **state)
{
	static const struct {
		const char *annotations, *sandbox;
		bool is_member;
	} table[] = {
		{ "", "c1", false },
		{ "\"io.kubernetes.cri.container-type\":\"sandbox\",\"io.kubernetes.cri.sandbox-id\":\"c1\"", "c1",
		  false },
		{ "\"io.kubernetes.cri.container-type\":\"container\",\"io.kubernetes.cri.sandbox-id\":\"p1\"", "p1",
		  true },
		{ "\"io.kubernetes.cri-o.ContainerType\":\"container\",\"io.kubernetes.cri-o.SandboxID\":\"p2\"", "p2",
		  true },
		/* podman since 4.4 */
		{ "\"io.container.manager\":\"libpod\",\"io.kubernetes.cri-o.SandboxID\":\"p4\"", "p4", true },
		{ "\"io.kubernetes.cri-o.ContainerType\":\"other\",\"io.kubernetes.cri-o.SandboxID\":\"p5\"", "c1",
		  false },
		{ "\"io.kubernetes.docker.type\":\"container\",\"io.kubernetes.sandbox.id\":\"p3\"", "p3", true },
	};
	struct task_group g;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		assert_int_equal(read_group(table[i].annotations, &g), 0);
		assert_string_equal(g.sandbox, table[i].sandbox);
		assert_int_equal(g.is_member, table[i].is_member);
		assert_int_equal(g.config.len, 0);
		task_group_fini(&g);
	}
	/* podman names the pod itself when that has no infra container. */
	assert_int_equal(read_group("\"io.container.manager\":\"libpod\",\"io.kubernetes.cri-o.SandboxID\":\"p4\"", &g),
			 0);
	assert_true(g.is_member && g.may_be_alone);
	assert_int_equal(task_group_alone(&g, "c1", NULL), 0);
	assert_false(g.is_member);
	assert_string_equal(g.sandbox, "c1");
	task_group_fini(&g);
	assert_int_equal(read_group("\"io.container.manager\":\"cri-o\",\"io.kubernetes.cri-o.SandboxID\":\"p4\","
				    "\"io.kubernetes.cri-o.ContainerType\":\"container\"",
				    &g),
			 0);
	assert_true(g.is_member && !g.may_be_alone);
	task_group_fini(&g);
	assert_int_equal(read_group("\"io.katacontainers.config.hypervisor.default_vcpus\":\"2\",\"other\":\"x\"", &g),
			 0);
	assert_int_equal(g.config.len, 1);
	assert_string_equal(g.config.v[0], "io.katacontainers.config.hypervisor.default_vcpus=2");
	task_group_fini(&g);
	assert_true(read_group("not json", &g) < 0);
	assert_null(g.sandbox);
	assert_int_equal(task_group_read("/not/there", "c1", &g, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),   cmocka_unit_test(test_body),      cmocka_unit_test(test_none),
		cmocka_unit_test(test_garbage), cmocka_unit_test(test_bootstrap), cmocka_unit_test(test_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
