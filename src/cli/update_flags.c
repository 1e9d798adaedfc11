/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/update_flags.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/strv.h"
#include "cli/units.h"
#include "codec/json.h"

enum form { NUMBER, SIZE, TEXT };

/* In the order of struct update_flags.values. */
static const struct limit {
	const char *flag, *group, *key;
	enum form form;
} limits[UPDATE_LIMITS] = {
	{ "memory", "memory", "limit", SIZE },
	{ "memory-reservation", "memory", "reservation", SIZE },
	{ "memory-swap", "memory", "swap", SIZE },
	{ "cpu-period", "cpu", "period", NUMBER },
	{ "cpu-quota", "cpu", "quota", NUMBER },
	{ "cpu-share", "cpu", "shares", NUMBER },
	{ "cpu-rt-period", "cpu", "realtimePeriod", NUMBER },
	{ "cpu-rt-runtime", "cpu", "realtimeRuntime", NUMBER },
	{ "cpuset-cpus", "cpu", "cpus", TEXT },
	{ "cpuset-mems", "cpu", "mems", TEXT },
	{ "pids-limit", "pids", "limit", NUMBER },
	{ "blkio-weight", "blockIO", "weight", NUMBER },
};

/* Decimal with an optional sign; of memory, also with a unit behind it. -1 of memory is "no limit". */
static int number_of(const struct limit *l, const char *value, int64_t *ret)
{
	char *end;

	if (l->form == SIZE && !str_eq(value, "-1"))
		return units_bytes(value, ret);
	errno = 0;
	*ret = strtoll(value, &end, 10);
	return errno || *end || end == value ? -EINVAL : 0;
}

static int take_limit(struct update_flags *f, const struct limit *l, const char *value, struct err *e)
{
	int64_t number;

	if (l->form != TEXT && number_of(l, value, &number) < 0)
		return err_set(e, ERR_CONFIG, EINVAL, "invalid value for --%s: %s", l->flag, value);
	f->values[l - limits] = value;
	return 0;
}

int update_flags_parse(struct update_flags *f, int argc, char **argv, struct err *e)
{
	struct option options[UPDATE_LIMITS + 7] = {
		[UPDATE_LIMITS] = { "resources", required_argument, NULL, 'r' },
		[UPDATE_LIMITS + 1] = { "l3-cache-schema", required_argument, NULL, 'x' },
		[UPDATE_LIMITS + 2] = { "mem-bw-schema", required_argument, NULL, 'x' },
		[UPDATE_LIMITS + 3] = { "kernel-memory", required_argument, NULL, 'k' },
		[UPDATE_LIMITS + 4] = { "kernel-memory-tcp", required_argument, NULL, 'k' },
		[UPDATE_LIMITS + 5] = { "help", no_argument, NULL, 'h' },
	};
	int flag, r;

	for (int i = 0; i < UPDATE_LIMITS; i++)
		options[i] = (struct option){ limits[i].flag, required_argument, NULL, 256 + i };
	while ((flag = getopt_long(argc, argv, "r:h", options, NULL)) != -1) {
		if (flag == 'r')
			f->document = optarg;
		else if (flag == 'k')
			log_warn("kernel memory has no limit of its own any more");
		else if (flag == 'x')
			return err_set(e, ERR_CONFIG, ENOTSUP, "a guest has no cache or memory bandwidth to share out");
		else if (flag < 256) {
			f->help = flag == 'h';
			return 1;
		} else {
			r = take_limit(f, &limits[flag - 256], optarg, e);
			if (r < 0)
				return r;
		}
	}
	if (argc - optind != 1)
		return 1;
	f->id = argv[optind];
	return 0;
}

char *update_flags_document(const struct update_flags *f)
{
	_cleanup_buf_ struct buf text = { 0 };
	const char *group = NULL;
	int r = buf_puts(&text, "{");

	/* Members of a group stand together in the table. Values hold digits, or are quoted by the JSON writer. */
	for (int i = 0; i < UPDATE_LIMITS; i++) {
		if (!f->values[i])
			continue;
		if (!str_eq(group, limits[i].group))
			r |= buf_printf(&text, "%s\"%s\":{", group ? "}," : "", limits[i].group);
		else
			r |= buf_puts(&text, ",");
		group = limits[i].group;
		if (limits[i].form == TEXT) {
			_cleanup_json_ struct json_object *pair = json_object_make();
			_cleanup_free_ char *quoted = NULL;

			json_set_str(pair, limits[i].key, f->values[i]);
			quoted = json_write(pair, false);
			r |= quoted ? buf_append(&text, quoted + 1, strlen(quoted) - 2) : -ENOMEM;
		} else {
			int64_t number = 0;

			r |= number_of(&limits[i], f->values[i], &number);
			r |= buf_printf(&text, "\"%s\":%lld", limits[i].key, (long long)number);
		}
	}
	r |= buf_puts(&text, group ? "}}" : "}");
	return r ? NULL : buf_take(&text);
}
