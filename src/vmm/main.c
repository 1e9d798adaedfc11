/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson-vmm: one microVM in one process, driven by a REST API on a Unix socket or by a file, in the dialect of
 * Firecracker, so that its clients find what they know.
 *
 * The main thread has the event loop: API, signals, the end of the VM, the metrics' timer. The VM has threads of its
 * own (caisson/vmm.h). Trusted: command line, files, clients of the API. Hostile: the guest, which this file meets
 * only in vmm_exit_info().
 */
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fd.h"
#include "loop/loop.h"
#include "vmm/config_file.h"
#include "vmm/options.h"
#include "vmm/server.h"
#include "vmm/terminal.h"

#define METRICS_INTERVAL_MS 60000

/* Exit statuses that clients know; signals have more, see terminal.c. */
#define EXIT_OK            0
#define EXIT_GENERIC       1
#define EXIT_CONFIGURATION 152
#define EXIT_ARGUMENTS     153

struct program {
	struct options options;
	struct instance instance;
	struct loop *loop;
	struct server *server;
	struct loop_source *term, *interrupt, *ended, *timer;
};

/* ---- what ends the program ---- */

static void on_signal(struct loop_source *source, int signo, void *userdata)
{
	struct program *p = userdata;

	(void)source;
	say(&p->instance.logger, LOGGER_INFO, "Stopping on signal %d.", signo);
	loop_quit(p->loop, EXIT_OK);
}

static void on_fatal(void *userdata)
{
	loop_quit(((struct program *)userdata)->loop, EXIT_GENERIC);
}

static void on_vm_end(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	static const char *const what[] = {
		[VMM_END_NONE] = "ended",
		[VMM_END_POWEROFF] = "was switched off by its guest",
		[VMM_END_RESET] = "was reset by its guest",
		[VMM_END_PANIC] = "ended after its guest's panic",
		[VMM_END_STOPPED] = "was stopped",
		[VMM_END_ERROR] = "could not go on",
	};
	struct program *p = userdata;
	struct vmm_exit end;

	(void)source;
	(void)fd;
	(void)revents;
	vmm_exit_info(p->instance.vm, &end);
	say(&p->instance.logger, end.end == VMM_END_ERROR ? LOGGER_ERROR : LOGGER_INFO, "The microVM %s%s%s",
	    what[end.end], *end.text ? ": " : ".", end.text);
	loop_quit(p->loop, end.end == VMM_END_ERROR ? EXIT_GENERIC : EXIT_OK);
}

/* Clients find the vCPUs' threads by the names that Firecracker gives them. Without /proc there are other names. */
static void name_vcpus(struct vmm *vm)
{
	pid_t tids[VMM_VCPUS_MAX];
	size_t n = vmm_vcpu_threads(vm, tids, VMM_VCPUS_MAX);

	for (size_t i = 0; i < n && i < VMM_VCPUS_MAX; i++) {
		char path[64], name[16];

		snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)tids[i]);
		snprintf(name, sizeof name, "fc_vcpu %zu", i);
		(void)file_write(path, name);
	}
}

static void on_vm(struct instance *i, void *userdata)
{
	struct program *p = userdata;

	name_vcpus(i->vm);
	if (loop_add_io(p->loop, vmm_exit_fd(i->vm), EPOLLIN, on_vm_end, p, &p->ended) < 0)
		i->fatal = true;
	instance_flush_metrics(i, NULL);
}

static void on_timer(struct loop_source *source, void *userdata)
{
	instance_flush_metrics(&((struct program *)userdata)->instance, NULL);
	loop_timer_set(source, METRICS_INTERVAL_MS);
}

/* ---- set up ---- */

/* Where the serial port reads: epoll must be able to wait for it, which it cannot for files and /dev/null. */
static int serial_input(void)
{
	struct stat st;

	if (fstat(STDIN_FILENO, &st) < 0 || !(isatty(STDIN_FILENO) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return -1;
	return STDIN_FILENO;
}

static int set_up_output(struct program *p, struct err *e)
{
	const struct options *o = &p->options;
	struct logger_body log = {
		.log_path = (char *)o->log_path,
		.level = (char *)o->level,
		.module = (char *)o->module,
		.show_level = true,
		.has_show_level = o->show_level,
		.show_log_origin = true,
		.has_show_log_origin = o->show_log_origin,
	};
	struct metrics_body metrics = { .metrics_path = (char *)o->metrics_path };
	int r = logger_update(&p->instance.logger, &log, e);

	if (r < 0) {
		err_wrap(e, "Could not initialize logger");
		return r;
	}
	say(&p->instance.logger, LOGGER_INFO, "Running caisson-vmm %s, API of Firecracker v%s", CAISSON_VERSION,
	    API_VERSION);
	r = o->metrics_path ? metrics_configure(&p->instance.metrics, &metrics, e) : 0;
	if (r < 0)
		err_wrap(e, "Could not initialize metrics");
	return r;
}

static void set_up_instance(struct program *p)
{
	const struct options *o = &p->options;
	struct instance *i = &p->instance;

	instance_init(i, o->id);
	i->pci = o->enable_pci;
	i->seccomp = !o->no_seccomp;
	i->boot_timer = o->boot_timer;
	i->kernel_constant = o->map_kernel;
	i->split_irqchip = o->split_irqchip;
	i->serial_in = serial_input();
	i->serial_out = STDOUT_FILENO;
	i->on_vm = on_vm;
	i->userdata = p;
}

static int set_up_loop(struct program *p, struct err *e)
{
	int r = loop_new(&p->loop, e);

	if (r < 0)
		return r;
	r = loop_add_signal(p->loop, SIGTERM, on_signal, p, &p->term);
	if (r == 0)
		r = loop_add_signal(p->loop, SIGINT, on_signal, p, &p->interrupt);
	if (r == 0)
		r = loop_add_timer(p->loop, METRICS_INTERVAL_MS, on_timer, p, &p->timer);
	return r < 0 ? err_sys(e, -r, "cannot set up the event loop") : 0;
}

/* How long it took from the start of the process, or of its jailer, until requests are served. */
static void measure_start(struct program *p)
{
	const struct options *o = &p->options;
	struct timespec cpu;
	uint64_t cpu_us;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	cpu_us = (uint64_t)cpu.tv_sec * 1000000 + (uint64_t)cpu.tv_nsec / 1000;
	if (o->start_time_us && clock_us() > o->start_time_us)
		metrics_set(&p->instance.metrics, METRIC_api_server_process_startup_time_us,
			    clock_us() - o->start_time_us);
	if (cpu_us > o->start_time_cpu_us)
		metrics_set(&p->instance.metrics, METRIC_api_server_process_startup_time_cpu_us,
			    cpu_us - o->start_time_cpu_us + o->parent_cpu_time_us);
}

static int start_from_file(struct program *p, struct err *e)
{
	struct instance *i = &p->instance;
	int r = config_file_apply(i, p->options.config_file, e);

	if (r < 0)
		return r;
	r = instance_start(i, e);
	if (r < 0) {
		err_wrap(e, "Failed to build MicroVM: Start microvm error");
		return r;
	}
	say(&i->logger, LOGGER_INFO, "Successfully started microvm that was configured from one single json");
	return 0;
}

static int run(struct program *p, struct err *e)
{
	const struct options *o = &p->options;
	int r = set_up_output(p, e);

	if (r < 0)
		return r;
	r = set_up_loop(p, e);
	if (r == 0 && !o->no_api) {
		r = server_new(p->loop, &p->instance, o->api_sock, o->max_payload, on_fatal, p, &p->server, e);
		if (r == 0)
			say(&p->instance.logger, LOGGER_INFO, "API server started.");
	}
	if (r < 0)
		return r;
	measure_start(p);
	terminal_catch_faults();
	terminal_output();
	terminal_take();
	/* Standard output and error, the log and the metrics are open; what the machine needs is opened under the
	 * filter. */
	if (!o->no_seccomp)
		r = vmm_confine(e);
	if (r == 0 && o->config_file)
		r = start_from_file(p, e);
	return r < 0 ? r : loop_run(p->loop);
}

static void tear_down(struct program *p)
{
	server_free(p->server);
	loop_source_free(p->ended);
	loop_source_free(p->timer);
	if (p->instance.vm)
		vmm_stop(p->instance.vm);
	instance_flush_metrics(&p->instance, NULL);
	terminal_restore();
	loop_source_free(p->term);
	loop_source_free(p->interrupt);
	loop_free(p->loop);
	instance_fini(&p->instance);
}

/* The words of the configuration's level are our own business: the status for a wrong one is not. */
static int parse(int argc, char **argv, struct options *o)
{
	enum logger_level level;
	struct err e = { 0 };

	if (options_parse(argc, argv, o, &e) < 0) {
		fprintf(stderr, "Error: Arguments parsing error: %s\n\nFor more information try --help.\n", e.text);
		return EXIT_ARGUMENTS;
	}
	if (o->level && logger_level_parse(o->level, &level) < 0) {
		fprintf(stderr,
			"Error: Invalid value for logger level: %s. Possible values: Off, Error, Warning, Info, "
			"Debug, Trace\n",
			o->level);
		return EXIT_CONFIGURATION;
	}
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	struct program p = { 0 };
	struct err e = { 0 };
	int status = parse(argc, argv, &p.options);

	if (status != EXIT_OK)
		return status;
	if (p.options.help || p.options.version) {
		/* Clients take the second word of the first line. */
		printf("Firecracker v%s\n\ncaisson-vmm %s\n%s%s", API_VERSION, CAISSON_VERSION,
		       p.options.help ? "\n" : "", p.options.help ? options_help : "");
		return EXIT_OK;
	}
	set_up_instance(&p);
	status = run(&p, &e);
	if (status < 0) {
		say(&p.instance.logger, LOGGER_ERROR, "RunWithApiError error: %s", e.text);
		terminal_restore();
		fprintf(stderr, "Error: %s\n", e.text);
		status = EXIT_GENERIC;
	}
	say(&p.instance.logger, status ? LOGGER_ERROR : LOGGER_INFO,
	    status ? "Firecracker exiting with error. exit_code=%d" : "Firecracker exiting successfully. exit_code=%d",
	    status);
	tear_down(&p);
	return status;
}
