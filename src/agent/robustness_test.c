// SPDX-License-Identifier: Apache-2.0
/*
 * Whatever the host sends, the agent neither crashes nor hangs: random messages to every method, and bytes that are no
 * protocol at all. The agent's world is read-only but for its own folders, so that nothing outside can be harmed.
 * ROBUSTNESS_SEED and ROBUSTNESS_ROUNDS (requests per method) may be set.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/agent.h"
#include "agent/agent_harness.h"
#include "base/fd.h"
#include "base/sanitizer.h"
#include "base/strv.h"
#include "proto/health.pb-c.h"

#define DEPTH_MAX 6
#define SHARE     AGENT_SHARE_DIR

static struct harness h;
static uint64_t seed = 1;

/* xorshift64*: the same requests for the same seed everywhere. */
static uint32_t dice(uint32_t n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

/* Words that get past the first checks, and some that should not. */
static const char *const words[] = {
	"",
	"c1",
	"c2",
	"e1",
	"..",
	"/",
	"a/b",
	"blk",
	"mmioblk",
	"scsi",
	"nvdimm",
	"vfio-pci-gk",
	"ephemeral",
	"local",
	"bind",
	"caisson.subpath",
	"watchable-bind",
	"overlayfs",
	"virtio-fs",
	"9p",
	"tmpfs",
	"hugetlbfs",
	"ext4",
	"overlay",
	"none",
	"02/01",
	"1:2",
	"/dev/null",
	"/dev/caisson",
	"/run/kata-containers/shared/containers/f",
	"/run/kata-containers/shared/containers/d/f",
	"/run/kata-containers/sandbox/shm",
	"/run/kata-containers/x",
	"rootfs",
	"size=1m",
	"mode=1777",
	"fsgid=5",
	"ro",
	"rbind",
	"rshared",
	"lowerdir=/etc",
	"pagesize=2M",
	"io.katacontainers.volume.overlayfs.create_directory=/run/kata-containers/u",
	"termination-log",
	"eth0",
	"lo",
	VETH_HW,
	"10.1.2.3",
	"10.1.0.0/16",
	"fd00::1",
	"24",
	"255.255.255.0",
	"pid",
	"ipc",
	"uts",
	"mount",
	"cgroup",
	"user",
	"network",
	"time",
	"/proc",
	"/tmp",
	"proc",
	"sysfs",
	"cgroup2",
	"devpts",
	"CAP_SYS_ADMIN",
	"RLIMIT_NOFILE",
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_forward",
	"SCMP_ACT_ALLOW",
	"SCMP_ACT_ERRNO",
	"SCMP_ARCH_X86_64",
	"SCMP_CMP_EQ",
	"openat",
	"b",
	"c",
	"a",
	"rwm",
	"PATH=/bin",
	"\xff\xfe",
	"%s%n%s%n",
	"{}",
	"0-3",
	"kata/c1",
	"system.slice:kata:c1",
	"io.kubernetes.container.terminationMessagePath",
};

static char *random_string(void)
{
	size_t n = sizeof words / sizeof words[0];
	char *s;

	if (dice(24) == 0) {
		size_t length = dice(3) ? dice(300) : dice(70000);

		s = malloc(length + 1);
		memset(s, 'A' + (int)dice(26), length);
		s[length] = '\0';
		return s;
	}
	return strdup(words[dice((uint32_t)n)]);
}

/* What a field usually holds: three times out of four, so that requests get past the first checks. */
static const struct {
	const char *field, *values[8];
} hints[] = {
	{ "container_id", { "c1", "c2" } },
	{ "exec_id", { "e1", "" } },
	{ "driver", { "ephemeral", "local", "bind", "overlayfs", "mmioblk", "caisson.subpath", "watchable-bind" } },
	{ "fstype", { "tmpfs", "overlay", "ext4" } },
	{ "mount_point", { "/run/kata-containers/m1", "/run/kata-containers/m2/f" } },
	{ "volume_guest_path", { "/run" } },
	{ "path", { SHARE "/f", SHARE "/d/f", SHARE "/d", "/run/kata-containers/m1" } },
	{ "Path", { SHARE, "/run/kata-containers/m1", "/" } },
	{ "source", { "/run", "/etc/passwd", "tmpfs", "/dev/null" } },
	{ "device", { "eth0", "lo" } },
	{ "hwAddr", { VETH_HW } },
	{ "address", { "10.1.2.3", "fd00::3" } },
	{ "mask", { "24", "64" } },
};

static char *hinted_string(const char *field)
{
	for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
		uint32_t n = 0;

		if (strcmp(hints[i].field, field) || dice(4) == 0)
			continue;
		while (n < 8 && hints[i].values[n])
			n++;
		return strdup(hints[i].values[dice(n)]);
	}
	return random_string();
}

static uint64_t random_number(void)
{
	static const uint64_t edges[] = { 0,          1,          2,         7,          9,       15,      0x7fffffff,
					  0x80000000, 0xffffffff, INT64_MAX, UINT64_MAX, 0040755, 0100644, 0120777 };

	return dice(3) ? edges[dice(sizeof edges / sizeof edges[0])] : dice(1000);
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *type, int depth);

static void fill(const ProtobufCFieldDescriptor *f, void *at, int depth)
{
	ProtobufCBinaryData bytes = { 0 };

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)at = hinted_string(f->name);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes.len = dice(4096);
		bytes.data = calloc(1, bytes.len + 1);
		*(ProtobufCBinaryData *)at = bytes;
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)at = random_message(f->descriptor, depth + 1);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)at = random_number();
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)at = (protobuf_c_boolean)dice(2);
		break;
	default:
		*(uint32_t *)at = (uint32_t)random_number();
	}
}

static size_t field_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	default:
		return sizeof(uint32_t);
	}
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *type, int depth)
{
	ProtobufCMessage *m = calloc(1, type->sizeof_message);

	protobuf_c_message_init(type, m);
	for (unsigned int i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &type->fields[i];
		char *at = (char *)m + f->offset;

		/* Two features that are refused before anything else happens would hide the rest. */
		if ((!strcmp(f->name, "shared_mounts") || str_endswith(f->name, "_port")) && dice(20))
			continue;
		if ((f->type == PROTOBUF_C_TYPE_MESSAGE && depth >= DEPTH_MAX) || dice(8) == 0)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t n = dice(4), size = field_size(f);
			char *list = calloc(n + 1, size);

			for (size_t k = 0; k < n; k++)
				fill(f, list + k * size, depth);
			*(char **)at = list;
			*(size_t *)((char *)m + f->quantifier_offset) = n;
		} else {
			fill(f, at, depth);
			if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->quantifier_offset)
				*(protobuf_c_boolean *)((char *)m + f->quantifier_offset) = 1;
		}
	}
	return m;
}

static void on_answer(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	(void)result;
	(void)response;
	(void)e;
	--*(int *)userdata;
}

static void assert_alive(void)
{
	Grpc__CheckRequest req = GRPC__CHECK_REQUEST__INIT;

	assert_int_equal(ttrpc_call(h.client, "grpc.Health", "Check", &req.base,
				    &grpc__health_check_response__descriptor, 60000, NULL, &h.e),
			 0);
}

static void reconnect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%.80s/agent.sock", h.dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(ttrpc_client_new(h.loop, fd, -1, &h.client, NULL), 0);
}

/* Long polls stay unanswered; a new connection now and then ends them. */
static void test_random_requests(void **state)
{
	const char *rounds = getenv("ROBUSTNESS_ROUNDS");
	int n = rounds ? atoi(rounds) : 100, pending = 0;
	const struct ttrpc_service *service = &agent_services[0];

	(void)state;
	for (int round = 0; round < n; round++) {
		for (size_t i = 0; i < service->n_methods; i++) {
			const struct ttrpc_method *method = &service->methods[i];
			ProtobufCMessage *m = random_message(method->request, 0);

			pending++;
			if (ttrpc_call_async(h.client, service->name, method->name, m,
					     &google__protobuf__empty__descriptor, -1, on_answer, &pending, NULL,
					     NULL) < 0)
				pending--;
			protobuf_c_message_free_unpacked(m, NULL);
			loop_run_once(h.loop, 0);
		}
		assert_alive();
		if (round % 8 == 7) {
			ttrpc_client_free(h.client);
			assert_int_equal(pending, 0);
			reconnect();
			assert_alive();
		}
	}
	ttrpc_client_free(h.client);
	reconnect();
}

static void test_random_bytes(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	snprintf(sa.sun_path, sizeof sa.sun_path, "%.80s/agent.sock", h.dir);
	for (int i = 0; i < 200; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		uint8_t junk[2048];
		size_t n = dice(sizeof junk);

		for (size_t k = 0; k < n; k++)
			junk[k] = (uint8_t)dice(256);
		/* Half of them with a believable header: length, odd stream id, a request. */
		if (dice(2) && n > 10) {
			uint8_t header[10] = { 0, 0, (uint8_t)((n - 10) >> 8), (uint8_t)(n - 10), 0, 0, 0, 1, 1, 0 };

			memcpy(junk, header, sizeof header);
		}
		assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
		if (send(fd, junk, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			assert_true(errno == EPIPE || errno == EAGAIN || errno == ECONNRESET);
		close(fd);
	}
	assert_alive();
}

#if !SANITIZED /* which keeps what was freed for a while */
/* KiB of memory that is the agent's alone. */
static unsigned long anonymous_memory(void)
{
	_cleanup_free_ char *text = NULL;
	char path[32];

	snprintf(path, sizeof path, "/proc/%d/status", (int)h.pid);
	assert_int_equal(file_read(path, 65536, &text, NULL), 0);
	assert_non_null(strstr(text, "RssAnon:"));
	return strtoul(strstr(text, "RssAnon:") + strlen("RssAnon:"), NULL, 10);
}

/* The answer is sent before the request is freed. */
static unsigned long settled_memory(void)
{
	for (int i = 0; i < 100 && anonymous_memory() > 512; i++)
		usleep(20000);
	return anonymous_memory();
}
#endif

/* As large as a frame may be, of one piece and of very many small ones: what they took goes back to the kernel. */
static void test_memory_is_given_back(void **state)
{
	Grpc__CopyFileRequest file = GRPC__COPY_FILE_REQUEST__INIT;
	Grpc__CreateSandboxRequest many = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	size_t n = 600000;
	uint8_t *data = malloc(4000000);
	char **list = calloc(n, sizeof *list);

	(void)state;
	assert_non_null(data);
	assert_non_null(list);
	memset(data, 7, 4000000);
	file.path = (char *)"/elsewhere";
	file.data.data = data;
	file.data.len = 4000000;
	for (size_t i = 0; i < n; i++)
		list[i] = (char *)"a b c";
	many.dns = list;
	many.n_dns = 580000;
	many.guest_hook_path = (char *)"../not a path";
	for (int i = 0; i < 4; i++) {
		assert_int_not_equal(harness_do(&h, "CopyFile", &file.base), 0);
		assert_int_not_equal(harness_do(&h, "CreateSandbox", &many.base), -ECONNRESET);
	}
	free(list);
	free(data);
#if !SANITIZED
	assert_in_range(settled_memory(), 1, 512);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_is_given_back),
		cmocka_unit_test(test_random_requests),
		cmocka_unit_test(test_random_bytes),
	};
	int r;

	if (getenv("ROBUSTNESS_SEED"))
		seed = strtoull(getenv("ROBUSTNESS_SEED"), NULL, 0) | 1;
	if (!harness_start(&h, true))
		return 77; /* skipped */
	r = cmocka_run_group_tests(tests, NULL, NULL);
	if (harness_stop(&h) != 0) {
		fprintf(stderr, "the agent did not end well\n");
		r = 1;
	}
	return r;
}
