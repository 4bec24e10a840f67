// SPDX-License-Identifier: GPL-2.0
/*
 * The sub-function's netdev and its port of flavour `virtual`.
 *
 * mlx5: under the sub-function's auxiliary device; the port on the devlink instance of the Ethernet child, or, as on
 * kernels before 6.3, on the sub-function's. ice: under the PF's PCI device; the port on the sub-function's instance.
 */
#include "sfsim.h"

/* The private part of the Ethernet child's devlink instance. */
struct sfsim_eth {
	struct devlink_port port;
};

static const struct devlink_ops sfsim_eth_ops = {};

/* With the lock of @devlink. */
int sfsim_eth_port_add(struct devlink *devlink, struct devlink_port *port, struct sfsim_function *function)
{
	struct devlink_port_attrs attrs = { .flavour = DEVLINK_PORT_FLAVOUR_VIRTUAL };
	struct sfsim_sf *sf = function->sf;
	u32 vhca_id = 16 + (sf->pf->vhca_id << 10) + sf->slot;

	memset(port, 0, sizeof(*port));
	devlink_port_attrs_set(port, &attrs);
	return devl_port_register(devlink, port, sfsim_ice ? sf->vsi : vhca_id << 16);
}

int sfsim_eth_attach(struct sfsim_instance *instance, struct devlink_port *port)
{
	struct sfsim_function *function = instance->function;
	struct sfsim_sf *sf = function->sf;
	struct net_device *dev;

	dev = sfsim_netdev_add(sfsim_ice ? &sf->pf->pdev->dev : &function->adev.dev, port, function->mac,
			       SFSIM_NETDEV_FUNCTION);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	mutex_lock(&sf->pf->fw_lock);
	if (sf->representor)
		sfsim_netdev_pair(dev, sf->representor);
	mutex_unlock(&sf->pf->fw_lock);
	mutex_lock(&instance->lock);
	instance->netdev = dev;
	if (instance->rdma)
		sfsim_rdma_follow(instance->rdma, dev);
	mutex_unlock(&instance->lock);
	return 0;
}

void sfsim_eth_detach(struct sfsim_instance *instance)
{
	struct net_device *dev;

	mutex_lock(&instance->lock);
	dev = instance->netdev;
	instance->netdev = NULL;
	if (instance->rdma)
		sfsim_rdma_follow(instance->rdma, NULL);
	mutex_unlock(&instance->lock);
	if (dev)
		sfsim_netdev_del(dev);
}

int sfsim_eth_probe(struct sfsim_instance *instance, struct device *dev)
{
	struct devlink *devlink;
	struct sfsim_eth *eth;
	int err;

	if (!sfsim_eth_instance)
		return sfsim_eth_attach(instance, &instance->port);
	devlink = devlink_alloc(&sfsim_eth_ops, sizeof(*eth), dev);
	if (!devlink)
		return -ENOMEM;
	eth = devlink_priv(devlink);
	err = devl_nested_devlink_set(priv_to_devlink(instance), devlink);
	if (err)
		goto err_free;
	devl_lock(devlink);
	devl_register(devlink);
	err = sfsim_eth_port_add(devlink, &eth->port, instance->function);
	devl_unlock(devlink);
	if (err)
		goto err_unregister;
	err = sfsim_eth_attach(instance, &eth->port);
	if (err)
		goto err_port;
	dev_set_drvdata(dev, devlink);
	return 0;

err_port:
	devlink_port_unregister(&eth->port);
err_unregister:
	devlink_unregister(devlink);
err_free:
	devlink_free(devlink);
	return err;
}

void sfsim_eth_remove(struct sfsim_instance *instance, struct device *dev)
{
	struct devlink *devlink = dev_get_drvdata(dev);
	struct sfsim_eth *eth;

	sfsim_eth_detach(instance);
	if (!sfsim_eth_instance)
		return;
	eth = devlink_priv(devlink);
	devlink_port_unregister(&eth->port);
	devlink_unregister(devlink);
	devlink_free(devlink);
}
