// SPDX-License-Identifier: GPL-2.0
/* Rates, as mlx5 takes them. Shaping is not simulated: devlink keeps and shows the values. */
#include "sfsim.h"

/* mlx5 works in Mbit/s; devlink speaks bytes per second. */
#define SFSIM_RATE_UNIT 125000ULL
#define SFSIM_LINK_MBPS 100000ULL

static int sfsim_rate_check(struct devlink_rate *rate, u32 sfnum, u64 bytes_per_s, struct netlink_ext_ack *extack)
{
	u64 remainder, mbps = div64_u64_rem(bytes_per_s, SFSIM_RATE_UNIT, &remainder);

	if (remainder) {
		sfsim_refuse(extack, "TX rate value not in link speed units of 1Mbps");
		return -EINVAL;
	}
	if (mbps > SFSIM_LINK_MBPS) {
		sfsim_refuse(extack, "TX rate value exceed link maximum speed");
		return -EINVAL;
	}
	return sfsim_fault(devlink_priv(rate->devlink), SFSIM_OP_RATE, sfnum, extack);
}

/* Of a node. */
int sfsim_rate_set(struct devlink_rate *rate, void *priv, u64 bytes_per_s, struct netlink_ext_ack *extack)
{
	return sfsim_rate_check(rate, SFSIM_NOBODY, bytes_per_s, extack);
}

/* Of a sub-function; @priv is NULL for a virtual function. */
int sfsim_rate_leaf_set(struct devlink_rate *rate, void *priv, u64 bytes_per_s, struct netlink_ext_ack *extack)
{
	struct sfsim_sf *sf = priv;

	return sfsim_rate_check(rate, sf ? sf->sfnum : SFSIM_NOBODY, bytes_per_s, extack);
}

int sfsim_rate_node_new(struct devlink_rate *node, void **priv, struct netlink_ext_ack *extack)
{
	return 0;
}

int sfsim_rate_node_del(struct devlink_rate *node, void *priv, struct netlink_ext_ack *extack)
{
	return 0;
}

int sfsim_rate_parent_set(struct devlink_rate *child, struct devlink_rate *parent, void *child_priv,
			  void *parent_priv, struct netlink_ext_ack *extack)
{
	return 0;
}
