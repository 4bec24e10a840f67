// SPDX-License-Identifier: GPL-2.0
/*
 * The doorbell of the command queue. The BARs are plain RAM, where two writes to one register leave only the second.
 * So we do not look at the register: mlx5 writes it with iowrite32be(), which is a function, and a kprobe there sees
 * every write.
 */
#include <linux/kprobes.h>
#include <linux/vmalloc.h>

#include "mlx5fw.h"

static phys_addr_t fw_doorbell_base;

/* Note which slots of which function were rung for. Runs in the driver's context, which may be atomic. */
static int fw_doorbell_rung(struct kprobe *p, struct pt_regs *regs)
{
	u32 slots = regs->di;
	void *address = (void *)regs->si;
	unsigned int i, n = 0;
	phys_addr_t page;
	struct fw_pf *pf;

	if (offset_in_page(address) != offsetof(struct mlx5_init_seg, cmd_dbell) || !is_vmalloc_addr(address))
		return 0;
	page = PFN_PHYS(vmalloc_to_pfn(address));
	if (page < fw_doorbell_base)
		return 0;
	page -= fw_doorbell_base;
	i = page / FW_PF_STRIDE;
	if (i >= fw_num_pfs)
		return 0;
	pf = fw_pfs[i];
	page %= FW_PF_STRIDE;
	if (page) {
		if (page < FW_BAR2_OFFSET || (page - FW_BAR2_OFFSET) % FW_SF_SIZE)
			return 0;
		n = 1 + (page - FW_BAR2_OFFSET) / FW_SF_SIZE;
		if (n > fw_max_sfs)
			return 0;
	}
	atomic_or(slots, &pf->fn[n].doorbell);
	set_bit(n, pf->rung);
	fw_kick();
	return 0;
}
NOKPROBE_SYMBOL(fw_doorbell_rung);

static struct kprobe fw_doorbell = { .symbol_name = "iowrite32be", .pre_handler = fw_doorbell_rung };

int fw_doorbell_start(phys_addr_t base)
{
	int err;

	fw_doorbell_base = base;
	err = register_kprobe(&fw_doorbell);
	if (err)
		pr_err("mlx5fw: no kprobe on iowrite32be: %d\n", err);
	return err;
}

void fw_doorbell_stop(void)
{
	unregister_kprobe(&fw_doorbell);
}
