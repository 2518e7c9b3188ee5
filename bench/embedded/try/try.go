// Package try holds the test that every engine of package embedded passes.
package try

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/wire"
)

// Ten commits ten entries, all of one key, and looks for them on the disks of a
// majority.
func Ten(t *testing.T, start embedded.Start) {
	t.Helper()
	const entries = 10
	told := 0
	o := embedded.Order{Dir: t.TempDir(), Clients: 4, KeySize: 8, ValueSize: 256, Keys: 1, Total: entries, Seed: 1}
	res, err := embedded.Run(t.Context(), start, o, func() { told++ })
	if err != nil {
		t.Fatal(err)
	}
	if res.Load.Ops != entries || res.Load.Errors != 0 || res.Histogram.Count() != entries || told != 1 {
		t.Errorf("%d operations, %d errors %v, told %d times", res.Load.Ops, res.Load.Errors, res.Load.Codes(), told)
	}
	if res.What == "" || res.Elections != 0 || res.CPU <= 0 || res.Allocs == 0 || res.AllocBytes == 0 {
		t.Errorf("%+v", res)
	}
	head := wire.AppendPut(nil, []byte("00000000"), make([]byte, o.ValueSize))
	head = head[:len(head)-o.ValueSize]
	nodes, err := filepath.Glob(filepath.Join(o.Dir, "*"))
	if err != nil || len(nodes) != embedded.Nodes {
		t.Fatalf("%v, %v", nodes, err)
	}
	found := 0
	for _, dir := range nodes {
		if n := count(t, dir, head); n >= entries {
			found++
		}
	}
	if found <= embedded.Nodes/2 {
		t.Errorf("%d nodes have all entries on the disk", found)
	}
}

// count says how often text occurs in the files below dir.
func count(t *testing.T, dir string, text []byte) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		n += bytes.Count(content, text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return n
}
