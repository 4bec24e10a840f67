// SPDX-License-Identifier: GPL-2.0
/* The sub-function's port on the PF: made, configured, activated and deleted by the user. */
#include "sfsim.h"

static struct sfsim_sf *sfsim_port_sf(struct devlink_port *port)
{
	return container_of(port, struct sfsim_sf, port);
}

static int sfsim_port_mac_get(struct devlink_port *port, u8 *mac, int *len, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);

	mutex_lock(&sf->pf->fw_lock);
	ether_addr_copy(mac, sf->mac);
	mutex_unlock(&sf->pf->fw_lock);
	*len = ETH_ALEN;
	return 0;
}

/*
 * mlx5 accepts it at any time, and the running function keeps the address it came up with; ice refuses it
 * then, before it looks at the address (devlink/devlink_port.c:697-706).
 */
static int sfsim_port_mac_set(struct devlink_port *port, const u8 *mac, int len, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);
	int err;

	err = sfsim_fault(sf->pf, SFSIM_OP_SET_MAC, sf->sfnum, extack);
	if (err)
		return err;
	mutex_lock(&sf->pf->fw_lock);
	if (sfsim_ice && (sf->vhca == SFSIM_IN_USE || sf->vhca == SFSIM_TEARDOWN)) {
		sfsim_refuse(extack, "Ethernet address can be change only in detached state");
		err = -EBUSY;
	} else if (sfsim_ice && !is_valid_ether_addr(mac)) {
		sfsim_refuse(extack, "Invalid ethernet address");
		err = -EADDRNOTAVAIL;
	} else {
		ether_addr_copy(sf->mac, mac);
	}
	mutex_unlock(&sf->pf->fw_lock);
	return err;
}

static int sfsim_port_roce_get(struct devlink_port *port, bool *enabled, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);

	mutex_lock(&sf->pf->fw_lock);
	*enabled = sf->roce;
	mutex_unlock(&sf->pf->fw_lock);
	return 0;
}

static int sfsim_port_roce_set(struct devlink_port *port, bool enable, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);
	int err = sfsim_fault(sf->pf, SFSIM_OP_SET_ROCE, sf->sfnum, extack);

	if (err)
		return err;
	mutex_lock(&sf->pf->fw_lock);
	sf->roce = enable;
	mutex_unlock(&sf->pf->fw_lock);
	return 0;
}

static int sfsim_port_io_eqs_get(struct devlink_port *port, u32 *eqs, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);

	mutex_lock(&sf->pf->fw_lock);
	*eqs = sf->max_io_eqs;
	mutex_unlock(&sf->pf->fw_lock);
	return 0;
}

static int sfsim_port_io_eqs_set(struct devlink_port *port, u32 eqs, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);
	int err = sfsim_fault(sf->pf, SFSIM_OP_SET_EQS, sf->sfnum, extack);

	if (err)
		return err;
	mutex_lock(&sf->pf->fw_lock);
	sf->max_io_eqs = eqs;
	mutex_unlock(&sf->pf->fw_lock);
	return 0;
}

static int sfsim_port_state_get(struct devlink_port *port, enum devlink_port_fn_state *state,
				enum devlink_port_fn_opstate *opstate, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);
	enum sfsim_vhca vhca;

	mutex_lock(&sf->pf->fw_lock);
	vhca = sf->vhca;
	mutex_unlock(&sf->pf->fw_lock);
	*state = vhca == SFSIM_ACTIVE || vhca == SFSIM_IN_USE ?
		 DEVLINK_PORT_FN_STATE_ACTIVE : DEVLINK_PORT_FN_STATE_INACTIVE;
	*opstate = vhca == SFSIM_IN_USE || vhca == SFSIM_TEARDOWN ?
		   DEVLINK_PORT_FN_OPSTATE_ATTACHED : DEVLINK_PORT_FN_OPSTATE_DETACHED;
	return 0;
}

static int sfsim_port_state_set(struct devlink_port *port, enum devlink_port_fn_state state,
				struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = sfsim_port_sf(port);

	if (state == DEVLINK_PORT_FN_STATE_ACTIVE)
		return sfsim_firmware_activate(sf, extack);
	return sfsim_firmware_deactivate(sf, extack);
}

static void sfsim_port_delete(struct sfsim_sf *sf)
{
	struct net_device *representor;
	struct sfsim_pf *pf = sf->pf;
	u32 vsi = sf->vsi;

	mutex_lock(&sf->pf->fw_lock);
	sf->closing = true;
	representor = sf->representor;
	sf->representor = NULL;
	mutex_unlock(&sf->pf->fw_lock);
	if (representor)
		sfsim_netdev_del(representor);
	if (!sfsim_ice)
		devl_rate_leaf_destroy(&sf->port);
	devl_port_unregister(&sf->port);
	sfsim_firmware_free(sf);
	if (sfsim_ice)
		sfsim_ice_vsi_free(pf, vsi);
}

static int sfsim_port_del(struct devlink *devlink, struct devlink_port *port, struct netlink_ext_ack *extack)
{
	int err;

	err = sfsim_fault(devlink_priv(devlink), SFSIM_OP_DEL, sfsim_port_sf(port)->sfnum, extack);
	if (err)
		return err;
	WARN(sfsim_port_sf(port)->stranded, "ice would free a port here that is registered still\n");
	sfsim_port_delete(sfsim_port_sf(port));
	return 0;
}

/* A sub-function that still has its port cannot vanish under the PF's devlink lock; one without may any time. */
static struct sfsim_sf *sfsim_port_any(struct sfsim_pf *pf)
{
	struct sfsim_sf *sf, *found = NULL;
	unsigned long index;

	mutex_lock(&pf->fw_lock);
	xa_for_each(&pf->sfs, index, sf) {
		if (!sf->closing) {
			found = sf;
			break;
		}
	}
	mutex_unlock(&pf->fw_lock);
	return found;
}

void sfsim_port_delete_all(struct sfsim_pf *pf)
{
	struct sfsim_sf *sf;

	while ((sf = sfsim_port_any(pf)))
		sfsim_port_delete(sf);
}

static const struct devlink_port_ops sfsim_port_ops = {
	.port_del = sfsim_port_del,
	.port_fn_hw_addr_get = sfsim_port_mac_get,
	.port_fn_hw_addr_set = sfsim_port_mac_set,
	.port_fn_roce_get = sfsim_port_roce_get,
	.port_fn_roce_set = sfsim_port_roce_set,
	.port_fn_max_io_eqs_get = sfsim_port_io_eqs_get,
	.port_fn_max_io_eqs_set = sfsim_port_io_eqs_set,
	.port_fn_state_get = sfsim_port_state_get,
	.port_fn_state_set = sfsim_port_state_set,
};

static const struct devlink_port_ops sfsim_ice_port_ops = {
	.port_del = sfsim_port_del,
	.port_fn_hw_addr_get = sfsim_port_mac_get,
	.port_fn_hw_addr_set = sfsim_port_mac_set,
	.port_fn_state_get = sfsim_port_state_get,
	.port_fn_state_set = sfsim_port_state_set,
};

static int sfsim_port_check(struct sfsim_pf *pf, const struct devlink_port_new_attrs *attrs,
			    struct netlink_ext_ack *extack)
{
	if (attrs->flavour != DEVLINK_PORT_FLAVOUR_PCI_SF)
		sfsim_refuse(extack, "Driver supports only SF port addition");
	else if (attrs->port_index_valid)
		sfsim_refuse(extack, "Driver does not support user defined port index assignment");
	else if (!attrs->sfnum_valid)
		sfsim_refuse(extack, "User must provide unique sfnum. Driver does not support auto assignment");
	else if (attrs->controller_valid && attrs->controller)
		sfsim_refuse(extack, "External controller is unsupported");
	else if (attrs->pfnum != pf->pfnum)
		sfsim_refuse(extack, "Invalid pfnum supplied");
	else if (sfsim_no_sf)
		sfsim_refuse(extack, "SF ports are not supported.");
	else if (pf->mode != DEVLINK_ESWITCH_MODE_SWITCHDEV)
		sfsim_refuse(extack, "SF ports are only supported in eswitch switchdev mode.");
	else
		return 0;
	return -EOPNOTSUPP;
}

static int sfsim_port_register(struct devlink *devlink, struct sfsim_sf *sf)
{
	struct sfsim_pf *pf = sf->pf;
	struct net_device *representor;
	int err;

	sf->port.attrs.switch_id = pf->switch_id;
	devlink_port_attrs_pci_sf_set(&sf->port, 0, pf->pfnum, sf->sfnum, false);
	if (sfsim_ice)
		sf->vsi = sfsim_ice_vsi_take(pf);
	/* mlx5: function id and virtual port. Nothing to be guessed. */
	err = devl_port_register_with_ops(devlink, &sf->port,
					  sfsim_ice ? sf->vsi : (pf->vhca_id << 16) | (32768 + sf->slot),
					  sfsim_ice ? &sfsim_ice_port_ops : &sfsim_port_ops);
	if (err)
		goto err_vsi;
	if (!sfsim_ice)
		err = devl_rate_leaf_create(&sf->port, sf, NULL);
	if (err)
		goto err_port;
	representor = sfsim_netdev_add(&pf->pdev->dev, &sf->port, NULL, SFSIM_NETDEV_REPRESENTOR);
	if (IS_ERR(representor)) {
		err = PTR_ERR(representor);
		goto err_leaf;
	}
	mutex_lock(&pf->fw_lock);
	sf->representor = representor;
	mutex_unlock(&pf->fw_lock);
	return 0;

err_leaf:
	if (!sfsim_ice)
		devl_rate_leaf_destroy(&sf->port);
err_port:
	devl_port_unregister(&sf->port);
err_vsi:
	if (sfsim_ice)
		sfsim_ice_vsi_free(pf, sf->vsi);
	return err;
}

int sfsim_port_new(struct devlink *devlink, const struct devlink_port_new_attrs *attrs,
		   struct netlink_ext_ack *extack, struct devlink_port **port)
{
	struct sfsim_pf *pf = devlink_priv(devlink);
	struct sfsim_sf *sf;
	int err;

	err = sfsim_ice ? sfsim_ice_port_check(pf, attrs, extack) : sfsim_port_check(pf, attrs, extack);
	if (err)
		return err;
	err = sfsim_fault(pf, SFSIM_OP_NEW, attrs->sfnum_valid ? attrs->sfnum : SFSIM_NOBODY, extack);
	if (err)
		return err;
	sf = sfsim_firmware_alloc(pf, attrs, extack);
	if (IS_ERR(sf))
		return PTR_ERR(sf);
	err = sfsim_port_register(devlink, sf);
	if (err) {
		sfsim_firmware_free(sf);
		return err;
	}
	if (sfsim_ice) {
		err = sfsim_ice_eswitch_attach(sf, extack);
		if (err) {
			/* It was announced by now, and so is its end. */
			sfsim_port_delete(sf);
			return err;
		}
	}
	*port = &sf->port;
	return 0;
}
