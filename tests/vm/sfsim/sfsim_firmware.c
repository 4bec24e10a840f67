// SPDX-License-Identifier: GPL-2.0
/*
 * The firmware: which sub-functions exist and in which state each is.
 *
 * The PF asks for a state and returns at once; a work item per sub-function makes the auxiliary device
 * come and go. It runs outside every lock, since unbinding a driver may wait for whoever holds its device.
 */
#include <linux/slab.h>

#include "sfsim.h"

static void sfsim_sf_release(struct kref *ref)
{
	kfree(container_of(ref, struct sfsim_sf, ref));
}

void sfsim_sf_put(struct sfsim_sf *sf)
{
	kref_put(&sf->ref, sfsim_sf_release);
}

static void sfsim_firmware_kick(struct sfsim_sf *sf, u32 delay_ms)
{
	lockdep_assert_held(&sf->pf->fw_lock);
	if (sf->pf->dying)
		delay_ms = 0;
	kref_get(&sf->ref);
	/* If it was pending already, the reference taken then serves. */
	if (mod_delayed_work(sf->pf->queues[sf->slot % SFSIM_QUEUES], &sf->work, msecs_to_jiffies(delay_ms)))
		sfsim_sf_put(sf);
}

/*
 * mlx5 answers at once and acts later; ice answers when it is done.
 * Called with the lock held, and holds it again on return; @sf may be forgotten then.
 */
static void sfsim_firmware_act(struct sfsim_sf *sf, u32 delay_ms)
{
	struct sfsim_pf *pf = sf->pf;

	if (!sfsim_ice) {
		sfsim_firmware_kick(sf, delay_ms);
		return;
	}
	kref_get(&sf->ref);
	mutex_unlock(&pf->fw_lock);
	sfsim_fault_pause(pf, delay_ms);
	mutex_lock(&pf->fw_lock);
	sfsim_firmware_kick(sf, 0);
	mutex_unlock(&pf->fw_lock);
	flush_delayed_work(&sf->work);
	mutex_lock(&pf->fw_lock);
	sfsim_sf_put(sf);
}

static void sfsim_firmware_forget(struct sfsim_sf *sf)
{
	struct sfsim_pf *pf = sf->pf;

	lockdep_assert_held(&pf->fw_lock);
	sf->forgotten = true;
	xa_erase(&pf->sfs, sf->slot);
	if (xa_empty(&pf->sfs))
		wake_up_all(&pf->drained);
	sfsim_sf_put(sf);	/* the first one, which stood for port and table */
}

/* The request to let go is lost on its way, if that was asked for: the function stays as it is until the next one. */
static bool sfsim_firmware_overhears(struct sfsim_sf *sf)
{
	return sfsim_fault(sf->pf, SFSIM_OP_DETACH, sf->sfnum, NULL) && !sf->pf->dying;
}

static void sfsim_firmware_work(struct work_struct *work)
{
	struct sfsim_sf *sf = container_of(to_delayed_work(work), struct sfsim_sf, work);
	struct sfsim_pf *pf = sf->pf;
	struct sfsim_function *function;

	mutex_lock(&pf->fw_lock);
	if (sf->vhca == SFSIM_TEARDOWN && sf->function) {
		mutex_unlock(&pf->fw_lock);
		sfsim_fault_hang(pf);
		mutex_lock(&pf->fw_lock);
	}
	if (sf->vhca == SFSIM_ACTIVE && !sf->function) {
		mutex_unlock(&pf->fw_lock);
		function = sfsim_function_add(sf);
		mutex_lock(&pf->fw_lock);
		sf->function = function;
	} else if (sf->vhca == SFSIM_TEARDOWN && sf->function && !sfsim_firmware_overhears(sf)) {
		function = sf->function;
		sf->function = NULL;
		sf->detaching = true;
		mutex_unlock(&pf->fw_lock);
		sfsim_function_remove(function);
		mutex_lock(&pf->fw_lock);
		sf->detaching = false;
	}
	/* Asked to let go, and no driver is there that would say it has. */
	if (sf->vhca == SFSIM_TEARDOWN && !sf->function)
		sf->vhca = SFSIM_ALLOCATED;
	/* If queued again meanwhile, that run forgets it; at once if the port went while the driver let go. */
	if (sf->port_gone && !sf->forgotten && sf->vhca == SFSIM_ALLOCATED && !delayed_work_pending(&sf->work))
		sfsim_firmware_forget(sf);
	mutex_unlock(&pf->fw_lock);
	sfsim_sf_put(sf);
}

/* ice cannot choose one, which it answers with a WARN, too (ice_main.c:4121, devlink/devlink_port.c:832-834). */
static int sfsim_firmware_number(struct sfsim_pf *pf, const struct devlink_port_new_attrs *attrs, u32 *sfnum,
				 struct netlink_ext_ack *extack)
{
	struct sfsim_sf *other;
	unsigned long index;

	lockdep_assert_held(&pf->fw_lock);
	if (!attrs->sfnum_valid)
		return -EINVAL;
	xa_for_each(&pf->sfs, index, other) {
		if (other->sfnum != attrs->sfnum)
			continue;
		if (sfsim_ice) {
			sfsim_refuse(extack, "Subfunction with given sfnum already exists");
			return -EBUSY;
		}
		sfsim_refuse(extack, "SF already exist. Choose different sfnum");
		return -EEXIST;
	}
	*sfnum = attrs->sfnum;
	return 0;
}

static int sfsim_firmware_slot(struct sfsim_pf *pf, struct sfsim_sf *sf, struct netlink_ext_ack *extack)
{
	int err = xa_alloc(&pf->sfs, &sf->slot, sf, XA_LIMIT(0, sfsim_max_sfs - 1), GFP_KERNEL);

	if (err != -EBUSY)
		return err;
	if (!sfsim_ice)
		return -ENOSPC;
	sfsim_refuse(extack, "Unable to allocate VSI");
	return -ENOMEM;
}

struct sfsim_sf *sfsim_firmware_alloc(struct sfsim_pf *pf, const struct devlink_port_new_attrs *attrs,
				      struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf;
	int err;

	sf = kzalloc(sizeof(*sf), GFP_KERNEL);
	if (!sf)
		return ERR_PTR(-ENOMEM);
	kref_init(&sf->ref);
	INIT_DELAYED_WORK(&sf->work, sfsim_firmware_work);
	sf->pf = pf;
	sf->roce = true;
	sf->max_io_eqs = 8;
	if (sfsim_ice)
		eth_random_addr(sf->mac);

	mutex_lock(&pf->fw_lock);
	err = sfsim_firmware_number(pf, attrs, &sf->sfnum, extack);
	if (!err)
		err = sfsim_firmware_slot(pf, sf, extack);
	mutex_unlock(&pf->fw_lock);
	if (err) {
		kfree(sf);
		return ERR_PTR(err);
	}
	return sf;
}

/* The port is gone. An idle sub-function is free at once; another when its driver has let go. */
void sfsim_firmware_free(struct sfsim_sf *sf)
{
	struct sfsim_pf *pf = sf->pf;

	mutex_lock(&pf->fw_lock);
	sf->port_gone = true;
	switch (sf->vhca) {
	case SFSIM_ALLOCATED:
		if (delayed_work_pending(&sf->work))
			sfsim_firmware_kick(sf, 0);
		else
			sfsim_firmware_forget(sf);
		break;
	case SFSIM_ACTIVE:
	case SFSIM_IN_USE:
		sf->vhca = SFSIM_TEARDOWN;
		sfsim_firmware_act(sf, READ_ONCE(pf->faults.detach_delay_ms));
		break;
	case SFSIM_TEARDOWN:	/* on its way already, at the pace asked for then; unless that request was lost */
		if (!delayed_work_pending(&sf->work))
			sfsim_firmware_act(sf, 0);
		break;
	}
	mutex_unlock(&pf->fw_lock);
}

int sfsim_firmware_activate(struct sfsim_sf *sf, struct netlink_ext_ack *extack)
{
	struct sfsim_pf *pf = sf->pf;
	int err = 0;

	mutex_lock(&pf->fw_lock);
	switch (sf->vhca) {
	case SFSIM_ACTIVE:
	case SFSIM_IN_USE:
		break;
	case SFSIM_TEARDOWN:
		sfsim_refuse(extack, "SF is inactivated but it is still attached");
		err = -EBUSY;
		break;
	case SFSIM_ALLOCATED:
		err = sfsim_fault(pf, SFSIM_OP_ACTIVATE, sf->sfnum, extack);
		if (err)
			break;
		sf->vhca = SFSIM_ACTIVE;
		sfsim_firmware_act(sf, READ_ONCE(pf->faults.attach_delay_ms));
		break;
	}
	mutex_unlock(&pf->fw_lock);
	return err;
}

int sfsim_firmware_deactivate(struct sfsim_sf *sf, struct netlink_ext_ack *extack)
{
	struct sfsim_pf *pf = sf->pf;
	int err = 0;

	mutex_lock(&pf->fw_lock);
	if (sf->vhca == SFSIM_ACTIVE || sf->vhca == SFSIM_IN_USE) {
		err = sfsim_fault(pf, SFSIM_OP_DEACTIVATE, sf->sfnum, extack);
		if (!err) {
			sf->vhca = SFSIM_TEARDOWN;
			sfsim_firmware_act(sf, READ_ONCE(pf->faults.detach_delay_ms));
		}
	}
	mutex_unlock(&pf->fw_lock);
	return err;
}

/* The firmware takes the function away, and nobody has asked it to: the port stays, inactive. */
int sfsim_firmware_lose(struct sfsim_pf *pf, u32 sfnum)
{
	struct sfsim_sf *sf;
	unsigned long index;
	int err = -ENOENT;

	mutex_lock(&pf->fw_lock);
	xa_for_each(&pf->sfs, index, sf) {
		if (sf->sfnum != sfnum || (sf->vhca != SFSIM_ACTIVE && sf->vhca != SFSIM_IN_USE))
			continue;
		sf->vhca = SFSIM_TEARDOWN;
		sfsim_firmware_kick(sf, 0);
		err = 0;
	}
	mutex_unlock(&pf->fw_lock);
	return err;
}

/* The sub-function's driver initialises it; refused once the PF has taken the function back. */
int sfsim_firmware_enter(struct sfsim_sf *sf)
{
	int err = 0;

	mutex_lock(&sf->pf->fw_lock);
	if (sf->vhca == SFSIM_ACTIVE) {
		sf->vhca = SFSIM_IN_USE;
		sf->was_attached = true;
	} else {
		err = -ENODEV;
	}
	mutex_unlock(&sf->pf->fw_lock);
	return err;
}

/* The sub-function's driver has let go of it. */
void sfsim_firmware_leave(struct sfsim_sf *sf)
{
	mutex_lock(&sf->pf->fw_lock);
	if (sf->vhca == SFSIM_IN_USE)
		sf->vhca = SFSIM_ACTIVE;
	else if (sf->vhca == SFSIM_TEARDOWN && sf->detaching)
		sf->vhca = SFSIM_ALLOCATED;
	else if (sf->vhca == SFSIM_TEARDOWN)
		sfsim_firmware_kick(sf, 0);	/* unbound by hand, or its probe failed: the device need not linger */
	mutex_unlock(&sf->pf->fw_lock);
}

/* Waits until no sub-function is left; every port has been deleted before. */
void sfsim_firmware_drain(struct sfsim_pf *pf)
{
	struct sfsim_sf *sf;
	unsigned long index;

	mutex_lock(&pf->fw_lock);
	pf->dying = true;
	xa_for_each(&pf->sfs, index, sf)
		sfsim_firmware_kick(sf, 0);
	mutex_unlock(&pf->fw_lock);
	wait_event(pf->drained, xa_empty(&pf->sfs));
}
