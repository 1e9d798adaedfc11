/* SPDX-License-Identifier: Apache-2.0 */
/* The VM object, shared by vm.c, routes.c and the architecture's file. Private to the layer. */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>

#include "kvm/vm.h"

struct slot {
	gpa_t gpa;
	uint64_t size; /* 0: free */
};

struct route {
	bool used, msi;
	uint64_t address;
	uint32_t data, requester;
};

struct kvm_vm {
	struct kvm *kvm;
	int fd;
	bool split, track_dirty, pit;
	int gic, its;    /* arm64: KVM devices; -1: none */
	uint64_t *mpidr; /* arm64: the CPUs as the interrupt controller knows them */
	unsigned n_mpidr;
	pthread_mutex_t lock; /* guards what is below */
	struct slot slots[KVM_SLOTS_MAX];
	unsigned n_slots;                 /* the highest used one + 1 */
	struct route routes[KVM_GSI_MAX]; /* by gsi */
	uint32_t n_routes;                /* highest used gsi + 1 */
	unsigned hold;
	bool stale; /* a change waits for the release */
};

/* The routes of the pins. */
void kvm_routes_init(struct kvm_vm *vm);
/* Hand the table to KVM. */
int kvm_routes_commit(struct kvm_vm *vm);
