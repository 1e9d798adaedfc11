/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/overlays.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/plan_mounts.h"
#include "sys/mounts.h"

bool overlay_is(const Grpc__Mount *m)
{
	return str_eq(m->type, "overlay") && !plan_is_bind(m);
}

/* Layers are told from one another by colons; one that belongs to a name has a backslash before it. */
static int add_layers(struct strv *ret, const char *list)
{
	_cleanup_free_ char *name = malloc(strlen(list) + 1);
	size_t n = 0;
	int r = name ? 0 : -ENOMEM;

	for (; r == 0 && *list; list++) {
		if (*list == ':') {
			name[n] = '\0';
			r = n ? strv_add(ret, name) : 0;
			n = 0;
			continue;
		}
		if (*list == '\\' && list[1])
			list++;
		name[n++] = *list;
	}
	if (r < 0 || !n)
		return r;
	name[n] = '\0';
	return strv_add(ret, name);
}

int overlay_layers(const Grpc__Mount *m, struct strv *ret)
{
	static const char *const keys[] = { "lowerdir=", "upperdir=", "workdir=" };
	int r = 0;

	for (size_t i = 0; i < m->n_options; i++)
		for (size_t k = 0; r == 0 && k < sizeof keys / sizeof keys[0]; k++) {
			const char *list = str_after(m->options[i], keys[k]);

			if (list)
				r = add_layers(ret, list);
		}
	return r;
}

static int mount_one(const Grpc__Mount *m, const char *place, struct strv *mounted, struct err *e)
{
	_cleanup_mount_options_ struct mount_options o = { 0 };
	int r = dir_make(place, 0711);

	if (r < 0)
		return err_sys(e, -r, "cannot make %s", place);
	if (strv_add(mounted, place) < 0)
		return err_sys(e, ENOMEM, "cannot mount an overlay");
	r = mount_options_parse(m->options, m->n_options, &o, e);
	return r < 0 ? r : mount_at_path("overlay", place, "overlay", &o, e);
}

int overlays_mount(const Grpc__Spec *spec, const char *prefix, struct strv *mounted, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < spec->n_mounts; i++) {
		_cleanup_free_ char *place = NULL;

		if (!overlay_is(spec->mounts[i]))
			continue;
		place = str_printf("%s-%zu", prefix, i);
		r = place ? mount_one(spec->mounts[i], place, mounted, e)
			  : err_sys(e, ENOMEM, "cannot mount an overlay");
		if (r < 0)
			err_wrap(e, "the overlay for %s", spec->mounts[i]->destination);
	}
	return r;
}

void overlays_unmount(struct strv *mounted)
{
	for (size_t i = mounted->len; i-- > 0;) {
		if (umount2(mounted->v[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
			log_warn("cannot unmount %s: %s", mounted->v[i], strerror(errno));
		(void)rmdir(mounted->v[i]);
	}
	strv_fini(mounted);
}

/* Of the options those stay that any mount can have. */
static int as_bind(Grpc__Mount *m, const char *prefix, size_t i)
{
	char *source = str_printf("%s-%zu", prefix, i), *type = strdup("bind");
	size_t kept = 0;

	if (!source || !type) {
		free(source);
		free(type);
		return -ENOMEM;
	}
	if (m->source != protobuf_c_empty_string)
		free(m->source);
	free(m->type);
	m->source = source;
	m->type = type;
	for (size_t k = 0; k < m->n_options; k++) {
		const char *o = m->options[k];

		if (str_eq(o, "ro") || str_eq(o, "nosuid") || str_eq(o, "nodev") || str_eq(o, "noexec"))
			m->options[kept++] = m->options[k];
		else
			free(m->options[k]);
	}
	m->n_options = kept;
	return 0;
}

int overlays_as_binds(Grpc__Spec *spec, const char *prefix)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < spec->n_mounts; i++)
		if (overlay_is(spec->mounts[i]))
			r = as_bind(spec->mounts[i], prefix, i);
	return r;
}
