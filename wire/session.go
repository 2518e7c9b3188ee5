package wire

import "fmt"

// SessionConfig says which end of which connection a session is. Zero limits
// mean the defaults of limits.go.
type SessionConfig struct {
	Side              Side  // the port the connection is for
	Accepts           bool  // this end accepted the connection, the other one called
	MaxFrame          int   // bytes of the largest frame taken from the other end
	Requests          int   // acceptor on the client side: requests it lets be in flight
	Bytes             int   // likewise: bytes of request frames in flight
	HelloTimeoutNanos int64 // how long the session may take to open
}

func (c SessionConfig) withDefaults() SessionConfig {
	if c.MaxFrame == 0 {
		c.MaxFrame = MaxFrameBytes
		if c.Side == PeerSide {
			c.MaxFrame = MaxAppendBytes
		}
	}
	if c.Requests == 0 {
		c.Requests = MaxConnRequests
	}
	if c.Bytes == 0 {
		c.Bytes = MaxConnBytes
	}
	if c.HelloTimeoutNanos == 0 {
		c.HelloTimeoutNanos = HelloTimeoutNanos
	}
	return c
}

type phase uint8

const (
	waiting phase = iota // for the hello (acceptor) or its answer (caller)
	greeted              // it has been handed to the owner, who has not decided yet
	open
)

// Session is what one end of a connection knows about it: which frames may
// come next, how large they may be, and how many requests are in flight. It
// turns the bytes received into frames or into the reason to close, without a
// clock and without I/O, so that the server, the client and the simulator
// share every rule. A Session is a value and belongs to one goroutine.
//
// The owner calls Next with all bytes that it holds, until n is zero, and
// drops n bytes after each frame.
//
//	acceptor: Next returns Hello, the owner checks it, calls Accept, sends the
//	          HelloAck; from then on Next returns requests or peer messages
//	caller:   the owner sends a Hello; Next returns HelloAck (or Error), the
//	          owner checks it and calls Opened; from then on Next returns replies
//
// Invariant: 0 ≤ requests ≤ cfg.Requests and 0 ≤ bytes ≤ cfg.Bytes.
type Session struct {
	cfg      SessionConfig
	opened   int64 // when the connection was made
	phase    phase
	features uint64
	requests int
	bytes    int
	need     int
	failed   *Error
}

// NewSession returns the session of a connection that was made at now, which
// counts nanoseconds on any clock that Expired is given later.
func NewSession(cfg SessionConfig, now int64) Session {
	if cfg.Side != ClientSide && cfg.Side != PeerSide {
		panic(fmt.Sprintf("BUG: session for %v", cfg.Side))
	}
	return Session{cfg: cfg.withDefaults(), opened: now, need: FrameHeaderBytes}
}

// Next returns the first frame of buf and the n bytes that it takes up. Its
// slices alias buf. With n == 0 and no error the frame is not complete: call
// again with more bytes behind those of buf, Need says how many there will be.
//
// A request that is returned counts as in flight until Replied, whatever its
// type: the owner answers a type that it does not know with CodeUnknownType.
// The owner of an acceptor must decide about a Hello before it calls again.
//
// The error is an *Error and final, later calls return it again. The
// connection must be closed, after the error has been sent in a frame with id
// 0 if CanTellWhy. A frame that may not come or is too large fails as soon as
// its header is there.
func (s *Session) Next(buf []byte) (f Frame, n int, err error) {
	if s.failed != nil {
		return Frame{}, 0, s.failed
	}
	if s.phase == greeted {
		if len(buf) == 0 {
			return Frame{}, 0, nil
		}
		return s.fail(unexpected("%d bytes arrived before the answer to the hello", len(buf)))
	}
	s.need = FrameHeaderBytes
	if len(buf) < FrameHeaderBytes {
		return Frame{}, 0, nil
	}
	if f, err = ParseHeader(buf, s.frameLimit()); err != nil {
		return s.fail(AsError(err))
	}
	if e := s.admit(f); e != nil {
		return s.fail(e)
	}
	s.need = f.Size
	if len(buf) < f.Size {
		return Frame{}, 0, nil
	}
	if f, err = f.withBody(buf); err != nil {
		return s.fail(AsError(err))
	}
	s.take(f)
	return f, f.Size, nil
}

// Need returns the size of the frame that the last Next was not given whole,
// as far as it is known: at least a header, at most MaxFrame, and at most
// MaxHelloBytes before the session is open. An owner that never holds more
// unread bytes than this and one read's worth is bounded.
func (s *Session) Need() int { return s.need }

// Accept opens an acceptor's session after the owner has found the hello good.
// The owner sets all fields of ack but MaxFrame, Requests and Bytes, which
// Accept sets to what the session will enforce, and then sends it.
func (s *Session) Accept(ack *HelloAck) {
	if s.phase != greeted || !s.cfg.Accepts {
		panic(fmt.Sprintf("BUG: session accepted in phase %d, acceptor %v", s.phase, s.cfg.Accepts))
	}
	ack.MaxFrame = uint32(s.cfg.MaxFrame)
	if s.cfg.Side == ClientSide {
		ack.Requests, ack.Bytes = uint32(s.cfg.Requests), uint32(s.cfg.Bytes)
	}
	s.features = ack.Features
	s.phase = open
}

// Opened opens a caller's session after the owner has found the HelloAck good.
func (s *Session) Opened() {
	if s.phase != greeted || s.cfg.Accepts {
		panic(fmt.Sprintf("BUG: session opened in phase %d, acceptor %v", s.phase, s.cfg.Accepts))
	}
	s.phase = open
}

// Replied returns the credit of one request: its answer has been handed to the
// connection. requestBytes is the Size of the request's frame.
func (s *Session) Replied(requestBytes int) {
	s.requests--
	s.bytes -= requestBytes
	if s.requests < 0 || s.bytes < 0 {
		panic(fmt.Sprintf("BUG: reply to a request of %d bytes leaves %d requests, %d bytes in flight", requestBytes, s.requests, s.bytes))
	}
}

// InFlight returns the number of requests that were returned by Next and not
// answered yet, and the bytes of their frames.
func (s *Session) InFlight() (requests, bytes int) { return s.requests, s.bytes }

// Expired reports whether the session has not opened in time. The acceptor
// then sends CodeHelloTimeout; either end closes.
func (s *Session) Expired(now int64) bool {
	return s.phase != open && now-s.opened >= s.cfg.HelloTimeoutNanos
}

// CanTellWhy reports whether an error frame may precede the close: only the
// acceptor sends them.
func (s *Session) CanTellWhy() bool { return s.cfg.Accepts }

func (s *Session) frameLimit() int {
	if s.phase != open {
		return min(MaxHelloBytes, s.cfg.MaxFrame)
	}
	return s.cfg.MaxFrame
}

func (s *Session) fail(e *Error) (Frame, int, error) {
	s.failed = e
	return Frame{}, 0, e
}

// take records a whole frame that was admitted.
func (s *Session) take(f Frame) {
	s.need = FrameHeaderBytes
	switch {
	case s.phase == waiting && f.Type != FrameError:
		s.phase = greeted
	case s.phase == open && s.cfg.Accepts && s.cfg.Side == ClientSide:
		s.requests++
		s.bytes += f.Size
	}
}

// admit says why a frame with this header may not come now, or nil.
func (s *Session) admit(f Frame) *Error {
	if s.phase == waiting {
		return s.admitFirst(f)
	}
	if f.Flags&FlagS2 != 0 && (s.cfg.Side != PeerSide || s.features&FeatureS2 == 0) {
		return unexpected("compressed %v frame, compression was not agreed on", f.Type)
	}
	switch {
	case s.cfg.Side == ClientSide && s.cfg.Accepts:
		return s.admitRequest(f)
	case s.cfg.Side == ClientSide && isReply(f.Type):
		return nil
	case s.cfg.Side == PeerSide && s.cfg.Accepts && isPeerMessage(f.Type):
		if f.ID != 0 {
			return unexpected("%v frame with id %d, peer messages have id 0", f.Type, f.ID)
		}
		return nil
	case s.cfg.Side == PeerSide && !s.cfg.Accepts && f.Type == FrameError:
		return nil
	}
	return unexpected("%v frame, which this end of a %v connection is never sent", f.Type, s.cfg.Side)
}

func (s *Session) admitFirst(f Frame) *Error {
	good := f.Type == FrameHello
	if !s.cfg.Accepts {
		good = f.Type == FrameHelloAck || f.Type == FrameError
	}
	if !good || f.ID != 0 || f.Flags != 0 {
		return unexpected("%v frame with id %d and flags %#02x is no way to begin: the caller says Hello, the answer is HelloAck or Error", f.Type, f.ID, uint8(f.Flags))
	}
	return nil
}

func (s *Session) admitRequest(f Frame) *Error {
	switch {
	case !mayBeRequest(f.Type):
		return unexpected("%v frame is not a request", f.Type)
	case f.ID == 0:
		return unexpected("%v request with id 0, which means the connection itself", f.Type)
	case s.requests >= s.cfg.Requests:
		return &Error{Code: CodeCredit, Text: fmt.Sprintf("more than the %d requests in flight that were granted", s.cfg.Requests)}
	case f.Size > s.cfg.Bytes-s.bytes:
		return &Error{Code: CodeCredit, Text: fmt.Sprintf("request of %d bytes on top of %d in flight, %d were granted", f.Size, s.bytes, s.cfg.Bytes)}
	}
	return nil
}

// mayBeRequest reports whether t is a request or is unknown here and may be
// one of a newer client.
func mayBeRequest(t FrameType) bool {
	switch t {
	case FrameHello, FrameHelloAck, FrameError, FrameWriteReply, FrameReadReply, FrameStatusReply:
		return false
	default:
		return t < FramePreVote
	}
}

func isReply(t FrameType) bool {
	return t == FrameError || t == FrameWriteReply || t == FrameReadReply || t == FrameStatusReply
}

func isPeerMessage(t FrameType) bool { return t >= FramePreVote && t <= FrameRoundReply }

func unexpected(format string, args ...any) *Error {
	return &Error{Code: CodeUnexpected, Text: fmt.Sprintf(format, args...)}
}
