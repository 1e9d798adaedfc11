/* SPDX-License-Identifier: Apache-2.0 */
/* The vsock service as a program, for tests/vsock/run: backend UDS-PATH VHOST-USER-PATH. Ends when stdin ends. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/vsock_service.h"

int main(int argc, char **argv)
{
	struct vsock_service *svc;
	struct err e = { 0 };
	char c;

	if (argc != 3)
		return 2;
	log_set_level(LOG_LEVEL_DEBUG);
	if (vsock_service_start(argv[1], argv[2], &svc, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	vsock_service_stop(svc);
	return 0;
}
