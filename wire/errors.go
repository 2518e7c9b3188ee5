package wire

import (
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
	CodeTooLarge      Code = 6  // not carried out: over a limit on size
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
