// SPDX-License-Identifier: GPL-2.0
/* The cards and their physical functions: which there are, and the memory they are made of. */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/vmalloc.h>

#include "mlx5fw.h"

struct fw_card fw_cards[FW_MAX_PF];
int fw_num_cards;
struct fw_pf *fw_pfs[FW_MAX_PF];
int fw_num_pfs;

static struct fw_card *fw_card_of(int number)
{
	int i;

	for (i = 0; i < fw_num_cards; i++)
		if (fw_cards[i].bus == number)
			return &fw_cards[i];
	return NULL;
}

/* Sort the PFs by bus into cards. */
int fw_cards_plan(int buses, const int *bus, const int *node)
{
	struct fw_card *card;
	int i;

	for (i = 0; i < buses; i++) {
		if (bus[i] < 1 || bus[i] > 255) {
			pr_err("mlx5fw: there is no bus %d\n", bus[i]);
			return -EINVAL;
		}
		if (node[i] != NUMA_NO_NODE && (node[i] < 0 || node[i] >= MAX_NUMNODES || !node_online(node[i]))) {
			pr_err("mlx5fw: there is no NUMA node %d\n", node[i]);
			return -EINVAL;
		}
		card = fw_card_of(bus[i]);
		if (!card) {
			card = &fw_cards[fw_num_cards++];
			card->bus = bus[i];
			card->node = node[i];
			card->reset_ms = FW_RESET_MS;
		} else if (card->node != node[i]) {
			pr_err("mlx5fw: bus %d is on NUMA node %d, not %d\n", card->bus, card->node, node[i]);
			return -EINVAL;
		}
		card->pfs++;
	}
	return 0;
}

/* It must be RAM, and nobody else's. */
int fw_memory_check(phys_addr_t base, int pfs)
{
	resource_size_t size = (resource_size_t)pfs * FW_PF_STRIDE;
	u32 __iomem *last;
	int err = 0;

	if (!IS_ALIGNED(base, FW_PF_STRIDE)) {
		pr_err("mlx5fw: %pa is not a multiple of 16 MiB\n", &base);
		return -EINVAL;
	}
	if (region_intersects(base, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT) {
		pr_err("mlx5fw: %pa is not reserved: boot with memmap=%dM$%pa\n", &base, pfs * 16, &base);
		return -EBUSY;
	}
	last = ioremap(base + size - PAGE_SIZE, PAGE_SIZE);
	if (!last)
		return -ENOMEM;
	writel(0x5f6d6c78, last);
	if (readl(last) != 0x5f6d6c78) {
		pr_err("mlx5fw: there is no RAM at %pa\n", &base);
		err = -ENXIO;
	}
	iounmap(last);
	return err;
}

static void fw_pf_del(struct fw_pf *pf)
{
	unsigned int i;

	for (i = 0; i < 1 + fw_max_sfs; i++)
		fw_function_del(&pf->fn[i]);
	fw_faults_free(pf);
	if (pf->msix)
		iounmap(pf->msix);
	vfree(pf);
}

static int fw_pf_add(struct fw_card *card, int function, phys_addr_t base)
{
	struct fw_pf *pf = vzalloc(struct_size(pf, fn, 1 + fw_max_sfs));
	unsigned int i;
	int err;

	if (!pf)
		return -ENOMEM;
	pf->card = card;
	pf->function = function;
	pf->base = base;
	INIT_LIST_HEAD(&pf->polled);
	INIT_LIST_HEAD(&pf->events);
	INIT_LIST_HEAD(&pf->delayed);
	for (i = 0; i < 1 + fw_max_sfs; i++) {
		INIT_LIST_HEAD(&pf->fn[i].cqs);
		INIT_LIST_HEAD(&pf->fn[i].sqs);
		INIT_LIST_HEAD(&pf->fn[i].polled);
		INIT_LIST_HEAD(&pf->fn[i].event);
	}
	err = fw_faults_init(pf);
	if (err)
		goto failed;
	pf->msix = ioremap(pf->base + FW_MSIX_OFFSET, PAGE_SIZE);
	if (!pf->msix) {
		err = -ENOMEM;
		goto failed;
	}
	memset_io(pf->msix, 0, PAGE_SIZE);
	for (i = 0; i < FW_VECTORS; i++)
		writel(PCI_MSIX_ENTRY_CTRL_MASKBIT, pf->msix + i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL);
	for (i = 0; i < 1 + fw_max_sfs; i++) {
		err = fw_function_add(pf, i);
		if (err)
			goto failed;
	}
	fw_pci_config(pf);
	card->pf[function] = pf;
	fw_pfs[fw_num_pfs++] = pf;
	return 0;

failed:
	fw_pf_del(pf);
	return err;
}

/* One after another in memory, a card's in one piece. What was made before one failed is the caller's to delete. */
int fw_pfs_add(phys_addr_t base)
{
	int i, function, err;

	for (i = 0; i < fw_num_cards; i++)
		for (function = 0; function < fw_cards[i].pfs; function++) {
			err = fw_pf_add(&fw_cards[i], function, base + (phys_addr_t)fw_num_pfs * FW_PF_STRIDE);
			if (err)
				return err;
		}
	return 0;
}

void fw_pfs_del(void)
{
	while (fw_num_pfs)
		fw_pf_del(fw_pfs[--fw_num_pfs]);
}
