/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_flags.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "cli/units.h"

/* docker's lower bound: below it nothing useful runs. */
#define MEMORY_MIN   (6 << 20)
#define ENV_FILE_MAX (1 << 20)

const char run_flags_help[] =
	"usage: caisson run [FLAGS] --rootfs DIR|IMAGE|oci:DIR[:TAG]|docker-archive:FILE [--] [COMMAND [ARG...]]\n"
	"       caisson run [FLAGS] --bundle DIR\n"
	"       caisson run [--bundle DIR] [--detach] [--keep] [--pid-file FILE] [--console-socket SOCKET] ID   (as "
	"runc's)\n"
	"\n"
	"Runs one container in a virtual machine of its own and ends with the command's exit status.\n"
	"\n"
	"Container:\n"
	"  --rootfs PLACE        root file system: a folder, an ext4/xfs/erofs image, an OCI layout, a docker archive\n"
	"  --bundle DIR          an OCI bundle (config.json and its root)\n"
	"  --rw                  write to the folder or ext4/xfs image itself; of an OCI layout or docker archive:\n"
	"                        to a disk that is thrown away (default: to a layer in memory that is thrown away)\n"
	"  -i, --interactive     pass stdin to the command\n"
	"  -t, --tty             give the command a terminal\n"
	"  -e, --env NAME[=VALUE]  --env-file FILE    environment\n"
	"  -w, --workdir DIR     working directory\n"
	"  -u, --user USER[:GROUP]                    user, by name or number\n"
	"  --entrypoint PROGRAM  instead of the image's entrypoint\n"
	"  --hostname NAME       --name ID\n"
	"Files:\n"
	"  -v, --volume HOST:PATH[:ro]                make a host path visible\n"
	"  --mount type=bind|tmpfs,src=HOST,dst=PATH[,ro]\n"
	"  --tmpfs PATH[:OPTIONS]   --read-only\n"
	"Rights and limits:\n"
	"  --privileged          all capabilities and devices of the guest, nothing hidden or read-only\n"
	"  --cap-add CAP  --cap-drop CAP  --security-opt no-new-privileges|seccomp=FILE  --ulimit NAME=SOFT[:HARD]\n"
	"  --memory SIZE  --cpus N  --pids-limit N  --timeout SECONDS\n"
	"Network:\n"
	"  --net none|user|passt|tap:NAME|netns:NAME  (default: none)\n"
	"  --publish [IP:]HOSTPORT:PORT[/udp]         --dns ADDRESS\n"
	"Virtual machine:\n"
	"  --hypervisor NAME  --config FILE  --annotation KEY=VALUE  --kernel FILE  --initrd FILE  --image FILE\n"
	"Look:\n"
	"  --dry-run             print the plan, do nothing\n"
	"  --verbose             print a time line; --strict: unknown configuration keys are errors\n"
	"\n"
	"Exit status: the command's; 128+N when a signal N ended it; 124 after --timeout; 125 when Caisson failed;\n"
	"126 when the command cannot be executed; 127 when it is not there.\n";

enum {
	FLAG_ROOTFS = 256,
	FLAG_BUNDLE,
	FLAG_RW,
	FLAG_ENV_FILE,
	FLAG_ENTRYPOINT,
	FLAG_HOSTNAME,
	FLAG_NAME,
	FLAG_MOUNT,
	FLAG_TMPFS,
	FLAG_READ_ONLY,
	FLAG_PRIVILEGED,
	FLAG_CAP_ADD,
	FLAG_CAP_DROP,
	FLAG_SECURITY_OPT,
	FLAG_ULIMIT,
	FLAG_MEMORY,
	FLAG_CPUS,
	FLAG_PIDS_LIMIT,
	FLAG_TIMEOUT,
	FLAG_NET,
	FLAG_DNS,
	FLAG_HYPERVISOR,
	FLAG_CONFIG,
	FLAG_ANNOTATION,
	FLAG_KERNEL,
	FLAG_INITRD,
	FLAG_IMAGE,
	FLAG_DRY_RUN,
	FLAG_VERBOSE,
	FLAG_STRICT,
	FLAG_ROOT,
	FLAG_STORE,
};

static const struct option options[] = {
	{ "rootfs", required_argument, NULL, FLAG_ROOTFS },
	{ "bundle", required_argument, NULL, FLAG_BUNDLE },
	{ "rw", no_argument, NULL, FLAG_RW },
	{ "interactive", no_argument, NULL, 'i' },
	{ "tty", no_argument, NULL, 't' },
	{ "env", required_argument, NULL, 'e' },
	{ "env-file", required_argument, NULL, FLAG_ENV_FILE },
	{ "workdir", required_argument, NULL, 'w' },
	{ "user", required_argument, NULL, 'u' },
	{ "volume", required_argument, NULL, 'v' },
	{ "entrypoint", required_argument, NULL, FLAG_ENTRYPOINT },
	{ "hostname", required_argument, NULL, FLAG_HOSTNAME },
	{ "name", required_argument, NULL, FLAG_NAME },
	{ "mount", required_argument, NULL, FLAG_MOUNT },
	{ "tmpfs", required_argument, NULL, FLAG_TMPFS },
	{ "read-only", no_argument, NULL, FLAG_READ_ONLY },
	{ "privileged", no_argument, NULL, FLAG_PRIVILEGED },
	{ "cap-add", required_argument, NULL, FLAG_CAP_ADD },
	{ "cap-drop", required_argument, NULL, FLAG_CAP_DROP },
	{ "security-opt", required_argument, NULL, FLAG_SECURITY_OPT },
	{ "ulimit", required_argument, NULL, FLAG_ULIMIT },
	{ "memory", required_argument, NULL, FLAG_MEMORY },
	{ "cpus", required_argument, NULL, FLAG_CPUS },
	{ "pids-limit", required_argument, NULL, FLAG_PIDS_LIMIT },
	{ "timeout", required_argument, NULL, FLAG_TIMEOUT },
	{ "net", required_argument, NULL, FLAG_NET },
	{ "network", required_argument, NULL, FLAG_NET },
	{ "publish", required_argument, NULL, 'p' },
	{ "dns", required_argument, NULL, FLAG_DNS },
	{ "hypervisor", required_argument, NULL, FLAG_HYPERVISOR },
	{ "config", required_argument, NULL, FLAG_CONFIG },
	{ "annotation", required_argument, NULL, FLAG_ANNOTATION },
	{ "kernel", required_argument, NULL, FLAG_KERNEL },
	{ "initrd", required_argument, NULL, FLAG_INITRD },
	{ "image", required_argument, NULL, FLAG_IMAGE },
	{ "dry-run", no_argument, NULL, FLAG_DRY_RUN },
	{ "verbose", no_argument, NULL, FLAG_VERBOSE },
	{ "strict", no_argument, NULL, FLAG_STRICT },
	{ "root", required_argument, NULL, FLAG_ROOT },
	{ "store", required_argument, NULL, FLAG_STORE },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot read the flags");
}

static int parse_size(const char *text, int64_t *ret, struct err *e)
{
	return units_bytes(text, ret) == 0
		       ? 0
		       : err_set(e, ERR_CONFIG, EINVAL,
				 "--memory %s: expected a number of bytes, or one with b, k, m or g behind it", text);
}

static int parse_number(const char *flag, const char *text, uint64_t max, uint64_t *ret, struct err *e)
{
	if (str_to_u64(text, 10, ret) < 0 || *ret > max)
		return err_set(e, ERR_CONFIG, EINVAL, "%s %s: expected a whole number up to %llu", flag, text,
			       (unsigned long long)max);
	return 0;
}

static int add_volume(struct run_flags *f, const char *source, const char *target, bool readonly, struct err *e)
{
	struct plan_volume *grown = realloc(f->volumes, (f->n_volumes + 1) * sizeof *grown), *v;
	char *path;

	if (!grown)
		return out_of_memory(e);
	f->volumes = grown;
	if (target[0] != '/')
		return err_set(e, ERR_CONFIG, EINVAL,
			       "volume %s: the path in the container must be absolute, not \"%s\"", source, target);
	path = realpath(source, NULL);
	if (!path)
		return err_sys(e, errno, "volume %s: cannot find it on this host", source);
	v = &grown[f->n_volumes++];
	*v = (struct plan_volume){ .source = path, .target = strdup(target), .readonly = readonly };
	return v->target ? 0 : out_of_memory(e);
}

/* HOST:PATH[:ro|rw] */
static int parse_volume(struct run_flags *f, const char *text, struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	char *target, *mode;
	bool readonly = false;

	if (!copy)
		return out_of_memory(e);
	target = strchr(copy, ':');
	if (!target)
		return err_set(e, ERR_CONFIG, EINVAL, "--volume %s: expected HOST:PATH or HOST:PATH:ro", text);
	*target++ = '\0';
	mode = strchr(target, ':');
	if (mode) {
		*mode++ = '\0';
		readonly = str_eq(mode, "ro");
		/* SELinux relabelling (z, Z) means nothing across the VM boundary. */
		if (!readonly && !str_eq(mode, "rw") && !str_eq(mode, "z") && !str_eq(mode, "Z"))
			return err_set(e, ERR_CONFIG, EINVAL, "--volume %s: unknown mode \"%s\": use ro or rw", text,
				       mode);
	}
	return add_volume(f, copy, target, readonly, e);
}

/* type=bind|tmpfs,src=…,dst=…[,ro][,tmpfs-size=…] as docker has it. */
static int parse_mount(struct run_flags *f, const char *text, struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	const char *type = "bind", *src = NULL, *dst = NULL, *size = NULL, *v;
	bool readonly = false;
	char *save = NULL;

	if (!copy)
		return out_of_memory(e);
	for (char *o = strtok_r(copy, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		if ((v = str_after(o, "type=")))
			type = v;
		else if ((v = str_after(o, "src=")) || (v = str_after(o, "source=")))
			src = v;
		else if ((v = str_after(o, "dst=")) || (v = str_after(o, "target=")) ||
			 (v = str_after(o, "destination=")))
			dst = v;
		else if ((v = str_after(o, "tmpfs-size=")))
			size = v;
		else if (str_eq(o, "ro") || str_eq(o, "readonly") || str_eq(o, "readonly=true"))
			readonly = true;
		else if (!str_eq(o, "rw"))
			return err_set(e, ERR_CONFIG, EINVAL, "--mount %s: unknown option \"%s\"", text, o);
	}
	if (!dst)
		return err_set(e, ERR_CONFIG, EINVAL, "--mount %s: dst=PATH is missing", text);
	if (str_eq(type, "tmpfs"))
		return strv_addf(&f->tmpfs, "%s%s%s%s%s", dst, size || readonly ? ":" : "", readonly ? "ro" : "",
				 size ? readonly ? ",size=" : "size=" : "", size ? size : "") < 0
			       ? out_of_memory(e)
			       : 0;
	if (!str_eq(type, "bind"))
		return err_set(e, ERR_CONFIG, EINVAL, "--mount %s: type must be bind or tmpfs", text);
	if (!src)
		return err_set(e, ERR_CONFIG, EINVAL, "--mount %s: src=HOST is missing", text);
	return add_volume(f, src, dst, readonly, e);
}

/* NAME=VALUE, or NAME alone: the caller's value, if there is one. */
static int add_env(struct run_flags *f, const char *text, struct err *e)
{
	const char *value = strchr(text, '=') ? NULL : getenv(text);
	int r = 0;

	if (*text == '=' || *text == '\0')
		return err_set(e, ERR_CONFIG, EINVAL, "--env %s: expected NAME=VALUE or NAME", text);
	if (strchr(text, '='))
		r = strv_set_env(&f->env, text);
	else if (value) {
		_cleanup_free_ char *assignment = str_printf("%s=%s", text, value);

		r = assignment ? strv_set_env(&f->env, assignment) : -ENOMEM;
	}
	return r < 0 ? out_of_memory(e) : 0;
}

static int read_env_file(struct run_flags *f, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	int r = file_read(path, ENV_FILE_MAX, &text, NULL);

	if (r < 0)
		return err_sys(e, -r, "--env-file: cannot read %s", path);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		if (*line == '#' || *line == '\0' || *line == '\r')
			continue;
		line[strcspn(line, "\r")] = '\0';
		r = add_env(f, line, e);
		if (r < 0) {
			err_wrap(e, "%s", path);
			return r;
		}
	}
	return 0;
}

static int parse_limit(struct run_flags *f, int flag, const char *value, struct err *e)
{
	uint64_t n;
	char *end;
	int r;

	switch (flag) {
	case FLAG_MEMORY:
		r = parse_size(value, &f->memory, e);
		if (r == 0 && f->memory < MEMORY_MIN)
			r = err_set(e, ERR_CONFIG, EINVAL, "--memory %s: at least 6m is needed", value);
		return r;
	case FLAG_CPUS:
		f->cpus = strtod(value, &end);
		if (*end || end == value || !isfinite(f->cpus) || f->cpus < 0.01 || f->cpus > 1024)
			return err_set(e, ERR_CONFIG, EINVAL, "--cpus %s: expected a number from 0.01 to 1024", value);
		return 0;
	case FLAG_PIDS_LIMIT:
		r = str_eq(value, "-1") ? 0 : parse_number("--pids-limit", value, 4194304, &n, e);
		if (r == 0)
			f->pids_limit = str_eq(value, "-1") ? 0 : (int64_t)n;
		return r;
	default:
		r = parse_number("--timeout", value, 86400 * 365, &n, e);
		if (r == 0)
			f->timeout_s = (uint32_t)n;
		return r;
	}
}

/* Flags that collect; 1 when it was none of them. */
static int parse_list(struct run_flags *f, int flag, const char *value, struct err *e)
{
	struct strv *list;

	switch (flag) {
	case FLAG_TMPFS:
		list = &f->tmpfs;
		break;
	case FLAG_CAP_ADD:
		list = &f->cap_add;
		break;
	case FLAG_CAP_DROP:
		list = &f->cap_drop;
		break;
	case FLAG_SECURITY_OPT:
		list = &f->security_opt;
		break;
	case FLAG_ULIMIT:
		list = &f->ulimit;
		break;
	case FLAG_ANNOTATION:
		list = &f->annotation;
		break;
	case 'p':
		list = &f->publish;
		break;
	default:
		return 1;
	}
	return strv_add(list, value) < 0 ? out_of_memory(e) : 0;
}

/* Flags that set a string or a switch; false when it was none of them. */
static bool parse_simple(struct run_flags *f, int flag, const char *value)
{
	const struct {
		int flag;
		const char **string;
		bool *toggle;
	} simple[] = {
		{ FLAG_ROOTFS, &f->rootfs, NULL },
		{ FLAG_BUNDLE, &f->bundle, NULL },
		{ FLAG_NAME, &f->name, NULL },
		{ FLAG_HOSTNAME, &f->hostname, NULL },
		{ FLAG_ENTRYPOINT, &f->entrypoint, NULL },
		{ FLAG_NET, &f->net, NULL },
		{ FLAG_DNS, &f->dns, NULL },
		{ FLAG_HYPERVISOR, &f->hypervisor, NULL },
		{ FLAG_CONFIG, &f->config, NULL },
		{ FLAG_KERNEL, &f->kernel, NULL },
		{ FLAG_INITRD, &f->initrd, NULL },
		{ FLAG_IMAGE, &f->image, NULL },
		{ FLAG_ROOT, &f->root, NULL },
		{ FLAG_STORE, &f->store, NULL },
		{ 'w', &f->workdir, NULL },
		{ 'u', &f->user, NULL },
		{ FLAG_RW, NULL, &f->rw },
		{ FLAG_READ_ONLY, NULL, &f->read_only },
		{ FLAG_PRIVILEGED, NULL, &f->privileged },
		{ FLAG_DRY_RUN, NULL, &f->dry_run },
		{ FLAG_VERBOSE, NULL, &f->verbose },
		{ FLAG_STRICT, NULL, &f->strict },
		{ 'i', NULL, &f->interactive },
		{ 't', NULL, &f->terminal },
		{ 'h', NULL, &f->help },
	};

	for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++) {
		if (simple[i].flag != flag)
			continue;
		if (simple[i].string)
			*simple[i].string = value;
		else
			*simple[i].toggle = true;
		return true;
	}
	return false;
}

static int parse_one(struct run_flags *f, int flag, const char *value, struct err *e)
{
	int r;

	if (parse_simple(f, flag, value))
		return 0;
	r = parse_list(f, flag, value, e);
	if (r <= 0)
		return r;
	switch (flag) {
	case 'e':
		return add_env(f, value, e);
	case FLAG_ENV_FILE:
		return read_env_file(f, value, e);
	case 'v':
		return parse_volume(f, value, e);
	case FLAG_MOUNT:
		return parse_mount(f, value, e);
	default:
		return parse_limit(f, flag, value, e);
	}
}

/* What getopt_long() did not like. at: the argument that it looked at, but within a group of letters (-iz). */
static int bad_flag(int flag, const char *at, struct err *e)
{
	const char letter[] = { '-', (char)optopt, '\0' };

	if (flag == ':')
		return err_set(e, ERR_CONFIG, EINVAL, "%s: a value is missing; see: caisson run --help", at);
	if (str_after(at, "--") && strchr(at, '='))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%s: unknown flag, or one that takes no value; see: caisson run --help", at);
	return err_set(e, ERR_CONFIG, EINVAL, "%s: unknown flag; see: caisson run --help",
		       optopt > 0 && optopt < FLAG_ROOTFS ? letter : at);
}

/* What a bundle's config.json says itself cannot be said by flags. */
static int check_bundle(const struct run_flags *f, struct err *e)
{
	const struct {
		const char *flag;
		bool given;
	} flags[] = {
		{ "--rw", f->rw },
		{ "--tty", f->terminal },
		{ "--env", f->env.len > 0 },
		{ "--workdir", f->workdir },
		{ "--user", f->user },
		{ "--entrypoint", f->entrypoint },
		{ "--tmpfs", f->tmpfs.len > 0 },
		{ "--read-only", f->read_only },
		{ "--privileged", f->privileged },
		{ "--cap-add", f->cap_add.len > 0 },
		{ "--cap-drop", f->cap_drop.len > 0 },
		{ "--security-opt", f->security_opt.len > 0 },
		{ "--ulimit", f->ulimit.len > 0 },
		{ "--memory", f->memory > 0 },
		{ "--cpus", f->cpus > 0 },
		{ "--pids-limit", f->pids_limit > 0 },
	};

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
		if (flags[i].given)
			return err_set(e, ERR_CONFIG, EINVAL, "%s has no effect with --bundle: change its config.json",
				       flags[i].flag);
	if (f->args.len)
		return err_set(e, ERR_CONFIG, EINVAL, "--bundle has its command in config.json: \"%s\" is too much",
			       f->args.v[0]);
	return 0;
}

int run_flags_parse(struct run_flags *f, int argc, char **argv, struct err *e)
{
	int flag, r;

	optind = 0; /* GNU: forget whatever another list was left in the middle of */
	opterr = 0;
	while ((flag = getopt_long(argc, argv, "+:ite:w:u:v:p:h", options, NULL)) != -1) {
		if (flag == '?' || flag == ':')
			return bad_flag(flag, argv[optind - 1], e);
		r = parse_one(f, flag, optarg, e);
		if (r < 0)
			return r;
	}
	for (int i = optind; i < argc; i++)
		if (strv_add(&f->args, argv[i]) < 0)
			return out_of_memory(e);
	if (f->help)
		return 0;
	if (f->name && strlen(f->name) > RUN_NAME_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "--name %s: at most %d bytes", f->name, RUN_NAME_MAX);
	if (!f->rootfs == !f->bundle)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "name what to run with either --rootfs or --bundle; see: caisson run --help");
	return f->bundle ? check_bundle(f, e) : 0;
}

void run_flags_fini(struct run_flags *f)
{
	struct strv *lists[] = { &f->args,         &f->env,    &f->tmpfs,   &f->cap_add,   &f->cap_drop,
				 &f->security_opt, &f->ulimit, &f->publish, &f->annotation };

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		strv_fini(lists[i]);
	for (size_t i = 0; i < f->n_volumes; i++) {
		free(f->volumes[i].source);
		free(f->volumes[i].target);
	}
	free(f->volumes);
	*f = (struct run_flags){ 0 };
}
