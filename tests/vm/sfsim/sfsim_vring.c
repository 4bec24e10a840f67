// SPDX-License-Identifier: GPL-2.0
/*
 * The device's side of a split virtqueue, as far as virtio_net needs it to come up and go down: its control requests
 * are granted, and what it transmits is swallowed. Only for rings in the kernel's memory, addressed physically.
 */
#include <uapi/linux/virtio_net.h>
#include <uapi/linux/virtio_ring.h>
#include <linux/io.h>

#include "sfsim_vring.h"

/* The last of a chain; a chain cannot be longer than its ring. */
static struct vring_desc *sfsim_vring_last(struct sfsim_vring *ring, u16 head)
{
	struct vring_desc *table = phys_to_virt(ring->desc);
	u32 left = ring->num;

	while (--left && (le16_to_cpu((__force __le16)table[head].flags) & VRING_DESC_F_NEXT))
		head = le16_to_cpu((__force __le16)table[head].next) % ring->num;
	return &table[head];
}

/* Takes every chain there is; @grant: its last byte becomes the answer to a control request. */
static void sfsim_vring_take(struct sfsim_vring *ring, bool grant)
{
	struct vring_avail *avail = phys_to_virt(ring->avail);
	struct vring_used *used = phys_to_virt(ring->used);
	u16 done = le16_to_cpu((__force __le16)used->idx);
	bool any = false;

	while (ring->next != le16_to_cpu((__force __le16)READ_ONCE(avail->idx))) {
		u16 head;

		virt_rmb();
		head = le16_to_cpu((__force __le16)avail->ring[ring->next % ring->num]) % ring->num;
		if (grant) {
			struct vring_desc *last = sfsim_vring_last(ring, head);

			*(u8 *)phys_to_virt(le64_to_cpu((__force __le64)last->addr)) = VIRTIO_NET_OK;
		}
		used->ring[done % ring->num].id = (__force __virtio32)cpu_to_le32(head);
		used->ring[done % ring->num].len = (__force __virtio32)cpu_to_le32(grant);
		ring->next++;
		done++;
		any = true;
	}
	if (!any)
		return;
	virt_wmb();
	WRITE_ONCE(used->idx, (__force __virtio16)cpu_to_le16(done));
	virt_mb();
	if (ring->callback.callback && !(le16_to_cpu((__force __le16)avail->flags) & VRING_AVAIL_F_NO_INTERRUPT))
		ring->callback.callback(ring->callback.private);
}

void sfsim_vring_acknowledge(struct sfsim_vring *ring)
{
	sfsim_vring_take(ring, true);
}

void sfsim_vring_swallow(struct sfsim_vring *ring)
{
	sfsim_vring_take(ring, false);
}
