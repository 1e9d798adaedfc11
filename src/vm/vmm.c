/* SPDX-License-Identifier: Apache-2.0 */
/* The public interface: the life of a VM. Devices are in devices.c. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/thread.h"
#include "vm/machine.h"

#define LARGE_PAGE (2ULL << 20)

static int check_config(const struct vmm_config *c, struct err *e)
{
	uint32_t max = c->max_vcpus ? c->max_vcpus : c->vcpus;

	if (c->vcpus < 1 || max < c->vcpus || max > VMM_VCPUS_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "%u vCPUs of at most %u: 1 to %u are possible", c->vcpus, max,
			       VMM_VCPUS_MAX);
	if (c->threads_per_core > 2 || (c->threads_per_core == 2 && max % 2))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%u vCPUs in cores of %u threads: 1 thread, or 2 and an even number of vCPUs", max,
			       c->threads_per_core);
	if (!c->memory || c->memory % LARGE_PAGE || c->memory > 1ULL << 44)
		return err_set(e, ERR_CONFIG, EINVAL, "%llu bytes of memory: a multiple of 2 MiB is possible",
			       (unsigned long long)c->memory);
	if (c->shape != VMM_SHAPE_MICRO && c->shape != VMM_SHAPE_CLOUD)
		return err_set(e, ERR_CONFIG, EINVAL, "unknown machine shape %d", (int)c->shape);
#ifndef __x86_64__
	if (c->split_irqchip)
		return err_set(e, ERR_CONFIG, ENOTSUP, "a split interrupt controller is possible on x86_64 only");
#endif
	if (c->kick_signal && (c->kick_signal < SIGRTMIN || c->kick_signal > SIGRTMAX))
		return err_set(e, ERR_CONFIG, EINVAL, "signal %d is not a real-time signal", c->kick_signal);
	return 0;
}

static int copy_string(const char **s, const char *fallback)
{
	if (!*s)
		*s = fallback;
	if (*s)
		*s = strdup(*s);
	return *s || !fallback ? 0 : -ENOMEM;
}

static int copy_config(struct vmm *vm, const struct vmm_config *c)
{
	struct vmm_config *n = &vm->config;
	const char *initrd = c->initrd;

	*n = *c;
	n->kernel = n->initrd = NULL;
	if (!n->max_vcpus)
		n->max_vcpus = n->vcpus;
	if (!n->threads_per_core)
		n->threads_per_core = 1;
	if (!n->kick_signal)
		n->kick_signal = SIGRTMIN;
	if (copy_string(&n->name, "vm") < 0 || copy_string(&n->cmdline, "") < 0)
		return -ENOMEM;
	n->kernel = c->kernel ? strdup(c->kernel) : NULL;
	n->initrd = initrd ? strdup(initrd) : NULL;
	if ((c->kernel && !n->kernel) || (initrd && !n->initrd))
		return -ENOMEM;
	vm->topology = (struct kvm_topology){ .vcpus = n->max_vcpus, .threads_per_core = n->threads_per_core };
	return 0;
}

/* Everything that exists before the VM starts. */
static int build(struct vmm *vm, const struct memory_source *source, struct err *e)
{
	int r = loop_new(&vm->loop, e);

	if (r == 0)
		r = kvm_open(NULL, &vm->kvm, e);
	if (r < 0)
		return r;
	if (vm->config.max_vcpus > vm->kvm->max_vcpus)
		return err_set(e, ERR_LIMIT, EINVAL, "%u vCPUs are more than this host's KVM can run, %u",
			       vm->config.max_vcpus, vm->kvm->max_vcpus);
	r = bus_new(&vm->pio);
	if (r == 0)
		r = bus_new(&vm->mmio);
	vm->vcpus = calloc(vm->config.max_vcpus, sizeof *vm->vcpus);
	if (r < 0 || !vm->vcpus)
		return err_sys(e, ENOMEM, "cannot make a virtual machine");
	for (unsigned i = 0; i < vm->config.max_vcpus; i++)
		vm->vcpus[i] = (struct vcpu_thread){ .vm = vm, .index = i };
	vm->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->exit_fd < 0)
		return err_sys(e, errno, "cannot make a virtual machine");
	r = kvm_vm_new(vm->kvm, vm->config.track_dirty, &vm->kvm_vm, e);
	if (r == 0)
		r = memory_new(vm, source, e);
	return r < 0 ? r : board_new(vm, e);
}

int machine_add_boot_timer(struct vmm *vm, uint64_t base)
{
	if (!vm->config.boot_timer)
		return 0;
	return bus_add(vm->mmio, base, BOOT_TIMER_SIZE, &boot_timer_bus, &vm->boot_timer, NULL);
}

int machine_new(const struct vmm_config *c, const struct memory_source *source, struct vmm **ret, struct err *e)
{
	struct vmm *vm;
	int r = check_config(c, e);

	if (r < 0)
		return r;
	vm = calloc(1, sizeof *vm);
	if (!vm)
		return err_sys(e, ENOMEM, "cannot make a virtual machine");
	boot_timer_init(&vm->boot_timer);
	vm->platform.ops = &machine_platform_ops;
	vm->exit_fd = vm->memory.fd = vm->memory.base = vm->memory.uffd = -1;
	list_init(&vm->devices);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	r = copy_config(vm, c);
	if (r < 0)
		err_sys(e, -r, "cannot make a virtual machine");
	else
		r = vcpu_kick_signal_check(vm->config.kick_signal, e);
	machine_prepare_filter(vm);
	if (r == 0)
		r = build(vm, source, e);
	if (r < 0) {
		vmm_free(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

int vmm_new(const struct vmm_config *c, struct vmm **ret, struct err *e)
{
	return machine_new(c, NULL, ret, e);
}

void vmm_free(struct vmm *vm)
{
	if (!vm)
		return;
	vmm_stop(vm);
	vcpus_free(vm);
	devices_free(vm);
	board_free(vm->board);
	kvm_vm_free(vm->kvm_vm);
	memory_free(vm);
	bus_free(vm->pio);
	bus_free(vm->mmio);
	loop_free(vm->loop);
	kvm_close(vm->kvm);
	fd_close(&vm->exit_fd);
	free(vm->vcpus);
	free(vm->note);
	free((void *)(uintptr_t)vm->config.name);
	free((void *)(uintptr_t)vm->config.kernel);
	free((void *)(uintptr_t)vm->config.initrd);
	free((void *)(uintptr_t)vm->config.cmdline);
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

static void *run_loop(void *arg)
{
	struct vmm *vm = arg;
	char name[16];
	int r;

	snprintf(name, sizeof name, "%.11s-dev", vm->config.name);
	pthread_setname_np(pthread_self(), name);
	machine_confine_thread(vm, MACHINE_EVENT_LOOP);
	r = loop_run(vm->loop);
	if (r < 0)
		machine_end(vm, VMM_END_ERROR, false, "the event loop of the devices failed");
	return NULL;
}

static int start_loop(struct vmm *vm, struct err *e)
{
	int r = thread_start(&vm->loop_thread, run_loop, vm);

	if (r < 0)
		return err_sys(e, -r, "cannot start the thread of the devices");
	vm->loop_running = true;
	return 0;
}

enum vmm_state vmm_state(const struct vmm *vm)
{
	struct vmm *v = (struct vmm *)(uintptr_t)vm; /* the lock is not part of what const promises */
	enum vmm_state state;

	pthread_mutex_lock(&v->lock);
	state = v->state;
	pthread_mutex_unlock(&v->lock);
	return state;
}

/* Change the state, unless the VM has ended meanwhile. */
static void set_state(struct vmm *vm, enum vmm_state state)
{
	pthread_mutex_lock(&vm->lock);
	if (vm->state != VMM_ENDED)
		vm->state = state;
	pthread_mutex_unlock(&vm->lock);
}

static int expect(struct vmm *vm, enum vmm_state state, const char *verb, struct err *e)
{
	static const char *const names[] = { "has not been started", "is running", "is paused", "has ended" };
	enum vmm_state is = vmm_state(vm);

	if (is == state)
		return 0;
	return err_set(e, ERR_CONFIG, EINVAL, "cannot %s the virtual machine: it %s", verb, names[is]);
}

/* The threads, which wait. The vCPUs are made. */
static int start_threads(struct vmm *vm, struct err *e)
{
	int r = start_loop(vm, e);

	for (unsigned i = 0; r == 0 && i < vm->config.max_vcpus; i++)
		if (vm->vcpus[i].made)
			r = vcpu_start(vm, i, e);
	return r;
}

int vmm_start(struct vmm *vm, struct err *e)
{
	int r = expect(vm, VMM_NEW, "start", e);

	if (r < 0)
		return r;
	for (unsigned i = 0; r == 0 && i < vm->config.vcpus; i++) {
		r = vcpu_new(vm, i, e);
		vm->vcpus[i].enabled = true;
	}
	if (r == 0)
		r = board_boot(vm, e);
	if (r == 0)
		r = start_threads(vm, e);
	if (r < 0)
		return r;
	board_start_hotplug(vm->board);
	set_state(vm, VMM_RUNNING);
	vcpus_want(vm, VCPU_RUN, false);
	return 0;
}

int machine_start_paused(struct vmm *vm, struct err *e)
{
	int r = start_threads(vm, e);

	if (r < 0)
		return r;
	board_start_hotplug(vm->board);
	set_state(vm, VMM_PAUSED);
	return 0;
}

int vmm_pause(struct vmm *vm, struct err *e)
{
	int r = expect(vm, VMM_RUNNING, "pause", e);

	if (r < 0)
		return vmm_state(vm) == VMM_PAUSED ? 0 : r;
	vcpus_want(vm, VCPU_PAUSE, true);
	for (unsigned i = 0; i < vm->config.max_vcpus; i++)
		if (vm->vcpus[i].started)
			kvm_vcpu_was_paused(vm->vcpus[i].kvm);
	devices_pause(vm);
	set_state(vm, VMM_PAUSED);
	return expect(vm, VMM_PAUSED, "pause", e);
}

int vmm_resume(struct vmm *vm, struct err *e)
{
	int r = expect(vm, VMM_PAUSED, "resume", e);

	if (r < 0)
		return vmm_state(vm) == VMM_RUNNING ? 0 : r;
	devices_resume(vm);
	set_state(vm, VMM_RUNNING);
	vcpus_want(vm, VCPU_RUN, false);
	return 0;
}

int vmm_power_button(struct vmm *vm, struct err *e)
{
	int r = expect(vm, VMM_RUNNING, "press the power button of", e);

	if (r < 0)
		return r;
	loop_enter(vm->loop);
	r = board_power_button(vm, e);
	loop_leave(vm->loop);
	return r;
}

int vmm_ctrl_alt_del(struct vmm *vm, struct err *e)
{
	int r = expect(vm, VMM_RUNNING, "press Ctrl-Alt-Del on", e);

	if (r < 0)
		return r;
	loop_enter(vm->loop);
	r = board_ctrl_alt_del(vm, e);
	loop_leave(vm->loop);
	return r;
}

void vmm_stop(struct vmm *vm)
{
	/* Half-built: nothing ran. */
	if (!vm->loop || vm->exit_fd < 0)
		return;
	machine_end(vm, VMM_END_STOPPED, false, "");
	vcpus_want(vm, VCPU_STOP, true);
	if (vm->loop_running) {
		loop_quit(vm->loop, 0);
		pthread_join(vm->loop_thread, NULL);
		vm->loop_running = false;
	}
}

int vmm_exit_fd(const struct vmm *vm)
{
	return vm->exit_fd;
}

void vmm_exit_info(const struct vmm *vm, struct vmm_exit *ret)
{
	struct vmm *v = (struct vmm *)(uintptr_t)vm;

	pthread_mutex_lock(&v->lock);
	*ret = v->exit;
	pthread_mutex_unlock(&v->lock);
}

size_t vmm_vcpu_threads(const struct vmm *vm, pid_t *ret, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < vm->config.max_vcpus; i++) {
		if (!vm->vcpus[i].started)
			continue;
		if (n < max)
			ret[n] = vm->vcpus[i].tid;
		n++;
	}
	return n;
}

void machine_cpu_ejected(struct vmm *vm, unsigned cpu)
{
	/* Its thread stays: the guest left the CPU halted, and starts it by INIT when it is inserted again. */
	if (cpu < vm->config.max_vcpus)
		vm->vcpus[cpu].enabled = false;
}

/* How many CPUs the guest may use. Inside the loop. */
static uint32_t count_enabled(const struct vmm *vm)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < vm->config.max_vcpus; i++)
		n += vm->vcpus[i].enabled;
	return n;
}

static int plug_cpu(struct vmm *vm, unsigned i, struct err *e)
{
	struct vcpu_thread *t = &vm->vcpus[i];
	int r = vcpu_new(vm, i, e);

	if (r == 0)
		r = vcpu_start(vm, i, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&vm->lock);
	if (vm->state == VMM_RUNNING && t->want == VCPU_PAUSE) {
		t->want = VCPU_RUN;
		t->idle = false;
		pthread_cond_broadcast(&vm->changed);
	}
	pthread_mutex_unlock(&vm->lock);
	loop_enter(vm->loop);
	t->enabled = true;
	board_cpu(vm, i, true);
	loop_leave(vm->loop);
	return 0;
}

int vmm_set_vcpus(struct vmm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	int r = expect(vm, VMM_RUNNING, "change the vCPUs of", e);

	if (r < 0)
		return r;
	if (!board_cpu_hotplug && vcpus != vm->config.vcpus)
		return err_set(e, ERR_CONFIG, ENOTSUP, "%u vCPUs: this machine has %u as long as it runs", vcpus,
			       vm->config.vcpus);
	if (vcpus < 1 || vcpus > vm->config.max_vcpus)
		return err_set(e, ERR_CONFIG, EINVAL, "%u vCPUs: 1 to %u are possible", vcpus, vm->config.max_vcpus);
	/* The lowest numbers are in use; CPU 0 never goes. */
	for (unsigned i = 1; r == 0 && i < vm->config.max_vcpus; i++) {
		bool enabled;

		loop_enter(vm->loop);
		enabled = vm->vcpus[i].enabled;
		if (i >= vcpus && enabled)
			board_cpu(vm, i, false);
		loop_leave(vm->loop);
		if (i < vcpus && !enabled)
			r = plug_cpu(vm, i, e);
	}
	loop_enter(vm->loop);
	if (r == 0)
		*ret = count_enabled(vm);
	loop_leave(vm->loop);
	return r;
}
