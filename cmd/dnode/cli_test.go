package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/node"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// said is what one run has printed.
type said struct {
	code     int
	out, err string
}

// dnode runs a command line in this process. Words are split at spaces.
func dnode(t *testing.T, env []string, line string) said {
	t.Helper()
	var out, talk bytes.Buffer
	con := &console{in: strings.NewReader(""), out: &out, err: &talk, env: env}
	code := run(context.Background(), con, strings.Fields(line))
	return said{code, out.String(), talk.String()}
}

// A value that can only be too large is not read to its end.
func TestEndlessStdin(t *testing.T) {
	var out, talk bytes.Buffer
	con := &console{in: endless{}, out: &out, err: &talk}
	code := run(context.Background(), con, []string{"put", "k", "-"})
	if code != exitUsage || !strings.Contains(talk.String(), "larger than 1048576 bytes") {
		t.Errorf("exit code %d: %s", code, talk.String())
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// --version says what the command says.
func TestVersionFlag(t *testing.T) {
	if flag, command := dnode(t, nil, "--version"), dnode(t, nil, "version"); flag != command || flag.code != 0 {
		t.Errorf("--version: %+v, version: %+v", flag, command)
	}
}

func TestLeaderless(t *testing.T) {
	f := func(want string, members ...member) {
		t.Helper()
		if got := leaderless(members); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	lead, follow, gone := member{ID: 1, Role: "leader", State: "ok"}, member{ID: 2, Role: "follower", State: "ok"}, member{ID: 3, Role: "unknown", State: "unreachable"}
	f("", lead)
	f("", follow, gone, lead)
	f("no leader: 1 of 3 members take part, it needs 2 that reach each other", follow, gone, gone)
	f("n1 waits for the other nodes of its --cluster; its log and /readyz name them", member{Name: "n1", Role: "follower", State: "ok"})
}

// golden compares with testdata/name, which is reviewed as a diff.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; look, then run go test ./cmd/dnode -update\n%s", file, got)
	}
}

// walk calls do for every command of ours.
func walk(cmd *cobra.Command, do func(c *cobra.Command)) {
	if cmd.Name() == "help" || cmd.Name() == "completion" {
		return
	}
	do(cmd)
	for _, c := range cmd.Commands() {
		walk(c, do)
	}
}

func TestWelcome(t *testing.T) {
	got := dnode(t, nil, "")
	if got != (said{0, welcome, ""}) {
		t.Errorf("got %+v", got)
	}
}

// The help of every command, as one file.
func TestHelp(t *testing.T) {
	var all strings.Builder
	walk(newRoot(&console{}), func(c *cobra.Command) {
		got := dnode(t, nil, c.CommandPath()[len("dnode"):]+" --help")
		if got.code != 0 || got.err != "" {
			t.Errorf("%s --help: %+v", c.CommandPath(), got)
		}
		fmt.Fprintf(&all, "$ %s --help\n%s\n", c.CommandPath(), got.out)
	})
	golden(t, "help.txt", all.String())
}

// Every command that does something shows at least two runnable examples, and
// stands in a group.
func TestEveryCommandHasExamplesAndGroup(t *testing.T) {
	root := newRoot(&console{})
	walk(root, func(c *cobra.Command) {
		if c.Parent() == root && c.GroupID == "" {
			t.Errorf("%s is in no group", c.Name())
		}
		if c.HasSubCommands() && c != root {
			return
		}
		lines := strings.Split(c.Example, "\n")
		if len(lines) < 2 {
			t.Errorf("%s has %d examples", c.CommandPath(), len(lines))
		}
		for _, line := range lines {
			if err := parses(line); err != nil {
				t.Errorf("example %q: %v", line, err)
			}
		}
	})
}

// parses reports whether an example names a command with flags and arguments
// that it takes.
func parses(line string) error {
	line, _, _ = strings.Cut(line, " < ")
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "dnode" {
		return errors.New("it does not begin with dnode")
	}
	cmd, rest, err := newRoot(&console{}).Find(words[1:])
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// A flag of one name means the same everywhere, since one variable sets it.
func TestFlagsOfOneNameAgree(t *testing.T) {
	types := make(map[string]string)
	walk(newRoot(&console{}), func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			kind, _, _ := strings.Cut(f.Value.Type(), "|")
			if was, ok := types[f.Name]; ok && was != kind {
				t.Errorf("--%s is %s and %s", f.Name, was, kind)
			}
			types[f.Name] = kind
		})
	})
}

func TestMistakes(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		got := dnode(t, nil, line)
		if got.code != exitUsage || got.out != "" || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, want) {
			t.Errorf("%q: got %+v, want %q", line, got, want)
		}
	}
	f("gett x", `no command "gett" (did you mean "get"?)`)
	f("nonsense", `no command "nonsense"; "dnode --help" lists them`)
	f("--nonsense", "unknown flag --nonsense")
	f("help gett", `no command "gett" (did you mean "get"?); "dnode --help" lists them`)
	f("help wal lss", `no command "lss" (did you mean "ls"?); "dnode wal --help" lists them`)
	f("completion bosh", `no command "bosh" (did you mean "bash"?); "dnode completion --help" lists them`)
	f("completion", `"dnode completion" needs one of bash, fish`)
	f("completion bash x", `"dnode completion bash" takes no arguments, got 1`)
	f("get", `"dnode get" takes KEY, got 0; see "dnode get --help"`)
	f("wal", `"dnode wal" needs one of dump, ls, verify; see "dnode wal --help"`)
	f("put k", "takes KEY VALUE")
	f("cas k v", "takes KEY OLD NEW")
	f("cas --absent k a b", "takes KEY NEW")
	f("scan a b", "takes [PREFIX]")
	f("get k --endpoins a:1", `unknown flag --endpoins (did you mean "endpoints"?)`)
	f("get k -o jsno", `"jsno" is none of table, json, raw (did you mean "json"?)`)
	f("get k --consistency linearisable", `(did you mean "linearizable"?)`)
	f("get k --timeout soon", `invalid argument "soon"`)
	f("get k --timeout -1s", "--timeout -1s: it must be above zero")
	f("get k -e localhost", `endpoint "localhost"`)
	f("get k -e localhost:http", `endpoint "localhost:http": "http" is no port`)
	f("put -k v", `see "dnode put --help"`)
	f("put -k v", `unknown shorthand flag: 'k' in -k; put -- before words that begin with "-"`)
	f("scan --limit x", `invalid argument "x" for "--limit" flag: invalid syntax`)
	f("get k --timeout 5", `flag: missing unit in duration "5"`)
	f("scan --limit -1", "--limit -1")
	f("bench put --key-size 0", "--key-size and --val-size must be above zero")
	f("bench put --val-size 0", "--key-size and --val-size must be above zero")
	f("bench put --val-size 2000000", "too large")
	f("bench put --key-size 4097", "--key-size 4097 and --val-size 256 are too large")
	f("bench put --val-size 1048576", "too large")
	f("bench put --total -1", "--total and --warm-up must not be negative")
	f("bench put --rate NaN", "rate NaN is not between 0 and 1e8")
	f("status now", "takes no arguments")
	f("status -o raw", "none of table, json") // typed, unlike the variable
	f("version -o raw", "none of table, json")
}

func TestEnvironment(t *testing.T) {
	f := func(env, line string, code int, talk string) {
		t.Helper()
		got := dnode(t, strings.Fields(env), line)
		if got.code != code || !strings.Contains(got.err, talk) || talk == "" && got.err != "" {
			t.Errorf("%s %q: got %+v, want %d %q", env, line, got, code, talk)
		}
	}
	f("PATH=x DNODE_OUTPUT=json", "version", 0, "")
	f("DNODE_OUTPUT=raw", "version", 0, "") // meant for get
	f("DNODE_LOG_FORMAT=loud", "serve", exitUsage, `DNODE_LOG_FORMAT="loud"`)
	f("DNODE_DATA_DIR=", "serve", exitUsage, `--data-dir is empty; leave it out (and DNODE_DATA_DIR unset) for ./dnode-data`)
	f("DNODE_OUTPUT=yaml", "version", exitUsage, `environment variable DNODE_OUTPUT="yaml": "yaml" is none of table, json`)
	f("DNODE_OUTPUT=yaml", "version -o table", 0, "") // the flag wins
	f("DNODE_TIMEOUT=soon", "get k", exitUsage, `environment variable DNODE_TIMEOUT="soon"`)
	f("DNODE_ENDPOINT=a", "version", 0, `unknown environment variable DNODE_ENDPOINT is ignored (did you mean "DNODE_ENDPOINTS"?)`)
	f("DNODE_TIMEOUT=5", "get k", exitUsage, `DNODE_TIMEOUT="5": missing unit in duration "5"`)
	f("DNODE_HELP=true", "version", 0, "")
	f("DNODE_VERSION=1.2", "", 0, "") // and not for the flag
	f("DNODE_ENDPOINTS=nonsense", "get k", exitUsage, `endpoint "nonsense"`)
	if got := dnode(t, []string{"DNODE_OUTPUT=json"}, "version"); !strings.HasPrefix(got.out, `{"version":`) {
		t.Errorf("DNODE_OUTPUT=json: got %q", got.out)
	}
}

func TestExitCodes(t *testing.T) {
	f := func(err error, want int) {
		t.Helper()
		if got, _ := exitCode(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
	f(nil, 0)
	f(errors.New("odd"), exitOther)
	f(usagef("odd"), exitUsage)
	f(missing("get", "k"), exitNotFound)
	f(&client.ConditionError{}, exitCondition)
	f(&client.Error{Class: client.ClassUnavailable}, exitUnavailable)
	f(&client.Error{Class: client.ClassRefused}, exitUsage) // before anything was sent
	f(&client.Error{Class: client.ClassRefused, Code: 7}, exitOther)
	f(fmt.Errorf("cannot start: %w", node.ErrAbstain), exitCorruption)
	f(&client.Error{Class: client.ClassBusy}, exitUnavailable)
	f(&client.Error{Class: client.ClassUnknown, Err: context.DeadlineExceeded}, exitUnknown)
	f(&client.Error{Class: client.ClassTooLarge}, exitUsage)
	f(&client.Error{Class: client.ClassCorrupt}, exitCorruption)
	f(fmt.Errorf("cannot wait: %w", context.DeadlineExceeded), exitUnavailable)
	f(&exitError{exitUnhealthy, errors.New("odd")}, exitUnhealthy)
}

func TestReport(t *testing.T) {
	f := func(err error, want string) {
		t.Helper()
		var b bytes.Buffer
		report(&b, err)
		if b.String() != want {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	}
	f(nil, "")
	f(errors.New("one\ntwo"), "dnode: one; two\n")
	f(fmt.Errorf("cannot write: %w", &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}), "")
	f(&client.Error{Op: "put", Class: client.ClassUnknown, Err: &net.OpError{Op: "write", Err: syscall.EPIPE}},
		"dnode: cannot put: outcome unknown: write: broken pipe; it may have been carried out: read before writing again\n")
	f(&client.Error{Op: "get", Class: client.ClassUnavailable, Err: &net.DNSError{Err: "no such host", Name: "nowhere"}},
		"dnode: cannot get: unavailable: lookup nowhere: no such host; check the host names in --endpoints\n")
	f(&client.Error{Op: "put", Class: client.ClassBusy}, "dnode: cannot put: busy; try again later\n")
	f(&client.Error{Op: "put", Class: client.ClassUnavailable, Err: syscall.ECONNREFUSED},
		"dnode: cannot put: unavailable: connection refused; is a node running there? \"dnode serve\" starts one, --endpoints names others\n")
	f(&client.Error{Op: "put", Class: client.ClassUnavailable, Err: client.ErrNoLeader},
		"dnode: cannot put: unavailable: knows no leader; a majority of the nodes must run and reach each other; \"dnode status\" shows them\n")
	f(&client.Error{Op: "put", Class: client.ClassUnavailable, Err: errors.New("this is the peer port")},
		"dnode: cannot put: unavailable: this is the peer port\n")
}

func TestDidYouMean(t *testing.T) {
	words := []string{"put", "get", "scan", "status", "endpoints"}
	f := func(word, want string) {
		t.Helper()
		if got := didYouMean(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	f("pt", ` (did you mean "put"?)`)
	f("stat", ` (did you mean "status"?)`)
	f("endpont", ` (did you mean "endpoints"?)`)
	f("zzz", "")
	f("", "")
}

func TestJSONKeepsEveryByte(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		var b bytes.Buffer
		if err := writeJSON(&b, text(in)); err != nil || b.String() != want+"\n" {
			t.Errorf("%q: got %q, %v", in, b.String(), err)
		}
	}
	f("a<b>&\"", `"a<b>&\""`)
	f("ü\x00", `"ü\u0000"`)
	f("\xff\x00", `{"b64":"/wA="}`)
	f("", `""`)
}
