/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/options.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/strv.h"
#include "vmm/server.h"

enum kind { TEXT, FLAG, NUMBER, MISSING };

static const struct option {
	const char *name;
	enum kind kind;
	size_t at;
} options[] = {
#define OPTION(name, kind, member)                                                                                     \
	{                                                                                                              \
		name, kind, offsetof(struct options, member)                                                           \
	}
	OPTION("api-sock", TEXT, api_sock),
	OPTION("id", TEXT, id),
	OPTION("config-file", TEXT, config_file),
	OPTION("no-api", FLAG, no_api),
	OPTION("enable-pci", FLAG, enable_pci),
	OPTION("log-path", TEXT, log_path),
	OPTION("level", TEXT, level),
	OPTION("module", TEXT, module),
	OPTION("show-level", FLAG, show_level),
	OPTION("show-log-origin", FLAG, show_log_origin),
	OPTION("metrics-path", TEXT, metrics_path),
	OPTION("no-seccomp", FLAG, no_seccomp),
	OPTION("boot-timer", FLAG, boot_timer),
	OPTION("map-kernel", FLAG, map_kernel),
	OPTION("split-irqchip", FLAG, split_irqchip),
	OPTION("http-api-max-payload-size", NUMBER, max_payload),
	OPTION("start-time-us", NUMBER, start_time_us),
	OPTION("start-time-cpu-us", NUMBER, start_time_cpu_us),
	OPTION("parent-cpu-time-us", NUMBER, parent_cpu_time_us),
	OPTION("version", FLAG, version),
	OPTION("help", FLAG, help),
	/* The other server has these too. */
	{ "seccomp-filter", MISSING, 0 },
	{ "metadata", MISSING, 0 },
	{ "mmds-size-limit", MISSING, 0 },
	{ "snapshot-version", MISSING, 0 },
	{ "describe-snapshot", MISSING, 0 },
};
#define N_OPTIONS (sizeof options / sizeof options[0])

const char options_help[] = "usage: caisson-vmm [--api-sock PATH] [--config-file PATH [--no-api]] [OPTION...]\n"
			    "\n"
			    "  --api-sock PATH        socket of the API (/run/firecracker.socket)\n"
			    "  --config-file PATH     configure the microVM from a file and start it\n"
			    "  --no-api               no socket; needs --config-file\n"
			    "  --id ID                name of the microVM (anonymous-instance)\n"
			    "  --enable-pci           devices on PCI, which can be plugged, instead of virtio-mmio\n"
			    "  --log-path PATH        file or FIFO for the log (stdout)\n"
			    "  --level LEVEL          Off, Error, Warning, Info (default), Debug, Trace\n"
			    "  --show-level           the level in each line\n"
			    "  --show-log-origin      file and line in each line\n"
			    "  --module PREFIX        only lines of such modules\n"
			    "  --metrics-path PATH    file or FIFO for metrics\n"
			    "  --http-api-max-payload-size N\n"
			    "                         largest body of a request, in bytes (51200)\n"
			    "  --no-seccomp           do not filter system calls\n"
			    "  --boot-timer           log how long it takes until the guest writes 123 to a register\n"
			    "  --map-kernel           the kernel's file does not change: share its pages between VMs\n"
			    "  --split-irqchip        the I/O APIC is here and not in the kernel (x86_64)\n"
			    "  --start-time-us N, --start-time-cpu-us N, --parent-cpu-time-us N\n"
			    "                         what a jailer measured, for the metrics\n"
			    "  --version, --help\n"
			    "\n"
			    "Options are also understood as --option=value.\n";

static int set(const struct option *o, const char *value, struct options *ret, struct err *e)
{
	void *at = (char *)ret + o->at;

	switch (o->kind) {
	case FLAG:
		if (value)
			return err_set(e, ERR_CONFIG, EINVAL, "The argument '%s' takes no value.", o->name);
		*(bool *)at = true;
		return 0;
	case TEXT:
		if (!value)
			return err_set(e, ERR_CONFIG, EINVAL,
				       "The argument '%s' requires a value, but none was supplied.", o->name);
		*(const char **)at = value;
		return 0;
	case NUMBER:
		if (!value || str_to_u64(value, 10, at) < 0)
			return err_set(e, ERR_CONFIG, EINVAL, "The argument '%s' requires a number.", o->name);
		return 0;
	case MISSING:
		break;
	}
	return err_set(e, ERR_CONFIG, EINVAL, "The argument '%s' is not supported by this version.", o->name);
}

static const struct option *find(const char *name, size_t len)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (strlen(options[i].name) == len && !memcmp(options[i].name, name, len))
			return &options[i];
	return NULL;
}

static int check(const struct options *o, struct err *e)
{
	size_t len = strlen(o->id);

	if (len < 1 || len > 64)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "Invalid instance ID: Invalid len (%zu);  the length must be between 1 and 64", len);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)o->id[i]) && o->id[i] != '-')
			return err_set(e, ERR_CONFIG, EINVAL, "Invalid instance ID: Invalid char (%c) at position %zu",
				       o->id[i], i);
	if (o->no_api && !o->config_file)
		return err_set(e, ERR_CONFIG, EINVAL, "Argument 'config-file' required, but not found.");
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *e)
{
	bool seen[N_OPTIONS] = { false };

	*ret = (struct options){ .api_sock = "/run/firecracker.socket",
				 .id = "anonymous-instance",
				 .max_payload = SERVER_BODY_MAX };
	for (int i = 1; i < argc; i++) {
		const char *name = str_after(argv[i], "--"), *value = NULL;
		const struct option *o;
		int r;

		if (str_eq(argv[i], "-h"))
			name = "help";
		o = name ? find(name, strcspn(name, "=")) : NULL;
		if (!o)
			return err_set(e, ERR_CONFIG, EINVAL,
				       "Found argument '%s' which wasn't expected, or isn't valid in this context.",
				       argv[i]);
		if (seen[o - options])
			return err_set(e, ERR_CONFIG, EINVAL, "The argument '%s' was provided more than once.",
				       o->name);
		seen[o - options] = true;
		if (strchr(name, '='))
			value = strchr(name, '=') + 1;
		else if (o->kind != FLAG && i + 1 < argc && !str_after(argv[i + 1], "--"))
			value = argv[++i];
		r = set(o, value, ret, e);
		if (r < 0)
			return r;
	}
	return ret->help || ret->version ? 0 : check(ret, e);
}
