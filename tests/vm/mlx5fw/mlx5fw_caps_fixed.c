// SPDX-License-Identifier: GPL-2.0
/* The capabilities that are the same for all functions and never change, by their type. */
#include <linux/string.h>

#include "mlx5fw.h"

#define SET(field, value)	MLX5_SET(flow_table_prop_layout, table, field, value)

/* A flow table that can do everything: nothing passes it. */
static void fw_flow_table(u8 *table)
{
	SET(ft_support, 1);
	SET(flow_counter, 1);
	SET(flow_modify_en, 1);
	SET(modify_root, 1);
	SET(identified_miss_table_mode, 1);
	SET(flow_table_modify, 1);
	SET(reformat, 1);
	SET(decap, 1);
	SET(table_miss_action_domain, 1);	/* switchdev needs it on the RDMA receive table */
	SET(ignore_flow_level, 1);
	SET(pop_vlan, 1);
	SET(push_vlan, 1);
	SET(log_max_ft_size, 24);
	SET(log_max_modify_header_context, 10);
	SET(max_modify_header_actions, 16);
	SET(max_ft_level, 64);
	SET(log_max_ft_num, 24);
	SET(log_max_flow_counter, 20);
	SET(log_max_destination, 10);
	SET(log_max_flow, 24);
	memset(MLX5_ADDR_OF(flow_table_prop_layout, table, ft_field_support), 0xff,
	       MLX5_ST_SZ_BYTES(flow_table_fields_supported));
	memset(MLX5_ADDR_OF(flow_table_prop_layout, table, ft_field_bitmask_support), 0xff,
	       MLX5_ST_SZ_BYTES(flow_table_fields_supported));
}

#undef SET
#define SET(field, value)	MLX5_SET(flow_table_nic_cap, cap, field, value)
#define TABLE(field)		fw_flow_table(MLX5_ADDR_OF(flow_table_nic_cap, cap, field))

static void fw_nic_tables(u8 *cap)
{
	TABLE(flow_table_properties_nic_receive);
	TABLE(flow_table_properties_nic_transmit);
	TABLE(flow_table_properties_nic_receive_rdma);
	TABLE(flow_table_properties_nic_transmit_rdma);
	SET(nic_rx_multi_path_tirs, 1);
	SET(nic_rx_multi_path_tirs_fts, 1);
}

#undef SET
#undef TABLE
#define SET(field, value)	MLX5_SET(flow_table_eswitch_cap, cap, field, value)
#define TABLE(field)		fw_flow_table(MLX5_ADDR_OF(flow_table_eswitch_cap, cap, field))

static void fw_eswitch_tables(u8 *cap)
{
	TABLE(flow_table_properties_nic_esw_fdb);
	TABLE(flow_table_properties_esw_acl_ingress);
	TABLE(flow_table_properties_esw_acl_egress);
	SET(fdb_to_vport_reg_c_id, 0xff);
	SET(fdb_modify_header_fwd_to_table, 1);
	SET(flow_source, 1);
	SET(multi_fdb_encap, 1);
	SET(fdb_multi_path_to_table, 1);
	memset(MLX5_ADDR_OF(flow_table_eswitch_cap, cap, ft_field_support_2_esw_fdb), 0xff,
	       MLX5_ST_SZ_BYTES(flow_table_fields_supported_2));
}

#undef SET
#undef TABLE
#define SET(field, value)	MLX5_SET(e_switch_cap, cap, field, value)

static void fw_eswitch(u8 *cap)
{
	SET(vport_svlan_strip, 1);
	SET(vport_cvlan_strip, 1);
	SET(vport_svlan_insert, 1);
	SET(vport_cvlan_insert_if_not_exist, 1);
	SET(vport_cvlan_insert_overwrite, 1);
	SET(esw_uplink_ingress_acl, 1);
	SET(merged_eswitch, 1);
	SET(nic_vport_node_guid_modify, 1);
	SET(nic_vport_port_guid_modify, 1);
}

#undef SET
#define SET(field, value)	MLX5_SET(per_protocol_networking_offload_caps, cap, field, value)

static void fw_ethernet(u8 *cap)
{
	SET(csum_cap, 1);
	SET(vlan_cap, 1);
	SET(max_lso_cap, 18);
	SET(wqe_inline_mode, 2);
	SET(rss_ind_tbl_cap, 8);
	SET(self_lb_en_modifiable, 1);
	SET(wqe_vlan_insert, 1);
	SET(scatter_fcs, 1);
}

#undef SET
#define SET(field, value)	MLX5_SET(roce_cap, cap, field, value)

static void fw_roce(u8 *cap)
{
	SET(l3_type, 6);		/* IPv4 and IPv6: ib_register_device() warns without */
	SET(roce_version, 5);		/* 1 and 2 */
	SET(r_roce_dest_udp_port, 4791);
	SET(r_roce_min_src_udp_port, 0xc000);
	SET(r_roce_max_src_udp_port, 0xffff);
	SET(roce_address_table_size, 64);
}

#undef SET
#define SET(field, value)	MLX5_SET(qos_cap, cap, field, value)

static void fw_qos(u8 *cap)
{
	SET(esw_scheduling, 1);
	SET(esw_bw_share, 1);
	SET(esw_rate_limit, 1);
	SET(log_esw_max_sched_depth, 3);
	SET(esw_element_type, 0xf);
	SET(esw_tsar_type, 0x7);
	SET(max_tsar_bw_share, 100);
}

#undef SET
#define SET(field, value)	MLX5_SET(virtio_emulation_cap, cap, field, value)

static void fw_virtio(u8 *cap)
{
	SET(eth_frame_offload_type, 1);
	SET(virtio_version_1_0, 1);
	SET(device_features_bits_mask, 0x1fff);
	SET(event_mode, MLX5_VIRTIO_Q_EVENT_MODE_QP_MODE);
	SET(virtio_queue_type, 1);	/* split */
	SET(max_num_virtio_queues, 256);
	SET(freeze_to_rdy_supported, 1);
	SET(umem_1_buffer_param_a, 4);
	SET(umem_1_buffer_param_b, 4096);
	SET(umem_2_buffer_param_a, 4);
	SET(umem_2_buffer_param_b, 4096);
	SET(umem_3_buffer_param_a, 4);
	SET(umem_3_buffer_param_b, 4096);
}

#undef SET

/* Fill in a type; one that is not here has no capability. */
void fw_caps_fixed(u16 type, u8 *cap)
{
	switch (type) {
	case MLX5_CAP_ETHERNET_OFFLOADS:
		fw_ethernet(cap);
		break;
	case MLX5_CAP_ROCE:
		fw_roce(cap);
		break;
	case MLX5_CAP_FLOW_TABLE:
		fw_nic_tables(cap);
		break;
	case MLX5_CAP_ESWITCH_FLOW_TABLE:
		fw_eswitch_tables(cap);
		break;
	case MLX5_CAP_ESWITCH:
		fw_eswitch(cap);
		break;
	case MLX5_CAP_QOS:
		fw_qos(cap);
		break;
	case MLX5_CAP_VDPA_EMULATION:
		fw_virtio(cap);
		break;
	}
}
