/* SPDX-License-Identifier: Apache-2.0 */
/* caisson check: each thing that Caisson needs on this host, its state, and how to mend it. */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/table.h"
#include "hypervisor/driver.h"
#include "pod/guest.h"
#include "pod/settings.h"
#include "pod/share.h"
#include "pod/state.h"

enum state { STATE_OK, STATE_OPTIONAL, STATE_MISSING };

struct report {
	json_object *list;
	struct table table;
	bool missing;
};

static void tell(struct report *r, const char *what, enum state state, const char *found, const char *mend)
{
	static const char *const names[] = { "ok", "optional", "MISSING" };
	json_object *o = json_object_new_object();

	json_object_object_add(o, "requirement", json_object_new_string(what));
	json_object_object_add(o, "state", json_object_new_string(names[state]));
	json_object_object_add(o, "found", json_object_new_string(found));
	json_object_object_add(o, "mend", json_object_new_string(mend));
	json_object_array_add(r->list, o);
	table_cell(&r->table, "%s", names[state]);
	table_cell(&r->table, "%s", what);
	table_cell(&r->table, "%s%s%s", found, *found && *mend ? "; to mend: " : "", mend);
	r->missing |= state == STATE_MISSING;
}

static void check_user(struct report *r)
{
	if (geteuid() == 0)
		tell(r, "privileges", STATE_OK, "root", "");
	else
		tell(r, "privileges", STATE_MISSING, "not root", "run caisson as root (it makes a mount namespace)");
}

static void check_kvm(struct report *r)
{
	char why[256];

	if (hypervisor_kvm_usable(why, sizeof why))
		tell(r, "hardware virtualisation", STATE_OK, "KVM runs ordinary guests", "");
	else
		tell(r, "hardware virtualisation", STATE_OPTIONAL, why,
		     "guests run under software emulation, 10 to 50 times slower; enable VT-x or AMD-V in the "
		     "firmware, or "
		     "nested virtualisation on the host");
}

static void check_hypervisor(struct report *r, const struct hypervisor_driver *driver, const struct config *cfg)
{
	struct vm_host_report host = { 0 };
	char what[64], found[512];
	struct err e = { 0 };

	snprintf(what, sizeof what, "hypervisor %s", driver->name);
	if (driver->check(&cfg->hypervisor, &host, &e) < 0)
		tell(r, what, STATE_MISSING, "", e.text);
	else if (!host.usable)
		tell(r, what, STATE_MISSING, host.path, host.reason);
	else {
		snprintf(found, sizeof found, "%s %s", host.path, host.version);
		tell(r, what, STATE_OK, found, "");
	}
}

static void check_guest(struct report *r, const struct hypervisor_driver *driver, const struct config *cfg)
{
	_cleanup_free_ char *kernel = NULL, *initrd = NULL;
	struct err e = { 0 };

	if (*cfg->hypervisor.kernel) {
		bool ok = access(cfg->hypervisor.kernel, R_OK) == 0;

		tell(r, "guest kernel", ok ? STATE_OK : STATE_MISSING, cfg->hypervisor.kernel,
		     ok ? "" : "the configured file cannot be read");
		return;
	}
	if (guest_find(driver->no_elf_kernel, &kernel, &initrd, &e) < 0) {
		tell(r, "guest kernel", STATE_MISSING, "", e.text);
		return;
	}
	tell(r, "guest kernel", STATE_OK, kernel, "");
	if (access(initrd, R_OK) == 0)
		tell(r, "guest initramfs", STATE_OK, initrd, "");
	else
		tell(r, "guest initramfs", STATE_MISSING, initrd, "run \"make guest\" in the source tree");
}

static void check_share(struct report *r, const struct hypervisor_driver *driver, const struct config *cfg)
{
	_cleanup_strv_ struct strv argv = { 0 };
	struct vm_capabilities can = { 0 };
	struct share s = { 0 };
	struct err e = { 0 };

	driver->capabilities(&cfg->hypervisor, &can);
	if (share_init(&s, &cfg->hypervisor, &can, "/run/caisson/x", &e) < 0 || share_describe(&s, &argv, &e) < 0)
		tell(r, "file sharing", STATE_MISSING, cfg->hypervisor.shared_fs, e.text);
	else
		tell(r, "file sharing", STATE_OK, argv.len ? argv.v[0] : share_name(&s), "");
	share_fini(&s);
}

static void check_programs(struct report *r)
{
	if (access("/usr/bin/passt", X_OK) == 0)
		tell(r, "passt (--net user)", STATE_OK, "/usr/bin/passt", "");
	else
		tell(r, "passt (--net user)", STATE_OPTIONAL, "not installed",
		     "apt-get install passt; without it the hypervisor's own user-mode network is used");
}

static void check_state_dir(struct report *r)
{
	char root[PATH_MAX];

	state_default_root(root, sizeof root);
	if (access(root, W_OK) == 0 || (errno == ENOENT && access("/run", W_OK) == 0))
		tell(r, "state directory", STATE_OK, root, "");
	else
		tell(r, "state directory", STATE_MISSING, root, strerror(errno));
}

int command_check(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "config", required_argument, NULL, 'c' },
		{ "hypervisor", required_argument, NULL, 'H' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct report r = { .list = json_object_new_array(), .table = { .columns = 3 } };
	struct settings_request q = { .quiet = true };
	const struct hypervisor_driver *driver = NULL;
	_cleanup_config_ struct config *cfg = NULL;
	struct err e = { 0 };
	bool json = false;
	int flag;

	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (flag == 'j')
			json = true;
		else if (flag == 'c')
			q.config = optarg;
		else if (flag == 'H')
			q.hypervisor = optarg;
		else {
			fprintf(flag == 'h' ? stdout : stderr,
				"usage: caisson check [--json] [--config FILE] [--hypervisor NAME]\n");
			return flag == 'h' ? 0 : EXIT_CAISSON;
		}
	}
	check_user(&r);
	if (settings_load(&q, &cfg, &driver, &e) < 0) {
		tell(&r, "configuration", STATE_MISSING, "", e.text);
	} else {
		tell(&r, "configuration", STATE_OK, cfg->path ? cfg->path : "built-in defaults", "");
		check_kvm(&r);
		check_hypervisor(&r, driver, cfg);
		check_guest(&r, driver, cfg);
		check_share(&r, driver, cfg);
	}
	check_programs(&r);
	check_state_dir(&r);
	if (json)
		printf("%s\n", json_object_to_json_string_ext(r.list, JSON_C_TO_STRING_PRETTY |
									      JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		table_print(&r.table, stdout);
	table_fini(&r.table);
	json_object_put(r.list);
	return r.missing ? 1 : 0;
}
