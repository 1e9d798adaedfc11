/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spec is put together as JSON from a template and then read like any other, so that the flags of a person go
 * through the same checks as a config.json.
 */
#include "oci/builder.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "oci/document.h"
#include "oci/schema.h"
#include "oci/seccomp.h"
#include "oci/user.h"

/* What docker 20.10 gives every container, as facts: mounts, hidden and read-only paths, device rules. */
static const char template[] =
	"{\"ociVersion\":\"" OCI_SPEC_VERSION "\",\"process\":{},\"root\":{\"path\":\"rootfs\"},\"mounts\":["
	"{\"destination\":\"/"
	"proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\","
	"\"mode=755\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","
	"\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\","
	"\"nodev\",\"mode=1777\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\","
	"\"nodev\"]},"
	"{\"destination\":\"/"
	"sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\","
	"\"ro\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"nosuid\","
	"\"noexec\",\"nodev\",\"relatime\",\"ro\"]}],"
	"\"linux\":{\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},"
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"},"
	"{\"type\":\"cgroup\"}],"
	"\"maskedPaths\":[\"/proc/asound\",\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\","
	"\"/proc/timer_list\",\"/proc/timer_stats\",\"/proc/sched_debug\",\"/proc/scsi\",\"/sys/firmware\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]}}";

static const char *const default_caps[] = {
	"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
	"CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
	"CAP_KILL",    "CAP_AUDIT_WRITE",
};

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct builder {
	const struct oci_run_options *o;
	struct json_object *spec, *process, *linux, *resources;
	struct oci_user user;
	struct strv caps;
	struct strv *warnings;
	struct err *err;
};

static int no_memory(const struct builder *b)
{
	return err_set(b->err, ERR_SYSTEM, ENOMEM, "out of memory");
}

static int put(const struct builder *b, struct json_object *o, const char *key, struct json_object *v)
{
	if (v && json_object_object_add(o, key, v) == 0)
		return 0;
	json_object_put(v);
	return no_memory(b);
}

static int put_strings(const struct builder *b, struct json_object *o, const char *key, const struct strv *s)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; list && i < s->len; i++) {
		struct json_object *v = json_object_new_string(s->v[i]);

		if (!v || json_object_array_add(list, v) < 0) {
			json_object_put(v);
			json_object_put(list);
			return no_memory(b);
		}
	}
	return put(b, o, key, list);
}

static void to_upper(char *s)
{
	for (; *s; s++)
		*s = *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
}

/* ---- process ---- */

static int put_user(struct builder *b)
{
	struct json_object *user = json_object_new_object(), *groups;
	int r = oci_user_resolve(b->o->user, b->o->rootfs_fd, &b->user, b->err);

	if (r < 0) {
		json_object_put(user);
		return r;
	}
	r = put(b, b->process, "user", user);
	if (r == 0)
		r = put(b, user, "uid", json_object_new_int64(b->user.uid));
	if (r == 0)
		r = put(b, user, "gid", json_object_new_int64(b->user.gid));
	if (r == 0 && b->user.n_groups) {
		groups = json_object_new_array();
		for (size_t i = 0; groups && i < b->user.n_groups; i++)
			json_object_array_add(groups, json_object_new_int64(b->user.groups[i]));
		r = put(b, user, "additionalGids", groups);
	}
	return r;
}

/* No HOME: the agent looks it up, in the root that the process has, for it and for each command that comes later. */
static int put_env(struct builder *b)
{
	_cleanup_strv_ struct strv env = { 0 };
	const struct strv *asked = b->o->env;
	int r = strv_add(&env, DEFAULT_PATH);

	if (r == 0 && b->o->hostname)
		r = strv_addf(&env, "HOSTNAME=%s", b->o->hostname);
	if (r == 0 && b->o->tty)
		r = strv_add(&env, "TERM=xterm");
	for (size_t i = 0; r == 0 && asked && i < asked->len; i++) {
		if (asked->v[i][0] == '=' || !strchr(asked->v[i], '='))
			return err_set(b->err, ERR_CONFIG, EINVAL, "environment \"%.200s\": expected NAME=value",
				       asked->v[i]);
		r = strv_set_env(&env, asked->v[i]);
	}
	return r < 0 ? no_memory(b) : put_strings(b, b->process, "env", &env);
}

static bool parse_limit(const char *s, uint64_t *ret)
{
	*ret = UINT64_MAX;
	return str_eq(s, "-1") || str_eq(s, "unlimited") || str_to_u64(s, 10, ret) == 0;
}

/* NAME=SOFT[:HARD]; type: RLIMIT_NAME, freed by the caller also on failure. */
static int parse_ulimit(const char *text, char **ret_type, uint64_t *ret_soft, uint64_t *ret_hard)
{
	const char *eq = strchr(text, '=');
	_cleanup_free_ char *values = eq ? strdup(eq + 1) : NULL;
	char *hard;

	if (!eq)
		return -EINVAL;
	*ret_type = str_printf("RLIMIT_%.*s", (int)(eq - text), text);
	if (!values || !*ret_type)
		return -ENOMEM;
	to_upper(*ret_type);
	hard = strchr(values, ':');
	if (hard)
		*hard++ = '\0';
	return parse_limit(values, ret_soft) && parse_limit(hard ? hard : values, ret_hard) ? 0 : -EINVAL;
}

static int put_ulimit(struct builder *b, struct json_object *list, const char *text)
{
	struct json_object *limit;
	_cleanup_free_ char *type = NULL;
	uint64_t soft, hard;
	int r = parse_ulimit(text, &type, &soft, &hard);

	if (r == -EINVAL)
		return err_set(b->err, ERR_CONFIG, EINVAL,
			       "ulimit \"%.100s\": expected NAME=SOFT[:HARD], e.g. nofile=1024:2048", text);
	limit = r == 0 ? json_object_new_object() : NULL;
	if (!limit || json_object_array_add(list, limit) < 0) {
		json_object_put(limit);
		return no_memory(b);
	}
	r = put(b, limit, "type", json_object_new_string(type));
	if (r == 0)
		r = put(b, limit, "soft", json_object_new_uint64(soft));
	if (r == 0)
		r = put(b, limit, "hard", json_object_new_uint64(hard));
	return r;
}

static int put_ulimits(struct builder *b)
{
	struct json_object *list = json_object_new_array();
	int r = put(b, b->process, "rlimits", list);

	for (size_t i = 0; r == 0 && b->o->ulimits && i < b->o->ulimits->len; i++)
		r = put_ulimit(b, list, b->o->ulimits->v[i]);
	return r;
}

/* ---- capabilities ---- */

static int cap_name(const struct builder *b, const char *s, char name[static 64])
{
	const char *plain = strncasecmp(s, "CAP_", 4) ? s : s + 4;

	snprintf(name, 64, "CAP_%s", plain);
	to_upper(name);
	if (str_eq(name, "CAP_ALL"))
		return 0;
	for (unsigned i = 0; oci_capability_name(i); i++)
		if (str_eq(name + 4, oci_capability_name(i)))
			return 0;
	return err_set(b->err, ERR_CONFIG, EINVAL, "capability \"%.100s\" is not known; see capabilities(7)", s);
}

static int lists_all(const struct builder *b, const struct strv *list, bool *ret)
{
	char name[64];

	*ret = false;
	for (size_t i = 0; list && i < list->len; i++) {
		int r = cap_name(b, list->v[i], name);

		if (r < 0)
			return r;
		*ret |= str_eq(name, "CAP_ALL");
	}
	return 0;
}

static bool names_cap(const struct builder *b, const struct strv *list, const char *cap)
{
	char name[64];

	for (size_t i = 0; list && i < list->len; i++)
		if (cap_name(b, list->v[i], name) == 0 && str_eq(name, cap))
			return true;
	return false;
}

/* As docker decides: what is added by name wins over --cap-drop ALL, what is dropped by name over --cap-add ALL. */
static int put_capabilities(struct builder *b)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	struct json_object *caps = json_object_new_object();
	bool add_all, drop_all;
	int r = put(b, b->process, "capabilities", caps);

	if (r == 0)
		r = lists_all(b, b->o->cap_add, &add_all);
	if (r == 0)
		r = lists_all(b, b->o->cap_drop, &drop_all);
	if (r < 0)
		return r;
	add_all |= b->o->privileged;
	for (unsigned i = 0; oci_capability_name(i); i++) {
		char name[64];
		bool has = add_all;

		snprintf(name, sizeof name, "CAP_%s", oci_capability_name(i));
		for (size_t k = 0; !add_all && !drop_all && k < sizeof default_caps / sizeof default_caps[0]; k++)
			has |= str_eq(name, default_caps[k]);
		has |= names_cap(b, b->o->cap_add, name);
		if (has && !names_cap(b, b->o->cap_drop, name) && strv_add(&b->caps, name) < 0)
			return no_memory(b);
	}
	for (size_t i = 0; r == 0 && i < sizeof sets / sizeof sets[0]; i++)
		r = put_strings(b, caps, sets[i], &b->caps);
	return r;
}

/* ---- security options ---- */

static int put_security(struct builder *b, const char *opt)
{
	struct json_object *profile;
	const char *v = strpbrk(opt, "=:");
	size_t n = v ? (size_t)(v - opt) : strlen(opt);
	int r;

	v = v ? v + 1 : "";
#define IS(name) (n == strlen(name) && !strncmp(opt, name, n))
	if (IS("no-new-privileges") && (!*v || str_eq(v, "true") || str_eq(v, "false")))
		return put(b, b->process, "noNewPrivileges", json_object_new_boolean(!str_eq(v, "false")));
	if (IS("seccomp") && str_eq(v, "unconfined")) {
		json_object_object_del(b->linux, "seccomp");
		return 0;
	}
	if (IS("seccomp") && *v) {
		r = oci_seccomp_load(v, &b->caps, &profile, b->err);
		return r < 0 ? r : put(b, b->linux, "seccomp", profile);
	}
	if (IS("systempaths") && str_eq(v, "unconfined")) {
		json_object_object_del(b->linux, "maskedPaths");
		json_object_object_del(b->linux, "readonlyPaths");
		return 0;
	}
	if (IS("apparmor") || IS("label")) {
		if (b->warnings &&
		    strv_addf(b->warnings, "--security-opt %.*s has no effect in a virtual machine", (int)n, opt) < 0)
			return no_memory(b);
		return 0;
	}
#undef IS
	return err_set(b->err, ERR_CONFIG, EINVAL,
		       "--security-opt \"%.100s\" is not known; known are seccomp=unconfined, seccomp=FILE, "
		       "no-new-privileges, systempaths=unconfined, apparmor=…, label=…",
		       opt);
}

/* ---- resources ---- */

static int put_resources(struct builder *b)
{
	const struct oci_run_options *o = b->o;
	struct json_object *cpu, *group;
	int r = 0;

	if (o->memory > INT64_MAX)
		return err_set(b->err, ERR_CONFIG, EINVAL, "--memory %llu is too large", (unsigned long long)o->memory);
	if (!isfinite(o->cpus) || o->cpus < 0 || o->cpus > 4096 || (o->cpus > 0 && o->cpus < 0.01))
		return err_set(b->err, ERR_CONFIG, EINVAL, "--cpus %g: expected 0.01 to 4096", o->cpus);
	if (o->memory) {
		group = json_object_new_object();
		r = put(b, b->resources, "memory", group);
		if (r == 0)
			r = put(b, group, "limit", json_object_new_int64((int64_t)o->memory));
	}
	if (r == 0 && o->cpus > 0) {
		cpu = json_object_new_object();
		r = put(b, b->resources, "cpu", cpu);
		if (r == 0)
			r = put(b, cpu, "quota", json_object_new_int64(llround(o->cpus * 100000)));
		if (r == 0)
			r = put(b, cpu, "period", json_object_new_int64(100000));
	}
	if (r == 0 && o->pids_limit > 0) {
		group = json_object_new_object();
		r = put(b, b->resources, "pids", group);
		if (r == 0)
			r = put(b, group, "limit", json_object_new_int64(o->pids_limit));
	}
	return r;
}

/* ---- mounts and annotations of a finished spec ---- */

static int split_options(const char *options, struct strv *ret)
{
	_cleanup_free_ char *copy = strdup(options ? options : "");
	char *rest = copy, *item;

	if (!copy)
		return -ENOMEM;
	while ((item = strsep(&rest, ",")))
		if (*item && strv_add(ret, item) < 0)
			return -ENOMEM;
	return 0;
}

static void remove_mount(Grpc__Spec *spec, const char *destination)
{
	for (size_t i = 0; i < spec->n_mounts; i++) {
		if (!str_eq(spec->mounts[i]->destination, destination))
			continue;
		grpc__mount__free_unpacked(spec->mounts[i], NULL);
		spec->n_mounts--;
		memmove(&spec->mounts[i], &spec->mounts[i + 1], (spec->n_mounts - i) * sizeof *spec->mounts);
		i--;
	}
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n && dir[n - 1] == '/')
		n--;
	return !strncmp(path, dir, n) && path[n] == '/' && path[n + strspn(path + n, "/")];
}

/* There is room for it. */
static void insert_mount(Grpc__Spec *spec, Grpc__Mount *m)
{
	size_t at = 0;

	while (at < spec->n_mounts && !is_below(spec->mounts[at]->destination, m->destination))
		at++;
	memmove(&spec->mounts[at + 1], &spec->mounts[at], (spec->n_mounts - at) * sizeof *spec->mounts);
	spec->mounts[at] = m;
	spec->n_mounts++;
}

int oci_spec_add_mount(Grpc__Spec *spec, const char *destination, const char *source, const char *type,
		       const char *options)
{
	_cleanup_strv_ struct strv opts = { 0 };
	Grpc__Mount *m, **mounts;

	if (destination[0] != '/')
		return -EINVAL;
	if (split_options(options, &opts) < 0)
		return -ENOMEM;
	mounts = realloc(spec->mounts, (spec->n_mounts + 1) * sizeof *mounts);
	if (!mounts)
		return -ENOMEM;
	spec->mounts = mounts;
	m = malloc(sizeof *m);
	if (!m)
		return -ENOMEM;
	grpc__mount__init(m);
	m->destination = strdup(destination);
	m->source = strdup(source ? source : "");
	m->type = strdup(type ? type : "bind");
	m->options = opts.v;
	m->n_options = opts.len;
	opts = (struct strv){ 0 };
	if (!m->destination || !m->source || !m->type) {
		grpc__mount__free_unpacked(m, NULL);
		return -ENOMEM;
	}
	remove_mount(spec, destination);
	insert_mount(spec, m);
	return 0;
}

const char *oci_spec_annotation(const Grpc__Spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->n_annotations; i++)
		if (str_eq(spec->annotations[i]->key, key))
			return spec->annotations[i]->value;
	return NULL;
}

const Grpc__LinuxNamespace *oci_spec_namespace(const Grpc__Spec *spec, const char *type)
{
	for (size_t i = 0; spec->linux && i < spec->linux->n_namespaces; i++)
		if (str_eq(spec->linux->namespaces[i]->type, type))
			return spec->linux->namespaces[i];
	return NULL;
}

int oci_spec_set_root(Grpc__Spec *spec, const char *path, bool readonly)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	if (!spec->root) {
		spec->root = malloc(sizeof *spec->root);
		if (!spec->root) {
			free(copy);
			return -ENOMEM;
		}
		grpc__root__init(spec->root);
	} else if (spec->root->path != protobuf_c_empty_string) {
		free(spec->root->path);
	}
	spec->root->path = copy;
	spec->root->readonly = readonly;
	return 0;
}

int oci_spec_set_annotation(Grpc__Spec *spec, const char *key, const char *value)
{
	Grpc__Spec__AnnotationsEntry *a = NULL, **list;
	_cleanup_free_ char *k = strdup(key), *v = strdup(value);

	if (!k || !v)
		return -ENOMEM;
	for (size_t i = 0; i < spec->n_annotations; i++)
		if (str_eq(spec->annotations[i]->key, key))
			a = spec->annotations[i];
	if (!a) {
		list = realloc(spec->annotations, (spec->n_annotations + 1) * sizeof *list);
		if (!list)
			return -ENOMEM;
		spec->annotations = list;
		a = malloc(sizeof *a);
		if (!a)
			return -ENOMEM;
		grpc__spec__annotations_entry__init(a);
		a->key = take_ptr(k);
		list[spec->n_annotations++] = a;
	} else if (a->value != protobuf_c_empty_string) {
		free(a->value);
	}
	a->value = take_ptr(v);
	return 0;
}

/* docker's --tmpfs: noexec, nosuid and nodev unless the opposite is asked for. */
static int add_tmpfs(Grpc__Spec *spec, const char *text, struct err *e)
{
	_cleanup_strv_ struct strv opts = { 0 };
	_cleanup_buf_ struct buf all = { 0 };
	const char *colon = strchr(text, ':');
	_cleanup_free_ char *path = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
	static const char *const defaults[][2] = { { "noexec", "exec" }, { "nosuid", "suid" }, { "nodev", "dev" } };
	int r;

	if (!path || split_options(colon ? colon + 1 : "", &opts) < 0)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	for (size_t i = 0; i < 3; i++)
		if (!strv_contains(&opts, defaults[i][1]))
			buf_printf(&all, "%s,", defaults[i][0]);
	for (size_t i = 0; i < opts.len; i++)
		buf_printf(&all, "%s,", opts.v[i]);
	r = oci_spec_add_mount(spec, path, "tmpfs", "tmpfs", all.data);
	if (r == -EINVAL)
		return err_set(e, ERR_CONFIG, EINVAL, "--tmpfs \"%.200s\": expected an absolute path", text);
	return r < 0 ? err_sys(e, -r, "cannot add the tmpfs %s", path) : 0;
}

/* ---- privileged containers ---- */

static int make_writable(struct json_object *mount)
{
	struct json_object *options = document_get(mount, "options", json_type_array),
			   *rw = json_object_new_string("rw");

	for (size_t i = 0; rw && i < json_object_array_length(options); i++)
		if (str_eq(json_object_get_string(json_object_array_get_idx(options, i)), "ro"))
			return json_object_array_put_idx(options, i, rw);
	json_object_put(rw);
	return rw ? 0 : -ENOMEM;
}

static int put_privileged(struct builder *b)
{
	struct json_object *mounts = document_get(b->spec, "mounts", json_type_array),
			   *rules = document_get(b->resources, "devices", json_type_array),
			   *rule = json_object_new_object();

	json_object_object_del(b->linux, "maskedPaths");
	json_object_object_del(b->linux, "readonlyPaths");
	for (size_t i = 0; i < json_object_array_length(mounts); i++)
		if (make_writable(json_object_array_get_idx(mounts, i)) < 0) {
			json_object_put(rule);
			return no_memory(b);
		}
	if (!rule || json_object_array_add(rules, rule) < 0) {
		json_object_put(rule);
		return no_memory(b);
	}
	if (put(b, rule, "allow", json_object_new_boolean(true)) < 0)
		return no_memory(b);
	return put(b, rule, "access", json_object_new_string("rwm"));
}

/* ---- all of it ---- */

static int fill(struct builder *b)
{
	const struct oci_run_options *o = b->o;
	int r;

	if (!o->args || !o->args->len)
		return err_set(b->err, ERR_CONFIG, EINVAL, "no command to run: the image has none, so give one");
	r = put_strings(b, b->process, "args", o->args);
	if (r == 0)
		r = put(b, b->process, "cwd", json_object_new_string(str_empty(o->cwd) ? "/" : o->cwd));
	if (r == 0)
		r = put(b, b->process, "terminal", json_object_new_boolean(o->tty));
	if (r == 0)
		r = put_user(b);
	if (r == 0)
		r = put_env(b);
	if (r == 0)
		r = put_ulimits(b);
	if (r == 0)
		r = put_capabilities(b);
	if (r == 0 && o->privileged)
		r = put_privileged(b);
	for (size_t i = 0; r == 0 && o->security_opts && i < o->security_opts->len; i++)
		r = put_security(b, o->security_opts->v[i]);
	if (r == 0)
		r = put_resources(b);
	if (r == 0 && o->hostname)
		r = put(b, b->spec, "hostname", json_object_new_string(o->hostname));
	if (r == 0 && o->rootfs)
		r = put(b, document_get(b->spec, "root", json_type_object), "path", json_object_new_string(o->rootfs));
	if (r == 0 && o->read_only)
		r = put(b, document_get(b->spec, "root", json_type_object), "readonly", json_object_new_boolean(true));
	return r;
}

int oci_spec_build(const struct oci_run_options *o, Grpc__Spec **ret, struct strv *warnings, struct err *e)
{
	_cleanup_json_ struct json_object *doc = NULL;
	struct builder b = { .o = o, .warnings = warnings, .err = e };
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	int r = document_parse(template, sizeof template - 1, "the default spec", &doc, e);

	if (r < 0)
		return r;
	b.spec = doc;
	b.process = document_get(doc, "process", json_type_object);
	b.linux = document_get(doc, "linux", json_type_object);
	b.resources = document_get(b.linux, "resources", json_type_object);
	r = fill(&b);
	strv_fini(&b.caps);
	if (r == 0)
		r = oci_spec_from_json(doc, "the container's spec", &spec, warnings, e);
	for (size_t i = 0; r == 0 && o->tmpfs && i < o->tmpfs->len; i++)
		r = add_tmpfs(spec, o->tmpfs->v[i], e);
	if (r < 0)
		return r;
	*ret = take_ptr(spec);
	return 0;
}
