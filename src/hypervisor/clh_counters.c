/* SPDX-License-Identifier: Apache-2.0 */
/* What a running VM's devices have counted: vm.counters, {"DEVICE": {"NAME": NUMBER, …}, …}. */
#include <string.h>

#include "hypervisor/clh_vm.h"

struct counting {
	vm_counter_fn fn;
	void *userdata;
	const char *device;
};

static int one_counter(const char *name, struct json_object *value, void *userdata)
{
	const struct counting *c = userdata;
	uint64_t n;

	/* Other kinds of values may come with newer versions. */
	if (json_u64(value, &n) == 0)
		c->fn("device", c->device, name, n, c->userdata);
	return 0;
}

static int one_device(const char *id, struct json_object *counters, void *userdata)
{
	struct counting *c = userdata;
	const char *ours = str_after(id, "dev-"); /* clh_device_id(); others are Cloud Hypervisor's own */

	c->device = ours ? ours : id;
	return json_each(counters, one_counter, c);
}

int clh_counters(struct vm *vm, vm_counter_fn fn, void *userdata, struct err *e)
{
	struct counting c = { .fn = fn, .userdata = userdata };
	_cleanup_json_ struct json_object *answer = NULL;
	_cleanup_free_ char *text = NULL;
	int r = clh_call(clh_vm_of(vm), "GET", "vm.counters", NULL, NULL, 0, CLH_COMMAND_MS, &text, e);

	if (r == 0)
		r = json_parse(text, strlen(text), REST_BODY_MAX, &answer, e);
	if (r < 0) {
		err_wrap(e, "cannot read the VM's counters");
		return r;
	}
	return json_each(answer, one_device, &c);
}
