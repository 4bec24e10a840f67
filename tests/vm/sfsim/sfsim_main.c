// SPDX-License-Identifier: GPL-2.0
/* Module parameters, and the order in which the drivers come and go. */
#include <linux/module.h>

#include "sfsim.h"

bool sfsim_light = true;
module_param_named(light, sfsim_light, bool, 0444);
MODULE_PARM_DESC(light, "sub-functions appear without netdev and RDMA until enable_* is set and reloaded (default true)");

bool sfsim_no_sf;
module_param_named(no_sf, sfsim_no_sf, bool, 0444);
MODULE_PARM_DESC(no_sf, "refuse sub-functions, as a kernel or firmware without them does (default false)");

bool sfsim_switchdev;
module_param_named(switchdev, sfsim_switchdev, bool, 0444);
MODULE_PARM_DESC(switchdev, "start in switchdev rather than legacy mode (default false)");

unsigned int sfsim_max_sfs = 128;
module_param_named(max_sfs, sfsim_max_sfs, uint, 0444);
MODULE_PARM_DESC(max_sfs, "sub-functions one physical function can have (default 128)");

unsigned int sfsim_first_port;
module_param_named(first_port, sfsim_first_port, uint, 0444);
MODULE_PARM_DESC(first_port, "port number of PCI function 0 (default 0)");

static int __init sfsim_init(void)
{
	int err;

	if (!sfsim_max_sfs || sfsim_max_sfs > 1024)
		return -EINVAL;
	sfsim_faults_init();
	err = sfsim_function_register_driver();
	if (err)
		goto err_faults;
	err = sfsim_pf_register();
	if (err)
		goto err_driver;
	return 0;

err_driver:
	sfsim_function_unregister_driver();
err_faults:
	sfsim_faults_exit();
	return err;
}

static void __exit sfsim_exit(void)
{
	sfsim_pf_unregister();
	sfsim_function_unregister_driver();
	sfsim_faults_exit();
}

module_init(sfsim_init);
module_exit(sfsim_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Simulated NIC with sub-functions, a test instrument");
