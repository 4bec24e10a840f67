// SPDX-License-Identifier: GPL-2.0
/*
 * The card's vital product data (PCI Local Bus 3.0, appendix I): its serial numbers. Linux 7.2 and later make a devlink
 * instance without a device for all functions that have the same one.
 */
#include "mlx5fw.h"

#define FW_NAME		"mlx5fw"
#define FW_END		0x78

static u8 *keyword(u8 *at, const char *name, const char *text)
{
	u8 length = strlen(text);

	*at++ = name[0];
	*at++ = name[1];
	*at++ = length;
	memcpy(at, text, length);
	return at + length;
}

/* Begin a resource whose length takes two bytes. */
static u8 *large(u8 *at, u8 type, u16 length)
{
	*at++ = type;
	put_unaligned_le16(length, at);
	return at + 2;
}

void fw_vpd_init(struct fw_pf *pf)
{
	u8 *at = pf->vpd, *fields, sum = 0;
	char serial[2 * FW_SERIAL];
	int i;

	at = large(at, PCI_VPD_LRDT_ID_STRING, strlen(FW_NAME));
	memcpy(at, FW_NAME, strlen(FW_NAME));
	at += strlen(FW_NAME);
	fields = large(at, PCI_VPD_LRDT_RO_DATA, 0);
	snprintf(serial, sizeof(serial), "FW%010d", pf->card->bus);
	at = keyword(fields, "SN", serial);
	snprintf(serial, sizeof(serial), "%032x", pf->card->bus);
	at = keyword(at, "V3", serial);
	/* All bytes from the first to this one add up to zero. */
	*at++ = 'R';
	*at++ = 'V';
	*at++ = 1;
	put_unaligned_le16(at + 1 - fields, fields - 2);
	for (i = 0; i < at - pf->vpd; i++)
		sum += pf->vpd[i];
	*at++ = -sum;
	*at++ = FW_END;
}

/* The driver has written which four bytes it wants. */
void fw_vpd_read(struct fw_pf *pf, u8 *capability)
{
	u16 at = get_unaligned_le16(capability + PCI_VPD_ADDR) & PCI_VPD_ADDR_MASK;

	memset(capability + PCI_VPD_DATA, 0, 4);
	if (at + 4 <= sizeof(pf->vpd))
		memcpy(capability + PCI_VPD_DATA, pf->vpd + at, 4);
	put_unaligned_le16(at | PCI_VPD_ADDR_F, capability + PCI_VPD_ADDR);
}
