/* netdev user: its options, and what is taken if they aren't given. */
#include <string.h>

#include "net/user.h"

enum { MAX_NAME = 255, MIN_BITS = 4, MAX_BITS6 = 126 };

static bool parse4(const char *text, struct in_addr *address)
{
    return inet_aton(text, address) != 0;
}

static bool in_network(struct in_addr address, const SlirpConfig *c)
{
    return (address.s_addr & c->vnetmask.s_addr) == c->vnetwork.s_addr;
}

/* The network's address with these low bits, as far as its mask leaves room. */
static struct in_addr host_of(const SlirpConfig *c, uint32_t low)
{
    return (struct in_addr){c->vnetwork.s_addr | (htonl(low) & ~c->vnetmask.s_addr)};
}

/* The mask of a network that is given without: private and class-based ones. */
static uint32_t usual_mask(uint32_t address)
{
    static const struct {
        uint32_t bits, value, mask;
    } rows[] = {
        {0x80000000, 0x00000000, 0xff000000},
        {0xfff00000, 0xac100000, 0xfff00000},
        {0xc0000000, 0x80000000, 0xffff0000},
        {0xffff0000, 0xc0a80000, 0xffff0000},
        {0xffff0000, 0xc6120000, 0xfffe0000},
        {0xe0000000, 0xc0000000, 0xffffff00},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if ((address & rows[i].bits) == rows[i].value) {
            return rows[i].mask;
        }
    }
    return 0xfffffff0;
}

static bool parse_network(SlirpConfig *c, const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    struct in_addr mask;
    guint64 bits;

    if (!parts[0] || !parse4(parts[0], &c->vnetwork)) {
        return net_error(error, "Failed to parse netmask");
    }
    if (!parts[1]) {
        mask.s_addr = htonl(usual_mask(ntohl(c->vnetwork.s_addr)));
    } else if (g_ascii_string_to_unsigned(parts[1], 10, 0, UINT32_MAX, &bits, NULL)) {
        if (bits < MIN_BITS || bits > 32) {
            return net_error(error, "Invalid netmask provided (must be in range %d-32)", MIN_BITS);
        }
        mask.s_addr = htonl((uint32_t)(UINT64_MAX << (32 - bits)));
    } else if (!parse4(parts[1], &mask)) {
        return net_error(error, "Failed to parse netmask (neither address nor number of bits)");
    }
    c->vnetmask = mask;
    c->vnetwork.s_addr &= mask.s_addr;
    return true;
}

static bool set_ipv4(SlirpConfig *c, const struct qapi_netdev_user_options *o, GError **error)
{
    g_autofree char *old = o->ip ? g_strdup_printf("%s/24", o->ip) : NULL;

    if (!c->in_enabled && (o->net || o->ip || o->host || o->dns)) {
        return net_error(error, "IPv4 disabled but netmask/host/dns provided");
    }
    if (!parse_network(c, o->net ? o->net : old ? old : "10.0.2.0/24", error)) {
        return false;
    }
    c->vhost = host_of(c, 0x0202);
    c->vdhcp_start = host_of(c, 0x020f);
    c->vnameserver = host_of(c, 0x0203);
    if (o->host && !parse4(o->host, &c->vhost)) {
        return net_error(error, "Failed to parse host");
    }
    if (!in_network(c->vhost, c)) {
        return net_error(error, "Host doesn't belong to network");
    }
    if (o->dns && !parse4(o->dns, &c->vnameserver)) {
        return net_error(error, "Failed to parse DNS");
    }
    if (c->restricted && !in_network(c->vnameserver, c)) {
        return net_error(error, "DNS doesn't belong to network");
    }
    if (c->vnameserver.s_addr == c->vhost.s_addr) {
        return net_error(error, "DNS must be different from host");
    }
    if (o->dhcpstart && !parse4(o->dhcpstart, &c->vdhcp_start)) {
        return net_error(error, "Failed to parse DHCP start address");
    }
    if (!in_network(c->vdhcp_start, c)) {
        return net_error(error, "DHCP doesn't belong to network");
    }
    if (c->vdhcp_start.s_addr == c->vhost.s_addr ||
        c->vdhcp_start.s_addr == c->vnameserver.s_addr) {
        return net_error(error, "DHCP must be different from host and DNS");
    }
    return true;
}

static bool in_prefix(const struct in6_addr *address, const SlirpConfig *c)
{
    unsigned bytes = c->vprefix_len / 8, bits = c->vprefix_len % 8;
    uint8_t mask = (uint8_t)(0xff00 >> bits);

    return memcmp(address, &c->vprefix_addr6, bytes) == 0 &&
           (bits == 0 || (address->s6_addr[bytes] & mask) ==
                             (c->vprefix_addr6.s6_addr[bytes] & mask));
}

static bool set_ipv6(SlirpConfig *c, const struct qapi_netdev_user_options *o, GError **error)
{
    if (!c->in6_enabled && (o->ipv6_prefix || o->ipv6_host || o->ipv6_dns)) {
        return net_error(error, "IPv6 disabled but prefix/host6/dns6 provided");
    }
    if (inet_pton(AF_INET6, o->ipv6_prefix ? o->ipv6_prefix : "fec0::", &c->vprefix_addr6) != 1) {
        return net_error(error, "Failed to parse IPv6 prefix");
    }
    if (o->has_ipv6_prefixlen && (o->ipv6_prefixlen < 0 || o->ipv6_prefixlen > MAX_BITS6)) {
        return net_error(error, "Invalid IPv6 prefix provided (IPv6 prefix length must be between "
                         "0 and %d)", MAX_BITS6);
    }
    c->vprefix_len = o->has_ipv6_prefixlen ? (uint8_t)o->ipv6_prefixlen : 64;
    c->vhost6 = c->vnameserver6 = c->vprefix_addr6;
    c->vhost6.s6_addr[15] |= 2;
    c->vnameserver6.s6_addr[15] |= 3;
    if (o->ipv6_host && inet_pton(AF_INET6, o->ipv6_host, &c->vhost6) != 1) {
        return net_error(error, "Failed to parse IPv6 host");
    }
    if (!in_prefix(&c->vhost6, c)) {
        return net_error(error, "IPv6 Host doesn't belong to network");
    }
    if (o->ipv6_dns && inet_pton(AF_INET6, o->ipv6_dns, &c->vnameserver6) != 1) {
        return net_error(error, "Failed to parse IPv6 DNS");
    }
    if (c->restricted && !in_prefix(&c->vnameserver6, c)) {
        return net_error(error, "IPv6 DNS doesn't belong to network");
    }
    return true;
}

static bool check_names(const struct qapi_netdev_user_options *o, GError **error)
{
    const struct {
        const char *name, *value;
    } rows[] = {
        {"domainname", o->domainname},
        {"hostname", o->hostname},
        {"tftp-server-name", o->tftp_server_name},
    };

    if (o->domainname && !*o->domainname) {
        return net_error(error, "'domainname' parameter cannot be empty");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].value && strlen(rows[i].value) > MAX_NAME) {
            return net_error(error, "'%s' parameter cannot exceed %d bytes", rows[i].name,
                             MAX_NAME);
        }
    }
    if (o->smb || o->smbserver) {
        return net_error(error, "shared folders by SMB are not built in Nandu " NANDU_VERSION
                         "; run a server on the host, or use tftp=");
    }
    return true;
}

static void set_names(struct user_config *config, const struct qapi_netdev_user_options *o)
{
    SlirpConfig *c = &config->slirp;

    c->vhostname = o->hostname;
    c->tftp_server_name = o->tftp_server_name;
    c->tftp_path = o->tftp;
    c->bootfile = o->bootfile;
    c->vdomainname = o->domainname;
    if (o->dnssearch.n) {
        config->dnssearch = g_ptr_array_new();
        for (size_t i = 0; i < o->dnssearch.n; i++) {
            g_ptr_array_add(config->dnssearch, o->dnssearch.v[i].str);
        }
        g_ptr_array_add(config->dnssearch, NULL);
        c->vdnssearch = (const char **)config->dnssearch->pdata;
    }
}

bool user_config_init(struct user_config *config, const struct qapi_netdev_user_options *o,
                      GError **error)
{
    SlirpConfig *c = &config->slirp;

    /* Asking for one of them alone is refusing the other. */
    *config = (struct user_config){.slirp = {
        .version = 4,
        .restricted = o->has_restrict && o->restrict_,
        .in_enabled = o->has_ipv4 ? o->ipv4 : !(o->has_ipv6 && o->ipv6),
        .in6_enabled = o->has_ipv6 ? o->ipv6 : !(o->has_ipv4 && o->ipv4),
    }};
    if (!c->in_enabled && !c->in6_enabled) {
        return net_error(error, "IPv4 and IPv6 disabled");
    }
    set_names(config, o);
    return check_names(o, error) && set_ipv4(c, o, error) && set_ipv6(c, o, error);
}

void user_config_clear(struct user_config *config)
{
    g_clear_pointer(&config->dnssearch, g_ptr_array_unref);
}
