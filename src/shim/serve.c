/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/serve.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strv.h"
#include "pod/settings.h"
#include "pod/state.h"
#include "shim/address.h"
#include "task/group.h"
#include "task/publisher.h"
#include "task/service.h"

/* How long the last events may take to reach containerd. */
#define DRAIN_MS 5000

struct shim {
	const struct shim_serve *params;
	struct loop *loop;
	struct loop_source *signals[2];
	struct publisher *publisher;
	struct task_service *service;
	struct config *config; /* of the pod */
	char state_root[PATH_MAX];
};

/* What the container's annotations and the options of the request, else those of `start`, make of the configuration. */
static int load_config(struct shim *shim, const Containerd__Task__V2__CreateTaskRequest *request,
		       const struct task_group *group, const struct hypervisor_driver **ret_driver, struct err *e)
{
	_cleanup_task_options_ struct task_options given = { 0 };
	const struct task_options *o = &given;
	struct settings_request q;
	int r = task_options_parse(request->options, &given, e);

	if (r < 0)
		return r;
	if (!given.config_path && !given.config_body)
		o = shim->params->options;
	q = (struct settings_request){ .config = o->config_path,
				       .body = o->config_body,
				       .annotations = &group->config };
	config_free(take_ptr(shim->config));
	return settings_load(&q, &shim->config, ret_driver, e);
}

static int make_pod(const Containerd__Task__V2__CreateTaskRequest *request,
		    void (*event)(const struct pod_event *event, void *userdata), void *event_userdata,
		    struct pod **ret, struct err *e, void *userdata)
{
	_cleanup_task_group_ struct task_group group = { 0 };
	struct shim *shim = userdata;
	struct pod_params p = { .loop = shim->loop,
				.id = request->id,
				.namespace = shim->params->namespace,
				.state_root = state_default_root(shim->state_root, sizeof shim->state_root),
				.interrupt_fd = -1,
				.event = event,
				.userdata = event_userdata };
	int r = task_group_read(request->bundle, request->id, &group, e);

	if (r == 0)
		r = load_config(shim, request, &group, &p.driver, e);
	if (r < 0)
		return r;
	p.config = shim->config;
	return pod_new(&p, ret, e);
}

static void on_shutdown(void *userdata)
{
	struct shim *shim = userdata;

	loop_quit(shim->loop, 0);
}

static void on_signal(struct loop_source *s, int signo, void *userdata)
{
	log_info("ending: signal %d", signo);
	on_shutdown(userdata);
}

static int start(struct shim *shim, struct err *e)
{
	const struct shim_serve *q = shim->params;
	const int signals[] = { SIGTERM, SIGINT };
	struct publisher_params events = { .namespace = q->namespace,
					   .ttrpc_address = q->ttrpc_address,
					   .publish_binary = q->publish_binary,
					   .address = q->containerd_address };
	struct task_service_params service = {
		.listen_fd = q->listen_fd, .make_pod = make_pod, .shutdown = on_shutdown, .userdata = shim
	};
	int r = loop_new(&shim->loop, e);

	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		r = loop_add_signal(shim->loop, signals[i], on_signal, shim, &shim->signals[i]);
		if (r < 0)
			return err_sys(e, -r, "cannot receive signals");
	}
	events.loop = service.loop = shim->loop;
	service.sandboxes = true;
	r = publisher_new(&events, &shim->publisher, e);
	if (r < 0)
		return r;
	service.events = shim->publisher;
	return task_service_new(&service, &shim->service, e);
}

static void shim_fini(struct shim *shim)
{
	const char *path = shim_address_path(shim->params->address);

	if (path)
		unlink(path);
	task_service_free(shim->service);
	config_free(shim->config);
	if (shim->loop)
		publisher_drain(shim->publisher, DRAIN_MS);
	publisher_free(shim->publisher);
	for (int i = 0; i < 2; i++)
		loop_source_free(shim->signals[i]);
	loop_free(shim->loop);
}

int shim_serve(const struct shim_serve *params, struct err *e)
{
	struct shim shim = { .params = params };
	int r = start(&shim, e);

	if (r == 0)
		r = loop_run(shim.loop);
	shim_fini(&shim);
	return r;
}
