package raft

import (
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// An abstaining node may have forgotten a vote of this very term. What ends that
// is a majority's choice that it can show after a crash, too: an entry of the
// leader's term on its disk, not one in its memory.
func TestAbstentionEndsWhenALeadersEntryIsDurable(t *testing.T) {
	r := newNetwork(3, 0, nil).preload(1, 5, 1).core
	r.abstain = true
	flush(r)
	step(t, r, wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 5, Index: 1, LogTerm: 1, Entries: entry(2, 5)})
	var rd Ready
	r.Ready(&rd)
	if !r.Status().Abstaining || rd.SaveVote && !rd.Vote.Abstain {
		t.Errorf("the entry is not durable: abstaining %v, vote to be saved %v: %+v", r.Status().Abstaining, rd.SaveVote, rd.Vote)
	}
	r.Synced(rd.Seq)
	if r.Status().Abstaining {
		t.Error("the entry is durable, and the node still abstains")
	}
}

// What a read of the disk brings may be older than the log: the answer to a
// request that was made before entries were replaced. It is not sent.
func TestEntriesReadBackMustBeTheLogs(t *testing.T) {
	net := newNetwork(3, 0, nil)
	net.preload(1, 2, 1, 1, 2)
	r := newLeader(net)
	flush(r)
	readFor2 := func() ReadRequest {
		t.Helper()
		var rd Ready
		for range 4 * r.cfg.HeartbeatTicks {
			r.Ready(&rd)
			if rd.Seq != 0 {
				r.Synced(rd.Seq)
			}
			for _, m := range rd.Now {
				if m.To == 2 && m.Type == wire.FrameAppend {
					step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: r.term, Index: m.Index, Reject: m.Index > 0})
				}
			}
			for _, q := range rd.Reads {
				if q.Peer == 2 {
					return q
				}
			}
			r.Tick()
		}
		t.Fatal("nothing is read for a peer without a log")
		return ReadRequest{}
	}
	sent := func(data []byte) []byte {
		t.Helper()
		q := readFor2()
		if q.Lo != 1 {
			t.Fatalf("entries are read from %d on", q.Lo)
		}
		r.EntriesRead(2, q.Lo, data, nil)
		for _, m := range flush(r) {
			if m.To == 2 && len(m.Entries) > 0 {
				return m.Entries
			}
		}
		return nil
	}
	mine := slices.Concat(entry(1, 1), entry(2, 1))
	for name, data := range map[string][]byte{
		"another term": slices.Concat(entry(1, 1), entry(2, 2)),
		"other index":  entry(2, 1),
		"cut short":    mine[:len(mine)-1],
		"beyond":       slices.Concat(mine, entry(3, 2), entry(4, 3), entry(5, 3)),
		"nothing":      nil,
	} {
		if b := sent(data); b != nil {
			t.Errorf("%s: %d bytes of entries are sent that are not the log's", name, len(b))
		}
	}
	if b := sent(mine); !slices.Equal(b, mine) {
		t.Errorf("%d bytes are sent, want the %d read", len(b), len(mine))
	}
}
