package disk_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/dnode-engine/dnode/node/disk"
	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// member is one replica on a real log in a real folder. Its frames go straight
// to the others: everything of a put's way but the sockets.
type member struct {
	id   wire.NodeID
	rep  *replica.Replica
	disk *disk.Disk
	one  [1]replica.Store
}

type pipe struct {
	t       testing.TB
	now     int64
	members []*member
	inbox   [4][]byte // by member
	spare   [4][]byte
	replies int
}

func newPipe(t testing.TB, n int) *pipe {
	p := &pipe{t: t}
	boot := wire.Membership{NextID: wire.NodeID(n + 1)}
	for i := range n {
		boot.Members = append(boot.Members, wire.Member{ID: wire.NodeID(i + 1), Name: fmt.Sprintf("n%d", i+1), Replica: wire.ReplicaID{byte(i + 1)}, Role: wire.Voter})
	}
	for i := range n {
		fs, err := osfs.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		store, rec, votes, err := wal.OpenStore(fs, wal.Options{SegmentBytes: 64 << 20, Owner: boot.Members[i].Replica})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close(); fs.Close() })
		st, err := disk.Recovered(rec, votes, boot)
		if err != nil {
			t.Fatal(err)
		}
		id := wire.NodeID(i + 1)
		rep, err := replica.New(replica.Config{Name: boot.Members[i].Name, NewCluster: wire.ClusterID{1}, Raft: raft.Config{
			ID: id, ElectionTicks: 10, HeartbeatTicks: 2, Seed: uint64(id), MaxAppendBytes: 1 << 20,
			MaxInflightBytes: 4 << 20, MaxUncommittedBytes: wire.MaxUncommittedBytes, TailBytes: 8 << 20,
		}}, kv.New(), st)
		if err != nil {
			t.Fatal(err)
		}
		p.members = append(p.members, &member{id: id, rep: rep, disk: disk.New(store)})
	}
	return p
}

// request gives a batch of client frames to a member.
func (p *pipe) request(m *member, in []byte) {
	m.rep.Begin(p.now)
	for len(in) > 0 {
		f, err := wire.ParseFrame(in, wire.MaxFrameBytes)
		if err != nil {
			p.t.Fatal(err)
		}
		m.rep.Request(1, f)
		in = in[f.Size:]
	}
	p.effects(m)
}

func (p *pipe) effects(m *member) {
	fx := m.rep.Effects()
	for _, out := range fx.Peers {
		p.inbox[out.To] = append(p.inbox[out.To], out.Bytes...)
	}
	for _, r := range fx.Replies {
		if r.Code != 0 {
			p.t.Fatalf("refused with %v", r.Code)
		}
		p.replies++
	}
	if fx.Store.Seq == 0 {
		return
	}
	m.one[0] = fx.Store
	done := m.disk.Write(m.one[:])
	m.rep.Begin(p.now)
	m.rep.Stored(done)
	p.effects(m)
}

// settle delivers until nothing is under way.
func (p *pipe) settle() {
	for busy := true; busy; {
		busy = false
		for _, m := range p.members {
			in := p.inbox[m.id]
			if len(in) == 0 {
				continue
			}
			busy = true
			p.inbox[m.id] = p.spare[m.id][:0]
			p.deliver(m, in)
			p.spare[m.id] = in
		}
	}
}

// deliver splits what a member received by sender: a link belongs to one.
func (p *pipe) deliver(m *member, in []byte) {
	m.rep.Begin(p.now)
	for len(in) > 0 {
		f, err := wire.ParseFrame(in, wire.MaxAppendBytes)
		if err != nil {
			p.t.Fatal(err)
		}
		msg, err := wire.ParsePeer(f)
		if err != nil {
			p.t.Fatal(err)
		}
		if err := m.rep.Peer(msg.From, f); err != nil {
			p.t.Fatal(err)
		}
		in = in[f.Size:]
	}
	p.effects(m)
}

func (p *pipe) elect() *member {
	for range 200 {
		p.now += 10_000_000
		for _, m := range p.members {
			m.rep.Begin(p.now)
			m.rep.Tick()
			p.effects(m)
			p.settle()
			if m.rep.Leading() {
				return m
			}
		}
	}
	p.t.Fatal("nobody is elected")
	return nil
}

// requests encodes n puts over the given number of keys.
func requests(n, keys int) []byte {
	var b []byte
	value := make([]byte, 256)
	for i := range n {
		key := fmt.Appendf(nil, "%08d", i%keys)
		b = wire.AppendFrame(b, wire.FrameWrite, uint64(i+1), wire.AppendWrite(nil, wire.Stamp{}, wire.AppendPut(nil, key, value)))
	}
	return b
}

func (p *pipe) round(lead *member, batch []byte) {
	p.request(lead, batch)
	p.settle()
	for _, m := range p.members { // the commit index reaches the followers
		m.rep.Begin(p.now)
		p.effects(m)
	}
	p.settle()
}

// TestSteadyStateMakesNoGarbage takes 10,000 puts of 256 bytes from request
// frame to reply frame, over three replicas with real logs: decode, append,
// sync, replicate, commit, apply, encode.
func TestSteadyStateMakesNoGarbage(t *testing.T) {
	const batch, total, keys = 100, 10_000, 1000
	p := newPipe(t, 3)
	lead := p.elect()
	frames := requests(batch, keys)
	all := requests(keys, keys)
	for range 30 {
		p.round(lead, all)
	}
	p.replies = 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range total / batch {
		p.round(lead, frames)
	}
	runtime.ReadMemStats(&after)
	if p.replies != total {
		t.Fatalf("%d replies to %d puts", p.replies, total)
	}
	mallocs := after.Mallocs - before.Mallocs
	t.Logf("%d puts on three replicas: %d mallocs, %d KiB", total, mallocs, (after.TotalAlloc-before.TotalAlloc)>>10)
	if mallocs > 100 {
		t.Fatalf("%d puts made %d mallocs, at most 100 are allowed", total, mallocs)
	}
}
