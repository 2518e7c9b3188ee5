package main

import (
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

// On a terminal the progress is one line that fills up; elsewhere it is lines.
func TestBenchProgress(t *testing.T) {
	f := func(terminal bool, cfg load.Config, p load.Progress, want string) {
		t.Helper()
		var out strings.Builder
		show, end := progress(&console{err: &out, terminal: terminal}, &cfg)
		show(p)
		got := out.String()
		end()
		if !strings.Contains(got, want) || strings.Contains(got, "\n") == terminal {
			t.Errorf("%q, want %q", got, want)
		}
		if rest := strings.TrimPrefix(out.String(), got); (rest == "\r\x1b[K") != terminal {
			t.Errorf("the end is %q", rest)
		}
	}
	bar := func(full int) string { return strings.Repeat("█", full) + strings.Repeat("░", barWidth-full) }
	p := load.Progress{Phase: "measure", Elapsed: 5 * time.Second, Ops: 600, Errors: 3, OpsPerSec: 120}
	f(true, load.Config{Duration: 10 * time.Second}, p, "measure  "+bar(12)+"  50%        120/s  3 errors")
	f(true, load.Config{Total: 6030}, p, bar(2)+"  10%")
	f(true, load.Config{Duration: 4 * time.Second}, p, bar(24)+" 100%")
	f(true, load.Config{WarmUp: 20 * time.Second}, load.Progress{Phase: "warm-up", Elapsed: 5 * time.Second}, bar(6)+"  25%")
	f(true, load.Config{Keys: 1000}, load.Progress{Phase: "fill", Ops: 250}, bar(6)+"  25%")
	f(false, load.Config{Duration: 10 * time.Second}, p, "measure      5s       600 done       120/s  3 errors")
}
