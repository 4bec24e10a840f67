// SPDX-License-Identifier: GPL-2.0
/* Module parameters, and the order in which the drivers come and go. */
#include <linux/module.h>

#include "sfsim.h"

static char *sfsim_personality = "mlx5";
module_param_named(personality, sfsim_personality, charp, 0444);
MODULE_PARM_DESC(personality, "whose manners: mlx5 (default) or ice");
bool sfsim_ice;

bool sfsim_light = true;
module_param_named(light, sfsim_light, bool, 0444);
MODULE_PARM_DESC(light, "sub-functions appear with nothing until enable_* is set and reloaded (default true; mlx5)");

bool sfsim_eth_instance = true;
module_param_named(eth_instance, sfsim_eth_instance, bool, 0444);
MODULE_PARM_DESC(eth_instance, "the Ethernet child has a devlink instance of its own, with the port (default true; mlx5)");

bool sfsim_no_sf;
module_param_named(no_sf, sfsim_no_sf, bool, 0444);
MODULE_PARM_DESC(no_sf, "refuse sub-functions, as a kernel or firmware without them does (default false)");

bool sfsim_no_vnet;
module_param_named(no_vnet, sfsim_no_vnet, bool, 0444);
MODULE_PARM_DESC(no_vnet, "leave the vnet child without a driver, as if mlx5_vdpa were not loaded (default false)");

bool sfsim_mdev;
module_param_named(mdev, sfsim_mdev, bool, 0444);
MODULE_PARM_DESC(mdev, "physical functions offer mediated devices (default false)");

unsigned int sfsim_mdev_instances = 2;
module_param_named(mdev_instances, sfsim_mdev_instances, uint, 0444);
MODULE_PARM_DESC(mdev_instances, "mediated devices one physical function can have (default 2)");

bool sfsim_switchdev;
module_param_named(switchdev, sfsim_switchdev, bool, 0444);
MODULE_PARM_DESC(switchdev, "start in switchdev rather than legacy mode (default false)");

unsigned int sfsim_max_sfs = 128;
module_param_named(max_sfs, sfsim_max_sfs, uint, 0444);
MODULE_PARM_DESC(max_sfs, "sub-functions one physical function can have (default 128)");

unsigned int sfsim_first_port;
module_param_named(first_port, sfsim_first_port, uint, 0444);
MODULE_PARM_DESC(first_port, "port number of PCI function 0 (default 0)");

/*
 * Devices whose release function is ours. Others drop their references late (devlink does from RCU),
 * and the module must not go before.
 */
static atomic_t sfsim_live = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(sfsim_gone);

void sfsim_live_get(void)
{
	atomic_inc(&sfsim_live);
}

void sfsim_live_put(void)
{
	rcu_read_lock();
	if (atomic_dec_and_test(&sfsim_live))
		wake_up_all(&sfsim_gone);
	rcu_read_unlock();
}

static int __init sfsim_init(void)
{
	int err;

	if (!sfsim_max_sfs || sfsim_max_sfs > 1024)
		return -EINVAL;
	if (strcmp(sfsim_personality, "mlx5") && strcmp(sfsim_personality, "ice"))
		return -EINVAL;
	sfsim_ice = !strcmp(sfsim_personality, "ice");
	sfsim_debugfs_init();
	err = sfsim_mdev_register_driver();
	if (err)
		goto err_debugfs;
	err = sfsim_child_register_drivers();
	if (err)
		goto err_mdev;
	err = sfsim_function_register_driver();
	if (err)
		goto err_children;
	err = sfsim_pf_register();
	if (err)
		goto err_function;
	return 0;

err_function:
	sfsim_function_unregister_driver();
err_children:
	sfsim_child_unregister_drivers();
err_mdev:
	sfsim_mdev_unregister_driver();
err_debugfs:
	sfsim_debugfs_exit();
	return err;
}

static void __exit sfsim_exit(void)
{
	sfsim_pf_unregister();
	sfsim_function_unregister_driver();
	sfsim_child_unregister_drivers();
	sfsim_mdev_unregister_driver();
	sfsim_debugfs_exit();
	wait_event(sfsim_gone, !atomic_read(&sfsim_live));
	synchronize_rcu();
}

module_init(sfsim_init);
module_exit(sfsim_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Simulated NIC with sub-functions, a test instrument");
