/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson run: from flags to a plan, and from a plan to an exit status. See docs/architecture.md, "How one container
 * starts".
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/create_flags.h"
#include "cli/oci_run.h"
#include "cli/run_flags.h"
#include "cli/session.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "oci/builder.h"
#include "oci/image.h"
#include "pod/network.h"
#include "pod/sandbox.h"
#include "pod/settings.h"
#include "pod/state.h"

struct run {
	struct run_flags flags;
	struct config *config;
	const struct hypervisor_driver *driver;
	struct oci_image *image; /* NULL: not from an image */
	char *rootfs;            /* a directory or image file */
	char *bundle;            /* absolute; NULL: not from a bundle */
	bool rootfs_writable, rootfs_private;
	Grpc__Spec *spec;
	char id[RUN_NAME_MAX + 1];
	char run_dir[PATH_MAX];
	const char *state_root;
	struct pod_network *network; /* --net netns:; else NULL */
	struct plan *plan;
	struct state_dir *state;
	struct pod_state record;
	struct sandbox *sandbox;
	struct loop *loop;
	struct output_log *log;
	int interrupt_fd, stop_signal;
	uint64_t begin_us, exited_us;
};

static void run_fini(struct run *run)
{
	progress_show(NULL);
	output_log_free(run->log);
	sandbox_free(run->sandbox);
	plan_free(run->plan);
	pod_network_free(run->network);
	if (run->spec)
		oci_spec_free(run->spec);
	oci_image_free(run->image);
	config_free(run->config);
	pod_state_fini(&run->record);
	state_dir_remove(run->state);
	loop_free(run->loop);
	fd_close(&run->interrupt_fd);
	free(run->rootfs);
	free(run->bundle);
	run_flags_fini(&run->flags);
}

static int choose_id(struct run *run, struct err *e)
{
	unsigned char random[6];

	if (run->flags.name) {
		int r = state_check_id(run->flags.name, e);

		snprintf(run->id, sizeof run->id, "%s", run->flags.name);
		return r;
	}
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return err_sys(e, errno, "cannot make up a container id");
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(run->id + 2 * i, 3, "%02x", random[i]);
	return 0;
}

/* ---- where the root file system comes from ---- */

static int find_rootfs(struct run *run, struct err *e)
{
	struct oci_image_options o = { .store = run->flags.store ? run->flags.store : OCI_IMAGE_STORE };
	const char *place = run->flags.rootfs;
	int r;

	run->rootfs_writable = run->flags.rw;
	if (!oci_image_is_reference(place)) {
		run->rootfs = realpath(place, NULL);
		return run->rootfs ? 0 : err_sys(e, errno, "cannot use the root file system %s", place);
	}
	/* The unpacked image is for every later run. */
	run->rootfs_private = run->flags.rw;
	if (isatty(STDERR_FILENO))
		progress_show("unpacking the image ...");
	r = oci_image_open(place, &o, &run->image, e);
	progress_show(NULL);
	if (r < 0)
		return r;
	run->rootfs = strdup(run->image->rootfs);
	return run->rootfs ? 0 : err_sys(e, ENOMEM, "cannot use the image");
}

/* ---- the runtime spec ---- */

/* The command: flags over image, as docker combines them. */
static int combine_args(const struct run *run, struct strv *args, struct err *e)
{
	_cleanup_strv_ struct strv entrypoint = { 0 };
	const char *given = run->flags.entrypoint;
	const struct oci_image none = { 0 };
	int r = 0;

	if (!str_empty(given))
		r = strv_add(&entrypoint, given);
	if (r == 0)
		r = oci_image_command(run->image ? run->image : &none, given ? &entrypoint : NULL, &run->flags.args,
				      args);
	if (r < 0)
		return err_sys(e, -r, "cannot read the command");
	if (!args->len)
		return err_set(e, ERR_CONFIG, EINVAL, "no command: put one behind \"--\"%s",
			       run->image ? " (the image names none)" : "");
	return 0;
}

static int combine_env(const struct run *run, struct strv *env, struct err *e)
{
	int r = 0;

	for (size_t i = 0; run->image && i < run->image->env.len; i++)
		r |= strv_set_env(env, run->image->env.v[i]);
	for (size_t i = 0; i < run->flags.env.len; i++)
		r |= strv_set_env(env, run->flags.env.v[i]);
	return r ? err_sys(e, ENOMEM, "cannot read the environment") : 0;
}

static int build_spec(struct run *run, struct err *e)
{
	_cleanup_strv_ struct strv args = { 0 }, env = { 0 }, warnings = { 0 };
	_cleanup_close_ int rootfs_fd = open(run->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct run_flags *f = &run->flags;
	struct oci_run_options o = {
		.args = &args,
		.env = &env,
		.cwd = f->workdir   ? f->workdir
		       : run->image ? run->image->workdir
				    : NULL,
		.user = f->user      ? f->user
			: run->image ? run->image->user
				     : NULL,
		.rootfs_fd = rootfs_fd,
		.tty = f->terminal,
		.read_only = f->read_only,
		.privileged = f->privileged,
		.hostname = f->hostname ? f->hostname : run->id,
		.cap_add = &f->cap_add,
		.cap_drop = &f->cap_drop,
		.security_opts = &f->security_opt,
		.ulimits = &f->ulimit,
		.tmpfs = &f->tmpfs,
		.memory = (uint64_t)f->memory,
		.cpus = f->cpus,
		.pids_limit = f->pids_limit,
	};
	int r;

	if ((r = combine_args(run, &args, e)) < 0 || (r = combine_env(run, &env, e)) < 0)
		return r;
	r = oci_spec_build(&o, &run->spec, &warnings, e);
	for (size_t i = 0; i < warnings.len; i++)
		log_warn("%s", warnings.v[i]);
	return r;
}

static int load_bundle(struct run *run, struct err *e)
{
	char *bundle = run->bundle = realpath(run->flags.bundle, NULL);
	_cleanup_free_ char *joined = NULL;
	_cleanup_strv_ struct strv warnings = { 0 };
	const char *root;
	int r;

	if (!bundle)
		return err_sys(e, errno, "cannot use the bundle %s", run->flags.bundle);
	r = oci_spec_load(bundle, &run->spec, &warnings, e);
	for (size_t i = 0; i < warnings.len; i++)
		log_warn("%s", warnings.v[i]);
	if (r < 0)
		return r;
	root = run->spec->root ? run->spec->root->path : "";
	if (str_empty(root))
		return err_set(e, ERR_CONFIG, EINVAL, "%s/config.json: root.path is missing", bundle);
	joined = root[0] == '/' ? strdup(root) : str_printf("%s/%s", bundle, root);
	run->rootfs = joined ? realpath(joined, NULL) : NULL;
	if (!run->rootfs)
		return err_sys(e, errno, "cannot use the root file system %s of the bundle", joined ? joined : root);
	/* A bundle's root is the caller's to throw away: writes go through, as with every OCI runtime. */
	run->rootfs_writable = !run->spec->root->readonly;
	run->flags.terminal = run->spec->process && run->spec->process->terminal;
	return 0;
}

/* ---- plan ---- */

/* "netns:NAME" as `ip netns` has them, or "netns:PATH". Looks only; sandbox_start() makes taps. */
static int find_network(struct run *run, struct err *e)
{
	const char *netns = run->flags.net ? str_after(run->flags.net, "netns:") : NULL;
	_cleanup_free_ char *path = NULL;
	enum pod_network_model model;
	int r;

	if (!netns)
		return 0;
	path = strchr(netns, '/') ? strdup(netns) : str_printf("/run/netns/%s", netns);
	if (!path)
		return err_sys(e, ENOMEM, "cannot use the network namespace %s", netns);
	r = pod_network_model(&run->config->runtime, &model, e);
	return r < 0 ? r : pod_network_scan(path, model, &run->network, e);
}

static int make_plan(struct run *run, struct err *e)
{
	const struct run_flags *f = &run->flags;
	struct settings_request q = { .config = f->config,
				      .hypervisor = f->hypervisor,
				      .kernel = f->kernel,
				      .initrd = f->initrd,
				      .image = f->image,
				      .annotations = &f->annotation,
				      .strict = f->strict };
	struct plan_request p;
	int r;

	if ((r = choose_id(run, e)) < 0 || (r = settings_load(&q, &run->config, &run->driver, e)) < 0)
		return r;
	if (f->bundle)
		r = load_bundle(run, e);
	else if ((r = find_rootfs(run, e)) == 0)
		r = build_spec(run, e);
	if (r == 0)
		r = find_network(run, e);
	if (r < 0)
		return r;
	run->stop_signal = run->image ? signal_number(run->image->stop_signal) : SIGTERM;
	if (run->stop_signal <= 0)
		run->stop_signal = SIGTERM;
	run->state_root = f->root;
	snprintf(run->run_dir, sizeof run->run_dir, "%s/%s", run->state_root, run->id);
	p = (struct plan_request){ .id = run->id,
				   .run_dir = run->run_dir,
				   .config = run->config,
				   .driver = run->driver,
				   .spec = take_ptr(run->spec),
				   .bundle = run->bundle,
				   .rootfs = run->rootfs,
				   .rootfs_writable = run->rootfs_writable,
				   .rootfs_private = run->rootfs_private,
				   .volumes = f->volumes,
				   .n_volumes = f->n_volumes,
				   .net = f->net,
				   .network = run->network,
				   .publish = &f->publish,
				   .hostname = f->hostname,
				   .dns = f->dns };
	return plan_build(&p, &run->plan, e);
}

static int print_plan(const struct run *run, struct err *e)
{
	_cleanup_buf_ struct buf text = { 0 };
	int r = plan_print(run->plan, &text, e);

	if (r == 0)
		fputs(text.data, stdout);
	return r;
}

/* ---- carrying it out ---- */

static int write_state(struct run *run, const char *status, struct err *e)
{
	struct pod_state *s = &run->record;
	const Grpc__Process *process = run->plan->container->spec->process;
	_cleanup_buf_ struct buf command = { 0 };

	if (!s->id) {
		for (size_t i = 0; process && i < process->n_args; i++)
			(void)buf_printf(&command, "%s%s", i ? " " : "", process->args[i]);
		s->id = strdup(run->id);
		s->hypervisor = strdup(run->driver->name);
		s->command = buf_take(&command);
		s->rootfs = strdup(run->rootfs);
		s->pid = getpid();
		s->created = time(NULL);
		s->terminal = run->flags.terminal;
	}
	free(s->status);
	free(s->agent_address);
	s->status = strdup(status);
	s->agent_address = strdup(run->sandbox ? run->sandbox->vm->agent_address : "");
	return state_dir_write(run->state, s, e);
}

/* exec gives its command what the container's own has: environment, user, folder, rights. */
static int write_process(struct run *run, struct err *e)
{
	_cleanup_free_ char *text = oci_process_to_json(run->plan->container->spec->process);
	char path[PATH_MAX + 32];
	int r;

	snprintf(path, sizeof path, "%s/" STATE_PROCESS_FILE, run->run_dir);
	r = text ? file_replace(path, text, strlen(text), 0600) : -ENOMEM;
	return r < 0 ? err_sys(e, -r, "cannot write %s", path) : 0;
}

static int start_sandbox(struct run *run, struct err *e)
{
	int r;

	if ((r = session_block_signals(e)) < 0 || (r = loop_new(&run->loop, e)) < 0)
		return r;
	run->interrupt_fd = session_interrupt_fd();
	r = state_dir_create(run->state_root, run->id, &run->state, e);
	if (r == 0)
		r = write_state(run, "creating", e);
	if (r == 0)
		r = write_process(run, e);
	if (r < 0)
		return r;
	run->log = output_log_new(run->run_dir);
	progress_show("starting the virtual machine ...");
	r = sandbox_start(run->loop, run->plan, run->interrupt_fd, &run->sandbox, e);
	return r < 0 ? r : write_state(run, "creating", e);
}

/* Returns the exit status; e is set when it is Caisson's own. */
static int run_container(struct run *run, struct err *e)
{
	struct session_options o = {
		.loop = run->loop,
		.agent = run->sandbox->agent,
		.container_id = run->id,
		.exec_id = "",
		.interactive = run->flags.interactive,
		.terminal = run->flags.terminal,
		.end_fd = sandbox_end_fd(run->sandbox),
		.timeout_s = run->flags.timeout_s,
		.stop_signal = run->stop_signal,
		.log = run->log,
		.first_byte_us = &run->sandbox->times.first_byte,
	};
	struct session *session = NULL;
	int r, status = EXIT_CAISSON;

	progress_show("starting the container ...");
	r = sandbox_create_container(run->sandbox, run->plan->container, e);
	if (r < 0)
		return command_failure_status(r);
	r = session_start(&o, &session, e);
	if (r < 0)
		return EXIT_CAISSON;
	r = sandbox_start_container(run->sandbox, run->plan->container, e);
	if (r < 0) {
		session_free(session);
		return command_failure_status(r);
	}
	progress_show(NULL);
	r = write_state(run, "running", e);
	if (r == 0)
		r = session_run(session, &status, e);
	session_free(session);
	run->exited_us = clock_us();
	if (r < 0)
		sandbox_explain_end(run->sandbox, r, e);
	else if (run->flags.verbose)
		sandbox_ask_kernel_up(run->sandbox);
	return r < 0 ? EXIT_CAISSON : status;
}

static void print_time(const char *what, uint64_t at, uint64_t begin)
{
	if (at)
		fprintf(stderr, "caisson: %8.1f ms  %s\n", (double)(at - begin) / 1000, what);
}

static void print_timeline(const struct run *run)
{
	const struct timeline *t = &run->sandbox->times;

	print_time("planned", t->begin, run->begin_us);
	print_time("VM created", t->vm_created, run->begin_us);
	print_time("kernel up", t->kernel_up, run->begin_us);
	print_time("agent up", t->agent_up, run->begin_us);
	print_time("container started", t->container_started, run->begin_us);
	print_time("first byte", t->first_byte, run->begin_us);
	print_time("exit", run->exited_us, run->begin_us);
}

static int run(struct run *run, struct err *e)
{
	int status;

	if (make_plan(run, e) < 0)
		return EXIT_CAISSON;
	if (run->flags.dry_run)
		return print_plan(run, e) < 0 ? EXIT_CAISSON : 0;
	for (size_t i = 0; i < run->plan->notes.len; i++)
		log_warn("%s", run->plan->notes.v[i]);
	if (start_sandbox(run, e) < 0)
		return EXIT_CAISSON;
	status = run_container(run, e);
	if (run->flags.verbose)
		print_timeline(run);
	return status;
}

int command_run(const struct globals *g, int argc, char **argv)
{
	struct run r = { .interrupt_fd = -1, .begin_us = clock_us() };
	struct create_flags oci;
	struct err e = { 0 };
	int status = EXIT_CAISSON;

	/* One argument, an id, and only flags of runc's run: it is an OCI client that calls. */
	if (create_flags_parse(&oci, argc, argv) == 0)
		return oci_run(g, &oci);
	if (run_flags_parse(&r.flags, argc, argv, &e) == 0) {
		r.flags.root = r.flags.root ? r.flags.root : g->root;
		if (!r.flags.config && g->config[0])
			r.flags.config = g->config;
		if (r.flags.verbose && log_get_level() < LOG_LEVEL_INFO)
			log_set_level(LOG_LEVEL_INFO);
		if (r.flags.help) {
			fputs(run_flags_help, stdout);
			status = 0;
		} else {
			status = run(&r, &e);
		}
	}
	run_fini(&r);
	if (err_is_set(&e))
		log_error("%s", e.text);
	return status;
}
