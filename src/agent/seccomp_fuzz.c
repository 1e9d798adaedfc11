/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp profile as the host may send it: the bytes are the protobuf message. */
#include <stdint.h>
#include <stdlib.h>

#include "agent/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Grpc__LinuxSeccomp *profile = grpc__linux_seccomp__unpack(NULL, size, data);
	struct seccomp_filter f;
	struct err e = { 0 };

	if (!profile)
		return 0;
	if (seccomp_compile(profile, &f, &e) < 0) {
		if (!err_is_set(&e) || f.program)
			abort();
	} else if (f.size % 8) {
		abort(); /* struct sock_filter */
	}
	seccomp_filter_fini(&f);
	grpc__linux_seccomp__free_unpacked(profile, NULL);
	return 0;
}
