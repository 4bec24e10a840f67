// SPDX-License-Identifier: GPL-2.0
/*
 * The sub-function's own half: the auxiliary device mlx5_core.sf.N, and the driver that binds to it.
 *
 * The driver alone says whether the function is in use: from its probe to its remove. So a driver that is
 * unbound, or whose probe fails, leaves the port active and detached.
 */
#include <linux/slab.h>

#include "sfsim.h"

/* The private part of the sub-function's devlink instance; lives from probe to remove. */
struct sfsim_instance {
	struct sfsim_function *function;
	struct devlink_port port;
	struct net_device *netdev;
	struct sfsim_rdma *rdma;
	bool loaded;
};

static DEFINE_IDA(sfsim_function_ids);

/* devlink drops its reference on the device late, from RCU; the module must not go before. */
static atomic_t sfsim_functions_live = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(sfsim_functions_gone);

static bool sfsim_instance_wants(struct devlink *devlink, u32 param)
{
	union devlink_param_value value;

	return !devl_param_driverinit_value_get(devlink, param, &value) && value.vbool;
}

static void sfsim_instance_unload(struct devlink *devlink)
{
	struct sfsim_instance *instance = devlink_priv(devlink);

	if (!instance->loaded)
		return;
	instance->loaded = false;
	if (instance->rdma)
		sfsim_rdma_del(instance->rdma);
	instance->rdma = NULL;
	if (!instance->netdev)
		return;
	sfsim_netdev_del(instance->netdev);
	instance->netdev = NULL;
	devl_port_unregister(&instance->port);
}

static int sfsim_instance_load_netdev(struct devlink *devlink)
{
	struct devlink_port_attrs attrs = { .flavour = DEVLINK_PORT_FLAVOUR_VIRTUAL };
	struct sfsim_instance *instance = devlink_priv(devlink);
	struct sfsim_function *function = instance->function;
	struct sfsim_sf *sf = function->sf;
	u32 vhca_id = 16 + (sf->pf->vhca_id << 10) + sf->slot;
	struct net_device *dev;
	int err;

	memset(&instance->port, 0, sizeof(instance->port));
	devlink_port_attrs_set(&instance->port, &attrs);
	err = devl_port_register(devlink, &instance->port, vhca_id << 16);
	if (err)
		return err;
	dev = sfsim_netdev_add(&function->adev.dev, &instance->port, function->mac);
	if (IS_ERR(dev)) {
		devl_port_unregister(&instance->port);
		return PTR_ERR(dev);
	}
	instance->netdev = dev;
	mutex_lock(&sf->pf->fw_lock);
	if (sf->representor)
		sfsim_netdev_pair(dev, sf->representor);
	mutex_unlock(&sf->pf->fw_lock);
	return 0;
}

static int sfsim_instance_load(struct devlink *devlink)
{
	struct sfsim_instance *instance = devlink_priv(devlink);
	struct sfsim_function *function = instance->function;
	int err;

	instance->loaded = true;
	if (sfsim_instance_wants(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_ETH)) {
		err = sfsim_instance_load_netdev(devlink);
		if (err)
			goto err_unload;
	}
	if (sfsim_instance_wants(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_RDMA)) {
		struct sfsim_rdma *rdma = sfsim_rdma_add(&function->adev.dev, &function->sf->pf->pdev->dev,
							 instance->netdev);

		if (IS_ERR(rdma)) {
			err = PTR_ERR(rdma);
			goto err_unload;
		}
		instance->rdma = rdma;
	}
	return 0;

err_unload:
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
	int err;

	*actions_performed = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT);
	err = sfsim_fault(instance->function->sf->pf, SFSIM_OP_RELOAD, extack);
	return err ? err : sfsim_instance_load(devlink);
}

static const struct devlink_ops sfsim_instance_ops = {
	.reload_actions = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT),
	.reload_down = sfsim_instance_reload_down,
	.reload_up = sfsim_instance_reload_up,
};

static int sfsim_enable_rdma_validate(struct devlink *devlink, u32 id, union devlink_param_value value,
				      struct netlink_ext_ack *extack)
{
	struct sfsim_instance *instance = devlink_priv(devlink);

	return value.vbool && !instance->function->roce ? -EOPNOTSUPP : 0;
}

static const struct devlink_param sfsim_instance_params[] = {
	DEVLINK_PARAM_GENERIC(ENABLE_ETH, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, NULL),
	DEVLINK_PARAM_GENERIC(ENABLE_RDMA, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL,
			      sfsim_enable_rdma_validate),
};

/* The port tells of its sub-function's instance for as long as it is there itself. */
static int sfsim_instance_nest(struct sfsim_sf *sf, struct devlink *devlink)
{
	int err;

	mutex_lock(&sf->pf->fw_lock);
	err = sf->closing ? -ENODEV : devl_port_fn_devlink_set(&sf->port, devlink);
	mutex_unlock(&sf->pf->fw_lock);
	return err;
}

static int sfsim_function_probe(struct auxiliary_device *adev, const struct auxiliary_device_id *id)
{
	struct sfsim_function *function = container_of(adev, struct sfsim_function, adev);
	union devlink_param_value enabled = { .vbool = !sfsim_light };
	struct sfsim_instance *instance;
	struct devlink *devlink;
	int err;

	err = sfsim_fault(function->sf->pf, SFSIM_OP_PROBE, NULL);
	if (err)
		return err;
	devlink = devlink_alloc(&sfsim_instance_ops, sizeof(*instance), &adev->dev);
	if (!devlink)
		return -ENOMEM;
	instance = devlink_priv(devlink);
	instance->function = function;
	err = sfsim_firmware_enter(function->sf);
	if (err)
		goto err_free;

	devl_lock(devlink);
	err = devl_params_register(devlink, sfsim_instance_params, ARRAY_SIZE(sfsim_instance_params));
	if (err)
		goto err_leave;
	devl_param_driverinit_value_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_ETH, enabled);
	enabled.vbool = enabled.vbool && function->roce;
	devl_param_driverinit_value_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_RDMA, enabled);
	if (!sfsim_light) {
		err = sfsim_instance_load(devlink);
		if (err)
			goto err_params;
	}
	err = sfsim_instance_nest(function->sf, devlink);
	if (err)
		goto err_unload;
	devl_register(devlink);
	devl_unlock(devlink);
	auxiliary_set_drvdata(adev, devlink);
	return 0;

err_unload:
	sfsim_instance_unload(devlink);
err_params:
	devl_params_unregister(devlink, sfsim_instance_params, ARRAY_SIZE(sfsim_instance_params));
err_leave:
	devl_unlock(devlink);
	sfsim_firmware_leave(function->sf);
err_free:
	devlink_free(devlink);
	return err;
}

static void sfsim_function_driver_remove(struct auxiliary_device *adev)
{
	struct sfsim_function *function = container_of(adev, struct sfsim_function, adev);
	struct devlink *devlink = auxiliary_get_drvdata(adev);

	devl_lock(devlink);
	devl_unregister(devlink);
	sfsim_instance_unload(devlink);
	devl_params_unregister(devlink, sfsim_instance_params, ARRAY_SIZE(sfsim_instance_params));
	devl_unlock(devlink);
	devlink_free(devlink);
	sfsim_firmware_leave(function->sf);
}

static const struct auxiliary_device_id sfsim_function_match[] = {
	{ .name = SFSIM_DRIVER ".sf" },
	{ }
};

static struct auxiliary_driver sfsim_function_driver = {
	.name = "sf",
	.probe = sfsim_function_probe,
	.remove = sfsim_function_driver_remove,
	.id_table = sfsim_function_match,
};

static ssize_t sfnum_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", container_of(dev, struct sfsim_function, adev.dev)->sfnum);
}
static DEVICE_ATTR_RO(sfnum);

static struct attribute *sfsim_function_attrs[] = {
	&dev_attr_sfnum.attr,
	NULL
};
ATTRIBUTE_GROUPS(sfsim_function);

static void sfsim_function_release(struct device *dev)
{
	struct sfsim_function *function = container_of(dev, struct sfsim_function, adev.dev);

	ida_free(&sfsim_function_ids, function->adev.id);
	sfsim_sf_put(function->sf);
	kfree(function);
	rcu_read_lock();
	if (atomic_dec_and_test(&sfsim_functions_live))
		wake_up_all(&sfsim_functions_gone);
	rcu_read_unlock();
}

/* Returns NULL if there is no device after all: the port stays active and detached. */
struct sfsim_function *sfsim_function_add(struct sfsim_sf *sf)
{
	struct sfsim_function *function;
	int id, err;

	function = kzalloc(sizeof(*function), GFP_KERNEL);
	if (!function)
		return NULL;
	id = ida_alloc(&sfsim_function_ids, GFP_KERNEL);
	if (id < 0)
		goto err_free;
	function->sfnum = sf->sfnum;
	mutex_lock(&sf->pf->fw_lock);
	function->roce = sf->roce;
	ether_addr_copy(function->mac, sf->mac);
	mutex_unlock(&sf->pf->fw_lock);
	function->adev.id = id;
	function->adev.name = "sf";
	function->adev.dev.parent = &sf->pf->pdev->dev;
	function->adev.dev.release = sfsim_function_release;
	function->adev.dev.groups = sfsim_function_groups;
	if (auxiliary_device_init(&function->adev))
		goto err_id;

	kref_get(&sf->ref);
	function->sf = sf;
	atomic_inc(&sfsim_functions_live);
	/* The name of the module that owns the device is an argument: so we can bear another's. */
	err = __auxiliary_device_add(&function->adev, SFSIM_DRIVER);
	if (err) {
		dev_err(&sf->pf->pdev->dev, "sub-function %u: no auxiliary device: %d\n", sf->sfnum, err);
		auxiliary_device_uninit(&function->adev);
		return NULL;
	}
	return function;

err_id:
	ida_free(&sfsim_function_ids, id);
err_free:
	kfree(function);
	return NULL;
}

void sfsim_function_remove(struct sfsim_function *function)
{
	auxiliary_device_delete(&function->adev);
	auxiliary_device_uninit(&function->adev);
}

int sfsim_function_register_driver(void)
{
	return __auxiliary_driver_register(&sfsim_function_driver, THIS_MODULE, SFSIM_DRIVER);
}

void sfsim_function_unregister_driver(void)
{
	auxiliary_driver_unregister(&sfsim_function_driver);
	wait_event(sfsim_functions_gone, !atomic_read(&sfsim_functions_live));
	synchronize_rcu();
}
