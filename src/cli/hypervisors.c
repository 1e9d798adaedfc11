/* SPDX-License-Identifier: Apache-2.0 */
/* caisson hypervisors: what a person choosing a hypervisor needs to know about this host. */
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/table.h"
#include "hypervisor/driver.h"
#include "pod/settings.h"

static const char *yes(bool b)
{
	return b ? "yes" : "no";
}

/* Every capability is in the JSON; the table, which must fit a screen, has those with a heading. */
#define CAPABILITY(field, heading, text)                                                                               \
	{                                                                                                              \
		heading, #field, text, offsetof(struct vm_capabilities, field)                                         \
	}

static const struct {
	const char *heading, *key, *text;
	size_t offset;
} capabilities[] = {
	CAPABILITY(vfio, "GPU", "devices of the host (VFIO), GPUs say"),
	CAPABILITY(tdx, "TDX", "Intel TDX"),
	CAPABILITY(sev_snp, "SNP", "AMD SEV-SNP"),
	CAPABILITY(fs_sharing, "SHARE", "folders of the host by virtio-fs"),
	CAPABILITY(fs_sharing_9p, NULL, "folders of the host by 9p"),
	CAPABILITY(block, NULL, "disks"),
	CAPABILITY(block_hotplug, "BLOCK+", "disks in and out while it runs"),
	CAPABILITY(block_discard, NULL, "disks give room back (discard)"),
	CAPABILITY(block_resize, NULL, "disks that grow while it runs"),
	CAPABILITY(net_user, NULL, "a user-mode network of its own"),
	CAPABILITY(net_passt, NULL, "user-mode network by passt"),
	CAPABILITY(net_hotplug, "NET+", "network cards in and out while it runs"),
	CAPABILITY(multi_queue_net, NULL, "network cards with several queues"),
	CAPABILITY(tap_fds, NULL, "taps as open descriptors, not by name only"),
	CAPABILITY(cpu_hotplug, "CPU+", "vCPUs added while it runs"),
	CAPABILITY(memory_hotplug, "MEM+", "memory added while it runs"),
	CAPABILITY(balloon, NULL, "free memory goes back to the host (balloon)"),
	CAPABILITY(pause, NULL, "pause and resume"),
	CAPABILITY(snapshot, "SNAPSHOT", "snapshots"),
	CAPABILITY(image_boot, NULL, "guest from a root image"),
	CAPABILITY(initrd_boot, NULL, "guest from an initramfs"),
};

#define N_CAPABILITIES (sizeof capabilities / sizeof capabilities[0])

static bool capability(const struct vm_capabilities *can, size_t i)
{
	return *(const bool *)((const char *)can + capabilities[i].offset);
}

/* A cell for each capability that the table shows: can NULL makes the headings. */
static void add_capabilities(struct table *t, const struct vm_capabilities *can)
{
	for (size_t i = 0; i < N_CAPABILITIES; i++)
		if (capabilities[i].heading)
			table_cell(t, "%s", can ? yes(capability(can, i)) : capabilities[i].heading);
}

static size_t n_columns(void)
{
	size_t n = 6; /* the others */

	for (size_t i = 0; i < N_CAPABILITIES; i++)
		n += capabilities[i].heading != NULL;
	return n;
}

static void add_row(struct table *t, const char *name, const struct vm_host_report *r)
{
	table_cell(t, "%s", name);
	table_cell(t, "%s", yes(r->usable));
	table_cell(t, "%s", *r->version ? r->version : "-");
	table_cell(t, "%s", *r->acceleration ? r->acceleration : "none");
	table_cell(t, "%s", *r->architectures ? r->architectures : "-");
	add_capabilities(t, &r->can);
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
	add_capabilities(t, NULL);
	table_cell(t, "PATH");
}

static void print_all(bool json)
{
	_cleanup_(table_fini) struct table t = { .columns = n_columns() };
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

/* What each driver says of itself with its defaults: the same on every host of this architecture. */
static int markdown_row(const char *text, size_t i)
{
	printf("| %s |", text);
	for (const struct hypervisor_driver *const *d = hypervisor_list(); *d; d++) {
		_cleanup_config_ struct config *cfg = NULL;
		struct vm_capabilities can = { 0 };
		struct err e = { 0 };

		if (settings_defaults((*d)->name, &cfg, &e) < 0) {
			log_error("%s", e.text);
			return -1;
		}
		(*d)->capabilities(&cfg->hypervisor, &can);
		printf(" %s |", capability(&can, i) ? "yes" : "no");
	}
	printf("\n");
	return 0;
}

/* The table of docs/hypervisors.md. */
static int print_markdown(void)
{
	const struct hypervisor_driver *const *d;

	printf("| |");
	for (d = hypervisor_list(); *d; d++)
		printf(" %s |", (*d)->name);
	printf("\n|---|");
	for (d = hypervisor_list(); *d; d++)
		printf("---|");
	printf("\n| runs without KVM |");
	for (d = hypervisor_list(); *d; d++)
		printf(" %s |", (*d)->needs_kvm ? "no" : "yes");
	printf("\n");
	for (size_t i = 0; i < N_CAPABILITIES; i++)
		if (markdown_row(capabilities[i].text, i) < 0)
			return EXIT_CAISSON;
	return 0;
}

int command_hypervisors(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { "markdown", no_argument, NULL, 'm' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	bool json = false;
	int flag;

	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (flag == 'm')
			return print_markdown();
		if (flag != 'j') {
			fprintf(flag == 'h' ? stdout : stderr, "usage: caisson hypervisors [--json | --markdown]\n");
			return flag == 'h' ? 0 : EXIT_CAISSON;
		}
		json = true;
	}
	print_all(json);
	return 0;
}
