// SPDX-License-Identifier: GPL-2.0
/* A function: its initialization segment, its heartbeat, and how it is put back to the beginning. */
#include <linux/io.h>

#include "mlx5fw.h"

#define FW_MAJOR	22
#define FW_MINOR	35
#define FW_SUBMINOR	1012
#define FW_CMDIF	5

/* How long the driver waits for the firmware and for a command: as it would by itself. Without these it asks no more. */
#define FW_INIT_S	2
#define FW_COMMAND_S	60
#define FW_TIME(seconds)	(FW_SECONDS << 29 | (seconds))

/* The segment is RAM, mapped uncached as the driver maps it: the same page must not be mapped in two ways. */
static struct mlx5_init_seg *fw_iseg_map(phys_addr_t at)
{
	return (__force void *)ioremap(at, FW_ISEG_SIZE);
}

/* Map the segment of the function `index`: 0 is the PF, 1 its first sub-function. */
int fw_function_add(struct fw_pf *pf, int index)
{
	struct fw_function *f = &pf->fn[index];
	phys_addr_t at = pf->base;
	int err;

	f->pf = pf;
	f->uars = FW_PF_UARS;
	if (index) {
		f->id = FW_SF_BASE + index - 1;
		f->uars = FW_SF_SIZE / SZ_4K;
		at += FW_BAR2_OFFSET + (index - 1) * FW_SF_SIZE;
	}
	f->iseg = fw_iseg_map(at);
	if (!f->iseg)
		return -ENOMEM;
	/* A sub-function has capabilities from ALLOC_SF on. */
	err = index ? 0 : fw_caps_reset(f);
	if (err)
		return err;
	fw_vport_init(f);
	fw_function_reset(f);
	return 0;
}

void fw_function_del(struct fw_function *f)
{
	if (!f->pf)
		return;
	fw_function_quiesce(f);
	fw_mailbox_drop(f);
	fw_caps_free(f);
	if (f->iseg)
		iounmap((__force void __iomem *)f->iseg);
}

/* From here on no queue of the function is read or written. */
void fw_function_quiesce(struct fw_function *f)
{
	fw_queues_free(f);
	fw_eq_free(f);
}

/* As after a reset: the driver finds it ready, without queues, and names a new command queue. */
void fw_function_reset(struct fw_function *f)
{
	struct mlx5_init_seg *iseg = f->iseg;

	fw_function_quiesce(f);
	fw_mailbox_drop(f);
	memset_io((__force void __iomem *)iseg, 0, FW_ISEG_SIZE);
	iseg->fw_rev = cpu_to_be32(FW_MINOR << 16 | FW_MAJOR);
	iseg->cmdif_rev_fw_sub = cpu_to_be32(FW_CMDIF << 16 | FW_SUBMINOR);
	iseg->cmdq_addr_l_sz = cpu_to_be32(FW_CMDQ_LAYOUT);
	iseg->cmd_q_init_to = cpu_to_be32(FW_TIME(FW_INIT_S));
	iseg->cmd_exec_to = cpu_to_be32(FW_TIME(FW_COMMAND_S));
	/* Only a PF's driver looks whether the firmware can be reset. */
	iseg->initializing = cpu_to_be32(fw_is_sf(f) ? 0 : BIT(MLX5_FW_RESET_SUPPORTED_OFFSET));
	fw_health_show(f);
	f->cmdq = 0;
	f->next_uar = 0;
	atomic_set(&f->doorbell, 0);
}

/*
 * Without it the driver's health poll takes the firmware for dead; that of a PF also waits for it before it names a
 * command queue, when the firmware was reset.
 */
void fw_function_beat(struct fw_function *f)
{
	struct mlx5_init_seg *iseg = f->iseg;

	if (f->cmdq || !fw_is_sf(f))
		WRITE_ONCE(iseg->health_counter,
			   cpu_to_be32((be32_to_cpu(iseg->health_counter) + 1) & 0xffffff));
}

/* The PF's sub-function with that function id (or vport number); a sub-function knows none. */
struct fw_function *fw_function_of(struct fw_function *f, u16 id)
{
	if (fw_is_sf(f) || id < FW_SF_BASE || id >= FW_SF_BASE + fw_max_sfs)
		return NULL;
	return &f->pf->fn[1 + id - FW_SF_BASE];
}

/*
 * The function that a command is about which has a bit other_function or other_vport at byte 8, and an id at byte 10.
 * NULL if it may not speak of that one, or there is none.
 */
struct fw_function *fw_function_other(struct fw_function *f, const u8 *in)
{
	u16 id = get_unaligned_be16(in + 10);

	if (!(in[8] & BIT(7)))
		return f;
	if (!fw_is_sf(f) && (!id || id == FW_UPLINK))
		return f;
	return fw_function_of(f, id);
}

/* An id for an object: 24 bits, never 0. */
u32 fw_fresh_id(struct fw_function *f)
{
	f->next_id = (f->next_id + 1) & 0xffffff;
	if (!f->next_id)
		f->next_id = 1;
	return f->next_id;
}
