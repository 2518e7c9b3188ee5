package wal_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal"
)

// A valid folder with any bytes of it overwritten opens or is refused; what
// opens holds only entries that were written, opens again the same way, and
// can be appended to.
func FuzzRecovery(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 2, 4, 9, 9, 9, 9})
	f.Add([]byte{2, 0, 2, 1, 0, 1, 8, 0, 1, 0})
	f.Add([]byte{3, 0, 0, 2, 1, 1, 4, 0, 0, 3, 5, 5, 5})
	f.Fuzz(func(t *testing.T, in []byte) {
		w := newWorld(t, len(in)%2 == 0)
		img := w.fs.Kill()
		files := append([]string{"vote", "identity"}, w.files...)
		for p := in; len(p) > 4; { // file, offset, length, bytes
			file, off, n := files[int(p[0])%len(files)], int(binary.LittleEndian.Uint16(p[1:])), int(p[3])
			p = p[4:]
			n = min(n, len(p))
			if b := img.Bytes(file); len(b) > 0 {
				copy(b[off%len(b):], p[:n])
				img.SetBytes(file, b)
			}
			p = p[n:]
		}
		s, rec, _, err := wal.OpenStore(img, small)
		if err != nil {
			return
		}
		got, err := readAll(s.Log(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var m model
		m.append(got)
		for i, b := range m {
			if !w.wrote(b) {
				t.Fatalf("entry %d was never written", i+1)
			}
		}
		again, rec2, _, err := wal.OpenStore(img.Crash(1), small)
		if err != nil || rec2.Last != rec.Last || rec2.Cut != nil {
			t.Fatalf("second start: %v, %+v after %+v", err, rec2, rec)
		}
		b := entry(rec.Last+1, 99, 10)
		must(t, again.Append(runs(b)))
		must(t, again.Sync())
	})
}

// wrote reports whether newWorld ever wrote that entry.
func (w *world) wrote(b []byte) bool {
	return slices.ContainsFunc(w.ever, func(e []byte) bool { return bytes.Equal(e, b) })
}
