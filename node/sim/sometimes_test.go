package sim

import "testing"

// rare are the moments that some tens of seeds may miss; all others must come in
// the short form already.
var rare = [Moments]bool{
	TornGroupCut: true, CorruptionRefused: true, VoteAbstained: true, FencedBySync: true, LeaseExpiredInPause: true,
	StalledStepDown: true, NoSpaceEntered: true, NoSpaceLeft: true, NoSpaceRefusal: true, ReplacedWrite: true,
	Ephemeral: true, StaleCompletion: true, FoundingReplaced: true,
}

// longRun is how many seeds come upon every moment.
const longRun = 2000

// notMissed fails for every moment that a run of so many seeds did not come upon.
func notMissed(t *testing.T, sum *Stats, seeds uint64) {
	t.Helper()
	for m := range Moment(Moments) {
		t.Logf("%7d %v", sum.Moments[m], m)
		if sum.Moments[m] == 0 && (!rare[m] || seeds >= longRun) {
			t.Errorf("in %d seeds it never came to this: %v", seeds, m)
		}
	}
}
