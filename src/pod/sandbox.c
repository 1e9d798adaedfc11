/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/nics_watch.h"
#include "pod/plan_direct.h"
#include "pod/rootfs_image.h"
#include "sys/spawn.h"

/* How long a guest may take until its agent answers, unless someone configured it: emulated guests are slow. */
#define CONNECT_TIMEOUT_MS 60000
/* From a VMM's closing of its connections to its end: it gives back the guest's memory. */
#define VM_END_MS 5000
/* For a guest to let go of a disk (a PCIe one has 5 s to change its mind), while the loop stands still. */
#define UNPLUG_MS 10000

static int watch(int epoll_fd, int fd, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_sys(e, errno, "cannot watch the VM");
	return 0;
}

/* The image is known to the VMM by our own descriptor of it. */
static int pack_rootfs(struct sandbox *s, struct plan_container *c, struct err *e)
{
	struct vm_block *block;
	int r;

	if (!c || !c->pack)
		return 0;
	r = rootfs_image_pack(c->pack, c->pack_as, s->interrupt_fd, &c->image_fd, e);
	if (r < 0)
		return r;
	block = &c->pack_device->u.block;
	free(block->path);
	block->path = str_printf("/proc/%d/fd/%d", (int)getpid(), c->image_fd);
	return block->path ? 0 : err_sys(e, ENOMEM, "cannot name the packed root file system");
}

static int start_vm(struct sandbox *s, struct plan *plan, struct err *e)
{
	int r = plan->driver->prepare(s->loop, &plan->vm, &s->vm, e);

	if (r == 0)
		s->vm->interrupt_fd = s->interrupt_fd;
	/* It may take long: not before it is known that there is a hypervisor. */
	if (r == 0)
		r = pack_rootfs(s, plan->container, e);
	for (size_t i = 0; r == 0 && i < plan->n_devices; i++)
		r = plan->driver->add_device(s->vm, plan->devices[i], e);
	if (r == 0)
		r = plan->driver->start(s->vm, e);
	if (r == 0)
		r = watch(s->abort_fd, s->vm->exit_fd, e);
	if (r == 0)
		r = watch(s->abort_fd, plan->share.daemon_pidfd, e);
	if (r == 0 && plan->container)
		plan->container->there = plan->container->cold = true;
	s->times.vm_created = clock_us();
	return r;
}

static bool readable(int fd)
{
	struct epoll_event ev;

	return fd >= 0 && epoll_wait(fd, &ev, 1, 0) > 0;
}

/*
 * A call to the guest failed with r. When that is because the VM is gone, its end explains more than the broken
 * connection does.
 */
static int explain(struct sandbox *s, int r, struct err *e)
{
	if (r != -ECANCELED && r != -ECONNRESET && r != -EPIPE)
		return r;
	/* The file server ends by itself when the VM does, which may be at it for a while, but not before. */
	if (r == -ECANCELED && share_server_ended(&s->plan->share) &&
	    !vm_wait_exit(s->vm, share_server_was_left(&s->plan->share) ? VM_END_MS : 100))
		return err_set(e, ERR_SYSTEM, EPIPE, "the file server of the container (%s) has ended",
			       share_name(&s->plan->share));
	if (s->vm && vm_wait_exit(s->vm, r == -ECANCELED ? 0 : 500))
		return vm_explain_exit(s->vm, e);
	/* What the connection calls the end of its peer is our own doing then. */
	if (r == -ECANCELED && s->agent)
		return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while the container was starting");
	return r;
}

static int start_passt(struct sandbox *s, struct err *e)
{
	int r = passt_start(&s->passt, s->plan, s->abort_fd, e);

	return r < 0 ? explain(s, r, e) : 0;
}

static int connect_agent(struct sandbox *s, struct err *e)
{
	const struct config_agent *cfg = &s->plan->config->agent;
	bool configured = config_is_set(s->plan->config, CONFIG_AGENT, "reconnect_timeout_ms") ||
			  config_is_set(s->plan->config, CONFIG_AGENT, "dial_timeout");
	uint64_t timeout = configured && cfg->reconnect_timeout_ms ? cfg->reconnect_timeout_ms : CONNECT_TIMEOUT_MS;
	uint64_t limit = s->plan->config->runtime.create_container_timeout;
	int fd, r;

	r = vm_connect(s->vm, cfg->server_port ? cfg->server_port : 1024, clock_ms() + timeout, &fd, e);
	if (r == -ETIMEDOUT)
		err_wrap(e, "the guest's agent did not answer within %llu s",
			 (unsigned long long)((timeout + 999) / 1000));
	if (r == 0)
		r = agent_new(s->loop, fd, s->abort_fd, cfg, &s->agent, e);
	if (r == 0 && config_is_set(s->plan->config, CONFIG_RUNTIME, "create_container_timeout"))
		agent_set_create_container_timeout(s->agent, (unsigned)(limit < INT32_MAX ? limit : INT32_MAX));
	if (r == 0)
		r = agent_check(s->agent, e);
	s->times.agent_up = clock_us();
	return r < 0 ? explain(s, r, e) : 0;
}

/* ---- requests ---- */

/* The plan's storages as messages: arrays of the caller, strings of the plan. */
struct storages {
	Grpc__Storage *messages, **list;
	Grpc__FSGroup *groups;
	size_t n;
};

static void storages_fini(struct storages *s)
{
	free(s->messages);
	free(s->list);
	free(s->groups);
}

/* Storage.driver and Device.type: how the agent finds the device (kata.md §6, "Semantics"). */
static const char *address_type(const struct vm_device *d)
{
	switch (d->address_kind) {
	case VM_ADDRESS_SCSI:
		return "scsi";
	case VM_ADDRESS_DEVICE:
		return "mmioblk";
	case VM_ADDRESS_PMEM:
		return "nvdimm";
	default:
		return "blk";
	}
}

static int storages_init(struct storages *out, const struct plan_storage *list, size_t n, struct err *e)
{
	out->n = n;
	out->messages = calloc(n ? n : 1, sizeof *out->messages);
	out->list = calloc(n ? n : 1, sizeof(Grpc__Storage *));
	out->groups = calloc(n ? n : 1, sizeof *out->groups);
	if (!out->messages || !out->list || !out->groups)
		return err_sys(e, ENOMEM, "cannot ask the guest to mount");
	for (size_t i = 0; i < n; i++) {
		const struct plan_storage *s = &list[i];
		Grpc__Storage *m = &out->messages[i];
		const struct vm_device *d = s->device;

		grpc__storage__init(m);
		m->driver = s->driver;
		m->source = s->source;
		if (d) {
			m->source = (char *)d->address;
			m->driver = (char *)address_type(d);
		}
		if (s->has_fs_group) {
			grpc__fsgroup__init(&out->groups[i]);
			out->groups[i].group_id = s->fs_group;
			out->groups[i].group_change_policy = s->fs_group_on_mismatch
								     ? TYPES__FSGROUP_CHANGE_POLICY__OnRootMismatch
								     : TYPES__FSGROUP_CHANGE_POLICY__Always;
			m->fs_group = &out->groups[i];
		}
		m->fstype = s->fstype;
		m->mount_point = s->mount_point;
		m->options = s->options.v;
		m->n_options = s->options.len;
		m->driver_options = s->driver_options.v;
		m->n_driver_options = s->driver_options.len;
		out->list[i] = m;
	}
	return 0;
}

/* Of "NAME PARAMETER…" each. */
struct modules {
	size_t n;
	struct strv *words; /* of each: its name, and its parameters */
	Grpc__KernelModule *items, **list;
};

static void modules_fini(struct modules *m)
{
	for (size_t i = 0; m->words && i <= m->n; i++) /* the last one may have failed */
		strv_fini(&m->words[i]);
	free(m->words);
	free(m->items);
	free(m->list);
}

static int split_words(const char *from, struct strv *ret)
{
	_cleanup_free_ char *text = strdup(from);
	char *rest = NULL;
	int r = 0;

	if (!text)
		return -ENOMEM;
	for (char *word = strtok_r(text, " \t", &rest); word && r == 0; word = strtok_r(NULL, " \t", &rest))
		r = strv_add(ret, word);
	return r;
}

static int modules_init(struct modules *m, const struct strv *from, struct err *e)
{
	m->words = calloc(from->len + 1, sizeof *m->words);
	m->items = calloc(from->len + 1, sizeof *m->items);
	m->list = calloc(from->len + 1, sizeof *m->list);
	if (!m->words || !m->items || !m->list)
		return err_sys(e, ENOMEM, "cannot name the guest's modules");
	for (size_t i = 0; i < from->len; i++) {
		struct strv *words = &m->words[m->n];
		Grpc__KernelModule *item = &m->items[m->n];
		int r = split_words(from->v[i], words);

		if (r < 0)
			return err_sys(e, -r, "cannot name the guest's modules");
		if (!words->len)
			continue;
		grpc__kernel_module__init(item);
		item->name = words->v[0];
		item->parameters = words->v + 1;
		item->n_parameters = words->len - 1;
		m->list[m->n++] = item;
	}
	return 0;
}

static int create_sandbox(struct sandbox *s, struct err *e)
{
	const struct plan *p = s->plan;
	Grpc__CreateSandboxRequest q = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	_cleanup_(storages_fini) struct storages storages = { 0 };
	_cleanup_(modules_fini) struct modules modules = { 0 };
	int r = storages_init(&storages, p->sandbox_storages, p->n_sandbox_storages, e);

	if (r == 0)
		r = modules_init(&modules, &p->config->agent.kernel_modules, e);
	if (r < 0)
		return r;
	q.kernel_modules = modules.list;
	q.n_kernel_modules = modules.n;
	q.hostname = p->hostname;
	q.dns = p->dns.v;
	q.n_dns = p->dns.len;
	q.storages = storages.list;
	q.n_storages = storages.n;
	q.sandbox_id = p->id;
	q.sandbox_pidns = p->sandbox_pidns;
	q.guest_hook_path = p->config->hypervisor.guest_hook_path;
	return agent_create_sandbox(s->agent, &q, e);
}

static int configure_interface(struct sandbox *s, const struct plan_interface *i, struct err *e)
{
	Types__Interface nic = TYPES__INTERFACE__INIT;
	Types__IPAddress address = TYPES__IPADDRESS__INIT, *addresses[] = { &address };
	Types__Route route = TYPES__ROUTE__INIT, *routes[] = { &route };
	char mask[8];
	int r;

	snprintf(mask, sizeof mask, "%u", i->prefix);
	nic.device = nic.name = i->name;
	nic.hwaddr = i->mac;
	nic.mtu = i->mtu ? i->mtu : 1500;
	if (*i->address) {
		address.address = i->address;
		address.mask = mask;
		nic.ipaddresses = addresses;
		nic.n_ipaddresses = 1;
	}
	r = agent_update_interface(s->agent, &nic, e);
	if (r < 0 || !*i->gateway)
		return r;
	route.gateway = i->gateway;
	route.device = i->name;
	return agent_update_routes(s->agent, routes, 1, e);
}

int sandbox_start(struct loop *loop, struct plan *plan, int interrupt_fd, struct sandbox **ret, struct err *e)
{
	struct sandbox *s = calloc(1, sizeof *s);
	struct timespec now;
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "cannot start the sandbox");
	s->loop = loop;
	s->plan = plan;
	s->interrupt_fd = interrupt_fd;
	s->passt = PASST_NONE;
	s->times.begin = clock_us();
	s->abort_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->abort_fd < 0)
		r = err_sys(e, errno, "cannot watch the VM");
	else
		r = watch(s->abort_fd, interrupt_fd, e);
	if (r < 0 || (r = share_start(&plan->share, e)) < 0 || (r = passt_listen(&s->passt, plan, e)) < 0 ||
	    (r = nics_connect(plan, e)) < 0 || (r = start_vm(s, plan, e)) < 0 || (r = start_passt(s, e)) < 0 ||
	    (r = connect_agent(s, e)) < 0 || (r = passt_check(&s->passt, e)) < 0)
		goto fail;
	clock_gettime(CLOCK_REALTIME, &now);
	r = agent_set_guest_date_time(s->agent, now.tv_sec, now.tv_nsec / 1000, e);
	if (r == 0)
		r = create_sandbox(s, e);
	for (size_t i = 0; r == 0 && i < plan->n_interfaces; i++)
		r = configure_interface(s, &plan->interfaces[i], e);
	if (r == 0)
		r = nics_tell_agent(plan, s->agent, e);
	if (r == 0)
		r = share_publish(&plan->share, s->agent, e);
	if (r == 0)
		r = nics_watch_new(loop, plan, s->vm, s->agent, &s->nics, e);
	if (r < 0) {
		r = explain(s, r, e);
		goto fail;
	}
	*ret = s;
	return 0;
fail:
	sandbox_free(s);
	return r;
}

/*
 * Why a command could not be executed. Our agent's status tells most of it; ENOEXEC has no status of its own, and
 * Kata's agent puts everything into the text.
 */
int sandbox_exec_failure(int r, struct err *e)
{
	if (r != -EREMOTEIO || !e)
		return r;
	if (strcasestr(e->text, "exec format error")) {
		e->code = ENOEXEC;
		err_append(e, "; is it a program for another architecture, or a script without #!?");
		return -ENOEXEC;
	}
	/* Those of Kata 3 and 4: the second, "the file X was not found". */
	if (strstr(e->text, "ENOENT") || strstr(e->text, "not found in $PATH") ||
	    (strstr(e->text, "the file ") && strstr(e->text, " was not found")))
		e->code = ENOENT;
	else if (strstr(e->text, "EACCES"))
		e->code = EACCES;
	return -e->code;
}

/* ---- containers ---- */

static int plug(struct sandbox *s, struct vm_device *d, struct err *e)
{
	struct err left = { 0 };
	int r = s->plan->driver->add_device(s->vm, d, e);

	/* It may come yet, and keep what is behind it open for as long as the VM lives. */
	if (r == -ETIMEDOUT && s->plan->driver->remove_device(s->vm, d->id, &left) < 0)
		log_warn("%s", left.text);
	return r;
}

/* The devices that a container that came later needs, in the VM that runs. */
static int give_devices(struct sandbox *s, struct plan_container *c, struct err *e)
{
	int r;

	c->there = true;
	r = pack_rootfs(s, c, e);
	for (size_t i = 0; r == 0 && i < c->n_devices; i++)
		/* Another container may have brought it, which may have gone since. */
		if (c->devices[i]->address_kind == VM_ADDRESS_NONE)
			r = plug(s, c->devices[i], e);
	return r;
}

/* With its files. */
static int give_to_vm(struct sandbox *s, struct plan_container *c, struct err *e)
{
	int r;

	if (c->there)
		return 0;
	r = give_devices(s, c, e);
	return r < 0 ? r : share_publish(&s->plan->share, s->agent, e);
}

/*
 * Disks that are the container's only: also one that another container has brought. A guest that has kept one for that
 * long is asked for the others, and not waited for.
 */
static void unplug_disks(struct sandbox *s, struct plan_container *c)
{
	struct err e = { 0 };

	s->vm->unplug_ms = UNPLUG_MS;
	for (size_t i = 0; i < c->n_devices && !vm_wait_exit(s->vm, 0); i++) {
		if (c->devices[i]->address_kind == VM_ADDRESS_NONE || plan_disk_holders(s->plan, c->devices[i]) != 1 ||
		    s->plan->driver->remove_device(s->vm, c->devices[i]->id, &e) == 0)
			continue;
		log_warn("container %s: %s", c->id, e.text);
		s->vm->unplug_ms = 1;
	}
	s->vm->unplug_ms = 0;
}

static void take_from_vm(struct sandbox *s, struct plan_container *c)
{
	if (s->vm && !c->cold)
		unplug_disks(s, c);
	for (size_t i = 0; i < c->items.len; i++)
		share_remove(&s->plan->share, c->items.v[i]);
	strv_fini(&c->items);
	fd_close(&c->image_fd);
	c->there = false;
}

/* The spec's block devices as messages: arrays of the caller, strings of the plan. */
struct devices {
	Grpc__Device *messages, **list;
};

static void devices_fini(struct devices *d)
{
	free(d->messages);
	free(d->list);
}

static int devices_init(struct devices *out, const struct plan_container *c, struct err *e)
{
	out->messages = calloc(c->n_blocks + 1, sizeof *out->messages);
	out->list = calloc(c->n_blocks + 1, sizeof(Grpc__Device *));
	if (!out->messages || !out->list)
		return err_sys(e, ENOMEM, "cannot ask the guest for the container's devices");
	for (size_t i = 0; i < c->n_blocks; i++) {
		const struct vm_device *d = c->blocks[i].device;
		Grpc__Device *m = &out->messages[i];

		grpc__device__init(m);
		m->id = d->id;
		m->type = (char *)address_type(d);
		m->vm_path = (char *)d->address;
		m->container_path = c->blocks[i].container_path;
		out->list[i] = m;
	}
	return 0;
}

/* What CreateContainer is asked with: strings of the plan, arrays of its own. */
struct create_request {
	Grpc__CreateContainerRequest message;
	struct storages storages;
	struct devices devices;
};

static void create_request_fini(struct create_request *q)
{
	storages_fini(&q->storages);
	devices_fini(&q->devices);
}

static int create_request_init(struct create_request *q, struct plan_container *c, struct err *e)
{
	int r = storages_init(&q->storages, c->storages, c->n_storages, e);

	if (r == 0)
		r = devices_init(&q->devices, c, e);
	grpc__create_container_request__init(&q->message);
	q->message.container_id = c->id;
	q->message.exec_id = c->id;
	q->message.storages = q->storages.list;
	q->message.n_storages = q->storages.n;
	q->message.devices = q->devices.list;
	q->message.n_devices = c->n_blocks;
	q->message.oci = c->spec;
	q->message.sandbox_pidns = c->share_pidns;
	return r;
}

int sandbox_create_failed(struct sandbox *s, struct plan_container *c, int r, struct err *e)
{
	r = sandbox_exec_failure(explain(s, r, e), e);
	/* The plan's own goes with the sandbox. */
	if (c != s->plan->container)
		take_from_vm(s, c);
	return r;
}

int sandbox_create_container(struct sandbox *s, struct plan_container *c, struct err *e)
{
	_cleanup_(create_request_fini) struct create_request q = { 0 };
	int r = give_to_vm(s, c, e);

	if (r == 0)
		r = create_request_init(&q, c, e);
	if (r == 0)
		r = agent_create_container(s->agent, &q.message, e);
	return r < 0 ? sandbox_create_failed(s, c, r, e) : 0;
}

/* ---- the same from the loop ---- */

struct sandbox_creation {
	struct sandbox *sandbox;
	struct plan_container *container;
	size_t item; /* of the container's, that is copied now, or next */
	/* What the guest is to answer to; the other one is NULL. */
	struct agent_copy *copy;
	struct agent_call *call;
	agent_done_fn fn;
	void *userdata;
};

void sandbox_creation_cancel(struct sandbox_creation *k)
{
	if (!k)
		return;
	agent_copy_cancel(k->copy);
	agent_call_cancel(k->call);
	free(k);
}

static void finish_creation(struct sandbox_creation *k, int r, const struct err *e)
{
	agent_done_fn fn = k->fn;
	void *userdata = k->userdata;

	free(k);
	fn(r, e, userdata);
}

static void on_create_answer(int result, const struct err *e, void *userdata)
{
	finish_creation(userdata, result, e);
}

static void on_copied(int result, const struct err *answer, void *userdata);

/* Copy the next of its files, or, when there is none, ask for it. */
static int go_on(struct sandbox_creation *k, struct err *e)
{
	_cleanup_(create_request_fini) struct create_request q = { 0 };
	const struct share *share = &k->sandbox->plan->share;
	struct plan_container *c = k->container;
	int r;

	for (; share_copies(share) && k->item < c->items.len; k->item++)
		if (!share_is_there(share, c->items.v[k->item]))
			return share_copy(share, c->items.v[k->item], k->sandbox->agent, on_copied, k, &k->copy, e);
	r = create_request_init(&q, c, e);
	return r < 0 ? r
		     : agent_create_container_async(k->sandbox->agent, &q.message, on_create_answer, k, &k->call, e);
}

static void on_copied(int result, const struct err *answer, void *userdata)
{
	struct sandbox_creation *k = userdata;
	struct err e = *answer;

	k->copy = NULL;
	if (result == 0) {
		share_set_there(&k->sandbox->plan->share, k->container->items.v[k->item]);
		result = go_on(k, &e);
	}
	if (result < 0)
		finish_creation(k, result, &e);
}

int sandbox_create_container_async(struct sandbox *s, struct plan_container *c, agent_done_fn fn, void *userdata,
				   struct sandbox_creation **ret, struct err *e)
{
	struct sandbox_creation *k = calloc(1, sizeof *k);
	int r;

	if (!k)
		return sandbox_create_failed(s, c, err_sys(e, ENOMEM, "cannot create the container"), e);
	*k = (struct sandbox_creation){ .sandbox = s, .container = c, .fn = fn, .userdata = userdata };
	r = c->there ? 0 : give_devices(s, c, e);
	/* What is only bound on the host does not wait for the guest. Others may be planned as well, and wait. */
	for (size_t i = 0; r == 0 && !share_copies(&s->plan->share) && i < c->items.len; i++)
		r = share_publish_item(&s->plan->share, c->items.v[i], s->agent, e);
	if (r == 0)
		r = go_on(k, e);
	if (r < 0) {
		free(k);
		return sandbox_create_failed(s, c, r, e);
	}
	*ret = k;
	return 0;
}

int sandbox_container_started(struct sandbox *s, int r, struct err *e)
{
	if (r < 0)
		return sandbox_exec_failure(explain(s, r, e), e);
	s->times.container_started = clock_us();
	/* From here on signals are the container's. */
	if (s->interrupt_fd >= 0 && epoll_ctl(s->abort_fd, EPOLL_CTL_DEL, s->interrupt_fd, NULL) < 0)
		return err_sys(e, errno, "cannot pass signals on");
	s->interrupt_fd = -1;
	return 0;
}

int sandbox_start_container(struct sandbox *s, struct plan_container *c, struct err *e)
{
	return sandbox_container_started(s, agent_start_container(s->agent, c->id, e), e);
}

static bool may_be_asked(const struct sandbox *s)
{
	return s->agent && !s->silent && !readable(s->abort_fd);
}

void sandbox_remove_container(struct sandbox *s, struct plan_container *c)
{
	struct err e = { 0 };
	int r = may_be_asked(s) ? agent_remove_container(s->agent, c->id, 10, &e) : 0;

	sandbox_container_removed(s, c, r, &e);
}

int sandbox_remove_container_async(struct sandbox *s, struct plan_container *c, agent_done_fn fn, void *userdata,
				   struct agent_call **ret, struct err *e)
{
	return may_be_asked(s) ? agent_remove_container_async(s->agent, c->id, fn, userdata, ret, e)
			       : err_set(e, ERR_GUEST, ENOTCONN, "the guest is not asked any more");
}

void sandbox_container_removed(struct sandbox *s, struct plan_container *c, int r, const struct err *e)
{
	if (r < 0)
		log_warn("%s", e->text);
	s->silent |= r == -ETIMEDOUT;
	take_from_vm(s, c);
}

void sandbox_forget_container(struct sandbox *s, struct plan_container *c)
{
	take_from_vm(s, c);
}

/* Of either list that the agent tells; NULL: not asked for. */
static bool agent_tells(struct sandbox *s, const char *driver, const char *feature)
{
	Grpc__GuestDetailsResponse *details = NULL;
	const Grpc__AgentDetails *agent;
	bool has = false;

	if (agent_get_guest_details(s->agent, false, false, &details, NULL) < 0)
		return false;
	agent = details->agent_details;
	for (size_t i = 0; agent && driver && i < agent->n_storage_handlers; i++)
		has |= str_eq(agent->storage_handlers[i], driver);
	for (size_t i = 0; agent && feature && i < agent->n_extra_features; i++)
		has |= str_eq(agent->extra_features[i], feature);
	protobuf_c_message_free_unpacked(&details->base, NULL);
	return has;
}

bool sandbox_has_storage_driver(struct sandbox *s, const char *driver)
{
	return agent_tells(s, driver, NULL);
}

bool sandbox_has_feature(struct sandbox *s, const char *feature)
{
	return agent_tells(s, NULL, feature);
}

void sandbox_ask_kernel_up(struct sandbox *s)
{
	Grpc__GuestDetailsResponse *details = NULL;
	const Grpc__AgentDetails *agent;
	uint64_t up_us;

	if (agent_get_guest_details(s->agent, false, false, &details, NULL) < 0)
		return;
	agent = details->agent_details;
	for (size_t i = 0; agent && i < agent->n_extra_features; i++) {
		const char *up = str_after(agent->extra_features[i], "caisson.up-us=");
		uint64_t now = clock_us();

		if (up && str_to_u64(up, 10, &up_us) == 0 && up_us < now - s->times.begin)
			s->times.kernel_up = now - up_us;
	}
	protobuf_c_message_free_unpacked(&details->base, NULL);
}

int sandbox_end_fd(const struct sandbox *s)
{
	return s->abort_fd;
}

bool sandbox_has_ended(const struct sandbox *s)
{
	return vm_wait_exit(s->vm, 0) || share_server_ended(&s->plan->share);
}

int sandbox_explain_end(struct sandbox *s, int r, struct err *e)
{
	return explain(s, r == -ENOTCONN ? -ECANCELED : r, e);
}

static void sync_guest(struct sandbox *s)
{
	struct plan_container *c = s->plan->container;
	struct err e = { 0 };

	if ((!s->plan->sync_guest && !(c && c->sync_guest)) || !may_be_asked(s))
		return;
	if ((c && agent_remove_container(s->agent, c->id, 10, &e) < 0) || agent_destroy_sandbox(s->agent, &e) < 0)
		log_warn("the guest could not write everything back: %s", e.text);
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	nics_watch_free(s->nics);
	sync_guest(s);
	agent_free(s->agent);
	if (s->vm)
		s->plan->driver->free(s->vm);
	passt_stop(&s->passt);
	if (s->plan->container)
		fd_close(&s->plan->container->image_fd);
	fd_close(&s->abort_fd);
	share_stop(&s->plan->share);
	free(s);
}
