/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs and DIMMs in and out, and disks that QEMU is slow to plug, against a fake monitor: a thread at the other end of
 * a socketpair that keeps count of what is plugged, and lets go of it, or does not, as the test says. The same with a
 * real guest: qemu_vm_test.c.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "hypervisor/qemu_vm.h"

#define STR(s) ((char *)(uintptr_t)(s))

#define MAX_CPUS 4

enum answer {
	LETS_GO,
	IN_USE, /* tries, and reports that it cannot */
	FAILS,  /* DEVICE_UNPLUG_GUEST_ERROR */
	SILENT,
};

static struct config_hypervisor hv;
static struct vm_config config;
static struct qemu_vm q;

static struct {
	pthread_t thread;
	int fd;
	pthread_mutex_t lock;
	enum answer answer;
	_Atomic unsigned cpus;
	_Atomic bool no_device_add;
	_Atomic bool not_there;        /* device_del: there is no such device */
	_Atomic(const char *) unheard; /* this command is done and not answered */
	char silent[48];               /* what was asked for and not answered */
	char resized[16];              /* node of the last block_resize */
	struct buf log;                /* "object-add hotplugged-0; device_add dev-dimm.0; " */
} fake;

static bool is_unheard(const char *command)
{
	const char *unheard = fake.unheard;

	return unheard && !strcmp(command, unheard);
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	send(fake.fd, text, strlen(text), MSG_NOSIGNAL);
}

static void say_gone(const char *device)
{
	if (str_after(device, "dev-cpu."))
		fake.cpus--;
	say("{\"event\":\"DEVICE_DELETED\",\"data\":{\"path\":\"/machine/peripheral/%s/lapic\"}}\n", device);
	say("{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\"%s\",\"path\":\"/machine/peripheral/%s\"}}\n", device,
	    device);
}

static void say_ost(const char *device, unsigned source, unsigned status)
{
	say("{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":{\"device\":\"%s\",\"source\":%u,\"status\":%u,"
	    "\"slot\":\"0\",\"slot-type\":\"DIMM\"}}}\n",
	    device, source, status);
}

static void on_device_del(const char *device)
{
	/* The guest acknowledges its insertion late, and says first that it is at it. */
	say_ost(device, 1, 0);
	if (fake.answer != SILENT)
		say_ost(device, 3, 0x84);
	if (fake.answer == LETS_GO)
		say_gone(device);
	else if (fake.answer == IN_USE)
		say_ost(device, 3, 0x82);
	else if (fake.answer == FAILS)
		say("{\"event\":\"DEVICE_UNPLUG_GUEST_ERROR\",\"data\":{\"device\":\"%s\",\"path\":\"/x\"}}\n", device);
	else
		snprintf(fake.silent, sizeof fake.silent, "%s", device);
}

static void say_cpus(const char *id)
{
	say("{\"id\":\"%s\",\"return\":[", id);
	for (unsigned i = MAX_CPUS; i-- > 0;)
		say("{\"type\":\"fake-cpu\",\"props\":{\"core-id\":%u}%s}%s", i,
		    i < fake.cpus ? ",\"qom-path\":\"/x\"" : "", i ? "," : "");
	say("]}\n");
}

static void on_request(const char *line)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *args;
	const char *command, *id, *driver, *n;

	if (json_parse(line, strlen(line), 4096, &o, NULL) < 0)
		return;
	command = json_get_str(o, "execute");
	args = json_get_object(o, "arguments");
	id = json_get_str(args, "id");
	driver = json_get_str(args, "driver");
	n = json_get_str(o, "id");
	if (!strcmp(command, "query-hotpluggable-cpus")) {
		say_cpus(n);
		return;
	}
	if (!strcmp(command, "query-block")) {
		say("{\"id\":\"%s\",\"return\":[{\"device\":\"\",\"qdev\":\"/machine/peripheral/dev-dat/"
		    "virtio-backend\","
		    "\"inserted\":{\"node-name\":\"disk0\"}},{\"device\":\"\",\"qdev\":\"/machine/peripheral/"
		    "dev-data\","
		    "\"inserted\":{\"node-name\":\"disk1\"}}]}\n",
		    n);
		return;
	}
	if (!strcmp(command, "block_resize"))
		snprintf(fake.resized, sizeof fake.resized, "%s", json_get_str(args, "node-name"));
	buf_printf(&fake.log, "%s %s; ", command, id ? id : "?");
	if (!strcmp(command, "device_add") && fake.no_device_add) {
		say("{\"id\":\"%s\",\"error\":{\"class\":\"GenericError\",\"desc\":\"no slot\"}}\n", n);
		return;
	}
	if (!strcmp(command, "device_del") && fake.not_there) {
		say("{\"id\":\"%s\",\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"none\"}}\n", n);
		return;
	}
	if (!strcmp(command, "device_add") && !strcmp(driver, "fake-cpu"))
		fake.cpus++;
	if (is_unheard(command))
		return;
	say("{\"id\":\"%s\",\"return\":{}}\n", n);
	if (!strcmp(command, "device_del"))
		on_device_del(id);
}

static void *fake_run(void *arg)
{
	char line[4096];
	size_t n = 0;

	while (n + 1 < sizeof line && recv(fake.fd, line + n, 1, 0) == 1) {
		if (line[n++] != '\n')
			continue;
		line[n] = 0;
		n = 0;
		pthread_mutex_lock(&fake.lock);
		on_request(line);
		pthread_mutex_unlock(&fake.lock);
	}
	return NULL;
}

static void on_event(const char *event, struct json_object *data, void *userdata)
{
	qemu_plugged_event(userdata, event, data);
}

static int set_up(void **state)
{
	int pair[2];

	hv = (struct config_hypervisor){ 0 };
	config = (struct vm_config){
		.vcpus = 1, .max_vcpus = MAX_CPUS, .memory_mib = 256, .max_memory_mib = 2048, .hv = &hv
	};
	q = (struct qemu_vm){ .vm = { .config = &config }, .vmm = { .name = "QEMU" }, .unplug_ms = 30000 };
	q.facts.kvm = true;
	list_init(&q.hotplugged);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    qmp_new(pair[0], on_event, &q, &q.vmm.qmp) < 0)
		return -1;
	memset(&fake, 0, sizeof fake);
	fake.fd = pair[1];
	fake.cpus = 1;
	pthread_mutex_init(&fake.lock, NULL);
	return pthread_create(&fake.thread, NULL, fake_run, NULL);
}

static int tear_down(void **state)
{
	qemu_plugged_fini(&q);
	qmp_free(q.vmm.qmp);
	pthread_join(fake.thread, NULL);
	close(fake.fd);
	buf_fini(&fake.log);
	return 0;
}

/* Between two calls the fake is at rest but for what it says of its own accord. */
static void set_answer(enum answer a)
{
	pthread_mutex_lock(&fake.lock);
	fake.answer = a;
	pthread_mutex_unlock(&fake.lock);
}

/* The guest lets go of what it was asked for before and did not answer. */
static void answer_late(void)
{
	pthread_mutex_lock(&fake.lock);
	say_gone(fake.silent);
	pthread_mutex_unlock(&fake.lock);
}

static void expect_log(const char *text)
{
	pthread_mutex_lock(&fake.lock);
	assert_string_equal(fake.log.data, text);
	fake.log.len = 0;
	pthread_mutex_unlock(&fake.lock);
}

static void forget_log(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.log.len = 0;
	pthread_mutex_unlock(&fake.lock);
}

static void expect_no_log(void)
{
	pthread_mutex_lock(&fake.lock);
	assert_int_equal(fake.log.len, 0);
	pthread_mutex_unlock(&fake.lock);
}

static void expect_mib(uint64_t ask, uint64_t get)
{
	struct err e = { 0 };
	uint64_t mib = 0;

	if (qemu_resize_memory(&q.vm, ask, &mib, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(mib, get);
}

static void expect_cpus(uint32_t ask, uint32_t get)
{
	struct err e = { 0 };
	uint32_t n = 0;

	if (qemu_resize_vcpus(&q.vm, ask, &n, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(n, get);
}

static void expect_mib_error(uint64_t ask, int code, const char *text)
{
	struct err e = { 0 };
	uint64_t mib = 77;

	assert_int_equal(qemu_resize_memory(&q.vm, ask, &mib, &e), code);
	assert_string_equal(e.text, text);
	assert_int_equal(mib, 77);
}

static void expect_cpus_error(uint32_t ask, int code, const char *text)
{
	struct err e = { 0 };
	uint32_t n = 77;

	assert_int_equal(qemu_resize_vcpus(&q.vm, ask, &n, &e), code);
	assert_string_equal(e.text, text);
	assert_int_equal(n, 77);
}

static void test_dimms(void **state)
{
	expect_mib(400, 512);
	expect_mib(600, 640);
	expect_mib(1000, 1024);
	expect_log("object-add hotplugged-0; device_add dev-dimm.0; object-add hotplugged-1; device_add dev-dimm.1; "
		   "object-add hotplugged-2; device_add dev-dimm.2; ");
	expect_mib(1000, 1024); /* the last has 384 MiB: none fits into 24 */
	expect_no_log();
	expect_mib(800, 896); /* the last but one */
	expect_log("device_del dev-dimm.1; object-del hotplugged-1; ");
	expect_mib(256, 256);
	expect_log("device_del dev-dimm.2; object-del hotplugged-2; device_del dev-dimm.0; object-del hotplugged-0; ");
	expect_mib(64, 256); /* what it booted with stays */
	expect_no_log();
	expect_mib(384, 384);
	expect_log("object-add hotplugged-3; device_add dev-dimm.3; ");
}

/* The maximum is a pod's limit, and no multiple of anything. */
static void test_dimms_below_a_limit(void **state)
{
	config.max_memory_mib = 434;
	expect_mib(434, 384);
	expect_log("object-add hotplugged-0; device_add dev-dimm.0; ");
	expect_mib(434, 384);
	expect_no_log();
	expect_mib(300, 384);
	expect_mib(256, 256);
}

/* What a command was given to be answered in (meson.build). */
static uint64_t object_add_ms;

int __real_qmp_execute(struct qmp *m, const char *command, struct json_object *args, int fd, uint64_t deadline_ms,
		       struct json_object **ret, struct err *e);
int __wrap_qmp_execute(struct qmp *m, const char *command, struct json_object *args, int fd, uint64_t deadline_ms,
		       struct json_object **ret, struct err *e);

int __wrap_qmp_execute(struct qmp *m, const char *command, struct json_object *args, int fd, uint64_t deadline_ms,
		       struct json_object **ret, struct err *e)
{
	if (!strcmp(command, "object-add"))
		object_add_ms = deadline_ms - clock_ms();
	if (is_unheard(command))
		deadline_ms = clock_ms() + 100;
	return __real_qmp_execute(m, command, args, fd, deadline_ms, ret, e);
}

/* Some seconds would do for a few GiB only, and what QEMU has begun to take would stay with it. */
static void test_dimm_taken_beforehand(void **state)
{
	expect_mib(384, 384);
	assert_true(object_add_ms <= QEMU_COMMAND_MS);
	hv.enable_mem_prealloc = true;
	expect_mib(512, 512);
	assert_true(object_add_ms > QEMU_PREALLOC_MS);
}

static void test_dimm_refused(void **state)
{
	expect_mib(384, 384);
	expect_mib(512, 512);
	set_answer(IN_USE);
	expect_mib_error(256, -EBUSY,
			 "cannot take 128 MiB of memory out of the VM (it has 512 MiB): the guest did not release it: "
			 "it is in use");
	set_answer(FAILS);
	expect_mib_error(256, -EBUSY,
			 "cannot take 128 MiB of memory out of the VM (it has 512 MiB): the guest did not release it: "
			 "it gave no reason");
	/* Nothing was lost: the memory counts, and may be asked for again. */
	expect_mib(512, 512);
	set_answer(LETS_GO);
	expect_mib(256, 256);
}

static void test_dimm_late(void **state)
{
	expect_mib(384, 384);
	expect_mib(512, 512);
	q.unplug_ms = 50;
	set_answer(SILENT);
	expect_mib_error(384, -EBUSY,
			 "cannot take 128 MiB of memory out of the VM (it has 512 MiB): the guest did not release "
			 "it within 0 s");
	assert_int_equal(q.plugged_mib, 256);
	answer_late();
	forget_log();
	expect_mib(384, 384);
	expect_log("object-del hotplugged-1; ");
}

static void test_dimm_not_plugged(void **state)
{
	fake.no_device_add = true;
	expect_mib_error(512, -EREMOTEIO,
			 "cannot add 256 MiB of memory to the VM: QEMU: device_add was refused: no slot");
	expect_log("object-add hotplugged-0; device_add dev-dimm.0; object-del hotplugged-0; ");
	assert_int_equal(q.plugged_mib, 0);
	assert_true(list_empty(&q.hotplugged));
}

static void test_cpus(void **state)
{
	expect_cpus(3, 3);
	expect_log("device_add dev-cpu.1; device_add dev-cpu.2; ");
	expect_cpus(2, 2);
	expect_cpus(4, 4);
	expect_log("device_del dev-cpu.2; device_add dev-cpu.2; device_add dev-cpu.3; ");
	expect_cpus(0, 1); /* the vCPU that it booted with stays */
	expect_log("device_del dev-cpu.3; device_del dev-cpu.2; device_del dev-cpu.1; ");
}

static void test_cpu_refused(void **state)
{
	expect_cpus(3, 3);
	set_answer(IN_USE);
	expect_cpus_error(1, -EBUSY,
			  "cannot change the VM to 1 vCPUs (it has 3): the guest did not release it: it is in use");
	set_answer(SILENT);
	q.vm.unplug_ms = 50; /* its owner has less patience than we */
	expect_cpus_error(1, -EBUSY,
			  "cannot change the VM to 1 vCPUs (it has 3): the guest did not release it within 0 s");
	answer_late();
	set_answer(LETS_GO);
	q.vm.unplug_ms = 0;
	expect_cpus(3, 3);
	expect_log("device_add dev-cpu.1; device_add dev-cpu.2; device_del dev-cpu.2; device_del dev-cpu.2; "
		   "device_add dev-cpu.2; ");
	expect_cpus(1, 1);
	q.facts.kvm = false;
	expect_cpus(2, 2);
	expect_cpus_error(1, -ENOTSUP,
			  "cannot change the VM to 1 vCPUs (it has 2): QEMU cannot take out a vCPU that it emulates in "
			  "software; this needs KVM");
}

/* A command that QEMU does and does not answer. Without locks: the fake is at rest. */
#define LATE " no answer from the monitor in time"

static void test_late_cpu(void **state)
{
	fake.unheard = "device_add";
	expect_cpus_error(2, -ETIMEDOUT, "cannot change the VM to 2 vCPUs (it has 1): QEMU: device_add:" LATE);
	fake.unheard = NULL;
	/* It came, and is not taken for one that the VM booted with. */
	expect_cpus(1, 1);
	expect_log("device_add dev-cpu.1; device_del dev-cpu.1; ");
	/* It did not come. */
	fake.unheard = "device_add";
	expect_cpus_error(2, -ETIMEDOUT, "cannot change the VM to 2 vCPUs (it has 1): QEMU: device_add:" LATE);
	fake.unheard = NULL;
	fake.cpus--;
	expect_cpus(2, 2);
	expect_cpus(1, 1);
	assert_true(list_empty(&q.hotplugged));
}

static void test_late_dimm(void **state)
{
	fake.unheard = "device_add";
	expect_mib_error(512, -ETIMEDOUT, "cannot add 256 MiB of memory to the VM: QEMU: device_add:" LATE);
	fake.unheard = NULL;
	expect_mib(512, 512);
	expect_log("object-add hotplugged-0; device_add dev-dimm.0; device_del dev-dimm.0; object-del hotplugged-0; "
		   "object-add hotplugged-1; device_add dev-dimm.1; ");
	fake.unheard = "object-add";
	expect_mib_error(640, -ETIMEDOUT, "cannot add 128 MiB of memory to the VM: QEMU: object-add:" LATE);
	fake.unheard = NULL;
	fake.not_there = true;
	expect_mib(512, 512);
	expect_log("object-add hotplugged-2; device_del dev-dimm.2; object-del hotplugged-2; ");
	/* The guest keeps one that came. */
	fake.unheard = "device_add";
	expect_mib_error(640, -ETIMEDOUT, "cannot add 128 MiB of memory to the VM: QEMU: device_add:" LATE);
	fake.unheard = NULL;
	fake.not_there = false;
	set_answer(IN_USE);
	expect_mib(640, 640);
	assert_int_equal(q.plugged_mib, 384);
}

static void expect_plug(struct vm_device *d, int code, const char *address)
{
	struct err e = { 0 };

	if (qemu_hotplug_add(&q, d, &e) != code)
		fail_msg("%s", e.text);
	assert_string_equal(d->address, address);
	d->address[0] = 0;
}

/* Its name and its slot stay taken until it is known to be away. */
static void test_late_disk(void **state)
{
	struct vm_device a = { .kind = VM_DEVICE_BLOCK, .id = STR("a"), .u.block = { .path = STR("/a") } };
	struct vm_device b = a;

	q.plan.layout.n_bridges = 1;
	b.id = STR("b");
	fake.unheard = "device_add";
	expect_plug(&a, -ETIMEDOUT, "");
	fake.unheard = NULL;
	expect_plug(&b, 0, "02/02");
	expect_log("blockdev-add ?; device_add dev-a; blockdev-add ?; device_add dev-b; ");
	expect_plug(&a, 0, "02/01");
	expect_log("device_del dev-a; blockdev-del ?; blockdev-add ?; device_add dev-a; ");
	assert_int_equal(qemu_hotplug_remove(&q, "a", NULL), 0);
	/* The same with the first half, of which nothing came. */
	fake.unheard = "blockdev-add";
	expect_plug(&a, -ETIMEDOUT, "");
	fake.unheard = NULL;
	fake.not_there = true;
	forget_log();
	assert_int_equal(qemu_hotplug_remove(&q, "a", NULL), 0);
	expect_log("device_del dev-a; blockdev-del ?; ");
	/* A plug that was refused, and whose undoing is not answered. */
	fake.no_device_add = true;
	fake.unheard = "blockdev-del";
	expect_plug(&a, -EREMOTEIO, "");
	fake.unheard = NULL;
	fake.no_device_add = false;
	forget_log();
	expect_plug(&a, 0, "02/01");
	expect_log("device_del dev-a; blockdev-del ?; blockdev-add ?; device_add dev-a; ");
}

/* A guest may say anything, of any device: nothing but what is ours and was asked for counts. */
static void test_strange_events(void **state)
{
	static const char *const events[] = {
		"{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":{\"source\":3,\"status\":130,\"slot\":\"0\"}}}",
		"{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":{\"device\":\"dev-dimm.0\",\"source\":3}}}",
		"{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":{\"device\":\"dev-dimm.7\",\"source\":3,\"status\":"
		"1}}}",
		"{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":{\"device\":\"dimm.0\",\"source\":3,\"status\":1}}}",
		"{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":{\"device\":\"dev-dimm.0\",\"source\":0,\"status\":"
		"1}}}",
		"{\"event\":\"ACPI_DEVICE_OST\"}",
		"{\"event\":\"DEVICE_DELETED\",\"data\":{\"path\":\"/machine/peripheral/dev-dimm.0\"}}",
		"{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\"image\"}}",
		"{\"event\":\"DEVICE_DELETED\"}",
	};
	struct qemu_hotplugged *h;

	expect_mib(512, 512);
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		say("%s\n", events[i]);
	qmp_dispatch(q.vmm.qmp);
	h = qemu_plugged_find(&q, "dimm.0");
	assert_true(h && !h->gone && !h->refusal);
	expect_mib(256, 256);
}

static void test_disk_grows(void **state)
{
	struct vm_device disk = { .id = STR("data"), .u.block = { .path = STR("/proc/self/exe") } };
	struct err e = { 0 };

	assert_int_equal(qemu_resize_block(&q.vm, &disk, &e), 0);
	assert_string_equal(fake.resized, "disk1");
	disk.id = STR("dat");
	assert_int_equal(qemu_resize_block(&q.vm, &disk, &e), 0);
	assert_string_equal(fake.resized, "disk0");
	disk.id = STR("da");
	assert_int_equal(qemu_resize_block(&q.vm, &disk, &e), -ENODEV);
	disk.u.block.path = STR("/no/such");
	assert_int_equal(qemu_resize_block(&q.vm, &disk, &e), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dimms, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dimms_below_a_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dimm_taken_beforehand, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dimm_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dimm_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dimm_not_plugged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cpus, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cpu_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_cpu, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_dimm, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_disk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_strange_events, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disk_grows, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
