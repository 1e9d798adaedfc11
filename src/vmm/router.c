/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/router.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/handlers.h"

enum phase { ANY_PHASE, BEFORE_START, AFTER_START };
enum id_rule {
	NO_ID,
	ID,       /* the second segment, the same as the first member of the body if there is one */
	ID_NAMED, /* the same, but the message on a difference names both */
};

struct route {
	const char *method, *first;
	const char *second; /* NULL: whatever follows is passed over */
	handler_fn handler;
	const struct body_table *table; /* NULL: no body */
	enum phase phase;
	bool boot; /* what it sets, a snapshot brings by itself */
	enum id_rule id;
	enum metric count, fails;
	bool (*check)(struct instance *i, void *body, struct answer *a);
};

#define PUT_METRICS(x)   .count = METRIC_put_api_requests_##x##_count, .fails = METRIC_put_api_requests_##x##_fails
#define PATCH_METRICS(x) .count = METRIC_patch_api_requests_##x##_count, .fails = METRIC_patch_api_requests_##x##_fails
#define GET_METRICS(x)   .count = METRIC_get_api_requests_##x##_count

static const struct route routes[] = {
	{ "GET", "", NULL, get_instance, GET_METRICS(instance_info) },
	{ "GET", "version", NULL, get_version, GET_METRICS(vmm_version) },
	{ "GET", "vm", "config", get_config },
	{ "GET", "machine-config", NULL, get_machine, GET_METRICS(machine_cfg) },
	{ "GET", "balloon", "", get_balloon },
	{ "GET", "balloon", "statistics", get_balloon_stats, .phase = AFTER_START },
	{ "GET", "hotplug", "memory", get_memory_hotplug, .phase = AFTER_START, GET_METRICS(hotplug_memory) },

	{ "PUT", "machine-config", NULL, put_machine, &machine_table, BEFORE_START, true, PUT_METRICS(machine_cfg),
	  .check = check_machine },
	{ "PUT", "boot-source", NULL, put_boot_source, &boot_source_table, BEFORE_START, true,
	  PUT_METRICS(boot_source) },
	{ "PUT", "drives", NULL, put_drive, &drive_table, ANY_PHASE, true, ID, PUT_METRICS(drive) },
	{ "PUT", "pmem", NULL, put_pmem, &pmem_table, ANY_PHASE, true, ID, PUT_METRICS(pmem) },
	{ "PUT", "network-interfaces", NULL, put_network_interface, &network_interface_table, ANY_PHASE, true, ID_NAMED,
	  PUT_METRICS(network) },
	{ "PUT", "vsock", NULL, put_vsock, &vsock_table, BEFORE_START, true, PUT_METRICS(vsock), .check = check_vsock },
	{ "PUT", "entropy", NULL, put_entropy, &entropy_table, BEFORE_START, true },
	{ "PUT", "serial", NULL, put_serial, &serial_table, BEFORE_START, PUT_METRICS(serial) },
	{ "PUT", "balloon", NULL, put_balloon, &balloon_table, BEFORE_START, true },
	{ "PUT", "hotplug", "memory", put_memory_hotplug, &memory_hotplug_table, BEFORE_START, true,
	  PUT_METRICS(hotplug_memory) },
	{ "PUT", "logger", NULL, put_logger, &logger_table, BEFORE_START, PUT_METRICS(logger) },
	{ "PUT", "metrics", NULL, put_metrics, &metrics_table, BEFORE_START, PUT_METRICS(metrics) },
	{ "PUT", "actions", NULL, put_action, &action_table, PUT_METRICS(actions) },
	{ "PUT", "snapshot", "create", create_snapshot, &snapshot_create_table, AFTER_START },
	{ "PUT", "snapshot", "load", load_snapshot, &snapshot_load_table, BEFORE_START, .check = check_snapshot_load },

	{ "PATCH", "vm", NULL, patch_vm, &vm_update_table, AFTER_START },
	{ "PATCH", "machine-config", NULL, put_machine, &machine_update_table, BEFORE_START, true,
	  PATCH_METRICS(machine_cfg), .check = check_machine_update },
	{ "PATCH", "drives", NULL, patch_drive, &drive_update_table, AFTER_START, .id = ID, PATCH_METRICS(drive) },
	{ "PATCH", "pmem", NULL, patch_pmem, &pmem_update_table, AFTER_START, .id = ID, PATCH_METRICS(pmem) },
	{ "PATCH", "network-interfaces", NULL, patch_network_interface, &network_interface_update_table, AFTER_START,
	  .id = ID_NAMED, PATCH_METRICS(network) },
	{ "PATCH", "balloon", "statistics", patch_balloon_stats, &balloon_stats_update_table, AFTER_START },
	{ "PATCH", "balloon", NULL, patch_balloon, &balloon_update_table, AFTER_START },
	{ "PATCH", "hotplug", "memory", patch_memory_hotplug, &memory_hotplug_update_table, AFTER_START,
	  PATCH_METRICS(hotplug_memory) },

	{ "DELETE", "drives", NULL, delete_drive, .phase = AFTER_START, .id = ID },
	{ "DELETE", "pmem", NULL, delete_pmem, .phase = AFTER_START, .id = ID },
	{ "DELETE", "network-interfaces", NULL, delete_network_interface, .phase = AFTER_START, .id = ID },
};

/* Parts of the API that other servers have and we have not. */
static const struct missing {
	const char *method, *first, *second, *what;
	enum metric count, fails;
} missing[] = {
	{ "PUT", "cpu-config", NULL, "A custom CPU template", PUT_METRICS(cpu_cfg) },
	{ "PUT", "mmds", NULL, "The metadata service", PUT_METRICS(mmds) },
	{ "PATCH", "mmds", NULL, "The metadata service", PATCH_METRICS(mmds) },
	{ "GET", "mmds", NULL, "The metadata service", GET_METRICS(mmds) },
	{ "PATCH", "balloon", "hinting", "Free page hinting" },
	{ "GET", "balloon", "hinting", "Free page hinting" },
};

/* ---- paths ---- */

#define SEGMENT_MAX 256

struct path {
	char first[SEGMENT_MAX], second[SEGMENT_MAX];
	bool has_second;
};

/* The next segment of *rest, cut to fit; false: there is none. A '/' at the very end begins no segment. */
static bool next_segment(const char **rest, char *out)
{
	size_t len = strcspn(*rest, "/");

	if (!**rest)
		return false;
	memcpy(out, *rest, len < SEGMENT_MAX ? len : SEGMENT_MAX - 1);
	out[len < SEGMENT_MAX ? len : SEGMENT_MAX - 1] = 0;
	*rest += len + ((*rest)[len] == '/');
	return true;
}

static void split_path(const char *target, struct path *p)
{
	const char *rest = target, *host = str_after(target, "http://");

	*p = (struct path){ 0 };
	if (host)
		rest = host + strcspn(host, "/");
	rest += strspn(rest, "/");
	if (next_segment(&rest, p->first))
		p->has_second = next_segment(&rest, p->second);
}

/* Letters, digits and '_'. */
static bool id_is_valid(const struct path *p, struct answer *a)
{
	if (!p->has_second || !*p->second) {
		answer_fault(a, "The ID cannot be empty.");
		return false;
	}
	for (const char *c = p->second; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_') {
			answer_fault(a, "API Resource IDs can only contain alphanumeric characters and underscores.");
			return false;
		}
	return true;
}

static bool second_fits(const char *second, const struct path *p)
{
	return !second || (*second ? p->has_second && !strcmp(second, p->second) : !p->has_second);
}

static const struct route *find_route(const char *method, const struct path *p)
{
	for (size_t n = 0; n < sizeof routes / sizeof routes[0]; n++)
		if (!strcmp(routes[n].method, method) && !strcmp(routes[n].first, p->first) &&
		    second_fits(routes[n].second, p))
			return &routes[n];
	return NULL;
}

static const struct missing *find_missing(const char *method, const struct path *p)
{
	for (size_t n = 0; n < sizeof missing / sizeof missing[0]; n++)
		if (!strcmp(missing[n].method, method) && !strcmp(missing[n].first, p->first) &&
		    second_fits(missing[n].second, p))
			return &missing[n];
	return NULL;
}

/* ---- faults ---- */

void not_before_start(struct answer *a)
{
	answer_fault(a, "The requested operation is not supported before starting the microVM.");
}

void not_after_start(struct answer *a)
{
	answer_fault(a, "The requested operation is not supported after starting the microVM.");
}

void deprecated(struct instance *i, struct answer *a, const char *text)
{
	a->deprecated = true;
	metrics_count(&i->metrics, METRIC_deprecated_api_deprecated_http_api_calls);
	say(&i->logger, LOGGER_WARN, "%s", text);
}

/* A body where none belongs, or none where one does. */
static bool body_fits(const struct request *rq, bool wanted, struct answer *a)
{
	if (wanted == (rq->body_len > 0))
		return true;
	if (!strcmp(rq->method, "GET"))
		answer_fault(a, "GET request cannot have a body.");
	else if (!strcmp(rq->method, "DELETE"))
		answer_fault(a, "Empty Delete request.");
	else
		answer_fault(a, "Empty %s request.", rq->method);
	return false;
}

static void no_route(const struct request *rq, const struct path *p, struct answer *a)
{
	bool put = !strcmp(rq->method, "PUT");

	if (!body_fits(rq, put || !strcmp(rq->method, "PATCH"), a))
		return;
	if (!strcmp(rq->method, "GET") && !strcmp(p->first, "balloon"))
		answer_fault(a, "Unrecognized GET request path `%s`.", p->second);
	else if (put && !strcmp(p->first, "snapshot") && p->has_second)
		answer_fault(a, "Invalid request method and/or path: PUT /snapshot/%s.", p->second);
	else if (put && !strcmp(p->first, "snapshot"))
		answer_fault(a, "Missing snapshot operation type.");
	else
		answer_fault(a, "Invalid request method and/or path: %s %s.", rq->method, p->first);
}

/* ---- the way of a request ---- */

/* The body, decoded into new memory; NULL: answered. */
static void *decode(const struct route *route, const struct request *rq, struct answer *a)
{
	void *body = malloc(route->table->size);
	struct err e = { 0 };

	if (!body) {
		answer_data_done(a, -1);
		return NULL;
	}
	if (body_decode(route->table, rq->body, rq->body_len, body, &e) < 0) {
		answer_fault(a, "An error occurred when deserializing the json body of a request: %s.", e.text);
		free(body);
		return NULL;
	}
	return body;
}

/* Does the body speak of the device that the path names? All bodies with an id begin with it. */
static bool ids_agree(const struct route *route, const struct path *p, void *body, struct answer *a)
{
	const char *in_body = *(char **)body;

	if (!strcmp(p->second, in_body))
		return true;
	if (route->id == ID_NAMED)
		answer_fault(a, "The id from the path [%s] does not match the id from the body [%s]!", p->second,
			     in_body);
	else
		answer_fault(a, "The id from the path does not match the id from the body!");
	return false;
}

/* Body and ids are understood: may it be done now? */
static void run(struct instance *i, const struct route *route, const char *id, void *body, struct answer *a)
{
	if (route->phase == BEFORE_START && i->vm) {
		not_after_start(a);
	} else if (route->phase == AFTER_START && !i->vm) {
		not_before_start(a);
	} else {
		if (route->boot && !i->vm)
			i->boot_path = true;
		route->handler(i, id, body, a);
	}
}

static void handle(struct instance *i, const struct route *route, const struct request *rq, const struct path *p,
		   struct answer *a)
{
	const char *id = route->id == NO_ID ? NULL : p->second;
	bool understood;
	void *body = NULL;

	metrics_count(&i->metrics, route->count);
	if (id && !id_is_valid(p, a)) {
		understood = false;
	} else if (!route->table) {
		understood = true;
	} else {
		body = decode(route, rq, a);
		understood =
			body && (!id || ids_agree(route, p, body, a)) && (!route->check || route->check(i, body, a));
	}
	if (understood)
		run(i, route, id, body, a);
	else
		metrics_count(&i->metrics, route->fails);
	if (body)
		body_clear(route->table, body);
	free(body);
}

static void log_answer(struct instance *i, const struct answer *a)
{
	if (a->status == 204)
		say(&i->logger, LOGGER_INFO, "The request was executed successfully. Status code: 204 No Content.");
	else if (a->status == 200)
		say(&i->logger, LOGGER_INFO, "The request was executed successfully. Status code: 200 OK.");
	else
		say(&i->logger, LOGGER_ERROR, "Received Error. Status code: 400 Bad Request. Message: %s", a->fault);
}

static void log_request(struct instance *i, const struct request *rq)
{
	_cleanup_buf_ struct buf body = { 0 };
	char method[16];

	snprintf(method, sizeof method, "%s", rq->method);
	for (char *c = method + 1; *method && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (rq->body_len && body_print_string(&body, rq->body) == 0)
		say(&i->logger, LOGGER_INFO, "The API server received a %s request on \"%s\" with body %s.", method,
		    rq->target, body.data);
	else
		say(&i->logger, LOGGER_INFO, "The API server received a %s request on \"%s\".", method, rq->target);
}

void router_handle(struct instance *i, const struct request *rq, struct answer *a)
{
	const struct missing *absent;
	const struct route *route;
	struct path p;

	log_request(i, rq);
	split_path(rq->target, &p);
	route = find_route(rq->method, &p);
	absent = find_missing(rq->method, &p);
	if (absent) {
		metrics_count(&i->metrics, absent->count);
		metrics_count(&i->metrics, absent->fails);
		answer_fault(a, "%s is not supported by this version.", absent->what);
	} else if (!route) {
		no_route(rq, &p, a);
	} else if (body_fits(rq, route->table != NULL, a)) {
		handle(i, route, rq, &p, a);
	}
	log_answer(i, a);
}
