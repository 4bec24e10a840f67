// SPDX-License-Identifier: GPL-2.0
/*
 * What ice does in its own way: port add, e-switch modes, reload, the numbers of its ports.
 *
 * File and line are those of drivers/net/ethernet/intel/ice in Linux 6.12.
 */
#include "sfsim.h"

/* devlink/devlink_port.c:625-648 and 992-996. */
int sfsim_ice_port_check(struct sfsim_pf *pf, const struct devlink_port_new_attrs *attrs,
			 struct netlink_ext_ack *extack)
{
	if (attrs->flavour != DEVLINK_PORT_FLAVOUR_PCI_SF) {
		sfsim_refuse(extack, "Flavour other than pcisf is not supported");
	} else if (attrs->controller_valid) {
		sfsim_refuse(extack, "Setting controller is not supported");
	} else if (attrs->port_index_valid) {
		sfsim_refuse(extack, "Driver does not support user defined port index assignment");
	} else if (attrs->pfnum != pf->pfnum) {
		sfsim_refuse(extack, "Incorrect pfnum supplied");
		return -EINVAL;
	} else if (sfsim_no_sf) {
		sfsim_refuse(extack, "Dynamic MSIX-X interrupt allocation is not supported");
	} else if (pf->mode != DEVLINK_ESWITCH_MODE_SWITCHDEV) {
		sfsim_refuse(extack, "SF ports are only supported in eswitch switchdev mode");
	} else {
		return 0;
	}
	return -EOPNOTSUPP;
}

/*
 * A port has the index of its VSI; the one freed last comes next (ice_lib.c:615-647, 440-466). Index 0 is the
 * function's own. With the PF's devlink lock.
 */
u32 sfsim_ice_vsi_take(struct sfsim_pf *pf)
{
	u32 index = pf->next_vsi;

	__set_bit(index, pf->vsis);
	pf->next_vsi = find_first_zero_bit(pf->vsis, SFSIM_VSIS);
	return index;
}

void sfsim_ice_vsi_free(struct sfsim_pf *pf, u32 index)
{
	__clear_bit(index, pf->vsis);
	pf->next_vsi = index;
}

void sfsim_ice_vsi_init(struct sfsim_pf *pf)
{
	__set_bit(0, pf->vsis);
	pf->next_vsi = 1;
}

/*
 * The representor of a function that was never attached has the number 0 (ice_repr.c:388), until its first activation
 * gives its VSI one (ice_eswitch.c:198-204): a second such is not inserted (ice_eswitch.c:472). The first port of all
 * sets the switch up, which an uplink in a bridge prevents (ice_eswitch.c:293-297, 456).
 */
int sfsim_ice_eswitch_attach(struct sfsim_sf *sf, struct netlink_ext_ack *extack)
{
	struct sfsim_pf *pf = sf->pf;
	struct sfsim_sf *other;
	unsigned long index;
	bool first = true;
	int err = 0;

	mutex_lock(&pf->fw_lock);
	xa_for_each(&pf->sfs, index, other) {
		if (other == sf || other->stranded || other->port_gone)
			continue;
		first = false;
		if (!other->was_attached)
			err = -EBUSY;
	}
	mutex_unlock(&pf->fw_lock);
	if (first && netif_is_any_bridge_port(pf->uplink))
		err = -EINVAL;
	if (err)
		sfsim_refuse(extack, "Failed to attach SF to eswitch");
	return err;
}

/*
 * ice_eswitch.c:345-370. The mode changes, and nothing else: the representors are forgotten (355), and whoever deletes
 * such a port frees one that is registered still (devlink/devlink_port.c:590-593). Here that is a WARN.
 */
int sfsim_ice_eswitch_set(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack)
{
	struct sfsim_pf *pf = devlink_priv(devlink);
	struct sfsim_sf *sf;
	unsigned long index;
	int err;

	if (mode == pf->mode)
		return 0;
	if (pf->num_vfs) {
		sfsim_refuse(extack, "Changing eswitch mode is allowed only if there is no VFs created");
		return -EOPNOTSUPP;
	}
	if (mode > DEVLINK_ESWITCH_MODE_SWITCHDEV) {
		sfsim_refuse(extack, "Unknown eswitch mode");
		return -EINVAL;
	}
	err = sfsim_fault(pf, SFSIM_OP_ESWITCH, SFSIM_NOBODY, extack);
	if (err)
		return err;
	mutex_lock(&pf->fw_lock);
	xa_for_each(&pf->sfs, index, sf)
		sf->stranded = true;
	mutex_unlock(&pf->fw_lock);
	pf->mode = mode;
	/* A success with a text: a warning, to whoever asked. */
	if (mode == DEVLINK_ESWITCH_MODE_SWITCHDEV)
		sfsim_refuse(extack, "Changed eswitch mode to switchdev");
	else
		sfsim_refuse(extack, "Changed eswitch mode to legacy");
	return 0;
}

/* devlink/devlink.c:478-493. */
int sfsim_ice_reload_down(struct devlink *devlink, bool netns_change, enum devlink_reload_action action,
			  enum devlink_reload_limit limit, struct netlink_ext_ack *extack)
{
	struct sfsim_pf *pf = devlink_priv(devlink);

	if (pf->mode == DEVLINK_ESWITCH_MODE_SWITCHDEV)
		sfsim_refuse(extack, "Go to legacy mode before doing reinit");
	else if (pf->num_vfs)
		sfsim_refuse(extack, "Remove all VFs before doing reinit");
	else
		goto unload;
	return -EOPNOTSUPP;

unload:
	/* devlink warns of a port that outlives this: so it would of one that legacy mode left behind. */
	sfsim_pf_unload(devlink);
	return 0;
}

int sfsim_ice_reload_up(struct devlink *devlink, enum devlink_reload_action action, enum devlink_reload_limit limit,
			u32 *actions_performed, struct netlink_ext_ack *extack)
{
	*actions_performed = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT);
	return sfsim_pf_load(devlink);
}
