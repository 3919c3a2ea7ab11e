/* virtio-net-pci: the network card on a PCI bus. */
#include "hw/virtio/virtio_pci.h"

#include "qapi/qapi_types.h"

#define FORWARD VIRTIO_PCI_FORWARD

static const struct virtio_pci_kind net_kind = {"virtio-net-device", VIRTIO_PCI_VECTORS_BY_QUEUES};
static const struct pci_class net_class = VIRTIO_PCI_CLASS(0x1000, 0x0200, net_kind);

static const struct property properties[] = {
    FORWARD("mac", qapi_type_str, "Ethernet address, as 52:54:00:12:34:56"),
    FORWARD("netdev", qapi_type_str, "The netdev that it is on"),
    FORWARD("csum", qapi_type_bool, "The driver may leave checksums to the device"),
    FORWARD("guest_csum", qapi_type_bool, "The device may leave checksums to the driver"),
    FORWARD("gso", qapi_type_bool, "The driver may send what the device makes segments of"),
    FORWARD("guest_tso4", qapi_type_bool, "The driver gets large TCP segments over IPv4"),
    FORWARD("guest_tso6", qapi_type_bool, "The driver gets large TCP segments over IPv6"),
    FORWARD("guest_ecn", qapi_type_bool, "... also with ECN"),
    FORWARD("host_tso4", qapi_type_bool, "The driver sends large TCP segments over IPv4"),
    FORWARD("host_tso6", qapi_type_bool, "The driver sends large TCP segments over IPv6"),
    FORWARD("host_ecn", qapi_type_bool, "... also with ECN"),
    FORWARD("mrg_rxbuf", qapi_type_bool, "A packet may go to several of the driver's buffers"),
    FORWARD("status", qapi_type_bool, "The driver sees whether the link is up"),
    FORWARD("ctrl_vq", qapi_type_bool, "There is a control queue"),
    FORWARD("ctrl_rx", qapi_type_bool, "The driver chooses which packets it gets"),
    FORWARD("ctrl_vlan", qapi_type_bool, "... by VLAN"),
    FORWARD("ctrl_rx_extra", qapi_type_bool, "... in more ways"),
    FORWARD("ctrl_mac_addr", qapi_type_bool, "The driver can set its address"),
    FORWARD("ctrl_guest_offloads", qapi_type_bool,
            "The driver can switch what it leaves to the device"),
    FORWARD("guest_announce", qapi_type_bool,
            "The driver announces itself to the network after a migration"),
    FORWARD("mq", qapi_type_bool, "A pair of queues for each queue of the netdev"),
    FORWARD("rx_queue_size", qapi_type_uint16, "Entries of receive queues"),
    FORWARD("tx_queue_size", qapi_type_uint16, "Entries of transmit queues"),
    FORWARD("host_mtu", qapi_type_uint16, "MTU that the driver is told; 0: none"),
    FORWARD("bootindex", qapi_type_int32,
            "Its place in the order that firmware boots from; -1: none"),
    FORWARD("speed", qapi_type_int32, "Mbit/s that the driver is told; -1: none"),
    FORWARD("duplex", qapi_type_str, "What the driver is told: half or full"),
};

static const struct object_type net_type = {
    .name = "virtio-net-pci",
    .parent = "virtio-pci",
    .category = "Network",
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &net_class,
};
OBJECT_TYPE(net_type);
