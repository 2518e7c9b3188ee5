package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// seed adds the vectors of a kind: bodies, or whole frames where whole is set.
func seed(f *testing.F, kind string, whole bool) {
	f.Helper()
	f.Add([]byte{})
	for _, v := range vectors() {
		k, _, _ := strings.Cut(v.name, ".")
		if k != kind && (kind != "frame" || !isFrame(k)) {
			continue
		}
		b := v.b
		if isFrame(k) && !whole {
			b = b[FrameHeaderBytes:]
		}
		f.Add(b)
	}
}

// canonical checks the property that all decoders of one encoding share: what
// is taken encodes to the same bytes again, and nothing panics.
func canonical(t *testing.T, kind string, b []byte) {
	t.Helper()
	kept := bytes.Clone(b)
	again, err := recodeBody(kind, b)
	if !bytes.Equal(b, kept) {
		t.Fatal("the decoder wrote to its input")
	}
	if err == nil && !bytes.Equal(again, b) {
		t.Fatalf("%x is encoded as %x", b, again)
	}
}

func FuzzParseFrame(f *testing.F) {
	seed(f, "frame", true)
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

func FuzzParseHello(f *testing.F) {
	seed(f, "hello", false)
	f.Add([]byte{9, 0, 1, 0, 1, 5, 5, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHello(b)
		if err != nil {
			return
		}
		if h.MinVersion == 0 || h.MinVersion > h.Version {
			t.Fatalf("versions %d to %d", h.MinVersion, h.Version)
		}
		if _, refused := Negotiate(&h); refused == nil && h.Version == Version {
			canonical(t, "hello", b)
		}
	})
}

func FuzzParseHelloAck(f *testing.F) {
	seed(f, "ack", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "ack", b) })
}

func FuzzParseWrite(f *testing.F) {
	seed(f, "write", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "write", b) })
}

func FuzzParseRead(f *testing.F) {
	seed(f, "read", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "read", b) })
}

func FuzzParseReply(f *testing.F) {
	seed(f, "reply", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "reply", b) })
}

func FuzzParseStatus(f *testing.F) {
	seed(f, "status", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "status", b) })
}

func FuzzParseError(f *testing.F) {
	seed(f, "error", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "error", b) })
}

func FuzzParseMembership(f *testing.F) {
	seed(f, "membership", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "membership", b) })
}

func FuzzParsePeer(f *testing.F) {
	for _, m := range peerMessages() {
		f.Add(byte(m.Type), AppendPeerFrame(nil, &m)[FrameHeaderBytes:])
	}
	f.Fuzz(func(t *testing.T, typ byte, b []byte) {
		m, err := ParsePeer(Frame{Type: FrameType(typ), Body: b})
		if err != nil {
			return
		}
		if again := AppendPeerFrame(nil, &m); again[4] != typ || !bytes.Equal(again[FrameHeaderBytes:], b) {
			t.Fatalf("type %d, %x is encoded as %x", typ, b, again)
		}
		for rest := m.Entries; len(rest) > 0; { // as a receiver walks them
			e, err := ParseEntry(rest)
			if err != nil {
				return
			}
			rest = rest[e.Size:]
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	seed(f, "entry", false)
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(b []byte) {
			e, err := ParseEntry(b)
			if err != nil {
				return
			}
			if again := AppendEntry(nil, EntryHead{Type: e.Type, Index: e.Index, Term: e.Term}, e.Payload, nil); !bytes.Equal(again, b[:e.Size]) {
				t.Fatalf("%x is encoded as %x", b[:e.Size], again)
			}
			// The accessors must stand any payload.
			_, _ = e.Time()
			_, _, _ = e.Command()
			_, _ = e.Membership()
		}
		check(b)
		if len(b) >= EntryHeaderBytes { // past the checksum
			check(AppendEntry(nil, EntryHead{Type: EntryType(b[4]), Index: Index(u32(b[8:])), Term: Term(u32(b[16:]))}, b[EntryHeaderBytes:], nil))
		}
	})
}

func FuzzParseCommand(f *testing.F) {
	seed(f, "command", false)
	f.Add(encodeBatch(encodeBatch()))
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, "command", b)
		if c, err := ParseCommand(b); err == nil && c.Op == OpCAS && c.Mode == CASRevision {
			_ = c.Revision()
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	seed(f, "query", false)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseQuery(b)
		if err != nil || q.Op == QueryScan && (u32(b[2:]) == 0 || u32(b[2:]) > MaxScanKeys) {
			return // a limit that means the largest is not encoded again
		}
		canonical(t, "query", b)
	})
}

func FuzzParseScanResult(f *testing.F) {
	seed(f, "scan", false)
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, "scan", b)
		res, err := ParseScanResult(b)
		if err != nil {
			return
		}
		for rest := res.Items; len(rest) > 0; { // as a client walks them
			var it Item
			if it, rest, err = ParseItem(rest); err != nil {
				return
			}
			_ = it
		}
	})
}

func FuzzParseItem(f *testing.F) {
	seed(f, "item", false)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, "item", b) })
}

// trail is what an owner saw of one connection.
type trail struct {
	t       *testing.T
	s       Session
	mode    byte // what the owner does: bit 0 answers requests at once
	seen    []string
	failure Code
}

// feed gives the session what the owner holds and returns what is left.
func (tr *trail) feed(buf []byte) []byte {
	for {
		f, n, err := tr.s.Next(buf)
		if err != nil {
			tr.failure = code(err)
			if tr.failure == 0 || n != 0 {
				tr.t.Fatalf("%d bytes taken with %v", n, err)
			}
			return nil
		}
		limit := tr.s.frameLimit()
		if n == 0 {
			if need := tr.s.Need(); tr.s.phase != greeted && (need <= len(buf) || need > max(limit, FrameHeaderBytes)) {
				tr.t.Fatalf("needs %d bytes, has %d, limit %d", need, len(buf), limit)
			}
			return buf
		}
		tr.seen = append(tr.seen, fmt.Sprintf("%v %x %d %x %x", f.Type, f.Flags, f.ID, f.Trace, f.Body))
		tr.act(f, n)
		buf = buf[n:]
	}
}

// act is the owner: it opens the session and answers requests.
func (tr *trail) act(f Frame, n int) {
	requests, size := tr.s.InFlight()
	if n != f.Size || requests > tr.s.cfg.Requests || size > tr.s.cfg.Bytes {
		tr.t.Fatalf("frame of %d bytes took %d, in flight %d requests, %d bytes", f.Size, n, requests, size)
	}
	switch {
	case f.Type == FrameHello && tr.mode&2 != 0:
		tr.s.Accept(&HelloAck{Version: 1, Features: uint64(tr.mode) >> 2 & FeatureS2})
	case f.Type == FrameHelloAck:
		tr.s.Opened()
	case requests > 0 && tr.mode&1 != 0:
		tr.s.Replied(n)
	}
}

// FuzzSession gives one stream whole, and again cut up at random into a
// buffer that is overwritten between reads: the owner must see the same.
func FuzzSession(f *testing.F) {
	hello := []byte{1, 0, 0, 56, 16, 0, 1, 40, 18, 0, 2, 9, 50, 1, 3, 60}
	f.Add(hello, uint64(1), byte(3), byte(0b001))
	f.Add(hello, uint64(2), byte(2), byte(0b001))
	f.Add([]byte{2, 0, 0, 70, 17, 0, 1, 9, 3, 0, 0, 9}, uint64(3), byte(2), byte(0b000))
	f.Add([]byte{1, 0, 0, 56, 68, 2, 0, 200, 70, 0, 0, 64}, uint64(4), byte(6), byte(0b011))
	f.Add([]byte{1, 0, 0, 56, 0, 0, 0, 0}, uint64(5), byte(2), byte(0b001))
	f.Fuzz(func(t *testing.T, script []byte, cuts uint64, mode, end byte) {
		cfg := SessionConfig{Side: ClientSide, Accepts: end&1 != 0, Requests: 3, Bytes: 600, MaxFrame: 256}
		if end&2 != 0 {
			cfg.Side = PeerSide
		}
		stream := play(script)
		whole := &trail{t: t, s: NewSession(cfg, 0), mode: mode}
		rest := whole.feed(bytes.Clone(stream))

		cut := &trail{t: t, s: NewSession(cfg, 0), mode: mode}
		rng := rand.New(rand.NewPCG(cuts, 1))
		var left []byte
		for len(stream) > 0 && cut.failure == 0 {
			n := min(1+rng.IntN(40), len(stream))
			buf := append(bytes.Clone(left), stream[:n]...)
			left = bytes.Clone(cut.feed(buf))
			for i := range buf {
				buf[i] = 0xdb // whoever still looks at it will notice
			}
			stream = stream[n:]
		}
		if fmt.Sprint(whole.seen) != fmt.Sprint(cut.seen) || whole.failure != cut.failure {
			t.Fatalf("whole: %q, code %d\ncut up: %q, code %d", whole.seen, whole.failure, cut.seen, cut.failure)
		}
		if cut.failure == 0 && !bytes.Equal(rest, left) {
			t.Fatalf("%d bytes are left of the whole stream, %d of the one cut up", len(rest), len(left))
		}
	})
}

// play turns a script into a stream: four bytes give a frame's type, flags, id
// and body size; type zero gives one stray byte instead.
func play(script []byte) []byte {
	var stream []byte
	for ; len(script) >= 4; script = script[4:] {
		if script[0] == 0 {
			stream = append(stream, script[1])
			continue
		}
		b := AppendFrame(nil, FrameType(script[0]), uint64(script[2]), make([]byte, script[3]))
		b[5] = script[1]
		stream = append(stream, reseal(b)...)
	}
	return append(stream, script...)
}
