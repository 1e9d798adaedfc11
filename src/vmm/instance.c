/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "vmm/build.h"
#include "vmm/probe.h"

void instance_init(struct instance *i, const char *id)
{
	*i = (struct instance){ .id = id, .serial_in = -1, .serial_out = -1, .serial_fd = -1 };
	config_init(&i->config);
	logger_init(&i->logger, id);
	metrics_init(&i->metrics, id);
}

void instance_fini(struct instance *i)
{
	vmm_free(take_ptr(i->vm));
	fd_close(&i->serial_fd);
	config_fini(&i->config);
	metrics_fini(&i->metrics);
	logger_fini(&i->logger);
}

const char *instance_state(const struct instance *i)
{
	if (!i->vm)
		return "Not started";
	return vmm_state(i->vm) == VMM_PAUSED ? "Paused" : "Running";
}

struct gathered {
	struct metrics_counts counts;
	int r;
};

/* A number of the library goes to the group of the schema where clients look for it, under the API's id. */
static void add_count(void *userdata, const struct vmm_count *c)
{
	static const struct {
		const char *kind, *group;
	} groups[] = {
		{ "block", "block" }, { "net", "net" },         { "pmem", "pmem" }, { "vsock", "vsock" },
		{ "rng", "entropy" }, { "balloon", "balloon" }, { "vcpu", "vcpu" }, { "memory", "memory_hotplug" },
	};
	const char *dash = strchr(c->id, '-'); /* see build.c */
	struct gathered *g = userdata;

	for (size_t n = 0; n < sizeof groups / sizeof groups[0] && g->r == 0; n++)
		if (!strcmp(groups[n].kind, c->kind))
			g->r = metrics_counts_add(&g->counts, groups[n].group, dash ? dash + 1 : c->id, c->name,
						  c->value);
}

int instance_flush_metrics(struct instance *i, struct err *e)
{
	struct gathered g = { 0 };

	metrics_set(&i->metrics, METRIC_logger_missed_log_count, i->logger.missed);
	i->logger.missed = 0;
	if (i->vm)
		vmm_stats(i->vm, add_count, &g);
	if (g.r < 0) {
		metrics_count(&i->metrics, METRIC_logger_metrics_fails);
		metrics_counts_fini(&g.counts);
		return err_sys(e, -g.r, "Metrics error");
	}
	metrics_set_counts(&i->metrics, &g.counts);
	return metrics_flush(&i->metrics, e);
}

/* The file that /serial named, if it did. */
static int open_serial(struct instance *i, struct err *e)
{
	char text[OS_ERROR_MAX];
	int fd;

	fd_close(&i->serial_fd);
	if (!i->config.serial.serial_out_path)
		return 0;
	fd = logger_open(i->config.serial.serial_out_path);
	if (fd < 0)
		return err_set(e, ERR_CONFIG, -fd, "Error creating legacy device: %s: %s",
			       i->config.serial.serial_out_path, os_error(-fd, text));
	i->serial_fd = fd;
	return 0;
}

/* There is a VM. */
static void take_over(struct instance *i, struct vmm *vm)
{
	i->vm = vm;
	if (i->on_vm)
		i->on_vm(i, i->userdata);
}

int instance_start(struct instance *i, struct err *e)
{
	struct build_options o = { .name = i->id,
				   .pci = i->pci,
				   .seccomp = i->seccomp,
				   .boot_timer = i->boot_timer,
				   .kernel_constant = i->kernel_constant,
				   .split_irqchip = i->split_irqchip,
				   .serial_in = i->serial_in };
	struct vmm *vm;
	int r = open_serial(i, e);

	if (r < 0)
		return r;
	o.serial_out = i->serial_fd >= 0 ? i->serial_fd : i->serial_out;
	say(&i->logger, LOGGER_DEBUG, "event_start: build microvm for boot");
	r = build_vm(&i->config, &o, &vm, e);
	say(&i->logger, LOGGER_DEBUG, "event_end: build microvm for boot");
	if (r < 0)
		return r;
	say(&i->logger, LOGGER_DEBUG, "event_start: boot microvm");
	r = vmm_start(vm, e);
	say(&i->logger, LOGGER_DEBUG, "event_end: boot microvm");
	if (r < 0) {
		vmm_free(vm);
		return r;
	}
	take_over(i, vm);
	return 0;
}

/* What a clone must not share with the one it was made of. */
static size_t overrides(const struct snapshot_load *l, struct vmm_override *ret, struct device_id *ids)
{
	size_t n = 0;

	for (; n < l->network_overrides.len; n++) {
		const struct network_override *o = body_list_at(&network_override_table, &l->network_overrides, n);

		ids[n] = net_device_id(o->iface_id);
		ret[n] = (struct vmm_override){ .id = ids[n].text, .path = o->host_dev_name };
	}
	if (l->has_vsock_override)
		ret[n++] = (struct vmm_override){ .id = BUILD_VSOCK_ID, .path = l->vsock_override.uds_path };
	return n;
}

static int restore(struct instance *i, const struct snapshot_load *l, struct vmm **ret, struct err *e)
{
	const char *memory = l->has_mem_backend ? l->mem_backend.backend_path : l->mem_file_path;
	bool uffd = l->has_mem_backend && l->mem_backend.backend_type == MEM_BACKEND_UFFD;
	struct vmm_override list[BODY_LIST_MAX + 1];
	struct device_id ids[BODY_LIST_MAX];
	struct vmm_restore c = {
		.state_path = l->snapshot_path,
		.memory_path = uffd ? NULL : memory,
		.uffd_socket = uffd ? memory : NULL,
		.track_dirty = l->track_dirty_pages || l->enable_diff_snapshots,
		.serial_in = i->serial_in,
		.serial_out = i->serial_fd >= 0 ? i->serial_fd : i->serial_out,
		.seccomp = i->seccomp,
		.overrides = list,
	};

	c.n_overrides = overrides(l, list, ids);
	return vmm_restore(&c, ret, e);
}

static int replace(char **text, const char *with)
{
	char *copy = strdup(with);

	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

/* The VM has what the configuration that was saved with it says, but for what was asked to be otherwise. */
static int apply_overrides(struct config *c, const struct snapshot_load *l)
{
	struct machine *m = &c->doc.machine_config;
	int r = 0;

	for (size_t n = 0; n < l->network_overrides.len && r == 0; n++) {
		const struct network_override *o = body_list_at(&network_override_table, &l->network_overrides, n);
		struct network_interface *device = config_network_interface(c, o->iface_id);

		r = device ? replace(&device->host_dev_name, o->host_dev_name) : 0;
	}
	if (r == 0 && l->has_vsock_override && c->doc.has_vsock)
		r = replace(&c->doc.vsock.uds_path, l->vsock_override.uds_path);
	m->track_dirty_pages = l->track_dirty_pages || l->enable_diff_snapshots;
	/* A private mapping of a file has no large pages, and a page server fills small ones if it may. */
	if (!l->has_mem_backend || l->mem_backend.backend_type != MEM_BACKEND_UFFD ||
	    m->huge_pages == HUGE_PAGES_TRANSPARENT)
		m->huge_pages = HUGE_PAGES_NONE;
	return r;
}

/* What snapshot/create left in the snapshot: the answer to GET /vm/config. */
static int learn_configuration(struct instance *i, const struct vmm *vm, const struct snapshot_load *l, struct err *e)
{
	const char *note = vmm_note(vm);
	struct document d;
	int r;

	i->unknown = !note;
	if (!note)
		return 0;
	r = body_decode(&document_table, note, strlen(note), &d, e);
	if (r < 0) {
		err_wrap(e, "its configuration is malformed");
		return r;
	}
	body_clear(&document_table, &i->config.doc);
	i->config.doc = d;
	r = apply_overrides(&i->config, l);
	return r < 0 ? err_sys(e, -r, "cannot restore its configuration") : 0;
}

int instance_load(struct instance *i, const struct snapshot_load *l, struct err *e)
{
	struct vmm *vm = NULL;
	int r = open_serial(i, e);

	if (r == 0)
		r = restore(i, l, &vm, e);
	if (r == 0)
		r = learn_configuration(i, vm, l, e);
	if (r < 0) {
		err_wrap(e, "Failed to restore from snapshot");
	} else if (l->resume_vm) {
		r = vmm_resume(vm, e);
		if (r < 0)
			err_wrap(e, "Failed to resume microVM");
	}
	if (r < 0) {
		vmm_free(vm);
		i->fatal = true;
		return r;
	}
	take_over(i, vm);
	return 0;
}

int instance_pause(struct instance *i, struct err *e)
{
	return vmm_state(i->vm) == VMM_PAUSED ? 0 : vmm_pause(i->vm, e);
}

int instance_resume(struct instance *i, struct err *e)
{
	return vmm_state(i->vm) == VMM_RUNNING ? 0 : vmm_resume(i->vm, e);
}
