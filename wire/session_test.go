package wire

import (
	"bytes"
	"testing"
)

var (
	clientHello = Hello{Version: 1, MinVersion: 1, Side: ClientSide, Name: "c"}
	putBody     = AppendWrite(nil, Stamp{}, AppendPut(nil, []byte("k"), []byte("v")))
)

func helloFrame() []byte { return AppendFrame(nil, FrameHello, 0, AppendHello(nil, &clientHello)) }

func ackFrame() []byte {
	a := testAck()
	return AppendFrame(nil, FrameHelloAck, 0, AppendHelloAck(nil, &a))
}

// openAcceptor returns an acceptor's session behind its hello.
func openAcceptor(t testing.TB, cfg SessionConfig) *Session {
	t.Helper()
	cfg.Accepts = true
	s := NewSession(cfg, 0)
	if _, n, err := s.Next(helloFrame()); n == 0 || err != nil {
		t.Fatalf("hello: %d, %v", n, err)
	}
	s.Accept(&HelloAck{Version: 1, Features: cfg.features()})
	return &s
}

// features lets tests of the peer side agree on compression.
func (c SessionConfig) features() uint64 {
	if c.Side == PeerSide {
		return FeatureS2
	}
	return 0
}

func openCaller(t testing.TB, side Side) *Session {
	t.Helper()
	s := NewSession(SessionConfig{Side: side}, 0)
	if _, n, err := s.Next(ackFrame()); n == 0 || err != nil {
		t.Fatalf("ack: %d, %v", n, err)
	}
	s.Opened()
	return &s
}

// TestWhichFramesMayCome tries every type, with and without an id, at each of
// the four ends, before and after the hello.
func TestWhichFramesMayCome(t *testing.T) {
	f := func(what string, mk func() *Session, withID bool, allowed ...FrameType) {
		t.Helper()
		for typ := FrameType(1); typ != 0; typ++ {
			id := uint64(0)
			if withID {
				id = 9
			}
			s := mk()
			_, n, err := s.Next(AppendFrame(nil, typ, id, nil))
			good := bytes.Contains(typesOf(allowed), []byte{byte(typ)})
			if good && (n == 0 || err != nil) {
				t.Errorf("%s, id %d: %v refused: %v", what, id, typ, err)
			}
			if !good && (n != 0 || code(err) != CodeUnexpected) {
				t.Errorf("%s, id %d: %v taken: %d, %v", what, id, typ, n, err)
			}
		}
	}
	fresh := func(side Side, accepts bool) func() *Session {
		return func() *Session { s := NewSession(SessionConfig{Side: side, Accepts: accepts}, 0); return &s }
	}
	var requests []FrameType
	for typ := FrameType(4); typ < FramePreVote; typ++ {
		if typ != FrameWriteReply && typ != FrameReadReply && typ != FrameStatusReply {
			requests = append(requests, typ) // unknown ones included
		}
	}
	replies := []FrameType{FrameError, FrameWriteReply, FrameReadReply, FrameStatusReply}
	peers := []FrameType{64, 65, 66, 67, 68, 69, 70, 71}
	for _, side := range []Side{ClientSide, PeerSide} {
		f("fresh acceptor", fresh(side, true), false, FrameHello)
		f("fresh acceptor", fresh(side, true), true)
		f("fresh caller", fresh(side, false), false, FrameHelloAck, FrameError)
		f("fresh caller", fresh(side, false), true)
	}
	clientAcceptor := func() *Session { return openAcceptor(t, SessionConfig{Side: ClientSide}) }
	peerAcceptor := func() *Session { return openAcceptor(t, SessionConfig{Side: PeerSide}) }
	f("client port", clientAcceptor, false)
	f("client port", clientAcceptor, true, requests...)
	f("client", func() *Session { return openCaller(t, ClientSide) }, false, replies...)
	f("client", func() *Session { return openCaller(t, ClientSide) }, true, replies...)
	f("peer port", peerAcceptor, false, peers...)
	f("peer port", peerAcceptor, true)
	f("peer", func() *Session { return openCaller(t, PeerSide) }, false, FrameError)
	f("peer", func() *Session { return openCaller(t, PeerSide) }, true, FrameError)
}

func typesOf(types []FrameType) []byte {
	var b []byte
	for _, t := range types {
		b = append(b, byte(t))
	}
	return b
}

func TestCompressionMustBeAgreedOn(t *testing.T) {
	f := func(s *Session, want Code) {
		t.Helper()
		b := AppendFrame(nil, FrameAppend, 0, nil)
		if s.cfg.Side == ClientSide {
			b = AppendFrame(nil, FrameWrite, 1, nil)
		}
		b[5] = byte(FlagS2)
		if _, _, err := s.Next(reseal(b)); code(err) != want {
			t.Errorf("compressed frame: %v, want code %d", err, want)
		}
	}
	f(openAcceptor(t, SessionConfig{Side: PeerSide}), 0)
	f(openAcceptor(t, SessionConfig{Side: ClientSide}), CodeUnexpected)
	plain := openAcceptor(t, SessionConfig{Side: PeerSide})
	plain.features = 0
	f(plain, CodeUnexpected)
}

func TestNothingMayFollowAHelloUnanswered(t *testing.T) {
	s := NewSession(SessionConfig{Side: ClientSide, Accepts: true}, 0)
	hello := helloFrame()
	both := AppendFrame(bytes.Clone(hello), FrameWrite, 1, putBody)
	if _, n, err := s.Next(both); n != len(hello) || err != nil {
		t.Fatalf("hello: %d, %v", n, err)
	}
	if _, n, err := s.Next(nil); n != 0 || err != nil {
		t.Fatalf("nothing after the hello: %d, %v", n, err)
	}
	if _, _, err := s.Next(both[len(hello):]); code(err) != CodeUnexpected || s.phase == open {
		t.Fatalf("a write before the ack: %v", err)
	}
}

func TestLimitBeforeTheHello(t *testing.T) {
	f := func(accepts bool, typ FrameType, body int, want Code) {
		t.Helper()
		s := NewSession(SessionConfig{Side: ClientSide, Accepts: accepts}, 0)
		b := AppendFrame(nil, typ, 0, make([]byte, body))
		if _, _, err := s.Next(b[:FrameHeaderBytes]); code(err) != want {
			t.Errorf("first frame of %d bytes: %v, want code %d", len(b), err, want)
		}
		if s.Need() > MaxHelloBytes {
			t.Errorf("needs %d bytes before the hello", s.Need())
		}
	}
	f(true, FrameHello, MaxHelloBytes-FrameHeaderBytes, 0)
	f(true, FrameHello, MaxHelloBytes-FrameHeaderBytes+1, CodeTooLarge)
	f(false, FrameHelloAck, MaxHelloBytes-FrameHeaderBytes, 0)
	f(false, FrameHelloAck, MaxHelloBytes-FrameHeaderBytes+1, CodeTooLarge)
}

func TestNeedIsKnownFromTheHeader(t *testing.T) {
	s := openAcceptor(t, SessionConfig{Side: ClientSide})
	b := AppendFrame(nil, FrameWrite, 1, make([]byte, MaxFrameBytes-FrameHeaderBytes))
	f := func(have, want int) {
		t.Helper()
		if _, n, err := s.Next(b[:have]); n != 0 || err != nil || s.Need() != want {
			t.Fatalf("%d bytes: took %d, needs %d, want %d, %v", have, n, s.Need(), want, err)
		}
	}
	f(0, FrameHeaderBytes)
	f(FrameHeaderBytes-1, FrameHeaderBytes)
	f(FrameHeaderBytes, MaxFrameBytes)
	f(MaxFrameBytes-1, MaxFrameBytes)
	if _, n, err := s.Next(b); n != MaxFrameBytes || err != nil || s.Need() != FrameHeaderBytes {
		t.Fatalf("largest frame: %d, needs %d, %v", n, s.Need(), err)
	}
	if requests, held := s.InFlight(); requests != 1 || held != MaxFrameBytes {
		t.Fatalf("in flight: %d, %d", requests, held)
	}
}

func TestCreditOfRequests(t *testing.T) {
	s := openAcceptor(t, SessionConfig{Side: ClientSide, Requests: 2})
	b := AppendFrame(nil, FrameRead, 1, nil)
	f := func(want Code) {
		t.Helper()
		if _, _, err := s.Next(b); code(err) != want {
			t.Fatalf("%v, want code %d", err, want)
		}
	}
	f(0)
	f(0)
	s.Replied(len(b))
	f(0)
	f(CodeCredit)
	s.Replied(len(b))
	f(CodeCredit) // for ever
	if !s.CanTellWhy() || openCaller(t, ClientSide).CanTellWhy() {
		t.Fatal("the acceptor tells why, the caller does not")
	}
}

func TestCreditOfBytesIsJudgedByTheHeader(t *testing.T) {
	s := openAcceptor(t, SessionConfig{Side: ClientSide, Bytes: 100})
	b := AppendFrame(nil, FrameRead, 1, make([]byte, 100-FrameHeaderBytes))
	if _, n, err := s.Next(b); n != 100 || err != nil {
		t.Fatalf("request of all the credit: %d, %v", n, err)
	}
	s.Replied(100)
	if _, n, err := s.Next(b[:99]); n != 0 || err != nil {
		t.Fatalf("after the reply: %d, %v", n, err)
	}
	if _, _, err := s.Next(AppendFrame(nil, FrameRead, 2, make([]byte, 77))[:FrameHeaderBytes]); code(err) != CodeCredit {
		t.Fatalf("request above the credit: %v", err)
	}
	s = openAcceptor(t, SessionConfig{Side: ClientSide, Bytes: 100})
	if _, n, err := s.Next(AppendFrame(nil, FrameRead, 1, make([]byte, 26))); n != 50 || err != nil {
		t.Fatalf("request of half the credit: %d, %v", n, err)
	}
	if _, n, err := s.Next(AppendFrame(nil, FrameRead, 2, make([]byte, 26))); n != 50 || err != nil {
		t.Fatalf("request of the other half: %d, %v", n, err)
	}
	if _, _, err := s.Next(AppendFrame(nil, FrameRead, 3, nil)); code(err) != CodeCredit {
		t.Fatalf("one more on top: %v", err)
	}
}

func TestFlagsBeforeTheHello(t *testing.T) {
	for _, flag := range []Flags{FlagTrace, FlagS2} {
		s := NewSession(SessionConfig{Side: PeerSide, Accepts: true}, 0)
		b := helloFrame()
		b[5] = byte(flag)
		if _, _, err := s.Next(reseal(b)); code(err) != CodeUnexpected {
			t.Errorf("hello with flag %d: %v", flag, err)
		}
	}
}

func TestPeerMessagesHaveNoCredit(t *testing.T) {
	s := openAcceptor(t, SessionConfig{Side: PeerSide, Requests: 1, Bytes: 1})
	for range 3 {
		if _, n, err := s.Next(AppendFrame(nil, FrameRound, 0, nil)); n == 0 || err != nil {
			t.Fatal(err)
		}
	}
}

func TestAcceptAnnouncesWhatIsEnforced(t *testing.T) {
	f := func(cfg SessionConfig, frame, requests, size uint32) {
		t.Helper()
		cfg.Accepts = true
		s := NewSession(cfg, 0)
		if _, _, err := s.Next(helloFrame()); err != nil {
			t.Fatal(err)
		}
		ack := HelloAck{Version: 1}
		s.Accept(&ack)
		if ack.MaxFrame != frame || ack.Requests != requests || ack.Bytes != size || s.phase != open {
			t.Errorf("%+v announces %+v", cfg, ack)
		}
	}
	f(SessionConfig{Side: ClientSide}, MaxFrameBytes, MaxConnRequests, MaxConnBytes)
	f(SessionConfig{Side: ClientSide, MaxFrame: 5000, Requests: 3, Bytes: 9000}, 5000, 3, 9000)
	f(SessionConfig{Side: PeerSide}, MaxAppendBytes, 0, 0)
}

func TestHelloDeadline(t *testing.T) {
	f := func(s *Session, now int64, want bool) {
		t.Helper()
		if s.Expired(now) != want {
			t.Errorf("expired at %d: %v", now, !want)
		}
	}
	s := NewSession(SessionConfig{Side: ClientSide, Accepts: true}, 100)
	f(&s, 100, false)
	f(&s, 99+HelloTimeoutNanos, false)
	f(&s, 100+HelloTimeoutNanos, true)
	if _, _, err := s.Next(helloFrame()); err != nil {
		t.Fatal(err)
	}
	f(&s, 100+HelloTimeoutNanos, true) // greeted is not open
	s.Accept(&HelloAck{})
	f(&s, 1<<62, false)
	s = NewSession(SessionConfig{Side: PeerSide, HelloTimeoutNanos: 5}, 0)
	f(&s, 4, false)
	f(&s, 5, true)
}

func TestOwnersMistakesPanic(t *testing.T) {
	f := func(what string, fn func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s went unnoticed", what)
			}
		}()
		fn()
	}
	s := NewSession(SessionConfig{Side: ClientSide, Accepts: true}, 0)
	f("a session without a side", func() { NewSession(SessionConfig{}, 0) })
	f("accept before the hello", func() { s.Accept(&HelloAck{}) })
	f("an acceptor's Opened", func() { s.Opened() })
	f("a caller's Accept", func() { openCaller(t, ClientSide).Accept(&HelloAck{}) })
	f("a reply to nothing", func() { openAcceptor(t, SessionConfig{Side: ClientSide}).Replied(24) })
}
