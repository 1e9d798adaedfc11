/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's agent as the host calls it: one function for each method of Kata's agent protocol that the runtime needs.
 *
 * Synchronous calls wait for the answer without running the loop, at most AGENT_TIMEOUT_MS unless said otherwise, and
 * end early when the connection or the VM (abort_fd) does. Errors are those of ttrpc_call(), with the call in front:
 * "guest agent: StartContainer c1: …". Requests and their parts are borrowed during the call. exec_id "" means the
 * container's first process. Answers (ret_*) belong to the caller, are freed with
 * protobuf_c_message_free_unpacked(m, NULL), and are hostile data: checked for form, not for sense.
 *
 * Asynchronous calls answer from the loop, once, unless cancelled; they have no time limit unless said otherwise. The
 * handle is valid until the callback runs. When the agent is freed, they end with -ECANCELED.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "config/config.h"
#include "loop/loop.h"
#include "proto/agent.pb-c.h"
#include "proto/csi.pb-c.h"
#include "proto/names.pb-c.h"

#define AGENT_TIMEOUT_MS 60000
/* Where a pod's owner waits for no more than an answer, and everything else in it with him. */
#define AGENT_SHORT_MS 10000
/* Where its debug console listens, when it has one. */
#define AGENT_DEBUG_CONSOLE_PORT 1026

struct agent;
struct agent_call;

/*
 * fd, abort_fd: as for ttrpc_client_new(): fd is taken over, abort_fd is not. config: for create_container_timeout;
 * NULL: defaults.
 */
int agent_new(struct loop *loop, int fd, int abort_fd, const struct config_agent *config, struct agent **ret,
	      struct err *e);
/* For [runtime] create_container_timeout, which Kata's Go runtime reads instead. 0: AGENT_TIMEOUT_MS. */
void agent_set_create_container_timeout(struct agent *a, unsigned seconds);
void agent_free(struct agent *a);
DEFINE_CLEANUP(struct agent *, agent_free)

/* ---- health and details ---- */

/* Health.Check; an agent that does not serve gives -EAGAIN. */
int agent_check(struct agent *a, struct err *e);
/* Health.Version; a new string. */
int agent_version(struct agent *a, char **ret_version, struct err *e);
/* At most AGENT_SHORT_MS. */
int agent_get_guest_details(struct agent *a, bool mem_block_size, bool mem_hotplug_probe,
			    Grpc__GuestDetailsResponse **ret, struct err *e);
/* Text in Prometheus' format; a new string. */
int agent_get_metrics(struct agent *a, char **ret_text, struct err *e);
/* What log_type names, of the container; a new string. */
int agent_get_diagnostic_data(struct agent *a, const char *log_type, const char *id, char **ret_text, struct err *e);

/* ---- sandbox ---- */

int agent_create_sandbox(struct agent *a, const Grpc__CreateSandboxRequest *request, struct err *e);
int agent_destroy_sandbox(struct agent *a, struct err *e);
/* wait: until the CPUs and the memory are there. */
int agent_online_cpu_mem(struct agent *a, bool wait, uint32_t n_cpus, bool cpu_only, struct err *e);
int agent_mem_hotplug_by_probe(struct agent *a, const uint64_t *addresses, size_t n, struct err *e);
int agent_set_guest_date_time(struct agent *a, int64_t sec, int64_t usec, struct err *e);
int agent_reseed_random(struct agent *a, const void *data, size_t n, struct err *e);
int agent_set_policy(struct agent *a, const char *policy, struct err *e);
int agent_update_ephemeral_mounts(struct agent *a, Grpc__Storage *const *storages, size_t n, struct err *e);

/* ---- network ---- */

int agent_update_interface(struct agent *a, const Types__Interface *nic, struct err *e);
/* Replaces all routes but the kernel's. */
int agent_update_routes(struct agent *a, Types__Route *const *routes, size_t n, struct err *e);
int agent_list_interfaces(struct agent *a, Grpc__Interfaces **ret, struct err *e);
int agent_list_routes(struct agent *a, Grpc__Routes **ret, struct err *e);
int agent_add_arp_neighbors(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n, struct err *e);

/* ---- containers and processes ---- */

int agent_create_container(struct agent *a, const Grpc__CreateContainerRequest *request, struct err *e);
int agent_start_container(struct agent *a, const char *id, struct err *e);
/* timeout_s: how long the guest waits for the processes to end; 0: it kills at once. */
int agent_remove_container(struct agent *a, const char *id, uint32_t timeout_s, struct err *e);
int agent_exec(struct agent *a, const Grpc__ExecProcessRequest *request, struct err *e);
int agent_signal(struct agent *a, const char *id, const char *exec_id, int signo, struct err *e);
int agent_tty_resize(struct agent *a, const char *id, const char *exec_id, uint32_t rows, uint32_t columns,
		     struct err *e);
/* ret_written: how much the guest took, at most n. */
int agent_write_stdin(struct agent *a, const char *id, const char *exec_id, const void *data, size_t n,
		      size_t *ret_written, struct err *e);
int agent_close_stdin(struct agent *a, const char *id, const char *exec_id, struct err *e);

/* ---- asynchronous (agent_async.c) ---- */

/* ret: may be NULL. Each returns 0, or a negative errno without ever calling fn. */

/* status: exit code, or 128 + signal. */
typedef void (*agent_wait_fn)(int result, int status, const struct err *e, void *userdata);
int agent_wait_async(struct agent *a, const char *id, const char *exec_id, agent_wait_fn fn, void *userdata,
		     struct agent_call **ret, struct err *e);

enum agent_stream { AGENT_STDOUT = 1, AGENT_STDERR = 2 };

/* data: valid during the callback; n 0: end of the stream. The guest may send more than max, up to 4 MiB. */
typedef void (*agent_read_fn)(int result, const void *data, size_t n, const struct err *e, void *userdata);
int agent_read_async(struct agent *a, const char *id, const char *exec_id, enum agent_stream stream, uint32_t max,
		     agent_read_fn fn, void *userdata, struct agent_call **ret, struct err *e);

/* written: how much the guest took: 1 to n. */
typedef void (*agent_write_fn)(int result, size_t written, const struct err *e, void *userdata);
int agent_write_stdin_async(struct agent *a, const char *id, const char *exec_id, const void *data, size_t n,
			    agent_write_fn fn, void *userdata, struct agent_call **ret, struct err *e);

/* fn NULL: a failure is logged at level debug. */
typedef void (*agent_done_fn)(int result, const struct err *e, void *userdata);
/*
 * Containers and guests can hold these up. At most AGENT_TIMEOUT_MS, the first one create_container_timeout. What is
 * asked for can still happen after that.
 */
int agent_create_container_async(struct agent *a, const Grpc__CreateContainerRequest *request, agent_done_fn fn,
				 void *userdata, struct agent_call **ret, struct err *e);
int agent_start_container_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata,
				struct agent_call **ret, struct err *e);
/* Its processes are killed at once. */
int agent_remove_container_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata,
				 struct agent_call **ret, struct err *e);
int agent_exec_async(struct agent *a, const Grpc__ExecProcessRequest *request, agent_done_fn fn, void *userdata,
		     struct agent_call **ret, struct err *e);
int agent_signal_async(struct agent *a, const char *id, const char *exec_id, int signo, agent_done_fn fn,
		       void *userdata, struct agent_call **ret, struct err *e);
int agent_update_container_async(struct agent *a, const char *id, const Grpc__LinuxResources *resources,
				 agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e);
int agent_pause_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata, struct agent_call **ret,
		      struct err *e);
int agent_resume_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata, struct agent_call **ret,
		       struct err *e);
int agent_close_stdin_async(struct agent *a, const char *id, const char *exec_id, agent_done_fn fn, void *userdata,
			    struct agent_call **ret, struct err *e);
int agent_tty_resize_async(struct agent *a, const char *id, const char *exec_id, uint32_t rows, uint32_t columns,
			   agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e);

/* The next container that ran out of memory. To be asked again after each answer. */
typedef void (*agent_oom_fn)(int result, const char *container_id, const struct err *e, void *userdata);
int agent_get_oom_event_async(struct agent *a, agent_oom_fn fn, void *userdata, struct agent_call **ret, struct err *e);

/* For who must not wait for a guest that is silent: -ETIMEDOUT after timeout_ms. The answer is valid in the callback.
 */
typedef void (*agent_text_fn)(int result, const char *text, const struct err *e, void *userdata);
int agent_get_metrics_async(struct agent *a, int timeout_ms, agent_text_fn fn, void *userdata, struct agent_call **ret,
			    struct err *e);
typedef void (*agent_stats_fn)(int result, const Grpc__StatsContainerResponse *stats, const struct err *e,
			       void *userdata);
int agent_stats_async(struct agent *a, const char *id, int timeout_ms, agent_stats_fn fn, void *userdata,
		      struct agent_call **ret, struct err *e);

typedef void (*agent_volume_fn)(int result, const Grpc__VolumeStatsResponse *stats, const struct err *e,
				void *userdata);
int agent_get_volume_stats_async(struct agent *a, const char *guest_path, int timeout_ms, agent_volume_fn fn,
				 void *userdata, struct agent_call **ret, struct err *e);

/* As those that wait, at most AGENT_TIMEOUT_MS. */
int agent_online_cpu_mem_async(struct agent *a, bool wait, uint32_t n_cpus, bool cpu_only, agent_done_fn fn,
			       void *userdata, struct agent_call **ret, struct err *e);
int agent_update_interface_async(struct agent *a, const Types__Interface *nic, agent_done_fn fn, void *userdata,
				 struct agent_call **ret, struct err *e);
int agent_update_routes_async(struct agent *a, Types__Route *const *routes, size_t n, agent_done_fn fn, void *userdata,
			      struct agent_call **ret, struct err *e);
int agent_add_arp_neighbors_async(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n, agent_done_fn fn,
				  void *userdata, struct agent_call **ret, struct err *e);
int agent_copy_file_async(struct agent *a, const Grpc__CopyFileRequest *request, agent_done_fn fn, void *userdata,
			  struct agent_call **ret, struct err *e);

int agent_resize_volume_async(struct agent *a, const char *guest_path, uint64_t size, agent_done_fn fn, void *userdata,
			      struct agent_call **ret, struct err *e);

/* The guest's packet filter, as iptables-save writes it and iptables-restore takes it; -ENOSYS: it has none of these.
 */
typedef void (*agent_rules_fn)(int result, const void *rules, size_t n, const struct err *e, void *userdata);
int agent_get_iptables_async(struct agent *a, bool ipv6, int timeout_ms, agent_rules_fn fn, void *userdata,
			     struct agent_call **ret, struct err *e);
int agent_set_iptables_async(struct agent *a, bool ipv6, const void *rules, size_t n, int timeout_ms, agent_done_fn fn,
			     void *userdata, struct agent_call **ret, struct err *e);

/*
 * The next query of a container for a name server on that address of the guest's loopback, where the agent listens from
 * now on; and its answer, n = 0: there is none. Agents of others have neither (-ENOSYS, -EINVAL).
 */
typedef void (*agent_name_fn)(int result, const Caisson__NameQuery *query, const struct err *e, void *userdata);
int agent_next_name_async(struct agent *a, const char *address, agent_name_fn fn, void *userdata,
			  struct agent_call **ret, struct err *e);
int agent_answer_name_async(struct agent *a, uint64_t id, const void *data, size_t n, agent_done_fn fn, void *userdata,
			    struct agent_call **ret, struct err *e);

/* Forget the call: its callback will not run. NULL does nothing. */
void agent_call_cancel(struct agent_call *call);

/* ---- files (agent_copy.c) ---- */

/*
 * Copy a file, a symbolic link inside a tree, or a directory with all it holds to guest_path, which the agent wants
 * under /run/kata-containers/shared/containers/. A link at host_path itself is followed. Owners and modes are kept;
 * sockets, pipes and devices inside a tree are left out with a warning. At most AGENT_COPY_ENTRIES entries,
 * AGENT_COPY_DEPTH levels and AGENT_COPY_BYTES in all: -EFBIG.
 */
#define AGENT_COPY_ENTRIES 20000u
#define AGENT_COPY_DEPTH   32u
#define AGENT_COPY_BYTES   ((uint64_t)1 << 30)
int agent_copy_path(struct agent *a, const char *host_path, const char *guest_path, struct err *e);
/* From the loop, a request at a time. The handle is valid until fn runs. */
struct agent_copy;
int agent_copy_path_async(struct agent *a, const char *host_path, const char *guest_path, agent_done_fn fn,
			  void *userdata, struct agent_copy **ret, struct err *e);
/* In one request: -EFBIG for what is larger than that. */
int agent_copy_data_async(struct agent *a, const void *data, size_t n, const char *guest_path, mode_t mode,
			  agent_done_fn fn, void *userdata, struct agent_copy **ret, struct err *e);
/* fn will not run. NULL does nothing. */
void agent_copy_cancel(struct agent_copy *copy);
/* A file with this content, owned by root. mode: permission bits. */
int agent_copy_data(struct agent *a, const void *data, size_t n, const char *guest_path, mode_t mode, struct err *e);
/* One request as it is. */
int agent_copy_file(struct agent *a, const Grpc__CopyFileRequest *request, struct err *e);
