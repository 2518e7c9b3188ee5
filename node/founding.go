package node

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/dnode-engine/dnode/wire"
)

// self is what a node knows about itself and its cluster, as far as hellos are
// concerned. It is immutable: the loop publishes a new one when it changes.
type self struct {
	name       string
	replica    wire.ReplicaID
	clientAddr string
	peerAddr   string
	bootstrap  uint64            // hash of list, zero for a cluster of one
	list       map[string]string // Config.Cluster; never written

	// cluster is zero until the first configuration entry is known to be
	// committed, or until a founded member has said that we are one of them.
	cluster wire.ClusterID
	// members is the configuration in force, nil while founding.
	members *wire.Membership
	leaving bool // the node is shutting down
}

// bootstrapHash is equal on two nodes exactly if they were given the same names
// and peer addresses (up to collisions of 64 bits).
func bootstrapHash(names []string, addr func(name string) string) uint64 {
	if len(names) < 2 {
		return 0
	}
	h := fnv.New64a()
	for _, name := range names {
		fmt.Fprintf(h, "%d %s %d %s ", len(name), name, len(addr(name)), addr(name))
	}
	return h.Sum64() | 1
}

// hello returns what this node says to the member called to.
func (s *self) hello(to string) wire.Hello {
	return wire.Hello{
		Version: wire.Version, MinVersion: wire.MinVersion,
		Side: wire.PeerSide, Cluster: s.cluster, Name: s.name, To: to, Replica: s.replica,
		PeerAddr: s.peerAddr, ClientAddr: s.clientAddr, Bootstrap: s.bootstrap,
	}
}

// ack returns the answer to a hello that was accepted.
func (s *self) ack(member bool) wire.HelloAck {
	return wire.HelloAck{
		Version: wire.Version, Cluster: s.cluster, Name: s.name, Replica: s.replica,
		ClientAddr: s.clientAddr, Member: member,
	}
}

func refuse(code wire.Code, format string, args ...any) *wire.Error {
	return &wire.Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// greet decides about a hello that arrived on the given port. For a member's it
// returns the member's id, or zero while there is no configuration yet.
func (s *self) greet(port wire.Side, h *wire.Hello) (wire.NodeID, *wire.Error) {
	if _, refusal := wire.Negotiate(h); refusal != nil {
		return 0, refusal
	}
	if h.Side != port {
		if port == wire.PeerSide {
			return 0, refuse(wire.CodeUnexpected, "this is the peer port of %s; clients connect to %s", s.name, s.clientAddr)
		}
		return 0, refuse(wire.CodeUnexpected, "this is the client port of %s; members connect to %s", s.name, s.peerAddr)
	}
	if s.leaving {
		return 0, refuse(wire.CodeShutdown, "%s is shutting down: use another node", s.name)
	}
	if h.To != "" && h.To != s.name {
		return 0, refuse(wire.CodeWrongIdentity, "you called %q, this is %q: check the addresses of both", h.To, s.name)
	}
	if port == wire.ClientSide {
		if !h.Cluster.IsZero() && !s.cluster.IsZero() && h.Cluster != s.cluster {
			return 0, refuse(wire.CodeWrongCluster, "you want cluster %s, %s belongs to cluster %s: check the endpoints", h.Cluster, s.name, s.cluster)
		}
		return 0, nil
	}
	return s.greetPeer(h)
}

func (s *self) greetPeer(h *wire.Hello) (wire.NodeID, *wire.Error) {
	if h.Name == s.name {
		return 0, refuse(wire.CodeWrongIdentity, "%s (replica %s) was called by a node of the same name (replica %s): give each node its own name and address", s.name, s.replica, h.Replica)
	}
	switch {
	case !h.Cluster.IsZero() && !s.cluster.IsZero() && h.Cluster != s.cluster:
		return 0, refuse(wire.CodeWrongCluster, "%s belongs to cluster %s, %s belongs to cluster %s: check the peer addresses of both", h.Name, h.Cluster, s.name, s.cluster)
	case h.Cluster.IsZero() && s.members != nil:
		return s.greetFresh(h)
	case s.members == nil && !h.Cluster.IsZero():
		return 0, refuse(wire.CodeUnavailable, "%s has not joined cluster %s yet: try again", s.name, h.Cluster)
	case s.members == nil:
		return 0, s.greetFounder(h)
	}
	m := s.members.FindName(h.Name)
	if m == nil {
		return 0, refuse(wire.CodeWrongIdentity, "%s (replica %s) is not a member that %s knows in cluster %s: %s; check its name and the peer addresses", h.Name, h.Replica, s.name, s.cluster, memberNames(s.members))
	}
	if !sameReplica(m, h.Replica) {
		return 0, refuse(wire.CodeWrongIdentity, "%s comes as replica %s, cluster %s knows it as replica %s: its data folder was replaced; bring the old folder back", h.Name, h.Replica, s.cluster, m.Replica)
	}
	return m.ID, nil
}

// sameReplica reports whether a member's data folder is the one expected. What
// a member that joined late was not told yet matches anything.
func sameReplica(m *wire.Member, id wire.ReplicaID) bool {
	return m.Replica == id || m.Replica == wire.ReplicaID{}
}

// greetFresh decides about a node that belongs to no cluster yet, on a node
// that has a configuration: only those that helped to found it may come.
func (s *self) greetFresh(h *wire.Hello) (wire.NodeID, *wire.Error) {
	m := s.members.FindName(h.Name)
	if m == nil {
		return 0, refuse(wire.CodeNotFresh, "%s (replica %s) is fresh, but %s is already in cluster %s, which has no member of that name: %s; check its name and the peer addresses", h.Name, h.Replica, s.name, s.clusterText(), memberNames(s.members))
	}
	if !sameReplica(m, h.Replica) {
		return 0, refuse(wire.CodeNotFresh, "%s is fresh as replica %s, but %s is already in cluster %s, which knows it as replica %s: its data folder was lost: bring back that very folder, not an older copy; without it %s stays out, and the others go on without it if they are a majority", h.Name, h.Replica, s.name, s.clusterText(), m.Replica, h.Name)
	}
	if have := membersHash(s.members); h.Bootstrap != have {
		return 0, refuse(wire.CodeWrongCluster, "%s was given another list of members than cluster %s has: %s; use the same list on every node", h.Name, s.clusterText(), memberNames(s.members))
	}
	return m.ID, nil
}

func (s *self) clusterText() string {
	if s.cluster.IsZero() {
		return "(being founded)"
	}
	return s.cluster.String()
}

// greetFounder decides about a fresh node while this one is fresh, too.
func (s *self) greetFounder(h *wire.Hello) *wire.Error {
	if _, ok := s.list[h.Name]; !ok {
		return refuse(wire.CodeWrongCluster, "%s is not in the list of members that %s was given: use the same list on every node", h.Name, s.name)
	}
	if h.Bootstrap != s.bootstrap {
		return refuse(wire.CodeWrongCluster, "%s and %s were given different lists of members: use the same list on every node", h.Name, s.name)
	}
	return nil
}

func membersHash(m *wire.Membership) uint64 {
	byName := make([]string, 0, len(m.Members))
	for i := range m.Members { // ids were given out in the order of names
		byName = append(byName, m.Members[i].Name)
	}
	return bootstrapHash(byName, func(name string) string { return m.FindName(name).PeerAddr })
}

func memberNames(m *wire.Membership) string {
	var text strings.Builder
	text.WriteString("its members are")
	for i := range m.Members {
		text.WriteString(" " + m.Members[i].Name)
	}
	return text.String()
}

// checkAck decides whether the node that answered is the member we called. An
// error means that the link must not be used.
func (s *self) checkAck(to string, a *wire.HelloAck) error {
	if a.Name != to {
		return refuse(wire.CodeWrongIdentity, "called %q, but %q answered: check the peer address", to, a.Name)
	}
	if !s.cluster.IsZero() && !a.Cluster.IsZero() && a.Cluster != s.cluster {
		return refuse(wire.CodeWrongCluster, "%s answered from cluster %s, this node belongs to %s: check the peer addresses of both", to, a.Cluster, s.cluster)
	}
	if s.members == nil {
		if !a.Cluster.IsZero() && !a.Member {
			return refuse(wire.CodeNotFresh, "%s belongs to cluster %s, which this fresh node (replica %s) is no member of: check the peer addresses, or bring its old data folder back", to, a.Cluster, s.replica)
		}
		return nil
	}
	m := s.members.FindName(to)
	if m == nil {
		return refuse(wire.CodeWrongIdentity, "%s is not a member of cluster %s: check the peer addresses", to, s.cluster)
	}
	if !sameReplica(m, a.Replica) {
		return refuse(wire.CodeWrongIdentity, "%s answered as replica %s, cluster %s knows it as replica %s: its data folder was replaced; bring the old folder back", to, a.Replica, s.clusterText(), m.Replica)
	}
	return nil
}

// founder collects who is there while a cluster is being founded. It belongs to
// the loop.
type founder struct {
	heard map[string]wire.HelloAck // by name: who answered as fresh over a link that is up
}

// missing returns the names that have not answered yet.
func (f *founder) missing(s *self, names []string) []string {
	var out []string
	for _, name := range names {
		if _, ok := f.heard[name]; !ok && name != s.name {
			out = append(out, name)
		}
	}
	return out
}

// bootstrap is the configuration to start from: ids 1 to n in the order of
// names. A member that was not heard has a zero replica id until the first
// configuration entry names it.
func (f *founder) bootstrap(s *self, names []string) wire.Membership {
	m := wire.Membership{Level: 1, NextID: wire.NodeID(len(names)) + 1}
	for i, name := range names {
		member := wire.Member{ID: wire.NodeID(i) + 1, Name: name, Role: wire.Voter, PeerAddr: s.list[name]}
		if name == s.name {
			member.Replica, member.ClientAddr = s.replica, s.clientAddr
			if member.PeerAddr == "" {
				member.PeerAddr = s.peerAddr
			}
		} else if a, ok := f.heard[name]; ok {
			member.Replica, member.ClientAddr = a.Replica, a.ClientAddr
		}
		m.Members = append(m.Members, member)
	}
	return m
}
