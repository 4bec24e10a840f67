/* SPDX-License-Identifier: GPL-2.0 */
/* The device's side of a split virtqueue in the kernel's own memory. */
#ifndef SFSIM_VRING_H
#define SFSIM_VRING_H

#include <linux/vdpa.h>

/* Addresses as the driver gave them; @next: the entry of the available ring to be taken next. */
struct sfsim_vring {
	u64 desc;
	u64 avail;
	u64 used;
	u32 num;
	u16 next;
	bool ready;
	struct vdpa_callback callback;
};

void sfsim_vring_acknowledge(struct sfsim_vring *ring);
void sfsim_vring_swallow(struct sfsim_vring *ring);

#endif
