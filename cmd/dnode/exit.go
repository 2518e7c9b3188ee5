package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/node"
	"github.com/dnode-engine/dnode/wal"
)

// The exit codes, fixed for scripts.
const (
	exitOK          = 0
	exitOther       = 1
	exitUsage       = 2
	exitNotFound    = 3 // no such key
	exitCondition   = 4 // compare-and-set did not hold
	exitUnavailable = 5 // no leader, no quorum, no connection, no answer to a read in time
	exitUnknown     = 6 // a write may or may not have been carried out
	exitUnhealthy   = 7 // a check failed
	exitAuth        = 8 // reserved for credentials
	exitCorruption  = 9 // damaged data was found
)

// usageError is a mistake on the command line or in the environment.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// exitError is an error whose exit code its command has chosen.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// codes maps errors to exit codes and to advice; the first that matches counts.
var codes = []struct {
	err  error
	code int
	next string // what to do next, where the error does not say it already
}{
	{client.ErrNotFound, exitNotFound, ""},
	{client.ErrConditionFailed, exitCondition, ""},
	{client.ErrOutcomeUnknown, exitUnknown, ""},
	{client.ErrUnavailable, exitUnavailable, ""}, // see adviseUnavailable
	{client.ErrBusy, exitUnavailable, "try again later"},
	{client.ErrTooLarge, exitUsage, ""},
	{client.ErrCorrupt, exitCorruption, "stop that node and run \"dnode wal verify\" on its data folder"},
	{node.ErrAbstain, exitCorruption, ""},
	{client.ErrNoSpace, exitOther, "free some space on the node's disk"},
	{wal.ErrNoSpace, exitOther, "free some space, raise the quota or ulimit, or use another --data-dir"},
	{context.DeadlineExceeded, exitUnavailable, "raise --timeout, or look at \"dnode status\""},
}

// exitCode returns the code for an error and what to do about it.
func exitCode(err error) (code int, next string) {
	var chosen *exitError
	var usage *usageError
	var damage *wal.CorruptError
	switch {
	case err == nil:
		return exitOK, ""
	case errors.As(err, &chosen):
		return chosen.code, ""
	case errors.As(err, &usage):
		return exitUsage, ""
	case errors.As(err, &damage):
		return exitCorruption, ""
	}
	var refused *client.Error
	if errors.As(err, &refused) && refused.Class == client.ClassRefused && refused.Code == 0 {
		return exitUsage, "" // before anything was sent
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code, cmp.Or(c.next, adviseUnavailable(c.code, err))
		}
	}
	return exitOther, ""
}

// adviseUnavailable says what to do when no node served a request, unless the
// nodes have said that themselves.
func adviseUnavailable(code int, err error) string {
	var name *net.DNSError
	switch {
	case code != exitUnavailable:
		return ""
	case errors.Is(err, client.ErrNoLeader):
		return `a majority of the nodes must run and reach each other; "dnode status" shows them`
	case errors.Is(err, syscall.ECONNREFUSED):
		return `is a node running there? "dnode serve" starts one, --endpoints names others`
	case errors.As(err, &name):
		return "check the host names in --endpoints"
	default:
		return ""
	}
}

// report tells a user about err in one line and returns the exit code. A reader
// of our output that has gone away is not worth a word, unlike a node.
func report(w io.Writer, err error) int {
	code, next := exitCode(err)
	var file *fs.PathError
	if err == nil || errors.As(err, &file) && errors.Is(file, syscall.EPIPE) {
		return code
	}
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if next != "" {
		text += "; " + next
	}
	fmt.Fprintf(w, "dnode: %s\n", text)
	return code
}
