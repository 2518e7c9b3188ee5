package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// outcome is what became of a mutant.
type outcome string

const (
	killed   outcome = "killed"
	survived outcome = "survived"
	equal    outcome = "equal" // survived, as is claimed
	passed   outcome = "passed"
	broken   outcome = "error" // of the tool or of a test
)

// outOfTime stands for the exit code of a process whose CPU time was over.
const outOfTime = -100

// verdict is what a check found.
type verdict struct {
	Outcome  outcome       `json:"outcome"`
	Seed     string        `json:"seed,omitempty"`     // of the simulator
	Test     string        `json:"test,omitempty"`     // of a suite
	Property string        `json:"property,omitempty"` // first one violated
	Detail   string        `json:"detail,omitempty"`   // in the checker's words
	CPU      time.Duration `json:"-"`
}

func (v verdict) String() string {
	text := v.Detail
	switch {
	case v.Outcome != killed:
	case v.Seed != "":
		text = "seed " + v.Seed + ": " + text
	case v.Test != "":
		text = v.Test + ": " + text
	}
	if len(text) > maxDetail {
		text = text[:maxDetail] + "..."
	}
	return text
}

const maxDetail = 200

var (
	seedLine  = regexp.MustCompile(`\bseed (\d+) at [\d.]+ s: (.*)`)
	failLine  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	saidLine  = regexp.MustCompile(`(?m)^\s+\w+\.go:\d+: (.*)`)
	panicLine = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.*)`)
	bugLine   = regexp.MustCompile(`\bBUG: .*`)
	ofNode    = regexp.MustCompile(`^node \d+( \w+)*$`)
)

// read understands the output of a test binary that ended in the given way.
func read(c *check, out string, exit int) verdict {
	if m := panicLine.FindStringSubmatch(out); m != nil {
		if bug := bugLine.FindString(m[1]); bug != "" {
			v := verdict{Outcome: killed, Property: "assertion", Detail: bug}
			if s := seedLine.FindStringSubmatch(m[1]); s != nil {
				v.Seed = s[1]
			}
			return v
		}
		return verdict{Outcome: broken, Detail: "panic: " + m[1] + origin(out)}
	}
	switch {
	case exit == 0:
		return verdict{Outcome: survived}
	case exit == outOfTime && c.endless:
		return verdict{Outcome: survived}
	case exit == outOfTime:
		return verdict{Outcome: broken, Detail: "the CPU time is over, and the suite has not ended"}
	}
	if c.endless {
		return readSeed(out)
	}
	return readFailure(out, exit)
}

// readSeed understands a failure of the simulator, which must name its seed.
func readSeed(out string) verdict {
	m := seedLine.FindStringSubmatch(out)
	if m == nil {
		return verdict{Outcome: broken, Detail: "fails without naming a seed: " + firstLine(out)}
	}
	return verdict{Outcome: killed, Seed: m[1], Property: property(m[2]), Detail: m[2]}
}

// readFailure understands a failure of a suite: the innermost of the tests that
// failed first, and what it said.
func readFailure(out string, exit int) verdict {
	fails := failLine.FindAllStringSubmatchIndex(out, -1)
	if fails == nil {
		return verdict{Outcome: broken, Detail: fmt.Sprintf("exit code %d without a failed test: %s", exit, firstLine(out))}
	}
	v := verdict{Outcome: killed}
	end := fails[0][1]
	for _, f := range fails {
		name := out[f[2]:f[3]]
		if v.Test != "" && !strings.HasPrefix(name, v.Test+"/") {
			break
		}
		v.Test, end = name, f[1]
	}
	v.Property = v.Test
	if m := saidLine.FindStringSubmatch(out[end:]); m != nil {
		v.Detail = m[1]
	}
	return v
}

// property is the name that a checker's message begins with.
func property(said string) string {
	for part := range strings.SplitSeq(said, ": ") {
		if !ofNode.MatchString(part) {
			return part
		}
	}
	return said
}

// origin names the first line of our own source in the trace of a panic.
func origin(out string) string {
	if m := regexp.MustCompile(`(?m)^\t\S*?/((?:wire|wal|node|client)/\S+\.go:\d+)`).FindStringSubmatch(out); m != nil {
		return " at " + m[1]
	}
	return ""
}

func firstLine(out string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	return line
}
