// SPDX-License-Identifier: Apache-2.0
#include "agent/coldplug.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/modules.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"

#define LAZY_MS      500 /* after we began to listen: the first container has started by then, or nobody is in a hurry */
#define LAZY_STEP_MS 10
#define LAZY_MAX     64

struct coldplug {
	struct strv lazy;
	struct loop_source *timer;
};

bool coldplug_is_lazy(const char *modalias)
{
	/* VirtIO 1.2 §5: entropy, balloon. Not the console: on it we say why when something fails. */
	static const char *const aliases[] = { "virtio:d00000004v", "virtio:d00000005v" };

	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
		if (str_after(modalias, aliases[i]))
			return true;
	return false;
}

int coldplug_scan(const char *sys, const char *bus, void (*fn)(const char *modalias, void *userdata), void *userdata)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *de;
	char path[400];

	snprintf(path, sizeof path, "%s/bus/%s/devices", sys, bus);
	d = opendir(path);
	if (!d)
		return -errno;
	while ((de = readdir(d))) {
		_cleanup_free_ char *alias = NULL;
		struct stat st;

		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/bus/%s/devices/%s/driver", sys, bus, de->d_name);
		if (stat(path, &st) == 0)
			continue;
		snprintf(path, sizeof path, "%s/bus/%s/devices/%s/modalias", sys, bus, de->d_name);
		if (file_read(path, 4096, &alias, NULL) < 0)
			continue;
		alias[strcspn(alias, "\n")] = '\0';
		if (*alias)
			fn(alias, userdata);
	}
	return 0;
}

static void add_device(const char *modalias, void *userdata)
{
	struct coldplug *c = userdata;

	if (!coldplug_is_lazy(modalias)) {
		module_load_for_device(modalias);
		return;
	}
	if (c->lazy.len >= LAZY_MAX || strv_add(&c->lazy, modalias) < 0)
		module_load_for_device(modalias);
	else if (c->lazy.len == 1)
		loop_timer_set(c->timer, LAZY_MS);
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct coldplug *c = userdata;
	char *alias = c->lazy.v[--c->lazy.len];

	c->lazy.v[c->lazy.len] = NULL;
	module_load_for_device(alias);
	free(alias);
	if (c->lazy.len > 0)
		loop_timer_set(s, LAZY_STEP_MS);
}

void coldplug_event(struct coldplug *c, const struct uevent *ev)
{
	if (c && str_eq(ev->action, "add") && *ev->modalias)
		add_device(ev->modalias, c);
}

int coldplug_new(struct loop *loop, struct coldplug **ret, struct err *e)
{
	/* Whoever mounted a real root file system has seen to the buses themselves. */
	static const char *const buses[] = { "virtio", "scsi", "nd" };
	struct coldplug *c = calloc(1, sizeof *c);
	int r = c ? loop_add_timer(loop, UINT64_MAX, on_timer, c, &c->timer) : -ENOMEM;

	if (r < 0) {
		free(c);
		return err_sys(e, -r, "cannot load the drivers of devices");
	}
	/* A kernel without modules has no drivers but those that have looked at every device already. */
	for (size_t i = 0; i < sizeof buses / sizeof buses[0] && access("/lib/modules", F_OK) == 0; i++) {
		r = coldplug_scan("/sys", buses[i], add_device, c);
		if (r < 0 && r != -ENOENT)
			log_warn("cannot look for devices without drivers: %s", strerror(-r));
	}
	*ret = c;
	return 0;
}

void coldplug_free(struct coldplug *c)
{
	if (!c)
		return;
	loop_source_free(c->timer);
	strv_fini(&c->lazy);
	free(c);
}
