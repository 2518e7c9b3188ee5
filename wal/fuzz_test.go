package wal

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// memFile is the least a File can be.
type memFile struct{ b []byte }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.b)) {
		return 0, nil
	}
	return copy(p, f.b[off:]), nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) { return copy(f.b[off:], p), nil }
func (f *memFile) Sync() error                              { return nil }
func (f *memFile) Size() (int64, error)                     { return int64(len(f.b)), nil }
func (f *memFile) Close() error                             { return nil }

// withCRC makes the last four bytes of b[:n] right, so that the fuzzer gets
// past them.
func withCRC(b []byte, n int, seed uint32) {
	le.PutUint32(b[n-4:n], crc32.Update(seed, castagnoli, b[:n-4]))
}

// What a decoder accepts, the encoder writes the same way; and nothing makes
// it panic.
func FuzzDecoders(f *testing.F) {
	seed := placeSeed(identitySeed(1, goldenOwner), firstOffset)
	group := goldenGroup()
	header := make([]byte, segHeaderBytes)
	putSegHeader(header, segHeader{number: 1, owner: goldenOwner, size: 8192})
	slot0 := make([]byte, slotBytes)
	putSlot(slot0, 0, &slot{version: 3, vote: wire.Vote{Term: 5, For: 2}, owner: goldenOwner})
	for _, b := range [][]byte{
		header, group[:groupHeaderBytes], group[groupHeaderBytes+104:], goldenSeal(), slot0,
		appendIdentity(nil, &Identity{Name: "n1"}), nil,
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, d := range decoders(seed) {
			b := bytes.Clone(in)
			if n := min(len(b), d.size); n >= d.least {
				withCRC(b, n, d.seed)
				b = b[:n]
			}
			if again := d.roundTrip(b); again != nil && !bytes.Equal(again, b) {
				t.Fatalf("%s: accepted\n%x\nencoded\n%x", d.name, b, again)
			}
		}
	})
}

// decoder is one decoder under test: its record's size (at most), and a
// function that returns the encoding of what it accepted, nil if it did not.
type decoder struct {
	name        string
	least, size int
	seed        uint32
	roundTrip   func(b []byte) []byte
}

func decoders(seed uint32) []decoder {
	const open = 1 << 20
	return []decoder{
		{"segment header", segHeaderBytes, segHeaderBytes, 0, func(b []byte) []byte {
			h, reason := parseSegHeader(b)
			if reason != "" || le.Uint32(b[12:]) != 0 || !allZero(b[48:56]) || le.Uint32(b[56:]) != 0 {
				return nil // reserved bytes are not looked at
			}
			out := make([]byte, segHeaderBytes)
			putSegHeader(out, h)
			return out
		}},
		{"group header", groupHeaderBytes, groupHeaderBytes, seed, func(b []byte) []byte {
			if len(b) < groupHeaderBytes {
				return nil
			}
			h, ok := parseGroupHeader(b, seed)
			if !ok {
				return nil
			}
			out := make([]byte, groupHeaderBytes)
			putGroupHeader(out, &h, seed)
			return out
		}},
		{"mark", markFixedBytes, open, seed, func(b []byte) []byte {
			m, ok := parseMark(b, seed, nil)
			if !ok {
				return nil
			}
			out := le.AppendUint32(appendMark(nil, &m), m.chain)
			return le.AppendUint32(out, crc32.Update(seed, castagnoli, out))
		}},
		{"seal", sealFixedBytes, open, seed, func(b []byte) []byte {
			s, ok := parseSeal(b, seed)
			if !ok || le.Uint32(b[68:]) != 0 {
				return nil
			}
			out := le.AppendUint32(appendSeal(nil, &s), s.chain)
			return le.AppendUint32(out, crc32.Update(seed, castagnoli, out))
		}},
		{"slot", slotBytes, slotBytes, 0, func(b []byte) []byte {
			s, ok := parseSlot(b, 0)
			if !ok || le.Uint32(b[56:]) > 1 || !allZero(b[60:68]) {
				return nil
			}
			out := make([]byte, slotBytes)
			putSlot(out, 0, &s)
			return out
		}},
		{"identity", identityFixedBytes + 4, open, 0, func(b []byte) []byte {
			id, reason := parseIdentity(b)
			if reason != "" {
				return nil
			}
			return appendIdentity(nil, &id)
		}},
	}
}
