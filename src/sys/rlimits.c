/* SPDX-License-Identifier: Apache-2.0 */
/* See rlimits.h. */
#include "sys/rlimits.h"

#include <errno.h>
#include <stddef.h>
#include <sys/resource.h>

#include "base/strv.h"

int rlimit_by_name(const char *name)
{
	static const struct {
		const char *name;
		int resource;
	} names[] = {
		{ "AS", RLIMIT_AS },           { "CORE", RLIMIT_CORE },         { "CPU", RLIMIT_CPU },
		{ "DATA", RLIMIT_DATA },       { "FSIZE", RLIMIT_FSIZE },       { "LOCKS", RLIMIT_LOCKS },
		{ "MEMLOCK", RLIMIT_MEMLOCK }, { "MSGQUEUE", RLIMIT_MSGQUEUE }, { "NICE", RLIMIT_NICE },
		{ "NOFILE", RLIMIT_NOFILE },   { "NPROC", RLIMIT_NPROC },       { "RSS", RLIMIT_RSS },
		{ "RTPRIO", RLIMIT_RTPRIO },   { "RTTIME", RLIMIT_RTTIME },     { "SIGPENDING", RLIMIT_SIGPENDING },
		{ "STACK", RLIMIT_STACK },
	};
	const char *rest = str_after(name, "RLIMIT_");

	for (size_t i = 0; rest && i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq(rest, names[i].name))
			return names[i].resource;
	return -EINVAL;
}

int rlimit_set(int resource, uint64_t soft, uint64_t hard)
{
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = hard };

	return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? -errno : 0;
}
