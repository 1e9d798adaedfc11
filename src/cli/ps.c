/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson ps: the processes of a container, as the host has them: its stand-ins. As JSON, an array of pids; as a table,
 * what the host's ps(1) says of them.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strv.h"
#include "cli/command.h"
#include "cli/oci_command.h"
#include "codec/pb.h"
#include "sys/spawn.h"

static int print_json(const Containerd__Task__V2__PidsResponse *pids, struct err *e)
{
	_cleanup_buf_ struct buf text = { 0 };
	int r = buf_puts(&text, "[");

	for (size_t i = 0; i < pids->n_processes; i++)
		r |= buf_printf(&text, "%s%u", i ? "," : "", pids->processes[i]->pid);
	if (r != 0)
		return err_sys(e, ENOMEM, "cannot print the processes");
	printf("%s]\n", text.data);
	return 0;
}

static int run_ps(char *const *argv, int *ret_status, struct err *e)
{
	const struct spawn s = {
		.path = "ps", .argv = argv, .stdin_fd = -1, .stdout_fd = STDOUT_FILENO, .stderr_fd = STDERR_FILENO
	};
	int status, r;
	pid_t pid;

	r = spawn_start(&s, &pid, NULL, e);
	if (r < 0)
		return r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "cannot wait for ps");
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_OCI;
	return 0;
}

static int print_table(const Containerd__Task__V2__PidsResponse *pids, char *const *args, size_t n, int *ret_status,
		       struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };
	_cleanup_buf_ struct buf list = { 0 };
	int r = strv_add(&argv, "ps");

	for (size_t i = 0; i < pids->n_processes; i++)
		r |= buf_printf(&list, "%s%u", i ? "," : "", pids->processes[i]->pid);
	/* Of what has ended, the heading: no process has this number. */
	if (!pids->n_processes)
		r |= buf_puts(&list, "4194305");
	for (size_t i = 0; i < n; i++)
		r |= strv_add(&argv, args[i]);
	if (!n)
		r |= strv_add(&argv, "-f");
	r |= strv_add(&argv, "-p");
	r |= strv_add(&argv, list.data);
	if (r != 0)
		return err_sys(e, ENOMEM, "cannot print the processes");
	r = run_ps(argv.v, ret_status, e);
	/* Nothing found is what was looked for. */
	if (r == 0 && !pids->n_processes && *ret_status == 1)
		*ret_status = 0;
	return r;
}

int command_ps(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = { { "format", required_argument, NULL, 'f' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	Containerd__Task__V2__PidsRequest q = CONTAINERD__TASK__V2__PIDS_REQUEST__INIT;
	Containerd__Task__V2__PidsResponse none = CONTAINERD__TASK__V2__PIDS_RESPONSE__INIT;
	const Containerd__Task__V2__PidsResponse *pids;
	_cleanup_owner_link_ struct owner_link l = { 0 };
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	const char *format = "table";
	struct err e = { 0 };
	int flag, r, status = 0;

	while ((flag = getopt_long(argc, argv, "+f:h", options, NULL)) == 'f')
		format = optarg;
	if (flag != -1 || argc - optind < 1 || (!str_eq(format, "json") && !str_eq(format, "table")))
		return oci_command_usage("ps [--format table|json] ID [FLAGS of ps(1)]", flag == 'h');
	r = owner_link_open(&l, g->root, argv[optind], &e);
	q.id = l.record.id ? l.record.id : q.id;
	if (r == 0 && l.client)
		r = owner_call(&l, "Pids", &q.base, &containerd__task__v2__pids_response__descriptor, OWNER_TIMEOUT_MS,
			       &m, &e);
	pids = m ? (const Containerd__Task__V2__PidsResponse *)m : &none;
	if (r == 0)
		r = str_eq(format, "json")
			    ? print_json(pids, &e)
			    : print_table(pids, argv + optind + 1, (size_t)(argc - optind - 1), &status, &e);
	return r < 0 ? oci_command_end(r, &e) : status;
}
