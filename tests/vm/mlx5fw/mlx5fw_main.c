// SPDX-License-Identifier: GPL-2.0
/* Parameters, start and stop, and the thread that is the firmware. */
#include <linux/kthread.h>
#include <linux/module.h>

#include "mlx5fw.h"

#define FW_IDLE		(HZ / 20)	/* masked interrupts and `hang_detach` are looked at so often */
#define FW_HEARTBEAT	(HZ / 4)	/* the driver looks at the health counter twice a second at most */

static ulong base = 0x18000000;
module_param(base, ulong, 0444);
MODULE_PARM_DESC(base, "where the reserved RAM begins (memmap=48M$...), 16 MiB for each PF");

static int bus[FW_MAX_PF] = { 5 };
static int buses = 1;
module_param_array(bus, int, &buses, 0444);
MODULE_PARM_DESC(bus, "the PCI bus of each PF, in domain 0; those of one bus are the functions of one card");

static int node[FW_MAX_PF] = { [0 ... FW_MAX_PF - 1] = NUMA_NO_NODE };
module_param_array(node, int, NULL, 0444);
MODULE_PARM_DESC(node, "the NUMA node of each PF's bus, -1 for none");

uint fw_max_sfs = FW_MAX_SF;
module_param_named(max_sfs, fw_max_sfs, uint, 0444);
MODULE_PARM_DESC(max_sfs, "sub-functions of each PF, at most 128; 0: the firmware has no sub-functions");

bool fw_swap_ports;
module_param_named(swap_ports, fw_swap_ports, bool, 0444);
MODULE_PARM_DESC(swap_ports, "on a card with two functions, function 0 has port 2 and function 1 port 1");

bool fw_trace;
module_param_named(trace, fw_trace, bool, 0644);
MODULE_PARM_DESC(trace, "print each command to the kernel's log");

DEFINE_MUTEX(fw_lock);

static struct task_struct *fw_thread;
static DECLARE_WAIT_QUEUE_HEAD(fw_wait);
static atomic_t fw_kicked;

/* Wake the firmware; may be called anywhere. */
void fw_kick(void)
{
	atomic_set(&fw_kicked, 1);
	wake_up(&fw_wait);
}

/* Do what there is to do for a PF and its sub-functions; says in how many jiffies to look again, at the latest. */
static unsigned long fw_serve(struct fw_pf *pf, bool beat)
{
	struct fw_function *f, *next;
	unsigned long wait = FW_IDLE;
	unsigned int i;

	for_each_set_bit(i, pf->rung, 1 + FW_MAX_SF)
		if (test_and_clear_bit(i, pf->rung))
			fw_mailbox_serve(&pf->fn[i]);
	wait = min(wait, fw_mailbox_serve_delayed(pf));
	wait = min(wait, fw_sf_serve(pf));
	list_for_each_entry_safe(f, next, &pf->polled, polled)
		if (fw_queues_serve(f))
			wait = 1;
	fw_interrupts_retry(pf);
	for (i = 0; beat && i < 1 + fw_max_sfs; i++)
		fw_function_beat(&pf->fn[i]);
	return wait;
}

static int fw_work(void *unused)
{
	unsigned long next_beat = jiffies, wait = 0;
	bool beat;
	int i;

	while (!kthread_should_stop()) {
		wait_event_idle_timeout(fw_wait, atomic_xchg(&fw_kicked, 0) || kthread_should_stop(), wait);
		beat = time_after_eq(jiffies, next_beat);
		if (beat)
			next_beat = jiffies + FW_HEARTBEAT;
		wait = FW_IDLE;
		mutex_lock(&fw_lock);
		for (i = 0; i < fw_num_cards; i++)
			wait = min(wait, fw_health_serve(&fw_cards[i]));
		for (i = 0; i < fw_num_pfs; i++)
			if (!fw_pfs[i]->card->resetting)
				wait = min(wait, fw_serve(fw_pfs[i], beat));
		mutex_unlock(&fw_lock);
	}
	return 0;
}

static int __init fw_init(void)
{
	int i, err;

	if (fw_max_sfs > FW_MAX_SF) {
		pr_err("mlx5fw: a PF has at most %d sub-functions\n", FW_MAX_SF);
		return -EINVAL;
	}
	err = fw_cards_plan(buses, bus, node);
	if (err)
		return err;
	err = fw_memory_check(base, buses);
	if (err)
		return err;
	err = fw_interrupts_init();
	if (err)
		return err;
	err = fw_mailbox_init();
	if (err)
		goto no_mailbox;
	err = fw_pfs_add(base);
	if (err)
		goto no_pfs;
	fw_thread = kthread_run(fw_work, NULL, "mlx5fw");
	if (IS_ERR(fw_thread)) {
		err = PTR_ERR(fw_thread);
		goto no_pfs;
	}
	err = fw_doorbell_start(base);
	if (err)
		goto no_doorbell;
	fw_debugfs_init();
	for (i = 0; i < fw_num_pfs; i++)
		fw_debugfs_add(fw_pfs[i]);
	fw_pci_watch();
	for (i = 0; i < fw_num_cards; i++) {
		err = fw_pci_start(&fw_cards[i]);
		if (err)
			goto no_pci;
	}
	return 0;

no_pci:
	while (i--)
		fw_pci_stop(&fw_cards[i]);
	fw_pci_unwatch();
	fw_debugfs_exit();
	fw_doorbell_stop();
no_doorbell:
	kthread_stop(fw_thread);
no_pfs:
	fw_pfs_del();
	fw_mailbox_exit();
no_mailbox:
	fw_interrupts_exit();
	return err;
}

/* The PCI functions go first: a driver that is still bound says goodbye to a firmware that answers. */
static void __exit fw_exit(void)
{
	int i;

	for (i = 0; i < fw_num_cards; i++)
		fw_pci_stop(&fw_cards[i]);
	fw_pci_unwatch();
	fw_debugfs_exit();
	fw_doorbell_stop();
	kthread_stop(fw_thread);
	fw_pfs_del();
	fw_mailbox_exit();
	fw_interrupts_exit();
}

module_init(fw_init);
module_exit(fw_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("An emulated firmware for mlx5_core");
