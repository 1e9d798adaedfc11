// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pod/resolv_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct in_addr a;

	memcpy(text, data, size);
	text[size] = '\0';
	if (resolv_conf_loopback(text, &a) && (ntohl(a.s_addr) >> 24 != 127 || ntohl(a.s_addr) == INADDR_LOOPBACK))
		abort();
	free(text);
	return 0;
}
