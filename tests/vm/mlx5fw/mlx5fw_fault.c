// SPDX-License-Identifier: GPL-2.0
/* Failures and slow answers on demand, and the record of the commands that a PF and its sub-functions issued. */
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "mlx5fw.h"

#define FW_TRACE_LINES	8192

/* What is to happen to the next commands with this opcode. */
struct fw_rule {
	struct list_head list;
	u16 opcode;
	u32 value;		/* a status, or milliseconds */
	u32 count;
	s64 who;
};

int fw_faults_init(struct fw_pf *pf)
{
	struct fw_faults *faults = &pf->faults;

	faults->keep_mac = true;
	INIT_LIST_HEAD(&faults->fail);
	INIT_LIST_HEAD(&faults->slow);
	faults->counts = vcalloc(FW_OPCODES, sizeof(*faults->counts));
	faults->trace = vcalloc(FW_TRACE_LINES, sizeof(*faults->trace));
	return faults->counts && faults->trace ? 0 : -ENOMEM;
}

static void fw_rule_del(struct fw_rule *rule)
{
	list_del(&rule->list);
	kfree(rule);
}

static void fw_rules_del(struct list_head *rules)
{
	struct fw_rule *rule, *next;

	list_for_each_entry_safe(rule, next, rules, list)
		fw_rule_del(rule);
}

void fw_faults_free(struct fw_pf *pf)
{
	fw_rules_del(&pf->faults.fail);
	fw_rules_del(&pf->faults.slow);
	vfree(pf->faults.counts);
	vfree(pf->faults.trace);
}

static int fw_parse_who(const char *word, s64 *who)
{
	u32 sfnum;
	int err;

	if (!*word) {
		*who = FW_WHO_ANY;
		return 0;
	}
	if (!strcmp(word, "pf")) {
		*who = FW_WHO_PF;
		return 0;
	}
	err = kstrtou32(word, 0, &sfnum);
	*who = sfnum;
	return err;
}

/*
 * "opcode value count [sfnum|pf]": one more, after those there are. With the count 0 those of that opcode and function
 * are taken back, with an empty line all.
 */
int fw_fault_ask(struct list_head *rules, const char *line, u32 most)
{
	char name[48] = {}, amount[16] = {}, whose[16] = {};
	struct fw_rule *rule, *next;
	u32 value, count;
	int words, opcode;
	s64 who;

	/* A word that is not there counts as read, and is empty. */
	words = sscanf(line, "%47s %15s %u %15s", name, amount, &count, whose);
	if (!*name) {
		fw_rules_del(rules);
		return 0;
	}
	opcode = fw_opcode_of(name);
	if (words < 3 || opcode < 0 || kstrtou32(amount, 0, &value) || !value || value > most ||
	    fw_parse_who(whose, &who))
		return -EINVAL;
	if (!count) {
		list_for_each_entry_safe(rule, next, rules, list)
			if (rule->opcode == opcode && rule->who == who)
				fw_rule_del(rule);
		return 0;
	}
	rule = kzalloc(sizeof(*rule), GFP_KERNEL);
	if (!rule)
		return -ENOMEM;
	rule->opcode = opcode;
	rule->value = value;
	rule->count = count;
	rule->who = who;
	list_add_tail(&rule->list, rules);
	return 0;
}

static void fw_opcode_show(struct seq_file *seq, u16 opcode)
{
	const char *name = fw_opcode_name(opcode);

	if (name)
		seq_puts(seq, name);
	else
		seq_printf(seq, "%#x", opcode);
}

static void fw_who_show(struct seq_file *seq, s64 who)
{
	if (who >= 0)
		seq_printf(seq, " %lld", who);
	else
		seq_puts(seq, who == FW_WHO_PF ? " pf" : " -");
}

/* What is still to come, a line each, as it could be written again. */
void fw_fault_show(struct list_head *rules, struct seq_file *seq, const char *format)
{
	struct fw_rule *rule;

	list_for_each_entry(rule, rules, list) {
		fw_opcode_show(seq, rule->opcode);
		seq_printf(seq, format, rule->value, rule->count);
		if (rule->who != FW_WHO_ANY)
			fw_who_show(seq, rule->who);
		seq_putc(seq, '\n');
	}
}

/* What is to happen to this command: the value of the first rule for it, or 0. */
u32 fw_fault_take(struct list_head *rules, u16 opcode, s64 who)
{
	struct fw_rule *rule;
	u32 value;

	list_for_each_entry(rule, rules, list) {
		if (rule->opcode != opcode || (rule->who != FW_WHO_ANY && rule->who != who))
			continue;
		value = rule->value;
		if (!--rule->count)
			fw_rule_del(rule);
		return value;
	}
	return 0;
}

void fw_fault_record(struct fw_pf *pf, u16 opcode, s64 who, u8 status, bool injected)
{
	struct fw_faults *faults = &pf->faults;

	if (opcode < FW_OPCODES) {
		faults->counts[opcode].calls++;
		faults->counts[opcode].failures += injected;
	}
	faults->trace[faults->traced++ % FW_TRACE_LINES] =
		(struct fw_trace_line){ .opcode = opcode, .status = status, .who = who };
}

/* Trace and counters begin anew. */
void fw_fault_forget(struct fw_pf *pf)
{
	pf->faults.traced = 0;
	memset(pf->faults.counts, 0, FW_OPCODES * sizeof(*pf->faults.counts));
}

/* One "opcode function status" a line, oldest first, as many as are kept. */
void fw_trace_show(struct fw_pf *pf, struct seq_file *seq)
{
	struct fw_faults *faults = &pf->faults;
	struct fw_trace_line *line;
	u32 i = faults->traced > FW_TRACE_LINES ? faults->traced - FW_TRACE_LINES : 0;

	for (; i < faults->traced; i++) {
		line = &faults->trace[i % FW_TRACE_LINES];
		fw_opcode_show(seq, line->opcode);
		fw_who_show(seq, line->who);
		seq_printf(seq, " %#x\n", line->status);
	}
}

/* One "opcode calls failures" a line, of those that were called. */
void fw_counts_show(struct fw_pf *pf, struct seq_file *seq)
{
	struct fw_count *count;
	u32 opcode;

	for (opcode = 0; opcode < FW_OPCODES; opcode++) {
		count = &pf->faults.counts[opcode];
		if (!count->calls)
			continue;
		fw_opcode_show(seq, opcode);
		seq_printf(seq, " %u %u\n", count->calls, count->failures);
	}
}
