/* SPDX-License-Identifier: GPL-2.0 */
/* A simulated NIC that can be cut into sub-functions, with the manners of mlx5 or ice (Linux 6.12). */
#ifndef SFSIM_H
#define SFSIM_H

#include <linux/auxiliary_bus.h>
#include <linux/etherdevice.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/devlink.h>

/* The text carries the driver's name, as the kernel's own macro would put it. */
#define sfsim_refuse(extack, text) do {					\
	if (sfsim_ice)							\
		NL_SET_ERR_MSG((extack), "ice: " text);			\
	else								\
		NL_SET_ERR_MSG((extack), "mlx5_core: " text);		\
} while (0)

struct seq_file;
struct sfsim_child;
struct sfsim_function;
struct sfsim_mdev;
struct sfsim_pf;
struct sfsim_rdma;
struct sfsim_vf;

extern bool sfsim_ice;
extern bool sfsim_light;
extern bool sfsim_mdev;
extern bool sfsim_no_sf;
extern bool sfsim_no_vnet;
extern bool sfsim_eth_instance;
extern bool sfsim_switchdev;
extern unsigned int sfsim_mdev_instances;
extern unsigned int sfsim_max_sfs;
extern unsigned int sfsim_first_port;

/* What the firmware says of a function; `state` and `opstate` of the port are read off it. */
enum sfsim_vhca {
	SFSIM_ALLOCATED,	/* inactive, detached */
	SFSIM_ACTIVE,		/* active,   detached: no driver has initialised it (yet, or any more) */
	SFSIM_IN_USE,		/* active,   attached */
	SFSIM_TEARDOWN,		/* inactive, attached: the driver is asked to let go */
};

/* Everything that is counted, written to the trace, and can be made to fail. */
enum sfsim_op {
	SFSIM_OP_NEW,
	SFSIM_OP_SET_MAC,
	SFSIM_OP_SET_ROCE,
	SFSIM_OP_SET_EQS,
	SFSIM_OP_ACTIVATE,
	SFSIM_OP_DEACTIVATE,
	SFSIM_OP_PROBE,
	SFSIM_OP_DETACH,
	SFSIM_OP_DEL,
	SFSIM_OP_RATE,
	SFSIM_OP_PARAM,
	SFSIM_OP_RELOAD,
	SFSIM_OP_ETH,
	SFSIM_OP_RDMA,
	SFSIM_OP_VNET,
	SFSIM_OP_VDPA_ADD,
	SFSIM_OP_VDPA_DEL,
	SFSIM_OP_MDEV_CREATE,
	SFSIM_OP_MDEV_REMOVE,
	SFSIM_OP_ESWITCH,
	SFSIM_OP_SRIOV,
	SFSIM_OPS,
};

/* mlx5 spreads the events of its functions over so many queues: one that is stuck keeps others waiting. */
#define SFSIM_QUEUES 8

#define SFSIM_VSIS 4096		/* more than sub-functions and virtual functions together */

#define SFSIM_NOBODY U32_MAX	/* an operation on no sub-function */

struct sfsim_faults {
	struct dentry *dir;
	struct mutex lock;
	u32 attach_delay_ms;
	u32 detach_delay_ms;
	u32 reload_delay_ms;
	u32 vdpa_del_delay_ms;
	u32 mdev_remove_delay_ms;
	bool hang_detach;
	bool over;			/* the PF is going: nothing waits any more */
	wait_queue_head_t changed;
	struct {
		int err;
		unsigned int count;
		unsigned int calls;
		unsigned int failures;
	} ops[SFSIM_OPS];
	struct sfsim_trace *trace;
	u32 traced;
};

/*
 * A physical function: the private part of its devlink instance.
 * @fw_lock: the firmware's state: @sfs, and of each sub-function everything marked (fw) below.
 *           Inside the PF's devlink lock; never held while a driver is bound or unbound.
 */
struct sfsim_pf {
	struct pci_dev *pdev;
	u32 vhca_id;
	u32 pfnum;
	struct netdev_phys_item_id switch_id;
	struct devlink_port port;
	struct net_device *uplink;
	enum devlink_eswitch_mode mode;
	DECLARE_BITMAP(vsis, SFSIM_VSIS);	/* ice: those that are taken */
	u32 next_vsi;
	struct sfsim_faults faults;
	struct sfsim_mdev *mdev;
	struct sfsim_vf *vfs;
	u32 num_vfs;

	struct mutex fw_lock;
	struct xarray sfs;		/* slot -> sub-function, until nothing of it is left */
	bool dying;			/* (fw) no delay is honoured any more */
	wait_queue_head_t drained;	/* woken when @sfs becomes empty */
	struct workqueue_struct *queues[SFSIM_QUEUES];
};

/*
 * A sub-function as PF and firmware know it. References: the port, queued work, the auxiliary device.
 * It stays in the PF's table, and its number taken, until port, driver and device are gone.
 */
struct sfsim_sf {
	struct kref ref;
	struct sfsim_pf *pf;
	u32 slot;
	u32 sfnum;

	u32 vsi;			/* ice: the index of its ports */
	bool was_attached;		/* (fw) its driver held it once */
	bool stranded;			/* (fw) ice: the mode was changed since it was made */

	struct devlink_port port;
	struct net_device *representor;	/* (fw) */

	u8 mac[ETH_ALEN];		/* (fw) */
	bool roce;			/* (fw) */
	u32 max_io_eqs;			/* (fw) */
	enum sfsim_vhca vhca;		/* (fw) */
	bool closing;			/* (fw) the port is about to go: nothing new refers to it */
	bool port_gone;			/* (fw) */
	bool detaching;			/* (fw) @work is taking the device away */
	bool forgotten;			/* (fw) no longer in the PF's table */
	struct sfsim_function *function; /* (fw) written by @work only; none while ALLOCATED */
	struct delayed_work work;
};

/* A sub-function as its own driver knows it: the auxiliary device, and what was true when it appeared. */
struct sfsim_function {
	struct auxiliary_device adev;
	struct sfsim_sf *sf;
	u32 sfnum;
	u8 mac[ETH_ALEN];
	bool roce;
};

/* What a sub-function is used by: each an auxiliary device of its own (mlx5), with a driver of its own. */
enum sfsim_child_kind {
	SFSIM_CHILD_ETH,
	SFSIM_CHILD_RDMA,
	SFSIM_CHILD_VNET,
	SFSIM_CHILDREN,
};

/*
 * The sub-function's devlink instance, its private part; from the driver's probe to its remove.
 * @lock: the two that know of each other although they come and go on their own.
 */
struct sfsim_instance {
	struct sfsim_function *function;
	struct sfsim_child *children[SFSIM_CHILDREN];
	struct devlink_port port;	/* unless the Ethernet child has an instance of its own */
	bool has_port;
	bool loaded;
	struct mutex lock;
	struct net_device *netdev;
	struct sfsim_rdma *rdma;
};

static inline const char *sfsim_driver_name(void)
{
	return sfsim_ice ? "ice" : "mlx5_core";
}

static inline struct sfsim_pf *sfsim_instance_pf(struct sfsim_instance *instance)
{
	return instance->function->sf->pf;
}

/* sfsim_main.c */
void sfsim_live_get(void);
void sfsim_live_put(void);

/* sfsim_pf.c */
int sfsim_pf_load(struct devlink *devlink);
void sfsim_pf_unload(struct devlink *devlink);
int sfsim_pf_register(void);
void sfsim_pf_unregister(void);

/* sfsim_ice.c */
int sfsim_ice_port_check(struct sfsim_pf *pf, const struct devlink_port_new_attrs *attrs,
			 struct netlink_ext_ack *extack);
void sfsim_ice_vsi_init(struct sfsim_pf *pf);
u32 sfsim_ice_vsi_take(struct sfsim_pf *pf);
void sfsim_ice_vsi_free(struct sfsim_pf *pf, u32 index);
int sfsim_ice_eswitch_attach(struct sfsim_sf *sf, struct netlink_ext_ack *extack);
int sfsim_ice_eswitch_set(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack);
int sfsim_ice_reload_down(struct devlink *devlink, bool netns_change, enum devlink_reload_action action,
			  enum devlink_reload_limit limit, struct netlink_ext_ack *extack);
int sfsim_ice_reload_up(struct devlink *devlink, enum devlink_reload_action action, enum devlink_reload_limit limit,
			u32 *actions_performed, struct netlink_ext_ack *extack);

/* sfsim_port.c */
int sfsim_port_new(struct devlink *devlink, const struct devlink_port_new_attrs *attrs,
		   struct netlink_ext_ack *extack, struct devlink_port **port);
void sfsim_port_delete_all(struct sfsim_pf *pf);

/* sfsim_rate.c */
int sfsim_rate_set(struct devlink_rate *rate, void *priv, u64 bytes_per_s, struct netlink_ext_ack *extack);
int sfsim_rate_leaf_set(struct devlink_rate *rate, void *priv, u64 bytes_per_s, struct netlink_ext_ack *extack);
int sfsim_rate_node_new(struct devlink_rate *node, void **priv, struct netlink_ext_ack *extack);
int sfsim_rate_node_del(struct devlink_rate *node, void *priv, struct netlink_ext_ack *extack);
int sfsim_rate_parent_set(struct devlink_rate *child, struct devlink_rate *parent, void *child_priv,
			  void *parent_priv, struct netlink_ext_ack *extack);

/* sfsim_firmware.c */
struct sfsim_sf *sfsim_firmware_alloc(struct sfsim_pf *pf, const struct devlink_port_new_attrs *attrs,
				      struct netlink_ext_ack *extack);
void sfsim_firmware_free(struct sfsim_sf *sf);
int sfsim_firmware_activate(struct sfsim_sf *sf, struct netlink_ext_ack *extack);
int sfsim_firmware_deactivate(struct sfsim_sf *sf, struct netlink_ext_ack *extack);
int sfsim_firmware_enter(struct sfsim_sf *sf);
void sfsim_firmware_leave(struct sfsim_sf *sf);
int sfsim_firmware_lose(struct sfsim_pf *pf, u32 sfnum);
void sfsim_firmware_drain(struct sfsim_pf *pf);
void sfsim_sf_put(struct sfsim_sf *sf);

/* sfsim_function.c */
struct sfsim_function *sfsim_function_add(struct sfsim_sf *sf);
void sfsim_function_remove(struct sfsim_function *function);
int sfsim_function_register_driver(void);
void sfsim_function_unregister_driver(void);

/* sfsim_instance.c */
struct devlink *sfsim_instance_add(struct sfsim_function *function);
void sfsim_instance_del(struct devlink *devlink);

/* sfsim_child.c */
struct sfsim_child *sfsim_child_add(struct sfsim_instance *instance, enum sfsim_child_kind kind);
void sfsim_child_del(struct sfsim_child *child);
int sfsim_child_register_drivers(void);
void sfsim_child_unregister_drivers(void);

/* sfsim_eth.c */
int sfsim_eth_port_add(struct devlink *devlink, struct devlink_port *port, struct sfsim_function *function);
int sfsim_eth_attach(struct sfsim_instance *instance, struct devlink_port *port);
void sfsim_eth_detach(struct sfsim_instance *instance);
int sfsim_eth_probe(struct sfsim_instance *instance, struct device *dev);
void sfsim_eth_remove(struct sfsim_instance *instance, struct device *dev);

/* sfsim_netdev.c */
enum sfsim_netdev_kind {
	SFSIM_NETDEV_PCI,		/* of a physical or virtual function */
	SFSIM_NETDEV_REPRESENTOR,
	SFSIM_NETDEV_FUNCTION,
};
struct net_device *sfsim_netdev_add(struct device *parent, struct devlink_port *port, const u8 *mac,
				    enum sfsim_netdev_kind kind);
void sfsim_netdev_del(struct net_device *dev);
void sfsim_netdev_pair(struct net_device *dev, struct net_device *peer);

/* sfsim_rdma.c */
int sfsim_rdma_probe(struct sfsim_instance *instance, struct device *dev);
void sfsim_rdma_remove(struct sfsim_instance *instance, struct device *dev);
void sfsim_rdma_follow(struct sfsim_rdma *rdma, struct net_device *dev);

/* sfsim_vdpa.c */
int sfsim_vdpa_probe(struct sfsim_instance *instance, struct device *dev);
void sfsim_vdpa_remove(struct sfsim_instance *instance, struct device *dev);

/* sfsim_mdev.c */
int sfsim_mdev_add(struct sfsim_pf *pf);
void sfsim_mdev_del(struct sfsim_pf *pf);
int sfsim_mdev_register_driver(void);
void sfsim_mdev_unregister_driver(void);

/* sfsim_vf.c */
int sfsim_vf_probe(struct pci_dev *pdev);
void sfsim_vf_remove(struct pci_dev *pdev);
int sfsim_vf_configure(struct pci_dev *pdev, int count);
int sfsim_vf_ports_add(struct sfsim_pf *pf);
void sfsim_vf_ports_del(struct sfsim_pf *pf);

/* sfsim_fault.c, sfsim_debugfs.c */
extern const char * const sfsim_op_names[SFSIM_OPS];
void sfsim_faults_add(struct sfsim_pf *pf);
void sfsim_faults_over(struct sfsim_pf *pf);
void sfsim_faults_del(struct sfsim_pf *pf);
int sfsim_fault(struct sfsim_pf *pf, enum sfsim_op op, u32 sfnum, struct netlink_ext_ack *extack);
void sfsim_fault_pause(struct sfsim_pf *pf, u32 ms);
void sfsim_fault_hang(struct sfsim_pf *pf);
void sfsim_trace_show(struct sfsim_pf *pf, struct seq_file *seq);
void sfsim_trace_clear(struct sfsim_pf *pf);
void sfsim_debugfs_init(void);
void sfsim_debugfs_exit(void);
void sfsim_debugfs_add(struct sfsim_pf *pf);
void sfsim_debugfs_del(struct sfsim_pf *pf);

#endif
