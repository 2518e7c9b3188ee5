package sim

import (
	"strings"
	"testing"
)

// allDisks is a swarm with every fault of disks, often.
func allDisks(seed uint64) Options {
	o := Swarm(seed)
	o.Nodes = []int{3, 3, 5, 4}[seed%4]
	o.LoadNanos = 6 * second
	o.Beyond = false
	o.Disks = DiskFaults{Nanos: 250 * millisecond, IO: true, Hang: true, Files: true, Rot: true, Spoil: true, Stray: true, Vote: true, Tear: true, Wipe: seed%3 == 0}
	return o
}

// TestDisks strikes disks all the time, within what the atlas allows.
func TestDisks(t *testing.T) {
	sum := each(t, shortly(10, 40), allDisks)
	if testing.Short() || *seedFlag != 0 {
		return
	}
	for what, count := range map[string]int{
		"replica fenced": sum.Disk.Fenced, "damage refused by name": sum.Disk.RefusedByName, "read past the cache": sum.Disk.PastCache,
		"torn group cut": sum.Disk.TornCut, "vote abstained": sum.Disk.Abstained, "start failed and tried again": sum.Disk.FailedStarts,
	} {
		if count == 0 {
			t.Errorf("in no seed: %s", what)
		}
	}
}

// TestBeyond destroys more than a cluster can survive: it may be unavailable, and
// never wrong.
func TestBeyond(t *testing.T) {
	each(t, shortly(10, 40), func(seed uint64) Options {
		o := allDisks(seed)
		o.Nodes = []int{3, 1, 5, 2}[seed%4]
		o.Beyond = true
		return o
	})
}

// TestSecretFaults lets disks lie without telling the atlas. Each lie must be
// noticed: what is survivable must at least be missed by name, and what is not (rot
// at the unattested end of the log, a wiped node that comes back as its old self)
// must show as a loss. A disk that hangs, has no files or tears a write loses
// nothing, and needs no one's leave.
func TestSecretFaults(t *testing.T) {
	f := func(d DiskFaults, wants ...string) {
		t.Helper()
		d.Secret, d.Nanos = true, 100*millisecond
		found := map[string]bool{}
		for seed := uint64(1); seed <= 40 && len(found) < len(wants); seed++ {
			o := powerLoss(seed)
			o.Disks = d
			_, err := Run(o)
			if err == nil {
				continue
			}
			for _, want := range wants {
				if strings.Contains(err.Error(), want) {
					found[want] = true
				}
			}
		}
		for _, want := range wants {
			if !found[want] {
				t.Errorf("%+v: nobody says %q", d, want)
			}
		}
	}
	f(DiskFaults{IO: true}, "is fenced")
	f(DiskFaults{Rot: true}, "does not start", "durability")
	f(DiskFaults{Spoil: true}, "does not start")
	f(DiskFaults{Stray: true}, "does not start")
	f(DiskFaults{Vote: true}, "does not start")
	f(DiskFaults{Wipe: true}, "durability")
}

// A leader that cannot read what a member lacks goes on, and so does the member
// behind it: it asks again, and catches up when another leads.
func TestUnreadableWhileRunning(t *testing.T) {
	sum := each(t, shortly(3, 8), func(seed uint64) Options {
		o := powerLoss(seed)
		o.TailBytes, o.ThinkNanos, o.Replay = 1, 4*millisecond, true
		o.Faults = []Fault{{At: second, Kind: FaultKill, Node: 1, Nanos: 1500 * millisecond}, {At: 3 * second, Kind: FaultKill, Node: 2, Nanos: second}}
		for i := range int64(40) { // the atlas lets the first one through that finds its target
			o.Faults = append(o.Faults, Fault{At: 2*second + i, Kind: FaultSpoil, Node: 0, Seed: seed*100 + uint64(i)})
		}
		return o
	})
	if sum.Disk.Unreadable == 0 && *seedFlag == 0 {
		t.Error("nothing unreadable was read in any seed")
	}
}
