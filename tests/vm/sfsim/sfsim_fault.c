// SPDX-License-Identifier: GPL-2.0
/* Failures and delays on demand, and the record of what was asked of a physical function. */
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "sfsim.h"

#define SFSIM_TRACE_LINES 1024

struct sfsim_trace {
	enum sfsim_op op;
	u32 sfnum;
	int err;
};

const char * const sfsim_op_names[SFSIM_OPS] = {
	[SFSIM_OP_NEW] = "new",
	[SFSIM_OP_SET_MAC] = "set_mac",
	[SFSIM_OP_SET_ROCE] = "set_roce",
	[SFSIM_OP_SET_EQS] = "set_eqs",
	[SFSIM_OP_ACTIVATE] = "activate",
	[SFSIM_OP_DEACTIVATE] = "deactivate",
	[SFSIM_OP_PROBE] = "probe",
	[SFSIM_OP_DETACH] = "detach",
	[SFSIM_OP_DEL] = "del",
	[SFSIM_OP_RATE] = "rate",
	[SFSIM_OP_PARAM] = "param",
	[SFSIM_OP_RELOAD] = "reload",
	[SFSIM_OP_ETH] = "eth",
	[SFSIM_OP_RDMA] = "rdma",
	[SFSIM_OP_VNET] = "vnet",
	[SFSIM_OP_VDPA_ADD] = "vdpa_add",
	[SFSIM_OP_VDPA_DEL] = "vdpa_del",
	[SFSIM_OP_MDEV_CREATE] = "mdev_create",
	[SFSIM_OP_MDEV_REMOVE] = "mdev_remove",
	[SFSIM_OP_ESWITCH] = "eswitch",
	[SFSIM_OP_SRIOV] = "sriov",
};

/*
 * Every operation passes here when it begins: it is counted, traced, and fails if that was asked for.
 * @sfnum: whose it is, or SFSIM_NOBODY. @extack may be NULL.
 */
int sfsim_fault(struct sfsim_pf *pf, enum sfsim_op op, u32 sfnum, struct netlink_ext_ack *extack)
{
	struct sfsim_faults *faults = &pf->faults;
	int err = 0;

	mutex_lock(&faults->lock);
	faults->ops[op].calls++;
	if (faults->ops[op].count) {
		faults->ops[op].count--;
		faults->ops[op].failures++;
		err = -faults->ops[op].err;
	}
	if (faults->trace) {
		faults->trace[faults->traced % SFSIM_TRACE_LINES] = (struct sfsim_trace){ op, sfnum, err };
		faults->traced++;
	}
	mutex_unlock(&faults->lock);
	if (err)
		sfsim_refuse(extack, "injected fault");
	return err;
}

/* For so long, or until the PF goes: whoever unloads the module waits for no delay. */
void sfsim_fault_pause(struct sfsim_pf *pf, u32 ms)
{
	if (ms)
		wait_event_timeout(pf->faults.changed, READ_ONCE(pf->faults.over), msecs_to_jiffies(ms));
}

/* For as long as `hang_detach` stands. It is looked at again and again: debugfs does not say when it changes. */
void sfsim_fault_hang(struct sfsim_pf *pf)
{
	while (READ_ONCE(pf->faults.hang_detach) && !READ_ONCE(pf->faults.over))
		sfsim_fault_pause(pf, 20);
}

/* One "op sub-function errno" a line, oldest first, as many as are kept. */
void sfsim_trace_show(struct sfsim_pf *pf, struct seq_file *seq)
{
	struct sfsim_faults *faults = &pf->faults;
	struct sfsim_trace *line;
	u32 i;

	mutex_lock(&faults->lock);
	i = faults->traced > SFSIM_TRACE_LINES ? faults->traced - SFSIM_TRACE_LINES : 0;
	for (; faults->trace && i < faults->traced; i++) {
		line = &faults->trace[i % SFSIM_TRACE_LINES];
		if (line->sfnum == SFSIM_NOBODY)
			seq_printf(seq, "%s - %d\n", sfsim_op_names[line->op], -line->err);
		else
			seq_printf(seq, "%s %u %d\n", sfsim_op_names[line->op], line->sfnum, -line->err);
	}
	mutex_unlock(&faults->lock);
}

/* The counters begin anew with it. */
void sfsim_trace_clear(struct sfsim_pf *pf)
{
	int op;

	mutex_lock(&pf->faults.lock);
	pf->faults.traced = 0;
	for (op = 0; op < SFSIM_OPS; op++) {
		pf->faults.ops[op].calls = 0;
		pf->faults.ops[op].failures = 0;
	}
	mutex_unlock(&pf->faults.lock);
}

void sfsim_faults_add(struct sfsim_pf *pf)
{
	mutex_init(&pf->faults.lock);
	init_waitqueue_head(&pf->faults.changed);
	pf->faults.trace = kvcalloc(SFSIM_TRACE_LINES, sizeof(*pf->faults.trace), GFP_KERNEL);
	sfsim_debugfs_add(pf);
}

/* From here on nothing is delayed, and nothing hangs. */
void sfsim_faults_over(struct sfsim_pf *pf)
{
	sfsim_debugfs_del(pf);
	WRITE_ONCE(pf->faults.over, true);
	wake_up_all(&pf->faults.changed);
}

void sfsim_faults_del(struct sfsim_pf *pf)
{
	kvfree(pf->faults.trace);
}
