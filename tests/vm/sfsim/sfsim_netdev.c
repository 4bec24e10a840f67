// SPDX-License-Identifier: GPL-2.0
/* Netdevs: an uplink, and pairs of sub-function and representor that hand each other their frames. */
#include <linux/ethtool.h>

#include "sfsim.h"

struct sfsim_netdev {
	struct net_device __rcu *peer;
};

static DEFINE_MUTEX(sfsim_peer_lock);

static netdev_tx_t sfsim_netdev_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct sfsim_netdev *priv = netdev_priv(dev);
	unsigned int len = skb->len;
	struct net_device *peer;

	rcu_read_lock();
	peer = rcu_dereference(priv->peer);
	if (!peer || !(peer->flags & IFF_UP)) {
		dev_kfree_skb(skb);
		dev_core_stats_tx_dropped_inc(dev);
	} else if (dev_forward_skb(peer, skb) == NET_RX_SUCCESS) {
		dev_sw_netstats_tx_add(dev, 1, len);
	}
	rcu_read_unlock();
	return NETDEV_TX_OK;
}

static int sfsim_netdev_open(struct net_device *dev)
{
	netif_carrier_on(dev);
	netif_start_queue(dev);
	return 0;
}

static int sfsim_netdev_stop(struct net_device *dev)
{
	netif_stop_queue(dev);
	netif_carrier_off(dev);
	return 0;
}

static const struct net_device_ops sfsim_netdev_ops = {
	.ndo_open = sfsim_netdev_open,
	.ndo_stop = sfsim_netdev_stop,
	.ndo_start_xmit = sfsim_netdev_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

/* ice's sub-functions and representors take no other address (ice_sf_eth.c:11-23, ice_repr.c). */
static const struct net_device_ops sfsim_netdev_fixed_ops = {
	.ndo_open = sfsim_netdev_open,
	.ndo_stop = sfsim_netdev_stop,
	.ndo_start_xmit = sfsim_netdev_xmit,
};

static void sfsim_netdev_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, sfsim_driver_name(), sizeof(info->driver));
	strscpy(info->bus_info, dev_name(dev->dev.parent), sizeof(info->bus_info));
}

static const struct ethtool_ops sfsim_netdev_ethtool_ops = {
	.get_drvinfo = sfsim_netdev_drvinfo,
	.get_link = ethtool_op_get_link,
};

static const struct ethtool_ops sfsim_netdev_no_ethtool_ops = {};

static void sfsim_netdev_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &sfsim_netdev_ops;
	dev->ethtool_ops = &sfsim_netdev_ethtool_ops;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->max_mtu = 9978;
}

static void sfsim_netdev_ice_setup(struct net_device *dev, enum sfsim_netdev_kind kind)
{
	if (kind != SFSIM_NETDEV_PCI)
		dev->netdev_ops = &sfsim_netdev_fixed_ops;
	/* ice.h:122, ice_repr.c:393; a sub-function has what ether_setup() gives, and no ethtool (ice_sf_eth.c:40-61). */
	dev->max_mtu = kind == SFSIM_NETDEV_FUNCTION ? ETH_DATA_LEN : 9702;
	if (kind == SFSIM_NETDEV_FUNCTION)
		dev->ethtool_ops = &sfsim_netdev_no_ethtool_ops;
}

/* A @mac that is absent or zero is replaced by a random one, as mlx5 does. */
struct net_device *sfsim_netdev_add(struct device *parent, struct devlink_port *port, const u8 *mac,
				    enum sfsim_netdev_kind kind)
{
	struct net_device *dev;
	int err;

	dev = alloc_netdev(sizeof(struct sfsim_netdev), "eth%d", NET_NAME_ENUM, sfsim_netdev_setup);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	if (mac && is_valid_ether_addr(mac))
		eth_hw_addr_set(dev, mac);
	else
		eth_hw_addr_random(dev);
	if (sfsim_ice)
		sfsim_netdev_ice_setup(dev, kind);
	SET_NETDEV_DEV(dev, parent);
	SET_NETDEV_DEVLINK_PORT(dev, port);
	netif_carrier_off(dev);
	err = register_netdev(dev);
	if (err) {
		free_netdev(dev);
		return ERR_PTR(err);
	}
	return dev;
}

static void sfsim_netdev_unpair(struct net_device *dev)
{
	struct sfsim_netdev *priv = netdev_priv(dev), *other;
	struct net_device *peer;

	mutex_lock(&sfsim_peer_lock);
	peer = rcu_replace_pointer(priv->peer, NULL, lockdep_is_held(&sfsim_peer_lock));
	if (peer) {
		other = netdev_priv(peer);
		RCU_INIT_POINTER(other->peer, NULL);
	}
	mutex_unlock(&sfsim_peer_lock);
	if (peer)
		synchronize_net();
}

void sfsim_netdev_pair(struct net_device *dev, struct net_device *peer)
{
	struct sfsim_netdev *priv = netdev_priv(dev), *other = netdev_priv(peer);

	mutex_lock(&sfsim_peer_lock);
	rcu_assign_pointer(priv->peer, peer);
	rcu_assign_pointer(other->peer, dev);
	mutex_unlock(&sfsim_peer_lock);
}

void sfsim_netdev_del(struct net_device *dev)
{
	sfsim_netdev_unpair(dev);
	unregister_netdev(dev);
	free_netdev(dev);
}
