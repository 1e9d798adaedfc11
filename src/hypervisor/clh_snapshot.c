/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: Cloud Hypervisor writes config.json (what vm.create said), state.json and memory-ranges into a folder.
 *
 * A restored VM has sockets and a console of its own, so that it can live beside the one that was saved: it is started
 * from a folder of links with a config.json that names them. Its tap queues are new and travel with vm.restore.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "hypervisor/clh_vm.h"

#define CONFIG_MAX (1u << 20)

int clh_save(struct vm *vm, const char *dir, struct err *e)
{
	struct json_object *body = json_object_make();
	_cleanup_free_ char *url = str_printf("file://%s", dir);

	if (!url) {
		json_free(body);
		return err_sys(e, ENOMEM, "snapshot");
	}
	json_set_str(body, "destination_url", url);
	return clh_call(clh_vm_of(vm), "PUT", "vm.snapshot", body, NULL, 0, CLH_SAVE_MS, NULL, e);
}

/* The member of the array that has this id. */
static struct json_object *by_id(struct json_object *array, const char *id)
{
	for (size_t i = 0; i < json_array_len(array); i++)
		if (str_eq(json_get_str(json_array_at(array, i), "id"), id))
			return json_array_at(array, i);
	return NULL;
}

/* Sockets and files of this VM in place of those of the saved one. */
static int rename_files(struct clh_vm *q, struct json_object *config, struct err *e)
{
	struct json_object *vsock = json_get_object(config, "vsock"), *serial = json_get_object(config, "serial");
	struct json_object *shares = json_get_array(config, "fs");

	if (!vsock || !serial)
		return err_set(e, ERR_CONFIG, EINVAL, "it is no snapshot of a VM of this runtime");
	json_set_str(vsock, "socket", q->plan.vsock_socket);
	json_set_str(serial, "file", q->plan.console);
	for (size_t i = 0; i < json_array_len(q->plan.shares); i++) {
		struct json_object *ours = json_array_at(q->plan.shares, i);
		struct json_object *theirs = by_id(shares, json_get_str(ours, "id"));

		if (theirs)
			json_set_str(theirs, "socket", json_get_str(ours, "socket"));
	}
	return 0;
}

static int write_config(struct clh_vm *q, const char *from, const char *to, struct err *e)
{
	_cleanup_json_ struct json_object *config = NULL;
	_cleanup_free_ char *text = NULL;
	int r = json_parse_file(from, CONFIG_MAX, &config, e);

	if (r < 0)
		return r;
	r = rename_files(q, config, e);
	if (r < 0)
		return r;
	text = json_write(config, false);
	r = text ? file_replace(to, text, strlen(text), 0600) : -ENOMEM;
	return r < 0 ? err_sys(e, -r, "cannot write %s", to) : 0;
}

/* staging: a new folder that is removed by the caller, also after a failure. */
static int stage(struct clh_vm *q, const char *dir, const char *staging, struct err *e)
{
	static const char *const names[] = { "state.json", "memory-ranges" };
	_cleanup_free_ char *from = str_printf("%s/config.json", dir), *to = str_printf("%s/config.json", staging);

	if (!from || !to)
		return err_sys(e, ENOMEM, "snapshot");
	if (mkdir(staging, 0700) < 0)
		return err_sys(e, errno, "cannot make %s", staging);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		_cleanup_free_ char *target = str_printf("%s/%s", dir, names[i]);
		_cleanup_free_ char *link = str_printf("%s/%s", staging, names[i]);

		if (!target || !link || symlink(target, link) < 0)
			return err_sys(e, errno, "cannot name the snapshot's %s", names[i]);
	}
	return write_config(q, from, to, e);
}

/* {"source_url": …, "net_fds": [{"id", "num_fds"}]}; fds: all queues in that order. */
static char *restore_body(const struct clh_plan *plan, const char *staging, int *fds, size_t *ret_n)
{
	_cleanup_json_ struct json_object *o = json_object_make();
	_cleanup_free_ char *url = str_printf("file://%s", staging);
	struct json_object *nets = json_array_make();

	*ret_n = 0;
	json_set_str(o, "source_url", url ? url : "");
	for (size_t i = 0; i < plan->n_fd_nets; i++) {
		const struct clh_fd_net *n = &plan->fd_nets[i];
		_cleanup_json_ struct json_object *net = NULL;
		struct json_object *entry = json_object_make();

		json_parse(n->body, strlen(n->body), CONFIG_MAX, &net, NULL);
		json_set_str(entry, "id", json_get_str(net, "id"));
		json_set_u64(entry, "num_fds", n->n_fds);
		json_add(nets, entry);
		for (size_t k = 0; k < n->n_fds && *ret_n < REST_FDS_MAX; k++)
			fds[(*ret_n)++] = n->fds[k];
	}
	if (plan->n_fd_nets)
		json_set(o, "net_fds", nets);
	else
		json_free(nets);
	return url ? json_write(o, false) : NULL;
}

static int restore_from(struct clh_vm *q, const char *staging, struct err *e)
{
	int fds[REST_FDS_MAX], r;
	size_t n;
	_cleanup_free_ char *body = restore_body(&q->plan, staging, fds, &n);

	if (!body)
		return err_sys(e, ENOMEM, "snapshot");
	r = rest_call(&q->rest, "PUT", "/api/v1/vm.restore", body, fds, n, clock_ms() + CLH_SAVE_MS, NULL, e);
	return r;
}

/* In place of start(); the VM is paused then. */
int clh_restore(struct vm *vm, const char *dir, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);
	_cleanup_free_ char *staging = str_printf("%s/clh-restore", vm->config->run_dir);
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	if (!staging)
		return err_sys(e, ENOMEM, "snapshot");
	if (q->process)
		return err_set(e, ERR_HYPERVISOR, EALREADY, "the VM was started before");
	r = stage(q, dir, staging, e);
	if (r < 0)
		err_wrap(e, "snapshot %s", dir);
	if (r == 0)
		r = clh_launch(q, clock_ms() + CLH_START_MS, e);
	if (r == 0) {
		r = restore_from(q, staging, e);
		if (r < 0)
			r = clh_launch_failed(q, r, e);
	}
	dir_remove(staging);
	if (r < 0)
		return r;
	clh_remove_console(q);
	q->rest.interrupt_fd = -1;
	q->running = true;
	return 0;
}
