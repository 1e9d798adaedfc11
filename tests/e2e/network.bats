# SPDX-License-Identifier: Apache-2.0
# The interfaces of a network namespace become those of the container: the namespace pod is joined to the tests' own
# by h0 (eth0 in there) and h1 (net1), as an engine's network plugin does it.

load helper

make_pod() {
	[ "${CAISSON_E2E_ISOLATED:-}" = 1 ] || skip "needs tests/e2e/in-namespaces"
	ip netns add pod
	ip -n pod link set lo up
	ip link add h0 mtu 1400 type veth peer name eth0 mtu 1400 address 02:00:00:00:01:02 netns pod 2>/dev/null ||
		skip "this kernel has no veth"
	ip link add h1 type veth peer name net1 address 02:00:00:00:06:02 netns pod
	ip -n pod tuntap add probe mode tap 2>/dev/null || skip "this kernel has no tap devices"
	ip -n pod link del probe
	ip address add 10.1.1.1/24 dev h0
	ip address add fd01::1/64 dev h0 nodad
	ip address add 10.6.0.1/24 dev h1
	ip link set h0 up
	ip link set h1 up
	ip -n pod address add 10.1.1.2/24 dev eth0
	ip -n pod address add fd01::2/64 dev eth0 nodad
	ip -n pod address add 10.6.0.2/24 dev net1
	ip -n pod link set eth0 up
	ip -n pod link set net1 up
	ip -n pod route add default via 10.1.1.1
	ip -n pod route add default via fd01::1
	ip -n pod route add 10.7.0.0/16 via 10.6.0.1
	ip -n pod neighbour add 10.1.1.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent
}

remove_pod() {
	ip netns del pod
	ip link del h0
	ip link del h1
	ip link del h2
	ip netns del client
	umount /run/netns # a mount since the first one
	nft delete table ip e2e
} 2>/dev/null

# The leak check comes after it.
eval "$(declare -f teardown | sed '1s/teardown/helper_teardown/')"
teardown() {
	remove_pod || :
	helper_teardown
}

# Everything about the pod's interfaces that a VM could leave changed. Addresses come back in their time.
pod_listing() {
	{
		ip -n pod -d link
		ip -n pod address
		{ ip -n pod route; ip -n pod -6 route; } | sort
		tc -n pod qdisc
		tc -n pod filter show dev eth0 ingress
	} | sed 's/ tentative//'
}

serve_here() {
	mkdir -p "$BATS_TEST_TMPDIR/www"
	echo "from the host" >"$BATS_TEST_TMPDIR/www/index.html"
	busybox httpd -f -p 8000 -h "$BATS_TEST_TMPDIR/www" 3>&- &
}

# fetch WORDS ADDRESS [CMD…]: has the page there these words? CMD in front of the client, for another namespace.
fetch() {
	local words=$1 address=$2
	shift 2
	[ "$(timeout -k 1 10 "$@" socat -t 8 - "$address" <<<$'GET /index.html HTTP/1.0\r\n\r' | tail -n 1)" = "$words" ]
}

# bats test_tags=lab:network
@test "a network namespace: interfaces, addresses, routes, neighbours, MTU, pings" {
	make_pod
	local before
	before=$(pod_listing)
	vm --net netns:pod -- /bin/sh -c '
		ip -o link | sed "s/.*: \([a-z0-9]*\): .*mtu \([0-9]*\) .*ether \([^ ]*\) .*/link \1 \2 \3/"
		ip -o address | sed -n "s/^[0-9]*: \([a-z0-9]*\) *inet6* \([^ ]*\).*/address \1 \2/p"
		ip route; ip -6 route; ip neigh
		ping -c 1 -W 10 10.1.1.1 >/dev/null && echo "v4 answers"
		ping -c 1 -W 10 fd01::1 >/dev/null && echo "v6 answers"
		ping -c 1 -W 10 10.6.0.1 >/dev/null && echo "net1 answers"
		ping -c 1 -W 10 -s 1372 10.1.1.1 >/dev/null && echo "a whole MTU answers"'
	expect_status 0
	expect_line 'link eth0 1400 02:00:00:00:01:02'
	expect_line 'link net1 1500 02:00:00:00:06:02'
	expect_line 'address eth0 10.1.1.2/24'
	expect_line 'address eth0 fd01::2/64'
	expect_line 'address net1 10.6.0.2/24'
	expect_match '^default via 10.1.1.1 dev eth0'
	expect_match '^default via fd01::1 dev eth0'
	expect_match '^10.7.0.0/16 via 10.6.0.1 dev net1'
	expect_match '^10.1.1.77 dev eth0 lladdr 02:00:00:00:00:77 .*PERMANENT'
	expect_line 'v4 answers'
	expect_line 'v6 answers'
	expect_line 'net1 answers'
	expect_line 'a whole MTU answers'
	diff <(echo "$before") <(pod_listing)
}

# bats test_tags=lab:network
@test "a network namespace: TCP both ways, a published port" {
	make_pod
	serve_here
	vm_bg --net netns:pod -- /bin/sh -c \
		'mkdir -p /www && echo served >/www/index.html && httpd -p 80 -h /www && echo ready && sleep 600'
	wait_for 120 fetch served TCP4:10.1.1.2:80
	wait_for 120 fetch served 'TCP6:[fd01::2]:80'
	wait_for 120 fetch served TCP4:10.6.0.2:80
	run --separate-stderr caisson exec "$NAME" /bin/sh -c 'wget -q -O - http://10.1.1.1:8000/; wget -q -O - http://[fd01::1]:8000/'
	expect_output $'from the host\nfrom the host'
	# a port of the host, as engines publish them: from elsewhere, by address translation
	ip netns add client
	ip link add c0 type veth peer name eth0 netns client
	ip address add 10.3.0.1/24 dev c0
	ip link set c0 up
	ip -n client address add 10.3.0.2/24 dev eth0
	ip -n client link set eth0 up
	if nft -f - <<<'table ip e2e { chain pre { type nat hook prerouting priority -100; tcp dport 8080 dnat to 10.1.1.2:80; }; }'; then
		ip -n client route add default via 10.3.0.1
		sysctl -q -w net.ipv4.ip_forward=1
		wait_for 120 fetch served TCP4:10.3.0.1:8080 nsenter --net=/run/netns/client
	else
		echo "# no address translation in this kernel" >&3
	fi
	caisson kill "$NAME" KILL
	vm_wait
	[ "${vm_status:-}" = 137 ]
	[ -z "$(tc -n pod filter show dev eth0 ingress 2>/dev/null)" ]
}

# join_pod NAME IN_POD MAC MTU ADDRESS GUEST_ADDRESS: one more interface, as `docker network connect` brings it.
join_pod() {
	ip link add "$1" mtu "$4" type veth peer name "$2" mtu "$4" address "$3" netns pod
	ip address add "$5" dev "$1"
	ip link set "$1" up
	ip -n pod address add "$6" dev "$2"
	ip -n pod link set "$2" up
}

# in_guest CMD…: in the container, quietly.
in_guest() {
	caisson exec "$NAME" "$@" >/dev/null 2>&1
}

# no_link NAME: the guest has none of this name.
no_link() {
	in_guest /bin/sh -c "! ip link show $1"
}

# no_card MAC
no_card() {
	in_guest /bin/sh -c "! grep -q $1 /sys/class/net/*/address"
}

# has_address ADDRESS: one of the guest's.
has_address() {
	in_guest /bin/sh -c "ip -o address | grep -q ' $1 '"
}

# bats test_tags=lab:network
@test "a network namespace: interfaces and addresses come and go while it runs" {
	needs_capability net_hotplug
	make_pod
	# a container of its own has no room for devices otherwise
	printf '[hypervisor.%s]\ndefault_bridges = 1\n' "$DRIVER" >"$BATS_TEST_TMPDIR/config.toml"
	vm_bg --config "$BATS_TEST_TMPDIR/config.toml" --net netns:pod -- /bin/sh -c 'echo ready && sleep 600'
	for _ in 1 2; do
		# twice with the same MAC, as an engine gives it to whoever gets the same address
		join_pod h2 net2 02:00:00:00:08:02 1500 10.8.0.1/24 10.8.0.2/24
		wait_for 60 in_guest ping -I net2 -c 1 -W 2 10.8.0.1
		[ -n "$(tc -n pod filter show dev net2 ingress)" ]
		ip link del h2
		wait_for 60 no_card 02:00:00:00:08:02
		wait_for 60 eval '! ip -n pod link show tap2_caisson'
	done
	in_guest ping -I net1 -c 1 -W 10 10.6.0.1
	# on one that is there
	ip -n pod address add 10.1.1.9/24 dev eth0
	ip -n pod route add 10.9.0.0/16 via 10.1.1.1
	wait_for 60 has_address 10.1.1.9/24
	wait_for 60 in_guest /bin/sh -c 'ip route | grep "^10.9.0.0/16 via 10.1.1.1 dev eth0"'
	in_guest /bin/sh -c 'ip route | grep "^default via 10.1.1.1 dev eth0"'
	in_guest ping -c 1 -W 10 10.1.1.1
	ip -n pod address del 10.1.1.9/24 dev eth0
	wait_for 60 eval '! has_address 10.1.1.9/24'
	# one that was there at the start: whether the card goes is the hypervisor's affair
	ip link del h0
	wait_for 60 no_link eth0
	join_pod h0 eth0 02:00:00:00:01:02 1400 10.1.1.1/24 10.1.1.4/24
	wait_for 60 in_guest ping -I eth0 -c 1 -W 2 10.1.1.1
	has_address 10.1.1.4/24
	in_guest ping -I net1 -c 1 -W 10 10.6.0.1
	caisson kill "$NAME" KILL
	vm_wait
	[ "${vm_status:-}" = 137 ]
	[ -z "$(tc -n pod filter show dev eth0 ingress 2>/dev/null)" ]
	[ "$(ip -n pod -o link | grep -c _caisson)" = 0 ]
}

@test "a network namespace: by macvtap" {
	make_pod
	ip -n pod link add link eth0 name probe type macvtap 2>/dev/null || skip "this kernel has no macvtap"
	ip -n pod link del probe
	needs_capability tap_fds
	local before
	before=$(pod_listing)
	printf '[runtime]\ninternetworking_model = "macvtap"\n' >"$BATS_TEST_TMPDIR/config.toml"
	vm --config "$BATS_TEST_TMPDIR/config.toml" --net netns:pod -- /bin/sh -c '
		cat /sys/class/net/eth0/address
		ping -c 1 -W 10 10.1.1.1 >/dev/null && echo "v4 answers"
		ping -c 1 -W 10 fd01::1 >/dev/null && echo "v6 answers"
		ping -c 1 -W 10 10.6.0.1 >/dev/null && echo "net1 answers"'
	expect_status 0
	expect_line 02:00:00:00:01:02
	expect_line 'v4 answers'
	expect_line 'v6 answers'
	expect_line 'net1 answers'
	diff <(echo "$before") <(pod_listing)
}

@test "a network namespace: what stands in the way is told, and nothing is changed" {
	make_pod
	local before
	before=$(pod_listing)
	vm --net netns:pod --dry-run -- /bin/true
	expect_status 0
	expect_match 'tie eth0 of /run/netns/pod to the VM by tap0_caisson'
	expect_match 'interface net1 02:00:00:00:06:02 mtu 1500 10.6.0.2/24'
	vm --net netns:nowhere -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr '/run/netns/nowhere'
	vm --net netns:/dev/null -- /bin/true
	expect_status 125
	expect_stderr '/dev/null is not a network namespace'
	vm --net netns:/proc/self/ns/net -- /bin/true
	expect_status 125
	expect_stderr 'network namespace of this process'
	vm --net netns:pod --publish 8080:80 -- /bin/true
	expect_status 125
	expect_stderr '--publish works with --net user only'
	tc -n pod qdisc add dev net1 ingress
	before=$(pod_listing)
	vm --net netns:pod -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr 'net1 has an ingress queueing discipline already'
	diff <(echo "$before") <(pod_listing)
}
