package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrTooLarge is wrapped by every error about a limit on size or count.
var ErrTooLarge = errors.New("too large")

// Code says what went wrong, in a form that programs decide by.
type Code uint16

// The codes. Zero is invalid. "Not carried out" means: certainly not, so that
// the request may be sent again.
const (
	CodeInternal      Code = 1  // a fault of the node
	CodeNotLeader     Code = 2  // not carried out; Leader says where to go, if known
	CodeUnavailable   Code = 3  // not carried out: no leader or no quorum at the moment
	CodeBusy          Code = 4  // not carried out: a limit is reached, see RetryAfter
	CodeUnknown       Code = 5  // the outcome of the write is not known
	CodeTooLarge      Code = 6  // not carried out: over a limit on size; closes if it is the frame itself
	CodeBadRequest    Code = 7  // not carried out: the body makes no sense
	CodeBadFrame      Code = 8  // closes: damaged or oversized frame
	CodeVersion       Code = 9  // closes: protocol versions do not overlap
	CodeWrongCluster  Code = 10 // closes: another cluster
	CodeWrongIdentity Code = 11 // closes: name and replica id do not belong together
	CodeHelloTimeout  Code = 12 // closes: no hello in time
	CodeUnexpected    Code = 13 // closes: a frame that has no place here
	CodeCredit        Code = 14 // closes: more in flight than was granted
	CodeShutdown      Code = 15 // not carried out: the node is stopping
	CodeNoSpace       Code = 16 // not carried out: the disk is full
	CodeFenced        Code = 17 // not carried out: the node's disk failed
	CodeUnknownType   Code = 18 // not carried out: unknown frame, command or query type
	CodeConnections   Code = 19 // closes: too many connections
	CodeSlowReader    Code = 20 // closes: replies were not read
	CodeCorrupt       Code = 21 // the data asked for is damaged on this node
	CodeNotFresh      Code = 22 // closes: a fresh node met a founded cluster it is no member of
	CodeConsistency   Code = 23 // not carried out: this read level is not to be had now
	maxCode                = CodeConsistency
)

func (c Code) String() string {
	if c == 0 || c > maxCode {
		return fmt.Sprintf("code %d", uint16(c))
	}
	return codeNames[c]
}

var codeNames = [...]string{
	CodeInternal: "internal error", CodeNotLeader: "not the leader", CodeUnavailable: "unavailable",
	CodeBusy: "busy", CodeUnknown: "outcome unknown", CodeTooLarge: "too large",
	CodeBadRequest: "bad request", CodeBadFrame: "bad frame", CodeVersion: "version mismatch",
	CodeWrongCluster: "wrong cluster", CodeWrongIdentity: "wrong identity", CodeHelloTimeout: "hello timeout",
	CodeUnexpected: "unexpected frame", CodeCredit: "credit exceeded", CodeShutdown: "shutting down",
	CodeNoSpace: "no space", CodeFenced: "fenced", CodeUnknownType: "unknown type",
	CodeConnections: "too many connections", CodeSlowReader: "slow reader", CodeCorrupt: "corrupt data",
	CodeNotFresh: "not fresh", CodeConsistency: "consistency level unavailable",
}

// Error is a typed refusal, as it travels in an error frame.
type Error struct {
	Code         Code
	RetryAfterMs uint32 // zero: no advice
	Leader       string // CodeNotLeader: the leader's client address, if known
	Text         string // one line: what happened, why, what to do next
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Text
}

// Closes reports whether an error with this code is always about the
// connection: it has id 0 and the sender closes after it. (Any error with id 0
// is.)
func (c Code) Closes() bool {
	switch c {
	case CodeBadFrame, CodeVersion, CodeWrongCluster, CodeWrongIdentity, CodeHelloTimeout, CodeUnexpected,
		CodeCredit, CodeConnections, CodeSlowReader, CodeNotFresh:
		return true
	default:
		return false
	}
}

// NotCarriedOut reports whether a request that was answered with this code has
// certainly had no effect and never will, so that sending it again cannot
// carry it out twice. It does not say that sending it again helps. It is false
// for codes that are not known here.
func (c Code) NotCarriedOut() bool {
	switch c {
	case CodeNotLeader, CodeUnavailable, CodeBusy, CodeTooLarge, CodeBadRequest, CodeShutdown, CodeNoSpace,
		CodeFenced, CodeUnknownType, CodeCorrupt, CodeConsistency:
		return true
	default:
		return false
	}
}

// AsError returns what is to be sent for err: the *Error that it wraps, or one
// whose code follows from ErrTooLarge, ErrMalformed, or neither of them
// (CodeInternal).
func AsError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrTooLarge):
		return &Error{Code: CodeTooLarge, Text: err.Error()}
	case errors.Is(err, ErrMalformed):
		return &Error{Code: CodeBadRequest, Text: err.Error()}
	default:
		return &Error{Code: CodeInternal, Text: err.Error()}
	}
}

// AppendError appends the body of an error: code (2), zero (2), retry-after in
// milliseconds (4), the leader's client address and the text behind their
// 16-bit lengths. A text beyond MaxTextBytes is cut at a character, a leader
// beyond MaxAddrBytes is left out.
func AppendError(dst []byte, e *Error) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, uint16(e.Code))
	dst = append(dst, 0, 0)
	dst = le.AppendUint32(dst, e.RetryAfterMs)
	leader := e.Leader
	if len(leader) > MaxAddrBytes {
		leader = ""
	}
	dst = appendText(dst, leader)
	return appendText(dst, cutText(e.Text, MaxTextBytes))
}

// AppendErrorFrame appends a whole error frame. The id is the request's, or
// zero for an error about the connection, which is closed after it.
func AppendErrorFrame(dst []byte, id uint64, e *Error) []byte {
	start := len(dst)
	dst = BeginFrame(dst, FrameError, id)
	return EndFrame(AppendError(dst, e), start)
}

// ParseError decodes the body of an error. A code that is not known here is no
// failure: it comes from a newer node.
func ParseError(b []byte) (*Error, error) {
	r := NewReader(b)
	e := &Error{Code: Code(r.U16())}
	zero := r.U16()
	e.RetryAfterMs = r.U32()
	e.Leader = r.Text(MaxAddrBytes)
	e.Text = r.Text(MaxTextBytes)
	if e.Code == 0 || zero != 0 {
		r.Fail("code is zero or reserved bytes are set")
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	return e, nil
}

// cutText returns the longest prefix of s of at most limit bytes that does not
// end inside a UTF-8 sequence.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 {
		limit--
	}
	return s[:limit]
}
