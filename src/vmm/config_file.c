/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_file.h"

#include <errno.h>

#include "base/fd.h"
#include "vmm/probe.h"

static int wrap(int r, const char *class, struct err *e)
{
	if (r < 0)
		err_wrap(e, "%s", class);
	return r;
}

static int apply_output(struct instance *i, struct document *d, struct err *e)
{
	int r = d->has_logger ? wrap(logger_update(&i->logger, &d->logger, e), "Logger error", e) : 0;

	if (r == 0 && d->has_metrics)
		r = wrap(metrics_configure(&i->metrics, &d->metrics, e), "Metrics error", e);
	return r;
}

static int apply_machine(struct config *c, struct document *d, struct err *e)
{
	struct machine *m = &d->machine_config;
	int r = 0;

	m->has_smt = m->has_track_dirty_pages = m->has_huge_pages = true;
	if (d->has_machine_config)
		r = wrap(config_update_machine(c, m, e), "VM config error", e);
	if (r == 0 && (d->has_cpu_config || d->has_mmds_config))
		r = err_set(e, ERR_CONFIG, ENOTSUP, "%s is not supported by this version.",
			    d->has_cpu_config ? "cpu-config" : "mmds-config");
	if (r == 0)
		r = wrap(config_set_boot_source(c, &d->boot_source, e), "Boot source error", e);
	return r;
}

static int apply_devices(struct config *c, struct document *d, struct err *e)
{
	int r = 0;

	for (size_t n = 0; n < d->drives.len && r == 0; n++)
		r = wrap(config_put_drive(c, body_list_at(&drive_table, &d->drives, n), e), "Block device error", e);
	for (size_t n = 0; n < d->network_interfaces.len && r == 0; n++)
		r = wrap(config_put_network_interface(
				 c, body_list_at(&network_interface_table, &d->network_interfaces, n), e),
			 "Network device error", e);
	if (r == 0 && d->has_vsock)
		r = wrap(config_set_vsock(c, &d->vsock, e), "Vsock device error", e);
	if (r == 0 && d->has_balloon)
		r = wrap(config_set_balloon(c, &d->balloon, e), "Balloon device error", e);
	if (r == 0 && d->has_entropy)
		r = wrap(config_set_entropy(c, &d->entropy, e), "Entropy device error", e);
	for (size_t n = 0; n < d->pmem.len && r == 0; n++)
		r = wrap(config_put_pmem(c, body_list_at(&pmem_table, &d->pmem, n), e), "Pmem device error", e);
	if (r == 0 && d->has_memory_hotplug)
		r = wrap(config_set_memory_hotplug(c, &d->memory_hotplug, e), "Memory hotplug config error", e);
	return r;
}

int config_text_apply(struct instance *i, const char *text, size_t len, struct err *e)
{
	struct document d;
	int r = wrap(body_decode(&document_table, text, len, &d, e), "Invalid JSON", e);

	if (r < 0)
		return r;
	i->boot_path = true;
	r = apply_output(i, &d, e);
	if (r == 0)
		r = apply_machine(&i->config, &d, e);
	if (r == 0)
		r = apply_devices(&i->config, &d, e);
	body_clear(&document_table, &d);
	return r;
}

int config_file_apply(struct instance *i, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char os[OS_ERROR_MAX];
	size_t len;
	int r = file_read(path, CONFIG_FILE_MAX, &text, &len);

	if (r < 0)
		return err_set(e, ERR_CONFIG, -r, "Unable to open or read from the configuration file %s: %s", path,
			       os_error(-r, os));
	return wrap(config_text_apply(i, text, len, e), "Configuration for VMM from one single json failed", e);
}
