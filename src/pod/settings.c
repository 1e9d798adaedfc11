/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/settings.h"

#include <errno.h>

#include "base/log.h"
#include "pod/plan.h"

static int no_such_driver(const char *name, struct err *e)
{
	_cleanup_buf_ struct buf known = { 0 };

	for (const struct hypervisor_driver *const *d = hypervisor_list(); *d; d++)
		(void)buf_printf(&known, "%s%s", known.len ? ", " : "", (*d)->name);
	return err_set(e, ERR_CONFIG, ENOENT, "hypervisor \"%s\": this build has no driver for it; it has: %s", name,
		       known.data);
}

/* The plan makes the path absolute, wherever it came from. */
static int override_path(struct config *c, const char *key, const char *path, const char *origin, struct err *e)
{
	return path ? config_override(c, "hypervisor", key, path, origin, e) : 0;
}

/* What the driver honours and what pod/ reads for all drivers, as one list. */
static void warn_ineffective(const struct config *c, const struct hypervisor_driver *driver, struct strv *warnings)
{
	const char *keys[512];
	size_t n = 0;

	for (const char *const *k = driver->honoured_keys; k && *k && n < 400; k++)
		keys[n++] = *k;
	for (const char *const *k = plan_hypervisor_keys; *k && n < 511; k++)
		keys[n++] = *k;
	keys[n] = NULL;
	(void)config_warn_ineffective(c, keys, plan_other_keys, warnings);
}

int settings_load(const struct settings_request *q, struct config **ret, const struct hypervisor_driver **ret_driver,
		  struct err *e)
{
	struct config_load_options o = { .path = q->config,
					 .body = q->body,
					 .hypervisor = q->hypervisor,
					 .annotations = q->annotations,
					 .strict = q->strict };
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *c = NULL;
	const struct hypervisor_driver *driver;
	int r = config_load(&o, &c, &warnings, e);

	if (r == 0 && str_empty(c->hypervisor_name)) {
		/* Nothing names one: take the most preferred that this host can run, with its defaults. */
		config_free(take_ptr(c));
		strv_fini(&warnings);
		o.hypervisor = hypervisor_default()->name;
		r = config_load(&o, &c, &warnings, e);
	}
	if (r < 0)
		return r;
	driver = hypervisor_find(c->hypervisor_name);
	if (!driver)
		return no_such_driver(c->hypervisor_name, e);
	if ((r = override_path(c, "kernel", q->kernel, "--kernel", e)) < 0 ||
	    (r = override_path(c, "initrd", q->initrd, "--initrd", e)) < 0 ||
	    (r = override_path(c, "image", q->image, "--image", e)) < 0)
		return r;
	warn_ineffective(c, driver, &warnings);
	for (size_t i = 0; !q->quiet && i < warnings.len; i++)
		log_warn("%s", warnings.v[i]);
	*ret = take_ptr(c);
	*ret_driver = driver;
	return 0;
}

int settings_defaults(const char *hypervisor, struct config **ret, struct err *e)
{
	struct config_load_options o = { .hypervisor = hypervisor, .body = "" };

	return config_load(&o, ret, NULL, e);
}
