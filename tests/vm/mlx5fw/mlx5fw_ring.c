// SPDX-License-Identifier: GPL-2.0
/* The driver's memory: what of it we touch, and rings in it. */
#include <linux/slab.h>

#include "mlx5fw.h"

#define FW_MAX_PAGE_SHIFT	21

/*
 * Memory by its DMA address, which is the physical one: no IOMMU translates for our buses. NULL unless all of it is RAM
 * that the kernel has given to somebody: a driver's mistake must not make us write anywhere.
 */
void *fw_memory(u64 address, size_t len)
{
	u64 pfn;

	if (!len || address + len - 1 < address)
		return NULL;
	for (pfn = address >> PAGE_SHIFT; pfn <= (address + len - 1) >> PAGE_SHIFT; pfn++)
		if (pfn > ULONG_MAX >> PAGE_SHIFT || !pfn_valid(pfn) || PageReserved(pfn_to_page(pfn)))
			return NULL;
	return phys_to_virt(address);
}

/*
 * A ring of `bytes` whose list of pages is at `offset` in the command. Returns a command status: nothing is kept unless
 * it is 0.
 */
u8 fw_ring_init(struct fw_ring *ring, const struct fw_call *call, size_t offset, u64 bytes, u32 page_shift)
{
	u64 pages, i, address;

	if (page_shift < PAGE_SHIFT || page_shift > FW_MAX_PAGE_SHIFT)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	pages = max(1ULL, DIV_ROUND_UP_ULL(bytes, 1ULL << page_shift));
	if (offset > call->inlen || pages > (call->inlen - offset) / sizeof(u64))
		return MLX5_CMD_STAT_BAD_INP_LEN_ERR;
	ring->page = kvmalloc_array(pages, sizeof(u64), GFP_KERNEL);
	if (!ring->page)
		return MLX5_CMD_STAT_NO_RES_ERR;
	for (i = 0; i < pages; i++) {
		/* The low bits are flags. */
		address = get_unaligned_be64(call->in + offset + i * sizeof(u64)) & PAGE_MASK;
		if (!fw_memory(address, 1UL << page_shift)) {
			fw_ring_free(ring);
			return MLX5_CMD_STAT_BAD_PARAM_ERR;
		}
		ring->page[i] = address;
	}
	ring->pages = pages;
	ring->page_shift = page_shift;
	return MLX5_CMD_STAT_OK;
}

void fw_ring_free(struct fw_ring *ring)
{
	kvfree(ring->page);
	ring->page = NULL;
	ring->pages = 0;
}

/* What is at `offset`: an element there must not cross a page. NULL beyond the ring. */
void *fw_ring_at(const struct fw_ring *ring, u64 offset)
{
	u64 page = offset >> ring->page_shift;

	if (page >= ring->pages)
		return NULL;
	return phys_to_virt(ring->page[page]) + (offset & ((1ULL << ring->page_shift) - 1));
}
