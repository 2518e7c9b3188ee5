package node

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// roomFS says how much is free, whatever the truth.
type roomFS struct {
	FS
	free atomic.Int64
}

func (f *roomFS) Free() (int64, error) { return f.free.Load(), nil }

// Writes are refused while there is still room for what is under way and for
// deletes, not when the last byte is gone; with room again they are taken.
func TestReserveIsKept(t *testing.T) {
	fs := &roomFS{}
	fs.free.Store(1 << 40)
	cfg := testConfig(t, "n1")
	cfg.OpenFS = func(dir string) (FS, error) {
		under, err := osfs.Open(dir)
		fs.FS = under
		return fs, err
	}
	n := start(t, cfg)
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return c.put("k", "v") })
	fs.free.Store(0)
	want := "v"
	eventually(t, "a refusal", func() error {
		err := c.put("k", "w")
		if err == nil {
			want = "w" // the disk was not looked at yet
		}
		if !isCode(err, wire.CodeNoSpace) {
			return fmt.Errorf("put with little room: %v", err)
		}
		return nil
	})
	eventually(t, "the state to be told", func() error {
		if s := n.Status().State; s != wire.StateNoSpace {
			return fmt.Errorf("state %v", s)
		}
		return nil
	})
	if v, err := c.get(wire.Linearizable, "k"); err != nil || v != want {
		t.Errorf("get with little room: %q, want %q, %v", v, want, err)
	}
	fs.free.Store(1 << 40)
	eventually(t, "a write with room again", func() error { return c.put("k", "x") })
}
