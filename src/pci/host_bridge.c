/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/host_bridge.h"

#include <errno.h>

static void bridge_free(struct pci_function *f)
{
	free(f);
}

int pci_host_bridge_new(struct loop *loop, struct pci_function **ret)
{
	/* The id that is set aside for the host bridge of a virtual machine without a chip set. */
	static const struct pci_identity id = { .vendor = 0x1b36, .device = 0x0008, .class = 0x060000 };
	static const struct pci_function_ops ops = { .free = bridge_free };
	struct pci_function *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	f->ops = &ops;
	f->loop = loop;
	pci_config_init(&f->config, &id);
	*ret = f;
	return 0;
}
