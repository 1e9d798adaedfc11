/* SPDX-License-Identifier: Apache-2.0 */
/* OCI runtime spec 1.2, config.md "Process": the tables and checks of the process object. */
#include "oci/schema.h"
#include "oci/spec.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/oci.pb-c.h"

/* Linux 6.x: capability names in the order of their numbers. */
static const char *const capability_names[] = {
	"CHOWN",
	"DAC_OVERRIDE",
	"DAC_READ_SEARCH",
	"FOWNER",
	"FSETID",
	"KILL",
	"SETGID",
	"SETUID",
	"SETPCAP",
	"LINUX_IMMUTABLE",
	"NET_BIND_SERVICE",
	"NET_BROADCAST",
	"NET_ADMIN",
	"NET_RAW",
	"IPC_LOCK",
	"IPC_OWNER",
	"SYS_MODULE",
	"SYS_RAWIO",
	"SYS_CHROOT",
	"SYS_PTRACE",
	"SYS_PACCT",
	"SYS_ADMIN",
	"SYS_BOOT",
	"SYS_NICE",
	"SYS_RESOURCE",
	"SYS_TIME",
	"SYS_TTY_CONFIG",
	"MKNOD",
	"LEASE",
	"AUDIT_WRITE",
	"AUDIT_CONTROL",
	"SETFCAP",
	"MAC_OVERRIDE",
	"MAC_ADMIN",
	"SYSLOG",
	"WAKE_ALARM",
	"BLOCK_SUSPEND",
	"AUDIT_READ",
	"PERFMON",
	"BPF",
	"CHECKPOINT_RESTORE",
};

const char *oci_capability_name(unsigned number)
{
	return number < sizeof capability_names / sizeof capability_names[0] ? capability_names[number] : NULL;
}

static const char *const rlimit_names[] = {
	"AS",   "CORE",   "CPU",   "DATA", "FSIZE",  "LOCKS",  "MEMLOCK",    "MSGQUEUE",
	"NICE", "NOFILE", "NPROC", "RSS",  "RTPRIO", "RTTIME", "SIGPENDING", "STACK",
};

const char *oci_rlimit_name(unsigned number)
{
	return number < sizeof rlimit_names / sizeof rlimit_names[0] ? rlimit_names[number] : NULL;
}

static const char *check_rlimit(const char *s)
{
	const char *name = str_after(s, "RLIMIT_");

	for (unsigned i = 0; name && oci_rlimit_name(i); i++)
		if (str_eq(oci_rlimit_name(i), name))
			return NULL;
	return "a limit of setrlimit(2) such as RLIMIT_NOFILE";
}

static const struct schema box = {
	&grpc__box__descriptor,
	(const struct schema_field[]){
		{ "height", "Height" },
		{ "width", "Width" },
		{ NULL },
	},
};

/* 0 is a umask, too, and in the message no value: one more bit, which umask(2) drops, says that it was given. */
static int check_user(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
		      struct json_object *o)
{
	struct schema_path here = { .up = p, .key = "umask" };
	Grpc__User *u = (Grpc__User *)m;
	struct json_object *v;

	if (!json_object_object_get_ex(o, "umask", &v) || !v)
		return 0;
	if (u->umask > (OCI_UMASK_GIVEN | 0777))
		return schema_fail(c, &here, "expected at most 0777 (511)");
	u->umask |= OCI_UMASK_GIVEN;
	return 0;
}

static const struct schema user = {
	&grpc__user__descriptor,
	(const struct schema_field[]){
		{ "uid", "UID", SCHEMA_REQUIRED },
		{ "gid", "GID", SCHEMA_WRITE }, /* required; but all others take 0 for one that is not there */
		{ "additionalGids", "AdditionalGids" },
		{ "username", "Username" },
		{ "umask", "Umask" },
		{ NULL },
	},
	check_user,
};

/* Of names that it does not know the guest warns (config.md, "capabilities": runtimes should not fail). */
static const struct schema capabilities = {
	&grpc__linux_capabilities__descriptor,
	(const struct schema_field[]){
		{ "bounding", "Bounding", SCHEMA_NONEMPTY },
		{ "effective", "Effective", SCHEMA_NONEMPTY },
		{ "inheritable", "Inheritable", SCHEMA_NONEMPTY },
		{ "permitted", "Permitted", SCHEMA_NONEMPTY },
		{ "ambient", "Ambient", SCHEMA_NONEMPTY },
		{ NULL },
	},
};

static int check_limits(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
			struct json_object *o)
{
	const Grpc__POSIXRlimit *l = (const Grpc__POSIXRlimit *)m;

	if (l->soft > l->hard)
		return schema_fail(c, p, "the soft limit %llu is above the hard limit %llu",
				   (unsigned long long)l->soft, (unsigned long long)l->hard);
	return 0;
}

static const struct schema rlimit = {
	&grpc__posixrlimit__descriptor,
	(const struct schema_field[]){
		{ "type", "Type", SCHEMA_REQUIRED, .check = check_rlimit },
		{ "hard", "Hard", SCHEMA_REQUIRED },
		{ "soft", "Soft", SCHEMA_REQUIRED },
		{ NULL },
	},
	check_limits,
};

static int check_process(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
			 struct json_object *o)
{
	const Grpc__Process *proc = (const Grpc__Process *)m;
	struct schema_path limits = { .up = p, .key = "rlimits" }, args = { .up = p, .key = "args" },
			   score = { .up = p, .key = "oomScoreAdj" };

	if (!proc->n_args)
		return schema_fail(c, &args, "is missing or empty: it needs the command to run");
	if (str_empty(proc->args[0])) {
		struct schema_path first = { .up = &args, .index = 0 };

		/* These words are how clients of runc know that there is no such command. */
		return schema_fail(c, &first, "exec: \"\": executable file not found in $PATH");
	}
	if (proc->oomscoreadj < -1000 || proc->oomscoreadj > 1000)
		return schema_fail(c, &score, "expected -1000 to 1000");
	for (size_t i = 0; i < proc->n_rlimits; i++)
		for (size_t k = 0; k < i; k++)
			if (str_eq(proc->rlimits[i]->type, proc->rlimits[k]->type)) {
				struct schema_path here = { .up = &limits, .index = i };

				/* config.md "POSIX process": "the runtime MUST generate an error". */
				return schema_fail(c, &here, "a second %s", proc->rlimits[i]->type);
			}
	return 0;
}

const struct schema schema_process = {
	&grpc__process__descriptor,
	(const struct schema_field[]){
		{ "terminal", "Terminal" },
		{ "consoleSize", "ConsoleSize", .sub = &box },
		{ "user", "User", .sub = &user },
		{ "args", "Args" },
		{ "env", "Env" },
		{ "cwd", "Cwd", SCHEMA_REQUIRED | SCHEMA_ABSOLUTE },
		{ "capabilities", "Capabilities", .sub = &capabilities },
		{ "rlimits", "Rlimits", .sub = &rlimit },
		{ "noNewPrivileges", "NoNewPrivileges" },
		{ "apparmorProfile", "ApparmorProfile" },
		{ "oomScoreAdj", "OOMScoreAdj" },
		{ "selinuxLabel", "SelinuxLabel" },
		{ "commandLine", NULL },
		{ "scheduler", NULL },
		{ "ioPriority", NULL },
		{ "execCPUAffinity", NULL },
		{ NULL },
	},
	check_process,
};
