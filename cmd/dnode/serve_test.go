package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// fakeNode ends when it is told to, or when its test lets it.
type fakeNode struct {
	done     chan struct{}
	err      error
	stopping chan struct{}
	release  chan struct{}
}

func newFakeNode() *fakeNode {
	return &fakeNode{done: make(chan struct{}), stopping: make(chan struct{}), release: make(chan struct{})}
}

func (n *fakeNode) Done() <-chan struct{} { return n.done }
func (n *fakeNode) Err() error            { return n.err }

func (n *fakeNode) Shutdown(context.Context) error {
	close(n.stopping)
	<-n.release
	return nil
}

func TestSignals(t *testing.T) {
	f := func(want int, play func(n *fakeNode, signals chan<- os.Signal)) {
		t.Helper()
		n, signals := newFakeNode(), make(chan os.Signal, 2)
		go play(n, signals)
		err := wait(n, signals)
		if code, _ := exitCode(err); code != want {
			t.Errorf("exit code %d (%v), want %d", code, err, want)
		}
	}
	f(exitOK, func(n *fakeNode, signals chan<- os.Signal) { // one signal: graceful
		signals <- syscall.SIGTERM
		<-n.stopping
		close(n.release)
	})
	f(exitOther, func(n *fakeNode, signals chan<- os.Signal) { // a second one: at once
		signals <- syscall.SIGTERM
		<-n.stopping
		signals <- syscall.SIGTERM
	})
	f(exitOther, func(n *fakeNode, signals chan<- os.Signal) { // the node fails by itself
		n.err = errors.New("disk")
		close(n.done)
	})
}

func TestParseCluster(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got, err := parseCluster(strings.Split(text, ","))
		if want == "" && (err != nil || len(got) != 2 || got["b"] != "h:2") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	f("a=h:1,b=h:2", "")
	f("a=h:1,b", "want name=host:port")
	f("a=h:1,a=h:2", `names "a" twice`)
}

func TestColour(t *testing.T) {
	f := func(want, terminal bool, env string) {
		t.Helper()
		con := &console{env: strings.Fields(env), terminal: terminal}
		if con.colour() != want {
			t.Errorf("terminal %v, %q: %v", terminal, env, !want)
		}
	}
	f(true, true, "TERM=xterm")
	f(true, true, "NO_COLOR=")
	f(false, true, "NO_COLOR=1")
	f(false, true, "TERM=dumb")
	f(false, false, "TERM=xterm")
}

// A reader that goes away ends a command without a word.
func TestClosedPipeIsQuiet(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var talk strings.Builder
	cmd := exec.Command(binary)
	cmd.Stdout, cmd.Stderr = w, &talk
	var ended *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE || talk.Len() > 0 {
		t.Errorf("got %v, %q", err, talk.String())
	}
}

// The README names only commands and flags that exist.
func TestReadmeCommandsParse(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(readme)) {
		if !strings.HasPrefix(line, "dnode ") {
			continue
		}
		line, _, _ = strings.Cut(line, "  #")
		line, _, _ = strings.Cut(line, "&")
		if n++; parses(line) != nil {
			t.Errorf("%q: %v", line, parses(line))
		}
	}
	if n < 8 {
		t.Errorf("only %d commands found", n)
	}
}
