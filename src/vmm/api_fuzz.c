/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests, one a line ("PUT /vsock {...}"), to one microVM with a fake VM. Each is answered, with a body exactly when
 * there is one. No file is touched: bodies that name a path of more than one letter are passed over.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/fake_vmm.h"
#include "vmm/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(struct instance *i, char *line)
{
	char *method = strtok(line, " "), *target = strtok(NULL, " "), *body = strtok(NULL, "");
	const struct request rq = {
		.method = method, .target = target, .body = body ? body : "", .body_len = body ? strlen(body) : 0
	};
	struct answer a;

	if (!method || !target)
		return;
	if (strstr(target, "logger") || strstr(target, "metrics") || strstr(target, "vsock") ||
	    strstr(target, "serial"))
		return;
	answer_init(&a);
	router_handle(i, &rq, &a);
	if (a.status != 204 && (a.status != 200 ? !*a.fault : !a.body.len))
		abort();
	answer_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct instance i;
	char *text, *rest;

	if (size > 65536)
		return 0;
	text = rest = strndup((const char *)data, size);
	fake_vmm_set_note(NULL);
	instance_init(&i, "fuzz");
	i.logger.level = LOGGER_OFF;
	i.pci = size & 1;
	for (char *line; (line = strsep(&rest, "\n"));)
		one(&i, line);
	instance_fini(&i);
	free(text);
	return 0;
}
