/* SPDX-License-Identifier: Apache-2.0 */
/* Names that the agent knows are told; what the guest's kernel has is another matter. */
#include "oci/features.h"

#include "base/strv.h"
#include "codec/json.h"
#include "oci/spec.h"

static const char *const hooks[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL
};

/* src/sys/mounts.c */
static const char *const mount_options[] = {
	"async",          "atime",      "bind",         "defaults",    "dev",
	"diratime",       "dirsync",    "exec",         "iversion",    "lazytime",
	"loud",           "mand",       "noatime",      "nodev",       "nodiratime",
	"noexec",         "noiversion", "nolazytime",   "nomand",      "norelatime",
	"nostrictatime",  "nosuid",     "nosymfollow",  "private",     "ratime",
	"rbind",          "rdev",       "rdiratime",    "relatime",    "rexec",
	"rnoatime",       "rnodev",     "rnodiratime",  "rnoexec",     "rnorelatime",
	"rnostrictatime", "rnosuid",    "rnosymfollow", "ro",          "rprivate",
	"rrelatime",      "rro",        "rrw",          "rshared",     "rslave",
	"rstrictatime",   "rsuid",      "rsymfollow",   "runbindable", "rw",
	"shared",         "silent",     "slave",        "strictatime", "suid",
	"symfollow",      "sync",       "unbindable",   NULL
};

static const char *const namespaces[] = { "cgroup", "ipc", "mount", "network", "pid", "uts", NULL };

static const char *const actions[] = { "SCMP_ACT_ALLOW",        "SCMP_ACT_ERRNO",       "SCMP_ACT_KILL",
				       "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
				       "SCMP_ACT_TRACE",        "SCMP_ACT_TRAP",        NULL };

static const char *const operators[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE",        "SCMP_CMP_GT", "SCMP_CMP_LE",
					 "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE", NULL };

#ifdef __aarch64__
static const char *const archs[] = { "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", NULL };
#else
static const char *const archs[] = { "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", NULL };
#endif

static struct json_object *array(const char *const *names)
{
	struct json_object *a = json_array_make();

	while (*names)
		json_add_str(a, *names++);
	return a;
}

static struct json_object *enabled(bool on)
{
	struct json_object *o = json_object_make();

	json_set_bool(o, "enabled", on);
	return o;
}

static struct json_object *linux_json(void)
{
	struct json_object *o = json_object_make(), *caps = json_array_make(), *cgroup = json_object_make(),
			   *seccomp = enabled(true);

	for (unsigned i = 0; oci_capability_name(i); i++) {
		_cleanup_free_ char *name = str_printf("CAP_%s", oci_capability_name(i));

		json_add_str(caps, name ? name : "");
	}
	json_set(o, "namespaces", array(namespaces));
	json_set(o, "capabilities", caps);
	json_set_bool(cgroup, "v1", true);
	json_set_bool(cgroup, "v2", true);
	json_set_bool(cgroup, "systemd", false);
	json_set_bool(cgroup, "systemdUser", false);
	json_set(o, "cgroup", cgroup);
	json_set(seccomp, "actions", array(actions));
	json_set(seccomp, "operators", array(operators));
	json_set(seccomp, "archs", array(archs));
	json_set(o, "seccomp", seccomp);
	json_set(o, "apparmor", enabled(false));
	json_set(o, "selinux", enabled(false));
	return o;
}

char *oci_features(bool pretty)
{
	_cleanup_json_ struct json_object *o = json_object_make();
	struct json_object *annotations = json_object_make();

	json_set_str(o, "ociVersionMin", OCI_SPEC_VERSION_MIN);
	json_set_str(o, "ociVersionMax", OCI_SPEC_VERSION_MAX);
	json_set(o, "hooks", array(hooks));
	json_set(o, "mountOptions", array(mount_options));
	json_set(o, "linux", linux_json());
	json_set_str(annotations, "org.caisson.version", CAISSON_VERSION);
	json_set(o, "annotations", annotations);
	return json_write(o, pretty);
}
