/* SPDX-License-Identifier: Apache-2.0 */
/* caisson hypervisors: what a person choosing a hypervisor needs to know about this host. */
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/settings.h"
#include "cli/table.h"
#include "hypervisor/driver.h"

static const char *yes(bool b)
{
	return b ? "yes" : "no";
}

static const struct {
	const char *heading, *key;
	size_t offset;
} capabilities[] = {
	{ "GPU", "vfio", offsetof(struct vm_capabilities, vfio) },
	{ "TDX", "tdx", offsetof(struct vm_capabilities, tdx) },
	{ "SNP", "sev_snp", offsetof(struct vm_capabilities, sev_snp) },
	{ "SHARE", "fs_sharing", offsetof(struct vm_capabilities, fs_sharing) },
	{ "BLOCK+", "block_hotplug", offsetof(struct vm_capabilities, block_hotplug) },
	{ "NET+", "net_hotplug", offsetof(struct vm_capabilities, net_hotplug) },
	{ "CPU+", "cpu_hotplug", offsetof(struct vm_capabilities, cpu_hotplug) },
	{ "MEM+", "memory_hotplug", offsetof(struct vm_capabilities, memory_hotplug) },
	{ "SNAPSHOT", "snapshot", offsetof(struct vm_capabilities, snapshot) },
};

#define N_CAPABILITIES (sizeof capabilities / sizeof capabilities[0])

static bool capability(const struct vm_capabilities *can, size_t i)
{
	return *(const bool *)((const char *)can + capabilities[i].offset);
}

static void add_row(struct table *t, const char *name, const struct vm_host_report *r)
{
	table_cell(t, "%s", name);
	table_cell(t, "%s", yes(r->usable));
	table_cell(t, "%s", *r->version ? r->version : "-");
	table_cell(t, "%s", *r->acceleration ? r->acceleration : "none");
	table_cell(t, "%s", *r->architectures ? r->architectures : "-");
	for (size_t i = 0; i < N_CAPABILITIES; i++)
		table_cell(t, "%s", yes(capability(&r->can, i)));
	table_cell(t, "%s", *r->path ? r->path : "-");
}

static void add_object(json_object *list, const char *name, const struct vm_host_report *r)
{
	json_object *o = json_object_new_object(), *can = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "usable", json_object_new_boolean(r->usable));
	json_object_object_add(o, "path", json_object_new_string(r->path));
	json_object_object_add(o, "version", json_object_new_string(r->version));
	json_object_object_add(o, "acceleration", json_object_new_string(r->acceleration));
	json_object_object_add(o, "architectures", json_object_new_string(r->architectures));
	json_object_object_add(o, "reason", json_object_new_string(r->reason));
	json_object_object_add(o, "why_not", json_object_new_string(r->why_not));
	for (size_t i = 0; i < N_CAPABILITIES; i++)
		json_object_object_add(can, capabilities[i].key, json_object_new_boolean(capability(&r->can, i)));
	json_object_object_add(o, "capabilities", can);
	json_object_array_add(list, o);
}

static void print_heading(struct table *t)
{
	for (const char *const *h =
		     (const char *const[]){ "NAME", "USABLE", "VERSION", "ACCELERATION", "ARCHITECTURES", NULL };
	     *h; h++)
		table_cell(t, "%s", *h);
	for (size_t i = 0; i < N_CAPABILITIES; i++)
		table_cell(t, "%s", capabilities[i].heading);
	table_cell(t, "PATH");
}

static void print_all(bool json)
{
	_cleanup_(table_fini) struct table t = { .columns = 6 + N_CAPABILITIES };
	json_object *list = json_object_new_array();
	_cleanup_buf_ struct buf reasons = { 0 };

	print_heading(&t);
	for (const struct hypervisor_driver *const *d = hypervisor_list(); *d; d++) {
		_cleanup_config_ struct config *cfg = NULL;
		struct vm_host_report r = { 0 };
		struct err e = { 0 };

		if (settings_defaults((*d)->name, &cfg, &e) < 0 || (*d)->check(&cfg->hypervisor, &r, &e) < 0)
			snprintf(r.reason, sizeof r.reason, "%.200s", e.text);
		if (json) {
			add_object(list, (*d)->name, &r);
			continue;
		}
		add_row(&t, (*d)->name, &r);
		if (*r.reason)
			(void)buf_printf(&reasons, "%s: %s\n", (*d)->name, r.reason);
		if (*r.why_not)
			(void)buf_printf(&reasons, "%s: %s\n", (*d)->name, r.why_not);
	}
	if (json) {
		printf("%s\n",
		       json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		table_print(&t, stdout);
		if (reasons.len)
			printf("\n%s", reasons.data);
	}
	json_object_put(list);
}

int command_hypervisors(int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	bool json = false;
	int flag;

	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (flag != 'j') {
			fprintf(flag == 'h' ? stdout : stderr, "usage: caisson hypervisors [--json]\n");
			return flag == 'h' ? 0 : EXIT_CAISSON;
		}
		json = true;
	}
	print_all(json);
	return 0;
}
