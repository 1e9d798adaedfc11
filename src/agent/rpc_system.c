// SPDX-License-Identifier: Apache-2.0
/* The guest as a machine: processors, memory, clock, entropy, swap, and what the kernel killed for lack of memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/device.h"
#include "agent/rpc.h"
#include "agent/storage.h"
#include "base/fd.h"
#include "base/log.h"

#define CPU_DIR    "/sys/devices/system/cpu"
#define MEMORY_DIR "/sys/devices/system/memory"
#define PROBES_MAX 4096

/* ---- processors and memory ---- */

/* Bring what is offline in dir (cpuN, memoryN) online, at most max of them. */
static void online_all(const char *dir, const char *prefix, uint32_t max)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *de;

	while (d && max > 0 && (de = readdir(d))) {
		_cleanup_free_ char *text = NULL;
		const char *number = str_after(de->d_name, prefix);
		char path[400];

		if (!number || *number < '0' || *number > '9')
			continue;
		snprintf(path, sizeof path, "%s/%s/online", dir, de->d_name);
		/* cpu0 has no such file. */
		if (file_read(path, 16, &text, NULL) < 0 || text[0] != '0')
			continue;
		if (file_write(path, "1") < 0)
			log_warn("cannot bring %s online", de->d_name);
		else
			max--;
	}
}

/* Processors that are online: the kernel's list is like "0-3,5". */
static uint32_t cpus_online(void)
{
	_cleanup_free_ char *text = NULL;
	uint32_t n = 0;
	char *at;

	if (file_read(CPU_DIR "/online", 65536, &text, NULL) < 0)
		return 0;
	at = text;
	do {
		unsigned long first = strtoul(at, &at, 10), last = *at == '-' ? strtoul(at + 1, &at, 10) : first;

		n += (uint32_t)(last - first + 1);
	} while (*at++ == ',');
	return n;
}

/* nb_cpus is how many there shall be in all, as every runtime and Kata's agent read it. 0: leave them. */
static bool try_online(struct agent *a, struct ttrpc_request *req, bool last)
{
	const Grpc__OnlineCPUMemRequest *m = (const Grpc__OnlineCPUMemRequest *)ttrpc_request_message(req);
	uint32_t n = m->nb_cpus ? cpus_online() : 0;

	if (m->nb_cpus > n) {
		online_all(CPU_DIR, "cpu", m->nb_cpus - n);
		n = cpus_online();
	}
	/* Kata's agent waits in any case; hosts rely on it and leave `wait` false. It decides what a failure is. */
	if (m->nb_cpus > n && !last)
		return false;
	if (m->nb_cpus > n && m->wait) {
		ttrpc_reply_error(req, TTRPC_DEADLINE_EXCEEDED, "only %u of %u processors are online after %u ms", n,
				  m->nb_cpus, a->config.hotplug_timeout_ms);
		return true;
	}
	if (m->nb_cpus > n)
		log_warn("only %u of %u processors are online after %u ms", n, m->nb_cpus,
			 a->config.hotplug_timeout_ms);
	if (!m->cpu_only)
		online_all(MEMORY_DIR, "memory", UINT32_MAX);
	/* Containers need nothing: in cgroup v2 a cpuset without a list of its own follows its parent. */
	rpc_done(req);
	return true;
}

RPC(rpc_online_cpu_mem)
{
	(void)message;
	agent_wait_device(userdata, req, try_online);
}

RPC(rpc_get_guest_details)
{
	static char *device_handlers[] = { (char *)"blk", (char *)"mmioblk", (char *)"scsi", (char *)"nvdimm",
					   (char *)"vfio-pci-gk" };
	const Grpc__GuestDetailsRequest *m = (const Grpc__GuestDetailsRequest *)message;
	Grpc__GuestDetailsResponse resp = GRPC__GUEST_DETAILS_RESPONSE__INIT;
	Grpc__AgentDetails details = GRPC__AGENT_DETAILS__INIT;
	_cleanup_free_ char *text = NULL;
	const struct agent *a = userdata;
	/* Tells a host of ours when the kernel was done: how long this process has run. */
	char up[48], *features[] = { up, (char *)"caisson.join" };

	snprintf(up, sizeof up, "caisson.up-us=%llu", (unsigned long long)(clock_us() - a->config.started_us));
	/* Hexadecimal without 0x. */
	if (m->mem_block_size && file_read(MEMORY_DIR "/block_size_bytes", 64, &text, NULL) == 0)
		resp.mem_block_size_bytes = strtoull(text, NULL, 16);
	if (m->mem_hotplug_probe)
		resp.support_mem_hotplug_probe = access(MEMORY_DIR "/probe", F_OK) == 0;
	details.version = (char *)CAISSON_VERSION;
	details.init_daemon = a->is_init;
	details.supports_seccomp = access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0;
	details.device_handlers = device_handlers;
	details.n_device_handlers = sizeof device_handlers / sizeof device_handlers[0];
	details.storage_handlers = (char **)storage_driver_names;
	while (storage_driver_names[details.n_storage_handlers])
		details.n_storage_handlers++;
	details.extra_features = features;
	details.n_extra_features = sizeof features / sizeof features[0];
	resp.agent_details = &details;
	ttrpc_reply(req, &resp.base);
}

RPC(rpc_mem_hotplug_by_probe)
{
	const Grpc__MemHotplugByProbeRequest *m = (const Grpc__MemHotplugByProbeRequest *)message;
	struct err e = { 0 };
	int r = 0;

	(void)userdata;
	if (m->n_memhotplugprobeaddr > PROBES_MAX)
		r = err_set(&e, ERR_LIMIT, E2BIG, "more than %d memory blocks", PROBES_MAX);
	for (size_t i = 0; i < m->n_memhotplugprobeaddr && r == 0; i++) {
		char text[32];

		snprintf(text, sizeof text, "0x%llx", (unsigned long long)m->memhotplugprobeaddr[i]);
		r = file_write(MEMORY_DIR "/probe", text);
		if (r < 0)
			err_sys(&e, -r, "cannot probe for memory at %s", text);
	}
	rpc_result(req, r, &e);
}

/* ---- clock and entropy ---- */

RPC(rpc_set_guest_date_time)
{
	const Grpc__SetGuestDateTimeRequest *m = (const Grpc__SetGuestDateTimeRequest *)message;
	struct timeval tv = { .tv_sec = m->sec, .tv_usec = m->usec };
	struct err e = { 0 };
	int r = 0;

	(void)userdata;
	if (m->sec < 0 || m->usec < 0 || m->usec >= 1000000)
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "%lld s %lld us is not a time", (long long)m->sec,
			    (long long)m->usec);
	else if (settimeofday(&tv, NULL) < 0)
		r = err_sys(&e, errno, "cannot set the clock");
	rpc_result(req, r, &e);
}

RPC(rpc_reseed_random_dev)
{
	const Grpc__ReseedRandomDevRequest *m = (const Grpc__ReseedRandomDevRequest *)message;
	_cleanup_close_ int fd = open("/dev/random", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct err e = { 0 };
	int r = 0;

	(void)userdata;
	if (fd < 0)
		r = err_sys(&e, errno, "cannot open /dev/random");
	if (r == 0 && (r = fd_write_full(fd, m->data.data, m->data.len)) < 0)
		err_sys(&e, -r, "cannot add to the kernel's entropy");
	if (r == 0 && ioctl(fd, RNDRESEEDCRNG) < 0)
		r = err_sys(&e, errno, "cannot reseed the kernel's random numbers");
	rpc_result(req, r, &e);
}

/* ---- swap ---- */

static void add_swap(struct ttrpc_request *req, const char *kind, const char *source, bool last, bool *answered)
{
	struct device_node node;
	struct err e = { 0 };
	int r = device_resolve("", kind, source, &node, &e);

	*answered = r != -EAGAIN || last;
	if (!*answered)
		return;
	if (r == 0 && !node.block)
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "%s is not a block device", node.path);
	if (r == 0 && swapon(node.path, 0) < 0)
		r = err_sys(&e, errno, "cannot swap on %s", node.path);
	if (r == -EAGAIN)
		e.code = ETIMEDOUT;
	rpc_result(req, r, &e);
}

static bool try_add_swap(struct agent *a, struct ttrpc_request *req, bool last)
{
	const Grpc__AddSwapRequest *m = (const Grpc__AddSwapRequest *)ttrpc_request_message(req);
	_cleanup_buf_ struct buf path = { 0 };
	bool answered;

	(void)a;
	for (size_t i = 0; i < m->n_pcipath && i < 256; i++)
		buf_printf(&path, "%s%02x", i ? "/" : "", m->pcipath[i]);
	add_swap(req, "blk", path.data ? path.data : "", last, &answered);
	return answered;
}

RPC(rpc_add_swap)
{
	(void)message;
	agent_wait_device(userdata, req, try_add_swap);
}

static bool try_add_swap_path(struct agent *a, struct ttrpc_request *req, bool last)
{
	const Grpc__AddSwapPathRequest *m = (const Grpc__AddSwapPathRequest *)ttrpc_request_message(req);
	bool answered;

	(void)a;
	add_swap(req, "mmioblk", m->path, last, &answered);
	return answered;
}

RPC(rpc_add_swap_path)
{
	(void)message;
	agent_wait_device(userdata, req, try_add_swap_path);
}

/* ---- out of memory ---- */

struct oom_waiter {
	struct list node;
	struct ttrpc_request *req;
};

static void reply_oom(struct ttrpc_request *req, const char *id)
{
	Grpc__OOMEvent ev = GRPC__OOMEVENT__INIT;

	ev.container_id = (char *)id;
	ttrpc_reply(req, &ev.base);
}

static struct ttrpc_request *take_waiter(struct oom_waiter *w)
{
	struct ttrpc_request *req = w->req;

	list_remove(&w->node);
	free(w);
	return req;
}

static void on_oom_caller_gone(struct ttrpc_request *req, void *userdata)
{
	take_waiter(userdata);
	ttrpc_reply_error(req, TTRPC_CANCELLED, "the caller has gone");
}

RPC(rpc_get_oom_event)
{
	struct agent *a = userdata;
	struct oom_waiter *w;

	(void)message;
	if (a->n_oom_events > 0) {
		_cleanup_free_ char *id = a->oom_events[0];

		a->n_oom_events--;
		memmove(a->oom_events, a->oom_events + 1, a->n_oom_events * sizeof a->oom_events[0]);
		reply_oom(req, id);
		return;
	}
	w = calloc(1, sizeof *w);
	if (!w) {
		ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	w->req = req;
	list_append(&a->oom_waiters, &w->node);
	ttrpc_request_on_close(req, on_oom_caller_gone, w);
}

void oom_event_add(struct agent *a, const char *container_id)
{
	struct oom_waiter *w = list_first(&a->oom_waiters, struct oom_waiter, node);
	char *copy;

	log_warn("a process of container %s was killed for lack of memory", container_id);
	if (w) {
		reply_oom(take_waiter(w), container_id);
		return;
	}
	/* Nobody has asked for long: the newest say as much as the oldest would. */
	if (a->n_oom_events == AGENT_OOM_EVENTS_MAX)
		return;
	copy = strdup(container_id);
	if (copy)
		a->oom_events[a->n_oom_events++] = copy;
}

void oom_waiters_end(struct agent *a)
{
	struct oom_waiter *w;

	while ((w = list_first(&a->oom_waiters, struct oom_waiter, node)))
		ttrpc_reply_error(take_waiter(w), TTRPC_UNAVAILABLE, "the agent is ending");
	while (a->n_oom_events > 0)
		free(a->oom_events[--a->n_oom_events]);
}
