package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// tornFolder makes a data folder whose log ends in a damaged group that nothing
// attests, as a power cut leaves it.
func tornFolder(t *testing.T, cfg *Config) {
	t.Helper()
	fs, err := osfs.Open(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	owner := wire.ReplicaID{1}
	if err := wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: cfg.Name}); err != nil {
		t.Fatal(err)
	}
	store, _, _, err := wal.OpenStore(fs, wal.Options{SegmentBytes: cfg.SegmentBytes, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	noop := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryNoop, Index: 1, Term: 1}, wire.AppendTime(nil, 1), nil)
	if err := store.Append([][]byte{noop}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(cfg.DataDir, "wal", "00000001.seg"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0xff}, 570); err != nil { // in the entry
		t.Fatal(err)
	}
}

// A start that cuts the unattested end of the log says so at error level, and
// how much it was.
func TestCutIsLoggedAndCounted(t *testing.T) {
	var log testLog
	cfg := testConfig(t, "n1")
	cfg.Logger = log.logger()
	tornFolder(t, &cfg)
	n := start(t, cfg)
	if s := log.String(); !strings.Contains(s, "level=ERROR") || !strings.Contains(s, "event=wal.cut") || !strings.Contains(s, "wal/00000001.seg at offset 512") {
		t.Errorf("what was cut is not told: %s", s)
	}
	var metrics strings.Builder
	if err := n.writeMetrics(&metrics); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\ndnode_wal_cut_bytes %d\n", n.cutBytes); n.cutBytes == 0 || !strings.Contains(metrics.String(), want) {
		t.Errorf("%d bytes were cut, no metric says so", n.cutBytes)
	}
}
