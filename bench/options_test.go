package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestBadFlags(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if _, err := parseOptions(args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	f("-etcd 3.4 is not one of 3.5, 3.6, 3.7 or none", "-etcd", "3.4")
	f("-etcd none and -etcd-bin", "-etcd", "none", "-etcd-bin", "x")
	f("-rounds 0", "-rounds", "0")
	f("-seconds 0.1", "-seconds", "0.1")
	f("-warm-up -1", "-warm-up", "-1")
	f("-key-size 7", "-key-size", "7")
	f("-val-size 0", "-val-size", "0")
	f("-keys 999", "-keys", "999")
	f(`no scenario or group "nonsense"`, "-only", "put,nonsense")
	f("-frob", "-frob")
	f(`unexpected argument "quick"`, "quick")
}

func TestDefaults(t *testing.T) {
	all, err := parseOptions(nil, io.Discard)
	if err != nil || all.rounds != 5 || all.measure != 8*time.Second || all.warmUp != 2*time.Second || all.etcd != "3.6.16" {
		t.Errorf("%+v, %v", all, err)
	}
	quick, err := parseOptions([]string{"-quick"}, io.Discard)
	if err != nil || quick.rounds != 5 || quick.measure != 2*time.Second || quick.warmUp != time.Second {
		t.Errorf("%+v, %v", quick, err)
	}
	if len(quick.scenarios) >= len(all.scenarios) || len(quick.scenarios) < 5 {
		t.Errorf("%d quick scenarios of %d", len(quick.scenarios), len(all.scenarios))
	}
	given, err := parseOptions([]string{"-quick", "-seconds", "5", "-etcd", "none"}, io.Discard)
	if err != nil || given.measure != 5*time.Second || given.etcd != "" {
		t.Errorf("%+v, %v", given, err)
	}
}

// What a quick run may take: the runs themselves and what starting, filling
// and stopping costs around them on two cores.
func TestQuickIsQuick(t *testing.T) {
	opt, err := parseOptions([]string{"-quick"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{opt: opt, bins: binaries{dnode: "d", etcd: "e", tool: "t"}}
	const around = 2200 * time.Millisecond
	took := time.Duration(0)
	for round := 1; round <= opt.rounds; round++ {
		took += time.Duration(len(r.plan(round))) * (opt.measure + opt.warmUp + around)
		took += 5 * opt.measure / 2 // floors, at most
	}
	if took > 9*time.Minute {
		t.Errorf("%v, and building is not in it", took)
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	if _, err := parseOptions([]string{"-help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	for _, want := range []string{"-quick", "-only", "-etcd", "Ctrl-C", "-benchmark-bin"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in the help", want)
		}
	}
}

// Names are what -only, reports and targets go by.
func TestScenarioNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios() {
		if seen[s.name] || s.group == "" || s.clients < s.conns {
			t.Errorf("%+v is doubtful", s)
		}
		seen[s.name] = true
	}
	for _, g := range targets {
		if !seen[g.scenario] {
			t.Errorf("target %q is about %s, which does not exist", g.name, g.scenario)
		}
	}
	got, err := choose("sweep,put-1-1", true)
	if err != nil || len(got) != 1+2*len(sweep) || got[0].name != "put-1-1" {
		t.Errorf("%d scenarios, %v", len(got), err)
	}
}

// The systems swap places, what etcd cannot do is not asked of it, and what one
// round is enough for is run once.
func TestPlan(t *testing.T) {
	chosen, err := choose("put-100-1000,lease-1-1,memory-1m", false)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{opt: options{scenarios: chosen}, bins: binaries{dnode: "d", etcd: "e", tool: "t"}}
	f := func(round int, want string) {
		t.Helper()
		var got []string
		for _, s := range r.plan(round) {
			got = append(got, s.scenario.name+" "+s.system)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("round %d: %v", round, got)
		}
	}
	f(1, "put-100-1000 dnode, put-100-1000 etcd, put-100-1000 etcd-tool, lease-1-1 dnode, memory-1m dnode, memory-1m etcd")
	f(2, "put-100-1000 etcd, put-100-1000 dnode, put-100-1000 etcd-tool, lease-1-1 dnode")
	r.bins = binaries{dnode: "d"}
	f(3, "put-100-1000 dnode, lease-1-1 dnode")
}
