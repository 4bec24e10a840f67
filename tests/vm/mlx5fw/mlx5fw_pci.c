// SPDX-License-Identifier: GPL-2.0
/* The card on PCI: a root bus of its own, and functions whose BARs are reserved RAM. */
#include <linux/irqdomain.h>
#include <linux/msi.h>
#include <asm/irqdomain.h>

#include "mlx5fw.h"

#define FW_CAP_EXP	0x60
#define FW_CAP_MSIX	0xa0
#define FW_CAP_VSC	0xb0
#define FW_VSC_BYTES	0x18
#define FW_VSC_COUNTER	0x8
#define FW_VSC_SEMAPHORE	0xc
#define FW_CAP_VPD	0xd0
#define FW_CONNECTX6DX	0x101d
#define FW_LINK		(4 | 16 << 4)	/* 16 GT/s, 16 lanes */

static void set(struct fw_pf *pf, int at, u32 value, u32 writable)
{
	put_unaligned_le32(value, pf->config + at);
	put_unaligned_le32(writable, pf->writable + at);
}

/* A 64-bit prefetchable BAR; `size` is a power of two and `at` a multiple of it. */
static void set_bar(struct fw_pf *pf, int bar, u64 at, u64 size)
{
	int reg = PCI_BASE_ADDRESS_0 + 4 * bar;

	set(pf, reg, lower_32_bits(at) | PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
	    lower_32_bits(~(size - 1)));
	set(pf, reg + 4, upper_32_bits(at), upper_32_bits(~(size - 1)));
}

void fw_pci_config(struct fw_pf *pf)
{
	u8 header = PCI_HEADER_TYPE_NORMAL | (pf->card->pfs > 1 ? PCI_HEADER_TYPE_MFD : 0);

	set(pf, PCI_VENDOR_ID, FW_CONNECTX6DX << 16 | PCI_VENDOR_ID_MELLANOX, 0);
	set(pf, PCI_COMMAND, PCI_STATUS_CAP_LIST << 16 | PCI_COMMAND_MEMORY,
	    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
	    PCI_COMMAND_INTX_DISABLE);
	set(pf, PCI_CLASS_REVISION, PCI_CLASS_NETWORK_ETHERNET << 16, 0);
	set(pf, PCI_CACHE_LINE_SIZE, header << 16, 0xff);
	set_bar(pf, 0, pf->base, FW_BAR0_SIZE);
	set_bar(pf, 2, pf->base + FW_BAR2_OFFSET, FW_PF_STRIDE - FW_BAR2_OFFSET);
	set(pf, PCI_SUBSYSTEM_VENDOR_ID, 1 << 16 | PCI_VENDOR_ID_MELLANOX, 0);
	set(pf, PCI_CAPABILITY_LIST, FW_CAP_EXP, 0);
	set(pf, PCI_INTERRUPT_LINE, 0, 0xff);

	set(pf, FW_CAP_EXP, 2 << 16 | FW_CAP_MSIX << 8 | PCI_CAP_ID_EXP, 0);
	set(pf, FW_CAP_EXP + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER | 2, 0);
	set(pf, FW_CAP_EXP + PCI_EXP_DEVCTL, 0x2810, 0xffff);
	set(pf, FW_CAP_EXP + PCI_EXP_LNKCAP, FW_LINK, 0);
	set(pf, FW_CAP_EXP + PCI_EXP_LNKCTL, FW_LINK << 16, 0xffff);
	set(pf, FW_CAP_EXP + PCI_EXP_LNKCAP2, PCI_EXP_LNKCAP2_SLS_2_5GB | PCI_EXP_LNKCAP2_SLS_5_0GB |
	    PCI_EXP_LNKCAP2_SLS_8_0GB | PCI_EXP_LNKCAP2_SLS_16_0GB, 0);

	set(pf, FW_CAP_MSIX, (FW_VECTORS - 1) << 16 | FW_CAP_VSC << 8 | PCI_CAP_ID_MSIX,
	    (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) << 16);
	set(pf, FW_CAP_MSIX + PCI_MSIX_TABLE, FW_MSIX_OFFSET, 0);
	set(pf, FW_CAP_MSIX + PCI_MSIX_PBA, FW_PBA_OFFSET, 0);

	/*
	 * A semaphore that is free for whoever writes the counter into it, and no space behind it. Without it the driver
	 * looks for one for six seconds before it resets the firmware.
	 */
	set(pf, FW_CAP_VSC, FW_VSC_BYTES << 16 | FW_CAP_VPD << 8 | PCI_CAP_ID_VNDR, 0);
	set(pf, FW_CAP_VSC + FW_VSC_COUNTER, 1, 0);
	set(pf, FW_CAP_VSC + FW_VSC_SEMAPHORE, 0, ~0);

	set(pf, FW_CAP_VPD, PCI_CAP_ID_VPD, 0xffff0000);
	fw_vpd_init(pf);
}

/* Whether the function may read and write the host's memory. */
bool fw_pci_master(struct fw_pf *pf)
{
	return get_unaligned_le16(pf->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}

/* Whether MSI-X is on, and whether all vectors are masked together. */
bool fw_pci_vectors(struct fw_pf *pf, bool *masked)
{
	u16 flags = get_unaligned_le16(pf->config + FW_CAP_MSIX + PCI_MSIX_FLAGS);

	*masked = flags & PCI_MSIX_FLAGS_MASKALL;
	return flags & PCI_MSIX_FLAGS_ENABLE;
}

static struct fw_pf *pf_at(struct pci_bus *bus, unsigned int devfn, int where, int size)
{
	struct fw_card *card = container_of((struct pci_sysdata *)bus->sysdata, struct fw_card, sysdata);

	if (bus->number != card->bus || PCI_SLOT(devfn) || PCI_FUNC(devfn) >= card->pfs)
		return NULL;
	if (where < 0 || where + size > PCI_CFG_SPACE_EXP_SIZE)
		return NULL;
	return card->pf[PCI_FUNC(devfn)];
}

static int config_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	struct fw_pf *pf = pf_at(bus, devfn, where, size);
	int i;

	if (!pf) {
		PCI_SET_ERROR_RESPONSE(value);
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*value = 0;
	for (i = 0; i < size; i++)
		*value |= (u32)pf->config[where + i] << (8 * i);
	return PCIBIOS_SUCCESSFUL;
}

static int config_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	struct fw_pf *pf = pf_at(bus, devfn, where, size);
	int i;

	if (!pf)
		return PCIBIOS_DEVICE_NOT_FOUND;
	for (i = 0; i < size; i++) {
		u8 mask = pf->writable[where + i];

		pf->config[where + i] = (pf->config[where + i] & ~mask) | ((value >> (8 * i)) & mask);
	}
	if (where <= FW_CAP_VPD + PCI_VPD_ADDR && where + size > FW_CAP_VPD + PCI_VPD_ADDR)
		fw_vpd_read(pf, pf->config + FW_CAP_VPD);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops fw_pci_ops = { .read = config_read, .write = config_write };

/*
 * A function that is found, at first or by a rescan: its BARs are where they are, in reserved RAM that the PCI core would
 * never choose, and are claimed before it looks for a place. Interrupt remapping, where it is on, takes the MSI domain
 * from the function, for no IOMMU knows its bus; its interrupts are plain MSI writes.
 */
static int found(struct notifier_block *unused, unsigned long action, void *data)
{
	struct pci_dev *pdev = to_pci_dev(data);
	struct resource *bar;
	int i;

	if (action != BUS_NOTIFY_ADD_DEVICE || pdev->bus->ops != &fw_pci_ops)
		return NOTIFY_DONE;
	pci_dev_for_each_resource(pdev, bar, i) {
		if (!bar->flags || bar->parent)
			continue;
		bar->flags |= IORESOURCE_PCI_FIXED;
		if (pci_claim_resource(pdev, i))
			pci_warn(pdev, "mlx5fw: BAR %d is not in the card's window\n", i);
	}
	dev_set_msi_domain(&pdev->dev, x86_vector_domain);
	return NOTIFY_OK;
}

static struct notifier_block fw_pci_notifier = { .notifier_call = found };

void fw_pci_watch(void)
{
	bus_register_notifier(&pci_bus_type, &fw_pci_notifier);
}

void fw_pci_unwatch(void)
{
	bus_unregister_notifier(&pci_bus_type, &fw_pci_notifier);
}

/* Scan the card's bus: drivers bind here. */
int fw_pci_start(struct fw_card *card)
{
	LIST_HEAD(resources);
	int err = 0;

	card->sysdata.domain = 0;
	card->sysdata.node = card->node;
	card->numbers = (struct resource){ .name = "mlx5fw bus", .flags = IORESOURCE_BUS,
					   .start = card->bus, .end = card->bus };
	pci_add_resource(&resources, &card->numbers);
	/* One for all functions: the PCI core cannot take windows that touch. */
	card->window = (struct resource){ .name = "mlx5fw", .start = card->pf[0]->base,
					  .end = card->pf[card->pfs - 1]->base + FW_PF_STRIDE - 1,
					  .flags = IORESOURCE_MEM | IORESOURCE_MEM_64 | IORESOURCE_PREFETCH };
	pci_add_resource(&resources, &card->window);
	pci_lock_rescan_remove();
	if (pci_find_bus(0, card->bus)) {
		pr_err("mlx5fw: bus %#x is taken\n", card->bus);
		err = -EBUSY;
		goto unlock;
	}
	card->root = pci_scan_root_bus(NULL, card->bus, &fw_pci_ops, &card->sysdata, &resources);
	if (!card->root) {
		err = -ENODEV;
		goto unlock;
	}
	pci_bus_add_devices(card->root);
unlock:
	pci_unlock_rescan_remove();
	if (err)
		pci_free_resource_list(&resources);
	return err;
}

/* Remove the bus: a driver that is bound is told. */
void fw_pci_stop(struct fw_card *card)
{
	pci_lock_rescan_remove();
	pci_stop_root_bus(card->root);
	pci_remove_root_bus(card->root);
	pci_unlock_rescan_remove();
	card->root = NULL;
}
