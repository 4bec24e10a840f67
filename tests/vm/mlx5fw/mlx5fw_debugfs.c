// SPDX-License-Identifier: GPL-2.0
/* The tester's side: /sys/kernel/debug/mlx5fw/<PCI address>/. */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "mlx5fw.h"

/* Longer would come near the 60 s after which the driver gives a command up. */
#define FW_SLOWEST_MS	30000

static struct dentry *fw_debugfs;

static struct fw_pf *fw_file_pf(struct file *file)
{
	return ((struct seq_file *)file->private_data)->private;
}

static ssize_t fw_line(const char __user *buf, size_t len, char *line, size_t room)
{
	if (len >= room)
		return -EINVAL;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	line[len] = 0;
	return len;
}

static ssize_t fw_rule_write(struct list_head *rules, const char __user *buf, size_t len, u32 most)
{
	char line[128];
	ssize_t done = fw_line(buf, len, line, sizeof(line));
	int err;

	if (done < 0)
		return done;
	mutex_lock(&fw_lock);
	err = fw_fault_ask(rules, line, most);
	mutex_unlock(&fw_lock);
	return err ?: done;
}

static int fw_fail_next_show(struct seq_file *seq, void *unused)
{
	struct fw_pf *pf = seq->private;

	mutex_lock(&fw_lock);
	fw_fault_show(&pf->faults.fail, seq, " %#x %u");
	mutex_unlock(&fw_lock);
	return 0;
}

static ssize_t fw_fail_next_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	return fw_rule_write(&fw_file_pf(file)->faults.fail, buf, len, U8_MAX);
}

static int fw_slow_show(struct seq_file *seq, void *unused)
{
	struct fw_pf *pf = seq->private;

	mutex_lock(&fw_lock);
	fw_fault_show(&pf->faults.slow, seq, " %u %u");
	mutex_unlock(&fw_lock);
	return 0;
}

static ssize_t fw_slow_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	return fw_rule_write(&fw_file_pf(file)->faults.slow, buf, len, FW_SLOWEST_MS);
}

static int fw_counters_show(struct seq_file *seq, void *unused)
{
	mutex_lock(&fw_lock);
	fw_counts_show(seq->private, seq);
	mutex_unlock(&fw_lock);
	return 0;
}

static int fw_trace_file_show(struct seq_file *seq, void *unused)
{
	mutex_lock(&fw_lock);
	fw_trace_show(seq->private, seq);
	mutex_unlock(&fw_lock);
	return 0;
}

/* Whatever is written: trace and counters begin anew. */
static ssize_t fw_trace_file_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	mutex_lock(&fw_lock);
	fw_fault_forget(fw_file_pf(file));
	mutex_unlock(&fw_lock);
	return len;
}

static int fw_lost_show(struct seq_file *seq, void *unused)
{
	return 0;
}

/* "sfnum", or "sfnum forget". */
static ssize_t fw_lost_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char line[32], word[8] = {};
	ssize_t done = fw_line(buf, len, line, sizeof(line));
	u32 sfnum;
	int err;

	if (done < 0)
		return done;
	if (sscanf(line, "%u %7s", &sfnum, word) < 1 || (*word && strcmp(word, "forget")))
		return -EINVAL;
	mutex_lock(&fw_lock);
	err = fw_sf_lose(fw_file_pf(file), sfnum, *word);
	mutex_unlock(&fw_lock);
	return err ?: done;
}

static int fw_health_file_show(struct seq_file *seq, void *unused)
{
	struct fw_pf *pf = seq->private;

	mutex_lock(&fw_lock);
	seq_printf(seq, "%s\n", fw_health_names[pf->card->health]);
	mutex_unlock(&fw_lock);
	return 0;
}

static ssize_t fw_health_file_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char line[16];
	ssize_t done = fw_line(buf, len, line, sizeof(line));
	int health;

	if (done < 0)
		return done;
	health = __sysfs_match_string(fw_health_names, FW_HEALTHS, line);
	if (health < 0)
		return health;
	mutex_lock(&fw_lock);
	fw_health_set(fw_file_pf(file)->card, health);
	mutex_unlock(&fw_lock);
	return done;
}

#define FW_FILE(name, show_function, write_function)					\
static int name##_open(struct inode *inode, struct file *file)				\
{											\
	return single_open(file, show_function, inode->i_private);			\
}											\
static const struct file_operations name##_fops = {					\
	.owner = THIS_MODULE,								\
	.open = name##_open,								\
	.read = seq_read,								\
	.write = write_function,							\
	.llseek = seq_lseek,								\
	.release = single_release,							\
}

FW_FILE(fw_fail_next, fw_fail_next_show, fw_fail_next_write);
FW_FILE(fw_slow, fw_slow_show, fw_slow_write);
FW_FILE(fw_counters, fw_counters_show, NULL);
FW_FILE(fw_trace_file, fw_trace_file_show, fw_trace_file_write);
FW_FILE(fw_lost, fw_lost_show, fw_lost_write);
FW_FILE(fw_health_file, fw_health_file_show, fw_health_file_write);

void fw_debugfs_add(struct fw_pf *pf)
{
	struct fw_faults *faults = &pf->faults;
	struct dentry *dir;
	char name[16];

	snprintf(name, sizeof(name), "%04x:%02x:%02x.%d", 0, pf->card->bus, 0, pf->function);
	dir = debugfs_create_dir(name, fw_debugfs);
	debugfs_create_u32("attach_delay_ms", 0600, dir, &faults->attach_delay_ms);
	debugfs_create_u32("detach_delay_ms", 0600, dir, &faults->detach_delay_ms);
	debugfs_create_bool("hang_detach", 0600, dir, &faults->hang_detach);
	debugfs_create_bool("keep_mac", 0600, dir, &faults->keep_mac);
	debugfs_create_file("fail_next", 0600, dir, pf, &fw_fail_next_fops);
	debugfs_create_file("slow", 0600, dir, pf, &fw_slow_fops);
	debugfs_create_file("fw_lost", 0200, dir, pf, &fw_lost_fops);
	debugfs_create_file("health", 0600, dir, pf, &fw_health_file_fops);
	debugfs_create_u32("reset_ms", 0600, dir, &pf->card->reset_ms);
	debugfs_create_u32("resets", 0400, dir, &pf->card->resets);
	debugfs_create_file("counters", 0400, dir, pf, &fw_counters_fops);
	debugfs_create_file("trace", 0600, dir, pf, &fw_trace_file_fops);
}

void fw_debugfs_init(void)
{
	fw_debugfs = debugfs_create_dir("mlx5fw", NULL);
}

void fw_debugfs_exit(void)
{
	debugfs_remove_recursive(fw_debugfs);
}
