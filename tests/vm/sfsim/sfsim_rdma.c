// SPDX-License-Identifier: GPL-2.0
/* An RDMA device that can be listed, opened and counted (/dev/infiniband/uverbsN), and moves no data. */
#include <net/addrconf.h>
#include <rdma/ib_mad.h>
#include <rdma/ib_verbs.h>

#include "sfsim.h"

struct sfsim_rdma {
	struct ib_device ibdev;
};

struct sfsim_ucontext {
	struct ib_ucontext ucontext;
};

struct sfsim_pd {
	struct ib_pd pd;
};

static int sfsim_rdma_query_device(struct ib_device *ibdev, struct ib_device_attr *attr, struct ib_udata *udata)
{
	memset(attr, 0, sizeof(*attr));
	attr->vendor_id = 0x15b3;
	attr->max_qp = 1;
	attr->max_cq = 1;
	attr->max_mr = 1;
	attr->max_pd = 16;
	attr->max_pkeys = 1;
	attr->page_size_cap = PAGE_SIZE;
	return 0;
}

static int sfsim_rdma_query_port(struct ib_device *ibdev, u32 port, struct ib_port_attr *attr)
{
	attr->state = IB_PORT_ACTIVE;
	attr->phys_state = IB_PORT_PHYS_STATE_LINK_UP;
	attr->max_mtu = IB_MTU_1024;
	attr->active_mtu = IB_MTU_1024;
	attr->gid_tbl_len = 16;
	attr->pkey_tbl_len = 1;
	attr->active_speed = IB_SPEED_EDR;
	attr->active_width = IB_WIDTH_1X;
	return 0;
}

static int sfsim_rdma_port_immutable(struct ib_device *ibdev, u32 port, struct ib_port_immutable *immutable)
{
	immutable->pkey_tbl_len = 1;
	immutable->gid_tbl_len = 16;
	/* RoCE v2 less MAD and CM, which would want queue pairs that work. */
	immutable->core_cap_flags = RDMA_CORE_PORT_IBA_ROCE_UDP_ENCAP & ~(RDMA_CORE_CAP_IB_MAD | RDMA_CORE_CAP_IB_CM);
	return 0;
}

static enum rdma_link_layer sfsim_rdma_link_layer(struct ib_device *ibdev, u32 port)
{
	return IB_LINK_LAYER_ETHERNET;
}

static int sfsim_rdma_query_pkey(struct ib_device *ibdev, u32 port, u16 index, u16 *pkey)
{
	if (index)
		return -EINVAL;
	*pkey = 0xffff;
	return 0;
}

static void sfsim_rdma_fw_version(struct ib_device *ibdev, char *text)
{
	snprintf(text, IB_FW_VERSION_NAME_MAX, "99.99.0001");
}

static int sfsim_rdma_add_gid(const struct ib_gid_attr *attr, void **context) { return 0; }
static int sfsim_rdma_del_gid(const struct ib_gid_attr *attr, void **context) { return 0; }
static int sfsim_rdma_alloc_ucontext(struct ib_ucontext *context, struct ib_udata *udata) { return 0; }
static void sfsim_rdma_dealloc_ucontext(struct ib_ucontext *context) {}
static void sfsim_rdma_disassociate_ucontext(struct ib_ucontext *context) {}
static int sfsim_rdma_alloc_pd(struct ib_pd *pd, struct ib_udata *udata) { return 0; }
static int sfsim_rdma_dealloc_pd(struct ib_pd *pd, struct ib_udata *udata) { return 0; }

static const struct ib_device_ops sfsim_rdma_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_UNKNOWN,
	.uverbs_abi_ver = 1,
	.query_device = sfsim_rdma_query_device,
	.query_port = sfsim_rdma_query_port,
	.query_pkey = sfsim_rdma_query_pkey,
	.get_port_immutable = sfsim_rdma_port_immutable,
	.get_link_layer = sfsim_rdma_link_layer,
	.get_dev_fw_str = sfsim_rdma_fw_version,
	.add_gid = sfsim_rdma_add_gid,
	.del_gid = sfsim_rdma_del_gid,
	.alloc_ucontext = sfsim_rdma_alloc_ucontext,
	.dealloc_ucontext = sfsim_rdma_dealloc_ucontext,
	/* With it, an open uverbs does not hold up the removal of its device: so it is on mlx5. */
	.disassociate_ucontext = sfsim_rdma_disassociate_ucontext,
	.alloc_pd = sfsim_rdma_alloc_pd,
	.dealloc_pd = sfsim_rdma_dealloc_pd,
	INIT_RDMA_OBJ_SIZE(ib_ucontext, sfsim_ucontext, ucontext),
	INIT_RDMA_OBJ_SIZE(ib_pd, sfsim_pd, pd),
};

static struct sfsim_rdma *sfsim_rdma_add(struct sfsim_instance *instance)
{
	struct sfsim_function *function = instance->function;
	struct sfsim_rdma *rdma = ib_alloc_device(sfsim_rdma, ibdev);
	int err;

	if (!rdma)
		return ERR_PTR(-ENOMEM);
	rdma->ibdev.node_type = RDMA_NODE_IB_CA;
	rdma->ibdev.phys_port_cnt = 1;
	rdma->ibdev.num_comp_vectors = 1;
	rdma->ibdev.dev.parent = &function->adev.dev;
	ib_set_device_ops(&rdma->ibdev, &sfsim_rdma_ops);
	addrconf_addr_eui48((u8 *)&rdma->ibdev.node_guid,
			    instance->netdev ? instance->netdev->dev_addr : function->mac);
	/* Without Ethernet on the function there is none, and it may come and go. */
	if (instance->netdev) {
		err = ib_device_set_netdev(&rdma->ibdev, instance->netdev, 1);
		if (err)
			goto err_dealloc;
	}
	err = ib_register_device(&rdma->ibdev, "mlx5_%d", &function->sf->pf->pdev->dev);
	if (err)
		goto err_dealloc;
	return rdma;

err_dealloc:
	ib_dealloc_device(&rdma->ibdev);
	return ERR_PTR(err);
}

int sfsim_rdma_probe(struct sfsim_instance *instance, struct device *dev)
{
	struct sfsim_rdma *rdma;

	mutex_lock(&instance->lock);
	rdma = sfsim_rdma_add(instance);
	if (!IS_ERR(rdma))
		instance->rdma = rdma;
	mutex_unlock(&instance->lock);
	return PTR_ERR_OR_ZERO(rdma);
}

void sfsim_rdma_remove(struct sfsim_instance *instance, struct device *dev)
{
	struct sfsim_rdma *rdma;

	mutex_lock(&instance->lock);
	rdma = instance->rdma;
	instance->rdma = NULL;
	mutex_unlock(&instance->lock);
	ib_unregister_device(&rdma->ibdev);
	ib_dealloc_device(&rdma->ibdev);
}

/* The function's netdev has come, or is about to go (NULL). With the instance's lock. */
void sfsim_rdma_follow(struct sfsim_rdma *rdma, struct net_device *dev)
{
	ib_device_set_netdev(&rdma->ibdev, dev, 1);
}
