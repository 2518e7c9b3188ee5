package node

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

var (
	helpLine   = regexp.MustCompile(`^# HELP ([a-z][a-z0-9_]*) \S.*\.$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram)$`)
	sampleLine = regexp.MustCompile(`^([a-z][a-z0-9_]*)(\{[A-Za-z_]+="[^"\\\n]*"(?:, ?[A-Za-z_]+="[^"\\\n]*")*\})? (\S+)$`)
)

// parseExposition reads the text format as strictly as it is specified: for each
// metric of ours one HELP line, one TYPE line, then all its samples, none twice.
// It returns the value of each sample by its name and labels.
func parseExposition(t *testing.T, body string) map[string]float64 {
	t.Helper()
	if !strings.HasSuffix(body, "\n") {
		t.Error("the last line does not end")
	}
	samples, typed := map[string]float64{}, map[string]string{}
	help, metric := "", ""
	last := 0.0 // of the buckets of one histogram
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
		case strings.HasPrefix(line, "# HELP "):
			m := helpLine.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("not a HELP line: %q", line)
			}
			help = m[1]
		case strings.HasPrefix(line, "#"):
			m := typeLine.FindStringSubmatch(line)
			if m == nil || m[1] != help || typed[m[1]] != "" {
				t.Fatalf("not the TYPE of %s: %q", help, line)
			}
			metric, typed[m[1]], last = m[1], m[2], 0
			if (m[2] == "counter") != strings.HasSuffix(metric, "_total") {
				t.Errorf("%s is a %s", metric, m[2])
			}
		default:
			m := sampleLine.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("not a sample: %q", line)
			}
			v, err := strconv.ParseFloat(m[3], 64)
			if _, twice := samples[m[1]+m[2]]; twice || err != nil {
				t.Errorf("%q: twice %v, %v", line, twice, err)
			}
			samples[m[1]+m[2]] = v
			if !strings.HasPrefix(m[1], "dnode_") {
				continue // of the process and the runtime: without types
			}
			name := m[1]
			if typed[metric] == "histogram" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					name = strings.TrimSuffix(name, suffix)
				}
			}
			if name != metric {
				t.Errorf("%q stands under %s", line, metric)
			}
			if strings.HasSuffix(m[1], "_bucket") {
				if v < last {
					t.Errorf("%q after %v", line, last)
				}
				last = v
			}
		}
	}
	for name, kind := range typed {
		if kind == "histogram" && samples[name+"_count"] != samples[name+`_bucket{le="+Inf"}`] {
			t.Errorf("%s: the buckets hold %v of %v", name, samples[name+`_bucket{le="+Inf"}`], samples[name+"_count"])
		}
	}
	return samples
}

// Whatever a rule is to watch is there from the start with the value zero: the
// first refusal must be seen as a change. Each code of the protocol is counted
// where requests are answered or where connections are closed.
func TestEveryRefusalIsCountedFromTheStart(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	var b bytes.Buffer
	if err := n.writeMetrics(&b); err != nil {
		t.Fatal(err)
	}
	samples := parseExposition(t, b.String())
	f := func(series string) {
		t.Helper()
		if v, ok := samples[series]; !ok || v != 0 {
			t.Errorf("%s is %v, there %v", series, v, ok)
		}
	}
	for code := wire.CodeInternal; !strings.HasPrefix(code.String(), "code "); code++ {
		name := resultName(int(code))
		if !answers(code) && !closes(code) {
			t.Errorf("%v is counted nowhere", code)
		}
		if closes(code) {
			f(`dnode_connections_closed_total{reason="` + name + `"}`)
		}
		for k := range replica.Kinds {
			if answers(code) {
				f(`dnode_requests_total{kind="` + replica.Kind(k).String() + `",result="` + name + `"}`)
			}
		}
	}
	f(`dnode_requests_total{kind="put",result="busy"}`) // as it is spelled in rules
	f(`dnode_connections_closed_total{reason="slow_reader"}`)
	f("dnode_connections_dropped_total")
	f("dnode_connections_yielded_total")
	f("dnode_accept_failures_total")
	f("dnode_peer_links_cut_total")
	f("dnode_peer_bytes_dropped_total")
	f("dnode_replies_lost_total")
	f("dnode_wal_read_errors_total")
	f("dnode_wal_fenced")
	f("dnode_wal_cut_bytes")
}
