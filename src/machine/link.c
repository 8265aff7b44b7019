/* SPDX-License-Identifier: Apache-2.0 */
/* Links, addresses, routes by netlink; see link.h and rtnetlink(7). */
#include "machine/link.h"

#include "base/err.h"
#include "base/netlink.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>

static size_t family_bytes(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static void put_addr(struct nlmsghdr *m, uint16_t type, const struct addr *addr)
{
	mnl_attr_put(m, type, family_bytes(addr->family), addr->bytes);
}

static struct addr get_addr(uint8_t family, const struct nlattr *attr)
{
	struct addr addr = {.family = family};

	if (mnl_attr_get_payload_len(attr) == family_bytes(family))
		memcpy(addr.bytes, mnl_attr_get_payload(attr), family_bytes(family));
	return addr;
}

static void copy_text(char *to, size_t size, const struct nlattr *attr)
{
	snprintf(to, size, "%.*s", (int)mnl_attr_get_payload_len(attr), mnl_attr_get_str(attr));
}

static int parse_link(const struct nlmsghdr *m, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);
	const struct nlattr *attr, *nested;
	struct link_info *link = arg;

	link->ifindex = info->ifi_index;
	link->flags = info->ifi_flags;
	link->peer_netns_id = -1;
	mnl_attr_for_each(attr, m, sizeof(*info))
	{
		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			copy_text(link->name, sizeof(link->name), attr);
			break;
		case IFLA_IFALIAS:
			copy_text(link->alias, sizeof(link->alias), attr);
			break;
		case IFLA_MTU:
			link->mtu_bytes = mnl_attr_get_u32(attr);
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(attr) == sizeof(link->mac))
				memcpy(link->mac, mnl_attr_get_payload(attr), sizeof(link->mac));
			break;
		case IFLA_LINK:
			link->peer_ifindex = (int)mnl_attr_get_u32(attr);
			break;
		case IFLA_LINK_NETNSID:
			link->peer_netns_id = (int32_t)mnl_attr_get_u32(attr);
			break;
		case IFLA_LINKINFO:
			mnl_attr_for_each_nested(
				nested, attr) if (mnl_attr_get_type(nested) == IFLA_INFO_KIND)
				copy_text(link->kind, sizeof(link->kind), nested);
			break;
		}
	}
	return 0;
}

int link_find(struct netlink *nl, const char *name, struct link_info *out, struct err *err)
{
	struct link_info link = {};
	void *header;
	struct nlmsghdr *m = netlink_begin(nl, RTM_GETLINK, 0, &header, sizeof(struct ifinfomsg));
	int r;

	mnl_attr_put_strz(m, IFLA_IFNAME, name);
	r = netlink_query(nl, parse_link, &link, NULL, "%s", name);
	if (r == -ENODEV)
		return 1;
	if (r < 0)
		return err_errno(err, r, "cannot look at the link %s", name);
	*out = link;
	return 0;
}

int link_add_veth(struct netlink *nl, const struct veth_spec *spec, struct err *err)
{
	struct nlattr *info, *data, *peer;
	void *header;
	struct nlmsghdr *m = netlink_begin(
		nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(struct ifinfomsg));

	mnl_attr_put_strz(m, IFLA_IFNAME, spec->name);
	mnl_attr_put(m, IFLA_ADDRESS, 6, spec->mac);
	mnl_attr_put_u32(m, IFLA_MTU, spec->mtu_bytes);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(m, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(m, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(m, IFLA_IFNAME, spec->peer_name);
	mnl_attr_put(m, IFLA_ADDRESS, 6, spec->peer_mac);
	mnl_attr_put_u32(m, IFLA_MTU, spec->mtu_bytes);
	mnl_attr_put_u32(m, IFLA_NET_NS_FD, (uint32_t)spec->peer_netns_fd);
	mnl_attr_nest_end(m, peer);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
	return netlink_ack(
		nl, err, "cannot make the veth pair %s and %s", spec->name, spec->peer_name);
}

int link_delete(struct netlink *nl, const char *name, struct err *err)
{
	void *header;
	struct nlmsghdr *m = netlink_begin(nl, RTM_DELLINK, 0, &header, sizeof(struct ifinfomsg));
	int r;

	mnl_attr_put_strz(m, IFLA_IFNAME, name);
	r = netlink_ack(nl, err, "cannot remove the link %s", name);
	return r == -ENODEV ? 0 : r;
}

int link_set(struct netlink *nl, const struct link_change *change, struct err *err)
{
	void *header;
	struct nlmsghdr *m = netlink_begin(nl, RTM_SETLINK, 0, &header, sizeof(struct ifinfomsg));
	struct ifinfomsg *info = header;

	info->ifi_index = change->ifindex;
	if (change->is_up) {
		info->ifi_flags = IFF_UP;
		info->ifi_change = IFF_UP;
	}
	if (change->mtu_bytes)
		mnl_attr_put_u32(m, IFLA_MTU, change->mtu_bytes);
	if (change->alias)
		mnl_attr_put_strz(m, IFLA_IFALIAS, change->alias);
	if (change->is_without_v6_address) {
		struct nlattr *spec = mnl_attr_nest_start(m, IFLA_AF_SPEC);
		struct nlattr *v6 = mnl_attr_nest_start(m, AF_INET6);

		mnl_attr_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
		mnl_attr_nest_end(m, v6);
		mnl_attr_nest_end(m, spec);
	}
	return netlink_ack(nl, err, "cannot configure the link %s", change->name);
}

static void begin_address(struct netlink *nl, uint16_t type, uint16_t flags, int ifindex,
	const struct addr *addr, unsigned int len_bits)
{
	void *header;
	struct nlmsghdr *m = netlink_begin(nl, type, flags, &header, sizeof(struct ifaddrmsg));
	struct ifaddrmsg *message = header;

	message->ifa_family = addr->family;
	message->ifa_prefixlen = (uint8_t)len_bits;
	message->ifa_scope = RT_SCOPE_UNIVERSE;
	message->ifa_index = (uint32_t)ifindex;
	put_addr(m, IFA_LOCAL, addr);
	put_addr(m, IFA_ADDRESS, addr);
	/* Duplicates are impossible here, and detection would keep the address unusable for 1 s. */
	if (addr->family == AF_INET6)
		mnl_attr_put_u32(m, IFA_FLAGS, IFA_F_NODAD);
}

int link_add_address(struct netlink *nl, int ifindex, const struct addr *addr,
	unsigned int len_bits, struct err *err)
{
	char text[ADDR_TEXT_LEN];
	int r;

	begin_address(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, addr, len_bits);
	r = netlink_ack(nl, err, "cannot add the address %s/%u", addr_format(addr, text), len_bits);
	return r == -EEXIST ? 0 : r;
}

int link_delete_address(struct netlink *nl, int ifindex, const struct addr *addr,
	unsigned int len_bits, struct err *err)
{
	char text[ADDR_TEXT_LEN];
	int r;

	begin_address(nl, RTM_DELADDR, 0, ifindex, addr, len_bits);
	r = netlink_ack(nl, err, "cannot remove the address %s", addr_format(addr, text));
	return r == -EADDRNOTAVAIL ? 0 : r;
}

struct address_list {
	int ifindex, count, max;
	struct addr *out;
};

static int parse_address(const struct nlmsghdr *m, void *arg)
{
	const struct ifaddrmsg *message = mnl_nlmsg_get_payload(m);
	struct address_list *list = arg;
	struct addr addr = {};
	const struct nlattr *attr;

	if ((int)message->ifa_index != list->ifindex)
		return 0;
	/* IFA_LOCAL is the address where both are given; IPv6 gives IFA_ADDRESS only. */
	mnl_attr_for_each(attr, m,
		sizeof(*message)) if (mnl_attr_get_type(attr) == IFA_LOCAL ||
				      (mnl_attr_get_type(attr) == IFA_ADDRESS && addr.family == 0))
		addr = get_addr(message->ifa_family, attr);
	if (list->count < list->max)
		list->out[list->count] = addr;
	list->count++;
	return 0;
}

int link_addresses(
	struct netlink *nl, int ifindex, uint8_t family, struct addr *out, int max, struct err *err)
{
	struct address_list list = {.ifindex = ifindex, .out = out, .max = max};
	void *header;
	int r;

	netlink_begin(nl, RTM_GETADDR, NLM_F_DUMP, &header, sizeof(struct ifaddrmsg));
	((struct ifaddrmsg *)header)->ifa_family = family;
	r = netlink_query(nl, parse_address, &list, err, "cannot list addresses");
	return r < 0 ? r : list.count;
}

int link_add_route(struct netlink *nl, const struct route_spec *route, struct err *err)
{
	char text[PREFIX_TEXT_LEN];
	void *header;
	struct nlmsghdr *m = netlink_begin(
		nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(struct rtmsg));
	struct rtmsg *message = header;

	message->rtm_family = route->to.addr.family;
	message->rtm_dst_len = route->to.len_bits;
	message->rtm_table = RT_TABLE_UNSPEC;
	message->rtm_protocol = RTPROT_STATIC;
	message->rtm_scope = route->gateway.family ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	message->rtm_type = RTN_UNICAST;
	if (route->to.len_bits)
		put_addr(m, RTA_DST, &route->to.addr);
	if (route->gateway.family)
		put_addr(m, RTA_GATEWAY, &route->gateway);
	if (route->source.family)
		put_addr(m, RTA_PREFSRC, &route->source);
	mnl_attr_put_u32(m, RTA_OIF, (uint32_t)route->ifindex);
	mnl_attr_put_u32(m, RTA_TABLE, route->table ? route->table : RT_TABLE_MAIN);
	return netlink_ack(nl, err, "cannot add the route to %s", prefix_format(&route->to, text));
}

static int parse_default(const struct nlmsghdr *m, void *arg)
{
	const struct rtmsg *message = mnl_nlmsg_get_payload(m);
	const struct nlattr *attr;
	int *ifindex = arg;

	if (message->rtm_dst_len || message->rtm_table != RT_TABLE_MAIN)
		return 0;
	/* A multipath default has no single link; -1 is nobody's index. */
	if (*ifindex == 0)
		*ifindex = -1;
	mnl_attr_for_each(
		attr, m, sizeof(*message)) if (mnl_attr_get_type(attr) == RTA_OIF) *ifindex =
		(int)mnl_attr_get_u32(attr);
	return 0;
}

int link_default_route(struct netlink *nl, int *ifindex, struct err *err)
{
	void *header;

	*ifindex = 0;
	netlink_begin(nl, RTM_GETROUTE, NLM_F_DUMP, &header, sizeof(struct rtmsg));
	((struct rtmsg *)header)->rtm_family = AF_INET;
	return netlink_query(nl, parse_default, ifindex, err, "cannot list routes");
}

int link_add_neighbour(struct netlink *nl, int ifindex, const struct addr *addr,
	const uint8_t mac[6], struct err *err)
{
	char text[ADDR_TEXT_LEN];
	void *header;
	struct nlmsghdr *m = netlink_begin(
		nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(struct ndmsg));
	struct ndmsg *message = header;

	message->ndm_family = addr->family;
	message->ndm_ifindex = ifindex;
	message->ndm_state = NUD_PERMANENT;
	put_addr(m, NDA_DST, addr);
	mnl_attr_put(m, NDA_LLADDR, 6, mac);
	return netlink_ack(nl, err, "cannot add the neighbour %s", addr_format(addr, text));
}

static void begin_rule(struct netlink *nl, uint16_t type, uint16_t flags, const struct prefix *from,
	uint32_t table)
{
	void *header;
	struct nlmsghdr *m = netlink_begin(nl, type, flags, &header, sizeof(struct fib_rule_hdr));
	struct fib_rule_hdr *rule = header;

	rule->family = from->addr.family;
	rule->src_len = from->len_bits;
	rule->action = FR_ACT_TO_TBL;
	put_addr(m, FRA_SRC, &from->addr);
	mnl_attr_put_u32(m, FRA_TABLE, table);
}

int link_add_source_rule(
	struct netlink *nl, const struct prefix *from, uint32_t table, struct err *err)
{
	int r;

	begin_rule(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, from, table);
	r = netlink_ack(nl, err, "cannot add a routing rule");
	return r == -EEXIST ? 0 : r;
}

int link_delete_source_rule(
	struct netlink *nl, const struct prefix *from, uint32_t table, struct err *err)
{
	int r;

	begin_rule(nl, RTM_DELRULE, 0, from, table);
	r = netlink_ack(nl, err, "cannot remove a routing rule");
	return r == -ENOENT ? 0 : r;
}

static int parse_netns_id(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *attr;

	mnl_attr_for_each(
		attr, m, sizeof(struct rtgenmsg)) if (mnl_attr_get_type(attr) == NETNSA_NSID) *
		(int32_t *)arg = (int32_t)mnl_attr_get_u32(attr);
	return 0;
}

static int get_netns_id(struct netlink *nl, int fd, int32_t *id, struct err *err)
{
	void *header;
	struct nlmsghdr *m = netlink_begin(nl, RTM_GETNSID, 0, &header, sizeof(struct rtgenmsg));

	*id = NETNSA_NSID_NOT_ASSIGNED;
	mnl_attr_put_u32(m, NETNSA_FD, (uint32_t)fd);
	return netlink_query(nl, parse_netns_id, id, err, "cannot read a namespace's id");
}

int link_netns_id(struct netlink *nl, int fd, bool assign, int32_t *id, struct err *err)
{
	struct nlmsghdr *m;
	void *header;
	int r = get_netns_id(nl, fd, id, err);

	if (r < 0 || *id != NETNSA_NSID_NOT_ASSIGNED || !assign)
		return r;
	m = netlink_begin(nl, RTM_NEWNSID, 0, &header, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(m, NETNSA_FD, (uint32_t)fd);
	mnl_attr_put_u32(m, NETNSA_NSID, (uint32_t)-1);
	r = netlink_ack(nl, err, "cannot give a namespace an id");
	if (r < 0 && r != -EEXIST)
		return r;
	return get_netns_id(nl, fd, id, err);
}
