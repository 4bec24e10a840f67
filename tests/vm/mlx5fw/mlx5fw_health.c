// SPDX-License-Identifier: GPL-2.0
/*
 * A firmware that is ill, and its reset.
 *
 * The card says so in the health buffer, which is the same for all its functions, and asks for a reset. The driver of a
 * PF orders it in the field of the NIC's state, and waits until that says `disabled`; it starts anew then, and names a
 * command queue, which makes it `full` again.
 */
#include <linux/io.h>
#include <linux/kern_levels.h>

#include "mlx5fw.h"

#define FW_NIC_STATES		0x7
#define FW_RESET_ASKED		BIT(MLX5_RFR_BIT_OFFSET)
#define FW_SEVERITY_VALID	BIT(3)
/* The driver waits no longer for it. */
#define FW_LONGEST_RESET_MS	4000

const char *const fw_health_names[FW_HEALTHS] = { "well", "fatal", "stays" };

/* Write what the card says of itself into the function's segment. */
void fw_health_show(struct fw_function *f)
{
	struct mlx5_init_seg *iseg = f->iseg;
	bool ill = f->pf->card->health != FW_WELL;

	WRITE_ONCE(iseg->health.rfr_severity, ill ? FW_RESET_ASKED | FW_SEVERITY_VALID | LOGLEVEL_CRIT : 0);
	WRITE_ONCE(iseg->health.synd, ill ? MLX5_INITIAL_SEG_HEALTH_SYNDROME_FW_INTERNAL_ERR : 0);
}

/* Assumed: an ill firmware still answers commands. The driver sends none once it has seen the syndrome. */
void fw_health_set(struct fw_card *card, enum fw_health health)
{
	unsigned int i;
	int function;

	card->health = health;
	for (function = 0; function < card->pfs; function++)
		for (i = 0; i < 1 + fw_max_sfs; i++)
			fw_health_show(&card->pf[function]->fn[i]);
}

static bool fw_reset_ordered(const struct fw_card *card)
{
	u32 low;
	int function;

	for (function = 0; function < card->pfs; function++) {
		low = be32_to_cpu(READ_ONCE(card->pf[function]->fn[0].iseg->cmdq_addr_l_sz));
		if ((low >> MLX5_NIC_IFC_OFFSET & FW_NIC_STATES) == MLX5_INITIAL_SEG_NIC_INTERFACE_SW_RESET)
			return true;
	}
	return false;
}

/* Assumed: an address that was set for a function is gone with the reset, as its capabilities and its number are. */
static void fw_pf_restart(struct fw_pf *pf)
{
	struct fw_function *f;
	unsigned int i;

	fw_sfs_forget(pf);
	for (i = 0; i < 1 + fw_max_sfs; i++) {
		f = &pf->fn[i];
		fw_function_reset(f);
		f->iseg->cmdq_addr_l_sz =
			cpu_to_be32(MLX5_INITIAL_SEG_NIC_INTERFACE_DISABLED << MLX5_NIC_IFC_OFFSET | FW_CMDQ_LAYOUT);
		if (fw_is_sf(f))
			fw_vport_forget_mac(f);
	}
	if (fw_caps_reset(&pf->fn[0]))
		pr_warn("mlx5fw: no memory for the capabilities of %#x\n", pf->fn[0].id);
}

/*
 * Begin a reset that was ordered, or end it; says in how many jiffies to look again. Assumed: an order of one PF resets
 * the whole card, and until that is done nobody is answered and no counter goes on.
 */
unsigned long fw_health_serve(struct fw_card *card)
{
	unsigned long now = jiffies;
	int function;

	if (!card->resetting) {
		if (card->health == FW_WELL || !fw_reset_ordered(card))
			return MAX_SCHEDULE_TIMEOUT;
		card->resetting = true;
		card->reset_until = now + msecs_to_jiffies(min_t(u32, READ_ONCE(card->reset_ms), FW_LONGEST_RESET_MS));
	}
	if (time_before(now, card->reset_until))
		return card->reset_until - now;
	card->resetting = false;
	card->resets++;
	if (card->health == FW_FATAL)
		card->health = FW_WELL;
	for (function = 0; function < card->pfs; function++)
		fw_pf_restart(card->pf[function]);
	return 1;
}
