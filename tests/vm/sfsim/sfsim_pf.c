// SPDX-License-Identifier: GPL-2.0
/*
 * The physical function: a PCI driver on QEMU's `edu` device, or on its `nvme`, which has virtual functions too;
 * its devlink instance, e-switch and uplink.
 */
#include <linux/idr.h>
#include <linux/slab.h>

#include "sfsim.h"

#define SFSIM_UPLINK_VPORT 0xffff

static DEFINE_IDA(sfsim_vhca_ids);

static int sfsim_eswitch_get(struct devlink *devlink, u16 *mode)
{
	struct sfsim_pf *pf = devlink_priv(devlink);

	*mode = pf->mode;
	return 0;
}

static int sfsim_eswitch_set(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack)
{
	struct sfsim_pf *pf = devlink_priv(devlink);
	int err;

	if (mode > DEVLINK_ESWITCH_MODE_SWITCHDEV)
		return -EINVAL;
	if (mode == pf->mode)
		return 0;
	err = sfsim_fault(pf, SFSIM_OP_ESWITCH, SFSIM_NOBODY, extack);
	if (err)
		return err;
	if (mode == DEVLINK_ESWITCH_MODE_SWITCHDEV) {
		err = sfsim_vf_ports_add(pf);
		if (err)
			return err;
	} else {
		sfsim_port_delete_all(pf);
		sfsim_vf_ports_del(pf);
	}
	pf->mode = mode;
	return 0;
}

static int sfsim_info_get(struct devlink *devlink, struct devlink_info_req *req, struct netlink_ext_ack *extack)
{
	return devlink_info_version_running_put(req, "fw.version", "99.99.0001");
}

static const struct devlink_ops sfsim_pf_ops = {
	.info_get = sfsim_info_get,
	.eswitch_mode_get = sfsim_eswitch_get,
	.eswitch_mode_set = sfsim_eswitch_set,
	.port_new = sfsim_port_new,
	.rate_leaf_tx_share_set = sfsim_rate_leaf_set,
	.rate_leaf_tx_max_set = sfsim_rate_leaf_set,
	.rate_leaf_parent_set = sfsim_rate_parent_set,
	.rate_node_tx_share_set = sfsim_rate_set,
	.rate_node_tx_max_set = sfsim_rate_set,
	.rate_node_new = sfsim_rate_node_new,
	.rate_node_del = sfsim_rate_node_del,
	.rate_node_parent_set = sfsim_rate_parent_set,
};

static const struct devlink_ops sfsim_ice_pf_ops = {
	.info_get = sfsim_info_get,
	.reload_actions = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT),
	.reload_down = sfsim_ice_reload_down,
	.reload_up = sfsim_ice_reload_up,
	.eswitch_mode_get = sfsim_eswitch_get,
	.eswitch_mode_set = sfsim_ice_eswitch_set,
	.port_new = sfsim_port_new,
};

static const struct devlink_port_ops sfsim_uplink_ops = {};

/* The functions of one card share it, as they share its image GUID. */
static void sfsim_switch_id(struct pci_dev *pdev, struct netdev_phys_item_id *switch_id)
{
	const u8 id[] = { 0x0c, 0x42, 0xa1, pci_domain_nr(pdev->bus), pdev->bus->number, PCI_SLOT(pdev->devfn), 0, 1 };

	switch_id->id_len = sizeof(id);
	memcpy(switch_id->id, id, sizeof(id));
}

static int sfsim_pf_resources(struct devlink *devlink)
{
	struct devlink_resource_size_params size;

	if (sfsim_ice)
		return 0;
	devlink_resource_size_params_init(&size, sfsim_max_sfs, sfsim_max_sfs, 1, DEVLINK_RESOURCE_UNIT_ENTRY);
	return devl_resource_register(devlink, "max_local_SFs", sfsim_max_sfs, 1, DEVLINK_RESOURCE_ID_PARENT_TOP,
				      &size);
}

int sfsim_pf_load(struct devlink *devlink)
{
	struct devlink_port_attrs attrs = { .flavour = DEVLINK_PORT_FLAVOUR_PHYSICAL };
	struct sfsim_pf *pf = devlink_priv(devlink);
	int err;

	err = sfsim_pf_resources(devlink);
	if (err)
		return err;
	attrs.phys.port_number = pf->pfnum;
	attrs.switch_id = pf->switch_id;
	devlink_port_attrs_set(&pf->port, &attrs);
	err = devl_port_register_with_ops(devlink, &pf->port,
					  sfsim_ice ? 0 : (pf->vhca_id << 16) | SFSIM_UPLINK_VPORT,
					  &sfsim_uplink_ops);
	if (err)
		goto err_resources;
	pf->uplink = sfsim_netdev_add(&pf->pdev->dev, &pf->port, NULL, SFSIM_NETDEV_PCI);
	if (IS_ERR(pf->uplink)) {
		err = PTR_ERR(pf->uplink);
		goto err_port;
	}
	return 0;

err_port:
	devl_port_unregister(&pf->port);
err_resources:
	devl_resources_unregister(devlink);
	return err;
}

void sfsim_pf_unload(struct devlink *devlink)
{
	struct sfsim_pf *pf = devlink_priv(devlink);

	sfsim_port_delete_all(pf);
	sfsim_vf_ports_del(pf);
	devl_rate_nodes_destroy(devlink);
	sfsim_netdev_del(pf->uplink);
	devl_port_unregister(&pf->port);
	devl_resources_unregister(devlink);
}

static void sfsim_pf_queues_del(struct sfsim_pf *pf)
{
	int i;

	for (i = 0; i < SFSIM_QUEUES; i++)
		if (pf->queues[i])
			destroy_workqueue(pf->queues[i]);
}

static int sfsim_pf_queues_add(struct sfsim_pf *pf)
{
	int i;

	for (i = 0; i < SFSIM_QUEUES; i++) {
		pf->queues[i] = alloc_ordered_workqueue("sfsim-%s-%d", 0, pci_name(pf->pdev), i);
		if (!pf->queues[i]) {
			sfsim_pf_queues_del(pf);
			return -ENOMEM;
		}
	}
	return 0;
}

static int sfsim_pf_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct devlink *devlink;
	struct sfsim_pf *pf;
	int err;

	if (pdev->is_virtfn)
		return sfsim_vf_probe(pdev);
	devlink = devlink_alloc(sfsim_ice ? &sfsim_ice_pf_ops : &sfsim_pf_ops, sizeof(*pf), &pdev->dev);
	if (!devlink)
		return -ENOMEM;
	pf = devlink_priv(devlink);
	pf->pdev = pdev;
	pf->pfnum = sfsim_first_port + PCI_FUNC(pdev->devfn);
	pf->mode = sfsim_switchdev ? DEVLINK_ESWITCH_MODE_SWITCHDEV : DEVLINK_ESWITCH_MODE_LEGACY;
	sfsim_switch_id(pdev, &pf->switch_id);
	mutex_init(&pf->fw_lock);
	sfsim_ice_vsi_init(pf);
	xa_init_flags(&pf->sfs, XA_FLAGS_ALLOC);
	init_waitqueue_head(&pf->drained);
	err = ida_alloc_max(&sfsim_vhca_ids, 63, GFP_KERNEL);
	if (err < 0)
		goto err_free;
	pf->vhca_id = err;
	err = sfsim_pf_queues_add(pf);
	if (err)
		goto err_vhca;
	sfsim_faults_add(pf);
	pci_set_drvdata(pdev, devlink);

	devl_lock(devlink);
	err = sfsim_pf_load(devlink);
	if (!err)
		devl_register(devlink);
	devl_unlock(devlink);
	if (err)
		goto err_faults;
	err = sfsim_mdev_add(pf);
	if (err)
		dev_warn(&pdev->dev, "no mediated devices: %d\n", err);
	return 0;

err_faults:
	sfsim_faults_over(pf);
	sfsim_faults_del(pf);
	sfsim_pf_queues_del(pf);
err_vhca:
	ida_free(&sfsim_vhca_ids, pf->vhca_id);
err_free:
	devlink_free(devlink);
	return err;
}

static void sfsim_pf_remove(struct pci_dev *pdev)
{
	struct devlink *devlink = pci_get_drvdata(pdev);
	struct sfsim_pf *pf;

	if (pdev->is_virtfn) {
		sfsim_vf_remove(pdev);
		return;
	}
	pf = devlink_priv(devlink);
	sfsim_faults_over(pf);
	sfsim_mdev_del(pf);
	if (pf->num_vfs)
		sfsim_vf_configure(pdev, 0);
	devl_lock(devlink);
	devl_unregister(devlink);
	sfsim_pf_unload(devlink);
	devl_unlock(devlink);
	sfsim_firmware_drain(pf);
	sfsim_pf_queues_del(pf);
	sfsim_faults_del(pf);
	xa_destroy(&pf->sfs);
	ida_free(&sfsim_vhca_ids, pf->vhca_id);
	devlink_free(devlink);
}

static const struct pci_device_id sfsim_pf_match[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },	/* QEMU's edu */
	{ PCI_DEVICE(0x1b36, 0x0010) },	/* QEMU's nvme, and its virtual functions */
	{ }
};
MODULE_DEVICE_TABLE(pci, sfsim_pf_match);

static struct pci_driver sfsim_pf_driver = {
	.id_table = sfsim_pf_match,
	.probe = sfsim_pf_probe,
	.remove = sfsim_pf_remove,
	.sriov_configure = sfsim_vf_configure,
};

int sfsim_pf_register(void)
{
	sfsim_pf_driver.name = sfsim_driver_name();
	return pci_register_driver(&sfsim_pf_driver);
}

void sfsim_pf_unregister(void)
{
	pci_unregister_driver(&sfsim_pf_driver);
}
