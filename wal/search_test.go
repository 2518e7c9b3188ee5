package wal

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// counted is a file in memory that counts what is read of it.
type counted struct {
	File
	data []byte
	read int
}

func (f *counted) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.data[off:])
	f.read += n
	return n, nil
}

// Bytes of users that begin as marks or seals do, and claim to be large, do not
// make the search read the segment again for each of them.
func TestSearchReadsOnce(t *testing.T) {
	f := func(name string, word ...uint32) {
		t.Helper()
		file := &counted{data: make([]byte, 1<<20)}
		for off := 0; off < len(file.data); off += 4 {
			le.PutUint32(file.data[off:], word[off/4%len(word)])
		}
		var win window
		s := newScanner(&win, file, segHeader{number: 1, owner: wire.ReplicaID{1}, size: int64(len(file.data))})
		ev, err := s.search(firstOffset)
		if err != nil || ev.synced != (place{}) || ev.first != 0 {
			t.Errorf("%s: found %+v, %v", name, ev, err)
		}
		if file.read > 3*len(file.data) {
			t.Errorf("%s: read %d bytes of %d", name, file.read, len(file.data))
		}
	}
	f("marks", recMark, 30_000, 7, 7)
	f("seals", recSeal, 5_000, 7, 7)
	f("both", recMark, 30_000, recSeal, 5_000)
}
