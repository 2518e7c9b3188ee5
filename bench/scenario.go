package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dnode-engine/dnode/client/load"
)

// The levels of reads, as both systems know them.
const (
	linearizable = "linearizable"
	lease        = "lease" // dnode only
	stale        = "stale" // etcd: serializable
)

// scenario is one load. Zero fields have the defaults of the run.
type scenario struct {
	name  string
	group string
	about string

	op       load.Op
	level    string // of reads; empty: linearizable
	conns    int
	clients  int
	value    int // bytes
	keys     int
	nodes    int
	total    int64   // operations, instead of a time
	peak     float64 // open loop at this part of what a closed loop reaches; zero: closed
	oneCore  bool    // each node is confined to one core
	onlyOurs bool    // etcd has nothing like it
	once     bool    // one round is enough
	cross    bool    // etcd's own tool can do it too
	quick    bool    // part of -quick
}

// shapes are the connections and clients of the main rows.
var shapes = [][2]int{{1, 1}, {10, 100}, {100, 1000}, {1000, 1000}, {1, 1000}}

// sweep are the clients of the sweeps.
var sweep = []int{1, 4, 16, 64, 256, 1024, 4096}

// scenarios returns all there are, in the order in which they run.
func scenarios() []scenario {
	var all []scenario
	for _, s := range shapes {
		all = append(all, scenario{group: "put", op: load.Put, conns: s[0], clients: s[1], cross: s[0] == 10 || s[0] == 100, quick: s[0] != 1000})
	}
	for _, level := range []string{linearizable, stale, lease} {
		for _, s := range shapes {
			n := scenario{group: level, op: load.Get, level: level, conns: s[0], clients: s[1], onlyOurs: level == lease}
			if level == linearizable {
				n.group, n.cross = "get", s[0] == 100
				n.quick = s[0] == 1 || s[0] == 100
			}
			n.quick = n.quick || level == stale && s[0] == 100
			all = append(all, n)
		}
	}
	all = append(all, mixed()...)
	for _, v := range []int{16, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		all = append(all, scenario{name: fmt.Sprintf("value-%d", v), group: "value", about: "puts", op: load.Put, conns: 10, clients: 100, value: v, keys: 1000})
	}
	for _, n := range []int{1, 5} {
		for _, s := range shapes[:3] {
			all = append(all, scenario{name: fmt.Sprintf("nodes%d-put-%d-%d", n, s[0], s[1]), group: "nodes", op: load.Put, conns: s[0], clients: s[1], nodes: n})
		}
		all = append(all, scenario{name: fmt.Sprintf("nodes%d-get-100-1000", n), group: "nodes", op: load.Get, conns: 100, clients: 1000, nodes: n})
	}
	for _, op := range []load.Op{load.Put, load.Get} {
		for _, p := range []float64{0.5, 0.8} {
			all = append(all, scenario{
				name: fmt.Sprintf("open-%s-%.0f", op, 100*p), group: "open", about: "latency from when each operation is due",
				op: op, conns: 100, clients: 1000, peak: p,
			})
		}
	}
	for _, s := range []scenario{{op: load.Put, conns: 1, clients: 1}, {op: load.Put, conns: 100, clients: 1000}, {op: load.Get, conns: 100, clients: 1000}} {
		s.group, s.oneCore, s.about = "core", true, "every node confined to one core"
		s.name = fmt.Sprintf("core-%s-%d-%d", s.op, s.conns, s.clients)
		all = append(all, s)
	}
	for _, op := range []load.Op{load.Put, load.Get} {
		for _, c := range sweep {
			all = append(all, scenario{name: fmt.Sprintf("sweep-%s-%d", op, c), group: "sweep", op: op, conns: min(c, 100), clients: c})
		}
	}
	all = append(all, scenario{
		name: "memory-1m", group: "memory", about: "resident memory after a million puts", op: load.Put,
		conns: 100, clients: 1000, keys: 1_000_000, total: 1_000_000, once: true,
	})
	for _, clients := range []int{1, 100, 1000} {
		all = append(all, scenario{name: fmt.Sprintf("embedded-%d", clients), group: embeddedGroup, op: load.Put, conns: 1, clients: clients})
	}
	for i := range all {
		all[i].complete()
	}
	return all
}

// mixed are the loads that are not one kind of operation on many keys.
func mixed() []scenario {
	return []scenario{
		{name: "mix-10-100", group: "mix", about: "90 % linearizable gets, 10 % puts", op: load.Mix, conns: 10, clients: 100},
		{name: "mix-100-1000", group: "mix", about: "90 % linearizable gets, 10 % puts", op: load.Mix, conns: 100, clients: 1000},
		{name: "hot-put-100-1000", group: "hot", about: "all on one key", op: load.Put, conns: 100, clients: 1000, keys: 1},
		{name: "hot-get-100-1000", group: "hot", about: "all on one key", op: load.Get, conns: 100, clients: 1000, keys: 1},
		{name: "scan-1-1", group: "scan", about: "1,000 keys each", op: load.Scan, conns: 1, clients: 1},
		{name: "scan-10-100", group: "scan", about: "1,000 keys each", op: load.Scan, conns: 10, clients: 100},
	}
}

func (s *scenario) complete() {
	if s.level == "" {
		s.level = linearizable
	}
	if s.nodes == 0 {
		s.nodes = 3
	}
	if s.name == "" {
		s.name = fmt.Sprintf("%s-%d-%d", s.group, s.conns, s.clients)
	}
}

// text says what a scenario does.
func (s *scenario) text() string {
	if s.group == embeddedGroup {
		return fmt.Sprintf("puts, %d in flight, proposed in the process that runs the %d nodes", s.clients, s.nodes)
	}
	t := string(s.op)
	if s.op != load.Put {
		t = s.level + " " + t
	}
	if s.conns == 1 {
		t += ", 1 connection"
	} else {
		t += fmt.Sprintf(", %d connections", s.conns)
	}
	t += fmt.Sprintf(", %d in flight", s.clients)
	if s.value > 0 {
		t += fmt.Sprintf(", %d B values", s.value)
	}
	if s.nodes != 3 {
		t += fmt.Sprintf(", %d node", s.nodes)
		if s.nodes > 1 {
			t += "s"
		}
	}
	if s.peak > 0 {
		t += fmt.Sprintf(", open loop at %.0f %% of its peak", 100*s.peak)
	}
	if s.about != "" {
		t += "; " + s.about
	}
	return t
}

// choose returns the scenarios whose name or group is in only, a list
// separated by commas; the quick ones or all if it is empty.
func choose(only string, quick bool) ([]scenario, error) {
	all := scenarios()
	if only == "" {
		return slices.DeleteFunc(all, func(s scenario) bool { return quick && !s.quick }), nil
	}
	wanted := strings.Split(only, ",")
	for _, w := range wanted {
		if !slices.ContainsFunc(all, func(s scenario) bool { return s.name == w || s.group == w }) {
			return nil, fmt.Errorf("-only: no scenario or group %q; -list prints them", w)
		}
	}
	return slices.DeleteFunc(all, func(s scenario) bool {
		return !slices.Contains(wanted, s.name) && !slices.Contains(wanted, s.group)
	}), nil
}

func printScenarios(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GROUP\tNAME\tQUICK\tWHAT")
	for _, s := range scenarios() {
		quick := ""
		if s.quick {
			quick = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.group, s.name, quick, s.text())
	}
	w.Flush()
}
