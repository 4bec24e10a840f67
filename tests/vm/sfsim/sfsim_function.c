// SPDX-License-Identifier: GPL-2.0
/*
 * The sub-function's own half: the auxiliary device mlx5_core.sf.N or ice.sf.N, and the driver that binds to it.
 *
 * The driver alone says whether the function is in use: from its probe to its remove. So a driver that is
 * unbound, or whose probe fails, leaves the port active and detached.
 */
#include <linux/slab.h>

#include "sfsim.h"

static DEFINE_IDA(sfsim_function_ids);

static int sfsim_function_probe(struct auxiliary_device *adev, const struct auxiliary_device_id *id)
{
	struct sfsim_function *function = container_of(adev, struct sfsim_function, adev);
	struct devlink *devlink;
	int err;

	err = sfsim_fault(function->sf->pf, SFSIM_OP_PROBE, function->sfnum, NULL);
	if (err)
		return err;
	err = sfsim_firmware_enter(function->sf);
	if (err)
		return err;
	devlink = sfsim_instance_add(function);
	if (IS_ERR(devlink)) {
		sfsim_firmware_leave(function->sf);
		return PTR_ERR(devlink);
	}
	auxiliary_set_drvdata(adev, devlink);
	return 0;
}

static void sfsim_function_driver_remove(struct auxiliary_device *adev)
{
	struct sfsim_function *function = container_of(adev, struct sfsim_function, adev);

	sfsim_instance_del(auxiliary_get_drvdata(adev));
	sfsim_firmware_leave(function->sf);
}

static struct auxiliary_device_id sfsim_function_match[2];

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
	sfsim_live_put();
}

/* Returns NULL if there is no device after all: the port stays active and detached. */
struct sfsim_function *sfsim_function_add(struct sfsim_sf *sf)
{
	struct sfsim_function *function;
	int id, err;

	function = kzalloc(sizeof(*function), GFP_KERNEL);
	if (!function)
		return NULL;
	id = ida_alloc_min(&sfsim_function_ids, sfsim_ice, GFP_KERNEL);
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
	if (!sfsim_ice)
		function->adev.dev.groups = sfsim_function_groups;
	if (auxiliary_device_init(&function->adev))
		goto err_id;

	kref_get(&sf->ref);
	function->sf = sf;
	sfsim_live_get();
	/* The name of the module that owns the device is an argument: so we can bear another's. */
	err = __auxiliary_device_add(&function->adev, sfsim_driver_name());
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
	snprintf(sfsim_function_match[0].name, sizeof(sfsim_function_match[0].name), "%s.sf", sfsim_driver_name());
	return __auxiliary_driver_register(&sfsim_function_driver, THIS_MODULE, sfsim_driver_name());
}

void sfsim_function_unregister_driver(void)
{
	auxiliary_driver_unregister(&sfsim_function_driver);
}
