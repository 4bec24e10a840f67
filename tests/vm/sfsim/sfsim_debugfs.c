// SPDX-License-Identifier: GPL-2.0
/* The tester's side: /sys/kernel/debug/sfsim/<PCI address>/. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "sfsim.h"

static struct dentry *sfsim_debugfs;

static struct sfsim_pf *sfsim_file_pf(struct file *file)
{
	return ((struct seq_file *)file->private_data)->private;
}

/* Reads back what is still to come, one "op errno count" a line. */
static int sfsim_fail_next_show(struct seq_file *seq, void *unused)
{
	struct sfsim_pf *pf = seq->private;
	int op;

	mutex_lock(&pf->faults.lock);
	for (op = 0; op < SFSIM_OPS; op++)
		if (pf->faults.ops[op].count)
			seq_printf(seq, "%s %d %u\n", sfsim_op_names[op], pf->faults.ops[op].err,
				   pf->faults.ops[op].count);
	mutex_unlock(&pf->faults.lock);
	return 0;
}

static ssize_t sfsim_fail_next_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct sfsim_pf *pf = sfsim_file_pf(file);
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
	pf->faults.ops[op].err = err;
	pf->faults.ops[op].count = count;
	mutex_unlock(&pf->faults.lock);
	return len;
}

/* One "op calls failures" a line, of those that were called. */
static int sfsim_counters_show(struct seq_file *seq, void *unused)
{
	struct sfsim_pf *pf = seq->private;
	int op;

	mutex_lock(&pf->faults.lock);
	for (op = 0; op < SFSIM_OPS; op++)
		if (pf->faults.ops[op].calls)
			seq_printf(seq, "%s %u %u\n", sfsim_op_names[op], pf->faults.ops[op].calls,
				   pf->faults.ops[op].failures);
	mutex_unlock(&pf->faults.lock);
	return 0;
}

static int sfsim_trace_file_show(struct seq_file *seq, void *unused)
{
	sfsim_trace_show(seq->private, seq);
	return 0;
}

/* Whatever is written: trace and counters begin anew. */
static ssize_t sfsim_trace_file_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	sfsim_trace_clear(sfsim_file_pf(file));
	return len;
}

static int sfsim_fw_lost_show(struct seq_file *seq, void *unused)
{
	return 0;
}

static ssize_t sfsim_fw_lost_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	u32 sfnum;
	int err = kstrtou32_from_user(buf, len, 0, &sfnum);

	if (!err)
		err = sfsim_firmware_lose(sfsim_file_pf(file), sfnum);
	return err ? err : len;
}

#define SFSIM_FILE(name, show_fn, write_fn)						\
static int name##_open(struct inode *inode, struct file *file)				\
{											\
	return single_open(file, show_fn, inode->i_private);				\
}											\
static const struct file_operations name##_fops = {					\
	.owner = THIS_MODULE,								\
	.open = name##_open,								\
	.read = seq_read,								\
	.write = write_fn,								\
	.llseek = seq_lseek,								\
	.release = single_release,							\
}

SFSIM_FILE(sfsim_fail_next, sfsim_fail_next_show, sfsim_fail_next_write);
SFSIM_FILE(sfsim_counters, sfsim_counters_show, NULL);
SFSIM_FILE(sfsim_trace_file, sfsim_trace_file_show, sfsim_trace_file_write);
SFSIM_FILE(sfsim_fw_lost, sfsim_fw_lost_show, sfsim_fw_lost_write);

void sfsim_debugfs_add(struct sfsim_pf *pf)
{
	struct sfsim_faults *faults = &pf->faults;
	struct dentry *dir = debugfs_create_dir(pci_name(pf->pdev), sfsim_debugfs);

	faults->dir = dir;
	debugfs_create_u32("attach_delay_ms", 0600, dir, &faults->attach_delay_ms);
	debugfs_create_u32("detach_delay_ms", 0600, dir, &faults->detach_delay_ms);
	debugfs_create_u32("reload_delay_ms", 0600, dir, &faults->reload_delay_ms);
	debugfs_create_u32("vdpa_del_delay_ms", 0600, dir, &faults->vdpa_del_delay_ms);
	debugfs_create_u32("mdev_remove_delay_ms", 0600, dir, &faults->mdev_remove_delay_ms);
	debugfs_create_bool("hang_detach", 0600, dir, &faults->hang_detach);
	debugfs_create_file("fail_next", 0600, dir, pf, &sfsim_fail_next_fops);
	debugfs_create_file("fw_lost", 0200, dir, pf, &sfsim_fw_lost_fops);
	debugfs_create_file("counters", 0400, dir, pf, &sfsim_counters_fops);
	debugfs_create_file("trace", 0600, dir, pf, &sfsim_trace_file_fops);
}

void sfsim_debugfs_del(struct sfsim_pf *pf)
{
	debugfs_remove_recursive(pf->faults.dir);
}

void sfsim_debugfs_init(void)
{
	sfsim_debugfs = debugfs_create_dir("sfsim", NULL);
}

void sfsim_debugfs_exit(void)
{
	debugfs_remove_recursive(sfsim_debugfs);
}
