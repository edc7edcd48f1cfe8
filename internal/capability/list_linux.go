package capability

// List is what labs use of the kernel. A new capability is added here and nowhere else.
func List() []Capability {
	return []Capability{
		{
			Name: "links", Required: true,
			Needed: "every lab: networks are bridges, and links are veth pairs",
			Remedy: modules("bridge veth", "CONFIG_BRIDGE and CONFIG_VETH"),
			try:    links,
		},
		{
			Name:   "nftables",
			Needed: "firewall, nat, toxics at either",
			Remedy: modules("nf_tables nft_ct nft_reject_inet", "CONFIG_NF_TABLES, CONFIG_NF_TABLES_IPV4, CONFIG_NFT_CT and CONFIG_NFT_REJECT"),
			try:    rules,
		},
		{
			Name:   "masquerade",
			Needed: "nat",
			Remedy: modules("nft_masq nft_chain_nat", "CONFIG_NFT_NAT and CONFIG_NFT_MASQ"),
			try:    masquerade,
		},
		{
			Name:   "conntrack sysctls",
			Needed: "nat and firewall: idle_timeout in seconds of their own",
			Remedy: modules("nf_conntrack", "CONFIG_NF_CONNTRACK_PROCFS; /proc/sys has to be writable, which in a container it often is not"),
			try:    sysctls,
		},
		{
			Name:   "conntrack netlink",
			Needed: "nat and firewall: which mappings there are, and when they expire",
			Remedy: modules("nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK and CONFIG_NF_CONNTRACK_EVENTS"),
			try:    connections,
		},
		{
			Name:   "nflog",
			Needed: "firewall and nat: packets that they drop are told of",
			Remedy: modules("nfnetlink_log nft_log", "CONFIG_NETFILTER_NETLINK_LOG and CONFIG_NFT_LOG"),
			try:    packetLog,
		},
		{
			Name:   "tproxy and socket match",
			Needed: "toxics and inspection at a firewall or a nat",
			Remedy: modules("nft_tproxy nft_socket", "CONFIG_NFT_TPROXY and CONFIG_NFT_SOCKET"),
			try:    interception,
		},
		{
			Name:   "TCP_REPAIR",
			Needed: "toxics at a firewall or a nat reach connections that are open already",
			Remedy: "run a kernel with CONFIG_CHECKPOINT_RESTORE",
			try:    repair,
		},
		{
			Name:   "packet queue",
			Needed: "conditions of networks: delay, jitter, loss, reorder, duplicate, rate",
			Remedy: modules("nfnetlink_queue nft_queue", "CONFIG_NETFILTER_NETLINK_QUEUE and CONFIG_NFT_QUEUE"),
			try:    queue,
		},
		{
			Name:   "mirred",
			Needed: "packets that arrive twice (duplicate)",
			Remedy: modules("sch_ingress cls_u32 act_mirred", "CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED"),
			try:    duplicates,
		},
		{
			Name:   "/proc of its own",
			Needed: "programs in nodes that look themselves up; without it they see the host's processes",
			Remedy: "outside of a container it works; in one, /proc must not be covered (Docker: --security-opt systempaths=unconfined)",
			try:    proc,
		},
		{
			Name:   "TUN",
			Needed: "tunnels of your own (OpenVPN, WireGuard in user space) in exec and command; wslab's kinds do without",
			Remedy: "let this user open /dev/net/tun (sudo chmod 666 /dev/net/tun); where there is none, " + modules("tun", "CONFIG_TUN"),
			try:    tun,
		},
		{
			Name:   "netem",
			Needed: "tc netem of your own in exec; wslab's toxics do without",
			Remedy: modules("sch_netem", "CONFIG_NET_SCH_NETEM"),
			try:    netem,
		},
		{
			Name:   "tbf and htb",
			Needed: "tc tbf and htb of your own in exec; wslab's toxics do without",
			Remedy: modules("sch_tbf sch_htb", "CONFIG_NET_SCH_TBF and CONFIG_NET_SCH_HTB"),
			try:    shaping,
		},
	}
}
