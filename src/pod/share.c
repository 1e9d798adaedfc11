/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/share.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "hypervisor/driver.h"
#include "pod/agent.h"
#include "pod/plan.h"
#include "pod/share_follow.h"
#include "sys/mounts.h"
#include "sys/spawn.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

struct share_method {
	const char *name;
	const char *const *spellings; /* of shared_fs */
	bool staged;                  /* items are bind-mounted into a folder */
	int (*start)(struct share *s, struct err *e);
};

/* ---- the virtio-fs server ---- */

static const char *const virtiofsd_places[] = { "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd",
						"/usr/libexec/kata-qemu/virtiofsd", "/opt/kata/libexec/virtiofsd" };

static const char *find_virtiofsd(const struct config_hypervisor *hv)
{
	if (!str_empty(hv->virtio_fs_daemon))
		return access(hv->virtio_fs_daemon, X_OK) == 0 ? hv->virtio_fs_daemon : NULL;
	for (size_t i = 0; i < sizeof virtiofsd_places / sizeof virtiofsd_places[0]; i++)
		if (access(virtiofsd_places[i], X_OK) == 0)
			return virtiofsd_places[i];
	return NULL;
}

/* Debian 12 has QEMU's C program (-o source=…); the newer Rust one takes long options. Told apart by its folder. */
static bool is_qemus(const char *program)
{
	return strstr(program, "/qemu/") != NULL;
}

/*
 * The server has not the privilege that "trusted." attributes need, and a guest's overlay file system, as docker's in a
 * volume, keeps its notes in these: on the host they have another name. virtiofsd(1), "Extended attribute (xattr)
 * mapping".
 */
#define XATTR_MAP "/prefix/all/trusted./user.virtiofs./ /bad/server//trusted./ /bad/client/user.virtiofs.// /ok/all///"

/* Somebody knows better. */
static bool maps_xattrs(const struct config_hypervisor *hv)
{
	for (size_t i = 0; i < hv->virtio_fs_extra_args.len; i++)
		if (strstr(hv->virtio_fs_extra_args.v[i], "xattr") || strstr(hv->virtio_fs_extra_args.v[i], "modcaps"))
			return true;
	return false;
}

static int server_argv(const struct share *s, const char *program, int listen_fd, struct strv *argv)
{
	const struct config_hypervisor *hv = s->hv;
	const char *cache = str_empty(hv->virtio_fs_cache) ? "auto" : hv->virtio_fs_cache;
	struct rlimit files = { 0 };
	int r = 0;

	getrlimit(RLIMIT_NOFILE, &files);
	r |= strv_add(argv, program);
	r |= strv_addf(argv, "--fd=%d", listen_fd);
	/* Never ask for more than we may have: raising the limit would fail. */
	r |= strv_addf(argv, "--rlimit-nofile=%llu", (unsigned long long)files.rlim_max);
	if (is_qemus(program)) {
		/* QEMU's has no "metadata" and calls "never" none. */
		if (str_eq(cache, "never"))
			cache = "none";
		else if (str_eq(cache, "metadata"))
			cache = "auto";
		r |= strv_add(argv, "-o");
		r |= strv_addf(argv, "source=%s", s->staging);
		r |= strv_add(argv, "-o");
		r |= strv_addf(argv, "cache=%s,xattr,log_level=warn", cache);
		if (!maps_xattrs(hv)) {
			r |= strv_add(argv, "-o");
			r |= strv_add(argv, "xattrmap=" XATTR_MAP);
		}
	} else {
		r |= strv_addf(argv, "--shared-dir=%s", s->staging);
		r |= strv_addf(argv, "--cache=%s", cache);
		r |= strv_add(argv, "--xattr");
		r |= strv_add(argv, "--log-level=warn");
		if (!maps_xattrs(hv))
			r |= strv_add(argv, "--xattrmap=" XATTR_MAP);
	}
	for (size_t i = 0; i < hv->virtio_fs_extra_args.len; i++)
		r |= strv_add(argv, hv->virtio_fs_extra_args.v[i]);
	return r ? -ENOMEM : 0;
}

static int no_virtiofsd(const struct share *s, struct err *e)
{
	if (!str_empty(s->hv->virtio_fs_daemon))
		return err_set(e, ERR_CONFIG, ENOENT, "virtio_fs_daemon = \"%s\" is not an executable file",
			       s->hv->virtio_fs_daemon);
	return err_set(e, ERR_CONFIG, ENOENT,
		       "virtiofsd is not installed, and shared_fs = \"virtio-fs\" needs it; install qemu-system-common "
		       "(Debian 12) or virtiofsd, or set shared_fs = \"none\"");
}

static int virtio_fs_start(struct share *s, struct err *e)
{
	const char *program = find_virtiofsd(s->hv);
	_cleanup_strv_ struct strv argv = { 0 };
	_cleanup_close_ int fd = -1;
	struct spawn spawn;
	int r;

	if (!program)
		return no_virtiofsd(s, e);
	r = unix_listen(s->socket, 0600, &fd, e);
	if (r < 0)
		return r;
	fd_set_nonblock(fd, false); /* virtiofsd waits in accept(2) */
	if (server_argv(s, program, fd, &argv) < 0)
		return err_sys(e, ENOMEM, "cannot start %s", program);
	spawn = (struct spawn){ .path = program,
				.argv = argv.v,
				.stdin_fd = -1,
				.stdout_fd = -1,
				.stderr_fd = log_get_level() >= LOG_LEVEL_DEBUG ? STDERR_FILENO : -1,
				.keep_fds = &fd,
				.n_keep_fds = 1,
				.die_with_parent = true,
				.own_session = true };
	return spawn_start(&spawn, &s->daemon_pid, &s->daemon_pidfd, e);
}

static const struct share_method methods[] = {
	{ .name = "virtio-fs",
	  .spellings = (const char *const[]){ "virtio-fs", "inline-virtio-fs", "", NULL },
	  .staged = true,
	  .start = virtio_fs_start },
	{ .name = "virtio-9p", .spellings = (const char *const[]){ "virtio-9p", NULL }, .staged = true },
	{ .name = "none", .spellings = (const char *const[]){ "none", NULL } },
};

/* ---- planning ---- */

int share_init(struct share *s, const struct config_hypervisor *hv, const struct vm_capabilities *can,
	       const char *run_dir, struct err *e)
{
	*s = (struct share){ .hv = hv, .daemon_pidfd = -1 };
	for (size_t i = 0; i < sizeof methods / sizeof methods[0] && !s->method; i++)
		for (const char *const *n = methods[i].spellings; *n; n++)
			if (str_eq(hv->shared_fs, *n))
				s->method = &methods[i];
	if (!s->method)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "shared_fs = \"%s\" is not supported; use virtio-fs, virtio-9p or none", hv->shared_fs);
	if ((share_is_virtio_fs(s) && !can->fs_sharing) || (share_is_9p(s) && !can->fs_sharing_9p))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "this hypervisor cannot share files by %s; set shared_fs = \"none\"", s->method->name);
	s->staging = str_printf("%s/shared", run_dir);
	s->socket = str_printf("%s/virtiofsd.sock", run_dir);
	return s->staging && s->socket ? 0 : err_sys(e, ENOMEM, "cannot plan the file share");
}

static void item_fini(struct share_item *item)
{
	free(item->name);
	free(item->source);
	free(item->content);
	free(item->real);
	mountinfo_mounts_fini(&item->below);
}

void share_fini(struct share *s)
{
	share_stop(s);
	for (size_t i = 0; i < s->n_items; i++)
		item_fini(&s->items[i]);
	free(s->items);
	free(s->staging);
	free(s->socket);
	*s = (struct share){ .daemon_pidfd = -1 };
}

const char *share_name(const struct share *s)
{
	return s->method->name;
}

bool share_is_virtio_fs(const struct share *s)
{
	return s->method == &methods[0];
}

bool share_is_9p(const struct share *s)
{
	return s->method == &methods[1];
}

bool share_copies(const struct share *s)
{
	return !s->method->staged;
}

int share_add(struct share *s, const char *name, const char *source, const char *content, bool readonly, struct err *e)
{
	struct share_item *items = realloc(s->items, (s->n_items + 1) * sizeof *items), *item;

	if (!items)
		return err_sys(e, ENOMEM, "cannot plan the file share");
	s->items = items;
	item = &items[s->n_items++];
	*item = (struct share_item){ .name = strdup(name),
				     .source = source ? strdup(source) : NULL,
				     .content = content ? strdup(content) : NULL,
				     .readonly = readonly };
	return item->name && (item->source || item->content) ? 0 : err_sys(e, ENOMEM, "cannot plan the file share");
}

void share_set_follows(struct share *s, const char *name)
{
	for (size_t i = 0; i < s->n_items; i++)
		s->items[i].follows |= str_eq(s->items[i].name, name) && s->items[i].source;
}

int share_describe(const struct share *s, struct strv *ret, struct err *e)
{
	const char *program;

	if (!share_is_virtio_fs(s))
		return 0;
	program = find_virtiofsd(s->hv);
	if (!program)
		return no_virtiofsd(s, e);
	return server_argv(s, program, 3, ret) < 0 ? err_sys(e, ENOMEM, "cannot describe the file share") : 0;
}

/* ---- staging ---- */

/* What a mount is put on: a folder or an empty file, as the source is. */
static int make_place(const char *source, const char *target, struct err *e)
{
	struct stat st;
	int fd;

	if (stat(source, &st) < 0)
		return err_sys(e, errno, "cannot share %s", source);
	if (S_ISDIR(st.st_mode))
		return mkdir(target, 0755) < 0 ? err_sys(e, errno, "cannot make %s", target) : 0;
	fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC | O_EXCL, 0600);
	if (fd < 0)
		return err_sys(e, errno, "cannot make %s", target);
	close(fd);
	return 0;
}

/*
 * The copy gets its attributes before it is put in its place: the server's namespace gets a copy of it at that moment,
 * which no later change would reach.
 */
int share_clone(int dirfd, const char *path, bool recursive, bool readonly)
{
	/* Device files and set-uid programs of a shared tree mean something in the guest only. */
	struct mount_attr attr = { .attr_set =
					   MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | (readonly ? MOUNT_ATTR_RDONLY : 0),
				   .propagation = MS_PRIVATE };
	_cleanup_close_ int fd = mount_clone_at(dirfd, path, recursive);

	if (fd < 0)
		return fd;
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
		return -errno;
	return take_fd(&fd);
}

static int bind_item(const char *source, const char *target, bool readonly, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r = make_place(source, target, e);

	if (r < 0)
		return r;
	fd = share_clone(AT_FDCWD, source, true, readonly);
	if (fd < 0)
		return err_sys(e, -fd, "cannot bind %s for the guest", source);
	r = mount_attach_path(fd, target);
	return r < 0 ? err_sys(e, -r, "cannot bind %s for the guest", source) : 0;
}

static void unstage_item(const struct share *s, const struct share_item *item)
{
	_cleanup_free_ char *target = str_printf("%s/%s", s->staging, item->name);

	if (!target)
		return;
	/* Lazy: the server, and the guest's caches through it, may hold files of it open. */
	if (item->source && umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		log_warn("cannot unmount %s: %s", target, strerror(errno));
	if (unlink(target) < 0 && errno == EISDIR)
		rmdir(target);
}

static int stage_item(const struct share *s, struct share_item *item, struct err *e)
{
	_cleanup_free_ char *target = str_printf("%s/%s", s->staging, item->name);
	int r;

	if (!target)
		return err_sys(e, ENOMEM, "cannot stage the file share");
	if (item->follows && (r = share_follow_begin(s, item, e)) < 0)
		return r;
	if (item->source)
		r = bind_item(item->source, target, item->readonly, e);
	else if ((r = file_replace(target, item->content, strlen(item->content), 0644)) < 0)
		r = err_sys(e, -r, "cannot write %s", target);
	if (r < 0)
		unstage_item(s, item);
	return r;
}

static int copy_item(const struct share_item *item, struct agent *agent, struct err *e)
{
	_cleanup_free_ char *target = str_printf(GUEST_SHARE_DIR "/%s", item->name);

	if (!target)
		return err_sys(e, ENOMEM, "cannot copy files to the guest");
	return item->source ? agent_copy_path(agent, item->source, target, e)
			    : agent_copy_data(agent, item->content, strlen(item->content), target, 0644, e);
}

/* Unless it is there. agent NULL: the VM is not. */
static int give_item(const struct share *s, struct share_item *item, struct agent *agent, struct err *e)
{
	int r = 0;

	if (!item->there)
		r = share_copies(s) ? copy_item(item, agent, e) : stage_item(s, item, e);
	item->there |= r == 0;
	return r;
}

static int give_items(struct share *s, struct agent *agent, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_items; i++)
		r = give_item(s, &s->items[i], agent, e);
	return r;
}

int share_enter_namespace(struct err *e)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(e, errno, "cannot make a private mount namespace (are you root?)");
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "cannot make the mount namespace private");
	return 0;
}

static int stage(struct share *s, struct err *e)
{
	int r = s->own_namespace ? 0 : share_enter_namespace(e);

	if (r < 0)
		return r;
	if (mkdir(s->staging, 0755) < 0)
		return err_sys(e, errno, "cannot make %s", s->staging);
	if (mount("caisson", s->staging, "tmpfs", MS_NODEV | MS_NOSUID, "mode=0755,size=4m") < 0) {
		int code = errno;

		rmdir(s->staging);
		return err_sys(e, code, "cannot mount the staging folder %s", s->staging);
	}
	s->staged = true;
	if (mount(NULL, s->staging, NULL, MS_SHARED, NULL) < 0)
		return err_sys(e, errno, "cannot share the staging folder %s", s->staging);
	return give_items(s, NULL, e);
}

int share_start(struct share *s, struct err *e)
{
	int r = 0;

	if (s->method->staged)
		r = stage(s, e);
	if (r == 0 && s->method->start)
		r = s->method->start(s, e);
	if (r < 0)
		share_stop(s);
	return r;
}

int share_publish(struct share *s, struct agent *agent, struct err *e)
{
	return give_items(s, agent, e);
}

const struct share_item *share_find(const struct share *s, const char *name)
{
	for (size_t i = 0; i < s->n_items; i++)
		if (str_eq(s->items[i].name, name))
			return &s->items[i];
	return NULL;
}

int share_publish_item(struct share *s, const char *name, struct agent *agent, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_items; i++)
		if (str_eq(s->items[i].name, name))
			r = give_item(s, &s->items[i], agent, e);
	return r;
}

int share_copy(const struct share *s, const char *name, struct agent *agent, agent_done_fn fn, void *userdata,
	       struct agent_copy **ret, struct err *e)
{
	const struct share_item *item = share_copies(s) ? share_find(s, name) : NULL;
	_cleanup_free_ char *target = str_printf(GUEST_SHARE_DIR "/%s", name);

	if (!target)
		return err_sys(e, ENOMEM, "cannot copy files to the guest");
	if (!item)
		return err_set(e, ERR_CONFIG, ENOENT, "the guest has no copy %s", name);
	return item->source ? agent_copy_path_async(agent, item->source, target, fn, userdata, ret, e)
			    : agent_copy_data_async(agent, item->content, strlen(item->content), target, 0644, fn,
						    userdata, ret, e);
}

bool share_is_there(const struct share *s, const char *name)
{
	const struct share_item *item = share_find(s, name);

	return !item || item->there;
}

void share_set_there(struct share *s, const char *name)
{
	for (size_t i = 0; i < s->n_items; i++)
		s->items[i].there |= str_eq(s->items[i].name, name);
}

void share_remove(struct share *s, const char *name)
{
	for (size_t i = 0; i < s->n_items; i++) {
		struct share_item *item = &s->items[i];

		if (!str_eq(item->name, name))
			continue;
		if (item->there && s->staged)
			unstage_item(s, item);
		item_fini(item);
		*item = s->items[--s->n_items];
		return;
	}
}

bool share_server_ended(const struct share *s)
{
	struct pollfd p = { .fd = s->daemon_pidfd, .events = POLLIN };

	return s->daemon_pidfd >= 0 && poll(&p, 1, 0) > 0;
}

bool share_server_was_left(const struct share *s)
{
	siginfo_t how = { 0 };

	/* Whose end it was is still to be reaped: share_stop(). */
	return s->daemon_pidfd >= 0 && waitid(P_PIDFD, (id_t)s->daemon_pidfd, &how, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       how.si_pid && how.si_code == CLD_EXITED && how.si_status == 0;
}

void share_stop(struct share *s)
{
	if (s->daemon_pid > 0)
		/* The server ends by itself when the VMM has closed its connection; it holds nothing worth a grace. */
		spawn_stop(s->daemon_pid, s->daemon_pidfd, 0);
	s->daemon_pid = 0;
	fd_close(&s->daemon_pidfd);
	if (s->staged) {
		/* Lazy: the bind mounts below go with it. */
		if (umount2(s->staging, MNT_DETACH) < 0)
			log_warn("cannot unmount %s: %s", s->staging, strerror(errno));
		rmdir(s->staging);
	}
	s->staged = false;
	for (size_t i = 0; i < s->n_items; i++)
		s->items[i].there = false;
	if (s->socket)
		unlink(s->socket);
}
