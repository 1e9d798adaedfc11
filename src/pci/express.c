/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/express.h"

#include "guestmem/le.h"

#define FLAGS        0x02
#define DEVCAP       0x04
#define DEVCTL       0x08
#define LNKCAP       0x0c
#define LNKCAP2      0x2c
#define SIZE         0x3c
#define DEVCAP_ROLES 0x00008000 /* role-based error reporting, which every function has to have */
#define DEVCTL_MASK  0x78ff
#define LNKCTL_MASK  0x00c0
#define LNKCAP2_2GT5 0x2

int express_add(struct pci_config *c, uint16_t kind, uint32_t link_capabilities)
{
	static const uint8_t zeroes[SIZE - 2];
	le16 devctl = le16_of(DEVCTL_MASK), lnkctl = le16_of(LNKCTL_MASK);
	int at = pci_config_add_capability(c, PCI_CAP_EXPRESS, zeroes, sizeof zeroes);

	if (at < 0)
		return at;
	pci_config_set16(c, (unsigned)at + FLAGS, kind);
	pci_config_set32(c, (unsigned)at + DEVCAP, DEVCAP_ROLES);
	pci_config_set32(c, (unsigned)at + LNKCAP, link_capabilities | EXPRESS_LINK);
	pci_config_set16(c, (unsigned)at + EXPRESS_LNKSTA, EXPRESS_LINK);
	pci_config_set32(c, (unsigned)at + LNKCAP2, LNKCAP2_2GT5);
	pci_config_allow(c, (unsigned)at + DEVCTL, &devctl, sizeof devctl);
	pci_config_allow(c, (unsigned)at + EXPRESS_LNKCTL, &lnkctl, sizeof lnkctl);
	return at;
}
