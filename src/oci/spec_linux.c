/* SPDX-License-Identifier: Apache-2.0 */
/* OCI runtime spec 1.2, config-linux.md: the tables and checks of the linux object, resources and seccomp among them.
 */
#include "oci/schema.h"

#include "proto/oci.pb-c.h"

static const char *one_of(const char *s, const char *const *names, const char *expected)
{
	for (; *names; names++)
		if (str_eq(s, *names))
			return NULL;
	return expected;
}

static const char *check_namespace(const char *s)
{
	static const char *const names[] = { "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time", NULL };

	return one_of(s, names, "pid, network, mount, ipc, uts, user, cgroup or time");
}

static const char *check_device_type(const char *s)
{
	static const char *const names[] = { "c", "b", "u", "p", NULL };

	return one_of(s, names, "c, b, u or p");
}

static const char *check_rule_type(const char *s)
{
	static const char *const names[] = { "a", "b", "c", "", NULL };

	return one_of(s, names, "a, b or c");
}

static const char *check_access(const char *s)
{
	return strspn(s, "rwm") == strlen(s) && strlen(s) <= 3 ? NULL : "letters of rwm";
}

static const char *check_propagation(const char *s)
{
	static const char *const names[] = { "",        "shared",   "rshared",    "slave",       "rslave",
					     "private", "rprivate", "unbindable", "runbindable", NULL };

	return one_of(s, names, "shared, slave, private or unbindable, or one of these with an r in front");
}

/* Both spellings of a name are in use: dots, and slashes where a part holds a dot. It must stay inside /proc/sys. */
static const char *check_sysctl(const char *s)
{
	if (s[0] == '/' || s[0] == '.' || strstr(s, "..") || strstr(s, "//"))
		return "a name under /proc/sys such as net.ipv4.ip_forward";
	return NULL;
}

static const char *check_page_size(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n && (!strcmp(s + n, "KB") || !strcmp(s + n, "MB") || !strcmp(s + n, "GB")) ? NULL
											   : "a size such as 2MB";
}

static const char *check_action(const char *s)
{
	static const char *const names[] = {
		"SCMP_ACT_KILL",  "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP",   "SCMP_ACT_ERRNO",
		"SCMP_ACT_TRACE", "SCMP_ACT_ALLOW",        "SCMP_ACT_LOG",         "SCMP_ACT_NOTIFY", NULL,
	};

	return one_of(s, names, "an action such as SCMP_ACT_ERRNO");
}

static const char *check_arch(const char *s)
{
	return str_after(s, "SCMP_ARCH_") ? NULL : "an architecture such as SCMP_ARCH_X86_64";
}

static const char *check_operator(const char *s)
{
	static const char *const names[] = { "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",        "SCMP_CMP_EQ",
					     "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ", NULL };

	return one_of(s, names, "an operator such as SCMP_CMP_EQ");
}

#define SCHEMA(name, descriptor, check_fn, ...)                                                                        \
	const struct schema name = { &grpc__##descriptor##__descriptor,                                                \
				     (const struct schema_field[]){ __VA_ARGS__, { NULL } }, check_fn }

/* clang-format off */

/* ---- resources ---- */

static SCHEMA(device_rule, linux_device_cgroup, NULL,
	{ "allow", "Allow", SCHEMA_REQUIRED },
	{ "type", "Type", .check = check_rule_type },
	{ "major", "Major", SCHEMA_ANY },
	{ "minor", "Minor", SCHEMA_ANY },
	{ "access", "Access", .check = check_access });

static SCHEMA(memory, linux_memory, NULL,
	{ "limit", "Limit" },
	{ "reservation", "Reservation" },
	{ "swap", "Swap" },
	{ "kernel", "Kernel" },
	{ "kernelTCP", "KernelTCP" },
	{ "swappiness", "Swappiness" },
	{ "disableOOMKiller", "DisableOOMKiller" });

static SCHEMA(cpu, linux_cpu, NULL,
	{ "shares", "Shares" },
	{ "quota", "Quota" },
	{ "period", "Period" },
	{ "realtimeRuntime", "RealtimeRuntime" },
	{ "realtimePeriod", "RealtimePeriod" },
	{ "cpus", "Cpus" },
	{ "mems", "Mems" },
	{ "burst", NULL },
	{ "idle", NULL });

static SCHEMA(pids, linux_pids, NULL,
	{ "limit", "Limit", SCHEMA_REQUIRED });

static SCHEMA(weight_device, linux_weight_device, NULL,
	{ "major", "Major", SCHEMA_REQUIRED },
	{ "minor", "Minor", SCHEMA_REQUIRED },
	{ "weight", "Weight" },
	{ "leafWeight", "LeafWeight" });

static SCHEMA(throttle_device, linux_throttle_device, NULL,
	{ "major", "Major", SCHEMA_REQUIRED },
	{ "minor", "Minor", SCHEMA_REQUIRED },
	{ "rate", "Rate", SCHEMA_REQUIRED });

static SCHEMA(block_io, linux_block_io, NULL,
	{ "weight", "Weight" },
	{ "leafWeight", "LeafWeight" },
	{ "weightDevice", "WeightDevice", .sub = &weight_device },
	{ "throttleReadBpsDevice", "ThrottleReadBpsDevice", .sub = &throttle_device },
	{ "throttleWriteBpsDevice", "ThrottleWriteBpsDevice", .sub = &throttle_device },
	{ "throttleReadIOPSDevice", "ThrottleReadIOPSDevice", .sub = &throttle_device },
	{ "throttleWriteIOPSDevice", "ThrottleWriteIOPSDevice", .sub = &throttle_device });

static SCHEMA(hugepages, linux_hugepage_limit, NULL,
	{ "pageSize", "Pagesize", SCHEMA_REQUIRED, .check = check_page_size },
	{ "limit", "Limit", SCHEMA_REQUIRED });

static SCHEMA(priority, linux_interface_priority, NULL,
	{ "name", "Name", SCHEMA_REQUIRED },
	{ "priority", "Priority", SCHEMA_REQUIRED });

static SCHEMA(network, linux_network, NULL,
	{ "classID", "ClassID" },
	{ "priorities", "Priorities", .sub = &priority });

SCHEMA(schema_resources, linux_resources, NULL,
	{ "devices", "Devices", .sub = &device_rule },
	{ "memory", "Memory", .sub = &memory },
	{ "cpu", "CPU", .sub = &cpu },
	{ "pids", "Pids", .sub = &pids },
	{ "blockIO", "BlockIO", .sub = &block_io },
	{ "hugepageLimits", "HugepageLimits", .sub = &hugepages },
	{ "network", "Network", .sub = &network },
	{ "rdma", NULL },
	{ "unified", NULL });

/* ---- seccomp ---- */

static SCHEMA(seccomp_arg, linux_seccomp_arg, NULL,
	{ "index", "Index", SCHEMA_REQUIRED },
	{ "value", "Value", SCHEMA_REQUIRED },
	{ "valueTwo", "ValueTwo" },
	{ "op", "Op", SCHEMA_REQUIRED, .check = check_operator });
/* clang-format on */

/*
 * config-linux.md "Seccomp": errnoRet "defaults to EPERM" when it is not there; the message cannot tell that from 0,
 * so the default is written out here.
 */
static int check_syscall(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
			 struct json_object *o)
{
	Grpc__LinuxSyscall *rule = (Grpc__LinuxSyscall *)m;
	struct schema_path names = { .up = p, .key = "names" }, args = { .up = p, .key = "args" };
	struct json_object *v;

	if (!rule->n_names)
		return schema_fail(c, &names, "is missing or empty");
	for (size_t i = 0; i < rule->n_args; i++)
		if (rule->args[i]->index > 5) {
			struct schema_path here = { .up = &args, .index = i };

			return schema_fail(c, &here, "a system call has the arguments 0 to 5");
		}
	if ((!json_object_object_get_ex(o, "errnoRet", &v) || !v) && str_eq(rule->action, "SCMP_ACT_ERRNO"))
		rule->errnoret = 1; /* EPERM of every Linux architecture */
	return 0;
}

static const struct schema seccomp_rule = {
	&grpc__linux_syscall__descriptor,
	(const struct schema_field[]){
		{ "names", "Names", SCHEMA_NONEMPTY },
		{ "action", "Action", SCHEMA_REQUIRED, .check = check_action },
		{ "errnoRet", "errnoret", SCHEMA_WRITE },
		{ "args", "Args", .sub = &seccomp_arg },
		{ NULL },
	},
	check_syscall,
};

static int check_seccomp(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
			 struct json_object *o)
{
	Grpc__LinuxSeccomp *f = (Grpc__LinuxSeccomp *)m;
	struct json_object *v;

	if ((!json_object_object_get_ex(o, "defaultErrnoRet", &v) || !v) && str_eq(f->defaultaction, "SCMP_ACT_ERRNO"))
		f->defaulterrnoret = 1;
	return 0;
}

/* clang-format off */
SCHEMA(schema_seccomp, linux_seccomp, check_seccomp,
	{ "defaultAction", "DefaultAction", SCHEMA_REQUIRED, .check = check_action },
	{ "defaultErrnoRet", "DefaultErrnoRet", SCHEMA_WRITE },
	{ "architectures", "Architectures", .check = check_arch },
	{ "flags", "Flags" },
	{ "syscalls", "Syscalls", .sub = &seccomp_rule },
	{ "listenerPath", NULL },
	{ "listenerMetadata", NULL });

/* ---- linux ---- */

static SCHEMA(id_mapping, linux_idmapping, NULL,
	{ "hostID", "HostID", SCHEMA_REQUIRED },
	{ "containerID", "ContainerID", SCHEMA_REQUIRED },
	{ "size", "Size", SCHEMA_REQUIRED });

static SCHEMA(ns, linux_namespace, NULL,
	{ "type", "Type", SCHEMA_REQUIRED, .check = check_namespace },
	{ "path", "Path" });

static SCHEMA(device, linux_device, NULL,
	{ "path", "Path", SCHEMA_REQUIRED | SCHEMA_ABSOLUTE },
	{ "type", "Type", SCHEMA_REQUIRED, .check = check_device_type },
	{ "major", "Major" },
	{ "minor", "Minor" },
	{ "fileMode", "FileMode" },
	{ "uid", "UID" },
	{ "gid", "GID" });

static SCHEMA(intel_rdt, linux_intel_rdt, NULL,
	{ "l3CacheSchema", "L3CacheSchema" },
	{ "closID", NULL },
	{ "memBwSchema", NULL },
	{ "enableCMT", NULL },
	{ "enableMBM", NULL });
/* clang-format on */

static int check_linux(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
		       struct json_object *o)
{
	const Grpc__Linux *l = (const Grpc__Linux *)m;
	struct schema_path list = { .up = p, .key = "namespaces" };

	for (size_t i = 0; i < l->n_namespaces; i++) {
		struct schema_path here = { .up = &list, .index = i }, path = { .up = &here, .key = "path" };

		if (!str_empty(l->namespaces[i]->path) && l->namespaces[i]->path[0] != '/')
			return schema_fail(c, &path, "\"%.200s\" is not an absolute path", l->namespaces[i]->path);
		for (size_t k = 0; k < i; k++)
			if (str_eq(l->namespaces[i]->type, l->namespaces[k]->type))
				return schema_fail(c, &here, "a second namespace of the type %s",
						   l->namespaces[i]->type);
	}
	return 0;
}

/* clang-format off */
SCHEMA(schema_linux, linux, check_linux,
	{ "uidMappings", "UIDMappings", .sub = &id_mapping },
	{ "gidMappings", "GIDMappings", .sub = &id_mapping },
	{ "sysctl", "Sysctl", SCHEMA_MAP, .check = check_sysctl },
	{ "resources", "Resources", .sub = &schema_resources },
	{ "cgroupsPath", "CgroupsPath" },
	{ "namespaces", "Namespaces", .sub = &ns },
	{ "devices", "Devices", .sub = &device },
	{ "seccomp", "Seccomp", .sub = &schema_seccomp },
	{ "rootfsPropagation", "RootfsPropagation", .check = check_propagation },
	{ "maskedPaths", "MaskedPaths", SCHEMA_ABSOLUTE },
	{ "readonlyPaths", "ReadonlyPaths", SCHEMA_ABSOLUTE },
	{ "mountLabel", "MountLabel" },
	{ "intelRdt", "IntelRdt", .sub = &intel_rdt },
	{ "personality", NULL },
	{ "timeOffsets", NULL },
	{ "netDevices", NULL },
	{ "memoryPolicy", NULL });
/* clang-format on */
