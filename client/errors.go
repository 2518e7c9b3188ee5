package client

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Errors to test for with errors.Is. Every error of a call matches at most one
// of the classes below, and wraps its cause besides: errors.Is(err,
// context.DeadlineExceeded) works too.
var (
	ErrNotFound        = errors.New("key not found")
	ErrConditionFailed = errors.New("condition failed")

	ErrUnavailable    = errors.New("unavailable")          // no leader, no quorum or no connection in time; certainly not carried out
	ErrOutcomeUnknown = errors.New("outcome unknown")      // the write may or may not have been carried out
	ErrBusy           = errors.New("busy")                 // a limit of the node or of this client is reached; not carried out
	ErrTooLarge       = errors.New("too large")            // over a limit on size or count; not carried out
	ErrNoSpace        = errors.New("no space")             // the node's disk is full; not carried out
	ErrRefused        = errors.New("refused")              // the node does not allow or understand it; not carried out
	ErrCorrupt        = errors.New("data is damaged")      // the node found damage where the answer should be
	ErrProtocol       = errors.New("protocol violated")    // the node answered with what cannot be understood
	ErrClosed         = errors.New("the client is closed") // Close was called; not carried out
)

// ErrNoLeader is a cause, besides the class ErrUnavailable: of the nodes that
// could be asked none knew a leader. It takes a majority of them to have one.
var ErrNoLeader = errors.New("knows no leader")

var classErrors = [...]error{
	ClassUnavailable: ErrUnavailable,
	ClassUnknown:     ErrOutcomeUnknown,
	ClassBusy:        ErrBusy,
	ClassTooLarge:    ErrTooLarge,
	ClassNoSpace:     ErrNoSpace,
	ClassRefused:     ErrRefused,
	ClassCorrupt:     ErrCorrupt,
	ClassProtocol:    ErrProtocol,
	ClassClosed:      ErrClosed,
}

// sentinel returns the error that errors.Is knows the class by.
func (c Class) sentinel() error {
	if c == 0 || int(c) >= len(classErrors) {
		panic(fmt.Sprintf("BUG: error class %d", uint8(c)))
	}
	return classErrors[c]
}

func (c Class) String() string { return c.sentinel().Error() }

// Error is a request that did not succeed.
type Error struct {
	Op       string    // "put", "get", ...
	Class    Class     //
	Code     wire.Code // the node's code, zero if no node answered
	Endpoint string    // the node asked last, empty if none was
	Attempts int       // attempts made; zero: refused before the first
	Err      error     // the cause: a *wire.Error, a network error, the context's error; may be nil
}

func (e *Error) Error() string {
	s := "cannot " + e.Op + ": " + e.Class.String()
	if e.Endpoint != "" {
		s += " (" + e.Endpoint + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Class == ClassUnknown {
		s += "; it may have been carried out: read before writing again"
	}
	return s
}

// Is reports whether target is the sentinel of the error's class.
func (e *Error) Is(target error) bool { return target == e.Class.sentinel() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ConditionError is a compare-and-set whose condition did not hold, with what
// stood there instead. It matches ErrConditionFailed.
type ConditionError struct {
	Key      string
	Revision Revision // at which it was decided
	Exists   bool
	Current  Item // if Exists; the caller's to keep
}

func (e *ConditionError) Error() string {
	if !e.Exists {
		return fmt.Sprintf("cannot compare and set %q: condition failed: the key does not exist", e.Key)
	}
	return fmt.Sprintf("cannot compare and set %q: condition failed: the key has revision %d", e.Key, e.Current.ModRevision)
}

// Is reports whether target is ErrConditionFailed.
func (e *ConditionError) Is(target error) bool { return target == ErrConditionFailed }

// lasting reports whether err, of opening a connection, says that trying again
// is in vain: what is behind the address is no node that will serve this client.
func lasting(err error) bool {
	var e *wire.Error
	if errors.As(err, &e) {
		switch e.Code {
		case wire.CodeVersion, wire.CodeWrongCluster, wire.CodeWrongIdentity, wire.CodeUnexpected, wire.CodeBadFrame:
			return true
		}
	}
	return errors.Is(err, ErrProtocol)
}

// OutcomeUnknown reports whether err says that a write may or may not have been
// carried out. Such a write must not be repeated blindly: read first, or make
// it conditional.
func OutcomeUnknown(err error) bool { return errors.Is(err, ErrOutcomeUnknown) }

// SafeToRetry reports whether err says that the request was certainly not
// carried out and that asking again later may succeed.
func SafeToRetry(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy) || errors.Is(err, ErrNoSpace)
}
