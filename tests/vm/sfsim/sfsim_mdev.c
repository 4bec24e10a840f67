// SPDX-License-Identifier: GPL-2.0
/*
 * Mediated devices of a physical function: one type, `local`. Each is a VFIO device in a group of its own, which
 * answers what a user asks first (information, reset, its configuration space) and does nothing else.
 */
#include <linux/mdev.h>
#include <linux/slab.h>
#include <linux/vfio.h>

#include "sfsim.h"

/* One for each time the PF is bound: a type's kobject cannot be used twice. */
struct sfsim_mdev {
	struct mdev_parent parent;
	struct mdev_type type;
	struct mdev_type *types[1];
	struct sfsim_pf *pf;
};

struct sfsim_vfio {
	struct vfio_device vdev;
};

static struct sfsim_pf *sfsim_mdev_pf(struct mdev_device *mdev)
{
	return container_of(mdev->type, struct sfsim_mdev, type)->pf;
}

static int sfsim_vfio_init(struct vfio_device *vdev)
{
	return 0;
}

static int sfsim_vfio_info(unsigned long arg)
{
	size_t size = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, (void __user *)arg, size))
		return -EFAULT;
	if (info.argsz < size)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user((void __user *)arg, &info, size) ? -EFAULT : 0;
}

static long sfsim_vfio_ioctl(struct vfio_device *vdev, unsigned int command, unsigned long arg)
{
	switch (command) {
	case VFIO_DEVICE_GET_INFO:
		return sfsim_vfio_info(arg);
	case VFIO_DEVICE_RESET:
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct vfio_device_ops sfsim_vfio_ops = {
	.name = "sfsim-mdev",
	.init = sfsim_vfio_init,
	.ioctl = sfsim_vfio_ioctl,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
};

static int sfsim_mdev_probe(struct mdev_device *mdev)
{
	struct sfsim_vfio *vfio;
	int err;

	err = sfsim_fault(sfsim_mdev_pf(mdev), SFSIM_OP_MDEV_CREATE, SFSIM_NOBODY, NULL);
	if (err)
		return err;
	vfio = vfio_alloc_device(sfsim_vfio, vdev, &mdev->dev, &sfsim_vfio_ops);
	if (IS_ERR(vfio))
		return PTR_ERR(vfio);
	err = vfio_register_emulated_iommu_dev(&vfio->vdev);
	if (err) {
		vfio_put_device(&vfio->vdev);
		return err;
	}
	dev_set_drvdata(&mdev->dev, vfio);
	return 0;
}

/* Waits until nobody has it open. */
static void sfsim_mdev_remove(struct mdev_device *mdev)
{
	struct sfsim_vfio *vfio = dev_get_drvdata(&mdev->dev);
	struct sfsim_pf *pf = sfsim_mdev_pf(mdev);

	sfsim_fault(pf, SFSIM_OP_MDEV_REMOVE, SFSIM_NOBODY, NULL);
	sfsim_fault_pause(pf, READ_ONCE(pf->faults.mdev_remove_delay_ms));
	vfio_unregister_group_dev(&vfio->vdev);
	vfio_put_device(&vfio->vdev);
}

static ssize_t sfsim_mdev_description(struct mdev_type *type, char *buf)
{
	return sysfs_emit(buf, "a sub-function of this device\n");
}

static struct mdev_driver sfsim_mdev_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.probe = sfsim_mdev_probe,
	.remove = sfsim_mdev_remove,
	.show_description = sfsim_mdev_description,
	.driver = {
		.name = "sfsim_mdev",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
};

int sfsim_mdev_add(struct sfsim_pf *pf)
{
	struct sfsim_mdev *mdev;
	int err;

	if (!sfsim_mdev)
		return 0;
	mdev = kzalloc(sizeof(*mdev), GFP_KERNEL);
	if (!mdev)
		return -ENOMEM;
	mdev->pf = pf;
	mdev->type.sysfs_name = "local";
	mdev->type.pretty_name = "sub-function";
	mdev->types[0] = &mdev->type;
	err = mdev_register_parent(&mdev->parent, &pf->pdev->dev, &sfsim_mdev_driver, mdev->types, 1);
	if (err) {
		kfree(mdev);
		return err;
	}
	pf->mdev = mdev;
	return 0;
}

void sfsim_mdev_del(struct sfsim_pf *pf)
{
	if (!pf->mdev)
		return;
	mdev_unregister_parent(&pf->mdev->parent);
	kfree(pf->mdev);
	pf->mdev = NULL;
}

int sfsim_mdev_register_driver(void)
{
	sfsim_mdev_driver.max_instances = sfsim_mdev_instances;
	return mdev_register_driver(&sfsim_mdev_driver);
}

void sfsim_mdev_unregister_driver(void)
{
	mdev_unregister_driver(&sfsim_mdev_driver);
}
