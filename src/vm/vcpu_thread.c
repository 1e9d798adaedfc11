/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that run vCPUs. Each asks under the lock what it shall do, and runs the guest until it is kicked or the
 * guest ends.
 *
 * A kick is never lost: who wants something says so and sets the vCPU's kick flag under the lock, then sends the
 * signal; the thread takes the flag back under the lock before it looks. Between that look and the guest, the flag
 * makes KVM return at once; inside the guest the signal does. The signal is blocked everywhere else, and its handler
 * is empty: it exists only because the default action of a signal would end the process.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "vm/ioapic_lines.h"
#include "vm/machine.h"

static void on_kick(int signo)
{
	(void)signo;
}

int vcpu_kick_signal_check(int signo, struct err *e)
{
	struct sigaction sa;

	if (sigaction(signo, NULL, &sa) < 0)
		return err_sys(e, errno, "cannot use signal %d to stop vCPUs", signo);
	if (sa.sa_handler == SIG_IGN)
		return err_set(e, ERR_CONFIG, EBUSY,
			       "signal %d, which shall stop vCPUs, is ignored in this process: choose another one",
			       signo);
	if (sa.sa_handler != SIG_DFL)
		return 0; /* any handler will do */
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = on_kick;
	if (sigaction(signo, &sa, NULL) < 0)
		return err_sys(e, errno, "cannot use signal %d to stop vCPUs", signo);
	return 0;
}

int vcpu_new(struct vmm *vm, unsigned i, struct err *e)
{
	struct vcpu_thread *t = &vm->vcpus[i];
	int r = t->kvm ? 0 : kvm_vcpu_new(vm->kvm_vm, i, &t->kvm, e);

	/* KVM makes each once: one whose features could not be set is kept, and gets them when it is wanted again. */
	if (r == 0 && !t->made)
		r = kvm_vcpu_reset(t->kvm, &vm->topology, e);
	t->made |= r == 0;
	return r;
}

/* Why the guest left for good. */
static void on_exit_of_guest(struct vcpu_thread *t, const struct kvm_exit *exit)
{
	switch (exit->why) {
	case KVM_WHY_KICKED:
		break;
	case KVM_WHY_SHUTDOWN:
		machine_end(t->vm, VMM_END_RESET, true, exit->text);
		break;
	case KVM_WHY_POWEROFF:
		machine_end(t->vm, VMM_END_POWEROFF, false, "");
		break;
	case KVM_WHY_RESET:
		machine_end(t->vm, VMM_END_RESET, false, "");
		break;
	case KVM_WHY_CRASH:
		machine_end(t->vm, VMM_END_PANIC, true, "");
		break;
	case KVM_WHY_FAILED:
		machine_end(t->vm, VMM_END_ERROR, true, exit->text);
		break;
	}
}

/* Wait for something else to do than to pause. The lock is held. */
static enum vcpu_want next_order(struct vcpu_thread *t)
{
	kvm_vcpu_unkick(t->kvm);
	while (t->want == VCPU_PAUSE) {
		/* Said once: threads that told each other of every wake-up would wake each other for ever. */
		if (!t->idle) {
			t->idle = true;
			pthread_cond_broadcast(&t->vm->changed);
		}
		pthread_cond_wait(&t->vm->changed, &t->vm->lock);
		kvm_vcpu_unkick(t->kvm);
	}
	t->idle = t->want == VCPU_STOP;
	return t->want;
}

static void *run(void *arg)
{
	struct vcpu_thread *t = arg;
	struct vmm *vm = t->vm;
	const struct kvm_vcpu_io io = { .pio = vm->pio,
					.mmio = vm->mmio,
					.eoi = vm->ioapic ? ioapic_lines_end_of_interrupt : NULL,
					.userdata = vm->ioapic };
	struct kvm_exit exit;
	sigset_t kick;
	char name[16];

	snprintf(name, sizeof name, "%.8s-cpu%u", vm->config.name, t->index);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&kick);
	sigaddset(&kick, vm->config.kick_signal);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	machine_confine_thread(vm, MACHINE_VCPU);
	pthread_mutex_lock(&vm->lock);
	t->tid = gettid();
	pthread_cond_broadcast(&vm->changed);
	while (next_order(t) == VCPU_RUN) {
		pthread_mutex_unlock(&vm->lock);
		kvm_vcpu_run(t->kvm, &io, &exit);
		on_exit_of_guest(t, &exit);
		pthread_mutex_lock(&vm->lock);
	}
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	return NULL;
}

int vcpu_start(struct vmm *vm, unsigned i, struct err *e)
{
	struct vcpu_thread *t = &vm->vcpus[i];
	int r;

	if (t->started)
		return 0;
	t->want = VCPU_PAUSE;
	t->idle = true;
	r = thread_start(&t->thread, run, t);
	if (r < 0)
		return err_sys(e, -r, "cannot start the thread of vCPU %u", i);
	t->started = true;
	/* Its id is known when it is idle for the first time. */
	pthread_mutex_lock(&vm->lock);
	while (!t->tid)
		pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

void vcpus_want(struct vmm *vm, enum vcpu_want want, bool wait)
{
	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < vm->config.max_vcpus; i++) {
		struct vcpu_thread *t = &vm->vcpus[i];

		if (!t->started || t->want == VCPU_STOP || (want == VCPU_RUN && vm->state == VMM_ENDED))
			continue;
		t->want = want;
		if (want == VCPU_RUN) {
			t->idle = false;
			continue;
		}
		kvm_vcpu_kick(t->kvm);
		pthread_kill(t->thread, vm->config.kick_signal);
	}
	pthread_cond_broadcast(&vm->changed);
	for (unsigned i = 0; wait && i < vm->config.max_vcpus; i++)
		while (vm->vcpus[i].started && !vm->vcpus[i].idle)
			pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

void vcpus_free(struct vmm *vm)
{
	if (!vm->vcpus)
		return;
	vcpus_want(vm, VCPU_STOP, false);
	for (unsigned i = 0; i < vm->config.max_vcpus; i++) {
		struct vcpu_thread *t = &vm->vcpus[i];

		if (t->started)
			pthread_join(t->thread, NULL);
		t->started = false;
		kvm_vcpu_free(t->kvm);
		t->kvm = NULL;
		t->made = false;
	}
}
