// SPDX-License-Identifier: GPL-2.0
/*
 * The sub-function's devlink instance.
 *
 * mlx5: parameters say which children it has; they are made and removed by a reload. ice: it has a netdev, always.
 */
#include <linux/slab.h>

#include "sfsim.h"

static bool sfsim_instance_wants(struct devlink *devlink, enum sfsim_child_kind kind)
{
	static const u32 params[SFSIM_CHILDREN] = {
		[SFSIM_CHILD_ETH] = DEVLINK_PARAM_GENERIC_ID_ENABLE_ETH,
		[SFSIM_CHILD_RDMA] = DEVLINK_PARAM_GENERIC_ID_ENABLE_RDMA,
		[SFSIM_CHILD_VNET] = DEVLINK_PARAM_GENERIC_ID_ENABLE_VNET,
	};
	union devlink_param_value value;

	return !devl_param_driverinit_value_get(devlink, params[kind], &value) && value.vbool;
}

static void sfsim_instance_port_del(struct sfsim_instance *instance)
{
	if (instance->has_port)
		devl_port_unregister(&instance->port);
	instance->has_port = false;
}

static int sfsim_instance_port_add(struct devlink *devlink)
{
	struct sfsim_instance *instance = devlink_priv(devlink);
	int err = sfsim_eth_port_add(devlink, &instance->port, instance->function);

	instance->has_port = !err;
	return err;
}

static void sfsim_instance_unload(struct devlink *devlink)
{
	struct sfsim_instance *instance = devlink_priv(devlink);
	int kind;

	if (!instance->loaded)
		return;
	instance->loaded = false;
	for (kind = SFSIM_CHILDREN - 1; kind >= 0; kind--) {
		if (instance->children[kind])
			sfsim_child_del(instance->children[kind]);
		instance->children[kind] = NULL;
	}
	if (sfsim_ice)
		sfsim_eth_detach(instance);
	sfsim_instance_port_del(instance);
}

/* A child whose driver is absent, or refuses it, is no failure: so it is on mlx5. */
static int sfsim_instance_load_children(struct devlink *devlink)
{
	struct sfsim_instance *instance = devlink_priv(devlink);
	int kind, err;

	if (!sfsim_eth_instance && sfsim_instance_wants(devlink, SFSIM_CHILD_ETH)) {
		err = sfsim_instance_port_add(devlink);
		if (err)
			return err;
	}
	for (kind = 0; kind < SFSIM_CHILDREN; kind++) {
		struct sfsim_child *child;

		if (!sfsim_instance_wants(devlink, kind))
			continue;
		child = sfsim_child_add(instance, kind);
		if (IS_ERR(child))
			return PTR_ERR(child);
		instance->children[kind] = child;
	}
	return 0;
}

static int sfsim_instance_load(struct devlink *devlink)
{
	struct sfsim_instance *instance = devlink_priv(devlink);
	int err;

	instance->loaded = true;
	if (sfsim_ice) {
		err = sfsim_instance_port_add(devlink);
		if (!err)
			err = sfsim_eth_attach(instance, &instance->port);
	} else {
		err = sfsim_instance_load_children(devlink);
	}
	if (err)
		sfsim_instance_unload(devlink);
	return err;
}

static int sfsim_instance_reload_down(struct devlink *devlink, bool netns_change, enum devlink_reload_action action,
				      enum devlink_reload_limit limit, struct netlink_ext_ack *extack)
{
	sfsim_instance_unload(devlink);
	return 0;
}

static int sfsim_instance_reload_up(struct devlink *devlink, enum devlink_reload_action action,
				    enum devlink_reload_limit limit, u32 *actions_performed,
				    struct netlink_ext_ack *extack)
{
	struct sfsim_instance *instance = devlink_priv(devlink);
	struct sfsim_pf *pf = sfsim_instance_pf(instance);
	int err;

	*actions_performed = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT);
	err = sfsim_fault(pf, SFSIM_OP_RELOAD, instance->function->sfnum, extack);
	sfsim_fault_pause(pf, READ_ONCE(pf->faults.reload_delay_ms));
	return err ? err : sfsim_instance_load(devlink);
}

static const struct devlink_ops sfsim_instance_ops = {
	.reload_actions = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT),
	.reload_down = sfsim_instance_reload_down,
	.reload_up = sfsim_instance_reload_up,
};

static const struct devlink_ops sfsim_ice_instance_ops = {};

static int sfsim_param_validate(struct devlink *devlink, u32 id, union devlink_param_value value,
				struct netlink_ext_ack *extack)
{
	struct sfsim_instance *instance = devlink_priv(devlink);

	if (id == DEVLINK_PARAM_GENERIC_ID_ENABLE_RDMA && value.vbool && !instance->function->roce)
		return -EOPNOTSUPP;
	return sfsim_fault(sfsim_instance_pf(instance), SFSIM_OP_PARAM, instance->function->sfnum, extack);
}

static const struct devlink_param sfsim_instance_params[] = {
	DEVLINK_PARAM_GENERIC(ENABLE_ETH, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, sfsim_param_validate),
	DEVLINK_PARAM_GENERIC(ENABLE_RDMA, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, sfsim_param_validate),
	DEVLINK_PARAM_GENERIC(ENABLE_VNET, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, sfsim_param_validate),
};

static int sfsim_instance_params_add(struct devlink *devlink)
{
	struct sfsim_instance *instance = devlink_priv(devlink);
	union devlink_param_value enabled = { .vbool = !sfsim_light };
	int err;

	if (sfsim_ice)
		return 0;
	err = devl_params_register(devlink, sfsim_instance_params, ARRAY_SIZE(sfsim_instance_params));
	if (err)
		return err;
	devl_param_driverinit_value_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_ETH, enabled);
	devl_param_driverinit_value_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_VNET, enabled);
	enabled.vbool = enabled.vbool && instance->function->roce;
	devl_param_driverinit_value_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_RDMA, enabled);
	return 0;
}

static void sfsim_instance_params_del(struct devlink *devlink)
{
	if (!sfsim_ice)
		devl_params_unregister(devlink, sfsim_instance_params, ARRAY_SIZE(sfsim_instance_params));
}

/* The port tells of its sub-function's instance for as long as it is there itself. */
static int sfsim_instance_nest(struct sfsim_sf *sf, struct devlink *devlink)
{
	int err;

	mutex_lock(&sf->pf->fw_lock);
	err = sf->closing ? -ENODEV : devl_port_fn_devlink_set(&sf->port, devlink);
	mutex_unlock(&sf->pf->fw_lock);
	return err;
}

struct devlink *sfsim_instance_add(struct sfsim_function *function)
{
	struct sfsim_instance *instance;
	struct devlink *devlink;
	int err;

	devlink = devlink_alloc(sfsim_ice ? &sfsim_ice_instance_ops : &sfsim_instance_ops, sizeof(*instance),
				&function->adev.dev);
	if (!devlink)
		return ERR_PTR(-ENOMEM);
	instance = devlink_priv(devlink);
	instance->function = function;
	mutex_init(&instance->lock);

	/* devlink/devlink.c:1604: nested in the PF's instance, beside the port that names it. */
	err = sfsim_ice ? devl_nested_devlink_set(priv_to_devlink(function->sf->pf), devlink) : 0;
	if (err) {
		devlink_free(devlink);
		return ERR_PTR(err);
	}
	devl_lock(devlink);
	err = sfsim_instance_params_add(devlink);
	if (err)
		goto err_free;
	if (sfsim_ice || !sfsim_light) {
		err = sfsim_instance_load(devlink);
		if (err)
			goto err_params;
	}
	err = sfsim_instance_nest(function->sf, devlink);
	if (err)
		goto err_unload;
	devl_register(devlink);
	devl_unlock(devlink);
	return devlink;

err_unload:
	sfsim_instance_unload(devlink);
err_params:
	sfsim_instance_params_del(devlink);
err_free:
	devl_unlock(devlink);
	devlink_free(devlink);
	return ERR_PTR(err);
}

void sfsim_instance_del(struct devlink *devlink)
{
	devl_lock(devlink);
	devl_unregister(devlink);
	sfsim_instance_unload(devlink);
	sfsim_instance_params_del(devlink);
	devl_unlock(devlink);
	devlink_free(devlink);
}
