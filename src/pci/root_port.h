/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI Express root port with one slot, into which a function comes, and from which it goes, while the guest runs
 * (PCI Express 6.0 §6.7). The guest needs no firmware for that: its driver of such ports is told by MSI-X.
 *
 * The slot has an attention button, a power switch and indicators. Coming: the function is there (presence), the button
 * is pressed, the guest switches the power on, and only then sees the function. Going: the button is pressed, the guest
 * lets the function go (Linux waits five seconds for a second press, which would take it back), switches the power off,
 * and the function is taken. So a guest never loses a function that it uses, and one that has no driver for ports sees
 * none.
 *
 * A command takes no time, so that there is no event for its end ("no command completed support"). What a bridge passes
 * on is not looked at: memory windows and bus mastering of the port are registers that hold what was written.
 *
 * Everything happens inside the loop of its bus, which is the only one that makes ports (pci_bus.c).
 */
#pragma once

#include "hw/platform.h"
#include "pci/function.h"

struct root_port_ops {
	/* The function has lost its link by what the guest did: it starts anew. Inside the loop. */
	void (*link_down)(void *userdata, unsigned number);
};

/* number: from 0; the guest reads one more. */
int root_port_new(struct platform *platform, struct loop *loop, unsigned number, const struct root_port_ops *ops,
		  void *userdata, struct pci_function **ret);

/* A function is in the slot from now on. tell: and the guest hears of it. */
void root_port_insert(struct pci_function *f, bool tell);
/* The slot is empty from now on. */
void root_port_take(struct pci_function *f);
/*
 * Ask the guest to let go of what is in the slot; may be repeated. True: it need not be asked, the power is off. While
 * the guest is busy with the slot the question waits.
 */
bool root_port_ask(struct pci_function *f);
/* Was it asked, and has switched the power off? */
bool root_port_released(const struct pci_function *f);
/* Does what is in the slot answer? */
bool root_port_link(const struct pci_function *f);
/* The number of the bus behind the port, as the guest has chosen it; 0: not yet. */
uint8_t root_port_bus(const struct pci_function *f);
