/* SPDX-License-Identifier: Apache-2.0 */
/* What the volumes and devices of a Kubernetes pod become in its guest. */
#include "pod/plan_fixture.h"

#include <sys/sysmacros.h>

#include "oci/spec.h"
#include "pod/plan_devices.h"
#include "pod/plan_direct.h"
#include "pod/plan_volumes.h"

#define VOLUMES "pods/0a-1/volumes"

/* ---- a pod whose container has one mount ---- */

static char *spec_text; /* of the last plan */

static char *spec_of(const char *mounts, const char *linux_part)
{
	return str_printf(SPEC_HEAD "\"root\":{\"path\":\"root\"},\"mounts\":[%s],\"linux\":{%s}}", mounts, linux_part);
}

static void plan_of(const char *mounts, const char *linux_part, struct plan **ret)
{
	_cleanup_config_ struct config *c = load_config();
	struct err e = { 0 };

	free(spec_text);
	spec_text = spec_of(mounts, linux_part);
	t.spec = spec_text;
	t.q.bundle = t.dir;
	t.q.pod = true;
	t.q.rootfs_writable = true;
	if (build(c, ret, &e) < 0)
		fail_msg("%s", e.text);
	/* Lives as long as the plan is looked at. */
	(*ret)->config = NULL;
}

static char *bind_text(const char *source, const char *target, const char *options)
{
	return str_printf("{\"destination\":\"%s\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"rbind\"%s]}",
			  target, source, options);
}

static struct plan *plan_bind(const char *source, const char *options)
{
	_cleanup_free_ char *mount = bind_text(source, "/v", options);
	struct plan *p = NULL;

	plan_of(mount, "", &p);
	return p;
}

/* Another container, with one mount, in the plan of the last one. c lives as long as the plan is looked at. */
static struct plan_container *add_later(struct plan *p, const struct config *c, const char *mount)
{
	_cleanup_free_ char *text = spec_of(mount, "");
	struct plan_request q = t.q;
	struct plan_container *later = NULL;
	struct err e = { 0 };

	p->config = c;
	q.id = "c2";
	assert_int_equal(oci_spec_parse(text, strlen(text), "config.json", &q.spec, NULL, &e), 0);
	assert_int_equal(plan_add_container(p, &q, &later, &e), 0);
	return later;
}

static const struct plan_storage *storage_on(const struct plan *p, const char *where)
{
	for (size_t i = 0; i < p->container->n_storages; i++)
		if (str_eq(p->container->storages[i].mount_point, where))
			return &p->container->storages[i];
	fail_msg("no storage on %s", where);
	return NULL;
}

static bool has(const struct plan_storage *s, const char *option)
{
	return strv_contains(&s->options, option);
}

static const char *source_of(const struct plan *p, const char *target)
{
	for (size_t i = 0; i < p->container->spec->n_mounts; i++)
		if (str_eq(p->container->spec->mounts[i]->destination, target))
			return p->container->spec->mounts[i]->source;
	return NULL;
}

static char *folder(const char *base, const char *name, mode_t mode)
{
	char *path = str_printf("%s/%s", base, name);

	assert_int_equal(dir_make(path, 0755), 0);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

/* ---- emptyDir ---- */

static void test_memory(void **state)
{
	static const char *const where = "/run/kata-containers/sandbox/ephemeral/cache";
	char dir[] = "/dev/shm/plan-volumes-test-XXXXXX";
	const struct plan_storage *s;
	struct plan *p;
	char *path, *mount;

	if (!mkdtemp(dir))
		skip();
	path = folder(dir, VOLUMES "/kubernetes.io~empty-dir/cache", 02777);
	if (geteuid() == 0)
		assert_int_equal(chown(path, 0, 2000), 0);
	assert_int_equal(plan_volume_kind(path), PLAN_VOLUME_MEMORY);
	p = plan_bind(path, "");
	s = storage_on(p, where);
	assert_string_equal(s->driver, "ephemeral");
	assert_string_equal(s->fstype, "tmpfs");
	assert_true(str_after(s->options.v[0], "size=") && s->options.v[0][5] != '0');
	assert_true(geteuid() != 0 || (has(s, "fsgid=2000") && has(s, "mode=2777")) || has(s, "mode=0777"));
	assert_string_equal(source_of(p, "/v"), where);
	/* The host's folder is not shared. */
	assert_int_equal(p->share.n_items, 1);
	plan_free(p);
	/* What pods do that need more shared memory. */
	mount = bind_text(path, "/dev/shm", "");
	plan_of(mount, "", &p);
	assert_string_equal(source_of(p, "/dev/shm"), where);
	plan_free(p);
	free(mount);
	dir_remove(dir);
	free(path);
}

static void test_subpath_places(void **state)
{
	static const struct {
		const char *source, *volume;
	} rows[] = {
		{ "/k/pods/0a-1/volume-subpaths/cache/c/0", "/k/pods/0a-1/volumes/kubernetes.io~empty-dir/cache" },
		{ "/k/pods/0a-1/volume-subpaths/cache/c", NULL },
		{ "/k/pods/0a-1/volume-subpaths/cache/c/", NULL },
		{ "/k/pods/0a-1/volume-subpaths//c/0", NULL },
		{ "/k/pods/0a-1/volume-subpaths/cache//0", NULL },
		{ "/k/pods/0a-1/volume-subpaths/cache/c/0/1", NULL },
		{ "/k/pods/0a-1/volume-subpaths", NULL },
		{ "/k/pods/0a-1/volumes/kubernetes.io~empty-dir/cache", NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		_cleanup_free_ char *volume = NULL;

		assert_int_equal(plan_subpath_volume(rows[i].source, &volume), 0);
		if (!str_eq(volume, rows[i].volume))
			fail_msg("%s is of %s", rows[i].source, volume ? volume : "nothing");
	}
}

/* subPath of an emptyDir in memory: a part of what the pod's other containers mount whole. */
static void test_subpath(void **state)
{
	static const char *const where = "/run/kata-containers/sandbox/subpath/c2-1";
	_cleanup_free_ char *volume = NULL, *part = NULL, *source = NULL, *mount_text = NULL;
	_cleanup_config_ struct config *c = load_config();
	const struct plan_storage *s;
	struct plan_container *later;
	struct plan *p = NULL;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	volume = folder(t.dir, VOLUMES "/kubernetes.io~empty-dir/cache", 02777);
	assert_int_equal(mount("tmpfs", volume, "tmpfs", 0, "size=1m"), 0);
	part = folder(t.dir, VOLUMES "/kubernetes.io~empty-dir/cache/a b/c", 02750);
	source = folder(t.dir, "pods/0a-1/volume-subpaths/cache/web/0", 0755);
	assert_int_equal(mount(part, source, NULL, MS_BIND, NULL), 0);
	mount_text = bind_text(source, "/v", ",\"ro\"");
	plan_of("", "", &p);

	/* An agent that cannot: the part is the host's, and it is said what that means. */
	later = add_later(p, c, mount_text);
	assert_string_equal(later->spec->mounts[0]->source, GUEST_SHARE_DIR "/c2-mount-0");
	assert_int_equal(later->n_storages, 0);
	assert_non_null(strstr(later->notes.v[0], "not with the containers that mount all of"));
	plan_container_free(p, later);

	p->subpaths = true;
	later = add_later(p, c, mount_text);
	assert_string_equal(later->spec->mounts[0]->source, where);
	assert_int_equal(later->n_storages, 2);
	assert_string_equal(later->storages[0].driver, "ephemeral");
	assert_string_equal(later->storages[0].mount_point, "/run/kata-containers/sandbox/ephemeral/cache");
	s = &later->storages[1];
	assert_string_equal(s->driver, "caisson.subpath");
	assert_string_equal(s->source, later->storages[0].mount_point);
	assert_string_equal(s->mount_point, where);
	assert_true(strv_contains(&s->driver_options, "path=a b/c"));
	assert_true(strv_contains(&s->driver_options, "mode=2750"));
	assert_int_equal(later->items.len, 1);
	plan_container_free(p, later);

	/* Not a part of that volume, whatever its name says. */
	assert_int_equal(umount(source), 0);
	assert_int_equal(mount(t.dir, source, NULL, MS_BIND, NULL), 0);
	later = add_later(p, c, mount_text);
	assert_string_equal(later->spec->mounts[0]->source, GUEST_SHARE_DIR "/c2-mount-0");
	plan_container_free(p, later);
	assert_int_equal(umount(source), 0);
	assert_int_equal(umount(volume), 0);
	plan_free(p);
}

static void test_disk(void **state)
{
	_cleanup_free_ char *path = folder(t.dir, VOLUMES "/kubernetes.io~empty-dir/work", 0777);
	static const char *const where = "/run/kata-containers/sandbox/local/work";
	const struct plan_storage *s;
	struct plan *p;

	if (plan_volume_kind(path) != PLAN_VOLUME_EMPTY)
		skip(); /* /tmp is in memory here */
	p = plan_bind(path, "");
	assert_string_equal(source_of(p, "/v"), GUEST_SHARE_DIR "/c1-mount-0");
	plan_free(p);
	t.toml = "shared_fs = \"none\"\n";
	p = plan_bind(path, "");
	s = storage_on(p, where);
	assert_string_equal(s->driver, "local");
	assert_true(has(s, "mode=0777"));
	assert_string_equal(source_of(p, "/v"), where);
	assert_non_null(strstr(p->notes.v[p->notes.len - 1], "is kept in the guest's memory"));
	plan_free(p);
	t.toml = "[runtime]\ndisable_guest_empty_dir = false\n";
	p = plan_bind(path, "");
	assert_string_equal(source_of(p, "/v"), where);
	plan_free(p);
}

static void test_kinds(void **state)
{
	static const struct {
		const char *path;
		enum plan_volume_kind kind;
	} rows[] = {
		{ "/k/" VOLUMES "/kubernetes.io~configmap/conf", PLAN_VOLUME_CHANGING },
		{ "/k/" VOLUMES "/kubernetes.io~secret/key", PLAN_VOLUME_CHANGING },
		{ "/k/" VOLUMES "/kubernetes.io~projected/kube-api-access-x", PLAN_VOLUME_CHANGING },
		{ "/k/" VOLUMES "/kubernetes.io~downward-api/info", PLAN_VOLUME_CHANGING },
		/* Something in one (subPath, or a mount of a single key) is what it is when it is mounted. */
		{ "/k/" VOLUMES "/kubernetes.io~configmap/conf/key", PLAN_VOLUME_PLAIN },
		{ "/k/" VOLUMES "/kubernetes.io~configmap/", PLAN_VOLUME_PLAIN },
		{ "/k/" VOLUMES "/kubernetes.io~configmap/..", PLAN_VOLUME_PLAIN },
		{ "/k/" VOLUMES "/kubernetes.io~configmaps/conf", PLAN_VOLUME_PLAIN },
		{ "/k/" VOLUMES "/my-kubernetes.io~configmap/conf", PLAN_VOLUME_PLAIN },
		{ "/k/" VOLUMES "/kubernetes.io~empty-dir/is-not-there", PLAN_VOLUME_PLAIN },
		{ "/k/pods/0a-1/volume-subpaths/conf/c/0", PLAN_VOLUME_PLAIN },
		{ "/k/" VOLUMES "/kubernetes.io~csi/pvc-1/mount", PLAN_VOLUME_PLAIN },
		{ "/srv/data", PLAN_VOLUME_PLAIN },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (plan_volume_kind(rows[i].path) != rows[i].kind)
			fail_msg("%s is kind %d", rows[i].path, plan_volume_kind(rows[i].path));
}

/* ---- what changes while it is mounted ---- */

static void test_config_map(void **state)
{
	_cleanup_free_ char *path = folder(t.dir, VOLUMES "/kubernetes.io~configmap/conf", 0755);
	static const char *const item = GUEST_SHARE_DIR "/c1-mount-0", *const where =
									       GUEST_SHARE_DIR "/watchable/c1-mount-0";
	const struct plan_storage *s;
	struct plan *p = plan_bind(path, ",\"ro\"");

	s = storage_on(p, where);
	assert_string_equal(s->driver, "watchable-bind");
	assert_string_equal(s->source, item);
	assert_string_equal(source_of(p, "/v"), where);
	assert_true(p->share.items[1].readonly);
	plan_free(p);
	/* Too much to be followed by copying: shared as it is, and whoever reads it again sees the change. */
	for (int i = 0; i < 9; i++) {
		_cleanup_free_ char *name = str_printf(VOLUMES "/kubernetes.io~configmap/conf/%d", i);

		put(name, "x", 1);
	}
	p = plan_bind(path, ",\"ro\"");
	assert_string_equal(source_of(p, "/v"), item);
	assert_int_equal(p->container->n_storages, 0);
	plan_free(p);
}

/* ---- shared memory ---- */

static void test_shm(void **state)
{
	_cleanup_free_ char *first = bind_text("/dev/shm", "/dev/shm", "");
	struct plan *p = NULL;

	/* A later container may want it when the first one does not. */
	plan_of("", "", &p);
	assert_int_equal(p->n_sandbox_storages, 2);
	assert_string_equal(p->sandbox_storages[1].mount_point, GUEST_SHM_DIR);
	assert_true(has(&p->sandbox_storages[1], "size=67108864"));
	plan_free(p);
	plan_of(first, "", &p);
	assert_int_equal(p->n_sandbox_storages, 2);
	assert_false(has(&p->sandbox_storages[1], "size=0"));
	assert_string_equal(source_of(p, "/dev/shm"), GUEST_SHM_DIR);
	plan_free(p);
}

static void test_later_container(void **state)
{
	_cleanup_free_ char *shm = bind_text("/dev/shm", "/dev/shm", "");
	_cleanup_config_ struct config *c = load_config();
	struct plan_container *later;
	struct plan *p = NULL;

	plan_of("", "", &p);
	later = add_later(p, c, shm);
	/* One for the pod: the sandbox that runs is not asked for another. */
	assert_int_equal(p->n_sandbox_storages, 2);
	assert_int_equal(later->n_storages, 0);
	assert_string_equal(later->spec->mounts[0]->source, GUEST_SHM_DIR);
	plan_container_free(p, later);
	plan_free(p);
}

/* ---- direct-assigned volumes ---- */

/* mountInfo.json for the volume at source. *ret_name: as coreutils encode it. */
static void put_info(const char *dir, const char *source, const char *text, char **ret_name)
{
	_cleanup_free_ char *command = str_printf("printf %%s '%s' | base64 -w 0 | tr +/ -_", source);
	_cleanup_free_ char *path = NULL;
	char name[512] = "";
	FILE *f = popen(command, "r");

	assert_non_null(fgets(name, sizeof name, f));
	pclose(f);
	path = str_printf("%s/%s", dir, name);
	assert_int_equal(dir_make(path, 0755), 0);
	free(path);
	path = str_printf("%s/%s/mountInfo.json", dir, name);
	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
	*ret_name = strdup(name);
}

#define INFO(more) "{\"volume-type\":\"directvol\",\"device\":\"/dev/vol1\",\"fstype\":\"xfs\"" more "}"

/* A disk and a storage; a second container has the same disk, once for two mounts, which goes with the last one. */
static void test_direct_volume(void **state)
{
	_cleanup_free_ char *source = folder(t.dir, "pods/?>~/volumes/kubernetes.io~csi/pvc-1/mount", 0755);
	_cleanup_free_ char *dir = folder(t.dir, "direct", 0755), *name = NULL, *where = NULL;
	_cleanup_free_ char *one = bind_text(source, "/v", ""), *two = bind_text(source, "/w", "");
	_cleanup_free_ char *mounts = str_printf("%s,%s", one, two);
	_cleanup_config_ struct config *c = load_config();
	struct plan_container *later;
	const struct vm_device *d;
	const struct plan_storage *s;
	struct plan *p;

	put_info(dir, source,
		 INFO(",\"options\":[\"noatime\"],\"metadata\":{\"fsGroup\":\"2000\","
		      "\"fsGroupChangePolicy\":\"OnRootMismatch\"}"),
		 &name);
	t.q.direct_dir = dir;
	p = plan_bind(source, "");
	where = str_printf("/run/kata-containers/sandbox/storage/%s", name);
	assert_string_equal(source_of(p, "/v"), where);
	s = storage_on(p, where);
	assert_string_equal(s->driver, "blk");
	assert_string_equal(s->fstype, "xfs");
	assert_true(has(s, "noatime"));
	assert_true(s->has_fs_group && s->fs_group == 2000 && s->fs_group_on_mismatch);
	d = s->device;
	assert_string_equal(d->u.block.path, "/dev/vol1");
	assert_false(d->u.block.readonly);
	assert_int_equal(plan_disk_holders(p, d), 1);
	assert_string_equal(plan_direct_find(p, "/dev/vol1")->where, where);
	assert_null(plan_direct_find(p, "/dev/vol"));
	/* The host's folder is not shared. */
	assert_int_equal(p->share.n_items, 1);

	later = add_later(p, c, mounts);
	assert_int_equal(p->n_devices, 2);
	assert_int_equal(later->n_devices, 1);
	assert_ptr_equal(later->storages[0].device, d);
	assert_ptr_equal(later->storages[1].device, d);
	assert_int_equal(plan_disk_holders(p, d), 2);
	plan_container_free(p, p->container);
	p->container = NULL;
	assert_int_equal(plan_disk_holders(p, d), 1);
	assert_string_equal(later->devices[0]->u.block.path, "/dev/vol1");
	plan_container_free(p, later);
	assert_int_equal(p->n_direct, 0);
	assert_null(plan_direct_find(p, "/dev/vol1"));
	plan_free(p);
	t.q.direct_dir = NULL;
}

static void test_direct_volume_refusals(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "[]", "is no JSON object" },
		{ "{", "is no JSON object" },
		{ "{\"volume-type\":\"spdkvol\",\"device\":\"/dev/x\",\"fstype\":\"xfs\"}",
		  "volume-type \"spdkvol\" is not known here" },
		{ "{\"volume-type\":\"block\",\"fstype\":\"xfs\"}", "device must be the path" },
		{ "{\"volume-type\":\"block\",\"device\":\"/dev/x\"}", "fstype is missing" },
		{ INFO(",\"metadata\":{\"fsGroup\":\"users\"}"), "fsGroup is no group: users" },
	};
	_cleanup_free_ char *source = folder(t.dir, "pods/0a-1/volumes/kubernetes.io~csi/pvc-2/mount", 0755);
	_cleanup_free_ char *dir = folder(t.dir, "direct", 0755);
	_cleanup_free_ char *mount = bind_text(source, "/v", "");
	_cleanup_free_ char *text = spec_of(mount, "");

	t.spec = text;
	t.q.bundle = t.dir;
	t.q.pod = true;
	t.q.direct_dir = dir;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		_cleanup_config_ struct config *c = load_config();
		_cleanup_free_ char *name = NULL;
		struct err e = { 0 };
		struct plan *p = NULL;

		put_info(dir, source, cases[i].text, &name);
		assert_true(build(c, &p, &e) < 0);
		if (!strstr(e.text, cases[i].error))
			fail_msg("%s", e.text);
	}
	t.q.direct_dir = NULL;
}

/* ---- devices ---- */

#define DEVICE(path, type, major, minor)                                                                               \
	"{\"path\":\"" path "\",\"type\":\"" type "\",\"major\":" major ",\"minor\":" minor "}"
#define ALLOW_ALL                                                                                                      \
	"\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"access\":\"rwm\"}]}"
#define ALLOW_ONE                                                                                                      \
	"\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\","             \
	"\"access\":\"m\"}]}"

static void test_character_devices(void **state)
{
	struct plan *p = NULL;
	const Grpc__Linux *l;

	plan_of("",
		"\"devices\":[" DEVICE("/dev/fuse", "c", "10", "229") "," DEVICE(
			"/dev/snd/timer", "c", "116", "33") "," DEVICE("/dev/pipe", "p", "0", "0") "]," ALLOW_ONE,
		&p);
	l = p->container->spec->linux;
	assert_int_equal(l->n_devices, 2);
	assert_string_equal(l->devices[0]->path, "/dev/fuse");
	assert_string_equal(l->devices[1]->path, "/dev/pipe");
	assert_string_equal(p->notes.v[p->notes.len - 1],
			    "/dev/snd/timer is a device of the host, and this guest does not get it");
	plan_free(p);
}

static void test_modules_of_the_guest(void **state)
{
	struct plan *p;

	assert_int_equal(mkdir(tmp("guest/modules"), 0755), 0);
	p = plan_bind("/lib/modules", ",\"ro\"");
	assert_string_equal(source_of(p, "/v"), GUEST_MODULES_DIR);
	plan_free(p);
}

static void test_privileged(void **state)
{
	struct plan *p = NULL;

	plan_of("",
		"\"devices\":[" DEVICE("/dev/sda", "b", "8", "0") "," DEVICE("/dev/fuse", "c", "10", "229") "," DEVICE(
			"/dev/dri/card0", "c", "226", "0") "," DEVICE("/dev/userfaultfd", "c", "10",
								      "126") "]," ALLOW_ALL,
		&p);
	assert_true(oci_spec_is_privileged(p->container->spec));
	assert_int_equal(p->container->spec->linux->n_devices, 1);
	assert_string_equal(p->container->spec->linux->devices[0]->path, "/dev/fuse");
	assert_int_equal(p->container->n_devices, 0);
	assert_int_equal(p->notes.len, 0);
	plan_free(p);
}

/* Any block device that this machine has. */
static char *some_disk(unsigned *major, unsigned *minor)
{
	FILE *f = fopen("/proc/partitions", "r");
	char line[128], name[64];
	char *path = NULL;

	while (f && !path && fgets(line, sizeof line, f))
		if (sscanf(line, "%u %u %*u %63s", major, minor, name) == 3) {
			_cleanup_free_ char *sys = str_printf("/sys/dev/block/%u:%u/uevent", *major, *minor);

			path = access(sys, R_OK) == 0 ? str_printf("/dev/%s", name) : NULL;
		}
	if (f)
		fclose(f);
	return path;
}

static void test_block_device(void **state)
{
	unsigned major, minor;
	_cleanup_free_ char *disk = some_disk(&major, &minor), *text = NULL;
	struct plan *p = NULL;

	if (!disk)
		skip();
	text = str_printf("\"devices\":[{\"path\":\"/dev/xvda\",\"type\":\"b\",\"major\":%u,\"minor\":%u}],"
			  "\"resources\":{\"devices\":[{\"allow\":true,\"type\":\"b\",\"major\":%u,\"minor\":%u,"
			  "\"access\":\"r\"}]}",
			  major, minor, major, minor);
	plan_of("", text, &p);
	assert_int_equal(p->container->n_blocks, 1);
	assert_string_equal(p->container->blocks[0].container_path, "/dev/xvda");
	assert_string_equal(p->container->blocks[0].device->u.block.path, disk);
	assert_true(p->container->blocks[0].device->u.block.readonly);
	/* The guest finds it by its path and puts its own number there. */
	assert_int_equal(p->container->spec->linux->n_devices, 1);
	plan_free(p);
}

static void assert_bound(const struct plan *p, const char *source, const char *target, bool readonly)
{
	const Grpc__Linux *l = p->container->spec->linux;
	const struct vm_device *disk;

	assert_int_equal(p->container->n_blocks, 1);
	assert_string_equal(p->container->blocks[0].container_path, target);
	disk = p->container->blocks[0].device;
	assert_string_equal(disk->u.block.path, source);
	assert_int_equal(disk->u.block.readonly, readonly);
	assert_string_equal(l->devices[l->n_devices - 1]->path, target);
	assert_string_equal(l->devices[l->n_devices - 1]->type, "b");
	assert_int_equal(l->devices[l->n_devices - 1]->filemode, 0640);
	assert_null(source_of(p, target));
}

/* -v /dev/loop0:/dev/xvda: the guest has no such device, or another one of that name. */
static void test_bound_block_device(void **state)
{
	unsigned major, minor;
	_cleanup_free_ char *disk = some_disk(&major, &minor), *node = str_printf("%s/node", t.dir), *text = NULL,
			    *mounts = NULL, *one = NULL, *two = NULL;
	struct plan_volume volume = { .source = node, .target = (char *)"/dev/xvda", .readonly = true };
	_cleanup_config_ struct config *c = load_config();
	struct err e = { 0 };
	struct plan *p = NULL;

	if (!disk || mknod(node, S_IFBLK | 0640, makedev(major, minor)) < 0)
		skip();
	/* What is behind it stays a mount. */
	one = bind_text(node, "/dev/xvda", ",\"ro\"");
	two = bind_text(tmp("data"), "/data", "");
	mounts = str_printf("%s,%s", one, two);
	plan_of(mounts, "", &p);
	assert_bound(p, node, "/dev/xvda", true);
	assert_int_equal(p->container->spec->n_mounts, 1);
	assert_string_equal(source_of(p, "/data"), GUEST_SHARE_DIR "/c1-mount-1");
	assert_int_equal(p->container->items.len, 2);
	plan_free(p);
	/* A privileged container gets none of the host's devices but this one. */
	plan_of(one, "\"devices\":[" DEVICE("/dev/sda", "b", "8", "0") "]," ALLOW_ALL, &p);
	assert_int_equal(p->container->spec->linux->n_devices, 1);
	assert_bound(p, node, "/dev/xvda", true);
	plan_free(p);
	/* It has come as a device, too. */
	text = str_printf("\"devices\":[{\"path\":\"/dev/xvda\",\"type\":\"b\",\"major\":%u,\"minor\":%u}]", major,
			  minor);
	plan_of(one, text, &p);
	assert_int_equal(p->container->n_blocks, 1);
	assert_int_equal(p->container->spec->linux->n_devices, 1);
	assert_null(source_of(p, "/dev/xvda"));
	plan_free(p);

	/* Of `caisson run`. */
	t.spec = SPEC_HEAD "\"root\":{\"path\":\"root\"}}";
	t.q.pod = false;
	t.q.volumes = &volume;
	t.q.n_volumes = 1;
	assert_int_equal(build(c, &p, &e), 0);
	assert_bound(p, node, "/dev/xvda", true);
	plan_free(p);
	can.block = false;
	refused(ENOTSUP,
		"device /dev/xvda of the container is a block device, and this hypervisor has none for guests");
}

/* Two names of one device, and a second container with it: one disk. Who may only read it has another one. */
static void test_common_block_device(void **state)
{
	unsigned major, minor;
	_cleanup_free_ char *disk = some_disk(&major, &minor), *node = str_printf("%s/node", t.dir), *one = NULL,
			    *two = NULL, *reader = NULL, *both = NULL;
	_cleanup_config_ struct config *c = load_config();
	struct plan_container *later, *last;
	struct plan *p = NULL;

	if (!disk || mknod(node, S_IFBLK | 0640, makedev(major, minor)) < 0)
		skip();
	one = bind_text(node, "/dev/xvda", "");
	two = bind_text(node, "/dev/xvdb", "");
	reader = bind_text(node, "/dev/xvda", ",\"ro\"");
	both = str_printf("%s,%s", one, two);
	plan_of(both, "", &p);
	assert_int_equal(p->container->n_blocks, 2);
	assert_int_equal(p->container->n_devices, 1);
	later = add_later(p, c, one);
	assert_ptr_equal(later->blocks[0].device, p->container->blocks[1].device);
	assert_int_equal(plan_disk_holders(p, later->blocks[0].device), 2);
	assert_null(plan_direct_find(p, node));
	last = add_later(p, c, reader);
	assert_ptr_not_equal(last->blocks[0].device, later->blocks[0].device);
	assert_true(last->blocks[0].device->u.block.readonly);
	plan_container_free(p, last);
	plan_container_free(p, later);
	assert_int_equal(plan_disk_holders(p, p->container->devices[0]), 1);
	plan_free(p);
}

static void test_device_refusals(void **state)
{
	t.q.bundle = t.dir;
	t.q.pod = true;
	t.q.rootfs_writable = true;
	t.spec = SPEC_HEAD
		"\"root\":{\"path\":\"root\"},\"linux\":{\"devices\":[" DEVICE("/dev/xvda", "b", "4094", "77") "]}}";
	refused(ENODEV, "device /dev/xvda of the container: this host has no block device 4094:77");
	can.block = false;
	refused(ENOTSUP,
		"device /dev/xvda of the container is a block device, and this hypervisor has none for guests");
}

static int end(void **state)
{
	free(spec_text);
	spec_text = NULL;
	return tear_down(state);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, end)
	const struct CMUnitTest tests[] = {
		T(test_memory),
		T(test_subpath_places),
		T(test_subpath),
		T(test_disk),
		T(test_kinds),
		T(test_config_map),
		T(test_shm),
		T(test_later_container),
		T(test_direct_volume),
		T(test_direct_volume_refusals),
		T(test_character_devices),
		T(test_modules_of_the_guest),
		T(test_privileged),
		T(test_block_device),
		T(test_bound_block_device),
		T(test_common_block_device),
		T(test_device_refusals),
	};

	return cmocka_run_group_tests_name("plan_volumes", tests, NULL, NULL);
}
