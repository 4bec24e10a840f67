// SPDX-License-Identifier: GPL-2.0
/* Registers, as far as the driver looks at what they say: of the physical port, of time. What it writes is not kept. */
#include "mlx5fw.h"

#define FW_SPEEDS	(BIT(20) | BIT(23))	/* 100GBASE-CR4 and 100GBASE-LR4, of ptys_reg.eth_proto_* */
#define FW_SPEED	BIT(20)
#define FW_MAX_MTU	9978
#define FW_PORT_MTU	1522
#define FW_UP		1
#define FW_LANES	4
/*
 * How long a sub-function's driver waits in a fatal state until a PF has reset the card. By itself it takes 60 s, in
 * which the removal of its device waits, and with that every request to the PF's devlink instance.
 */
#define FW_CRDUMP_S	8
/*
 * How often a driver looks at the health buffer (a random second is added), and how long it waits for a reset. A
 * sub-function's must have looked before the reset is over: else its commands wait 60 s for a firmware that forgot it.
 */
#define FW_POLL_MS	500
#define FW_RESET_S	5

#define FW_REGISTER	16	/* where it begins in the command, and in the answer */

static void fw_ptys(u8 *reg)
{
	MLX5_SET(ptys_reg, reg, eth_proto_capability, FW_SPEEDS);
	MLX5_SET(ptys_reg, reg, eth_proto_admin, FW_SPEED);
	MLX5_SET(ptys_reg, reg, eth_proto_oper, FW_SPEED);
	MLX5_SET(ptys_reg, reg, an_status, 0);
}

static void fw_pmtu(u8 *reg)
{
	MLX5_SET(pmtu_reg, reg, max_mtu, FW_MAX_MTU);
	MLX5_SET(pmtu_reg, reg, admin_mtu, FW_PORT_MTU);
	MLX5_SET(pmtu_reg, reg, oper_mtu, FW_PORT_MTU);
}

static void fw_paos(u8 *reg)
{
	MLX5_SET(paos_reg, reg, admin_status, FW_UP);
	MLX5_SET(paos_reg, reg, oper_status, FW_UP);
}

static void fw_pmlp(u8 *reg)
{
	MLX5_SET(pmlp_reg, reg, width, FW_LANES);
}

static void fw_dtor(u8 *reg)
{
	MLX5_SET(dtor_reg, reg, health_poll_to.to_value, FW_POLL_MS);
	MLX5_SET(dtor_reg, reg, pcie_toggle_to.to_multiplier, FW_SECONDS);
	MLX5_SET(dtor_reg, reg, pcie_toggle_to.to_value, FW_RESET_S);
	MLX5_SET(dtor_reg, reg, full_crdump_to.to_multiplier, FW_SECONDS);
	MLX5_SET(dtor_reg, reg, full_crdump_to.to_value, FW_CRDUMP_S);
}

static const struct {
	u16 id;
	u16 bytes;
	void (*fill)(u8 *reg);
} fw_registers[] = {
	{ MLX5_REG_PTYS, MLX5_ST_SZ_BYTES(ptys_reg), fw_ptys },
	{ MLX5_REG_PMTU, MLX5_ST_SZ_BYTES(pmtu_reg), fw_pmtu },
	{ MLX5_REG_PAOS, MLX5_ST_SZ_BYTES(paos_reg), fw_paos },
	{ MLX5_REG_PMLP, MLX5_ST_SZ_BYTES(pmlp_reg), fw_pmlp },
	{ MLX5_REG_DTOR, MLX5_ST_SZ_BYTES(dtor_reg), fw_dtor },
};

/* Every register answers what was written to it, or asked with; five know better. */
u8 fw_access_reg(struct fw_call *call)
{
	u16 id = MLX5_GET(access_register_in, call->in, register_id);
	u8 *reg = call->out + FW_REGISTER;
	u32 room = call->outlen - FW_REGISTER;
	int i;

	memcpy(reg, call->in + FW_REGISTER, min(room, call->inlen - FW_REGISTER));
	for (i = 0; i < ARRAY_SIZE(fw_registers); i++)
		if (fw_registers[i].id == id && room >= fw_registers[i].bytes)
			fw_registers[i].fill(reg);
	return MLX5_CMD_STAT_OK;
}
