/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson-unpack: unpack one tar from a descriptor into a directory descriptor, in a sandbox. The runtime starts it; it
 * is not for people. Exit status 0, or 1 with one line "error: …" on stderr; lines "warning: …" may come before it.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strv.h"
#include "unpack/layer.h"
#include "unpack/sandbox.h"

struct options {
	bool members;
	int input, target;
	uint64_t max_bytes, max_entries, max_file;
	uint8_t diff_id[LAYER_DIGEST_SIZE];
	bool has_diff_id;
};

static const char usage[] =
	"usage: caisson-unpack layer --input FD --target FD --max-bytes N --max-entries N [--diff-id HEX]\n"
	"       caisson-unpack members --input FD --target FD --max-bytes N --max-entries N --max-file N\n";

static int parse_hex(const char *s, uint8_t *ret)
{
	if (strlen(s) != 2 * LAYER_DIGEST_SIZE || strspn(s, "0123456789abcdef") != strlen(s))
		return -EINVAL;
	for (size_t i = 0; i < LAYER_DIGEST_SIZE; i++) {
		char byte[3] = { s[2 * i], s[2 * i + 1] };

		ret[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return 0;
}

static int parse_fd(const char *s, int *ret)
{
	uint64_t v;

	if (str_to_u64(s, 10, &v) < 0 || v > INT_MAX)
		return -EINVAL;
	*ret = (int)v;
	return 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "input", required_argument, NULL, 'i' },
		{ "target", required_argument, NULL, 't' },
		{ "max-bytes", required_argument, NULL, 'b' },
		{ "max-entries", required_argument, NULL, 'e' },
		{ "max-file", required_argument, NULL, 'f' },
		{ "diff-id", required_argument, NULL, 'd' },
		{ 0 },
	};
	int c, r = 0;

	*o = (struct options){ .input = -1, .target = -1 };
	while (r == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) >= 0)
		switch (c) {
		case 'i':
			r = parse_fd(optarg, &o->input);
			break;
		case 't':
			r = parse_fd(optarg, &o->target);
			break;
		case 'b':
			r = str_to_u64(optarg, 10, &o->max_bytes);
			break;
		case 'e':
			r = str_to_u64(optarg, 10, &o->max_entries);
			break;
		case 'f':
			r = str_to_u64(optarg, 10, &o->max_file);
			break;
		case 'd':
			r = parse_hex(optarg, o->diff_id);
			o->has_diff_id = true;
			break;
		default:
			r = -EINVAL;
		}
	if (r < 0 || optind != argc - 1 || o->input < 0 || o->target < 0 || !o->max_bytes || !o->max_entries)
		return -EINVAL;
	o->members = str_eq(argv[optind], "members");
	return o->members || str_eq(argv[optind], "layer") ? 0 : -EINVAL;
}

static int run(const struct options *o, struct err *e)
{
	struct layer_params p = {
		.fd = o->input,
		.max_bytes = o->max_bytes,
		.max_entries = o->max_entries,
		.diff_id = o->has_diff_id ? o->diff_id : NULL,
	};
	int r = sandbox_enter(o->target, o->input, o->max_bytes, &p.owners, e);

	if (r < 0)
		return r;
	return o->members ? layer_copy_members(&p, o->max_file, e) : layer_apply(&p, e);
}

int main(int argc, char **argv)
{
	struct options o;
	struct err e = { 0 };

	if (parse_options(argc, argv, &o) < 0) {
		fputs(usage, stderr);
		return 2;
	}
	/*
	 * The locale stays C: libarchive takes names in pax headers for UTF-8 and, in a locale that has it, composes
	 * them (NFC), so that a file gets another name than the image has. In C it cannot, and hands their bytes out.
	 */
	/* For folders that no entry names, as docker and containerd make them. Entries get their own modes anyhow. */
	umask(022);
	signal(SIGXFSZ, SIG_IGN); /* a file above the limit is an error, not a death */
	if (run(&o, &e) == 0)
		return 0;
	fprintf(stderr, "error: %s\n", e.text);
	return 1;
}
