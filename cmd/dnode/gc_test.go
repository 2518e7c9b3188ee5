package main

import (
	"context"
	"testing"
)

func TestGCPercent(t *testing.T) {
	f := func(live uint64, want int) {
		t.Helper()
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes alive: %d %%, want %d", live, got, want)
		}
	}
	f(0, 100)
	f(1<<20, 100)
	f(16<<20, 100)
	f(32<<20, 50)
	f(160<<20, 10)
	f(320<<20, 5)
	f(64<<30, 5)
}

// Who has set the collector's target or limit is left alone.
func TestUserPacesGC(t *testing.T) {
	f := func(want bool, env ...string) {
		t.Helper()
		if got := userPacesGC(env); got != want {
			t.Errorf("%q: %v, want %v", env, got, want)
		}
	}
	f(false)
	f(false, "PATH=/bin", "DNODE_GOGC=1", "GOGC=", "GOMEMLIMIT=")
	f(true, "PATH=/bin", "GOGC=off")
	f(true, "GOGC=100")
	f(true, "GOMEMLIMIT=1GiB")
	paceGC(context.Background(), []string{"GOGC=50"}) // returns at once
}
