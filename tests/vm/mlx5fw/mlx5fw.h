/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of mlx5fw share: the memory of a card, its functions, and what they do for each other. */
#ifndef MLX5FW_H
#define MLX5FW_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/list.h>
#include <linux/mlx5/device.h>
#include <linux/mlx5/driver.h>
#include <linux/mlx5/mlx5_ifc.h>
#include <linux/mlx5/mlx5_ifc_vdpa.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/unaligned.h>
#include <linux/wait.h>
#include <asm/pci.h>

#define FW_MAX_PF		8
#define FW_MAX_SF		128
#define FW_SF_BASE		0x8000	/* the function id, and vport number, of a PF's first sub-function */
#define FW_UPLINK		0xffff	/* the vport number of the wire */

/*
 * A PF takes 16 MiB of reserved RAM: BAR 0 (initialization segment, UARs, MSI-X table) at 0, BAR 2 at 8 MiB.
 *
 * BAR 2 gives each sub-function 64 KiB: pages 0-2 are its initialization segment (struct mlx5_init_seg ends at 0x2010),
 * pages 4-15 its UARs. Nobody reads what is written to a UAR, so two users may share one: 12 are enough.
 */
#define FW_PF_STRIDE		SZ_16M
#define FW_BAR0_SIZE		SZ_4M
#define FW_BAR2_OFFSET		SZ_8M
#define FW_LOG_SF_PAGES		4
#define FW_SF_SIZE		(SZ_4K << FW_LOG_SF_PAGES)
#define FW_ISEG_SIZE		(3 * SZ_4K)
#define FW_FIRST_UAR		4
#define FW_PF_UARS		256
#define FW_MSIX_OFFSET		SZ_2M
#define FW_PBA_OFFSET		(FW_MSIX_OFFSET + SZ_64K)
#define FW_VECTORS		64

#define FW_SERIAL		32	/* characters of the card's longer serial number */
#define FW_VPD_BYTES		96

#define FW_LOG_COMMANDS		5	/* a command queue has 32 entries ... */
#define FW_LOG_STRIDE		6	/* ... of 64 bytes */
#define FW_CMDQ_LAYOUT		(FW_LOG_COMMANDS << 4 | FW_LOG_STRIDE)

#define FW_SECONDS		1	/* the unit of a time that the driver asks for */

#define FW_MAX_EQ		64
#define FW_LOG_MAX_EQ_SIZE	18	/* the list of its pages must not be longer than we read of a command (FW_MOST) */
#define FW_LOG_MAX_CQ_SIZE	18
#define FW_LOG_MAX_WQ_SIZE	16
#define FW_LOG_MIN_SQ_STRIDE	6
#define FW_LOG_MAX_SQ_STRIDE	9
#define FW_CAP_BYTES		MLX5_UN_SZ_BYTES(hca_cap_union)

static_assert(FW_BAR2_OFFSET + FW_MAX_SF * FW_SF_SIZE <= FW_PF_STRIDE);
static_assert(sizeof(struct mlx5_init_seg) <= FW_ISEG_SIZE);
static_assert(FW_ISEG_SIZE <= FW_FIRST_UAR * SZ_4K);

/* An SF's state, as QUERY_VHCA_STATE names it. */
enum fw_state {
	FW_INVALID,
	FW_ALLOCATED,
	FW_ACTIVE,
	FW_IN_USE,
	FW_TEARDOWN,
};

/* Which function a command is about: an sfnum, or one of these. */
enum {
	FW_WHO_PF = -1,
	FW_WHO_UNNUMBERED = -2,	/* a sub-function without a number yet */
	FW_WHO_ANY = -3,
};

/* A ring in the driver's memory, by the list of its pages. */
struct fw_ring {
	u32 pages;		/* 0: we do not know where it is, and do not touch it */
	u8 page_shift;
	u64 *page;
};

struct fw_eq {
	struct fw_ring ring;
	u8 log_size;
	u16 vector;
	u32 pi;
	u64 events[4];
};

struct fw_pf;

/* A PF, or a sub-function of it. */
struct fw_function {
	struct fw_pf *pf;
	u16 id;				/* function id and vport number: 0, or FW_SF_BASE and up */
	u32 uars;
	u32 next_uar;
	u32 next_id;
	struct mlx5_init_seg *iseg;
	atomic_t doorbell;		/* bits of the slots that were rung for */
	u64 cmdq;
	struct fw_eq *eq[FW_MAX_EQ];
	struct list_head cqs;
	struct list_head sqs;
	struct list_head polled;	/* in the PF's list while it has send queues */
	u8 *cap[2][2];			/* GENERAL and GENERAL_2; max and current */
	u8 nic_vport[MLX5_ST_SZ_BYTES(nic_vport_context)];

	/* a sub-function's */
	enum fw_state state;
	bool armed;			/* the PF's driver wants to hear of the next change */
	bool missed;			/* there was one while it was not armed */
	bool numbered;
	u32 sfnum;
	struct list_head event;		/* in the PF's list while its event is not yet due */
	unsigned long event_at;
};

/* A command that is answered later. */
struct fw_delayed {
	struct list_head list;
	struct fw_function *f;
	int slot;
	unsigned long at;
};

struct fw_count {
	u32 calls;
	u32 failures;
};

struct fw_trace_line {
	u16 opcode;
	u8 status;
	s64 who;
};

/* What the tester asked for, and what was recorded for the tester. */
struct fw_faults {
	u32 attach_delay_ms;
	u32 detach_delay_ms;
	bool hang_detach;
	bool keep_mac;
	struct list_head fail;
	struct list_head slow;
	struct fw_count *counts;	/* by opcode */
	struct fw_trace_line *trace;
	u32 traced;
};

enum fw_health {
	FW_WELL,
	FW_FATAL,	/* until it is reset */
	FW_STAYS_ILL,	/* after a reset, too */
	FW_HEALTHS,
};

/* The functions of one PCI bus: one e-switch hardware, one switch id, one firmware that is well or ill. */
struct fw_card {
	int bus;
	int node;
	int pfs;
	struct fw_pf *pf[FW_MAX_PF];
	struct pci_sysdata sysdata;
	struct pci_bus *root;
	struct resource numbers;
	struct resource window;
	enum fw_health health;
	bool resetting;
	unsigned long reset_until;
	u32 reset_ms;
	u32 resets;
};

struct fw_pf {
	struct fw_card *card;
	int function;			/* the PCI function */
	phys_addr_t base;
	u8 config[PCI_CFG_SPACE_EXP_SIZE];
	u8 writable[PCI_CFG_SPACE_EXP_SIZE];
	u8 vpd[FW_VPD_BYTES];
	void __iomem *msix;
	DECLARE_BITMAP(masked, FW_VECTORS);		/* interrupts that wait for their vector to be unmasked */
	DECLARE_BITMAP(rung, 1 + FW_MAX_SF);		/* functions whose doorbell was rung */
	struct list_head polled;
	struct list_head events;
	struct list_head delayed;
	struct fw_faults faults;
	struct fw_function fn[];	/* the PF itself, then its sub-functions */
};

/* A command being carried out. */
struct fw_call {
	struct fw_function *f;
	const u8 *in;
	u32 inlen;
	u8 *out;
	u32 outlen;
};

/* mlx5fw_main.c */
extern struct mutex fw_lock;		/* all of the firmware's state; the doorbell does not take it */
extern uint fw_max_sfs;
extern bool fw_swap_ports;
extern bool fw_trace;
void fw_kick(void);

/* mlx5fw_pf.c */
extern struct fw_card fw_cards[FW_MAX_PF];
extern int fw_num_cards;
extern struct fw_pf *fw_pfs[FW_MAX_PF];		/* as they lie in memory */
extern int fw_num_pfs;
int fw_cards_plan(int buses, const int *bus, const int *node);
int fw_memory_check(phys_addr_t base, int pfs);
int fw_pfs_add(phys_addr_t base);
void fw_pfs_del(void);

/* mlx5fw_pci.c */
void fw_pci_config(struct fw_pf *pf);
bool fw_pci_master(struct fw_pf *pf);
bool fw_pci_vectors(struct fw_pf *pf, bool *masked);
void fw_pci_watch(void);
void fw_pci_unwatch(void);
int fw_pci_start(struct fw_card *card);
void fw_pci_stop(struct fw_card *card);

/* mlx5fw_vpd.c */
void fw_vpd_init(struct fw_pf *pf);
void fw_vpd_read(struct fw_pf *pf, u8 *capability);

/* mlx5fw_doorbell.c */
int fw_doorbell_start(phys_addr_t base);
void fw_doorbell_stop(void);

/* mlx5fw_function.c */
int fw_function_add(struct fw_pf *pf, int index);
void fw_function_del(struct fw_function *f);
void fw_function_quiesce(struct fw_function *f);
void fw_function_reset(struct fw_function *f);
void fw_function_beat(struct fw_function *f);
struct fw_function *fw_function_of(struct fw_function *f, u16 id);
struct fw_function *fw_function_other(struct fw_function *f, const u8 *in);
u32 fw_fresh_id(struct fw_function *f);

static inline bool fw_is_sf(const struct fw_function *f)
{
	return f->id >= FW_SF_BASE;
}

/* mlx5fw_health.c */
#define FW_RESET_MS	2500	/* by then each driver has seen the syndrome (FW_POLL_MS) */
extern const char *const fw_health_names[FW_HEALTHS];
void fw_health_set(struct fw_card *card, enum fw_health health);
void fw_health_show(struct fw_function *f);
unsigned long fw_health_serve(struct fw_card *card);

/* mlx5fw_mailbox.c */
int fw_mailbox_init(void);
void fw_mailbox_exit(void);
void fw_mailbox_serve(struct fw_function *f);
unsigned long fw_mailbox_serve_delayed(struct fw_pf *pf);
void fw_mailbox_drop(struct fw_function *f);

/* mlx5fw_cmd.c */
u8 fw_command(struct fw_call *call);
s64 fw_command_about(struct fw_call *call);

/* mlx5fw_caps.c */
int fw_caps_reset(struct fw_function *f);
void fw_caps_free(struct fw_function *f);
u8 fw_query_hca_cap(struct fw_call *call);
u8 fw_set_hca_cap(struct fw_call *call);

/* mlx5fw_caps_fixed.c */
void fw_caps_fixed(u16 type, u8 *cap);

/* mlx5fw_eq.c */
int fw_interrupts_init(void);
void fw_interrupts_exit(void);
u8 fw_create_eq(struct fw_call *call);
u8 fw_destroy_eq(struct fw_call *call);
void fw_eq_free(struct fw_function *f);
bool fw_event_wanted(struct fw_function *f, u8 type);
void fw_event(struct fw_function *f, u8 type, const void *data, size_t len);
void fw_event_on(struct fw_function *f, u32 eqn, u8 type, const void *data, size_t len);
void fw_interrupts_retry(struct fw_pf *pf);

/* mlx5fw_ring.c */
void *fw_memory(u64 address, size_t len);
u8 fw_ring_init(struct fw_ring *ring, const struct fw_call *call, size_t offset, u64 bytes, u32 page_shift);
void fw_ring_free(struct fw_ring *ring);
void *fw_ring_at(const struct fw_ring *ring, u64 offset);

/* mlx5fw_queue.c */
u8 fw_create_cq(struct fw_call *call);
u8 fw_modify_cq(struct fw_call *call);
u8 fw_destroy_cq(struct fw_call *call);
u8 fw_create_sq(struct fw_call *call);
u8 fw_modify_sq(struct fw_call *call);
u8 fw_destroy_sq(struct fw_call *call);
void fw_queues_free(struct fw_function *f);
bool fw_queues_serve(struct fw_function *f);

/* mlx5fw_sf.c */
u8 fw_alloc_sf(struct fw_call *call);
u8 fw_dealloc_sf(struct fw_call *call);
u8 fw_enable_hca(struct fw_call *call);
u8 fw_disable_hca(struct fw_call *call);
u8 fw_teardown_hca(struct fw_call *call);
void fw_sfs_forget(struct fw_pf *pf);
u8 fw_query_vhca_state(struct fw_call *call);
u8 fw_modify_vhca_state(struct fw_call *call);
s64 fw_sf_number(const struct fw_function *f);
s64 fw_sf_number_set(struct fw_call *call, const struct fw_function *sf);
int fw_sf_lose(struct fw_pf *pf, u32 sfnum, bool forget);
unsigned long fw_sf_serve(struct fw_pf *pf);

/* mlx5fw_vport.c */
void fw_vport_init(struct fw_function *f);
void fw_vport_forget_mac(struct fw_function *f);
u8 fw_query_nic_vport_context(struct fw_call *call);
u8 fw_modify_nic_vport_context(struct fw_call *call);
u8 fw_query_vport_state(struct fw_call *call);

/* mlx5fw_port.c */
u8 fw_access_reg(struct fw_call *call);

/* mlx5fw_opcode.c */
#define FW_OPCODES	0x1000
const char *fw_opcode_name(u16 opcode);
int fw_opcode_of(const char *name);

/* mlx5fw_fault.c */
int fw_faults_init(struct fw_pf *pf);
void fw_faults_free(struct fw_pf *pf);
int fw_fault_ask(struct list_head *rules, const char *line, u32 most);
void fw_fault_show(struct list_head *rules, struct seq_file *seq, const char *format);
u32 fw_fault_take(struct list_head *rules, u16 opcode, s64 who);
void fw_fault_record(struct fw_pf *pf, u16 opcode, s64 who, u8 status, bool injected);
void fw_fault_forget(struct fw_pf *pf);
void fw_trace_show(struct fw_pf *pf, struct seq_file *seq);
void fw_counts_show(struct fw_pf *pf, struct seq_file *seq);

/* mlx5fw_debugfs.c */
void fw_debugfs_init(void);
void fw_debugfs_exit(void);
void fw_debugfs_add(struct fw_pf *pf);

#endif
