/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod asks of its VM, its guest and its cgroup when containers come, change and go: dynamic sizing, cpusets. */
#include "pod/pod_fixture.h"

#include <sched.h>
#include <sys/sysmacros.h>

#include "codec/hurry.h"
#include "pod/sizing.h"

#define LIMITS(quota, mib) "\"resources\":{\"cpu\":{\"quota\":" quota ",\"period\":100000}," mib "},"
#define MIB256             "\"memory\":{\"limit\":268435456}"
#define NO_MEMORY          "\"pids\":{\"limit\":9}"

static void dynamic(void)
{
	guest.can.cpu_hotplug = guest.can.memory_hotplug = true;
	((struct config *)t.config)->runtime.static_sandbox_resource_mgmt = false;
	((struct config *)t.config)->hypervisor.overhead_vcpus = 0;
	((struct config *)t.config)->hypervisor.overhead_memory = 0;
}

static void asked(const char *const *expected)
{
	list_is(&guest.devices, "request", expected);
	strv_fini(&guest.devices);
}

static void put_limited(const char *id, const char *more, const char *limits)
{
	resources = limits;
	put_bundle(id, more);
	resources = "";
}

/* Of a host with one CPU nothing can be seen to grow. */
static bool one_cpu(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) < 2;
}

static void test_containers_come_and_go(void **state)
{
	static const char *const grown[] = { "vcpus 2", "memory 352", NULL };
	static const char *const more[] = { "memory 608", NULL };
	static const char *const less[] = { "memory 352", NULL };
	static const char *const start_size[] = { "vcpus 1", "memory 128", NULL };

	if (one_cpu())
		skip();
	dynamic();
	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, LIMITS("150000", MIB256));
	put_limited("c3", MEMBER, LIMITS("50000", MIB256));
	make_pod();
	create("c1");
	start("c1", "");
	asked((const char *const[]){ NULL });
	create("c2");
	/* The guest's kernel beside 256 MiB. */
	asked(grown);
	assert_true(seen("OnlineCPUMem 2"));
	start("c2", "");
	create("c3");
	asked(more);
	start("c3", "");
	ask_kill("c3", "", SIGKILL);
	until_event("exit c3 137");
	delete ("c3", "");
	asked(less);
	assert_int_equal(try_delete("c2", "", true, &(struct deletion_outcome){ 0 }), 0);
	asked(start_size);
}

static int update(const char *id, int64_t quota, int64_t limit, struct err *e)
{
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	/* With the host's numbers, as containerd has them in each update. */
	Grpc__LinuxDeviceCgroup rule = GRPC__LINUX_DEVICE_CGROUP__INIT, *rules[] = { &rule };
	Grpc__LinuxBlockIO io = GRPC__LINUX_BLOCK_IO__INIT;

	res.devices = rules;
	res.n_devices = 1;
	res.blockio = &io;
	cpu.quota = quota;
	cpu.period = quota ? 100000 : 0;
	memory.limit = limit;
	res.cpu = &cpu;
	res.memory = &memory;
	return try_update(id, &res, e);
}

static size_t place_of(const char *line, size_t from)
{
	size_t i = fake_asked_at(line, from);

	if (i == SIZE_MAX)
		fail_msg("the guest was not asked for: %s", line);
	return i;
}

static void test_update(void **state)
{
	static const char *const grown[] = { "memory 608", NULL };
	static const char *const shrunk[] = { "memory 224", NULL };
	struct err e = { 0 };
	size_t n;

	dynamic();
	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, LIMITS("100000", MIB256));
	make_pod();
	create("c1");
	create("c2");
	strv_fini(&guest.devices);
	n = fake_asked_so_far();
	assert_int_equal(update("c2", 0, 512 << 20, &e), 0);
	asked(grown);
	/* Room first, then the permission to use it. */
	assert_true(place_of("OnlineCPUMem 1", n) <
		    place_of("UpdateContainer c2 memory 536870912 quota 0 cpus \"\"", n));
	assert_int_equal(update("c2", 0, 128 << 20, &e), 0);
	asked(shrunk);
}

/* A guest or a VMM that refuses: the container has what it had. */
static void test_refusals(void **state)
{
	static const char *const back[] = { "memory 608", "memory 352", NULL };
	struct err e = { 0 };

	dynamic();
	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, LIMITS("100000", MIB256));
	make_pod();
	create("c1");
	guest.fail_at = "memory";
	assert_int_equal(try_create("c2", &e), -EIO);
	assert_string_equal(e.text, "the fake VM refuses to memory");
	assert_int_equal(pod_state(t.pod, "c2", "", &(struct pod_process_state){ 0 }, &e), -ENOENT);
	guest.fail_at = NULL;
	create("c2");
	strv_fini(&guest.devices);
	guest.fail_at = "memory";
	assert_int_equal(update("c2", 0, 512 << 20, &e), -EIO);
	guest.fail_at = NULL;
	asked((const char *const[]){ NULL });
	guest.at = "UpdateContainer";
	guest.act = REFUSE;
	assert_true(update("c2", 0, 512 << 20, &e) < 0);
	asked(back);
}

/* Processors that came before something failed, and that the VM then keeps, are of use to the next one. */
static void test_kept(void **state)
{
	struct err e = { 0 };
	size_t n;

	if (one_cpu())
		skip();
	dynamic();
	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, LIMITS("40000", NO_MEMORY));
	put_limited("c3", MEMBER, LIMITS("150000", MIB256));
	put_limited("c4", MEMBER, LIMITS("40000", NO_MEMORY));
	put_limited("c5", MEMBER, LIMITS("10000", NO_MEMORY));
	make_pod();
	create("c1");
	create("c2");
	guest.vcpus_kept = 2;
	guest.fail_at = "memory";
	assert_int_equal(try_create("c3", &e), -EIO);
	guest.fail_at = NULL;
	n = fake_asked_so_far();
	create("c4");
	place_of("OnlineCPUMem 2", n);
	n = fake_asked_so_far();
	create("c5");
	assert_int_equal(fake_asked_at("OnlineCPUMem 2", n), SIZE_MAX);
}

/* A resize that fails midway may have brought some: the next one does not take the VM for what it was. */
static void test_midway(void **state)
{
	static const char *const expected[] = { "vcpus 1", NULL };
	struct err e = { 0 };

	if (one_cpu())
		skip();
	dynamic();
	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, LIMITS("40000", NO_MEMORY));
	put_limited("c3", MEMBER, LIMITS("150000", NO_MEMORY));
	put_limited("c4", MEMBER, LIMITS("40000", NO_MEMORY));
	put_limited("c5", MEMBER, LIMITS("10000", NO_MEMORY));
	make_pod();
	create("c1");
	create("c2");
	strv_fini(&guest.devices);
	guest.fail_at = "vcpus";
	assert_int_equal(try_create("c3", &e), -EIO);
	guest.fail_at = NULL;
	create("c4");
	asked(expected);
	create("c5");
	asked((const char *const[]){ NULL });
}

/* Others live on while a guest does not take more into use; it is taken back when the time is over. */
static void test_silence(void **state)
{
	static const char *const tried[] = { "memory 352", "memory 128", NULL };
	static const char *const changed[] = { "memory 608", "memory 352", NULL };
	struct pod_container_params p = { .id = "c2", .bundle = tmp("c2"), .standin_fd = -1 };
	static struct outcome created, updated; /* told at the latest when the pod ends */
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	size_t n;

	dynamic();
	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, LIMITS("100000", MIB256));
	make_pod();
	create("c1");
	start("c1", "");
	created = updated = (struct outcome){ 0 };
	guest.at = "OnlineCPUMem";
	guest.act = NEVER;
	hurry = true;
	pod_create(t.pod, &p, on_pid, &created);
	assert_int_equal(try_pause("c1", NULL), 0);
	assert_int_equal(try_resume("c1", NULL), 0);
	assert_false(created.done);
	assert_int_equal(await_outcome(&created, NULL), -ETIMEDOUT);
	assert_int_equal(pod_state(t.pod, "c2", "", &(struct pod_process_state){ 0 }, NULL), -ENOENT);
	asked(tried);
	guest.act = ANSWER;
	n = fake_asked_so_far();
	create("c2");
	place_of("OnlineCPUMem 1", n);
	strv_fini(&guest.devices);
	guest.act = NEVER;
	memory.limit = 512 << 20;
	res.memory = &memory;
	pod_update(t.pod, "c2", pb_copy(&res.base), on_done, &updated);
	assert_int_equal(try_pause("c1", NULL), 0);
	assert_int_equal(try_resume("c1", NULL), 0);
	assert_false(updated.done);
	assert_int_equal(await_outcome(&updated, NULL), -ETIMEDOUT);
	asked(changed);
	/* The pod's end answers as well. */
	pod_create(t.pod, &(struct pod_container_params){ .id = "c3", .bundle = tmp("c2"), .standin_fd = -1 }, on_pid,
		   &created);
	pod_update(t.pod, "c2", pb_copy(&res.base), on_done, &updated);
	created.done = updated.done = false;
	pod_free(take_ptr(t.pod));
	assert_true(created.done && updated.done);
	assert_int_equal(created.result, -ECANCELED);
	assert_int_equal(updated.result, -ESRCH);
	hurry = false;
}

/* Sized before it starts, or by a hypervisor that cannot: nothing is asked. */
static void test_static(void **state)
{
	struct err e = { 0 };

	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, LIMITS("100000", MIB256));
	guest.can.cpu_hotplug = guest.can.memory_hotplug = true;
	make_pod();
	create("c1");
	create("c2");
	assert_int_equal(update("c2", 0, 512 << 20, &e), 0);
	asked((const char *const[]){ NULL });
	dynamic();
	guest.can.memory_hotplug = false;
	assert_int_equal(update("c2", 0, 768 << 20, &e), 0);
	asked((const char *const[]){ NULL });
}

/* What the guest has used already is still the VM's when its container may use less. */
static void test_limit_falls(void **state)
{
	struct err e = { 0 };

	put_limited("c1", SINGLE, LIMITS("100000", MIB256));
	make_pod();
	create("c1");
	/* The VM has 256 + 96 MiB, and the VMM 128 + 1. */
	assert_true(strv_contains(&host.seen, "limit /pods/c1 268435456 +225"));
	assert_int_equal(update("c1", 0, 64 << 20, &e), 0);
	assert_true(strv_contains(&host.seen, "limit /pods/c1 67108864 +417"));
	assert_int_equal(update("c1", 0, 512 << 20, &e), 0);
	assert_true(strv_contains(&host.seen, "limit /pods/c1 536870912 +225"));
}

static void test_limit_while_it_runs(void **state)
{
	struct err e = { 0 };

	put_bundle("c1", SINGLE);
	make_pod();
	create("c1");
	assert_int_equal(update("c1", 0, 64 << 20, &e), 0);
	/* The VM has 128 MiB, and the VMM 128. */
	assert_true(strv_contains(&host.seen, "limit /pods/c1 67108864 +192"));
}

static void put_with_c1(const char *id, const char *limits)
{
	_cleanup_free_ char *of_c1 = str_printf(
		"{\"type\":\"network\",\"path\":\"/proc/%d/ns/net\"},{\"type\":\"pid\"}", (int)state_of("c1", "").pid);

	namespaces = of_c1;
	put_limited(id, SINGLE, limits);
	namespaces = NAMESPACES;
}

/* A container that came into another one's VM, which was sized without it. */
static void test_too_large_for_the_vm(void **state)
{
	char text[4096] = "";
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	make_pod();
	create("c1");
	log_set_sink(p[1], LOG_FORMAT_TEXT, "");
	put_with_c1("c2", LIMITS("100000", "\"memory\":{\"limit\":67108864}"));
	put_with_c1("c3", LIMITS("100000", MIB256));
	create("c2");
	create("c3");
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, "");
	assert_true(read(p[0], text, sizeof text - 1) > 0);
	assert_null(strstr(text, "c2 may use"));
	assert_non_null(strstr(
		text, "c3 may use 256 MiB of memory, and its virtual machine, which is that of p1, has 128 MiB"));
	close(p[0]);
	close(p[1]);
}

/* A container that came into another one's VM: what is plugged for it does not count against the other one's limit. */
static void test_grows_for_another(void **state)
{
	dynamic();
	put_limited("c1", SINGLE, LIMITS("100000", MIB256));
	make_pod();
	create("c1");
	put_with_c1("c2", LIMITS("100000", MIB256));
	create("c2");
	/* The VM has 608 MiB now, and the VMM 128. */
	assert_true(strv_contains(&host.seen, "limit /pods/c1 268435456 +480"));
	/* Nor when it has gone, and the other one may use more. */
	delete ("c1", "");
	assert_int_equal(update("c2", 0, 768 << 20, &(struct err){ 0 }), 0);
	assert_true(strv_contains(&host.seen, "limit /pods/c1 268435456 +736"));
}

/* c2 goes while c3, which has the same disk, waits for its guest to take more memory into use. */
static void begin_with_the_disk(enum act act, struct outcome *created, struct deletion_outcome *deleted)
{
	struct pod_container_params p = { .id = "c3", .bundle = tmp("c3"), .standin_fd = -1 };

	make_pod();
	create("c1");
	create("c2");
	assert_int_equal(guest.devices.len, 2);
	assert_non_null(strstr(guest.devices.v[1], "add "));
	strv_fini(&guest.devices);
	*created = (struct outcome){ 0 };
	*deleted = (struct deletion_outcome){ 0 };
	pod_delete(t.pod, "c2", "", false, on_deleted, deleted);
	guest.at = "OnlineCPUMem";
	guest.act = act;
	pod_create(t.pod, &p, on_pid, created);
	assert_false(created->done || deleted->o.done);
}

static void test_disk_of_one_that_goes(void **state)
{
	static struct outcome created; /* told at the latest when the pod ends */
	static struct deletion_outcome deleted;
	_cleanup_free_ char *mount = NULL;

	if (mknod(tmp("disk"), S_IFBLK | 0640, makedev(7, 99)) < 0)
		skip();
	dynamic();
	put_bundle("c1", SANDBOX);
	mount = str_printf("{\"destination\":\"/dev/xvda\",\"type\":\"bind\",\"source\":\"%s\"},", tmp("disk"));
	more_mounts = mount;
	put_limited("c2", MEMBER, LIMITS("100000", MIB256));
	put_limited("c3", MEMBER, LIMITS("100000", "\"memory\":{\"limit\":536870912}"));
	more_mounts = "";
	begin_with_the_disk(ANSWER, &created, &deleted);
	assert_int_equal(await_outcome(&created, NULL), 0);
	assert_int_equal(deleted.o.result, 0);
	/* It is there already. */
	asked((const char *const[]){ "memory 608", NULL });
	pod_free(take_ptr(t.pod));
	/* c3 does not come to be: nobody has the disk any more. */
	strv_fini(&guest.devices);
	begin_with_the_disk(REFUSE, &created, &deleted);
	assert_true(await_outcome(&created, NULL) < 0);
	assert_int_equal(deleted.o.result, 0);
	asked((const char *const[]){ "memory 608", "remove device", "memory 128", NULL });
}

/* What one that waits for room is to share, and what goes meanwhile, is no matter of the others. */
static void test_share_of_one_that_waits(void **state)
{
	struct pod_container_params p = { .id = "c3", .standin_fd = -1 };
	static struct outcome created; /* told at the latest when the pod ends */
	_cleanup_free_ char *mount =
		str_printf("{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"%s\"},", tmp("volume"));

	dynamic();
	put_bundle("c1", SANDBOX);
	/* Together not a MiB more than c3 alone. */
	put_limited("c2", MEMBER, LIMITS("10000", "\"memory\":{\"limit\":1}"));
	assert_int_equal(mkdir(tmp("volume"), 0755), 0);
	more_mounts = mount;
	put_limited("c3", MEMBER, LIMITS("40000", "\"memory\":{\"limit\":268435455}"));
	more_mounts = "";
	make_pod();
	create("c1");
	created = (struct outcome){ 0 };
	p.bundle = tmp("c3");
	pod_create(t.pod, &p, on_pid, &created);
	assert_false(created.done);
	assert_int_equal(rmdir(tmp("volume")), 0);
	create("c2");
	assert_int_equal(await_outcome(&created, NULL), -ENOENT);
}

/* ---- cpusets ---- */

#define CPUSET(cpus, mems) "\"resources\":{\"cpu\":{\"cpus\":\"" cpus "\",\"mems\":\"" mems "\"}},"

static int update_cpuset(const char *id, const char *cpus, const char *mems, struct err *e)
{
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;

	cpu.cpus = (char *)cpus;
	cpu.mems = (char *)mems;
	res.cpu = &cpu;
	return try_update(id, &res, e);
}

/* What the cgroup was told since the last time that this was asked. */
static void cgroup_told(const char *const *expected)
{
	_cleanup_strv_ struct strv told = { 0 };

	for (size_t i = 0; i < host.seen.len; i++)
		if (str_after(host.seen.v[i], "cpuset "))
			strv_add(&told, host.seen.v[i]);
	list_is(&told, "cpuset", expected);
	strv_fini(&host.seen);
}

#define TOLD(...) cgroup_told((const char *const[]){ __VA_ARGS__ })

static void end_and_delete(const char *id)
{
	_cleanup_free_ char *event = str_printf("exit %s 137", id);

	ask_kill(id, "", SIGKILL);
	until_event(event);
	delete (id, "");
}

/* The union of what those have that live and have one. */
static void test_cpusets(void **state)
{
	struct err e = { 0 };
	size_t n;

	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, CPUSET("0-1", "0"));
	put_limited("c3", MEMBER, CPUSET("3,1", ""));
	put_bundle("c4", MEMBER);
	make_pod();
	create("c1");
	TOLD(NULL);
	create("c2");
	TOLD("cpuset /pods/c1 \"0-1\" nodes \"0\"", NULL);
	create("c3");
	TOLD("cpuset /pods/c1 \"0-1,3\" nodes \"-\"", NULL);
	create("c4");
	TOLD(NULL);
	for (const char *const *id = (const char *const[]){ "c2", "c3", "c4", NULL }; *id; id++)
		start(*id, "");
	n = fake_asked_so_far();
	assert_int_equal(update_cpuset("c2", "2", "0-1", &e), 0);
	TOLD("cpuset /pods/c1 \"1-3\" nodes \"0-1\"", NULL);
	/* Numbers of the host's are nothing to the guest. */
	place_of("UpdateContainer c2 memory 0 quota 0 cpus \"\"", n);
	/* Nothing is said of them. */
	assert_int_equal(update("c2", 50000, 0, &e), 0);
	TOLD(NULL);
	end_and_delete("c3");
	TOLD("cpuset /pods/c1 \"2\" nodes \"-\"", NULL);
	/* It will come again. */
	ask_kill("c2", "", SIGKILL);
	until_event("exit c2 137");
	end_and_delete("c4");
	TOLD(NULL);
	put_limited("c2-again", MEMBER, CPUSET("1", "0"));
	create("c2-again");
	TOLD("cpuset /pods/c1 \"1\" nodes \"0\"", NULL);
	delete ("c2", "");
	TOLD(NULL);
	delete ("c2-again", "");
	TOLD("cpuset /pods/c1 \"\" nodes \"\"", NULL);
}

static void test_bad_cpusets(void **state)
{
	struct err e = { 0 };
	size_t n;

	put_bundle("c1", SANDBOX);
	put_limited("c2", MEMBER, CPUSET("0-1", "0"));
	put_limited("c3", MEMBER, CPUSET("0-", ""));
	put_limited("c4", MEMBER, CPUSET("1", "0,9999"));
	put_limited("c5", MEMBER, CPUSET("3", "0"));
	make_pod();
	create("c1");
	create("c2");
	strv_fini(&host.seen);
	assert_int_equal(try_create("c3", &e), -EINVAL);
	assert_non_null(strstr(e.text, "linux.resources.cpu.cpus is \"0-\""));
	assert_int_equal(try_create("c4", &e), -EINVAL);
	assert_non_null(strstr(e.text, "linux.resources.cpu.mems is \"0,9999\""));
	host.fail_at = "check cpuset";
	assert_int_equal(try_create("c5", &e), -EIO);
	assert_int_equal(pod_state(t.pod, "c5", "", &(struct pod_process_state){ 0 }, NULL), -ENOENT);
	TOLD(NULL);
	n = fake_asked_so_far();
	assert_int_equal(update_cpuset("c2", "5", "", &e), -EIO);
	host.fail_at = NULL;
	assert_int_equal(update_cpuset("c2", "1", "x", &e), -EINVAL);
	TOLD(NULL);
	/* Half of it is taken back. */
	host.fail_at = "cpuset";
	assert_int_equal(update_cpuset("c2", "1", "1", &e), -EIO);
	TOLD("cpuset /pods/c1 \"1\" nodes \"1\"", "cpuset /pods/c1 \"0-1\" nodes \"-\"", NULL);
	host.fail_at = NULL;
	assert_int_equal(fake_asked_at("UpdateContainer c2 memory 0 quota 0 cpus \"\"", n), SIZE_MAX);
	guest.at = "UpdateContainer";
	guest.act = REFUSE;
	assert_true(update_cpuset("c2", "1", "", &e) < 0);
	TOLD("cpuset /pods/c1 \"1\" nodes \"-\"", "cpuset /pods/c1 \"0-1\" nodes \"-\"", NULL);
	guest.at = "CreateContainer";
	assert_true(try_create("c5", &e) < 0);
	TOLD("cpuset /pods/c1 \"0-1,3\" nodes \"-\"", "cpuset /pods/c1 \"0-1\" nodes \"-\"", NULL);
}

/* A container that came into another one's VM: the other one's counts. */
static void test_cpusets_in_another_vm(void **state)
{
	struct err e = { 0 };

	put_limited("c1", SINGLE, CPUSET("0", ""));
	make_pod();
	create("c1");
	TOLD("cpuset /pods/c1 \"0\" nodes \"-\"", NULL);
	put_with_c1("c2", CPUSET("1", ""));
	create("c2");
	assert_int_equal(update_cpuset("c2", "2", "", &e), 0);
	TOLD(NULL);
	assert_int_equal(update_cpuset("c1", "1", "", &e), 0);
	TOLD("cpuset /pods/c1 \"1\" nodes \"-\"", NULL);
	delete ("c1", "");
	TOLD(NULL);
}

/* -1: it may run on several. */
static int pinned_to(void)
{
	cpu_set_t set;
	int cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	return CPU_COUNT(&set) == 1 ? cpu : -1;
}

static int next_cpu(const cpu_set_t *set, int from)
{
	while (from < CPU_SETSIZE && !CPU_ISSET(from, set))
		from++;
	return from;
}

/* The thread of the only vCPU is this one. */
static void test_pinning(void **state)
{
	_cleanup_free_ char *one = NULL, *other = NULL, *both = NULL, *limits = NULL;
	struct config *config = (struct config *)t.config;
	struct err e = { 0 };
	cpu_set_t all;
	int first, second;

	assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
	first = next_cpu(&all, 0);
	second = next_cpu(&all, first + 1);
	if (second == CPU_SETSIZE)
		skip();
	one = str_printf("%d", first);
	other = str_printf("%d", second);
	both = str_printf("%d,%d", first, second);
	limits = str_printf("\"resources\":{\"cpu\":{\"cpus\":\"%s\"}},", other);
	guest.vcpu = gettid();
	config->runtime.enable_vcpus_pinning = true;
	put_limited("c1", SINGLE, limits);
	make_pod();
	create("c1");
	assert_int_equal(pinned_to(), second);
	assert_int_equal(update_cpuset("c1", one, "", &e), 0);
	assert_int_equal(pinned_to(), first);
	/* More CPUs than vCPUs. */
	assert_int_equal(update_cpuset("c1", both, "", &e), 0);
	assert_int_equal(pinned_to(), -1);
	assert_int_equal(update_cpuset("c1", other, "", &e), 0);
	assert_int_equal(pinned_to(), second);
	/* A CPU that there is not. */
	assert_int_equal(update_cpuset("c1", "8191", "", &e), 0);
	assert_int_equal(pinned_to(), -1);
	config->runtime.enable_vcpus_pinning = false;
	assert_int_equal(update_cpuset("c1", one, "", &e), 0);
	assert_int_equal(pinned_to(), -1);
	assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_containers_come_and_go),
		T(test_update),
		T(test_refusals),
		T(test_kept),
		T(test_midway),
		T(test_silence),
		T(test_static),
		T(test_limit_falls),
		T(test_limit_while_it_runs),
		T(test_too_large_for_the_vm),
		T(test_grows_for_another),
		T(test_disk_of_one_that_goes),
		T(test_share_of_one_that_waits),
		T(test_cpusets),
		T(test_bad_cpusets),
		T(test_cpusets_in_another_vm),
		T(test_pinning),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("pod_resize", tests, NULL, NULL);
}
