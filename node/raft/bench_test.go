package raft

import (
	"fmt"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// pipe is three cores and nothing else: no copies, no disk, no network. It is
// what the algorithm itself costs.
type pipe struct {
	nodes [3]*Raft
	rd    [3]Ready
	head  [wire.StampBytes]byte
	body  [280]byte
}

func newPipe(tb testing.TB) *pipe {
	p := &pipe{}
	for i := range p.nodes {
		cfg := testConfig(wire.NodeID(i + 1))
		cfg.MaxAppendBytes, cfg.MaxInflightBytes = 4<<20, 16<<20
		cfg.MaxUncommittedBytes, cfg.TailBytes = 64<<20, 16<<20
		core, err := New(cfg, State{Fresh: true, First: 1, Members: testMembers(3, 0)})
		if err != nil {
			tb.Fatal(err)
		}
		core.SetNow(0)
		p.nodes[i] = core
	}
	for p.nodes[0].Role() != Leader {
		p.nodes[0].Tick()
		p.run(tb)
	}
	p.run(tb)
	return p
}

// run takes Readies, completes batches and passes messages until all is quiet.
func (p *pipe) run(tb testing.TB) {
	for {
		busy := false
		for i, core := range p.nodes {
			core.Ready(&p.rd[i])
		}
		for i, core := range p.nodes {
			rd := &p.rd[i]
			busy = busy || rd.Seq != 0 || len(rd.Now) > 0
			if rd.Seq != 0 {
				core.Synced(rd.Seq)
			}
			for k := range rd.Now {
				if err := p.nodes[rd.Now[k].To-1].Step(&rd.Now[k]); err != nil {
					tb.Fatal(err)
				}
			}
			core.Applied(core.Commit())
		}
		if !busy {
			return
		}
	}
}

func (p *pipe) batch(tb testing.TB, n int) {
	leader := p.nodes[0]
	for range n {
		if _, err := leader.Propose(wire.EntryCommand, p.head[:], p.body[:]); err != nil {
			tb.Fatal(err)
		}
	}
	p.run(tb)
	if leader.Commit() != leader.log.last {
		tb.Fatalf("commit %d of %d", leader.Commit(), leader.log.last)
	}
}

// BenchmarkReplicate measures Propose → Ready → Synced → Step → commit of
// 340-byte entries on three nodes; ns/entry/node is the figure to look at.
func BenchmarkReplicate(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := newPipe(b)
			b.ReportAllocs()
			for b.Loop() {
				p.batch(b, n)
			}
			per := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(n) / 3
			b.ReportMetric(per, "ns/entry/node")
		})
	}
}

func BenchmarkReadRound(b *testing.B) {
	p := newPipe(b)
	p.batch(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		read, err := p.nodes[0].ReadIndex()
		if err != nil {
			b.Fatal(err)
		}
		p.run(b)
		if p.nodes[0].Confirmed() < read.Round {
			b.Fatal("not confirmed")
		}
	}
}

// TestSteadyStateDoesNotAllocate allows for chunks (one per mebibyte and node)
// and nothing else.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	f := func(n int) {
		t.Helper()
		p := newPipe(t)
		for range 3 + 32<<20/(n*340) { // fill the tail, so that eviction runs as well
			p.batch(t, n)
		}
		runs := max(1, 4096/n)
		allocs := testing.AllocsPerRun(runs, func() { p.batch(t, n) })
		chunks := 3 * float64(n*340) / maxChunkBytes // per batch, all nodes
		if allocs > chunks {
			t.Errorf("batch of %d: %v allocations, %v chunks", n, allocs, chunks)
		}
		t.Logf("batch of %d: %v allocations, %.2f chunks", n, allocs, chunks)
	}
	f(64)
	f(512)
}
