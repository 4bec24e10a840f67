// SPDX-License-Identifier: GPL-2.0
/*
 * The sub-function's vnet child: a vDPA management device named after the sub-function, and at most one vDPA device.
 *
 * The rules of what may be asked of it are mlx5_vdpa's. vhost_vdpa may open and configure it; with virtio_vdpa its
 * control queue answers and its transmit queues swallow (sfsim_vring.c).
 */
#include <linux/slab.h>
#include <linux/vdpa.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/virtio_ids.h>

#include "sfsim.h"
#include "sfsim_vring.h"

#define SFSIM_VDPA_PAIRS 8
#define SFSIM_VDPA_QUEUES (2 * SFSIM_VDPA_PAIRS + 1)
#define SFSIM_VDPA_MINIMUM (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM))
#define SFSIM_VDPA_FEATURES (SFSIM_VDPA_MINIMUM |							\
	BIT_ULL(VIRTIO_NET_F_CSUM) | BIT_ULL(VIRTIO_NET_F_GUEST_CSUM) | BIT_ULL(VIRTIO_NET_F_MTU) |	\
	BIT_ULL(VIRTIO_NET_F_MAC) | BIT_ULL(VIRTIO_NET_F_HOST_TSO4) | BIT_ULL(VIRTIO_NET_F_HOST_TSO6) |	\
	BIT_ULL(VIRTIO_NET_F_MRG_RXBUF) | BIT_ULL(VIRTIO_NET_F_STATUS) | BIT_ULL(VIRTIO_NET_F_CTRL_VQ) | \
	BIT_ULL(VIRTIO_NET_F_CTRL_VLAN) | BIT_ULL(VIRTIO_NET_F_MQ) | BIT_ULL(VIRTIO_NET_F_CTRL_MAC_ADDR))

struct sfsim_vdpa {
	struct vdpa_device vdpa;
	struct sfsim_vdpa_mgmt *mgmt;
	struct virtio_net_config config;
	u64 features;
	u64 driver_features;
	u8 status;
	struct sfsim_vring rings[SFSIM_VDPA_QUEUES];
};

/* The management device; it lives as long as the vnet child is bound. */
struct sfsim_vdpa_mgmt {
	struct vdpa_mgmt_dev dev;
	struct sfsim_instance *instance;
	struct sfsim_vdpa *device;
};

static struct sfsim_vdpa *sfsim_vdpa_of(struct vdpa_device *vdpa)
{
	return container_of(vdpa, struct sfsim_vdpa, vdpa);
}

static int sfsim_vq_address(struct vdpa_device *vdpa, u16 index, u64 desc, u64 driver, u64 device)
{
	struct sfsim_vring *ring = &sfsim_vdpa_of(vdpa)->rings[index];

	ring->desc = desc;
	ring->avail = driver;
	ring->used = device;
	return 0;
}

static void sfsim_vq_num(struct vdpa_device *vdpa, u16 index, u32 num)
{
	sfsim_vdpa_of(vdpa)->rings[index].num = num;
}

/* Addresses are the kernel's own only under virtio_vdpa; a user's, which would need translation, are left alone. */
static void sfsim_vq_kick(struct vdpa_device *vdpa, u16 index)
{
	struct sfsim_vdpa *device = sfsim_vdpa_of(vdpa);
	bool many = device->driver_features & BIT_ULL(VIRTIO_NET_F_MQ);
	u16 control = many ? 2 * le16_to_cpu(device->config.max_virtqueue_pairs) : 2;

	if (!vdpa->dev.driver || strcmp(vdpa->dev.driver->name, "virtio_vdpa") || !device->rings[index].ready)
		return;
	if (index == control)
		sfsim_vring_acknowledge(&device->rings[index]);
	else if (index % 2)
		sfsim_vring_swallow(&device->rings[index]);
}

static void sfsim_vq_callback(struct vdpa_device *vdpa, u16 index, struct vdpa_callback *callback)
{
	sfsim_vdpa_of(vdpa)->rings[index].callback = *callback;
}

static void sfsim_vq_ready(struct vdpa_device *vdpa, u16 index, bool ready)
{
	sfsim_vdpa_of(vdpa)->rings[index].ready = ready;
}

static bool sfsim_vq_is_ready(struct vdpa_device *vdpa, u16 index)
{
	return sfsim_vdpa_of(vdpa)->rings[index].ready;
}

static int sfsim_vq_state_set(struct vdpa_device *vdpa, u16 index, const struct vdpa_vq_state *state)
{
	sfsim_vdpa_of(vdpa)->rings[index].next = state->split.avail_index;
	return 0;
}

static int sfsim_vq_state_get(struct vdpa_device *vdpa, u16 index, struct vdpa_vq_state *state)
{
	state->split.avail_index = sfsim_vdpa_of(vdpa)->rings[index].next;
	return 0;
}

static u32 sfsim_vq_align(struct vdpa_device *vdpa) { return PAGE_SIZE; }
static u16 sfsim_vq_num_max(struct vdpa_device *vdpa) { return 256; }
static u32 sfsim_vdpa_id(struct vdpa_device *vdpa) { return VIRTIO_ID_NET; }
static u32 sfsim_vdpa_vendor(struct vdpa_device *vdpa) { return 0x15b3; }
static u64 sfsim_vdpa_features(struct vdpa_device *vdpa) { return sfsim_vdpa_of(vdpa)->features; }
static u64 sfsim_vdpa_driver_features(struct vdpa_device *vdpa) { return sfsim_vdpa_of(vdpa)->driver_features; }
static void sfsim_vdpa_config_callback(struct vdpa_device *vdpa, struct vdpa_callback *callback) {}
static u8 sfsim_vdpa_status(struct vdpa_device *vdpa) { return sfsim_vdpa_of(vdpa)->status; }
static size_t sfsim_vdpa_config_size(struct vdpa_device *vdpa) { return sizeof(struct virtio_net_config); }
static int sfsim_vdpa_map(struct vdpa_device *vdpa, unsigned int asid, struct vhost_iotlb *iotlb) { return 0; }

static int sfsim_vdpa_driver_features_set(struct vdpa_device *vdpa, u64 features)
{
	struct sfsim_vdpa *device = sfsim_vdpa_of(vdpa);

	if (!(features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return -EOPNOTSUPP;
	if ((features & BIT_ULL(VIRTIO_NET_F_MQ)) && !(features & BIT_ULL(VIRTIO_NET_F_CTRL_VQ)))
		return -EINVAL;
	device->driver_features = features & device->features;
	return 0;
}

static void sfsim_vdpa_status_set(struct vdpa_device *vdpa, u8 status)
{
	sfsim_vdpa_of(vdpa)->status = status;
}

static int sfsim_vdpa_reset(struct vdpa_device *vdpa)
{
	struct sfsim_vdpa *device = sfsim_vdpa_of(vdpa);

	device->status = 0;
	device->driver_features = 0;
	memset(device->rings, 0, sizeof(device->rings));
	return 0;
}

static void sfsim_vdpa_config_get(struct vdpa_device *vdpa, unsigned int offset, void *buf, unsigned int len)
{
	if (offset + len <= sizeof(struct virtio_net_config))
		memcpy(buf, (u8 *)&sfsim_vdpa_of(vdpa)->config + offset, len);
}

static void sfsim_vdpa_config_set(struct vdpa_device *vdpa, unsigned int offset, const void *buf, unsigned int len)
{
}

static void sfsim_vdpa_free(struct vdpa_device *vdpa)
{
	sfsim_live_put();
}

static const struct vdpa_config_ops sfsim_vdpa_ops = {
	.set_vq_address = sfsim_vq_address,
	.set_vq_num = sfsim_vq_num,
	.kick_vq = sfsim_vq_kick,
	.set_vq_cb = sfsim_vq_callback,
	.set_vq_ready = sfsim_vq_ready,
	.get_vq_ready = sfsim_vq_is_ready,
	.set_vq_state = sfsim_vq_state_set,
	.get_vq_state = sfsim_vq_state_get,
	.get_vq_align = sfsim_vq_align,
	.get_vq_num_max = sfsim_vq_num_max,
	.get_device_features = sfsim_vdpa_features,
	.set_driver_features = sfsim_vdpa_driver_features_set,
	.get_driver_features = sfsim_vdpa_driver_features,
	.set_config_cb = sfsim_vdpa_config_callback,
	.get_device_id = sfsim_vdpa_id,
	.get_vendor_id = sfsim_vdpa_vendor,
	.get_status = sfsim_vdpa_status,
	.set_status = sfsim_vdpa_status_set,
	.reset = sfsim_vdpa_reset,
	.get_config_size = sfsim_vdpa_config_size,
	.get_config = sfsim_vdpa_config_get,
	.set_config = sfsim_vdpa_config_set,
	/* Its own address translation: so a user of vhost_vdpa needs no IOMMU. */
	.set_map = sfsim_vdpa_map,
	.free = sfsim_vdpa_free,
};

/* What the device will have of what it could; mlx5_vdpa leaves MRG_RXBUF out unless it is asked for. */
static int sfsim_vdpa_provision(const struct vdpa_dev_set_config *asked, u64 *features)
{
	*features = SFSIM_VDPA_FEATURES;
	if (asked->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES)) {
		if (asked->device_features & ~*features)
			return -EINVAL;
		*features = asked->device_features;
	} else {
		*features &= ~BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
	}
	return (*features & SFSIM_VDPA_MINIMUM) == SFSIM_VDPA_MINIMUM ? 0 : -EOPNOTSUPP;
}

static int sfsim_vdpa_configure(struct sfsim_vdpa *device, const u8 *mac, u16 pairs,
				const struct vdpa_dev_set_config *asked)
{
	bool provisioned = asked->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES);

	device->config.mtu = cpu_to_le16(asked->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MTU) ? asked->net.mtu : 1500);
	device->config.status = cpu_to_le16(VIRTIO_NET_S_LINK_UP);
	device->config.max_virtqueue_pairs = cpu_to_le16(pairs);
	if (asked->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR))
		mac = asked->net.mac;
	if (device->features & BIT_ULL(VIRTIO_NET_F_MAC) || !provisioned)
		ether_addr_copy(device->config.mac, mac);
	if (!is_zero_ether_addr(device->config.mac) || !(device->features & BIT_ULL(VIRTIO_NET_F_MAC)))
		return 0;
	if (provisioned)
		return -EINVAL;
	device->features &= ~BIT_ULL(VIRTIO_NET_F_MAC);
	return 0;
}

static int sfsim_vdpa_dev_add(struct vdpa_mgmt_dev *dev, const char *name, const struct vdpa_dev_set_config *asked)
{
	struct sfsim_vdpa_mgmt *mgmt = container_of(dev, struct sfsim_vdpa_mgmt, dev);
	struct sfsim_function *function = mgmt->instance->function;
	struct sfsim_pf *pf = sfsim_instance_pf(mgmt->instance);
	struct sfsim_vdpa *device;
	u64 features;
	u16 pairs = 1;
	int err;

	if (mgmt->device)
		return -ENOSPC;
	err = sfsim_vdpa_provision(asked, &features);
	if (err)
		return err;
	if (asked->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MAX_VQP))
		pairs = asked->net.max_vq_pairs;
	if (pairs > SFSIM_VDPA_PAIRS)
		return -EINVAL;
	err = sfsim_fault(pf, SFSIM_OP_VDPA_ADD, function->sfnum, NULL);
	if (err)
		return err;
	device = vdpa_alloc_device(struct sfsim_vdpa, vdpa, &function->adev.dev, &sfsim_vdpa_ops, 1, 1, name, false);
	if (IS_ERR(device))
		return PTR_ERR(device);
	sfsim_live_get();
	device->mgmt = mgmt;
	device->features = features;
	device->vdpa.mdev = dev;
	device->vdpa.dma_dev = &pf->pdev->dev;
	err = sfsim_vdpa_configure(device, function->mac, pairs, asked);
	if (!err) {
		mgmt->device = device;
		err = _vdpa_register_device(&device->vdpa, 2 * pairs + 1);
	}
	if (err) {
		mgmt->device = NULL;
		put_device(&device->vdpa.dev);
	}
	return err;
}

/* It cannot fail; it can take its time, as when a driver waits for whoever has the device open. */
static void sfsim_vdpa_dev_del(struct vdpa_mgmt_dev *dev, struct vdpa_device *vdpa)
{
	struct sfsim_vdpa_mgmt *mgmt = container_of(dev, struct sfsim_vdpa_mgmt, dev);
	struct sfsim_pf *pf = sfsim_instance_pf(mgmt->instance);

	sfsim_fault(pf, SFSIM_OP_VDPA_DEL, mgmt->instance->function->sfnum, NULL);
	sfsim_fault_pause(pf, READ_ONCE(pf->faults.vdpa_del_delay_ms));
	_vdpa_unregister_device(vdpa);
	mgmt->device = NULL;
}

static int sfsim_vdpa_dev_set(struct vdpa_mgmt_dev *dev, struct vdpa_device *vdpa,
			      const struct vdpa_dev_set_config *asked)
{
	if (!(asked->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR)))
		return -EOPNOTSUPP;
	down_write(&vdpa->cf_lock);
	ether_addr_copy(sfsim_vdpa_of(vdpa)->config.mac, asked->net.mac);
	up_write(&vdpa->cf_lock);
	return 0;
}

static const struct vdpa_mgmtdev_ops sfsim_vdpa_mgmt_ops = {
	.dev_add = sfsim_vdpa_dev_add,
	.dev_del = sfsim_vdpa_dev_del,
	.dev_set_attr = sfsim_vdpa_dev_set,
};

static struct virtio_device_id sfsim_vdpa_ids[] = {
	{ VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID },
	{ }
};

int sfsim_vdpa_probe(struct sfsim_instance *instance, struct device *dev)
{
	struct sfsim_vdpa_mgmt *mgmt = kzalloc(sizeof(*mgmt), GFP_KERNEL);
	int err;

	if (!mgmt)
		return -ENOMEM;
	mgmt->instance = instance;
	/* The sub-function's device, not the child: it is `auxiliary/mlx5_core.sf.N` to the user. */
	mgmt->dev.device = &instance->function->adev.dev;
	mgmt->dev.ops = &sfsim_vdpa_mgmt_ops;
	mgmt->dev.id_table = sfsim_vdpa_ids;
	mgmt->dev.supported_features = SFSIM_VDPA_FEATURES;
	mgmt->dev.max_supported_vqs = SFSIM_VDPA_QUEUES;
	mgmt->dev.config_attr_mask = BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR) | BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MTU) |
				     BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MAX_VQP) | BIT_ULL(VDPA_ATTR_DEV_FEATURES);
	err = vdpa_mgmtdev_register(&mgmt->dev);
	if (err) {
		kfree(mgmt);
		return err;
	}
	dev_set_drvdata(dev, mgmt);
	return 0;
}

/* Deletes the device, and waits for whoever has it open, with the lock that every vDPA request needs: as on mlx5. */
void sfsim_vdpa_remove(struct sfsim_instance *instance, struct device *dev)
{
	struct sfsim_vdpa_mgmt *mgmt = dev_get_drvdata(dev);

	vdpa_mgmtdev_unregister(&mgmt->dev);
	kfree(mgmt);
}
