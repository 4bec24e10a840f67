// SPDX-License-Identifier: GPL-2.0
/* Faults on demand: /sys/kernel/debug/sfsim/<bdf>/. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "sfsim.h"

static const char * const sfsim_op_names[SFSIM_OPS] = {
	[SFSIM_OP_NEW] = "new",
	[SFSIM_OP_SET_MAC] = "set_mac",
	[SFSIM_OP_ACTIVATE] = "activate",
	[SFSIM_OP_PROBE] = "probe",
	[SFSIM_OP_DEL] = "del",
	[SFSIM_OP_RELOAD] = "reload",
};

static struct dentry *sfsim_debugfs;

/* The next `count` times @op is asked for, it answers -errno; extack may be NULL. */
int sfsim_fault(struct sfsim_pf *pf, enum sfsim_op op, struct netlink_ext_ack *extack)
{
	int err = 0;

	mutex_lock(&pf->faults.lock);
	if (pf->faults.next[op].count) {
		pf->faults.next[op].count--;
		err = -pf->faults.next[op].err;
	}
	mutex_unlock(&pf->faults.lock);
	if (err)
		sfsim_refuse(extack, "injected fault");
	return err;
}

/* Reads back what is still to come, one "op errno count" a line. */
static int sfsim_fail_next_show(struct seq_file *seq, void *unused)
{
	struct sfsim_pf *pf = seq->private;
	int op;

	mutex_lock(&pf->faults.lock);
	for (op = 0; op < SFSIM_OPS; op++)
		if (pf->faults.next[op].count)
			seq_printf(seq, "%s %d %u\n", sfsim_op_names[op], pf->faults.next[op].err,
				   pf->faults.next[op].count);
	mutex_unlock(&pf->faults.lock);
	return 0;
}

static int sfsim_fail_next_open(struct inode *inode, struct file *file)
{
	return single_open(file, sfsim_fail_next_show, inode->i_private);
}

static ssize_t sfsim_fail_next_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct sfsim_pf *pf = ((struct seq_file *)file->private_data)->private;
	char line[64] = {}, name[16] = {};
	unsigned int count;
	int err, op;

	if (len >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	if (sscanf(line, "%15s %d %u", name, &err, &count) != 3 || err <= 0 || err > MAX_ERRNO)
		return -EINVAL;
	op = match_string(sfsim_op_names, SFSIM_OPS, name);
	if (op < 0)
		return -EINVAL;
	mutex_lock(&pf->faults.lock);
	pf->faults.next[op].err = err;
	pf->faults.next[op].count = count;
	mutex_unlock(&pf->faults.lock);
	return len;
}

static const struct file_operations sfsim_fail_next_fops = {
	.owner = THIS_MODULE,
	.open = sfsim_fail_next_open,
	.read = seq_read,
	.write = sfsim_fail_next_write,
	.llseek = seq_lseek,
	.release = single_release,
};

void sfsim_faults_add(struct sfsim_pf *pf)
{
	struct sfsim_faults *faults = &pf->faults;

	mutex_init(&faults->lock);
	faults->dir = debugfs_create_dir(pci_name(pf->pdev), sfsim_debugfs);
	debugfs_create_u32("attach_delay_ms", 0600, faults->dir, &faults->attach_delay_ms);
	debugfs_create_u32("detach_delay_ms", 0600, faults->dir, &faults->detach_delay_ms);
	debugfs_create_file("fail_next", 0600, faults->dir, pf, &sfsim_fail_next_fops);
}

void sfsim_faults_del(struct sfsim_pf *pf)
{
	debugfs_remove_recursive(pf->faults.dir);
}

void sfsim_faults_init(void)
{
	sfsim_debugfs = debugfs_create_dir("sfsim", NULL);
}

void sfsim_faults_exit(void)
{
	debugfs_remove_recursive(sfsim_debugfs);
}
