package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// code returns the code of an *Error, 0 of any other error or none.
func code(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// reseal makes both checksums of a frame that was tampered with right again.
func reseal(b []byte) []byte {
	le := func(p []byte, v uint32) { p[0], p[1], p[2], p[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24) }
	le(b[16:], Checksum(b[24:]))
	le(b[20:], Checksum(b[:20]))
	return b
}

func TestParseFrameTakesOnlyTheFirst(t *testing.T) {
	a := AppendFrame(nil, FrameWrite, 7, []byte("one"))
	both := AppendFrame(bytes.Clone(a), FrameRead, 8, nil)
	f, err := ParseFrame(both, MaxFrameBytes)
	if err != nil || f.Type != FrameWrite || f.ID != 7 || string(f.Body) != "one" || f.Size != len(a) || f.Trace != nil {
		t.Fatalf("first frame: %+v, %v", f, err)
	}
	if cap(f.Body) != len(f.Body) {
		t.Fatal("appending to a body would overwrite the next frame")
	}
	f, err = ParseFrame(both[f.Size:], MaxFrameBytes)
	if err != nil || f.Type != FrameRead || f.ID != 8 || len(f.Body) != 0 {
		t.Fatalf("second frame: %+v, %v", f, err)
	}
}

func TestTraceIsNotPartOfTheBody(t *testing.T) {
	tr := Trace(bytes.Repeat([]byte{7}, TraceBytes))
	b := EndFrame(append(BeginTracedFrame([]byte("before"), FrameRead, 1, &tr), "body"...), 6)
	f, err := ParseFrame(b[6:], MaxFrameBytes)
	if err != nil || string(f.Body) != "body" || !bytes.Equal(f.Trace, tr[:]) || f.Flags != FlagTrace {
		t.Fatalf("traced frame: %+v, %v", f, err)
	}
}

func TestEveryPrefixOfAFrameIsShort(t *testing.T) {
	for _, v := range vectors() {
		kind, _, _ := strings.Cut(v.name, ".")
		if !isFrame(kind) {
			continue
		}
		for n := range v.b {
			if f, err := ParseFrame(v.b[:n:n], MaxAppendBytes); err != ErrShortFrame || n >= FrameHeaderBytes && f.Size != len(v.b) {
				t.Fatalf("%s cut to %d bytes: size %d, %v", v.name, n, f.Size, err)
			}
		}
	}
}

func TestEveryFlippedBitOfAFrameIsFound(t *testing.T) {
	tr := Trace{1, 2, 3}
	b := EndFrame(append(BeginTracedFrame(nil, FrameWrite, 3, &tr), "some body"...), 0)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := ParseFrame(b, MaxFrameBytes); code(err) != CodeBadFrame {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func TestHeaderFields(t *testing.T) {
	f := func(want Code, change func(b []byte)) {
		t.Helper()
		b := AppendFrame(nil, FrameWrite, 7, make([]byte, 30))
		change(b)
		if _, err := ParseFrame(reseal(b), 64); code(err) != want {
			t.Fatalf("%v, want code %d", err, want)
		}
	}
	f(0, func([]byte) {})
	f(CodeBadFrame, func(b []byte) { b[0] = 23 })             // shorter than its header
	f(CodeBadFrame, func(b []byte) { b[0] = 0 })              // nothing
	f(CodeTooLarge, func(b []byte) { b[0] = 65 })             // one above the limit
	f(CodeTooLarge, func(b []byte) { b[3] = 0xff })           // 4 GiB
	f(CodeBadFrame, func(b []byte) { b[4] = 0 })              // type zero
	f(0, func(b []byte) { b[4] = 99 })                        // an unknown type is for others to judge
	f(CodeBadFrame, func(b []byte) { b[5] = 4 })              // unknown flag
	f(CodeBadFrame, func(b []byte) { b[5] = 0x80 })           // unknown flag
	f(0, func(b []byte) { b[5] = byte(FlagTrace) })           // 25 of the 30 bytes are trace context
	f(CodeBadFrame, func(b []byte) { b[6] = 1 })              // reserved
	f(CodeBadFrame, func(b []byte) { b[7] = 1 })              // reserved
	f(0, func(b []byte) { b[8], b[15] = 0xff, 0xff })         // any id
	f(0, func(b []byte) { copy(b[24:], "a different body") }) // resealed
	short := AppendFrame(nil, FrameRead, 1, make([]byte, TraceBytes-1))
	short[5] = byte(FlagTrace)
	if _, err := ParseFrame(reseal(short), 64); code(err) != CodeBadFrame {
		t.Fatalf("a trace context that does not fit: %v", err)
	}
	if _, err := ParseFrame(AppendFrame(nil, FrameRead, 1, make([]byte, 40)), 64); err != nil {
		t.Fatalf("a frame exactly at the limit: %v", err)
	}
}

func TestTooLargeIsKnownFromTheHeader(t *testing.T) {
	b := AppendFrame(nil, FrameWrite, 7, make([]byte, 100))
	if _, err := ParseFrame(b[:FrameHeaderBytes], 64); code(err) != CodeTooLarge {
		t.Fatalf("header of an oversized frame alone: %v", err)
	}
}

func TestEndFramePanicsWithoutAHeader(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("EndFrame completed a frame that was never begun")
		}
	}()
	EndFrame(make([]byte, 30), 20)
}

func TestNoAllocations(t *testing.T) {
	m := PeerMessage{Type: FrameAppend, From: 1, Term: 5, Index: 10, LogTerm: 4, Commit: 9, Entries: testEntries()}
	append1 := AppendPeerFrame(nil, &m)
	batch := encodeBatch(AppendPut(nil, []byte("k"), []byte("v")), AppendDelete(nil, []byte("k")))
	write := AppendFrame(nil, FrameWrite, 1, AppendWrite(nil, Stamp{}, batch))
	read := AppendFrame(nil, FrameRead, 2, AppendRead(nil, Stale, AppendGet(nil, []byte("k"))))
	scan := AppendScan(nil, Query{Limit: 1, Start: []byte("a")})
	item := AppendItem(nil, testItem())
	buf := make([]byte, 0, 4096)
	s := openAcceptor(t, SessionConfig{Side: ClientSide, Accepts: true})

	f := func(what string, fn func() error) {
		t.Helper()
		if n := testing.AllocsPerRun(100, func() {
			if err := fn(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
	f("ParseFrame", func() error { _, err := ParseFrame(write, MaxFrameBytes); return err })
	f("ParseFrame, short", func() error { _, _ = ParseFrame(write[:30], MaxFrameBytes); return nil })
	f("ParseCommand", func() error { _, err := ParseCommand(batch); return err })
	f("ParseQuery", func() error { _, err := ParseQuery(scan); return err })
	f("ParseItem", func() error { _, _, err := ParseItem(item); return err })
	f("ParseEntry", func() error { _, err := ParseEntry(m.Entries); return err })
	f("ParsePeer", func() error {
		fr, err := ParseFrame(append1, MaxAppendBytes)
		if err == nil {
			_, err = ParsePeer(fr)
		}
		return err
	})
	f("AppendPeerFrame", func() error { buf = AppendPeerFrame(buf[:0], &m); return nil })
	f("AppendFrame", func() error { buf = AppendFrame(buf[:0], FrameWrite, 1, batch); return nil })
	f("Session and parsing of a write and a read", func() error {
		fr, n, err := s.Next(write)
		if err != nil {
			return err
		}
		if _, _, err = ParseWrite(fr.Body); err != nil {
			return err
		}
		s.Replied(n)
		if fr, n, err = s.Next(read); err != nil {
			return err
		}
		_, _, err = ParseRead(fr.Body)
		s.Replied(n)
		return err
	})
}

func encodeBatch(commands ...[]byte) []byte {
	b := AppendBatchHeader(nil, len(commands))
	for _, c := range commands {
		b = AppendBatchItem(b, c)
	}
	return b
}

func BenchmarkParseFrame(b *testing.B) {
	frame := AppendFrame(nil, FrameWrite, 1, AppendWrite(nil, Stamp{}, AppendPut(nil, make([]byte, 8), make([]byte, 256))))
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if _, err := ParseFrame(frame, MaxFrameBytes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEntry(b *testing.B) {
	entry := AppendEntry(nil, EntryHead{Type: EntryCommand, Index: 1, Term: 1}, AppendStamp(nil, Stamp{}), AppendPut(nil, make([]byte, 8), make([]byte, 256)))
	b.SetBytes(int64(len(entry)))
	for b.Loop() {
		if _, err := ParseEntry(entry); err != nil {
			b.Fatal(err)
		}
	}
}
