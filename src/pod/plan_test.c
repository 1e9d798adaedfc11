/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans, as --dry-run prints them, against tests/plans/NAME.plan, and every sentence with which a plan is refused. The
 * driver is a fake that describes what it is given. To renew the golden files run the test with UPDATE_GOLDEN=1 and
 * read the difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "oci/spec.h"
#include "pod/plan.h"
#include "pod/plan_fixture.h"
#include "pod/plan_network.h"
#include "pod/rootfs_image.h"

static void refusedf(int code, const char *fmt, const char *arg)
{
	_cleanup_free_ char *text = NULL;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	assert_true(asprintf(&text, fmt, arg) > 0);
#pragma GCC diagnostic pop
	refused(code, text);
}

static void replace_all(struct buf *b, const char *what, size_t n, const char *with)
{
	struct buf out = { 0 };
	const char *at = b->data, *hit;

	while ((hit = strstr(at, what))) {
		assert_int_equal(buf_append(&out, at, (size_t)(hit - at)), 0);
		assert_int_equal(buf_puts(&out, with), 0);
		at = hit + n;
	}
	assert_int_equal(buf_puts(&out, at), 0);
	buf_fini(b);
	*b = out;
}

/* Paths of the test, the random MAC address, this host's limits. */
static void normalise(struct buf *b)
{
	char *at, limit[64];

	replace_all(b, t.dir, strlen(t.dir), "$TMP");
	for (at = b->data; (at = strstr(at, " 02:")) || (at = strstr(b->data, "=02:"));)
		memcpy(at + 1, "MA:CA:DD:RE:SS:xx", 17);
	at = strstr(b->data, "--rlimit-nofile=");
	if (at) {
		snprintf(limit, sizeof limit, "%.*s", (int)strcspn(at, " "), at);
		replace_all(b, limit, strlen(limit), "--rlimit-nofile=N");
	}
}

static void golden(const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/tests/plans/%s.plan", getenv("SOURCE_ROOT"), name), *expected = NULL;
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	_cleanup_buf_ struct buf text = { 0 };
	struct err e = { 0 };

	if (build(c, &p, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	if (plan_print(p, &text, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	normalise(&text);
	if (getenv("UPDATE_GOLDEN"))
		assert_int_equal(file_replace(path, text.data, text.len, 0644), 0);
	if (file_read(path, 1 << 16, &expected, NULL) < 0)
		fail_msg("%s is missing", path);
	assert_string_equal(text.data, expected);
}

/* ---- the root file system ---- */

static void test_directory(void **state)
{
	golden("directory");
	t.q.rootfs_writable = true;
	golden("directory-rw");
	t.toml = "shared_fs = \"virtio-9p\"\nmsize_9p = 16384\n";
	golden("directory-9p");
}

static void test_nothing_shared(void **state)
{
	struct plan_volume volumes[] = { { tmp("data"), (char *)"/data", false }, { tmp("file"), (char *)"/f", true } };

	t.toml = "shared_fs = \"none\"\n";
	t.q.volumes = volumes;
	t.q.n_volumes = 2;
	can.block = false;
	golden("none-copied");
	can.block = true;
	if (rootfs_image_can_pack(ROOTFS_IMAGE_EROFS))
		golden("none-packed");
	t.q.rootfs_writable = true;
	refusedf(ENOTSUP,
		 "--rw needs a shared directory, and shared_fs is \"none\": use a root file system image (mke2fs -t "
		 "ext4 "
		 "-d %s IMAGE SIZE), or shared_fs = \"virtio-fs\"",
		 t.q.rootfs);
	can.fs_sharing = false;
	refusedf(ENOTSUP,
		 "--rw needs a shared directory, and shared_fs is \"none\": use a root file system image (mke2fs -t "
		 "ext4 "
		 "-d %s IMAGE SIZE), or a hypervisor that shares files",
		 t.q.rootfs);
	can.fs_sharing = true;
	t.q.bundle = "/b";
	if (rootfs_image_can_pack(ROOTFS_IMAGE_EXT4))
		golden("none-bundle");
	can.block = false;
	golden("none-bundle-copied");
}

/* --rw of an image: as large as a disk, and thrown away. */
static void test_private(void **state)
{
	t.q.rootfs_writable = t.q.rootfs_private = true;
	if (rootfs_image_can_pack(ROOTFS_IMAGE_EXT4))
		golden("private");
	can.block = false;
	refused(ENOTSUP, "--rw of an image needs a disk, and this hypervisor has no block devices: drop --rw");
}

static void test_what_cannot_be_copied(void **state)
{
	struct plan_volume volume = { (char *)"/dev/null", (char *)"/n", true };

	t.toml = "shared_fs = \"none\"\n";
	t.q.volumes = &volume;
	t.q.n_volumes = 1;
	refused(ENOTSUP, "cannot mount /dev/null at /n: nothing is shared with this guest (shared_fs is \"none\"), and "
			 "only files and folders can be copied; leave it out, or use a hypervisor that shares files");
	volume.source = tmp("huge");
	assert_int_equal(close(open(volume.source, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
	assert_int_equal(truncate(volume.source, (1 << 30) + 1), 0);
	refusedf(EFBIG,
		 "cannot mount %s/huge at /n: nothing is shared with this guest (shared_fs is \"none\"), and a file of "
		 "more than 1024 MiB is not copied; put it into the root file system, or use a hypervisor that shares "
		 "files",
		 t.dir);
}

static void test_images(void **state)
{
	put_image("ext4", 1024 + 56, "\x53\xef", 2);
	put_image("erofs", 1024, "\xe2\xe1\xf5\xe0", 4);
	put_image("xfs", 0, "XFSB", 4);
	set_rootfs("ext4");
	t.q.rootfs_writable = true;
	golden("image-ext4-rw");
	set_rootfs("erofs");
	refusedf(EROFS, "%s/erofs is an erofs image, which cannot be written: drop --rw", t.dir);
	t.q.rootfs_writable = false;
	golden("image-erofs");
	set_rootfs("xfs");
	golden("image-xfs");
	can.block = false;
	refusedf(ENOTSUP, "%s/xfs is a file system image, and this hypervisor has no block devices: use a folder",
		 t.dir);
}

static void test_no_rootfs(void **state)
{
	set_rootfs("nothing");
	refusedf(ENOENT, "cannot use the root file system %s/nothing: No such file or directory", t.dir);
	set_rootfs("file");
	refusedf(EINVAL,
		 "%s/file is neither a directory nor an ext4, xfs or erofs image; images of a registry are named "
		 "oci:DIR[:TAG] or docker-archive:FILE",
		 t.dir);
	/* Would block whoever opens it. */
	assert_int_equal(mkfifo(tmp("fifo"), 0644), 0);
	set_rootfs("fifo");
	refusedf(EINVAL,
		 "%s/fifo is neither a directory nor an ext4, xfs or erofs image; images of a registry are named "
		 "oci:DIR[:TAG] or docker-archive:FILE",
		 t.dir);
}

/* ---- sharing ---- */

static void test_share_refusals(void **state)
{
	_cleanup_config_ struct config *c = NULL;
	_cleanup_(plan_free_p) struct plan *p = NULL;
	_cleanup_buf_ struct buf text = { 0 };
	struct err e = { 0 };

	t.toml = "shared_fs = \"virtio-fs-nydus\"\n";
	refused(ENOTSUP, "shared_fs = \"virtio-fs-nydus\" is not supported; use virtio-fs, virtio-9p or none");
	t.toml = "";
	can.fs_sharing = false;
	refused(ENOTSUP, "this hypervisor cannot share files by virtio-fs; set shared_fs = \"none\"");
	can.fs_sharing = true;
	can.fs_sharing_9p = false;
	t.toml = "shared_fs = \"virtio-9p\"\n";
	refused(ENOTSUP, "this hypervisor cannot share files by virtio-9p; set shared_fs = \"none\"");
	/* The file server is missed when the plan is shown, as when it is started. */
	t.toml = "";
	unlink(tmp("virtiofsd"));
	c = load_config();
	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(plan_print(p, &text, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/virtiofsd\" is not an executable file"));
}

static void test_bridges(void **state)
{
	_cleanup_config_ struct config *c = load_config(), *asked = NULL;
	_cleanup_(plan_free_p) struct plan *p = NULL, *with = NULL;
	struct err e = { 0 };

	assert_int_equal(build(c, &p, &e), 0);
	assert_true(p->vm.fixed_devices);
	t.toml = "default_bridges = 1\n";
	asked = load_config();
	assert_int_equal(build(asked, &with, &e), 0);
	assert_false(with->vm.fixed_devices);
}

static void test_file_server_flags(void **state)
{
	t.toml = "virtio_fs_cache = \"never\"\nvirtio_fs_extra_args = [\"--thread-pool-size=1\"]\n"
		 "virtio_fs_queue_size = 512\n";
	golden("virtiofsd-flags");
}

static void test_volumes(void **state)
{
	struct plan_volume volumes[] = { { tmp("data"), (char *)"/data", false },
					 { tmp("file"), (char *)"/etc/hosts", true } };

	t.q.volumes = volumes;
	t.q.n_volumes = 2;
	t.q.hostname = "box";
	golden("volumes");
	volumes[1].source = (char *)"/nonexistent/x";
	refused(ENOENT, "cannot mount /nonexistent/x at /etc/hosts: No such file or directory");
}

/* ---- the network ---- */

static void test_net_user(void **state)
{
	t.q.net = "user";
	assert_int_equal(strv_add(&t.publish, "8080:80"), 0);
	assert_int_equal(strv_add(&t.publish, "127.0.0.1:5353:53/udp"), 0);
	golden("net-user");
	t.q.dns = "192.0.2.53";
	golden("net-user-dns");
	can.net_user = false;
	refused(ENOTSUP, "--net user: this hypervisor is connected to tap interfaces only: make one and use --net "
			 "tap:NAME, or --net none");
	t.q.net = "passt";
	refused(ENOENT, "--net passt: this hypervisor cannot use passt");
	can.net_passt = true;
	if (access("/usr/bin/passt", X_OK) == 0)
		golden("net-passt");
	else
		refused(ENOENT, "--net passt: passt is not installed; apt-get install passt");
}

static bool has_mount(const Grpc__Spec *spec, const char *target)
{
	for (size_t i = 0; i < spec->n_mounts; i++)
		if (str_eq(spec->mounts[i]->destination, target))
			return true;
	return false;
}

static bool gets_resolv_conf(void)
{
	_cleanup_config_ struct config *c = load_config();
	struct plan *p = NULL;
	struct err e = { 0 };
	bool has;

	if (build(c, &p, &e) < 0)
		fail_msg("%s", e.text);
	has = has_mount(p->container->spec, "/etc/resolv.conf");
	plan_free(p);
	return has;
}

/* Where it could not be mounted, it is left out. */
static void test_name_servers_in_a_user_namespace(void **state)
{
	t.q.net = "user";
	t.q.bundle = t.dir;
	assert_true(gets_resolv_conf());
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"root\"},\"linux\":{\"namespaces\":[{\"type\":\"user\"}],"
			   "\"uidMappings\":[{\"hostID\":100000,\"containerID\":0,\"size\":65536}],"
			   "\"gidMappings\":[{\"hostID\":100000,\"containerID\":0,\"size\":65536}]}}";
	assert_false(gets_resolv_conf());
	assert_int_equal(mkdir(tmp("root/etc"), 0755), 0);
	put("root/etc/resolv.conf", "", 0);
	assert_true(gets_resolv_conf());
}

static void test_net_refusals(void **state)
{
	static const char *const bad[] = { "80",         "0:80",   "80:0",        "65536:80",
					   "80:65536",   "a:80",   "80:80/sctp",  ":80",
					   "80:",        "",       "1.2.3:80:80", "[::1]:80:80",
					   "host:80:80", "+80:80", ":80:80",      "1.2.3.4:5:6:7" };
	char longest[400];

	t.q.net = "user";
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		strv_fini(&t.publish);
		assert_int_equal(strv_add(&t.publish, bad[i]), 0);
		refusedf(EINVAL,
			 "--publish %s: expected [HOSTIP:]HOSTPORT:PORT[/tcp|udp], with an IPv4 address and ports "
			 "from 1 to 65535",
			 bad[i]);
	}
	memset(longest, '1', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	strv_fini(&t.publish);
	assert_int_equal(strv_add(&t.publish, longest), 0);
	refusedf(EINVAL,
		 "--publish %s: expected [HOSTIP:]HOSTPORT:PORT[/tcp|udp], with an IPv4 address and ports "
		 "from 1 to 65535",
		 longest);
	strv_fini(&t.publish);
	assert_int_equal(strv_add(&t.publish, "80:80"), 0);
	t.q.net = "none";
	refused(EINVAL, "--publish needs a network: add --net user");
	t.q.net = "tap:lo"; /* any interface that is there */
	refused(EINVAL, "--publish works with --net user only; a tap's ports are open to its network");
	strv_fini(&t.publish);
	t.q.net = "tap:nothere";
	refused(ENODEV, "--net tap:nothere: no such interface; make it with: ip tuntap add dev nothere mode tap");
	t.q.net = "bridge";
	refused(EINVAL, "--net bridge: expected none, user, passt, tap:NAME or netns:NAME");
	t.q.dns = "not an address";
	t.q.net = "none";
	refused(EINVAL, "--dns not an address: expected an IP address");
}

static void test_net_tap(void **state)
{
	t.q.net = "tap:lo";
	golden("net-tap");
}

/* ---- size ---- */

static void test_sizes(void **state)
{
	_cleanup_free_ char *expected = NULL;
	struct sysinfo info;

	t.spec =
		SPEC_HEAD "\"root\":{\"path\":\"r\",\"readonly\":true},\"linux\":{\"resources\":{\"memory\":{\"limit\":"
			  "104857601},\"cpu\":{\"quota\":50000,\"period\":100000}}}}";
	t.toml = "default_maxvcpus = 1\ndefault_maxmemory = 1024\noverhead_memory = 3\n";
	golden("size-limits"); /* 101 + 96 + 3 MiB; half a CPU is one */
	t.toml = "";
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"r\"},\"linux\":{\"resources\":{\"memory\":{\"limit\":"
			   "9223372036854775807}}}}";
	assert_int_equal(sysinfo(&info), 0);
	/* The limit, 96 MiB around it, and the structures of its pages. */
	expected = str_printf("the guest would need %llu MiB of memory, this host has %llu",
			      (1ull << 43) + 96 + ((1ull << 43) + 96 - 2048) / 64,
			      (unsigned long long)info.totalram * info.mem_unit >> 20);
	refused(EINVAL, expected);
	t.spec = SPEC_PLAIN;
	t.toml = "[runtime]\nenable_debug = false\n";
	golden("directory");
}

static void test_too_little_memory(void **state)
{
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	struct err e = { 0 };

	c->hypervisor.default_memory = 95;
	assert_int_equal(build(c, &p, &e), -EINVAL);
	assert_string_equal(e.text, "default_memory = 95 MiB is too little: a guest needs 96 MiB at least");
}

static void test_more_cpus_than_there_are(void **state)
{
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	_cleanup_free_ char *note = str_printf("4294967295 CPUs were asked for, this host has %d: the guest gets %d",
					       get_nprocs(), get_nprocs());
	struct err e = { 0 };

	/* The quota of a hostile file: no number of CPUs at all. */
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"r\"},\"linux\":{\"resources\":{\"cpu\":{\"quota\":"
			   "9223372036854775807,\"period\":1}}}}";
	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(p->vm.vcpus, get_nprocs());
	assert_int_equal(p->vm.max_vcpus, get_nprocs());
	assert_int_equal(p->notes.len, 1);
	assert_string_equal(p->notes.v[0], note);
	plan_free(take_ptr(p));
	t.spec = SPEC_PLAIN;
	c->hypervisor.default_vcpus = -1; /* all */
	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(p->vm.vcpus, get_nprocs());
	assert_int_equal(p->notes.len, 0);
	plan_free(take_ptr(p));
	/* The configuration of a larger host. */
	c->hypervisor.default_maxvcpus = 100000;
	c->hypervisor.default_maxmemory = UINT64_C(1) << 40;
	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(p->vm.max_vcpus, get_nprocs());
	assert_true(p->vm.max_memory_mib < UINT64_C(1) << 30);
	plan_free(take_ptr(p));
	c->hypervisor.default_vcpus = 2;
	c->hypervisor.default_maxvcpus = 1;
	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(p->vm.vcpus, 1);
}

/* A guest that had the named CPUs alone would have no CPU of that number. */
static void test_named_cpus(void **state)
{
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	struct err e = { 0 };

	t.spec = SPEC_HEAD "\"root\":{\"path\":\"r\"},\"linux\":{\"resources\":{\"cpu\":{\"cpus\":\"1\"}}}}";
	c->hypervisor.default_vcpus = 2;
	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(p->vm.vcpus, get_nprocs() < 2 ? 1 : 2);
}

/* ---- the guest ---- */

static void test_guest_files(void **state)
{
	_cleanup_free_ char *toml = str_printf("kernel = \"%s\"\n", tmp("nokernel"));

	t.toml = toml;
	refusedf(ENOENT, "cannot read the guest kernel %s/nokernel: No such file or directory", t.dir);
	free(toml);
	t.toml = toml = str_printf("kernel = \"%s\"\ninitrd = \"%s\"\n", tmp("file"), tmp("noinitrd"));
	refusedf(ENOENT, "cannot read the guest initrd %s/noinitrd: No such file or directory", t.dir);
	free(toml);
	t.toml = toml = str_printf("kernel = \"%s\"\nimage = \"%s\"\n", tmp("file"), tmp("noimage"));
	refusedf(ENOENT, "cannot read the guest image %s/noimage: No such file or directory", t.dir);
	free(toml);
	t.toml = toml = str_printf("kernel = \"%s\"\n", tmp("data"));
	refusedf(EISDIR, "cannot read the guest kernel %s/data: Is a directory", t.dir);
	free(toml);
	t.toml = toml = str_printf("kernel = \"%s\"\n", tmp("file"));
	golden("guest-own-kernel"); /* with our initramfs */
	free(toml);
	t.toml = toml = str_printf("kernel = \"%s\"\nimage = \"%s\"\n", tmp("guest/vmlinuz"), tmp("file"));
	golden("guest-image");
	t.toml = "";
	unlink(tmp("guest/vmlinuz"));
	refusedf(ENOENT, "CAISSON_GUEST_DIR=%s/guest holds no kernel (vmlinux-tuned or vmlinuz)", t.dir);
}

/* Beside the kernel, where files are shared and the guest is not an image; a mount of the host's becomes one of them.
 */
static void test_modules(void **state)
{
	struct plan_volume volume = { (char *)"/lib/modules", (char *)"/lib/modules", false };
	_cleanup_free_ char *image = str_printf("image = \"%s\"\n", tmp("file"));
	const char *const without[] = { "shared_fs = \"none\"\n", image };

	assert_int_equal(mkdir(tmp("guest/modules"), 0755), 0);
	t.q.volumes = &volume;
	t.q.n_volumes = 1;
	golden("guest-modules");
	t.q.n_volumes = 0;
	for (size_t i = 0; i < 3; i++) {
		_cleanup_config_ struct config *c = NULL;
		_cleanup_(plan_free_p) struct plan *p = NULL;
		struct err e = { 0 };

		t.toml = i < 2 ? without[i] : "";
		if (i == 2)
			put("guest/vmlinux-tuned", "k", 1);
		c = load_config();
		assert_int_equal(build(c, &p, &e), 0);
		assert_null(share_find(&p->share, GUEST_MODULES));
	}
}

static void test_kernel_params(void **state)
{
	t.toml = "kernel_params = \"quiet=no my.option=1\"\nenable_debug = true\n[agent.kata]\nlog_port = 2000\n"
		 "debug_console_enabled = true\nenable_tracing = true\ncontainer_pipe_size = 4096\n";
	golden("kernel-params");
}

/* ---- bundles ---- */

#define BUNDLE_MOUNTS                                                                                                  \
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"                               \
	"{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"data\",\"options\":[\"rbind\",\"ro\",\"rslave\"]}," \
	"{\"destination\":\"/etc/hosts\",\"type\":\"none\",\"source\":\"file\",\"options\":[\"bind\",\"ro\",\"rw\"]}," \
	"{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"data\",\"options\":[\"bind\"]},"                 \
	"{\"destination\":\"/dev/fuse\",\"type\":\"bind\",\"source\":\"/dev/fuse\",\"options\":[\"bind\"]},"           \
	"{\"destination\":\"/developer\",\"type\":\"bind\",\"source\":\"%s\"}]"

/* Of the host's user namespaces none is in the guest; one with mappings can be made. */
static void test_user_namespace(void **state)
{
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"root\"},\"linux\":{\"namespaces\":[{\"type\":\"user\","
			   "\"path\":\"/proc/7/ns/user\"}]}}";
	t.q.bundle = t.dir;
	refused(ENOTSUP,
		"cannot join the user namespace /proc/7/ns/user, which is of the host; say how users are mapped "
		"(--uidmap)");
}

static void test_bundle(void **state)
{
	_cleanup_free_ char *spec = str_printf(
		SPEC_HEAD "\"hostname\":\"box\",\"root\":{\"path\":\"root\"}," BUNDLE_MOUNTS
			  ",\"hooks\":{\"prestart\":[{\"path\":\"/usr/bin/setup-net\"}],"
			  "\"poststop\":[{\"path\":\"/usr/bin/clean\"}],\"createContainer\":[{\"path\":\"/c\"}]},"
			  "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},"
			  "{\"type\":\"ipc\",\"path\":\"/proc/7/ns/ipc\"},{\"type\":\"mount\"}],"
			  "\"cgroupsPath\":\"system.slice:docker:abc\","
			  "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"}}}",
		t.dir);
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	const Grpc__Linux *l;
	struct err e = { 0 };

	t.spec = spec;
	t.q.bundle = t.dir;
	t.q.rootfs_writable = true;
	golden("bundle");
	assert_int_equal(build(c, &p, &e), 0);
	l = p->container->spec->linux;
	assert_string_equal(l->cgroupspath, "/docker/abc");
	assert_null(l->seccomp);
	assert_int_equal(l->n_namespaces, 3);
	assert_string_equal(l->namespaces[1]->type, "ipc");
	assert_string_equal(l->namespaces[1]->path, "");
	assert_string_equal(l->namespaces[2]->type, "mount");
	assert_int_equal(p->container->spec->hooks->n_prestart, 0);
	assert_int_equal(p->container->spec->hooks->n_poststop, 0);
	assert_int_equal(p->container->spec->hooks->n_createcontainer, 1);
	/* Options stay: propagation and "bind" mean the same in the guest. */
	assert_int_equal(p->container->spec->mounts[1]->n_options, 3);
	assert_true(p->share.items[1].readonly);
	assert_false(p->share.items[2].readonly);
	assert_string_equal(p->hostname, "box");
}

/* With no UTS namespace of its own it is called what the host is. */
static void test_hostname_of_a_bundle(void **state)
{
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *hosts = NULL, *own = NULL;
	char name[HOST_NAME_MAX + 1] = "";
	struct err e = { 0 };

	t.q.bundle = t.dir;
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"root\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}";
	assert_int_equal(build(c, &hosts, &e), 0);
	assert_int_equal(gethostname(name, sizeof name - 1), 0);
	assert_string_equal(hosts->hostname, name);
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"root\"},\"linux\":{\"namespaces\":[{\"type\":\"uts\"}]}}";
	assert_int_equal(build(c, &own, &e), 0);
	assert_string_equal(own->hostname, t.q.id);
}

static void shares_processes(const char *type, const char *namespaces, bool expected)
{
	_cleanup_free_ char *spec =
		str_printf(SPEC_HEAD "\"root\":{\"path\":\"r\"},\"annotations\":{\"io.kubernetes.cri.container-type\":"
				     "\"%s\",\"io.kubernetes.cri.sandbox-id\":\"p\"},\"linux\":{\"namespaces\":["
				     "{\"type\":\"mount\"}%s]}}",
			   type, namespaces);
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	struct err e = { 0 };

	t.spec = spec;
	t.q.pod = true;
	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(p->container->share_pidns, expected);
}

/* shareProcessNamespace, and hostPID. */
static void test_shared_processes(void **state)
{
	shares_processes("container", ",{\"type\":\"pid\"}", false);
	shares_processes("container", ",{\"type\":\"pid\",\"path\":\"/proc/7/ns/pid\"}", true);
	shares_processes("container", "", true);
	shares_processes("sandbox", "", false);
	shares_processes("", "", false);
}

static void seccomp_kept(bool expected)
{
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	struct err e = { 0 };

	assert_int_equal(build(c, &p, &e), 0);
	assert_int_equal(p->container->spec->linux->seccomp != NULL, expected);
}

static void test_seccomp(void **state)
{
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"}}}";
	seccomp_kept(true); /* --security-opt seccomp=FILE */
	t.q.bundle = t.dir;
	seccomp_kept(false);
	t.toml = "[runtime]\ndisable_guest_seccomp = false\n";
	seccomp_kept(true);
}

static void test_labels_of_the_host(void **state)
{
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	struct err e = { 0 };

	t.spec = "{\"ociVersion\":\"1.0.2\",\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"],\"selinuxLabel\":\"s\","
		 "\"apparmorProfile\":\"a\"},\"root\":{\"path\":\"r\"},\"linux\":{\"mountLabel\":\"m\"}}";
	assert_int_equal(build(c, &p, &e), 0);
	assert_string_equal(p->container->spec->process->selinuxlabel, "");
	assert_string_equal(p->container->spec->process->apparmorprofile, "");
	assert_string_equal(p->container->spec->linux->mountlabel, "");
	plan_free(p);
	t.spec = "{\"ociVersion\":\"1.0.2\",\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"],\"selinuxLabel\":\"s\"},"
		 "\"root\":{\"path\":\"r\"}}";
	assert_int_equal(build(c, &p, &e), 0);
	assert_string_equal(p->container->spec->process->selinuxlabel, "");
}

/* podman --systemd on a host with cgroup v1. */
static void test_cgroup_of_systemd(void **state)
{
	static const char spec[] = SPEC_HEAD
		"\"root\":{\"path\":\"r\"},\"mounts\":["
		"{\"destination\":\"/sys/fs/"
		"cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"nosuid\",\"ro\"]},"
		"{\"destination\":\"/sys/fs/cgroup/systemd\",\"type\":\"bind\",\"source\":\"/sys/fs/cgroup/systemd\","
		"\"options\":[\"bind\",\"nodev\"]}]}";
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	struct err e = { 0 };

	t.spec = (char *)spec;
	assert_int_equal(build(c, &p, &e), 0);
	assert_string_equal(p->container->spec->mounts[0]->type, "cgroup");
	for (size_t i = 1; i < p->container->spec->n_mounts; i++)
		assert_string_not_equal(p->container->spec->mounts[i]->destination, "/sys/fs/cgroup/systemd");
	assert_string_equal(p->container->spec->mounts[0]->options[0], "nosuid");
	assert_string_equal(p->container->spec->mounts[0]->options[1], "rw");
	t.spec = NULL;
}

static void cgroup_becomes(const char *given, const char *expected)
{
	_cleanup_free_ char *spec =
		str_printf(SPEC_HEAD "\"root\":{\"path\":\"r\"},\"linux\":{\"cgroupsPath\":\"%s\"}}", given);
	_cleanup_config_ struct config *c = load_config();
	_cleanup_(plan_free_p) struct plan *p = NULL;
	struct err e = { 0 };

	t.spec = spec;
	assert_int_equal(build(c, &p, &e), 0);
	assert_string_equal(p->container->spec->linux->cgroupspath, expected);
	t.spec = NULL;
}

static void test_cgroup_paths(void **state)
{
	cgroup_becomes("", "");
	cgroup_becomes("/docker/abc", "/docker/abc");
	cgroup_becomes("kubepods/../../x", "/kubepods/x");
	cgroup_becomes("user.slice:libpod:77", "/libpod/77");
	cgroup_becomes("user.slice:libpod:", "/libpod/c1");
	cgroup_becomes("a.slice:..:..", "/kata/c1");
	cgroup_becomes("/with:two:colons", "/with:two:colons");
}

static void test_bundle_refusals(void **state)
{
	t.q.bundle = t.dir;
	t.spec = SPEC_HEAD
		"\"root\":{\"path\":\"r\"},\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":"
		"\"proc\"},{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"nothing\"}]}";
	refusedf(ENOENT,
		 "mounts[1] of the container: cannot find %s/nothing, which is to be mounted at /x: No such file or "
		 "directory",
		 t.dir);
}

/* ---- keys ---- */

static bool honours(const struct hypervisor_driver *driver, const char *key)
{
	for (const char *const *k = plan_hypervisor_keys; *k; k++)
		if (str_eq(*k, key))
			return true;
	for (const char *const *k = driver->honoured_keys; *k; k++)
		if (str_eq(*k, key))
			return true;
	return false;
}

/* A key of something that a hypervisor cannot do takes no effect with it, and is warned about. */
static void test_keys_go_by_capability(void **state)
{
	for (const struct hypervisor_driver *const *d = hypervisor_list(); *d; d++) {
		struct config_load_options o = { .hypervisor = (*d)->name, .body = "" };
		_cleanup_config_ struct config *c = NULL;
		struct vm_capabilities has = { 0 };
		struct err e = { 0 };

		if (config_load(&o, &c, NULL, &e) < 0)
			fail_msg("%s: %s", (*d)->name, e.text);
		(*d)->capabilities(&c->hypervisor, &has);
		const struct {
			const char *key;
			bool effective;
		} keys[] = {
			{ "kernel_params", true },
			{ "default_maxvcpus", has.cpu_hotplug },
			{ "default_maxmemory", has.memory_hotplug },
			{ "msize_9p", has.fs_sharing_9p },
			{ "virtio_fs_daemon", has.fs_sharing },
			{ "virtio_fs_extra_args", has.fs_sharing },
			{ "virtio_fs_cache", has.fs_sharing },
		};

		for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
			if (honours(*d, keys[i].key) != keys[i].effective)
				fail_msg("%s: %s", (*d)->name, keys[i].key);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_directory),
		T(test_nothing_shared),
		T(test_private),
		T(test_what_cannot_be_copied),
		T(test_images),
		T(test_no_rootfs),
		T(test_share_refusals),
		T(test_bridges),
		T(test_file_server_flags),
		T(test_volumes),
		T(test_net_user),
		T(test_name_servers_in_a_user_namespace),
		T(test_net_refusals),
		T(test_net_tap),
		T(test_sizes),
		T(test_too_little_memory),
		T(test_more_cpus_than_there_are),
		T(test_named_cpus),
		T(test_guest_files),
		T(test_modules),
		T(test_kernel_params),
		T(test_user_namespace),
		T(test_bundle),
		T(test_hostname_of_a_bundle),
		T(test_shared_processes),
		T(test_seccomp),
		T(test_labels_of_the_host),
		T(test_cgroup_of_systemd),
		T(test_cgroup_paths),
		T(test_bundle_refusals),
		T(test_keys_go_by_capability),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
