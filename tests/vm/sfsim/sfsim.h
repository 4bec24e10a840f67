/* SPDX-License-Identifier: GPL-2.0 */
/* A simulated NIC that can be cut into sub-functions, with the manners of mlx5 (Linux 6.12). */
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

/* The names the world sees: of the PCI driver, of the auxiliary devices, before every extack text. */
#define SFSIM_DRIVER "mlx5_core"

#define sfsim_refuse(extack, text) NL_SET_ERR_MSG((extack), SFSIM_DRIVER ": " text)

struct sfsim_pf;
struct sfsim_function;
struct sfsim_rdma;

extern bool sfsim_light;
extern bool sfsim_no_sf;
extern bool sfsim_switchdev;
extern unsigned int sfsim_max_sfs;
extern unsigned int sfsim_first_port;

/* What the firmware says of a function; `state` and `opstate` of the port are read off it. */
enum sfsim_vhca {
	SFSIM_ALLOCATED,	/* inactive, detached */
	SFSIM_ACTIVE,		/* active,   detached: no driver has initialised it (yet, or any more) */
	SFSIM_IN_USE,		/* active,   attached */
	SFSIM_TEARDOWN,		/* inactive, attached: the driver is asked to let go */
};

enum sfsim_op {
	SFSIM_OP_NEW,
	SFSIM_OP_SET_MAC,
	SFSIM_OP_ACTIVATE,
	SFSIM_OP_PROBE,
	SFSIM_OP_DEL,
	SFSIM_OP_RELOAD,
	SFSIM_OPS,
};

struct sfsim_faults {
	struct dentry *dir;
	struct mutex lock;
	u32 attach_delay_ms;
	u32 detach_delay_ms;
	struct {
		int err;
		unsigned int count;
	} next[SFSIM_OPS];
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
	struct sfsim_faults faults;

	struct mutex fw_lock;
	struct xarray sfs;		/* slot -> sub-function, until nothing of it is left */
	bool dying;			/* (fw) no delay is honoured any more */
	wait_queue_head_t drained;	/* woken when @sfs becomes empty */
	struct workqueue_struct *wq;
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

/* sfsim_pf.c */
int sfsim_pf_register(void);
void sfsim_pf_unregister(void);

/* sfsim_port.c */
int sfsim_port_new(struct devlink *devlink, const struct devlink_port_new_attrs *attrs,
		   struct netlink_ext_ack *extack, struct devlink_port **port);
void sfsim_port_delete_all(struct sfsim_pf *pf);
int sfsim_rate_set(struct devlink_rate *rate, void *priv, u64 bytes_per_s,
		   struct netlink_ext_ack *extack);

/* sfsim_firmware.c */
struct sfsim_sf *sfsim_firmware_alloc(struct sfsim_pf *pf, u32 sfnum, struct netlink_ext_ack *extack);
void sfsim_firmware_free(struct sfsim_sf *sf);
int sfsim_firmware_activate(struct sfsim_sf *sf, struct netlink_ext_ack *extack);
void sfsim_firmware_deactivate(struct sfsim_sf *sf);
int sfsim_firmware_enter(struct sfsim_sf *sf);
void sfsim_firmware_leave(struct sfsim_sf *sf);
void sfsim_firmware_drain(struct sfsim_pf *pf);
void sfsim_sf_put(struct sfsim_sf *sf);

/* sfsim_function.c */
struct sfsim_function *sfsim_function_add(struct sfsim_sf *sf);
void sfsim_function_remove(struct sfsim_function *function);
int sfsim_function_register_driver(void);
void sfsim_function_unregister_driver(void);

/* sfsim_netdev.c */
struct net_device *sfsim_netdev_add(struct device *parent, struct devlink_port *port, const u8 *mac);
void sfsim_netdev_del(struct net_device *dev);
void sfsim_netdev_pair(struct net_device *dev, struct net_device *peer);

/* sfsim_rdma.c */
struct sfsim_rdma *sfsim_rdma_add(struct device *parent, struct device *dma, struct net_device *dev);
void sfsim_rdma_del(struct sfsim_rdma *rdma);

/* sfsim_fault.c */
void sfsim_faults_init(void);
void sfsim_faults_exit(void);
void sfsim_faults_add(struct sfsim_pf *pf);
void sfsim_faults_del(struct sfsim_pf *pf);
int sfsim_fault(struct sfsim_pf *pf, enum sfsim_op op, struct netlink_ext_ack *extack);

#endif
