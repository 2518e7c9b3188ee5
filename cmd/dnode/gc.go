package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"
)

const (
	// gcHeadroom is how much garbage may lie about before it is collected, or a
	// share of what is alive if that is more. Nearly all that is alive holds no
	// pointers, so that to collect it again and again costs next to nothing; and
	// what comes free is used again, warm, instead of pages fresh from the system.
	gcHeadroom    = 16 << 20
	minGCPercent  = 5
	maxGCPercent  = 100 // Go's default
	gcLookEvery   = time.Second
	gcPercentSlop = 10 // a new target differs from the old by at least one part in so many
)

// paceGC keeps the collector's target at gcHeadroom until ctx ends. A user who
// has set GOGC or GOMEMLIMIT knows better.
func paceGC(ctx context.Context, env []string) {
	if userPacesGC(env) {
		return
	}
	look := time.NewTicker(gcLookEvery)
	defer look.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := maxGCPercent
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		metrics.Read(live)
		want := gcPercent(live[0].Value.Uint64())
		if d := want - set; max(d, -d)*gcPercentSlop > set {
			debug.SetGCPercent(want)
			set = want
		}
	}
}

// gcPercent returns the collector's target for so many bytes that are alive.
func gcPercent(live uint64) int {
	return min(max(int(100*gcHeadroom/max(live, 1)), minGCPercent), maxGCPercent)
}

func userPacesGC(env []string) bool {
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if (name == "GOGC" || name == "GOMEMLIMIT") && value != "" {
			return true
		}
	}
	return false
}
