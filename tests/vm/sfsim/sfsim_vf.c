// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual functions, of a card that has SR-IOV (QEMU's nvme): on the PF's side ports with representors, while the
 * e-switch is in switchdev mode; on its own side a driver with a devlink instance and a netdev.
 */
#include <linux/slab.h>

#include "sfsim.h"

/* A virtual function as the PF knows it. Its attributes outlive its port: they are the firmware's. */
struct sfsim_vf {
	struct sfsim_pf *pf;
	u16 index;
	u32 vsi;			/* ice: the index of its port */
	struct devlink_port port;
	struct net_device *representor;	/* (fw) */
	struct net_device *netdev;	/* (fw) */
	u8 mac[ETH_ALEN];		/* (fw) */
	bool roce;
	bool migratable;
	bool ipsec_crypto;
	bool ipsec_packet;
	u32 max_io_eqs;
};

/* A virtual function as its own driver knows it: the private part of its devlink instance. */
struct sfsim_vf_instance {
	struct devlink_port port;
	struct net_device *netdev;
};

static struct sfsim_vf *sfsim_port_vf(struct devlink_port *port)
{
	return container_of(port, struct sfsim_vf, port);
}

static int sfsim_vf_mac_get(struct devlink_port *port, u8 *mac, int *len, struct netlink_ext_ack *extack)
{
	ether_addr_copy(mac, sfsim_port_vf(port)->mac);
	*len = ETH_ALEN;
	return 0;
}

static int sfsim_vf_mac_set(struct devlink_port *port, const u8 *mac, int len, struct netlink_ext_ack *extack)
{
	struct sfsim_vf *vf = sfsim_port_vf(port);
	int err = sfsim_fault(vf->pf, SFSIM_OP_SET_MAC, SFSIM_NOBODY, extack);

	if (err)
		return err;
	mutex_lock(&vf->pf->fw_lock);
	ether_addr_copy(vf->mac, mac);
	mutex_unlock(&vf->pf->fw_lock);
	return 0;
}

#define SFSIM_VF_FLAG(name)										\
static int sfsim_vf_##name##_get(struct devlink_port *port, bool *on, struct netlink_ext_ack *extack)	\
{													\
	*on = sfsim_port_vf(port)->name;								\
	return 0;											\
}													\
static int sfsim_vf_##name##_set(struct devlink_port *port, bool on, struct netlink_ext_ack *extack)	\
{													\
	sfsim_port_vf(port)->name = on;									\
	return 0;											\
}

SFSIM_VF_FLAG(roce)
SFSIM_VF_FLAG(migratable)
SFSIM_VF_FLAG(ipsec_crypto)
SFSIM_VF_FLAG(ipsec_packet)

static int sfsim_vf_eqs_get(struct devlink_port *port, u32 *eqs, struct netlink_ext_ack *extack)
{
	*eqs = sfsim_port_vf(port)->max_io_eqs;
	return 0;
}

static int sfsim_vf_eqs_set(struct devlink_port *port, u32 eqs, struct netlink_ext_ack *extack)
{
	sfsim_port_vf(port)->max_io_eqs = eqs;
	return 0;
}

static const struct devlink_port_ops sfsim_vf_port_ops = {
	.port_fn_hw_addr_get = sfsim_vf_mac_get,
	.port_fn_hw_addr_set = sfsim_vf_mac_set,
	.port_fn_roce_get = sfsim_vf_roce_get,
	.port_fn_roce_set = sfsim_vf_roce_set,
	.port_fn_migratable_get = sfsim_vf_migratable_get,
	.port_fn_migratable_set = sfsim_vf_migratable_set,
	.port_fn_ipsec_crypto_get = sfsim_vf_ipsec_crypto_get,
	.port_fn_ipsec_crypto_set = sfsim_vf_ipsec_crypto_set,
	.port_fn_ipsec_packet_get = sfsim_vf_ipsec_packet_get,
	.port_fn_ipsec_packet_set = sfsim_vf_ipsec_packet_set,
	.port_fn_max_io_eqs_get = sfsim_vf_eqs_get,
	.port_fn_max_io_eqs_set = sfsim_vf_eqs_set,
};

static const struct devlink_port_ops sfsim_ice_vf_port_ops = {
	.port_fn_hw_addr_get = sfsim_vf_mac_get,
	.port_fn_hw_addr_set = sfsim_vf_mac_set,
};

static void sfsim_vf_port_del(struct sfsim_vf *vf)
{
	struct net_device *representor;

	mutex_lock(&vf->pf->fw_lock);
	representor = vf->representor;
	vf->representor = NULL;
	mutex_unlock(&vf->pf->fw_lock);
	if (!representor)
		return;
	sfsim_netdev_del(representor);
	if (!sfsim_ice)
		devl_rate_leaf_destroy(&vf->port);
	devl_port_unregister(&vf->port);
	if (sfsim_ice)
		sfsim_ice_vsi_free(vf->pf, vf->vsi);
}

static int sfsim_vf_port_add(struct devlink *devlink, struct sfsim_vf *vf)
{
	struct sfsim_pf *pf = vf->pf;
	struct net_device *representor;
	int err;

	memset(&vf->port, 0, sizeof(vf->port));
	vf->port.attrs.switch_id = pf->switch_id;
	if (sfsim_ice)
		vf->vsi = sfsim_ice_vsi_take(pf);
	devlink_port_attrs_pci_vf_set(&vf->port, 0, pf->pfnum, vf->index, false);
	err = devl_port_register_with_ops(devlink, &vf->port,
					  sfsim_ice ? vf->vsi : (pf->vhca_id << 16) | (1 + vf->index),
					  sfsim_ice ? &sfsim_ice_vf_port_ops : &sfsim_vf_port_ops);
	if (err)
		goto err_vsi;
	if (!sfsim_ice)
		err = devl_rate_leaf_create(&vf->port, NULL, NULL);
	if (err)
		goto err_port;
	representor = sfsim_netdev_add(&pf->pdev->dev, &vf->port, NULL, SFSIM_NETDEV_REPRESENTOR);
	if (IS_ERR(representor)) {
		err = PTR_ERR(representor);
		goto err_leaf;
	}
	mutex_lock(&pf->fw_lock);
	vf->representor = representor;
	if (vf->netdev)
		sfsim_netdev_pair(vf->netdev, representor);
	mutex_unlock(&pf->fw_lock);
	return 0;

err_leaf:
	if (!sfsim_ice)
		devl_rate_leaf_destroy(&vf->port);
err_port:
	devl_port_unregister(&vf->port);
err_vsi:
	if (sfsim_ice)
		sfsim_ice_vsi_free(pf, vf->vsi);
	return err;
}

/* With the PF's devlink lock. */
void sfsim_vf_ports_del(struct sfsim_pf *pf)
{
	u32 i;

	for (i = 0; i < pf->num_vfs; i++)
		sfsim_vf_port_del(&pf->vfs[i]);
}

/* With the PF's devlink lock. */
int sfsim_vf_ports_add(struct sfsim_pf *pf)
{
	u32 i;
	int err;

	for (i = 0; i < pf->num_vfs; i++) {
		err = sfsim_vf_port_add(priv_to_devlink(pf), &pf->vfs[i]);
		if (err) {
			sfsim_vf_ports_del(pf);
			return err;
		}
	}
	return 0;
}

static void sfsim_vf_disable(struct pci_dev *pdev)
{
	struct devlink *devlink = pci_get_drvdata(pdev);
	struct sfsim_pf *pf = devlink_priv(devlink);

	pci_disable_sriov(pdev);
	devl_lock(devlink);
	sfsim_vf_ports_del(pf);
	kfree(pf->vfs);
	pf->vfs = NULL;
	pf->num_vfs = 0;
	devl_unlock(devlink);
}

static int sfsim_vf_enable(struct pci_dev *pdev, int count)
{
	struct devlink *devlink = pci_get_drvdata(pdev);
	struct sfsim_pf *pf = devlink_priv(devlink);
	struct sfsim_vf *vfs;
	int i, err = 0;

	vfs = kcalloc(count, sizeof(*vfs), GFP_KERNEL);
	if (!vfs)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		vfs[i].pf = pf;
		vfs[i].index = i;
		vfs[i].roce = true;
		vfs[i].max_io_eqs = 8;
	}
	devl_lock(devlink);
	pf->vfs = vfs;
	pf->num_vfs = count;
	if (pf->mode == DEVLINK_ESWITCH_MODE_SWITCHDEV)
		err = sfsim_vf_ports_add(pf);
	devl_unlock(devlink);
	if (!err)
		err = pci_enable_sriov(pdev, count);
	if (err)
		sfsim_vf_disable(pdev);
	return err;
}

/* `sriov_numvfs` is written: how many there are then, or why not. */
int sfsim_vf_configure(struct pci_dev *pdev, int count)
{
	struct sfsim_pf *pf = devlink_priv(pci_get_drvdata(pdev));
	int err;

	if (!count) {
		sfsim_vf_disable(pdev);
		return 0;
	}
	err = sfsim_fault(pf, SFSIM_OP_SRIOV, SFSIM_NOBODY, NULL);
	if (!err)
		err = sfsim_vf_enable(pdev, count);
	return err ? err : count;
}

static const struct devlink_ops sfsim_vf_instance_ops = {};

static struct sfsim_vf *sfsim_vf_at(struct pci_dev *pdev)
{
	struct sfsim_pf *pf = devlink_priv(pci_get_drvdata(pci_physfn(pdev)));

	return &pf->vfs[pci_iov_vf_id(pdev)];
}

int sfsim_vf_probe(struct pci_dev *pdev)
{
	struct devlink_port_attrs attrs = { .flavour = DEVLINK_PORT_FLAVOUR_VIRTUAL };
	struct sfsim_vf *vf = sfsim_vf_at(pdev);
	struct sfsim_vf_instance *instance;
	struct devlink *devlink;
	int err;

	devlink = devlink_alloc(&sfsim_vf_instance_ops, sizeof(*instance), &pdev->dev);
	if (!devlink)
		return -ENOMEM;
	instance = devlink_priv(devlink);
	devl_lock(devlink);
	devlink_port_attrs_set(&instance->port, &attrs);
	err = devl_port_register(devlink, &instance->port, (1 + vf->index) << 16);
	if (err)
		goto err_free;
	instance->netdev = sfsim_netdev_add(&pdev->dev, &instance->port, vf->mac, SFSIM_NETDEV_PCI);
	if (IS_ERR(instance->netdev)) {
		err = PTR_ERR(instance->netdev);
		goto err_port;
	}
	mutex_lock(&vf->pf->fw_lock);
	vf->netdev = instance->netdev;
	if (vf->representor)
		sfsim_netdev_pair(vf->netdev, vf->representor);
	mutex_unlock(&vf->pf->fw_lock);
	devl_register(devlink);
	devl_unlock(devlink);
	pci_set_drvdata(pdev, devlink);
	return 0;

err_port:
	devl_port_unregister(&instance->port);
err_free:
	devl_unlock(devlink);
	devlink_free(devlink);
	return err;
}

void sfsim_vf_remove(struct pci_dev *pdev)
{
	struct devlink *devlink = pci_get_drvdata(pdev);
	struct sfsim_vf_instance *instance = devlink_priv(devlink);
	struct sfsim_vf *vf = sfsim_vf_at(pdev);

	mutex_lock(&vf->pf->fw_lock);
	vf->netdev = NULL;
	mutex_unlock(&vf->pf->fw_lock);
	devl_lock(devlink);
	devl_unregister(devlink);
	sfsim_netdev_del(instance->netdev);
	devl_port_unregister(&instance->port);
	devl_unlock(devlink);
	devlink_free(devlink);
}
