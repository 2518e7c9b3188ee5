package disk_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/node/disk"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wire"
)

// store writes down the calls it gets and fails on demand.
type store struct {
	calls []string
	fail  string
	err   error // what fails
}

func (s *store) call(format string, args ...any) error {
	c := fmt.Sprintf(format, args...)
	s.calls = append(s.calls, c)
	if s.fail != "" && strings.HasPrefix(c, s.fail) {
		return cmp.Or(s.err, errors.New("input/output error"))
	}
	return nil
}

func (s *store) Append(runs [][]byte) error {
	var at []string
	for _, b := range runs {
		for len(b) > 0 {
			e, err := wire.ParseEntry(b)
			if err != nil {
				return err
			}
			at = append(at, fmt.Sprintf("%d@%d", e.Index, e.Term))
			b = b[e.Size:]
		}
	}
	return s.call("append %s", strings.Join(at, " "))
}
func (s *store) Sync() error                { return s.call("sync") }
func (s *store) SaveVote(v wire.Vote) error { return s.call("vote %d for %d", v.Term, v.For) }
func (s *store) Seal() error                { return s.call("seal") }
func (s *store) Close() error               { return s.call("close") }
func (s *store) Read(dst []byte, lo wire.Index, maxBytes int) ([]byte, error) {
	return append(dst, byte(lo)), s.call("read %d max %d", lo, maxBytes)
}

func run(term wire.Term, first, last wire.Index) []byte {
	var b []byte
	for i := first; i <= last; i++ {
		b = wire.AppendEntry(b, wire.EntryHead{Type: wire.EntryNoop, Index: i, Term: term}, wire.AppendTime(nil, 0), nil)
	}
	return b
}

func entries(seq uint64, term wire.Term, first, last wire.Index) replica.Store {
	return replica.Store{Seq: seq, Append: [][]byte{run(term, first, last)}, Last: last}
}

func vote(seq uint64, term wire.Term, id wire.NodeID) replica.Store {
	return replica.Store{Seq: seq, SaveVote: true, Vote: wire.Vote{Term: term, For: id}}
}

func TestWriteOrder(t *testing.T) {
	f := func(name string, want []string, batches ...replica.Store) {
		t.Helper()
		s := &store{}
		done := disk.New(s).Write(batches)
		if done.Err != nil || done.Seq != batches[len(batches)-1].Seq {
			t.Errorf("%s: %+v", name, done)
		}
		if !slices.Equal(s.calls, want) {
			t.Errorf("%s:\n got %q\nwant %q", name, s.calls, want)
		}
	}
	f("one group and one sync for all that queued", []string{"append 1@1 2@1 3@1", "sync"},
		entries(1, 1, 1, 1), entries(2, 1, 2, 2), entries(3, 1, 3, 3))
	f("a vote alone needs no log", []string{"vote 2 for 1"}, vote(1, 2, 1))
	f("only the newest vote, and before the entries", []string{"vote 3 for 2", "append 1@1 2@1", "sync"},
		entries(1, 1, 1, 1), vote(2, 2, 1), vote(3, 3, 2), entries(4, 1, 2, 2))
	f("what supersedes begins a group", []string{"append 5@1 6@1 7@1", "append 6@2", "append 6@3", "sync"},
		entries(1, 1, 5, 7), entries(2, 2, 6, 6), entries(3, 3, 6, 6))
	f("entries before a vote are written too", []string{"vote 2 for 1", "append 1@1", "sync"}, entries(1, 1, 1, 1), vote(2, 2, 1))
	two := entries(1, 1, 1, 1)
	two.Append, two.Last = append(two.Append, run(1, 2, 3)), 3
	f("runs of one batch stay together", []string{"append 1@1 2@1 3@1 4@1", "sync"}, two, entries(2, 1, 4, 4))
}

func TestFirstErrorIsForEver(t *testing.T) {
	f := func(fail string) {
		t.Helper()
		s := &store{fail: fail}
		d := disk.New(s)
		b := entries(1, 1, 1, 1)
		b.SaveVote, b.Vote = true, wire.Vote{Term: 1, For: 1}
		if done := d.Write([]replica.Store{b}); done.Err == nil {
			t.Errorf("%s fails unnoticed", fail)
		}
		n := len(s.calls)
		s.fail = ""
		if done := d.Write([]replica.Store{entries(2, 1, 2, 2)}); done.Err == nil || d.Err() == nil {
			t.Errorf("after a failed %s the next write succeeds", fail)
		}
		if err := d.Idle(); err == nil {
			t.Errorf("after a failed %s the log is sealed", fail)
		}
		if len(s.calls) != n {
			t.Errorf("after a failed %s the store is used again: %q", fail, s.calls[n:])
		}
	}
	f("vote")
	f("append")
	f("sync")
}

// A full disk takes the same batches later; a sync that fails for lack of space
// is a failed sync.
func TestFullDiskIsNotForEver(t *testing.T) {
	t.Run("space", func(t *testing.T) { testPasses(t, wal.ErrNoSpace) })
	t.Run("files", func(t *testing.T) { testPasses(t, wal.ErrNoFiles) })
}

func testPasses(t *testing.T, why error) {
	s := &store{fail: "vote", err: why}
	d := disk.New(s)
	if done := d.Write([]replica.Store{vote(1, 2, 1)}); !errors.Is(done.Err, why) || d.Err() != nil {
		t.Fatalf("a vote without room: %v, for ever: %v", done.Err, d.Err())
	}
	s.fail, s.calls = "append", nil
	batch := []replica.Store{entries(1, 1, 1, 2)}
	for range 2 {
		if done := d.Write(batch); !errors.Is(done.Err, why) || d.Err() != nil {
			t.Fatalf("%v, for ever: %v", done.Err, d.Err())
		}
	}
	s.fail = ""
	if done := d.Write(append(batch, entries(2, 1, 3, 3))); done.Err != nil || done.Seq != 2 {
		t.Fatalf("%+v", done)
	}
	if want := []string{"append 1@1 2@1", "append 1@1 2@1", "append 1@1 2@1 3@1", "sync"}; !slices.Equal(s.calls, want) {
		t.Fatalf("got %q, want %q", s.calls, want)
	}
	s.fail, s.calls = "seal", nil
	for range 2 {
		if err := d.Idle(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"seal", "seal"}; !slices.Equal(s.calls, want) {
		t.Fatalf("a seal without room: got %q, want %q", s.calls, want)
	}
	s.fail = "sync"
	if done := d.Write([]replica.Store{entries(3, 1, 4, 4)}); done.Err == nil || errors.Is(done.Err, why) || d.Err() == nil {
		t.Fatalf("a failed sync: %v, for ever: %v", done.Err, d.Err())
	}
}

// A seal that fails tells so at once: no write may follow for long.
func TestFailedSealIsForEver(t *testing.T) {
	d := disk.New(&store{fail: "seal"})
	d.Write([]replica.Store{entries(1, 1, 1, 1)})
	if err := d.Idle(); err == nil || d.Err() == nil {
		t.Errorf("a failed seal goes unseen: %v, for ever: %v", err, d.Err())
	}
	if done := d.Write([]replica.Store{entries(2, 1, 2, 2)}); done.Err == nil {
		t.Error("after a failed seal the next write succeeds")
	}
}

func TestIdleSealsOnce(t *testing.T) {
	s := &store{}
	d := disk.New(s)
	idle := func() {
		t.Helper()
		if err := d.Idle(); err != nil {
			t.Fatal(err)
		}
	}
	idle()
	d.Write([]replica.Store{entries(1, 1, 1, 1)})
	idle()
	idle()
	d.Write([]replica.Store{vote(2, 2, 2)})
	idle()
	if want := []string{"append 1@1", "sync", "seal", "vote 2 for 2"}; !slices.Equal(s.calls, want) {
		t.Fatalf("got %q, want %q", s.calls, want)
	}
}

func TestRead(t *testing.T) {
	s := &store{}
	d := disk.New(s)
	done := d.Read(replica.ReadRequest{Peer: 3, Lo: 7, Hi: 9, MaxBytes: 100})
	if done.Peer != 3 || done.Lo != 7 || done.Err != nil || len(done.Data) != 1 {
		t.Fatalf("%+v", done)
	}
	s.fail = "read"
	if done = d.Read(replica.ReadRequest{Lo: 1}); done.Err == nil || done.Data != nil {
		t.Fatalf("%+v", done)
	}
}
