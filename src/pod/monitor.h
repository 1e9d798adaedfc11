/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window into a running pod: HTTP/1.1 on a Unix socket, as Kata's shim has it (shim-monitor.sock):
 *
 *   GET /metrics                         Prometheus' text format (docs/metrics.md)
 *   GET /agent-url                       where the guest's agent listens: "vsock://CID:PORT" or "hvsock://PATH:PORT"
 *   GET /sandbox/stats                   JSON: id, containers, what the host accounts for the sandbox
 *   GET /direct-volume/stats?path=PATH   JSON: how full a direct-assigned volume is (Kata's Rust tools say POST)
 *   POST /direct-volume/resize           {"VolumePath": PATH, "Size": BYTES}: its device has grown, and the file system
 *                                        shall
 *   GET, PUT /iptables, /ip6tables       rules of the guest's packet filter, as iptables-save writes them
 *
 * One request for each connection. Who connects is not trusted: MONITOR_CONNECTIONS_MAX at a time, MONITOR_TIME_MS for
 * each, bodies of at most a MiB, and answers are bounded by what codec/prometheus.h and ttrpc allow.
 */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "loop/loop.h"
#include "pod/host_cgroup.h"

#define MONITOR_SOCKET          "shim-monitor.sock" /* in the pod's state directory */
#define MONITOR_CONNECTIONS_MAX 8
#define MONITOR_TIME_MS         10000

struct pod;
struct pod_monitor;

/* What pod.h does not tell. */
struct pod_monitor_host {
	const struct host_cgroup *cgroup; /* NULL: none */
	pid_t file_server;                /* 0: none */
};

struct pod_monitor_params {
	struct loop *loop;
	const char *path; /* of the socket; must not exist yet */
	struct pod *pod;
	void (*host)(struct pod_monitor_host *ret, void *userdata); /* asked for each look; NULL: nothing is known */
	void *userdata;
};

/* params is copied; what it points to outlives the monitor. */
int pod_monitor_start(const struct pod_monitor_params *params, struct pod_monitor **ret, struct err *e);
/* Before the pod is freed. Ends all connections and removes the socket. NULL does nothing. */
void pod_monitor_stop(struct pod_monitor *m);
DEFINE_CLEANUP(struct pod_monitor *, pod_monitor_stop)

/*
 * Ask a monitor, from another process: the body of the answer to GET target. Waits at most timeout_ms in all. -ENOENT,
 * -ECONNREFUSED: nobody listens at path.
 */
int pod_monitor_get(const char *path, const char *target, int timeout_ms, struct buf *ret, struct err *e);
