package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
)

// FuzzParseFrame gives any bytes to the frame decoder, as they are, with their
// checksums right, and with their length right too. What it takes must encode
// to the same bytes.
func FuzzParseFrame(f *testing.F) {
	for _, v := range vectors() {
		if k, _, _ := strings.Cut(v.name, "."); isFrame(k) {
			f.Add(v.b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(b []byte) {
			fr, err := ParseFrame(b, MaxFrameBytes)
			if err != nil {
				return
			}
			if fr.Size > len(b) || fr.Size != FrameHeaderBytes+len(fr.Trace)+len(fr.Body) {
				t.Fatalf("frame of %d bytes in %d: %d of trace, %d of body", fr.Size, len(b), len(fr.Trace), len(fr.Body))
			}
			again := BeginFrame(nil, fr.Type, fr.ID)
			again[5] = byte(fr.Flags)
			if again = EndFrame(append(append(again, fr.Trace...), fr.Body...), 0); !bytes.Equal(again, b[:fr.Size]) {
				t.Fatalf("%x is encoded as %x", b[:fr.Size], again)
			}
		}
		check(b)
		if len(b) >= FrameHeaderBytes { // past the checksums, with the length as it is and as it should be
			check(reseal(bytes.Clone(b)))
			c := bytes.Clone(b)
			c[0], c[1], c[2], c[3] = byte(len(c)), byte(len(c)>>8), byte(len(c)>>16), byte(len(c)>>24)
			check(reseal(c))
		}
	})
}

// bodyKinds are the decoders of message bodyKinds, each with a name of its vectors.
// What any of them takes must encode to the same bytes.
var bodyKinds = []string{
	"hello", "ack", "error", "write", "read", "reply", "status", "membership", "command", "query", "scan", "item", "entry",
}

// FuzzParseBody gives any bytes to a decoder, and what comes out of it to those
// that a receiver uses next. The first argument chooses: a kind of body, or the
// type of a message between members.
func FuzzParseBody(f *testing.F) {
	for i, kind := range bodyKinds {
		f.Add(byte(i), []byte{})
		for _, v := range vectors() {
			if k, _, _ := strings.Cut(v.name, "."); k == kind && isFrame(k) {
				f.Add(byte(i), v.b[FrameHeaderBytes:])
			} else if k == kind {
				f.Add(byte(i), v.b)
			}
		}
	}
	f.Add(byte(0), []byte{9, 0, 1, 0, 1, 5, 5, 5})
	f.Add(byte(8), encodeBatch(encodeBatch()))
	for _, m := range peerMessages() {
		f.Add(byte(m.Type), AppendPeerFrame(nil, &m)[FrameHeaderBytes:])
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		kept := bytes.Clone(b)
		if int(kind) < len(bodyKinds) {
			takeBody(t, bodyKinds[kind], b, 0)
		} else {
			takePeer(t, FrameType(kind), b)
		}
		if !bytes.Equal(b, kept) {
			t.Fatalf("decoder %d wrote to its input", kind)
		}
	})
}

// takeBody decodes a body, encodes it again, and goes on with what it holds.
func takeBody(t *testing.T, kind string, b []byte, depth int) {
	if kind == "entry" {
		takeEntry(t, b)
		return
	}
	again, err := recodeBody(kind, b)
	if err != nil {
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("%s: %v", kind, err)
		}
		return
	}
	if exact(kind, b) && !bytes.Equal(again, b) {
		t.Fatalf("%s %x is encoded as %x", kind, b, again)
	}
	if depth > 0 {
		return
	}
	switch kind {
	case "write":
		_, command, _ := ParseWrite(b)
		takeBody(t, "command", command, 1)
	case "read":
		_, query, _ := ParseRead(b)
		takeBody(t, "query", query, 1)
	case "reply":
		_, result, _ := ParseReply(b)
		takeBody(t, "scan", result, 1)
	case "scan":
		res, _ := ParseScanResult(b)
		for rest := res.Items; len(rest) > 0 && err == nil; { // as a client walks them
			takeBody(t, "item", rest, 1)
			_, rest, err = ParseItem(rest)
		}
	case "command":
		takeCommand(t, b)
	case "membership":
		takeMembership(t, b)
	}
}

// takeMembership checks what whoever follows a configuration relies on.
func takeMembership(t *testing.T, b []byte) {
	m, _ := ParseMembership(b)
	ids, names, voters := map[NodeID]bool{0: true}, map[string]bool{"": true}, 0
	for i, mb := range m.Members {
		if ids[mb.ID] || names[mb.Name] || mb.ID >= m.NextID || i > 0 && mb.ID < m.Members[i-1].ID {
			t.Fatalf("member %d of %+v", i, m)
		}
		ids[mb.ID], names[mb.Name] = true, true
		if mb.Role == Voter {
			voters++
		}
	}
	for i, id := range m.Outgoing {
		if id == 0 || !ids[id] || i > 0 && id <= m.Outgoing[i-1] {
			t.Fatalf("outgoing voter %d of %+v", i, m)
		}
	}
	if voters == 0 || len(m.Members) > MaxMembers {
		t.Fatalf("%d voters in %+v", voters, m)
	}
}

// exact reports whether a body that was taken has one encoding only: of a later
// version's hello some is passed over, and some limits all mean the largest.
func exact(kind string, b []byte) bool {
	switch kind {
	case "hello":
		h, _ := ParseHello(b)
		_, refused := Negotiate(&h)
		return refused == nil && h.Version == Version
	case "query":
		return QueryOp(b[0]) != QueryScan || u32(b[2:]) != 0 && u32(b[2:]) <= MaxScanKeys
	}
	return true
}

// takeCommand checks the limits that whoever applies a command relies on.
func takeCommand(t *testing.T, b []byte) {
	c, _ := ParseCommand(b)
	simple := func(c Command) {
		if len(c.Key) == 0 || len(c.Key) > MaxKeyBytes || c.Op == OpBatch || len(c.Batch) > 0 {
			t.Fatalf("%v of a key of %d bytes", c.Op, len(c.Key))
		}
		if c.Op == OpCAS && c.Mode == CASRevision {
			_ = c.Revision()
		}
	}
	if c.Op != OpBatch {
		simple(c)
		return
	}
	n := 0
	for rest := c.Batch; len(rest) > 0; n++ {
		var item Command
		var err error
		if item, rest, err = NextBatchItem(rest); err != nil {
			t.Fatalf("item %d of a batch that was taken: %v", n, err)
		}
		simple(item)
	}
	if n != c.Count || n > MaxBatchOps || len(b) > MaxCommandBytes {
		t.Fatalf("batch of %d commands has %d, %d bytes", c.Count, n, len(b))
	}
}

// takeEntry decodes an entry as it is, and with its length and checksum right.
func takeEntry(t *testing.T, b []byte) {
	check := func(b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			if !errors.Is(err, ErrEntryShort) && !errors.Is(err, ErrEntryCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again := AppendEntry(nil, EntryHead{Type: e.Type, Index: e.Index, Term: e.Term}, e.Payload, nil); !bytes.Equal(again, b[:e.Size]) {
			t.Fatalf("%x is encoded as %x", b[:e.Size], again)
		}
		// The accessors must stand any payload.
		at, _ := e.Time()
		if stamp, command, err := e.Command(); err == nil && (stamp.Time != at || len(command) != len(e.Payload)-StampBytes) {
			t.Fatalf("time %d, stamp %+v, command of %d bytes in %d", at, stamp, len(command), len(e.Payload))
		}
		if m, err := e.Membership(); err == nil && m.Check() != nil {
			t.Fatalf("membership %+v is taken, and %v", m, m.Check())
		}
	}
	check(b)
	if len(b) < EntryHeaderBytes {
		return
	}
	for _, size := range []uint32{uint32(len(b)), u32(b)} {
		c := bytes.Clone(b)
		binary.LittleEndian.PutUint32(c, size)
		end := max(min(int(size), len(c)), EntryHeaderBytes)
		binary.LittleEndian.PutUint32(c[24:], crc32.Update(Checksum(c[:24]), Castagnoli, c[EntryHeaderBytes:end]))
		check(c)
	}
}

// takePeer decodes a message between members and walks its entries.
func takePeer(t *testing.T, typ FrameType, b []byte) {
	m, err := ParsePeer(Frame{Type: typ, Body: b})
	if err != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		return
	}
	if again := AppendPeerFrame(nil, &m); again[4] != byte(typ) || !bytes.Equal(again[FrameHeaderBytes:], b) {
		t.Fatalf("type %d, %x is encoded as %x", typ, b, again)
	}
	if m.From == 0 || len(m.Entries) > 0 && typ != FrameAppend {
		t.Fatalf("%+v is taken", m)
	}
	for rest := m.Entries; len(rest) > 0; { // as a receiver walks them
		e, err := ParseEntry(rest)
		if err != nil {
			return
		}
		rest = rest[e.Size:]
	}
}
