// SPDX-License-Identifier: GPL-2.0
/* Event queues, and the interrupts that announce what is in them. */
#include <linux/io.h>
#include <linux/slab.h>

#include "mlx5fw.h"

#define FW_APIC_BASE	0xfee00000
#define FW_APIC_SIZE	SZ_1M

static void __iomem *fw_apic;

int fw_interrupts_init(void)
{
	fw_apic = ioremap(FW_APIC_BASE, FW_APIC_SIZE);
	return fw_apic ? 0 : -ENOMEM;
}

void fw_interrupts_exit(void)
{
	iounmap(fw_apic);
}

/*
 * An interrupt is the write that the card would make: what the vector's entry says, to the address it says. QEMU's APIC
 * takes it for a message.
 */
static void fw_raise(struct fw_pf *pf, u16 vector)
{
	void __iomem *entry = pf->msix + vector * PCI_MSIX_ENTRY_SIZE;
	u32 address;
	bool masked;

	if (!fw_pci_vectors(pf, &masked))
		return;
	if (masked || readl(entry + PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT) {
		set_bit(vector, pf->masked);
		return;
	}
	clear_bit(vector, pf->masked);
	address = readl(entry + PCI_MSIX_ENTRY_LOWER_ADDR);
	if (address < FW_APIC_BASE || address > FW_APIC_BASE + FW_APIC_SIZE - sizeof(u32)) {
		pr_warn_ratelimited("mlx5fw: vector %u has the address %#x\n", vector, address);
		return;
	}
	writel(readl(entry + PCI_MSIX_ENTRY_DATA), fw_apic + (address - FW_APIC_BASE));
}

/* Raise those whose vectors were masked, if they no longer are. */
void fw_interrupts_retry(struct fw_pf *pf)
{
	unsigned int vector;

	for_each_set_bit(vector, pf->masked, FW_VECTORS)
		fw_raise(pf, vector);
}

static bool fw_eq_takes(const struct fw_eq *eq, u8 type)
{
	return eq && eq->events[type / 64] & BIT_ULL(type % 64);
}

static struct fw_eq *fw_eq_for(struct fw_function *f, u8 type)
{
	int i;

	for (i = 0; i < FW_MAX_EQ; i++)
		if (fw_eq_takes(f->eq[i], type))
			return f->eq[i];
	return NULL;
}

/* Whether the function's driver has asked for events of this type. */
bool fw_event_wanted(struct fw_function *f, u8 type)
{
	return fw_eq_for(f, type);
}

static void fw_post(struct fw_function *f, struct fw_eq *eq, u8 type, const void *data, size_t len)
{
	u32 at = eq->pi & (BIT(eq->log_size) - 1);
	struct mlx5_eqe *eqe = fw_ring_at(&eq->ring, (u64)at * sizeof(*eqe));

	if (!eqe || !fw_pci_master(f->pf))
		return;
	eqe->type = type;
	eqe->sub_type = 0;
	memset(&eqe->data, 0, sizeof(eqe->data));
	memcpy(&eqe->data, data, min(len, sizeof(eqe->data)));
	smp_wmb();	/* the event before its ownership */
	WRITE_ONCE(eqe->owner, (eq->pi >> eq->log_size) & 1);
	smp_wmb();	/* and both before the interrupt */
	eq->pi++;
	fw_raise(f->pf, eq->vector);
}

/* Post an event on the queue that takes its type; without one nobody hears of it. */
void fw_event(struct fw_function *f, u8 type, const void *data, size_t len)
{
	struct fw_eq *eq = fw_eq_for(f, type);

	if (eq)
		fw_post(f, eq, type, data, len);
}

/* Post an event on the queue with that number. */
void fw_event_on(struct fw_function *f, u32 eqn, u8 type, const void *data, size_t len)
{
	if (eqn < FW_MAX_EQ && f->eq[eqn])
		fw_post(f, f->eq[eqn], type, data, len);
}

u8 fw_create_eq(struct fw_call *call)
{
	u8 *context = MLX5_ADDR_OF(create_eq_in, call->in, eq_context_entry);
	u32 log_size = MLX5_GET(eqc, context, log_eq_size);
	u32 vector = MLX5_GET(eqc, context, intr);
	struct fw_function *f = call->f;
	struct fw_eq *eq;
	int eqn, i;
	u8 status;

	if (log_size > FW_LOG_MAX_EQ_SIZE || vector >= FW_VECTORS || MLX5_GET(eqc, context, page_offset))
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	for (eqn = 1; eqn < FW_MAX_EQ && f->eq[eqn]; eqn++)
		;
	if (eqn == FW_MAX_EQ)
		return MLX5_CMD_STAT_NO_RES_ERR;
	eq = kzalloc(sizeof(*eq), GFP_KERNEL);
	if (!eq)
		return MLX5_CMD_STAT_NO_RES_ERR;
	status = fw_ring_init(&eq->ring, call, MLX5_BYTE_OFF(create_eq_in, pas), sizeof(struct mlx5_eqe) << log_size,
			      MLX5_GET(eqc, context, log_page_size) + PAGE_SHIFT);
	if (status) {
		kfree(eq);
		return status;
	}
	eq->log_size = log_size;
	eq->vector = vector;
	for (i = 0; i < ARRAY_SIZE(eq->events); i++)
		eq->events[i] = MLX5_GET64(create_eq_in, call->in, event_bitmask[i]);
	f->eq[eqn] = eq;
	MLX5_SET(create_eq_out, call->out, eq_number, eqn);
	return MLX5_CMD_STAT_OK;
}

static void fw_eq_del(struct fw_function *f, int eqn)
{
	fw_ring_free(&f->eq[eqn]->ring);
	kfree(f->eq[eqn]);
	f->eq[eqn] = NULL;
}

u8 fw_destroy_eq(struct fw_call *call)
{
	u32 eqn = MLX5_GET(destroy_eq_in, call->in, eq_number);

	if (eqn >= FW_MAX_EQ || !call->f->eq[eqn])
		return MLX5_CMD_STAT_BAD_RES_ERR;
	fw_eq_del(call->f, eqn);
	return MLX5_CMD_STAT_OK;
}

void fw_eq_free(struct fw_function *f)
{
	int eqn;

	for (eqn = 0; eqn < FW_MAX_EQ; eqn++)
		if (f->eq[eqn])
			fw_eq_del(f, eqn);
}
