// SPDX-License-Identifier: GPL-2.0
/*
 * Send queues that swallow what is posted: work requests complete, so that interfaces come up and no transmit hangs.
 * Nothing is received.
 */
#include <linux/mlx5/cq.h>
#include <linux/mlx5/qp.h>
#include <linux/slab.h>

#include "mlx5fw.h"

#define FW_SQ_READY	1	/* sqc.state */

struct fw_cq {
	struct list_head list;
	struct fw_ring ring;
	u32 id;
	u32 eqn;
	u32 pi;
	u8 log_size;
	bool fresh;		/* there is something its driver has not been told of */
};

struct fw_sq {
	struct list_head list;
	struct fw_ring ring;
	u32 id;
	u32 cqn;
	u64 doorbell;		/* address of the record that says how far the driver has posted */
	u16 cc;
	u8 log_size;
	u8 log_stride;
	u8 state;
};

static struct fw_cq *fw_cq_of(struct fw_function *f, u32 id)
{
	struct fw_cq *cq;

	list_for_each_entry(cq, &f->cqs, list)
		if (cq->id == id)
			return cq;
	return NULL;
}

static struct fw_sq *fw_sq_of(struct fw_function *f, u32 id)
{
	struct fw_sq *sq;

	list_for_each_entry(sq, &f->sqs, list)
		if (sq->id == id)
			return sq;
	return NULL;
}

static void fw_cq_del(struct fw_cq *cq)
{
	list_del(&cq->list);
	fw_ring_free(&cq->ring);
	kfree(cq);
}

static void fw_sq_del(struct fw_function *f, struct fw_sq *sq)
{
	list_del(&sq->list);
	fw_ring_free(&sq->ring);
	kfree(sq);
	if (list_empty(&f->sqs))
		list_del_init(&f->polled);
}

/* A queue whose ring we do not find (user memory, large entries) is kept without: nothing completes there. */
u8 fw_create_cq(struct fw_call *call)
{
	u8 *context = MLX5_ADDR_OF(create_cq_in, call->in, cq_context);
	struct fw_cq *cq;
	u8 status;

	if (MLX5_GET(cqc, context, log_cq_size) > FW_LOG_MAX_CQ_SIZE)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	cq = kzalloc(sizeof(*cq), GFP_KERNEL);
	if (!cq)
		return MLX5_CMD_STAT_NO_RES_ERR;
	cq->log_size = MLX5_GET(cqc, context, log_cq_size);
	cq->eqn = MLX5_GET(cqc, context, c_eqn_or_apu_element);
	if (!MLX5_GET(create_cq_in, call->in, cq_umem_valid) && !MLX5_GET(cqc, context, page_offset) &&
	    MLX5_GET(cqc, context, cqe_sz) == CQE_STRIDE_64) {
		status = fw_ring_init(&cq->ring, call, MLX5_BYTE_OFF(create_cq_in, pas),
				      sizeof(struct mlx5_cqe64) << cq->log_size,
				      MLX5_GET(cqc, context, log_page_size) + PAGE_SHIFT);
		if (status) {
			kfree(cq);
			return status;
		}
	}
	cq->id = fw_fresh_id(call->f);
	list_add(&cq->list, &call->f->cqs);
	MLX5_SET(create_cq_out, call->out, cqn, cq->id);
	return MLX5_CMD_STAT_OK;
}

/* Moderation is accepted. A new size would move the ring: the capability says that it cannot be had. */
u8 fw_modify_cq(struct fw_call *call)
{
	if (MLX5_GET(modify_cq_in, call->in, op_mod) == MLX5_CQ_OPMOD_RESIZE)
		return MLX5_CMD_STAT_BAD_OP_ERR;
	return MLX5_CMD_STAT_OK;
}

u8 fw_destroy_cq(struct fw_call *call)
{
	struct fw_cq *cq = fw_cq_of(call->f, MLX5_GET(destroy_cq_in, call->in, cqn));

	if (!cq)
		return MLX5_CMD_STAT_BAD_RES_ERR;
	fw_cq_del(cq);
	return MLX5_CMD_STAT_OK;
}

u8 fw_create_sq(struct fw_call *call)
{
	u8 *context = MLX5_ADDR_OF(create_sq_in, call->in, ctx), *wq = MLX5_ADDR_OF(sqc, context, wq);
	size_t pages_at = (u8 *)MLX5_ADDR_OF(wq, wq, pas) - call->in;
	struct fw_sq *sq;
	u8 status;

	if (MLX5_GET(wq, wq, log_wq_sz) > FW_LOG_MAX_WQ_SIZE || MLX5_GET(wq, wq, log_wq_stride) > FW_LOG_MAX_SQ_STRIDE)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	sq = kzalloc(sizeof(*sq), GFP_KERNEL);
	if (!sq)
		return MLX5_CMD_STAT_NO_RES_ERR;
	sq->cqn = MLX5_GET(sqc, context, cqn);
	sq->log_size = MLX5_GET(wq, wq, log_wq_sz);
	sq->log_stride = MLX5_GET(wq, wq, log_wq_stride);
	if (!MLX5_GET(wq, wq, wq_umem_valid) && !MLX5_GET(wq, wq, dbr_umem_valid) && !MLX5_GET(wq, wq, page_offset) &&
	    !MLX5_GET(sqc, context, hairpin)) {
		sq->doorbell = MLX5_GET64(wq, wq, dbr_addr);
		if (sq->log_stride < FW_LOG_MIN_SQ_STRIDE || !IS_ALIGNED(sq->doorbell, sizeof(__be32)) ||
		    !fw_memory(sq->doorbell, 2 * sizeof(__be32)))
			status = MLX5_CMD_STAT_BAD_PARAM_ERR;
		else
			status = fw_ring_init(&sq->ring, call, pages_at, 1ULL << (sq->log_size + sq->log_stride),
					      MLX5_GET(wq, wq, log_wq_pg_sz) + PAGE_SHIFT);
		if (status) {
			kfree(sq);
			return status;
		}
	}
	sq->id = fw_fresh_id(call->f);
	if (list_empty(&call->f->sqs))
		list_add_tail(&call->f->polled, &call->f->pf->polled);
	list_add(&sq->list, &call->f->sqs);
	MLX5_SET(create_sq_out, call->out, sqn, sq->id);
	return MLX5_CMD_STAT_OK;
}

u8 fw_modify_sq(struct fw_call *call)
{
	struct fw_sq *sq = fw_sq_of(call->f, MLX5_GET(modify_sq_in, call->in, sqn));

	if (!sq)
		return MLX5_CMD_STAT_BAD_RES_ERR;
	sq->state = MLX5_GET(sqc, MLX5_ADDR_OF(modify_sq_in, call->in, ctx), state);
	if (sq->state != FW_SQ_READY)
		sq->cc = 0;
	return MLX5_CMD_STAT_OK;
}

u8 fw_destroy_sq(struct fw_call *call)
{
	struct fw_sq *sq = fw_sq_of(call->f, MLX5_GET(destroy_sq_in, call->in, sqn));

	if (!sq)
		return MLX5_CMD_STAT_BAD_RES_ERR;
	fw_sq_del(call->f, sq);
	return MLX5_CMD_STAT_OK;
}

void fw_queues_free(struct fw_function *f)
{
	struct fw_sq *sq, *next_sq;
	struct fw_cq *cq, *next_cq;

	list_for_each_entry_safe(sq, next_sq, &f->sqs, list)
		fw_sq_del(f, sq);
	list_for_each_entry_safe(cq, next_cq, &f->cqs, list)
		fw_cq_del(cq);
}

static void fw_complete(struct fw_sq *sq, struct fw_cq *cq, u16 counter)
{
	u32 at = cq->pi & (BIT(cq->log_size) - 1);
	struct mlx5_cqe64 *cqe = fw_ring_at(&cq->ring, (u64)at * sizeof(*cqe));

	if (!cqe)
		return;
	memset(cqe, 0, offsetof(struct mlx5_cqe64, op_own));
	cqe->sop_drop_qpn = cpu_to_be32(sq->id);
	cqe->wqe_counter = cpu_to_be16(counter);
	smp_wmb();	/* the completion before its ownership */
	WRITE_ONCE(cqe->op_own, MLX5_CQE_REQ << 4 | ((cq->pi >> cq->log_size) & 1));
	cq->pi++;
	cq->fresh = true;
}

/* Swallow what was posted since the last look. A request takes as many basic blocks as its first segment says. */
static void fw_drain(struct fw_function *f, struct fw_sq *sq)
{
	__be32 *record = phys_to_virt(sq->doorbell);
	u16 pc = be32_to_cpu(READ_ONCE(record[MLX5_SND_DBR])), left, blocks;
	struct mlx5_wqe_ctrl_seg *ctrl;
	struct fw_cq *cq;

	if (pc == sq->cc)
		return;
	smp_rmb();	/* the record before what it announces */
	cq = fw_cq_of(f, sq->cqn);
	while (cq && (left = pc - sq->cc)) {
		ctrl = fw_ring_at(&sq->ring, (u64)(sq->cc & (BIT(sq->log_size) - 1)) << sq->log_stride);
		if (!ctrl)
			break;
		if (ctrl->fm_ce_se & MLX5_WQE_CTRL_CQ_UPDATE)
			fw_complete(sq, cq, sq->cc);
		blocks = DIV_ROUND_UP(be32_to_cpu(ctrl->qpn_ds) & MLX5_WQE_CTRL_DS_MASK, MLX5_SEND_WQEBB_NUM_DS);
		sq->cc += clamp(blocks, 1, left);
	}
	sq->cc = pc;
}

/* Look at the function's queues once; true while there are such to look at. */
bool fw_queues_serve(struct fw_function *f)
{
	struct mlx5_eqe_comp event = {};
	bool any = false;
	struct fw_sq *sq;
	struct fw_cq *cq;

	if (!fw_pci_master(f->pf))
		return false;
	list_for_each_entry(sq, &f->sqs, list)
		if (sq->state == FW_SQ_READY && sq->ring.pages) {
			any = true;
			fw_drain(f, sq);
		}
	if (!any)
		return false;
	list_for_each_entry(cq, &f->cqs, list)
		if (cq->fresh) {
			cq->fresh = false;
			event.cqn = cpu_to_be32(cq->id);
			fw_event_on(f, cq->eqn, MLX5_EVENT_TYPE_COMP, &event, sizeof(event));
		}
	return true;
}
