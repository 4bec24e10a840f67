// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a sub-function, as the firmware sees it.
 *
 *	invalid -ALLOC_SF-> allocated -ENABLE_HCA by the PF-> active -ENABLE_HCA by itself-> in use
 *	in use -DISABLE_HCA by the PF-> teardown -DISABLE_HCA by itself-> allocated -DEALLOC_SF-> invalid
 *
 * Each change is told to the PF's driver by an event, if it has armed that; being told disarms. What a real firmware
 * decides here is not documented. Each comment that begins with "Assumed" is what we let this one decide.
 */
#include "mlx5fw.h"

/* The driver keeps these to itself (core/sf/mlx5_ifc_vhca_event.h). */
struct mlx5_ifc_vhca_state_context_bits {
	u8 arm_change_event[0x1];
	u8 reserved_at_1[0xb];
	u8 vhca_state[0x4];
	u8 reserved_at_10[0x10];
	u8 sw_function_id[0x20];
	u8 reserved_at_40[0x40];
};

struct mlx5_ifc_vhca_state_field_select_bits {
	u8 reserved_at_0[0x1e];
	u8 sw_function_id[0x1];
	u8 arm_change_event[0x1];
};

struct mlx5_ifc_query_vhca_state_out_bits {
	u8 status[0x8];
	u8 reserved_at_8[0x18];
	u8 syndrome[0x20];
	u8 reserved_at_40[0x40];
	struct mlx5_ifc_vhca_state_context_bits vhca_state_context;
};

struct mlx5_ifc_modify_vhca_state_in_bits {
	u8 opcode[0x10];
	u8 uid[0x10];
	u8 reserved_at_20[0x10];
	u8 op_mod[0x10];
	u8 embedded_cpu_function[0x1];
	u8 reserved_at_41[0xf];
	u8 function_id[0x10];
	struct mlx5_ifc_vhca_state_field_select_bits vhca_state_field_select;
	struct mlx5_ifc_vhca_state_context_bits vhca_state_context;
};

static_assert(MLX5_ST_SZ_BYTES(query_vhca_state_out) == 32);
static_assert(MLX5_ST_SZ_BYTES(modify_vhca_state_in) == 32);

/* The sub-function that a command of the PF names at byte 10. */
static struct fw_function *fw_sf_named(struct fw_call *call)
{
	return fw_function_of(call->f, get_unaligned_be16(call->in + 10));
}

/* Assumed: a change that the driver was not armed for is told as soon as it arms, be it still the case or not. */
static void fw_sf_tell(struct fw_function *sf)
{
	struct mlx5_eqe_vhca_state event = { .function_id = cpu_to_be16(sf->id) };

	if (!sf->armed) {
		sf->missed = true;
		return;
	}
	sf->armed = false;
	sf->missed = false;
	fw_event(&sf->pf->fn[0], MLX5_EVENT_TYPE_VHCA_STATE_CHANGE, &event, sizeof(event));
}

static bool fw_sf_hangs(const struct fw_function *sf)
{
	return sf->state == FW_TEARDOWN && READ_ONCE(sf->pf->faults.hang_detach);
}

/* Change the state now, and tell of it so much later. A change that was not told yet is told with this one. */
static void fw_sf_move(struct fw_function *sf, enum fw_state state, u32 ms)
{
	sf->state = state;
	list_del_init(&sf->event);
	if (!ms && !fw_sf_hangs(sf)) {
		fw_sf_tell(sf);
		return;
	}
	sf->event_at = jiffies + msecs_to_jiffies(ms);
	list_add_tail(&sf->event, &sf->pf->events);
}

/* Tell what is due; says in how many jiffies the next is. */
unsigned long fw_sf_serve(struct fw_pf *pf)
{
	unsigned long wait = MAX_SCHEDULE_TIMEOUT, now = jiffies;
	struct fw_function *sf, *next;

	list_for_each_entry_safe(sf, next, &pf->events, event) {
		if (time_before(now, sf->event_at)) {
			wait = min(wait, sf->event_at - now);
		} else if (!fw_sf_hangs(sf)) {
			list_del_init(&sf->event);
			fw_sf_tell(sf);
		}
	}
	return wait;
}

/* As if it had never been allocated. */
static void fw_sf_forget(struct fw_function *sf)
{
	fw_function_reset(sf);
	fw_caps_free(sf);
	list_del_init(&sf->event);
	sf->state = FW_INVALID;
	sf->missed = false;
	sf->numbered = false;
}

/* Assumed: ALLOC_SF puts roce and max_io_eqs back to what they are at first. The address is the tester's choice. */
u8 fw_alloc_sf(struct fw_call *call)
{
	struct fw_function *sf = fw_sf_named(call);

	if (!sf)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	if (sf->state != FW_INVALID)
		return MLX5_CMD_STAT_BAD_RES_STATE_ERR;
	if (fw_caps_reset(sf))
		return MLX5_CMD_STAT_NO_RES_ERR;
	if (!READ_ONCE(sf->pf->faults.keep_mac))
		fw_vport_forget_mac(sf);
	sf->state = FW_ALLOCATED;
	sf->missed = false;
	sf->numbered = false;
	return MLX5_CMD_STAT_OK;
}

u8 fw_dealloc_sf(struct fw_call *call)
{
	struct fw_function *sf = fw_sf_named(call);

	if (!sf)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	if (sf->state != FW_ALLOCATED)
		return MLX5_CMD_STAT_BAD_RES_STATE_ERR;
	fw_sf_forget(sf);
	return MLX5_CMD_STAT_OK;
}

/* Assumed: a sub-function is in use from its own ENABLE_HCA on, which is the first command of its driver. */
static u8 fw_sf_enter(struct fw_function *sf)
{
	fw_function_quiesce(sf);	/* of a driver that gave up in error state, as below */
	if (sf->state == FW_ACTIVE)
		fw_sf_move(sf, FW_IN_USE, 0);
	return sf->state == FW_IN_USE ? MLX5_CMD_STAT_OK : MLX5_CMD_STAT_BAD_RES_STATE_ERR;
}

u8 fw_enable_hca(struct fw_call *call)
{
	struct fw_function *sf = fw_sf_named(call);

	if (fw_is_sf(call->f))
		return fw_sf_enter(call->f);
	if (!sf) {
		/* A driver that died, or gave up in error state, told us nothing: its queues' memory is no longer ours. */
		fw_function_quiesce(call->f);
		fw_sfs_forget(call->f->pf);
		return MLX5_CMD_STAT_OK;
	}
	if (sf->state != FW_ALLOCATED)
		return MLX5_CMD_STAT_BAD_RES_STATE_ERR;
	fw_function_reset(sf);
	fw_sf_move(sf, FW_ACTIVE, READ_ONCE(sf->pf->faults.attach_delay_ms));
	return MLX5_CMD_STAT_OK;
}

/* Assumed: it has let go with its own DISABLE_HCA. One that is not to be torn down waits for its next driver. */
static u8 fw_sf_leave(struct fw_function *sf)
{
	fw_function_quiesce(sf);
	if (sf->state == FW_IN_USE)
		fw_sf_move(sf, FW_ACTIVE, 0);
	else if (sf->state == FW_TEARDOWN)
		fw_sf_move(sf, FW_ALLOCATED, 0);
	return MLX5_CMD_STAT_OK;
}

/* Assumed: a PF's sub-functions end with it. Its driver deallocates them, unless that failed. */
void fw_sfs_forget(struct fw_pf *pf)
{
	unsigned int i;

	for (i = 1; i < 1 + fw_max_sfs; i++) {
		struct fw_function *sf = &pf->fn[i];

		if (sf->state != FW_INVALID)
			fw_sf_forget(sf);
		sf->armed = false;
	}
}

static u8 fw_pf_leave(struct fw_function *f)
{
	fw_function_quiesce(f);
	fw_sfs_forget(f->pf);
	return fw_caps_reset(f) ? MLX5_CMD_STAT_NO_RES_ERR : MLX5_CMD_STAT_OK;
}

/* Assumed: a PF cannot disable what it has not enabled, or what was taken away (BAD_RES_STATE, EINVAL to the user). */
u8 fw_disable_hca(struct fw_call *call)
{
	struct fw_function *sf = fw_sf_named(call);

	if (fw_is_sf(call->f))
		return fw_sf_leave(call->f);
	if (!sf)
		return fw_pf_leave(call->f);
	if (sf->state == FW_IN_USE)
		fw_sf_move(sf, FW_TEARDOWN, READ_ONCE(sf->pf->faults.detach_delay_ms));
	else if (sf->state == FW_ACTIVE)
		fw_sf_move(sf, FW_ALLOCATED, 0);
	else
		return MLX5_CMD_STAT_BAD_RES_STATE_ERR;
	return MLX5_CMD_STAT_OK;
}

u8 fw_teardown_hca(struct fw_call *call)
{
	fw_function_quiesce(call->f);
	return MLX5_CMD_STAT_OK;
}

u8 fw_query_vhca_state(struct fw_call *call)
{
	struct fw_function *sf = fw_sf_named(call);

	if (!sf)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	MLX5_SET(query_vhca_state_out, call->out, vhca_state_context.vhca_state, sf->state);
	MLX5_SET(query_vhca_state_out, call->out, vhca_state_context.sw_function_id, sf->sfnum);
	MLX5_SET(query_vhca_state_out, call->out, vhca_state_context.arm_change_event, sf->armed);
	return MLX5_CMD_STAT_OK;
}

u8 fw_modify_vhca_state(struct fw_call *call)
{
	struct fw_function *sf = fw_sf_named(call);

	if (!sf)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	if (MLX5_GET(modify_vhca_state_in, call->in, vhca_state_field_select.sw_function_id)) {
		sf->sfnum = MLX5_GET(modify_vhca_state_in, call->in, vhca_state_context.sw_function_id);
		sf->numbered = true;
	}
	if (MLX5_GET(modify_vhca_state_in, call->in, vhca_state_field_select.arm_change_event)) {
		sf->armed = MLX5_GET(modify_vhca_state_in, call->in, vhca_state_context.arm_change_event);
		if (sf->armed && sf->missed)
			fw_sf_tell(sf);
	}
	return MLX5_CMD_STAT_OK;
}

/* How a function is called in the trace: the sub-function's number, if it has one. */
s64 fw_sf_number(const struct fw_function *f)
{
	if (!fw_is_sf(f))
		return FW_WHO_PF;
	if (!f->numbered)
		return FW_WHO_UNNUMBERED;
	return f->sfnum;
}

/* The same for MODIFY_VHCA_STATE, which may be what gives it the number. */
s64 fw_sf_number_set(struct fw_call *call, const struct fw_function *sf)
{
	if (call->inlen >= MLX5_ST_SZ_BYTES(modify_vhca_state_in) &&
	    MLX5_GET(modify_vhca_state_in, call->in, vhca_state_field_select.sw_function_id))
		return MLX5_GET(modify_vhca_state_in, call->in, vhca_state_context.sw_function_id);
	return fw_sf_number(sf);
}

/*
 * Take a function away, as if an administrator of the card had done it. `forget`: the slot is lost too, and will never
 * be reported as let go. Otherwise its driver is asked to leave, as at an orderly end.
 */
int fw_sf_lose(struct fw_pf *pf, u32 sfnum, bool forget)
{
	struct fw_function *sf;
	unsigned int i;

	for (i = 1; i < 1 + fw_max_sfs; i++) {
		sf = &pf->fn[i];
		if (sf->state == FW_INVALID || !sf->numbered || sf->sfnum != sfnum)
			continue;
		if (forget)
			fw_sf_move(sf, FW_INVALID, 0);
		else if (sf->state == FW_IN_USE)
			fw_sf_move(sf, FW_TEARDOWN, 0);
		else if (sf->state == FW_ACTIVE)
			fw_sf_move(sf, FW_ALLOCATED, 0);
		return 0;
	}
	return -ENOENT;
}
