// SPDX-License-Identifier: GPL-2.0
/*
 * Which command does what. Those of the first table mean something here; those of the second make an object, of which
 * only the fresh id matters, for there is no data path; all others succeed and answer zeros.
 */
#include <linux/string.h>

#include "mlx5fw.h"

#define FW_ISSI		BIT(1)	/* issi 1 is the interface that mlx5_core speaks */
#define FW_RESD_LKEY	0x100
#define FW_NULL_MKEY	0x200

static u8 fw_query_issi(struct fw_call *call)
{
	MLX5_SET(query_issi_out, call->out, supported_issi_dw0, FW_ISSI);
	return MLX5_CMD_STAT_OK;
}

static u8 fw_query_adapter(struct fw_call *call)
{
	static const char psid[16] = "SIM0000000001";

	memcpy(MLX5_ADDR_OF(query_adapter_out, call->out, query_adapter_struct.vsd_contd_psid), psid, sizeof(psid));
	return MLX5_CMD_STAT_OK;
}

static u8 fw_query_special_contexts(struct fw_call *call)
{
	MLX5_SET(query_special_contexts_out, call->out, resd_lkey, FW_RESD_LKEY);
	MLX5_SET(query_special_contexts_out, call->out, null_mkey, FW_NULL_MKEY);
	return MLX5_CMD_STAT_OK;
}

/* UARs go round: what is written to them is not read, so two users may have the same. */
static u8 fw_alloc_uar(struct fw_call *call)
{
	struct fw_function *f = call->f;

	MLX5_SET(alloc_uar_out, call->out, uar, FW_FIRST_UAR + f->next_uar++ % (f->uars - FW_FIRST_UAR));
	return MLX5_CMD_STAT_OK;
}

static u8 fw_create_scheduling_element(struct fw_call *call)
{
	MLX5_SET(create_scheduling_element_out, call->out, scheduling_element_id, fw_fresh_id(call->f));
	return MLX5_CMD_STAT_OK;
}

static u8 fw_alloc_q_counter(struct fw_call *call)
{
	MLX5_SET(alloc_q_counter_out, call->out, counter_set_id, fw_fresh_id(call->f) & 0xff ?: 1);
	return MLX5_CMD_STAT_OK;
}

#define FW_COMMAND(name, in_bytes, out_bytes, function) \
	{ .opcode = MLX5_CMD_OP_##name, .in = in_bytes, .out = out_bytes, .run = function }
#define FW_TYPED(name, type, function) \
	FW_COMMAND(name, MLX5_ST_SZ_BYTES(type##_in), MLX5_ST_SZ_BYTES(type##_out), function)

static const struct fw_command {
	u16 opcode;
	u16 in;		/* shorter ones are refused */
	u16 out;
	u8 (*run)(struct fw_call *call);
} fw_commands[] = {
	FW_TYPED(QUERY_ISSI, query_issi, fw_query_issi),
	FW_TYPED(ENABLE_HCA, enable_hca, fw_enable_hca),
	FW_TYPED(DISABLE_HCA, disable_hca, fw_disable_hca),
	FW_TYPED(TEARDOWN_HCA, teardown_hca, fw_teardown_hca),
	FW_TYPED(QUERY_HCA_CAP, query_hca_cap, fw_query_hca_cap),
	FW_COMMAND(SET_HCA_CAP, 16, 8, fw_set_hca_cap),
	FW_TYPED(QUERY_ADAPTER, query_adapter, fw_query_adapter),
	FW_TYPED(QUERY_SPECIAL_CONTEXTS, query_special_contexts, fw_query_special_contexts),
	FW_TYPED(CREATE_EQ, create_eq, fw_create_eq),
	FW_TYPED(DESTROY_EQ, destroy_eq, fw_destroy_eq),
	FW_TYPED(CREATE_CQ, create_cq, fw_create_cq),
	FW_TYPED(MODIFY_CQ, modify_cq, fw_modify_cq),
	FW_TYPED(DESTROY_CQ, destroy_cq, fw_destroy_cq),
	FW_TYPED(CREATE_SQ, create_sq, fw_create_sq),
	FW_TYPED(MODIFY_SQ, modify_sq, fw_modify_sq),
	FW_TYPED(DESTROY_SQ, destroy_sq, fw_destroy_sq),
	FW_TYPED(ALLOC_UAR, alloc_uar, fw_alloc_uar),
	FW_COMMAND(ACCESS_REG, 16, 16, fw_access_reg),
	FW_TYPED(QUERY_VPORT_STATE, query_vport_state, fw_query_vport_state),
	FW_TYPED(QUERY_NIC_VPORT_CONTEXT, query_nic_vport_context, fw_query_nic_vport_context),
	FW_TYPED(MODIFY_NIC_VPORT_CONTEXT, modify_nic_vport_context, fw_modify_nic_vport_context),
	FW_TYPED(ALLOC_SF, alloc_sf, fw_alloc_sf),
	FW_TYPED(DEALLOC_SF, dealloc_sf, fw_dealloc_sf),
	FW_COMMAND(QUERY_VHCA_STATE, 16, 32, fw_query_vhca_state),
	FW_COMMAND(MODIFY_VHCA_STATE, 32, 16, fw_modify_vhca_state),
	FW_TYPED(CREATE_SCHEDULING_ELEMENT, create_scheduling_element, fw_create_scheduling_element),
	FW_TYPED(ALLOC_Q_COUNTER, alloc_q_counter, fw_alloc_q_counter),
};

/* All of these have the id in the same place: 24 bits, at byte 9 of the answer. */
static bool fw_makes_object(u16 opcode)
{
	switch (opcode) {
	case MLX5_CMD_OP_CREATE_MKEY:
	case MLX5_CMD_OP_CREATE_QP:
	case MLX5_CMD_OP_CREATE_SRQ:
	case MLX5_CMD_OP_CREATE_XRC_SRQ:
	case MLX5_CMD_OP_CREATE_RMP:
	case MLX5_CMD_OP_CREATE_RQ:
	case MLX5_CMD_OP_CREATE_RQT:
	case MLX5_CMD_OP_CREATE_TIR:
	case MLX5_CMD_OP_CREATE_TIS:
	case MLX5_CMD_OP_ALLOC_PD:
	case MLX5_CMD_OP_ALLOC_XRCD:
	case MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN:
	case MLX5_CMD_OP_CREATE_FLOW_TABLE:
	case MLX5_CMD_OP_CREATE_FLOW_GROUP:
	case MLX5_CMD_OP_ALLOC_FLOW_COUNTER:
	case MLX5_CMD_OP_ALLOC_MODIFY_HEADER_CONTEXT:
	case MLX5_CMD_OP_ALLOC_PACKET_REFORMAT_CONTEXT:
	case MLX5_CMD_OP_CREATE_GENERAL_OBJECT:
	case MLX5_CMD_OP_CREATE_UMEM:
	case MLX5_CMD_OP_CREATE_UCTX:
	case MLX5_CMD_OP_CREATE_PSV:
		return true;
	}
	return false;
}

/* Carry a command out; returns its status. */
u8 fw_command(struct fw_call *call)
{
	u16 opcode = get_unaligned_be16(call->in);
	const struct fw_command *command;
	int i;

	for (i = 0; i < ARRAY_SIZE(fw_commands); i++) {
		command = &fw_commands[i];
		if (command->opcode != opcode)
			continue;
		if (call->inlen < command->in)
			return MLX5_CMD_STAT_BAD_INP_LEN_ERR;
		if (call->outlen < command->out)
			return MLX5_CMD_STAT_BAD_OUTP_LEN_ERR;
		return command->run(call);
	}
	if (fw_makes_object(opcode)) {
		if (call->outlen < 16)
			return MLX5_CMD_STAT_BAD_OUTP_LEN_ERR;
		put_unaligned_be32(fw_fresh_id(call->f), call->out + 8);
	}
	return MLX5_CMD_STAT_OK;
}

/* Which function a command is about: the one that issues it, or one of its sub-functions. */
s64 fw_command_about(struct fw_call *call)
{
	struct fw_function *f = NULL;

	switch (get_unaligned_be16(call->in)) {
	case MLX5_CMD_OP_MODIFY_VHCA_STATE:
		f = fw_function_of(call->f, get_unaligned_be16(call->in + 10));
		if (f)
			return fw_sf_number_set(call, f);
		break;
	case MLX5_CMD_OP_ALLOC_SF:
	case MLX5_CMD_OP_DEALLOC_SF:
	case MLX5_CMD_OP_QUERY_VHCA_STATE:
	case MLX5_CMD_OP_ENABLE_HCA:
	case MLX5_CMD_OP_DISABLE_HCA:
		f = fw_function_of(call->f, get_unaligned_be16(call->in + 10));
		break;
	case MLX5_CMD_OP_QUERY_HCA_CAP:
	case MLX5_CMD_OP_SET_HCA_CAP:
	case MLX5_CMD_OP_QUERY_VPORT_STATE:
	case MLX5_CMD_OP_MODIFY_VPORT_STATE:
	case MLX5_CMD_OP_QUERY_ESW_VPORT_CONTEXT:
	case MLX5_CMD_OP_MODIFY_ESW_VPORT_CONTEXT:
	case MLX5_CMD_OP_QUERY_NIC_VPORT_CONTEXT:
	case MLX5_CMD_OP_MODIFY_NIC_VPORT_CONTEXT:
	case MLX5_CMD_OP_QUERY_VPORT_COUNTER:
		f = fw_function_other(call->f, call->in);
		break;
	}
	return fw_sf_number(f ?: call->f);
}
