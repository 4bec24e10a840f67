// SPDX-License-Identifier: GPL-2.0
/*
 * The children of a sub-function on mlx5: mlx5_core.eth.N, mlx5_core.rdma.N and mlx5_core.vnet.N, N being the
 * sub-function's. Each is bound by a driver of another module, so each can be without one.
 */
#include <linux/slab.h>

#include "sfsim.h"

struct sfsim_child {
	struct auxiliary_device adev;
	struct sfsim_instance *instance;
	enum sfsim_child_kind kind;
};

static const struct {
	const char *name;
	const char *module;
	enum sfsim_op op;
	int (*probe)(struct sfsim_instance *instance, struct device *dev);
	void (*remove)(struct sfsim_instance *instance, struct device *dev);
} sfsim_child_kinds[SFSIM_CHILDREN] = {
	[SFSIM_CHILD_ETH] = { "eth", "mlx5_core", SFSIM_OP_ETH, sfsim_eth_probe, sfsim_eth_remove },
	[SFSIM_CHILD_RDMA] = { "rdma", "mlx5_ib", SFSIM_OP_RDMA, sfsim_rdma_probe, sfsim_rdma_remove },
	[SFSIM_CHILD_VNET] = { "vnet", "mlx5_vdpa", SFSIM_OP_VNET, sfsim_vdpa_probe, sfsim_vdpa_remove },
};

static int sfsim_child_probe(struct auxiliary_device *adev, const struct auxiliary_device_id *id)
{
	struct sfsim_child *child = container_of(adev, struct sfsim_child, adev);
	struct sfsim_instance *instance = child->instance;
	int err;

	err = sfsim_fault(sfsim_instance_pf(instance), sfsim_child_kinds[child->kind].op, instance->function->sfnum,
			  NULL);
	return err ? err : sfsim_child_kinds[child->kind].probe(instance, &adev->dev);
}

static void sfsim_child_remove(struct auxiliary_device *adev)
{
	struct sfsim_child *child = container_of(adev, struct sfsim_child, adev);

	sfsim_child_kinds[child->kind].remove(child->instance, &adev->dev);
}

static const struct auxiliary_device_id sfsim_child_match[SFSIM_CHILDREN][2] = {
	[SFSIM_CHILD_ETH] = { { .name = "mlx5_core.eth" }, { } },
	[SFSIM_CHILD_RDMA] = { { .name = "mlx5_core.rdma" }, { } },
	[SFSIM_CHILD_VNET] = { { .name = "mlx5_core.vnet" }, { } },
};

static struct auxiliary_driver sfsim_child_drivers[SFSIM_CHILDREN];

static void sfsim_child_release(struct device *dev)
{
	kfree(container_of(dev, struct sfsim_child, adev.dev));
	sfsim_live_put();
}

struct sfsim_child *sfsim_child_add(struct sfsim_instance *instance, enum sfsim_child_kind kind)
{
	struct sfsim_child *child;
	int err;

	child = kzalloc(sizeof(*child), GFP_KERNEL);
	if (!child)
		return ERR_PTR(-ENOMEM);
	child->instance = instance;
	child->kind = kind;
	child->adev.id = instance->function->adev.id;
	child->adev.name = sfsim_child_kinds[kind].name;
	child->adev.dev.parent = &instance->function->adev.dev;
	child->adev.dev.release = sfsim_child_release;
	err = auxiliary_device_init(&child->adev);
	if (err) {
		kfree(child);
		return ERR_PTR(err);
	}
	sfsim_live_get();
	err = __auxiliary_device_add(&child->adev, "mlx5_core");
	if (err) {
		auxiliary_device_uninit(&child->adev);
		return ERR_PTR(err);
	}
	return child;
}

void sfsim_child_del(struct sfsim_child *child)
{
	auxiliary_device_delete(&child->adev);
	auxiliary_device_uninit(&child->adev);
}

static bool sfsim_child_has_driver(enum sfsim_child_kind kind)
{
	return !sfsim_ice && !(kind == SFSIM_CHILD_VNET && sfsim_no_vnet);
}

static void sfsim_child_unregister(int kinds)
{
	while (--kinds >= 0)
		if (sfsim_child_has_driver(kinds))
			auxiliary_driver_unregister(&sfsim_child_drivers[kinds]);
}

int sfsim_child_register_drivers(void)
{
	int kind, err;

	for (kind = 0; kind < SFSIM_CHILDREN; kind++) {
		struct auxiliary_driver *driver = &sfsim_child_drivers[kind];

		if (!sfsim_child_has_driver(kind))
			continue;
		driver->name = sfsim_child_kinds[kind].name;
		driver->probe = sfsim_child_probe;
		driver->remove = sfsim_child_remove;
		driver->id_table = sfsim_child_match[kind];
		err = __auxiliary_driver_register(driver, THIS_MODULE, sfsim_child_kinds[kind].module);
		if (err) {
			sfsim_child_unregister(kind);
			return err;
		}
	}
	return 0;
}

void sfsim_child_unregister_drivers(void)
{
	sfsim_child_unregister(SFSIM_CHILDREN);
}
