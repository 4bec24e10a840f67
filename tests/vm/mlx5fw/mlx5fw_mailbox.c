// SPDX-License-Identifier: GPL-2.0
/* The command queue: commands gathered from the driver's memory, answered there, and announced. */
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "mlx5fw.h"

#define FW_INLINE	16
#define FW_SYNDROME	0x516d
/*
 * More of a command is not looked at, and more of an answer is not given. Longer ones exist (memory keys with long page
 * lists), but none of those that mean something here.
 */
#define FW_MOST		SZ_64K

static u8 *fw_in, *fw_out;

int fw_mailbox_init(void)
{
	fw_in = vzalloc(FW_MOST);
	fw_out = vzalloc(FW_MOST);
	if (!fw_in || !fw_out) {
		fw_mailbox_exit();
		return -ENOMEM;
	}
	return 0;
}

void fw_mailbox_exit(void)
{
	vfree(fw_in);
	vfree(fw_out);
	fw_in = NULL;
	fw_out = NULL;
}

/* The next block of a chain, or NULL at its end. */
static struct mlx5_cmd_prot_block *fw_block(__be64 at)
{
	return at ? fw_memory(be64_to_cpu(at), sizeof(struct mlx5_cmd_prot_block)) : NULL;
}

/* Collect `len` bytes; says whether the chain has so many. */
static bool fw_gather(const struct mlx5_cmd_layout *entry, u8 *to, u32 len)
{
	struct mlx5_cmd_prot_block *block;
	__be64 next = entry->in_ptr;
	u32 at = min(len, FW_INLINE), part;

	memcpy(to, entry->in, at);
	for (; at < len; at += part) {
		block = fw_block(next);
		if (!block)
			return false;
		part = min_t(u32, len - at, sizeof(block->data));
		memcpy(to + at, block->data, part);
		next = block->next;
	}
	return true;
}

/* Spread `len` bytes as far as the chain has room. */
static void fw_scatter(struct mlx5_cmd_layout *entry, const u8 *from, u32 len)
{
	struct mlx5_cmd_prot_block *block;
	__be64 next = entry->out_ptr;
	u32 at = min(len, FW_INLINE), part;

	memcpy(entry->out, from, at);
	for (; at < len; at += part) {
		block = fw_block(next);
		if (!block)
			return;
		part = min_t(u32, len - at, sizeof(block->data));
		memcpy(block->data, from + at, part);
		next = block->next;
	}
}

/* Whether the answer is put off; if memory lacks for that it is given at once. */
static bool fw_put_off(struct fw_function *f, int slot, u32 ms)
{
	struct fw_delayed *delayed = kzalloc(sizeof(*delayed), GFP_KERNEL);

	if (!delayed)
		return false;
	delayed->f = f;
	delayed->slot = slot;
	delayed->at = jiffies + msecs_to_jiffies(ms);
	list_add_tail(&delayed->list, &f->pf->delayed);
	return true;
}

/* Carry out, or fail as the tester wants. */
static u8 fw_execute(struct fw_call *call, s64 who)
{
	u16 opcode = get_unaligned_be16(call->in);
	u8 status, injected = fw_fault_take(&call->f->pf->faults.fail, opcode, who);

	switch (injected ? opcode : 0) {
	case 0:
	/* The driver frees the memory of these whatever we answer: so we must forget it. */
	case MLX5_CMD_OP_DESTROY_EQ:
	case MLX5_CMD_OP_DESTROY_CQ:
	case MLX5_CMD_OP_DESTROY_SQ:
		status = fw_command(call);
		break;
	}
	if (injected)
		status = injected;
	fw_fault_record(call->f->pf, opcode, who, status, injected);
	return status;
}

/* One slot; `late`: it has been put off once. */
static void fw_run(struct fw_function *f, int slot, bool late)
{
	struct mlx5_cmd_layout *entry = fw_memory(f->cmdq + ((u64)slot << FW_LOG_STRIDE), sizeof(*entry));
	struct fw_call call = { .f = f, .in = fw_in, .out = fw_out };
	struct mlx5_eqe_cmd done = { .vector = cpu_to_be32(BIT(slot)) };
	/* Before it is carried out: the driver polls for the command that makes the queue of these events. */
	bool announce = fw_event_wanted(f, MLX5_EVENT_TYPE_CMD);
	u32 inlen, ms;
	u8 status;
	s64 who;

	if (!entry)
		return;
	if (!(READ_ONCE(entry->status_own) & CMD_OWNER_HW)) {
		pr_warn_ratelimited("mlx5fw: function %#x: a doorbell for slot %d, which is not ours\n", f->id, slot);
		return;
	}
	smp_rmb();	/* the ownership before the command */
	inlen = be32_to_cpu(entry->inlen);
	call.inlen = min(inlen, FW_MOST);
	call.outlen = min_t(u32, be32_to_cpu(entry->outlen), FW_MOST);
	memset(fw_in, 0, FW_INLINE);
	memset(fw_out, 0, max_t(u32, call.outlen, FW_INLINE));
	if (call.inlen < FW_INLINE / 2 || !fw_gather(entry, fw_in, call.inlen)) {
		status = MLX5_CMD_STAT_BAD_INP_LEN_ERR;
	} else if (call.outlen < FW_INLINE / 2) {
		status = MLX5_CMD_STAT_BAD_OUTP_LEN_ERR;
	} else {
		who = fw_command_about(&call);
		ms = late ? 0 : fw_fault_take(&f->pf->faults.slow, get_unaligned_be16(fw_in), who);
		if (ms && fw_put_off(f, slot, ms))
			return;
		status = fw_execute(&call, who);
	}
	fw_out[0] = status;
	if (status)
		put_unaligned_be32(FW_SYNDROME, fw_out + 4);
	if (fw_trace)
		pr_info("mlx5fw: function %#x opcode %#x modifier %#x [%08x %08x] in %u out %u: status %#x [%08x]\n",
			f->id, get_unaligned_be16(fw_in), get_unaligned_be16(fw_in + 6), get_unaligned_be32(fw_in + 8),
			get_unaligned_be32(fw_in + 12), inlen, call.outlen, status, get_unaligned_be32(fw_out + 8));
	fw_scatter(entry, fw_out, call.outlen);
	smp_wmb();	/* the answer before the ownership */
	WRITE_ONCE(entry->status_own, 0);
	if (announce)
		fw_event(f, MLX5_EVENT_TYPE_CMD, &done, sizeof(done));
}

/*
 * The driver writes the address of its queue over the register that says the queue's layout, and reads the layout anew
 * when it next starts: so it is put back.
 */
static void fw_take_queue(struct fw_function *f)
{
	struct mlx5_init_seg *iseg = f->iseg;
	u32 low = be32_to_cpu(READ_ONCE(iseg->cmdq_addr_l_sz));

	if ((low & 0xff) == FW_CMDQ_LAYOUT)
		return;
	f->cmdq = (u64)be32_to_cpu(READ_ONCE(iseg->cmdq_addr_h)) << 32 | (low & ~0xfffU);
	WRITE_ONCE(iseg->cmdq_addr_l_sz, cpu_to_be32(low | FW_CMDQ_LAYOUT));
}

/* Carry out what the doorbell was rung for. */
void fw_mailbox_serve(struct fw_function *f)
{
	unsigned long slots = (u32)atomic_xchg(&f->doorbell, 0);
	int slot;

	if (!slots || !fw_pci_master(f->pf))
		return;
	fw_take_queue(f);
	for_each_set_bit(slot, &slots, 1 << FW_LOG_COMMANDS)
		if (f->cmdq)
			fw_run(f, slot, false);
}

/* Answer what was put off until now; says in how many jiffies the next is due. */
unsigned long fw_mailbox_serve_delayed(struct fw_pf *pf)
{
	unsigned long wait = MAX_SCHEDULE_TIMEOUT, now = jiffies;
	struct fw_delayed *delayed, *next;
	LIST_HEAD(due);

	list_for_each_entry_safe(delayed, next, &pf->delayed, list) {
		if (time_before(now, delayed->at))
			wait = min(wait, delayed->at - now);
		else
			list_move_tail(&delayed->list, &due);
	}
	while ((delayed = list_first_entry_or_null(&due, struct fw_delayed, list))) {
		list_del(&delayed->list);
		if (delayed->f->cmdq && fw_pci_master(pf))
			fw_run(delayed->f, delayed->slot, true);
		kfree(delayed);
	}
	return wait;
}

/* Nobody waits for the function's answers any more. */
void fw_mailbox_drop(struct fw_function *f)
{
	struct fw_delayed *delayed, *next;

	list_for_each_entry_safe(delayed, next, &f->pf->delayed, list)
		if (delayed->f == f) {
			list_del(&delayed->list);
			kfree(delayed);
		}
}
