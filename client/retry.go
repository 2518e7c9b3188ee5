package client

import (
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// Stage says how far the last attempt of a request came.
type Stage uint8

// The stages. Zero is invalid.
const (
	// StageNotSent: no byte sequence that a node could act on has left this
	// process. The connection could not be opened, broke before the frame was
	// written whole, or the request was still waiting for a leader or a credit.
	StageNotSent Stage = iota + 1
	// StageSent: the frame was handed to the connection, and no answer came
	// before the caller's time was over or the client was closed.
	StageSent
	// StageAnswered: the node answered this request with an error, see Code.
	StageAnswered
	// StageLost: the frame was handed to the connection, and the connection
	// died, or its node fell silent, before an answer came.
	StageLost
)

func (s Stage) String() string {
	switch s {
	case StageNotSent:
		return "not sent"
	case StageSent:
		return "sent"
	case StageAnswered:
		return "answered"
	case StageLost:
		return "lost"
	default:
		return "invalid"
	}
}

// Attempt is all that Decide needs to know about a request that did not
// succeed.
type Attempt struct {
	Write      bool // false: a read or a status, which changes nothing
	Idempotent bool // the write carries a session and sequence number, so that it is applied once however often it is sent
	// Maybe is true once an earlier attempt of this write may have been
	// carried out. A later refusal does not take that back.
	Maybe      bool
	Stage      Stage
	Code       wire.Code     // StageAnswered: the node's code
	Hint       bool          // CodeNotLeader: the answer names another node as the leader
	Hops       int           // hints followed in a row before this attempt
	Attempts   int           // attempts made, this one included, ≥ 1
	RetryAfter time.Duration // the node's advice, zero: none
	Left       time.Duration // time until the deadline, ≤ 0: over
	Final      bool          // the caller gave up or the client was closed: no further attempt
}

// Action is what to do with a request next.
type Action uint8

// The actions. Zero is invalid.
const (
	RetryNow    Action = iota + 1 // at once, at the same node, over a new connection if need be
	RetryLeader                   // at once, at the node that the answer named
	RetryWait                     // after a random part of Backoff, at the same node
	RetryAway                     // after a random part of Backoff, wherever the leader is found then
	Fail                          // certainly not carried out: report Class
	Unknown                       // may have been carried out: report ClassUnknown
)

func (a Action) String() string {
	switch a {
	case RetryNow:
		return "retry now"
	case RetryLeader:
		return "retry at the leader"
	case RetryWait:
		return "retry after a wait"
	case RetryAway:
		return "retry elsewhere"
	case Fail:
		return "fail"
	case Unknown:
		return "outcome unknown"
	default:
		return "invalid"
	}
}

// Class is the kind of an Error.
type Class uint8

// The classes. Zero is invalid. Each has its sentinel above.
const (
	ClassUnavailable Class = iota + 1
	ClassUnknown
	ClassBusy
	ClassTooLarge
	ClassNoSpace
	ClassRefused
	ClassCorrupt
	ClassProtocol
	ClassClosed
)

// Decision is the answer of Decide.
type Decision struct {
	Action Action
	Class  Class // Fail, Unknown
	// Maybe and Hops are those of the next attempt at the request.
	Maybe   bool
	Hops    int
	AtLeast time.Duration // RetryWait: wait so long, as the node advised,
	Backoff time.Duration // RetryWait, RetryAway: and a uniformly random part of this
}

// Backoff bounds. The n-th wait is uniform in [0, min(MaxBackoff, MinBackoff·2ⁿ)],
// behind the time that a node advised, of which MaxBackoff counts at most.
const (
	MinBackoff = 5 * time.Millisecond
	MaxBackoff = time.Second

	maxHops           = 3 // hints followed in a row without a wait: two nodes may name each other
	maxCorruptRetries = 3
)

// Decide says what to do with a request that did not succeed. It is a pure
// function; the table in the package documentation is the same in words. What
// must hold: a write that may have been carried out is never sent again unless
// it is idempotent, and is never reported as failed.
func Decide(a Attempt) Decision {
	maybe := a.Maybe || a.mayBeCarriedOut()
	if a.Write && maybe && !a.Idempotent {
		return Decision{Action: Unknown, Class: ClassUnknown, Maybe: true}
	}
	class, retry := a.verdict()
	if !retry || a.Final || a.Left <= 0 {
		if a.Write && maybe {
			return Decision{Action: Unknown, Class: ClassUnknown, Maybe: true}
		}
		return Decision{Action: Fail, Class: class, Maybe: maybe}
	}
	d := a.next()
	d.Maybe = maybe
	if d.Action == RetryLeader {
		d.Hops = a.Hops + 1
	}
	return d
}

// mayBeCarriedOut reports whether this attempt, taken alone, may have changed
// the state if it was a write.
func (a Attempt) mayBeCarriedOut() bool {
	switch a.Stage {
	case StageNotSent:
		return false
	case StageAnswered:
		return !a.Code.NotCarriedOut()
	default:
		return true
	}
}

// verdict returns how a failure would be reported, and whether another attempt
// could end better.
func (a Attempt) verdict() (Class, bool) {
	if a.Stage != StageAnswered {
		return ClassUnavailable, true
	}
	switch a.Code {
	case wire.CodeTooLarge:
		return ClassTooLarge, false
	case wire.CodeBadRequest, wire.CodeUnknownType:
		return ClassRefused, false
	case wire.CodeNoSpace:
		return ClassNoSpace, false
	case wire.CodeCorrupt:
		return ClassCorrupt, a.Attempts < maxCorruptRetries
	case wire.CodeBusy:
		return ClassBusy, true
	default:
		return ClassUnavailable, true
	}
}

// next chooses where and when the next attempt is made.
func (a Attempt) next() Decision {
	switch {
	case a.Stage == StageNotSent && a.Attempts == 1:
		// Most likely an idle connection that the node had closed.
		return Decision{Action: RetryNow}
	case a.Stage == StageAnswered && a.Code == wire.CodeNotLeader && a.Hint && a.Hops < maxHops:
		return Decision{Action: RetryLeader}
	case a.Stage == StageAnswered && (a.Code == wire.CodeBusy || a.Code == wire.CodeConsistency):
		advice := max(min(a.RetryAfter, MaxBackoff, a.Left), 0)
		return Decision{Action: RetryWait, AtLeast: advice, Backoff: min(a.backoff(), a.Left-advice)}
	default:
		return Decision{Action: RetryAway, Backoff: a.backoff()}
	}
}

// backoff returns the bound of the random wait after this attempt: doubled each
// time, never beyond MaxBackoff or the deadline.
func (a Attempt) backoff() time.Duration {
	return min(backoffAfter(a.Attempts), a.Left)
}

// backoffAfter returns the bound of the wait after n ≥ 1 attempts.
func backoffAfter(n int) time.Duration {
	return min(MinBackoff<<min(max(n-1, 0), 10), MaxBackoff)
}
