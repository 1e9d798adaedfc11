// SPDX-License-Identifier: Apache-2.0
/* The agent's services as a host sees them, without containers (lifecycle_test.c has those). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/agent_harness.h"
#include "base/fd.h"
#include "base/strv.h"
#include "proto/csi.pb-c.h"
#include "proto/health.pb-c.h"
#include "proto/memagent.pb-c.h"
#include "proto/names.pb-c.h"
#include "sys/netns.h"

#define SHARE "/run/kata-containers/shared/containers"

static struct harness h;
static bool usable;

#define NEED_AGENT()                                                                                                   \
	do {                                                                                                           \
		if (!usable)                                                                                           \
			skip();                                                                                        \
	} while (0)

static bool is_type(const char *path, long type)
{
	struct statfs st;

	return statfs(harness_path(&h, path), &st) == 0 && (long)st.f_type == type;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(harness_path(&h, path), &st) == 0;
}

static void test_health(void **state)
{
	Grpc__CheckRequest req = GRPC__CHECK_REQUEST__INIT;
	ProtobufCMessage *m;

	(void)state;
	NEED_AGENT();
	assert_int_equal(ttrpc_call(h.client, "grpc.Health", "Check", &req.base,
				    &grpc__health_check_response__descriptor, 5000, &m, NULL),
			 0);
	assert_int_equal(((Grpc__HealthCheckResponse *)m)->status, GRPC__SERVING_STATUS__SERVING);
	protobuf_c_message_free_unpacked(m, NULL);
	assert_int_equal(ttrpc_call(h.client, "grpc.Health", "Version", &req.base,
				    &grpc__version_check_response__descriptor, 5000, &m, NULL),
			 0);
	assert_string_equal(((Grpc__VersionCheckResponse *)m)->agent_version, CAISSON_VERSION);
	protobuf_c_message_free_unpacked(m, NULL);
}

static void test_unimplemented(void **state)
{
	Grpc__SetPolicyRequest policy = GRPC__SET_POLICY_REQUEST__INIT;
	Grpc__MemAgentMemcgConfig memcg = GRPC__MEM_AGENT_MEMCG_CONFIG__INIT;

	(void)state;
	NEED_AGENT();
	assert_int_equal(harness_do(&h, "SetPolicy", &policy.base), -ENOSYS);
	assert_non_null(strstr(h.e.text, "policy"));
	assert_int_equal(harness_do(&h, "MemAgentMemcgSet", &memcg.base), -ENOSYS);
	assert_int_equal(harness_do(&h, "NoSuchMethod", &policy.base), -ENOSYS);
}

static void test_unknown_container(void **state)
{
	Grpc__StartContainerRequest start = GRPC__START_CONTAINER_REQUEST__INIT;
	Grpc__WaitProcessRequest wait = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__ReadStreamRequest stream = GRPC__READ_STREAM_REQUEST__INIT;
	Grpc__GetDiagnosticDataRequest diag = GRPC__GET_DIAGNOSTIC_DATA_REQUEST__INIT;

	(void)state;
	NEED_AGENT();
	start.container_id = wait.container_id = stream.container_id = diag.container_id = (char *)"none";
	assert_int_equal(harness_do(&h, "StartContainer", &start.base), -ENOENT);
	assert_int_equal(harness_do(&h, "WaitProcess", &wait.base), -ENOENT);
	stream.len = 100;
	assert_int_equal(harness_do(&h, "ReadStdout", &stream.base), -ENOENT);
	diag.log_type = (char *)"termination-log";
	assert_int_equal(harness_do(&h, "GetDiagnosticData", &diag.base), -ENOENT);
	diag.log_type = (char *)"secrets";
	assert_int_equal(harness_do(&h, "GetDiagnosticData", &diag.base), -EINVAL);
}

/* ---- sandbox ---- */

static void test_sandbox(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	Grpc__UpdateEphemeralMountsRequest update = GRPC__UPDATE_EPHEMERAL_MOUNTS_REQUEST__INIT;
	Grpc__Storage shm = GRPC__STORAGE__INIT, local = GRPC__STORAGE__INIT, *list[] = { &shm, &local };
	char *options[] = { (char *)"noexec,nosuid", (char *)"mode=1777", (char *)"size=1m" };
	char *local_options[] = { (char *)"mode=0770", (char *)"fsgid=77" };
	char *dns[] = { (char *)"search example.org", (char *)"10.0.0.53" };
	_cleanup_free_ char *text = NULL;
	struct statfs fs;
	struct stat st;

	(void)state;
	NEED_AGENT();
	shm.driver = (char *)"ephemeral";
	shm.fstype = shm.source = (char *)"tmpfs";
	shm.mount_point = (char *)"/run/kata-containers/sandbox/shm";
	shm.options = options;
	shm.n_options = 3;
	local.driver = (char *)"local";
	local.mount_point = (char *)"/run/kata-containers/sandbox/local/v";
	local.options = local_options;
	local.n_options = 2;
	req.hostname = (char *)"pod-7";
	req.sandbox_id = (char *)"sb1";
	req.sandbox_pidns = true;
	req.storages = list;
	req.n_storages = 2;
	req.dns = dns;
	req.n_dns = 2;
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), 0);
	assert_true(is_type(shm.mount_point, TMPFS_MAGIC));
	assert_int_equal(stat(harness_path(&h, local.mount_point), &st), 0);
	assert_int_equal(st.st_gid, 77);
	assert_int_equal(st.st_mode & 07777, 02770);
	assert_int_equal(file_read(harness_path(&h, "/etc/resolv.conf"), 4096, &text, NULL), 0);
	assert_string_equal(text, "search example.org\nnameserver 10.0.0.53\n");
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -EREMOTEIO);
	assert_non_null(strstr(h.e.text, "exists already"));

	options[2] = (char *)"size=2m";
	update.storages = list;
	update.n_storages = 1;
	assert_int_equal(harness_do(&h, "UpdateEphemeralMounts", &update.base), 0);
	assert_int_equal(statfs(harness_path(&h, shm.mount_point), &fs), 0);
	assert_int_equal(fs.f_blocks * (unsigned long)fs.f_bsize, 2 << 20);

	assert_int_equal(harness_do(&h, "DestroySandbox", &destroy.base), 0);
	assert_false(exists(shm.mount_point));
	assert_false(exists(local.mount_point));
	assert_int_equal(harness_do(&h, "UpdateEphemeralMounts", &update.base), -ENOENT);
}

static void test_sandbox_undone(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__Storage good = GRPC__STORAGE__INIT, bad = GRPC__STORAGE__INIT, *list[] = { &good, &bad };

	(void)state;
	NEED_AGENT();
	good.driver = (char *)"ephemeral";
	good.fstype = good.source = (char *)"tmpfs";
	good.mount_point = (char *)"/run/kata-containers/sandbox/good";
	bad.driver = (char *)"bind";
	bad.source = (char *)"/no/such/source";
	bad.mount_point = (char *)"/run/kata-containers/sandbox/bad";
	req.storages = list;
	req.n_storages = 2;
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -ENOENT);
	assert_non_null(strstr(h.e.text, "/no/such/source"));
	assert_false(exists(good.mount_point));
	assert_false(exists(bad.mount_point));
	bad.driver = (char *)"image_guest_pull";
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -ENOSYS);
	bad.driver = (char *)"bind";
	bad.mount_point = (char *)"/run/../etc";
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -EINVAL);
	assert_false(exists(good.mount_point));
}

static void test_overlay_and_bind(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	Grpc__Storage tmp = GRPC__STORAGE__INIT, over = GRPC__STORAGE__INIT, bind = GRPC__STORAGE__INIT;
	Grpc__Storage *list[] = { &tmp, &over, &bind };
	char *create[] = { (char *)"io.katacontainers.volume.overlayfs.create_directory=/run/kata-containers/o/upper",
			   (char *)"io.katacontainers.volume.overlayfs.create_directory=/run/kata-containers/o/work" };
	char *options[] = { (char *)"lowerdir=/run/kata-containers/no\\:lower:/etc",
			    (char *)"upperdir=/run/kata-containers/o/upper",
			    (char *)"workdir=/run/kata-containers/o/work" };
	char *ro[] = { (char *)"ro" };
	struct stat st;
	int fd;

	(void)state;
	NEED_AGENT();
	tmp.driver = (char *)"ephemeral";
	tmp.fstype = tmp.source = (char *)"tmpfs";
	tmp.mount_point = (char *)"/run/kata-containers/o";
	over.driver = (char *)"overlayfs";
	over.fstype = over.source = (char *)"overlay";
	over.mount_point = (char *)"/run/kata-containers/merged";
	over.driver_options = create;
	over.n_driver_options = 2;
	over.options = options;
	over.n_options = 3;
	bind.driver = (char *)"bind";
	bind.source = (char *)"/etc/passwd";
	bind.mount_point = (char *)"/run/kata-containers/file";
	bind.options = ro;
	bind.n_options = 1;
	req.storages = list;
	req.n_storages = 3;
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -ENOENT);
	assert_int_equal(dir_make(harness_path(&h, "/run/kata-containers/no:lower"), 0755), 0);
	assert_int_equal(chown(harness_path(&h, "/run/kata-containers/no:lower"), 100000, 100001), 0);
	assert_int_equal(chmod(harness_path(&h, "/run/kata-containers/no:lower"), 01710), 0);
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), 0);
	assert_true(is_type(over.mount_point, OVERLAYFS_SUPER_MAGIC));
	/* Whose the first lower folder is, and as open. */
	assert_int_equal(stat(harness_path(&h, over.mount_point), &st), 0);
	assert_int_equal(st.st_uid, 100000);
	assert_int_equal(st.st_gid, 100001);
	assert_int_equal(st.st_mode & 07777, 01710);
	assert_true(exists("/run/kata-containers/merged/passwd"));
	fd = open(harness_path(&h, "/run/kata-containers/merged/new"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists("/run/kata-containers/o/upper/new"));
	assert_int_equal(open(harness_path(&h, bind.mount_point), O_WRONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(harness_do(&h, "DestroySandbox", &destroy.base), 0);
	assert_false(exists("/run/kata-containers/merged"));
	assert_false(exists("/run/kata-containers/file"));
}

/* A part of a volume that a container has filled: its links lead nowhere. */
static void test_subpath(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	Grpc__Storage volume = GRPC__STORAGE__INIT, part = GRPC__STORAGE__INIT, other = GRPC__STORAGE__INIT;
	Grpc__Storage *list[] = { &volume, &part, &other };
	char *options[] = { (char *)"path=a/b", (char *)"mode=2770" };
	char *other_options[] = { (char *)"path=a/b/file" };
	struct stat st;

	(void)state;
	NEED_AGENT();
	volume.driver = (char *)"ephemeral";
	volume.fstype = volume.source = (char *)"tmpfs";
	volume.mount_point = (char *)"/run/kata-containers/sandbox/ephemeral/v";
	part.driver = other.driver = (char *)"caisson.subpath";
	part.source = other.source = volume.mount_point;
	part.mount_point = (char *)"/run/kata-containers/sandbox/subpath/1";
	part.driver_options = options;
	part.n_driver_options = 2;
	other.mount_point = (char *)"/run/kata-containers/sandbox/subpath/2";
	other.driver_options = other_options;
	other.n_driver_options = 1;
	req.storages = list;
	req.n_storages = 2;
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), 0);
	assert_int_equal(stat(harness_path(&h, "/run/kata-containers/sandbox/ephemeral/v/a/b"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02770);
	assert_true(is_type(part.mount_point, TMPFS_MAGIC));
	assert_int_equal(file_replace(harness_path(&h, "/run/kata-containers/sandbox/subpath/1/file"), "x", 1, 0644),
			 0);
	assert_true(exists("/run/kata-containers/sandbox/ephemeral/v/a/b/file"));
	assert_int_equal(harness_do(&h, "DestroySandbox", &destroy.base), 0);
	assert_false(exists(part.mount_point));

	/* Below something else than a storage; the mount point is no storage at that time. */
	part.source = (char *)"/etc";
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -EINVAL);
	part.source = volume.mount_point;
	options[0] = (char *)"path=../..";
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -EINVAL);
	options[0] = (char *)"path=a";
	options[1] = (char *)"mode=17777";
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -EINVAL);
	assert_false(exists(part.mount_point));
}

static void write_source(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", h.dir, name);
	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
}

static bool reads(const char *path, const char *text)
{
	_cleanup_free_ char *got = NULL;

	return file_read(harness_path(&h, path), 4096, &got, NULL) == 0 && str_eq(got, text);
}

static void test_watchable(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	Grpc__Storage small = GRPC__STORAGE__INIT, large = GRPC__STORAGE__INIT, file = GRPC__STORAGE__INIT;
	Grpc__Storage *list[] = { &small, &large, &file };
	char paths[3][128], name[32];

	(void)state;
	NEED_AGENT();
	for (int i = 0; i < 2; i++) {
		snprintf(paths[i], sizeof paths[i], "%s/%s", h.dir, i ? "large" : "small");
		assert_int_equal(dir_make(paths[i], 0755), 0);
	}
	snprintf(paths[2], sizeof paths[2], "%s/small/key", h.dir);
	write_source("small/key", "one");
	for (int i = 0; i < 17; i++) {
		snprintf(name, sizeof name, "large/%d", i);
		write_source(name, "x");
	}
	small.source = paths[0];
	small.mount_point = (char *)SHARE "/watchable/small";
	large.source = paths[1];
	large.mount_point = (char *)SHARE "/watchable/large";
	file.source = paths[2];
	file.mount_point = (char *)SHARE "/watchable/file";
	small.driver = large.driver = file.driver = (char *)"watchable-bind";
	req.storages = list;
	req.n_storages = 3;
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), 0);
	assert_true(is_type(SHARE "/watchable", TMPFS_MAGIC));
	assert_true(reads(SHARE "/watchable/small/key", "one"));
	assert_true(reads(SHARE "/watchable/file", "one"));
	write_source("small/key", "another");
	write_source("large/16", "y");
	assert_true(reads(SHARE "/watchable/large/16", "y")); /* mounted: seen at once */
	for (int i = 0; i < 500 && !reads(SHARE "/watchable/small/key", "another"); i++)
		usleep(20000);
	assert_true(reads(SHARE "/watchable/small/key", "another"));
	for (int i = 0; i < 500 && !reads(SHARE "/watchable/file", "another"); i++)
		usleep(20000);
	assert_true(reads(SHARE "/watchable/file", "another"));
	assert_int_equal(harness_do(&h, "DestroySandbox", &destroy.base), 0);
	assert_false(exists(SHARE "/watchable/small"));
	assert_false(is_type(SHARE "/watchable", TMPFS_MAGIC) && exists(SHARE "/watchable/large"));
	assert_int_equal(access(paths[1], F_OK), 0); /* the source is the host's */
	assert_true(access(paths[2], F_OK) == 0);
}

/* ---- devices ---- */

struct late {
	int result;
	bool done;
};

static void on_late(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	struct late *l = userdata;

	(void)response;
	(void)e;
	l->result = result;
	l->done = true;
}

static void test_device_wait_blocks_nobody(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__Storage disk = GRPC__STORAGE__INIT, *list[] = { &disk };
	struct late late = { 0 };

	(void)state;
	NEED_AGENT();
	disk.driver = (char *)"mmioblk";
	disk.source = (char *)"/dev/caisson-none";
	disk.fstype = (char *)"ext4";
	disk.mount_point = (char *)"/run/kata-containers/disk";
	req.storages = list;
	req.n_storages = 1;
	assert_int_equal(ttrpc_call_async(h.client, "grpc.AgentService", "CreateSandbox", &req.base,
					  &google__protobuf__empty__descriptor, -1, on_late, &late, NULL, NULL),
			 0);
	test_health(state);
	assert_false(late.done);
	while (!late.done)
		assert_int_equal(loop_run_once(h.loop, 10000), 0);
	assert_int_equal(late.result, -ETIMEDOUT);
	disk.source = (char *)"vda";
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), -EINVAL);
}

/* A real block device with a file system on it, as mmioblk names them. */
static void test_block_storage(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	Grpc__Storage disk = GRPC__STORAGE__INIT, *list[] = { &disk };
	Grpc__FSGroup group = GRPC__FSGROUP__INIT;
	char command[256], device[64] = "", *options[] = { (char *)"noatime,nodev" };
	struct stat st;
	FILE *f;

	(void)state;
	NEED_AGENT();
	snprintf(command, sizeof command,
		 "truncate -s 8M %s/img && mkfs.ext4 -q %s/img && losetup -f --show %s/img 2>/dev/null", h.dir, h.dir,
		 h.dir);
	f = popen(command, "re");
	assert_non_null(f);
	if (!fgets(device, sizeof device, f))
		device[0] = '\0';
	if (pclose(f) != 0 || strncmp(device, "/dev/loop", 9))
		skip(); /* no loop devices here */
	device[strcspn(device, "\n")] = '\0';
	disk.driver = (char *)"mmioblk";
	disk.source = device;
	disk.fstype = (char *)"ext4";
	disk.options = options;
	disk.n_options = 1;
	disk.mount_point = (char *)"/run/kata-containers/disk";
	group.group_id = 4242;
	disk.fs_group = &group;
	req.storages = list;
	req.n_storages = 1;
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), 0);
	assert_true(is_type(disk.mount_point, EXT4_SUPER_MAGIC));
	assert_int_equal(stat(harness_path(&h, "/run/kata-containers/disk/lost+found"), &st), 0);
	assert_int_equal(st.st_gid, 4242);
	assert_int_equal(st.st_mode & 02070, 02070);
	assert_int_equal(harness_do(&h, "DestroySandbox", &destroy.base), 0);
	assert_false(exists(disk.mount_point));
	snprintf(command, sizeof command, "losetup -d %s", device);
	assert_int_equal(system(command), 0);
}

/* ---- files ---- */

static int copy(const char *path, uint32_t mode, int64_t size, int64_t offset, const char *data)
{
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;

	req.path = (char *)path;
	req.file_mode = mode;
	req.dir_mode = 0750;
	req.file_size = size;
	req.offset = offset;
	req.data.data = (uint8_t *)data;
	req.data.len = strlen(data);
	req.uid = 1000;
	req.gid = 1001;
	return harness_do(&h, "CopyFile", &req.base);
}

static void test_copy_file(void **state)
{
	_cleanup_free_ char *text = NULL;
	char target[64] = "";
	struct stat st;

	(void)state;
	NEED_AGENT();
	assert_int_equal(copy(SHARE "/a/b/f", S_IFREG | 0640, 6, 0, "abc"), 0);
	assert_false(exists(SHARE "/a/b/f")); /* only half is there */
	assert_int_equal(copy(SHARE "/a/b/f", S_IFREG | 0640, 6, 3, "def"), 0);
	assert_int_equal(file_read(harness_path(&h, SHARE "/a/b/f"), 100, &text, NULL), 0);
	assert_string_equal(text, "abcdef");
	assert_false(exists(SHARE "/a/b/f.tmp"));
	assert_int_equal(stat(harness_path(&h, SHARE "/a/b/f"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(stat(harness_path(&h, SHARE "/a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(copy(SHARE "/empty", S_IFREG | 0600, 0, 0, ""), 0);
	assert_true(exists(SHARE "/empty"));
	assert_int_equal(copy(SHARE "/d", S_IFDIR | 01777, 0, 0, ""), 0);
	assert_int_equal(stat(harness_path(&h, SHARE "/d"), &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 01777);
	assert_int_equal(copy(SHARE "/link", S_IFLNK | 0777, 0, 0, "/etc"), 0);
	assert_int_equal(readlink(harness_path(&h, SHARE "/link"), target, sizeof target - 1), 4);
	assert_string_equal(target, "/etc");
}

static void test_copy_file_stays_inside(void **state)
{
	(void)state;
	NEED_AGENT();
	assert_int_equal(copy("/etc/evil", S_IFREG | 0600, 1, 0, "x"), -EINVAL);
	assert_int_equal(copy(SHARE "/../evil", S_IFREG | 0600, 1, 0, "x"), -EINVAL);
	assert_int_equal(copy(SHARE, S_IFREG | 0600, 1, 0, "x"), -EINVAL);
	assert_int_equal(copy(SHARE "/", S_IFREG | 0600, 1, 0, "x"), -EINVAL);
	assert_int_equal(copy("", S_IFREG | 0600, 1, 0, "x"), -EINVAL);
	/* Through the link of the test before. */
	assert_int_not_equal(copy(SHARE "/link/evil", S_IFREG | 0600, 1, 0, "x"), 0);
	assert_false(exists("/etc/evil"));
	assert_int_equal(copy(SHARE "/evil.tmp", S_IFLNK | 0777, 0, 0, "/run/evil"), 0);
	assert_int_not_equal(copy(SHARE "/evil", S_IFREG | 0600, 1, 0, "x"), 0);
	assert_false(exists("/run/evil"));
	/* A pipe that nobody reads. */
	assert_int_equal(mkfifo(harness_path(&h, SHARE "/pipe.tmp"), 0666), 0);
	assert_int_equal(copy(SHARE "/pipe", S_IFREG | 0600, 1, 0, "x"), -EREMOTEIO);
	assert_int_equal(copy(SHARE "/f", S_IFREG | 0600, 1, 0, "xy"), -EINVAL);
	assert_int_equal(copy(SHARE "/f", S_IFREG | 0600, 9, -1, "xy"), -EINVAL);
	assert_int_equal(copy(SHARE "/f", S_IFREG | 0600, INT64_MAX, INT64_MAX, "xy"), -EINVAL);
	assert_int_equal(copy(SHARE "/f", S_IFBLK | 0600, 1, 0, "x"), -EINVAL);
}

/* ---- network ---- */

static int update_interface(const char *hw, const char *name, const char *address)
{
	Grpc__UpdateInterfaceRequest req = GRPC__UPDATE_INTERFACE_REQUEST__INIT;
	Types__Interface i = TYPES__INTERFACE__INIT;
	Types__IPAddress v4 = TYPES__IPADDRESS__INIT, v6 = TYPES__IPADDRESS__INIT, *list[] = { &v4, &v6 };
	ProtobufCMessage *m = NULL;
	int r;

	v4.address = (char *)address;
	v4.mask = (char *)"24";
	v6.family = TYPES__IPFAMILY__v6;
	v6.address = (char *)"fd00::2";
	v6.mask = (char *)"64";
	i.hwaddr = (char *)hw;
	i.name = i.device = (char *)name;
	i.mtu = 1400;
	i.ipaddresses = list;
	i.n_ipaddresses = access("/proc/net/if_inet6", F_OK) == 0 ? 2 : 1;
	req.interface = &i;
	r = harness_call(&h, "UpdateInterface", &req.base, &types__interface__descriptor, &m);
	if (r == 0)
		assert_string_equal(((Types__Interface *)m)->name, name);
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	return r;
}

static void test_network(void **state)
{
	Grpc__ListInterfacesRequest list = GRPC__LIST_INTERFACES_REQUEST__INIT;
	Grpc__ListRoutesRequest list_routes = GRPC__LIST_ROUTES_REQUEST__INIT;
	Grpc__UpdateRoutesRequest update = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	Grpc__AddARPNeighborsRequest add = GRPC__ADD_ARPNEIGHBORS_REQUEST__INIT;
	Grpc__ARPNeighbors neighbors = GRPC__ARPNEIGHBORS__INIT;
	Types__ARPNeighbor n = TYPES__ARPNEIGHBOR__INIT, *n_list[] = { &n };
	Types__IPAddress ip = TYPES__IPADDRESS__INIT;
	Grpc__Routes routes = GRPC__ROUTES__INIT;
	Types__Route def = TYPES__ROUTE__INIT, net = TYPES__ROUTE__INIT, *r_list[] = { &def, &net };
	ProtobufCMessage *m = NULL;
	bool found = false;

	(void)state;
	NEED_AGENT();
	assert_int_equal(update_interface("not a mac", "eth0", "10.7.0.2"), -EINVAL);
	assert_int_equal(update_interface(VETH_HW, "a/b", "10.7.0.2"), -EINVAL);
	assert_int_equal(update_interface(VETH_HW, "eth0", "10.7.0.999"), -EINVAL);
	assert_int_equal(update_interface(VETH_HW, "eth0", "10.7.0.2"), 0);
	assert_int_equal(update_interface(VETH_HW, "eth0", "10.7.0.3"), 0); /* replaces the address */
	assert_int_equal(harness_call(&h, "ListInterfaces", &list.base, &grpc__interfaces__descriptor, &m), 0);
	for (size_t i = 0; i < ((Grpc__Interfaces *)m)->n_interfaces; i++) {
		const Types__Interface *one = ((Grpc__Interfaces *)m)->interfaces[i];
		size_t v4 = 0;

		if (strcmp(one->name, "eth0"))
			continue;
		found = true;
		assert_string_equal(one->hwaddr, VETH_HW);
		assert_int_equal(one->mtu, 1400);
		for (size_t j = 0; j < one->n_ipaddresses; j++)
			if (one->ipaddresses[j]->family == TYPES__IPFAMILY__v4) {
				v4++;
				assert_string_equal(one->ipaddresses[j]->address, "10.7.0.3");
				assert_string_equal(one->ipaddresses[j]->mask, "24");
			}
		assert_int_equal(v4, 1);
	}
	assert_true(found);
	protobuf_c_message_free_unpacked(m, NULL);

	/* The default route first, as hosts send it: its gateway is reachable by the second only. */
	def.gateway = (char *)"10.8.0.1";
	def.device = net.device = (char *)"eth0";
	net.dest = (char *)"10.8.0.0/16";
	net.scope = 253;
	routes.routes = r_list;
	routes.n_routes = 2;
	update.routes = &routes;
	for (int again = 0; again < 2; again++) {
		size_t n_def = 0, n_net = 0;

		assert_int_equal(harness_call(&h, "UpdateRoutes", &update.base, &grpc__routes__descriptor, &m), 0);
		for (size_t i = 0; i < ((Grpc__Routes *)m)->n_routes; i++) {
			const Types__Route *r = ((Grpc__Routes *)m)->routes[i];

			n_def += !strcmp(r->gateway, "10.8.0.1") && !*r->dest && !strcmp(r->device, "eth0");
			n_net += !strcmp(r->dest, "10.8.0.0/16");
		}
		assert_int_equal(n_def, 1);
		assert_int_equal(n_net, 1);
		protobuf_c_message_free_unpacked(m, NULL);
	}
	/* An address that stays is not taken away for a moment, which would take its routes along. */
	assert_int_equal(update_interface(VETH_HW, "eth0", "10.7.0.3"), 0);
	assert_int_equal(harness_call(&h, "ListRoutes", &list_routes.base, &grpc__routes__descriptor, &m), 0);
	found = false;
	for (size_t i = 0; i < ((Grpc__Routes *)m)->n_routes; i++)
		found |= !strcmp(((Grpc__Routes *)m)->routes[i]->gateway, "10.8.0.1");
	assert_true(found);
	protobuf_c_message_free_unpacked(m, NULL);
	net.device = (char *)"eth7";
	assert_int_equal(harness_do(&h, "UpdateRoutes", &update.base), -ENOENT);

	ip.address = (char *)"10.7.0.9";
	n.toipaddress = &ip;
	n.device = (char *)"eth0";
	n.lladdr = (char *)"02:00:00:00:00:09";
	neighbors.arpneighbors = n_list;
	neighbors.n_arpneighbors = 1;
	add.neighbors = &neighbors;
	assert_int_equal(harness_do(&h, "AddARPNeighbors", &add.base), 0);
	n.lladdr = (char *)"zz";
	assert_int_equal(harness_do(&h, "AddARPNeighbors", &add.base), -EINVAL);
}

/* ---- system ---- */

static void test_system(void **state)
{
	Grpc__GuestDetailsRequest details = GRPC__GUEST_DETAILS_REQUEST__INIT;
	Grpc__GetMetricsRequest metrics = GRPC__GET_METRICS_REQUEST__INIT;
	Grpc__VolumeStatsRequest volume = GRPC__VOLUME_STATS_REQUEST__INIT;
	Grpc__ReseedRandomDevRequest reseed = GRPC__RESEED_RANDOM_DEV_REQUEST__INIT;
	Grpc__SetGuestDateTimeRequest date = GRPC__SET_GUEST_DATE_TIME_REQUEST__INIT;
	Grpc__ResizeVolumeRequest resize = GRPC__RESIZE_VOLUME_REQUEST__INIT;
	Grpc__OnlineCPUMemRequest online = GRPC__ONLINE_CPUMEM_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	uint8_t entropy[64] = { 1, 2, 3 };

	(void)state;
	NEED_AGENT();
	details.mem_block_size = details.mem_hotplug_probe = true;
	assert_int_equal(
		harness_call(&h, "GetGuestDetails", &details.base, &grpc__guest_details_response__descriptor, &m), 0);
	assert_string_equal(((Grpc__GuestDetailsResponse *)m)->agent_details->version, CAISSON_VERSION);
	assert_true(((Grpc__GuestDetailsResponse *)m)->agent_details->n_storage_handlers > 5);
	protobuf_c_message_free_unpacked(m, NULL);

	assert_int_equal(harness_call(&h, "GetMetrics", &metrics.base, &grpc__metrics__descriptor, &m), 0);
	assert_non_null(strstr(((Grpc__Metrics *)m)->metrics, "\nkata_agent_scrape_count 1\n"));
	assert_non_null(strstr(((Grpc__Metrics *)m)->metrics, "kata_guest_meminfo{item=\"memtotal\"} "));
	assert_non_null(strstr(((Grpc__Metrics *)m)->metrics, "kata_guest_cpu_time{cpu=\"total\",item=\"user\"} "));
	assert_non_null(
		strstr(((Grpc__Metrics *)m)->metrics, "kata_guest_netdev_stat{interface=\"lo\",item=\"recv_bytes\"} "));
	protobuf_c_message_free_unpacked(m, NULL);

	volume.volume_guest_path = (char *)"/run";
	assert_int_equal(harness_call(&h, "GetVolumeStats", &volume.base, &grpc__volume_stats_response__descriptor, &m),
			 0);
	assert_int_equal(((Grpc__VolumeStatsResponse *)m)->n_usage, 2);
	assert_true(((Grpc__VolumeStatsResponse *)m)->usage[0]->total > 0);
	protobuf_c_message_free_unpacked(m, NULL);
	volume.volume_guest_path = (char *)"/no/such";
	assert_int_equal(harness_do(&h, "GetVolumeStats", &volume.base), -ENOENT);
	resize.volume_guest_path = (char *)"/run";
	assert_int_equal(harness_do(&h, "ResizeVolume", &resize.base), -ENOSYS);

	reseed.data.data = entropy;
	reseed.data.len = sizeof entropy;
	assert_int_equal(harness_do(&h, "ReseedRandomDev", &reseed.base), 0);
	date.sec = -1;
	assert_int_equal(harness_do(&h, "SetGuestDateTime", &date.base), -EINVAL);

	/* One processor in all: that is so already, and nothing is waited for. */
	online.nb_cpus = 1;
	online.wait = online.cpu_only = true;
	assert_int_equal(harness_do(&h, "OnlineCPUMem", &online.base), 0);
}

/* ---- names ---- */

static const char question[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\2db\0\0\1\0\1";

static int loopback_up(void *userdata)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)userdata;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/* A container asks. *userdata: a kind of socket. */
static int ask_name(void *userdata)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(53) };
	int type = *(int *)userdata, fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, "127.0.0.11", &a.sin_addr);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return -errno;
	if (type == SOCK_STREAM)
		(void)!write(fd, "\0\x15", 2);
	return write(fd, question, sizeof question) == sizeof question ? fd : -EIO;
}

struct next {
	bool done;
	int result;
	uint64_t id;
	bool stream;
};

static void on_next(int result, const ProtobufCMessage *m, const struct err *e, void *userdata)
{
	const Caisson__NameQuery *q = (const Caisson__NameQuery *)m;
	struct next *n = userdata;

	(void)e;
	*n = (struct next){ .done = true, .result = result };
	if (result < 0)
		return;
	n->id = q->id;
	n->stream = q->stream;
	assert_int_equal(q->message.len, sizeof question);
	assert_memory_equal(q->message.data, question, sizeof question);
}

static void ask_next(const char *address, struct next *n)
{
	Caisson__NextNameQuery q = CAISSON__NEXT_NAME_QUERY__INIT;

	q.address = (char *)address;
	*n = (struct next){ 0 };
	assert_int_equal(ttrpc_call_async(h.client, "caisson.Names", "Next", &q.base, &caisson__name_query__descriptor,
					  -1, on_next, n, NULL, NULL),
			 0);
}

static void wait_next(const struct next *n)
{
	for (int i = 0; i < 500 && !n->done; i++)
		loop_run_once(h.loop, 10);
	assert_true(n->done);
}

static void test_names(void **state)
{
	static const int types[] = { SOCK_DGRAM, SOCK_STREAM };
	_cleanup_close_ int ns = -1;
	static struct next next, second; /* told at the latest when the client goes */
	char path[64];

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	snprintf(path, sizeof path, "/proc/%d/ns/net", (int)h.pid);
	ns = netns_open(path);
	assert_true(ns >= 0);
	assert_int_equal(netns_run(ns, loopback_up, NULL), 0);
	ask_next("not an address", &next);
	wait_next(&next);
	assert_int_equal(next.result, -EINVAL);
	ask_next("10.7.0.1", &next);
	wait_next(&next);
	assert_int_equal(next.result, -EINVAL);
	ask_next("127.0.0.12", &next);
	/* Whoever asks again is the one that is answered, and the address is another one. */
	ask_next("127.0.0.11", &second);
	wait_next(&next);
	assert_int_equal(next.result, -EREMOTEIO);
	for (size_t i = 0; i < 2; i++) {
		Caisson__NameAnswer answer = CAISSON__NAME_ANSWER__INIT;
		int type = types[i], fd = netns_run(ns, ask_name, &type);
		char got[64], expected[] = "\0\x14the address of db...";

		if (fd < 0)
			fail_msg("cannot ask: %s", strerror(-fd));
		wait_next(&second);
		assert_int_equal(second.result, 0);
		assert_int_equal(second.stream, type == SOCK_STREAM);
		answer.id = second.id;
		answer.message.data = (uint8_t *)expected + 2;
		answer.message.len = 20;
		ask_next("127.0.0.11", &second);
		assert_int_equal(ttrpc_call(h.client, "caisson.Names", "Answer", &answer.base,
					    &google__protobuf__empty__descriptor, 5000, NULL, NULL),
				 0);
		assert_int_equal(recv(fd, got, sizeof got, 0), type == SOCK_STREAM ? 22 : 20);
		assert_memory_equal(got, type == SOCK_STREAM ? expected : expected + 2, 20);
		close(fd);
	}
}

/* ---- iptables: programs of the guest ---- */

static char programs[] = "/tmp/caisson-agent-programs-XXXXXX";

static void put_program(const char *name, const char *script)
{
	_cleanup_free_ char *path = str_printf("%s/%s", programs, name), *text = str_printf("#!/bin/sh\n%s\n", script);

	assert_int_equal(file_replace(path, text, strlen(text), 0755), 0);
}

static void test_iptables(void **state)
{
	Grpc__GetIPTablesRequest get = GRPC__GET_IPTABLES_REQUEST__INIT;
	Grpc__SetIPTablesRequest set = GRPC__SET_IPTABLES_REQUEST__INIT;
	static const char rules[] = "*filter\nCOMMIT\n";
	ProtobufCMessage *m;

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	put_program("iptables-save", "printf '*filter\nCOMMIT\n'");
	put_program("iptables-restore", "[ \"$*\" = '--wait 5' ] || exit 9\nread first\nread second\n"
					"[ \"$first$second\" = '*filterCOMMIT' ] && echo taken && exit\n"
					"printf 'line 1 failed\nand more\n' >&2\nexit 2");
	put_program("ip6tables-save", "echo six");
	assert_int_equal(harness_call(&h, "GetIPTables", &get.base, &grpc__get_iptables_response__descriptor, &m), 0);
	assert_int_equal(((Grpc__GetIPTablesResponse *)m)->data.len, strlen(rules));
	assert_memory_equal(((Grpc__GetIPTablesResponse *)m)->data.data, rules, strlen(rules));
	protobuf_c_message_free_unpacked(m, NULL);
	get.is_ipv6 = true;
	assert_int_equal(harness_call(&h, "GetIPTables", &get.base, &grpc__get_iptables_response__descriptor, &m), 0);
	assert_memory_equal(((Grpc__GetIPTablesResponse *)m)->data.data, "six\n", 4);
	protobuf_c_message_free_unpacked(m, NULL);
	set.data.data = (uint8_t *)rules;
	set.data.len = strlen(rules);
	assert_int_equal(harness_call(&h, "SetIPTables", &set.base, &grpc__set_iptables_response__descriptor, &m), 0);
	assert_memory_equal(((Grpc__SetIPTablesResponse *)m)->data.data, "taken\n", 6);
	protobuf_c_message_free_unpacked(m, NULL);
	set.data.len--;
	set.data.data++;
	assert_true(harness_do(&h, "SetIPTables", &set.base) < 0);
	assert_string_equal(h.e.text, "iptables-restore: exit status 2: line 1 failed");
	set.is_ipv6 = true;
	assert_int_equal(harness_do(&h, "SetIPTables", &set.base), -ENOSYS);
	assert_string_equal(h.e.text, "the guest has no program ip6tables-restore");
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(programs) || setenv("PATH", programs, 1) < 0)
		return -1;
	usable = harness_start(&h, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dir_remove(programs);
	/* A sanitizer's complaint at the end is a failure too. */
	return usable && harness_stop(&h) != 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_unimplemented),
		cmocka_unit_test(test_unknown_container),
		cmocka_unit_test(test_sandbox),
		cmocka_unit_test(test_sandbox_undone),
		cmocka_unit_test(test_overlay_and_bind),
		cmocka_unit_test(test_subpath),
		cmocka_unit_test(test_watchable),
		cmocka_unit_test(test_device_wait_blocks_nobody),
		cmocka_unit_test(test_block_storage),
		cmocka_unit_test(test_copy_file),
		cmocka_unit_test(test_copy_file_stays_inside),
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_system),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_iptables),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
