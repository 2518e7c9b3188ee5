package wal

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

var goldenOwner = wire.ReplicaID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}

// unhex reads hex with spaces and lines.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if !slices.Equal(got, unhex(t, want)) {
		t.Errorf("%s:\n%s", what, hex.Dump(got))
		for line := range slices.Chunk(got, 16) {
			t.Logf("%x", line)
		}
	}
}

// goldenGroup is the first group of segment 1: a no-op and a command of terms
// 1 and 2.
func goldenGroup() []byte {
	entries := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryNoop, Index: 1, Term: 1}, nil, []byte{7, 0, 0, 0, 0, 0, 0, 0})
	entries = wire.AppendEntry(entries, wire.EntryHead{Type: wire.EntryCommand, Index: 2, Term: 2}, wire.AppendStamp(nil, wire.Stamp{Time: 8}), []byte("x"))
	b := make([]byte, groupHeaderBytes)
	seed := identitySeed(1, goldenOwner)
	putGroupHeader(b, &groupHeader{prev: seed, segment: 1, sequence: 1, first: 1, bytes: uint32(len(entries)), runs: 2, count: 2}, placeSeed(seed, firstOffset))
	b = append(b, entries...)
	b = append(b, zeroPad[:align8(int64(len(entries)))-int64(len(entries))]...)
	tail := len(b)
	b = appendMark(b, &mark{
		sequence: 1, first: 1, count: 2, bytes: uint32(len(entries)), synced: place{1, firstOffset},
		runs: []wire.TermRun{{First: 1, Term: 1}, {First: 2, Term: 2}},
	})
	b, _ = closeRecord(b, tail, seed, placeSeed(seed, firstOffset+int64(tail)))
	return b
}

// goldenSeal ends a segment after the group above.
func goldenSeal() []byte {
	b := appendSeal(nil, &seal{
		prev: 0x11223344, segment: 1, sequence: 1, synced: place{1, 752}, successor: 2, last: 2, reason: sealRotate,
		points: []point{{1, firstOffset}}, runs: []wire.TermRun{{First: 1, Term: 1}, {First: 2, Term: 2}},
	})
	b, _ = closeRecord(b, 0, 0x11223344, placeSeed(identitySeed(1, goldenOwner), 752))
	return b
}

// The log writes the golden group, byte for byte.
func TestLogWritesGoldenGroup(t *testing.T) {
	var l Log
	l.opt.Owner = goldenOwner
	f := &memFile{b: make([]byte, 8192)}
	l.live.first = 1
	l.begin(1, f, 8192)
	l.synced = l.end()
	g := goldenGroup()
	entries := g[groupHeaderBytes : groupHeaderBytes+97]
	if err := l.Append([][]byte{entries[:36], entries[36:]}); err != nil {
		t.Fatal(err)
	}
	if got := f.b[firstOffset : firstOffset+len(g)]; !slices.Equal(got, g) {
		t.Errorf("the log wrote\n%s", hex.Dump(got))
	}
	if !allZero(f.b[:firstOffset]) || !allZero(f.b[firstOffset+len(g):]) {
		t.Error("the log wrote elsewhere")
	}
}

func TestGolden(t *testing.T) {
	header := make([]byte, segHeaderBytes)
	putSegHeader(header, segHeader{number: 1, owner: goldenOwner, size: 8192})
	golden(t, "segment header", header, `
		64 6e 6f 64 65 57 41 4c 01 00 00 00 00 00 00 00
		01 00 00 00 00 00 00 00 a0 a1 a2 a3 a4 a5 a6 a7
		a8 a9 aa ab ac ad ae af 00 20 00 00 00 00 00 00
		00 00 00 00 00 00 00 00 00 00 00 00 b2 6d fe 1e`)
	golden(t, "group", goldenGroup(), `
		01 00 00 00 72 16 87 a0 01 00 00 00 00 00 00 00
		01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
		61 00 00 00 02 00 00 00 02 00 00 00 2b fa 76 43
		24 00 00 00 01 00 00 00 01 00 00 00 00 00 00 00
		01 00 00 00 00 00 00 00 71 6d 5a c1 07 00 00 00
		00 00 00 00 3d 00 00 00 02 00 00 00 02 00 00 00
		00 00 00 00 02 00 00 00 00 00 00 00 0b 8b 05 e1
		08 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
		00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
		78 00 00 00 00 00 00 00 02 00 00 00 02 00 00 00
		01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
		02 00 00 00 61 00 00 00 01 00 00 00 00 00 00 00
		00 02 00 00 00 00 00 00 01 00 00 00 00 00 00 00
		01 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00
		02 00 00 00 00 00 00 00 2e b2 e9 59 14 fb 7f bb`)
	golden(t, "seal", goldenSeal(), `
		03 00 00 00 44 33 22 11 01 00 00 00 00 00 00 00
		01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
		f0 02 00 00 00 00 00 00 02 00 00 00 00 00 00 00
		02 00 00 00 00 00 00 00 01 00 00 00 02 00 00 00
		02 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
		00 02 00 00 00 00 00 00 01 00 00 00 00 00 00 00
		01 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00
		02 00 00 00 00 00 00 00 32 e8 49 f7 cd f4 98 d3`)
	slot0 := make([]byte, slotBytes)
	putSlot(slot0, 0, &slot{version: 3, vote: wire.Vote{Term: 5, For: 2}, owner: goldenOwner})
	golden(t, "vote slot 0", slot0, `
		64 6e 6f 64 65 56 4f 54 01 00 00 00 00 00 00 00
		03 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00
		02 00 00 00 00 00 00 00 a0 a1 a2 a3 a4 a5 a6 a7
		a8 a9 aa ab ac ad ae af 00 00 00 00 00 00 00 00
		00 00 00 00 a5 29 cc c3`)
	id := appendIdentity(nil, &Identity{Replica: goldenOwner, Name: "n1", Cluster: wire.ClusterID{0xc0, 15: 0xcf}, ID: 1, LastSealed: 4})
	golden(t, "identity", id, `
		64 6e 6f 64 65 49 44 00 01 00 00 00 a0 a1 a2 a3
		a4 a5 a6 a7 a8 a9 aa ab ac ad ae af c0 00 00 00
		00 00 00 00 00 00 00 00 00 00 00 cf 01 00 00 00
		00 00 00 00 04 00 00 00 00 00 00 00 02 00 00 00
		6e 31 b1 c1 a9 7c`)
}
