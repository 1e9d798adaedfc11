/* SPDX-License-Identifier: Apache-2.0 */
/* OCI runtime spec 1.1, config-linux.md "Seccomp", by way of libseccomp. See seccomp.h. */
#include "agent/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"

#define PROGRAM_MAX (1 << 20)

static void release_p(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

static int parse_action(const char *name, uint32_t errno_ret, uint32_t *ret, struct err *e)
{
	/* errnoRet is a plain number in the protocol: 0 is "not given", and then EPERM. */
	uint32_t code = errno_ret ? errno_ret & 0xffff : EPERM;
	const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{ "SCMP_ACT_KILL", SCMP_ACT_KILL },
		{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
		{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
		{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(code) },
		{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(code) },
		{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
		{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
	};

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (str_eq(name, actions[i].name)) {
			*ret = actions[i].action;
			return 0;
		}
	return err_set(e, ERR_CONFIG, EINVAL, "seccomp: action \"%s\" is not supported", name);
}

static int parse_op(const char *name, enum scmp_compare *ret, struct err *e)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = {
		{ "SCMP_CMP_NE", SCMP_CMP_NE },
		{ "SCMP_CMP_LT", SCMP_CMP_LT },
		{ "SCMP_CMP_LE", SCMP_CMP_LE },
		{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
		{ "SCMP_CMP_GE", SCMP_CMP_GE },
		{ "SCMP_CMP_GT", SCMP_CMP_GT },
		{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (str_eq(name, ops[i].name)) {
			*ret = ops[i].op;
			return 0;
		}
	return err_set(e, ERR_CONFIG, EINVAL, "seccomp: operator \"%s\" is not known", name);
}

static int add_rule(scmp_filter_ctx ctx, const char *name, int nr, uint32_t action, const struct scmp_arg_cmp *args,
		    unsigned n, struct err *e)
{
	int r = seccomp_rule_add_array(ctx, action, nr, n, args);

	/* -EDOM: the call does not exist on one of the architectures in a way that arguments could be looked at. */
	if (r < 0 && r != -EEXIST && r != -EDOM)
		return err_sys(e, -r, "seccomp: add a rule for %s", name);
	return 0;
}

static int add_syscall(scmp_filter_ctx ctx, const Grpc__LinuxSyscall *call, uint32_t default_action, struct err *e)
{
	struct scmp_arg_cmp args[16];
	unsigned per_index[6] = { 0 }, most = 0;
	uint32_t action;
	int r = parse_action(call->action, call->errnoret, &action, e);

	if (r < 0)
		return r;
	if (call->n_args > sizeof(args) / sizeof(args[0]))
		return err_set(e, ERR_CONFIG, E2BIG, "seccomp: a rule has %zu arguments", call->n_args);
	for (size_t i = 0; i < call->n_args; i++) {
		const Grpc__LinuxSeccompArg *a = call->args[i];

		if (a->index > 5)
			return err_set(e, ERR_CONFIG, EINVAL, "seccomp: argument index %llu is above 5",
				       (unsigned long long)a->index);
		args[i] =
			(struct scmp_arg_cmp){ .arg = (unsigned)a->index, .datum_a = a->value, .datum_b = a->valuetwo };
		r = parse_op(a->op, &args[i].op, e);
		if (r < 0)
			return r;
		if (++per_index[a->index] > most)
			most = per_index[a->index];
	}
	if (action == default_action)
		return 0; /* libseccomp refuses rules that change nothing */
	for (size_t i = 0; i < call->n_names && r == 0; i++) {
		int nr = seccomp_syscall_resolve_name(call->names[i]);

		if (nr == __NR_SCMP_ERROR)
			continue;
		if (most <= 1) {
			r = add_rule(ctx, call->names[i], nr, action, args, (unsigned)call->n_args, e);
			continue;
		}
		/* libseccomp takes one condition per argument; more of them are alternatives, as runc reads them. */
		for (size_t k = 0; k < call->n_args && r == 0; k++)
			r = add_rule(ctx, call->names[i], nr, action, &args[k], 1, e);
	}
	return r;
}

static int add_architectures(scmp_filter_ctx ctx, const Grpc__LinuxSeccomp *profile, struct err *e)
{
	for (size_t i = 0; i < profile->n_architectures; i++) {
		const char *name = str_after(profile->architectures[i], "SCMP_ARCH_");
		char lower[32];
		uint32_t arch = 0;
		size_t k = 0;
		int r;

		for (; name && name[k] && k < sizeof(lower) - 1; k++)
			lower[k] = name[k] >= 'A' && name[k] <= 'Z' ? (char)(name[k] + 32) : name[k];
		lower[k] = '\0';
		if (name)
			arch = seccomp_arch_resolve_name(str_eq(lower, "native") ? "" : lower);
		if (name && str_eq(lower, "native"))
			arch = seccomp_arch_native();
		if (!arch)
			return err_set(e, ERR_CONFIG, EINVAL, "seccomp: architecture \"%s\" is not known",
				       profile->architectures[i]);
		r = seccomp_arch_add(ctx, arch);
		if (r < 0 && r != -EEXIST)
			return err_sys(e, -r, "seccomp: add architecture %s", profile->architectures[i]);
	}
	return 0;
}

static int parse_flags(const Grpc__LinuxSeccomp *profile, unsigned *ret, struct err *e)
{
	unsigned flags = 0;

	for (size_t i = 0; i < profile->n_flags; i++) {
		const char *f = profile->flags[i];

		if (str_eq(f, "SECCOMP_FILTER_FLAG_LOG"))
			flags |= SECCOMP_FILTER_FLAG_LOG;
		else if (str_eq(f, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		else if (!str_eq(f, "SECCOMP_FILTER_FLAG_TSYNC")) /* one thread: nothing to synchronise */
			return err_set(e, ERR_CONFIG, EINVAL, "seccomp: flag \"%s\" is not supported", f);
	}
	*ret = flags;
	return 0;
}

static int export_program(scmp_filter_ctx ctx, struct seccomp_filter *ret, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	char *data;
	size_t size;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "seccomp: memory for the filter");
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return err_sys(e, -r, "seccomp: compile the filter");
	size = (size_t)lseek(fd, 0, SEEK_END);
	if (size > PROGRAM_MAX)
		return err_set(e, ERR_LIMIT, E2BIG, "seccomp: the filter is too large");
	data = malloc(size);
	if (!data)
		return err_sys(e, ENOMEM, "seccomp: memory for the filter");
	lseek(fd, 0, SEEK_SET);
	r = fd_read_full(fd, data, size);
	if (r < 0) {
		free(data);
		return err_sys(e, -r, "seccomp: read the filter");
	}
	ret->program = data;
	ret->size = size;
	return 0;
}

int seccomp_compile(const Grpc__LinuxSeccomp *profile, struct seccomp_filter *ret, struct err *e)
{
	_cleanup_(release_p) scmp_filter_ctx ctx = NULL;
	struct seccomp_filter f = { 0 };
	uint32_t default_action;
	int r;

	*ret = f;
	if (!profile || str_empty(profile->defaultaction))
		return 0;
	r = parse_action(profile->defaultaction, profile->defaulterrnoret, &default_action, e);
	if (r == 0)
		r = parse_flags(profile, &f.flags, e);
	if (r < 0)
		return r;
	ctx = seccomp_init(default_action);
	if (!ctx)
		return err_sys(e, ENOMEM, "seccomp: create the filter");
	r = add_architectures(ctx, profile, e);
	/* A binary tree: the docker profile's 300 names would otherwise be compared one by one. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < profile->n_syscalls && r == 0; i++)
		r = add_syscall(ctx, profile->syscalls[i], default_action, e);
	if (r == 0)
		r = export_program(ctx, &f, e);
	if (r == 0)
		*ret = f;
	return r;
}

void seccomp_filter_fini(struct seccomp_filter *f)
{
	free(f->program);
	*f = (struct seccomp_filter){ 0 };
}
