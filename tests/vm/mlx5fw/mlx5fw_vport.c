// SPDX-License-Identifier: GPL-2.0
/* The NIC vport of each function: address, GUIDs, MTU. */
#include <linux/etherdevice.h>

#include "mlx5fw.h"

#define FW_MTU		1500
#define FW_OUI		0x025eULL	/* locally administered */

/* One GUID for each card: functions with the same one are on the same e-switch hardware, and share a switch id. */
static u64 fw_card_guid(const struct fw_card *card)
{
	return FW_OUI << 48 | 0x03ULL << 32 | (u64)card->bus << 16;
}

static u8 *fw_mac(struct fw_function *f)
{
	return MLX5_ADDR_OF(nic_vport_context, f->nic_vport, permanent_address.mac_addr_47_32);
}

/* A PF has an address from the factory, a sub-function has none. */
void fw_vport_init(struct fw_function *f)
{
	const struct fw_pf *pf = f->pf;
	u64 guid = fw_card_guid(pf->card);

	MLX5_SET(nic_vport_context, f->nic_vport, mtu, FW_MTU);
	MLX5_SET64(nic_vport_context, f->nic_vport, system_image_guid, guid);
	MLX5_SET64(nic_vport_context, f->nic_vport, node_guid, guid | pf->function << 12 | (f->id & (FW_SF_BASE - 1)));
	if (!fw_is_sf(f))
		u64_to_ether_addr(FW_OUI << 32 | (u64)pf->card->bus << 8 | 0x10 | pf->function, fw_mac(f));
}

void fw_vport_forget_mac(struct fw_function *f)
{
	eth_zero_addr(fw_mac(f));
}

u8 fw_query_nic_vport_context(struct fw_call *call)
{
	struct fw_function *f = fw_function_other(call->f, call->in);

	if (!f)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	memcpy(MLX5_ADDR_OF(query_nic_vport_context_out, call->out, nic_vport_context), f->nic_vport,
	       sizeof(f->nic_vport));
	return MLX5_CMD_STAT_OK;
}

u8 fw_modify_nic_vport_context(struct fw_call *call)
{
	struct fw_function *f = fw_function_other(call->f, call->in);
	u8 *from = MLX5_ADDR_OF(modify_nic_vport_context_in, call->in, nic_vport_context);

	if (!f)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
#define FW_SELECTED(select)	MLX5_GET(modify_nic_vport_context_in, call->in, field_select.select)
#define FW_COPY(select, field) do { \
	if (FW_SELECTED(select)) \
		MLX5_SET(nic_vport_context, f->nic_vport, field, MLX5_GET(nic_vport_context, from, field)); \
} while (0)
#define FW_COPY64(select, field) do { \
	if (FW_SELECTED(select)) \
		MLX5_SET64(nic_vport_context, f->nic_vport, field, MLX5_GET64(nic_vport_context, from, field)); \
} while (0)
	FW_COPY(roce_en, roce_en);
	FW_COPY(mtu, mtu);
	FW_COPY(min_inline, min_wqe_inline_mode);
	FW_COPY(disable_uc_local_lb, disable_uc_local_lb);
	FW_COPY(disable_mc_local_lb, disable_mc_local_lb);
	FW_COPY(promisc, promisc_uc);
	FW_COPY(promisc, promisc_mc);
	FW_COPY(promisc, promisc_all);
	FW_COPY64(node_guid, node_guid);
	FW_COPY64(port_guid, port_guid);
	FW_COPY(permanent_address, permanent_address.mac_addr_47_32);
	FW_COPY(permanent_address, permanent_address.mac_addr_31_0);
#undef FW_COPY64
#undef FW_COPY
#undef FW_SELECTED
	return MLX5_CMD_STAT_OK;
}

/* Always up. */
u8 fw_query_vport_state(struct fw_call *call)
{
	MLX5_SET(query_vport_state_out, call->out, admin_state, 1);
	MLX5_SET(query_vport_state_out, call->out, state, 1);
	return MLX5_CMD_STAT_OK;
}
