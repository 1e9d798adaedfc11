/* SPDX-License-Identifier: Apache-2.0 */
#include "task/sandbox_bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "codec/json.h"
#include "oci/spec.h"

#define CONFIG_MAX  (8u << 20)
#define FILE_MAX    (1u << 20)
#define SHM         "shm"
#define CRI         "io.kubernetes.cri."
#define KATA_PREFIX "io.katacontainers."

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot write the sandbox's bundle");
}

static int write_file(const char *bundle, const char *name, const char *text, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/%s", bundle, name);
	int r = path && text ? file_replace(path, text, strlen(text), 0644) : -ENOMEM;

	return r < 0 ? err_sys(e, -r, "cannot write %s/%s", bundle, name) : 0;
}

/* ---- the pod's ---- */

static int set_i64(struct json_object *o, const char *key, int64_t value)
{
	_cleanup_free_ char *text = str_printf("%lld", (long long)value);

	return text ? json_set_str(o, key, text) : -ENOMEM;
}

/* Those by which the pod and its size are known (pod/pod_role.h, pod/sizing.h), and Kata's. */
static struct json_object *annotations(const char *id, const Runtime__V1__PodSandboxConfig *config)
{
	const Runtime__V1__LinuxContainerResources *resources = config->linux ? config->linux->resources : NULL;
	struct json_object *o = json_object_make();
	int r = 0;

	r |= json_set_str(o, CRI "container-type", "sandbox");
	r |= json_set_str(o, CRI "sandbox-id", id);
	if (config->metadata) {
		r |= json_set_str(o, CRI "sandbox-name", config->metadata->name);
		r |= json_set_str(o, CRI "sandbox-namespace", config->metadata->namespace_);
		r |= json_set_str(o, CRI "sandbox-uid", config->metadata->uid);
	}
	if (resources) {
		r |= set_i64(o, CRI "sandbox-cpu-period", resources->cpu_period);
		r |= set_i64(o, CRI "sandbox-cpu-quota", resources->cpu_quota);
		r |= set_i64(o, CRI "sandbox-memory", resources->memory_limit_in_bytes);
	}
	for (size_t i = 0; i < config->n_annotations; i++)
		if (str_after(config->annotations[i]->key, KATA_PREFIX))
			r |= json_set_str(o, config->annotations[i]->key, config->annotations[i]->value);
	return r ? json_free(o), NULL : o;
}

/* As CRI names the groups of its containers, which are beside this one. */
static char *cgroup_path(const char *parent, const char *id)
{
	const char *slash = strrchr(parent, '/'), *base = slash ? slash + 1 : parent;

	if (str_endswith(base, ".slice"))
		return str_printf("%s:cri-containerd:%s", base, id);
	return str_printf("%s/%s", parent, id);
}

static struct json_object *linux_part(const char *id, const char *netns, const Runtime__V1__LinuxPodSandboxConfig *pod)
{
	struct json_object *o = json_object_make(), *list = json_array_make(), *ns = json_object_make(),
			   *sysctls = json_object_make();
	_cleanup_free_ char *path = pod && !str_empty(pod->cgroup_parent) ? cgroup_path(pod->cgroup_parent, id) : NULL;
	int r = 0;

	if (!str_empty(netns)) {
		r |= json_set_str(ns, "type", "network");
		r |= json_set_str(ns, "path", netns);
		r |= json_add(list, take_ptr(ns));
	}
	json_free(ns);
	r |= json_set(o, "namespaces", list);
	for (size_t i = 0; pod && i < pod->n_sysctls; i++)
		r |= json_set_str(sysctls, pod->sysctls[i]->key, pod->sysctls[i]->value);
	r |= json_set(o, "sysctl", sysctls);
	if (path)
		r |= json_set_str(o, "cgroupsPath", path);
	return r ? json_free(o), NULL : o;
}

/* What runs is nothing: the process is there because a spec has one. */
static char *spec(const char *id, const char *netns, const Runtime__V1__PodSandboxConfig *config)
{
	_cleanup_json_ struct json_object *o = json_object_make();
	struct json_object *process = json_object_make(), *args = json_array_make(), *root = json_object_make();

	json_set_str(o, "ociVersion", OCI_SPEC_VERSION);
	json_add_str(args, "pause");
	json_set(process, "args", args);
	json_set_str(process, "cwd", "/");
	json_set(o, "process", process);
	json_set_str(root, "path", "rootfs");
	json_set(o, "root", root);
	if (!str_empty(config->hostname))
		json_set_str(o, "hostname", config->hostname);
	json_set(o, "annotations", annotations(id, config));
	json_set(o, "linux", linux_part(id, netns, config->linux));
	return json_write(o, true);
}

static int read_config(const char *bundle, struct json_object **ret, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/config.json", bundle);

	return path ? json_parse_file(path, CONFIG_MAX, ret, e) : out_of_memory(e);
}

static int add_line(struct buf *b, const char *word, char **values, size_t n)
{
	int r = n ? buf_puts(b, word) : 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = buf_printf(b, " %s", values[i]);
	return r == 0 && n ? buf_puts(b, "\n") : r;
}

static int copy_of_host(const char *from, const char *bundle, const char *name, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r = file_read(from, FILE_MAX, &text, NULL);

	if (r < 0 && r != -ENOENT)
		return err_sys(e, -r, "cannot read %s", from);
	return write_file(bundle, name, r < 0 ? "" : text, e);
}

static int write_resolv_conf(const char *bundle, const Runtime__V1__DNSConfig *dns, struct err *e)
{
	_cleanup_buf_ struct buf text = { 0 };
	int r;

	if (!dns)
		return copy_of_host("/etc/resolv.conf", bundle, "resolv.conf", e);
	r = add_line(&text, "search", dns->searches, dns->n_searches);
	for (size_t i = 0; r == 0 && i < dns->n_servers; i++)
		r = buf_printf(&text, "nameserver %s\n", dns->servers[i]);
	if (r == 0)
		r = add_line(&text, "options", dns->options, dns->n_options);
	return r < 0 ? out_of_memory(e) : write_file(bundle, "resolv.conf", text.data ? text.data : "", e);
}

static int write_hostname(const char *bundle, const char *hostname, struct err *e)
{
	char own[65] = "";
	_cleanup_free_ char *line = NULL;

	if (str_empty(hostname) && gethostname(own, sizeof own - 1) == 0)
		hostname = own;
	line = str_printf("%s\n", hostname);
	return write_file(bundle, "hostname", line, e);
}

/* Its name is what is mounted: in the guest that is the pod's own (pod/plan_mounts.h). */
static int make_shm(const char *bundle, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/" SHM, bundle);
	int r = path ? dir_make(path, 0700) : -ENOMEM;

	return r < 0 ? err_sys(e, -r, "cannot make %s/" SHM, bundle) : 0;
}

int sandbox_bundle_write(const char *bundle, const char *id, const char *netns,
			 const Runtime__V1__PodSandboxConfig *config, struct err *e)
{
	_cleanup_free_ char *text = spec(id, netns, config);
	int r;

	if (!text)
		return out_of_memory(e);
	if ((r = write_file(bundle, "config.json", text, e)) < 0 ||
	    (r = write_hostname(bundle, config->hostname, e)) < 0 ||
	    (r = copy_of_host("/etc/hosts", bundle, "hosts", e)) < 0 || (r = make_shm(bundle, e)) < 0)
		return r;
	return write_resolv_conf(bundle, config->dns_config, e);
}

int sandbox_bundle_spec(const char *bundle, char **ret, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/config.json", bundle);
	int r = path ? file_read(path, CONFIG_MAX, ret, NULL) : -ENOMEM;

	return r < 0 ? err_sys(e, -r, "cannot read %s/config.json", bundle) : 0;
}

char *sandbox_bundle_info(const char *bundle, pid_t pid)
{
	_cleanup_json_ struct json_object *o = json_object_make(), *spec = NULL;

	if (read_config(bundle, &spec, NULL) == 0)
		json_set(o, "runtimeSpec", take_ptr(spec));
	json_set_u64(o, "pid", (uint64_t)pid);
	return json_write(o, false);
}

/* ---- a container's ---- */

static bool is_mounted(struct json_object *mounts, const char *destination)
{
	for (size_t i = 0; i < json_array_len(mounts); i++) {
		struct json_object *mount = json_array_at(mounts, i);

		/* A container has a tmpfs at /dev/shm, which the pod's is mounted on. */
		if (str_eq(json_get_str(mount, "destination"), destination) &&
		    !str_eq(json_get_str(mount, "type"), "tmpfs"))
			return true;
	}
	return false;
}

static int add_mount(struct json_object *mounts, const char *sandbox_bundle, const char *name, const char *destination,
		     bool readonly)
{
	_cleanup_free_ char *source = str_printf("%s/%s", sandbox_bundle, name);
	struct json_object *mount, *options;

	if (!source)
		return -ENOMEM;
	if (is_mounted(mounts, destination))
		return 0;
	mount = json_object_make();
	options = json_array_make();
	json_set_str(mount, "destination", destination);
	json_set_str(mount, "type", "bind");
	json_set_str(mount, "source", source);
	json_add_str(options, "rbind");
	json_add_str(options, "rprivate");
	json_add_str(options, readonly ? "ro" : "rw");
	json_set(mount, "options", options);
	return json_add(mounts, mount);
}

/* A member that may be missing. NULL: no memory. */
static struct json_object *member(struct json_object *o, const char *key, bool array)
{
	struct json_object *found = array ? json_get_array(o, key) : json_get_object(o, key);

	if (found)
		return found;
	json_set(o, key, array ? json_array_make() : json_object_make());
	return array ? json_get_array(o, key) : json_get_object(o, key);
}

static int set_sysctl(const char *key, struct json_object *value, void *userdata)
{
	return json_get(userdata, key) ? 0 : json_set(userdata, key, json_ref(value));
}

int sandbox_bundle_give(const char *sandbox_bundle, const char *bundle, struct err *e)
{
	static const char *const files[][2] = { { "hosts", "/etc/hosts" },
						{ "hostname", "/etc/hostname" },
						{ "resolv.conf", "/etc/resolv.conf" } };
	_cleanup_json_ struct json_object *pod = NULL, *own = NULL;
	_cleanup_free_ char *text = NULL;
	struct json_object *mounts;
	bool readonly = false;
	int r = read_config(sandbox_bundle, &pod, e);

	if (r == 0)
		r = read_config(bundle, &own, e);
	if (r < 0)
		return r;
	json_get_bool(json_get_object(own, "root"), "readonly", &readonly);
	mounts = member(own, "mounts", true);
	for (size_t i = 0; r == 0 && i < sizeof files / sizeof *files; i++)
		r = add_mount(mounts, sandbox_bundle, files[i][0], files[i][1], readonly);
	if (r == 0)
		r = add_mount(mounts, sandbox_bundle, SHM, "/dev/shm", false);
	if (r == 0)
		r = json_each(json_get_object(json_get_object(pod, "linux"), "sysctl"), set_sysctl,
			      member(member(own, "linux", false), "sysctl", false));
	text = r == 0 ? json_write(own, false) : NULL;
	return text ? write_file(bundle, "config.json", text, e) : out_of_memory(e);
}
