// SPDX-License-Identifier: GPL-2.0
/* What a function says it can do: little more than the driver needs for what is done here. */
#include <linux/slab.h>
#include <linux/string.h>

#include "mlx5fw.h"

/*
 * A function's capabilities that can be changed are kept: the driver sets its own (current), and the PF's sets those of
 * its sub-functions (both). All others are the same for all functions (mlx5fw_caps_fixed.c).
 */
enum { FW_MAXIMUM, FW_CURRENT };

#define FW_VHCA_ID_OF_SFS	0x100

/* Unique on a card. The index of a virtual devlink port is made of it. */
static u16 fw_vhca_id(const struct fw_function *f)
{
	if (!fw_is_sf(f))
		return f->pf->function;
	return FW_VHCA_ID_OF_SFS + f->pf->function * FW_MAX_SF + (f->id - FW_SF_BASE);
}

/* The physical port, from 1: usually that of the PCI function's number. */
static u8 fw_port_number(const struct fw_pf *pf)
{
	if (fw_swap_ports && pf->card->pfs == 2)
		return 2 - pf->function;
	return 1 + pf->function;
}

#define SET(field, value)	MLX5_SET(cmd_hca_cap, cap, field, value)

/* Limits of objects that have no meaning here: as on a ConnectX-6 Dx, about. */
static void fw_limits(u8 *cap)
{
	SET(log_max_srq_sz, 15);
	SET(log_max_qp_sz, 15);
	SET(log_max_qp, 18);
	SET(log_max_srq, 18);
	SET(log_max_cq, 20);
	SET(log_max_mkey, 22);
	SET(max_indirection, 16);
	SET(log_max_mrw_sz, 40);
	SET(log_max_klm_list_size, 16);
	SET(log_max_ra_req_qp, 4);
	SET(log_max_ra_res_qp, 4);
	SET(log_max_ra_req_dc, 4);
	SET(log_max_ra_res_dc, 4);
	SET(max_qp_cnt, 64);
	SET(max_wqe_sz_sq, 1024);
	SET(max_wqe_sz_rq, 512);
	SET(max_wqe_sz_sq_dc, 512);
	SET(max_flow_counter_15_0, 0xffff);
	SET(max_qp_mcg, 256);
	SET(log_max_mcg, 20);
	SET(log_max_transport_domain, 16);
	SET(log_max_pd, 20);
	SET(log_max_xrcd, 18);
	SET(log_max_rq, 18);
	SET(log_max_sq, 18);
	SET(log_max_tir, 16);
	SET(log_max_tis, 16);
	SET(log_max_rmp, 16);
	SET(log_max_rqt, 14);
	SET(log_max_rqt_size, 11);
	SET(log_max_tis_per_sq, 3);
	SET(log_max_stride_sz_rq, 16);
	SET(log_min_stride_sz_rq, 4);
	SET(log_max_stride_sz_sq, FW_LOG_MAX_SQ_STRIDE);
	SET(log_min_stride_sz_sq, FW_LOG_MIN_SQ_STRIDE);
	SET(log_max_wq_sz, FW_LOG_MAX_WQ_SIZE);
	SET(log_max_vlan_list, 7);
	SET(log_max_current_mc_list, 7);
	SET(log_max_current_uc_list, 7);
	SET(log_max_uctx, 10);
	SET(log_max_umem, 10);
	SET(log_max_msg, 30);
}

/* Without cq_resize: the ring of a completion queue stays where it is (fw_modify_cq()). */
static void fw_features(u8 *cap)
{
	SET(hca_cap_2, 1);
	SET(log_max_cq_sz, FW_LOG_MAX_CQ_SIZE);
	SET(log_max_eq_sz, FW_LOG_MAX_EQ_SIZE);
	SET(log_max_eq, ilog2(FW_MAX_EQ));
	SET(max_num_eqs, FW_MAX_EQ);
	SET(fixed_buffer_size, 1);
	SET(end_pad, 1);
	SET(start_pad, 1);
	SET(gid_table_size, 3);
	SET(pkey_table_size, 0);
	SET(vport_counters, 1);
	SET(nic_flow_table, 1);
	SET(local_ca_ack_delay, 16);
	SET(port_type, MLX5_CAP_PORT_TYPE_ETH);
	SET(num_ports, 1);
	SET(max_tc, 8);
	SET(cqe_version, 1);
	SET(eth_net_offloads, 1);
	SET(roce, 1);
	SET(roce_rw_supported, 1);
	SET(cq_oi, 1);
	SET(cq_moderation, 1);
	SET(cd, 1);
	SET(xrc, 1);		/* mlx5_ib does not come up without */
	SET(null_mkey, 1);
	SET(out_of_seq_cnt, 1);
	SET(retransmission_q_counters, 1);
	SET(ud, 1);
	SET(uc, 1);
	SET(rc, 1);
	SET(log_pg_sz, PAGE_SHIFT);
	SET(bf, 1);
	SET(driver_version, 1);
	SET(log_bf_reg_size, 9);
	SET(uar_sz, 0);
	SET(basic_cyclic_rcv_wqe, 1);
	SET(nic_vport_change_event, 1);
	SET(disable_local_lb_uc, 1);
	SET(disable_local_lb_mc, 1);
	MLX5_SET64(cmd_hca_cap, cap, general_obj_types, MLX5_GENERAL_OBJ_TYPES_CAP_VIRTIO_NET_Q);
	SET(umem_uid_0, 1);	/* without it mlx5_vdpa's control queue has no memory, and virtio_net waits for ever */
	SET(log_uar_page_sz, 0);
	SET(num_of_uars_per_page, 1);
	SET(device_frequency_mhz, 156);
	SET(device_frequency_khz, 156250);
}

/* A PF manages the e-switch and the sub-functions. */
static void fw_management(u8 *cap)
{
	SET(vhca_resource_manager, 1);	/* without it ports have no roce and no max_io_eqs */
	SET(vport_group_manager, 1);
	SET(eswitch_manager, 1);
	SET(vhca_group_manager, 1);
	SET(qos, 1);
	SET(log_max_l2_table, 8);
	if (!fw_max_sfs)
		return;
	SET(vhca_state, 1);
	SET(event_on_vhca_state_allocated, 1);
	SET(event_on_vhca_state_active, 1);
	SET(event_on_vhca_state_in_use, 1);
	SET(event_on_vhca_state_teardown_request, 1);
	SET(sf, 1);
	SET(max_num_sf, fw_max_sfs);
	SET(log_min_sf_size, FW_LOG_SF_PAGES);
	SET(sf_base_id, FW_SF_BASE);
}

static void fw_general(const struct fw_function *f, u8 *cap)
{
	fw_limits(cap);
	fw_features(cap);
	SET(vhca_id, fw_vhca_id(f));
	SET(native_port_num, fw_port_number(f->pf));
	if (!fw_is_sf(f))
		fw_management(cap);
}

#undef SET

/* Assumed: a fresh sub-function has as many event queues as there can be. */
static void fw_general_2(u8 *cap)
{
	MLX5_SET(cmd_hca_cap_2, cap, sw_vhca_id_valid, 1);
	MLX5_SET(cmd_hca_cap_2, cap, max_num_eqs_24b, FW_MAX_EQ);
	MLX5_SET(cmd_hca_cap_2, cap, sf_eq_usage, 1);
}

void fw_caps_free(struct fw_function *f)
{
	int i;

	for (i = 0; i < 4; i++) {
		kfree(f->cap[i / 2][i % 2]);
		f->cap[i / 2][i % 2] = NULL;
	}
}

/* Put a function's capabilities back to what they are at first. Fails only if it had none, and then has none. */
int fw_caps_reset(struct fw_function *f)
{
	int i, mode;

	for (i = 0; i < 4; i++) {
		u8 **cap = &f->cap[i / 2][i % 2];

		if (!*cap)
			*cap = kzalloc(FW_CAP_BYTES, GFP_KERNEL);
		if (!*cap) {
			fw_caps_free(f);
			return -ENOMEM;
		}
	}
	for (mode = FW_MAXIMUM; mode <= FW_CURRENT; mode++) {
		memset(f->cap[0][mode], 0, FW_CAP_BYTES);
		memset(f->cap[1][mode], 0, FW_CAP_BYTES);
		fw_general(f, f->cap[0][mode]);
		fw_general_2(f->cap[1][mode]);
	}
	return 0;
}

/* The kept ones of a type, or NULL: it is not kept, or the function has none. */
static u8 *fw_kept(struct fw_function *f, u16 type, int mode)
{
	switch (type) {
	case MLX5_CAP_GENERAL:
		return f->cap[0][mode];
	case MLX5_CAP_GENERAL_2:
		return f->cap[1][mode];
	}
	return NULL;
}

/* op_mod is the type of the capabilities, and 1 for the current ones, 0 for the maximum. */
u8 fw_query_hca_cap(struct fw_call *call)
{
	struct fw_function *f = fw_function_other(call->f, call->in);
	u8 *to = MLX5_ADDR_OF(query_hca_cap_out, call->out, capability);
	u16 modifier = MLX5_GET(query_hca_cap_in, call->in, op_mod);
	u8 *kept;

	if (!f)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	if (!f->cap[0][0])
		return MLX5_CMD_STAT_BAD_RES_ERR;
	kept = fw_kept(f, modifier >> 1, modifier & 1);
	if (kept)
		memcpy(to, kept, FW_CAP_BYTES);
	else
		fw_caps_fixed(modifier >> 1, to);
	return MLX5_CMD_STAT_OK;
}

/* What the PF sets for a sub-function is what that one can have at most. */
u8 fw_set_hca_cap(struct fw_call *call)
{
	struct fw_function *f = fw_function_other(call->f, call->in);
	u16 type = MLX5_GET(set_hca_cap_in, call->in, op_mod) >> 1;
	u8 *from = MLX5_ADDR_OF(set_hca_cap_in, call->in, capability);
	u32 len;

	if (!f)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	if (!f->cap[0][0])
		return MLX5_CMD_STAT_BAD_RES_ERR;
	if (!fw_kept(f, type, FW_CURRENT))
		return MLX5_CMD_STAT_OK;
	len = min_t(u32, FW_CAP_BYTES, call->inlen - MLX5_BYTE_OFF(set_hca_cap_in, capability));
	memcpy(fw_kept(f, type, FW_CURRENT), from, len);
	if (f != call->f)
		memcpy(fw_kept(f, type, FW_MAXIMUM), from, len);
	return MLX5_CMD_STAT_OK;
}
